//! Furthest-first on embeddings that are weighted by uncertainty.
//!
//! With u a sample's uncertainty, scaled to [0, 1] over the pool, and h its embedding, samples are spread over the
//! points `u h`: sure samples shrink towards the origin and are selected late, unsure ones in many directions. The
//! points are never formed.
//!
//! "Hybrid Active Learning with Uncertainty-Weighted Embeddings", TMLR 2024.

use querist_sdk::Range;
use querist_sdk::prelude::*;

/// What weighs the embeddings.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// Entropy of the class probabilities.
    #[default]
    Entropy,
    /// Second-largest class probability over the largest.
    Bvsb,
    /// 1 minus the largest class probability.
    LeastConfident,
}

/// How the weighted embeddings are picked from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Picking {
    /// The farthest from all picked ones; what is labelled does not count.
    #[default]
    #[serde(rename = "k-center-unlabelled")]
    KCenterUnlabelled,
    /// Drawn with probability proportional to the squared distance from the nearest picked one.
    #[serde(rename = "k-means++")]
    KmeansPlusPlus,
    /// The farthest from all labelled and picked ones. Labelled samples are weighted on the pool's scale.
    #[serde(rename = "k-center")]
    KCenter,
}

/// Parameters of uncertainty-weighted embeddings.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [
    {},
    {"selection": "k-center-unlabelled", "uncertainty": "entropy"},
    {"selection": "k-center-unlabelled", "uncertainty": "bvsb"},
    {"selection": "k-center-unlabelled", "uncertainty": "least-confident"},
    {"selection": "k-means++", "uncertainty": "entropy"},
    {"selection": "k-means++", "uncertainty": "bvsb"},
    {"selection": "k-means++", "uncertainty": "least-confident"},
    {"selection": "k-center", "uncertainty": "entropy"},
    {"selection": "k-center", "uncertainty": "bvsb"},
    {"selection": "k-center", "uncertainty": "least-confident"},
]))]
pub struct Uwe {
    /// What weighs the embeddings.
    pub uncertainty: Weighting,
    /// How the weighted embeddings are picked from.
    pub selection: Picking,
}

impl Strategy for Uwe {
    const ID: &'static str = "uwe";
    const SUMMARY: &'static str = "Samples that lie far apart once embeddings are weighted by uncertainty";
    const PAPER: &'static str = "Hybrid Active Learning with Uncertainty-Weighted Embeddings, TMLR 2024";
    const COST: &'static str = "O(N D b) time; O(N) memory.";

    fn needs(&self) -> Vec<Need> {
        let mut needs = vec![Need::new(names::LOGITS), Need::new(names::EMBEDDINGS)];
        if self.selection == Picking::KCenter {
            needs.extend(["labelled.logits", "labelled.embeddings"].map(Need::new));
        }
        needs
    }

    fn may_need() -> Vec<Need> {
        ["labelled.logits", "labelled.embeddings"].map(Need::new).to_vec()
    }
}

impl Selector for Uwe {
    fn select(&self, query: &Query) -> Result<Selection> {
        let (unsure, second) = query.matrix(names::LOGITS)?.uncertainty(self.measure())?;
        let scale = Range::of(&unsure.to_vec()?);
        let points = weighted(query, scale, &unsure, &query.matrix(names::EMBEDDINGS)?)?;
        let draws = self.selection == Picking::KmeansPlusPlus;
        let nearest = points.nearest(if draws { Metric::SqEuclidean } else { Metric::Euclidean })?;
        let mut picks = query.picks()?;
        let from_labels = self.selection == Picking::KCenter && query.labelled_rows() > 0;
        let (first, score) = if from_labels {
            let (unsure, _) = query.matrix("labelled.logits")?.uncertainty(self.measure())?;
            nearest.add_points(&weighted(query, scale, &unsure, &query.matrix("labelled.embeddings")?)?)?;
            nearest.farthest(None)?.unwrap_or_default()
        } else {
            let norms = points.sq_norms()?;
            let row = norms.top(None, 1, None)?[0];
            (row, norms.get(row)?.sqrt())
        };
        // The first pick stands even where every point is the origin. Drawn rows have no score.
        picks.take(first, Some(score).filter(|_| !draws))?;
        nearest.add(&[first])?;
        if draws {
            let numbers = query.stream("seeding", StreamScope::Round)?;
            while picks.missing() > 0
                && let Some(row) = nearest.draw(&numbers, Some(picks.taken()))?
            {
                picks.take(row, None)?;
                nearest.add(&[row])?;
            }
        } else {
            for (row, distance) in nearest.furthest_first(picks.missing(), picks.taken())? {
                picks.take(row, distance)?;
            }
        }
        // Only points that coincide with picked ones are left: the most uncertain first.
        picks.fill_by(&unsure, Some(&second))
    }
}

impl Uwe {
    fn measure(&self) -> Uncertainty {
        match self.uncertainty {
            Weighting::Entropy => Uncertainty::Entropy,
            Weighting::Bvsb => Uncertainty::Ratio,
            Weighting::LeastConfident => Uncertainty::LeastConfidence,
        }
    }
}

/// Rows times their uncertainties, scaled to [0, 1] over the pool, as points that are never formed. All weigh 1 where
/// the pool is equally uncertain everywhere.
fn weighted(query: &Query, scale: Range, unsure: &Vector, rows: &Matrix) -> Result<Points> {
    let weight = |value: f64| scale.place(value, 1.0).clamp(0.0, 1.0) as f32;
    let weights: Vec<f32> = unsure.to_vec()?.into_iter().map(weight).collect();
    query.new_matrix(weights.len() as u32, 1, &weights)?.outer_products(rows)
}

package!(selectors: [Uwe]);
