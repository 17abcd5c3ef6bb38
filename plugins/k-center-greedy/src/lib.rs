//! Furthest-first cover: each pick is the pool sample farthest from everything labelled or picked so far.
//!
//! `pick = argmax_i min_{j in labelled + picks} dist(i, j)`, a 2-approximation of the smallest covering radius.
//!
//! Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018; the greedy
//! rule is Gonzalez', "Clustering to minimize the maximum intercluster distance", 1985.

use querist_sdk::prelude::*;

/// Distance between embeddings.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// Euclidean distance.
    #[default]
    Euclidean,
    /// 1 - cosine of the angle.
    Cosine,
}

/// The first pick where nothing is labelled yet.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum First {
    /// The sample nearest to the mean embedding.
    #[default]
    NearestMean,
    /// The sample with the largest embedding norm.
    MaxNorm,
    /// The first sample, as several published implementations do.
    Index0,
    /// A random sample.
    Random,
}

/// Parameters of k-center greedy.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [
    {},
    {"first": "nearest-mean", "metric": "euclidean"},
    {"first": "nearest-mean", "metric": "cosine"},
    {"first": "max-norm", "metric": "euclidean"},
    {"first": "max-norm", "metric": "cosine"},
    {"first": "index0", "metric": "euclidean"},
    {"first": "index0", "metric": "cosine"},
    {"first": "random", "metric": "euclidean"},
    {"first": "random", "metric": "cosine"},
]))]
pub struct KCenterGreedy {
    /// Distance between embeddings.
    pub metric: Distance,
    /// The first pick where nothing is labelled yet.
    pub first: First,
}

impl Strategy for KCenterGreedy {
    const ID: &'static str = "k-center-greedy";
    const SUMMARY: &'static str = "Samples that cover the pool: each is the farthest from all labelled and picked ones";
    const PAPER: &'static str =
        "Sener and Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018";
    const COST: &'static str = "O(N D (L + b)) time at most, far less where triangle bounds prune; O(N) memory.";
    const ALIASES: &'static [&'static str] = &["KCenterGreedy", "coreset", "CoreSet"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::EMBEDDINGS), Need::new("labelled.embeddings")]
    }
}

impl Selector for KCenterGreedy {
    fn select(&self, query: &Query) -> Result<Selection> {
        let pool = query.matrix(names::EMBEDDINGS)?;
        let points = pool.points()?;
        let nearest = points.nearest(self.metric())?;
        let mut picks = query.picks()?;
        if query.labelled_rows() > 0 {
            nearest.add_points(&query.matrix("labelled.embeddings")?.points()?)?;
        } else {
            let (row, score) = self.first_pick(query, &pool)?;
            picks.take(row, score)?;
            nearest.add(&[row])?;
        }
        for (row, distance) in nearest.furthest_first(picks.missing(), picks.taken())? {
            picks.take(row, distance)?;
        }
        // Only duplicates of what is covered are left: no choice among them is better than chance.
        picks.fill_at_random()
    }
}

impl KCenterGreedy {
    fn metric(&self) -> Metric {
        match self.metric {
            Distance::Euclidean => Metric::Euclidean,
            Distance::Cosine => Metric::Cosine,
        }
    }

    /// The first pick with the value it was picked by.
    fn first_pick(&self, query: &Query, pool: &Matrix) -> Result<(u32, f64)> {
        let best = |values: &Vector| -> Result<u32> { Ok(values.top(None, 1, None)?[0]) };
        match self.first {
            First::NearestMean => {
                let (row, distance) = pool.nearest_to_mean(self.metric())?;
                Ok((row, -distance))
            }
            First::MaxNorm => {
                let norms = pool.sq_norms()?;
                let row = best(&norms)?;
                Ok((row, norms.get(row)?.sqrt()))
            }
            First::Index0 => Ok((0, 0.0)),
            First::Random => {
                let keys = query.stream("first", StreamScope::Round)?.by_row(0)?;
                Ok((best(&keys)?, 0.0))
            }
        }
    }
}

package!(selectors: [KCenterGreedy]);
