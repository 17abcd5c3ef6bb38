//! Smallest margins, spread over clusters from the smallest to the largest.
//!
//! The dataset is clustered once, by average linkage of its embeddings. In each round the samples with the smallest
//! margins between their two most probable classes are grouped by cluster; the groups are visited from the smallest to
//! the largest, round and round, and each visit takes one sample.
//!
//! Citovsky, DeSalvo, Gentile, Karydas, Rajagopalan, Rostamizadeh and Kumar, "Batch Active Learning at Scale", NeurIPS
//! 2021 (arXiv 2107.14263).

// More than 150 lines: clusters of a part are extended to the dataset, and remembered by sample from round to round.

mod hierarchy;

use std::collections::BTreeMap;

use querist_sdk::prelude::*;
use serde_json::{Value, json};

use hierarchy::{Clusters, clustered};

/// Distance between embeddings.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// 1 - cosine of the angle.
    #[default]
    Cosine,
    /// Squared Euclidean distance.
    Sqeuclidean,
    /// Euclidean distance. It keeps half the square of the clustered samples in memory, so only some 11 000 fit.
    Euclidean,
}

/// Lets keys be written with hyphens, too, as they once were.
fn with_hyphens(schema: &mut schemars::Schema) {
    let Some(forms) = schema.get_mut("oneOf").and_then(Value::as_array_mut) else { return };
    let hyphened = |form: &Value| {
        let properties = form.get("properties")?.as_object()?;
        let (key, value) = properties.iter().find(|(key, _)| key.contains('_'))?;
        let (hyphened, mut form) = (key.replace('_', "-"), form.clone());
        form["properties"] = json!({ &hyphened: value });
        form["required"] = json!([hyphened]);
        form["deprecated"] = Value::Bool(true);
        Some(form)
    };
    let old: Vec<Value> = forms.iter().filter_map(hyphened).collect();
    forms.extend(old);
}

/// Where the hierarchy of clusters is cut.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = with_hyphens)]
pub enum Cut {
    /// Into clusters of this many samples on average, at least 1.
    #[serde(alias = "avg-size")]
    AvgSize(#[schemars(range(min = 1.0))] f64),
    /// Into this many clusters, at least 1.
    #[serde(alias = "n-clusters")]
    NClusters(#[schemars(range(min = 1))] u32),
    /// Into clusters that are more than this distance apart, which is at least 0.
    Threshold(#[schemars(range(min = 0.0))] f64),
}

/// Which sample of a group a visit takes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Within {
    /// Any, as in the paper.
    #[default]
    Random,
    /// The one with the smallest margin.
    Margin,
}

/// When clusters are made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Recluster {
    /// In the first round, for the whole run.
    #[default]
    Once,
    /// Anew in every round.
    EveryRound,
}

params! {
    /// Parameters of Cluster-Margin.
    #[schemars(extend("examples" = [
        {},
        {"preset": "cure-lab", "recluster": "every-round"},
        {"max_hac_points": 300, "metric": "sqeuclidean", "cut": {"threshold": 0.5}},
    ]))]
    pub struct ClusterMargin {
        /// Candidates per wanted sample.
        #[schemars(range(min = 1.0, max = 1e9), extend("x-querist-search" = {"log": [1.0, 100.0]}))]
        pub margin_factor: f64 = 10.0,
        /// Where the hierarchy is cut.
        pub cut: Cut = Cut::AvgSize(2.0),
        /// Distance between embeddings.
        pub metric: Distance = Distance::Cosine,
        /// Which sample of a group a visit takes.
        pub within: Within = Within::Random,
        /// Samples that are clustered at most; others join the nearest cluster.
        #[schemars(range(min = 2))]
        pub max_hac_points: u32 = 20_000,
        /// When clusters are made.
        pub recluster: Recluster = Recluster::Once,
    }
}

impl Strategy for ClusterMargin {
    const ID: &'static str = "cluster-margin";
    const SUMMARY: &'static str = "Samples with small margins, one of each cluster in turn, small clusters first";
    const PAPER: &'static str = "Citovsky et al., Batch Active Learning at Scale, NeurIPS 2021";
    const COST: &'static str = "O(A^2 D) time once, when the clustering is made; O(A D) memory: no A x A matrix.";
    const ALIASES: &'static [&'static str] = &["ClusterMargin", "ClusterMarginSampling"];

    fn layers() -> Vec<Layer<Self>> {
        let text =
            "cure-lab/deep-active-learning: 20 clusters by Euclidean distance, the smallest margin of each first.";
        let set = |margin: &mut Self| {
            margin.cut = Cut::NClusters(20);
            margin.metric = Distance::Euclidean;
            margin.within = Within::Margin;
        };
        vec![Layer::preset("cure-lab", text, set).once_called("preset", "s1")]
    }

    fn needs(&self) -> Vec<Need> {
        Need::all([names::LOGITS, names::EMBEDDINGS, "labelled.embeddings"])
    }
}

