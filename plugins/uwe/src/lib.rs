//! Furthest-first on embeddings that are weighted by uncertainty.
//!
//! With u a sample's uncertainty, scaled to [0, 1] over the pool, and h its embedding, samples are spread over the points
//! `u h`: sure samples shrink towards the origin and are selected late, unsure ones in many directions. The
//! points are never formed.
//!
//! "Hybrid Active Learning with Uncertainty-Weighted Embeddings", TMLR 2024.

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
        let wanted = query.wanted();
        let mut selection = Selection::default();
        if wanted == 0 {
            return Ok(selection);
        }
        let (unsure, second) = query.matrix(names::LOGITS)?.uncertainty(self.measure())?;
        let scale = Scale::of(&unsure.to_vec()?);
        let points = scale.weighted(query, &unsure, &query.matrix(names::EMBEDDINGS)?)?;
        let draws = self.selection == Picking::KmeansPlusPlus;
        let nearest = points.nearest(if draws { Metric::SqEuclidean } else { Metric::Euclidean })?;
        let numbers = query.stream("seeding", StreamScope::Round)?;
        let picked = query.mask(query.rows())?;
        let from_labels = self.selection == Picking::KCenter && query.labelled_rows() > 0;
        let mut next = if from_labels {
            let (unsure, _) = query.matrix("labelled.logits")?.uncertainty(self.measure())?;
            nearest.add_points(&scale.weighted(query, &unsure, &query.matrix("labelled.embeddings")?)?)?;
            nearest.farthest(None)?
        } else {
            let norms = points.sq_norms()?;
            let row = norms.top(None, 1, None)?[0];
            Some((row, norms.get(row)?.sqrt()))
        };
        // The first pick stands even where every point is the origin.
        while let Some((row, score)) = next.filter(|&(_, score)| score > 0.0 || selection.rows.is_empty()) {
            selection.rows.push(row);
            selection.scores.push(score);
            picked.exclude(&[row])?;
            if selection.rows.len() as u32 == wanted {
                break;
            }
            nearest.add(&[row])?;
            next = if draws {
                // Drawn rows have no score; 1 keeps them apart from what fills up.
                nearest.draw(&numbers, Some(&picked))?.map(|row| (row, 1.0))
            } else {
                nearest.farthest(Some(&picked))?
            };
            query.progress(selection.rows.len() as u64, u64::from(wanted))?;
        }
        if draws {
            selection.scores.clear();
        }
        // Only points that coincide with picked ones are left: the most uncertain first.
        let missing = wanted - selection.rows.len() as u32;
        selection.rows.extend(unsure.top(Some(&second), missing, Some(&picked))?);
        if !draws {
            selection.scores.resize(selection.rows.len(), 0.0);
        }
        selection.diagnostics.push(("fallback_count".to_owned(), f64::from(missing)));
        Ok(selection)
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

/// The pool's range of uncertainty.
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn of(values: &[f64]) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { low, high }
    }

    /// Position in the range, in [0, 1]; 1 everywhere where the range is a point.
    fn weight(&self, value: f64) -> f32 {
        if self.high > self.low { ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0) as f32 } else { 1.0 }
    }

    /// Rows times their weights, as points that are never formed.
    fn weighted(&self, query: &Query, unsure: &Vector, rows: &Matrix) -> Result<Points> {
        let weights: Vec<f32> = unsure.to_vec()?.into_iter().map(|value| self.weight(value)).collect();
        query.new_matrix(weights.len() as u32, 1, &weights)?.outer_products(rows)
    }
}

package!(scorers: [], selectors: [Uwe]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uncertainty_is_scaled_to_the_unit_interval() {
        let weights = |values: &[f64]| values.iter().map(|&u| Scale::of(values).weight(u)).collect::<Vec<_>>();
        assert_eq!(weights(&[0.2, 0.6, 1.0]), [0.0, 0.5, 1.0]);
        assert_eq!(weights(&[0.3, 0.3]), [1.0, 1.0]);
        assert_eq!(Scale { low: 0.0, high: 1.0 }.weight(3.0), 1.0);
    }
}