impl Selector for ClusterMargin {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        let (clusters, state) = self.clusters(query)?;
        let (margin, second) = query.matrix(names::LOGITS)?.uncertainty(Uncertainty::Margin)?;
        // A count beyond 32 bits saturates, and no more than the pool is there anyway.
        let count = ((self.margin_factor * f64::from(wanted)).ceil() as u32).clamp(wanted, query.rows());
        let candidates = margin.top(Some(&second), count, None)?;
        let keys = match self.within {
            Within::Margin => None,
            Within::Random => Some(query.stream("within", StreamScope::Round)?.by_row(0)?.to_vec()?),
        };
        let mut picks = query.picks()?;
        picks.keep(state);
        picks.take_all(in_turn(&candidates, |row| clusters[row as usize], keys.as_deref(), wanted))?;
        picks.fill_at_random()
    }
}

impl ClusterMargin {
    /// The cluster of each pool row, and the state that remembers those of the whole dataset.
    fn clusters(&self, query: &Query) -> Result<(Vec<u32>, Option<Vec<u8>>)> {
        let ids = query.ids()?;
        if self.recluster == Recluster::Once
            && let Some(state) = query.state()
        {
            let known = Clusters::read(state)?;
            let clusters = ids.iter().map(|id| known.of(*id)).collect::<Result<Vec<u32>>>()?;
            return Ok((clusters, Some(state.to_vec())));
        }
        let dataset = query.matrix(names::EMBEDDINGS)?.stack(&query.matrix("labelled.embeddings")?)?;
        let mut clusters = clustered(query, dataset, self.metric, self.cut, self.max_hac_points)?;
        if self.recluster == Recluster::EveryRound {
            clusters.truncate(ids.len());
            return Ok((clusters, None));
        }
        let mut all = ids;
        all.extend(query.labelled_ids()?);
        let state = Clusters::write(&all, &clusters);
        clusters.truncate(query.rows() as usize);
        Ok((clusters, Some(state)))
    }
}

/// Rows by visits to the groups of candidates, smallest group first, one row a visit.
///
/// `candidates` are ordered by margin; a visit takes the first of them that is left, or the one with the largest key.
/// Groups of one size are ordered by their best margin, which no two share the place of.
fn in_turn(candidates: &[u32], cluster_of: impl Fn(u32) -> u32, keys: Option<&[f64]>, wanted: u32) -> Vec<u32> {
    let mut by_cluster: BTreeMap<u32, (usize, Vec<u32>)> = BTreeMap::new();
    for (place, &row) in candidates.iter().enumerate() {
        by_cluster.entry(cluster_of(row)).or_insert_with(|| (place, Vec::new())).1.push(row);
    }
    let mut groups: Vec<(usize, Vec<u32>)> = by_cluster.into_values().collect();
    groups.sort_by_key(|(place, rows)| (rows.len(), *place));
    for (_, rows) in &mut groups {
        match keys {
            Some(keys) => rows.sort_by(|&a, &b| keys[a as usize].total_cmp(&keys[b as usize]).then(b.cmp(&a))),
            None => rows.reverse(),
        }
    }
    let mut picks = Vec::with_capacity(wanted as usize);
    while picks.len() < wanted as usize && !groups.is_empty() {
        let left = wanted as usize - picks.len();
        picks.extend(groups.iter_mut().filter_map(|(_, rows)| rows.pop()).take(left));
        groups.retain(|(_, rows)| !rows.is_empty());
    }
    picks
}

package!(selectors: [ClusterMargin]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_go_from_small_groups_to_large_ones() {
        // Clusters 7, 8 and 9 with 5, 1 and 2 candidates, in the order of margins.
        let clusters = [7, 7, 9, 7, 8, 9, 7, 7];
        let picks = |wanted| in_turn(&[0, 1, 2, 3, 4, 5, 6, 7], |row| clusters[row as usize], None, wanted);
        assert_eq!(picks(4), [4, 2, 0, 5], "one of each, then the smallest that is not used up");
        assert_eq!(picks(8), [4, 2, 0, 5, 1, 3, 6, 7]);
    }

    #[test]
    fn groups_of_one_size_are_ordered_by_their_best_margin() {
        let clusters = [5, 4, 4, 5];
        assert_eq!(in_turn(&[0, 1, 2, 3], |row| clusters[row as usize], None, 4), [0, 1, 3, 2]);
        let keys = [0.1, 0.9, 0.2, 0.8];
        assert_eq!(in_turn(&[0, 1, 2, 3], |row| clusters[row as usize], Some(&keys), 4), [3, 1, 0, 2]);
    }
}
