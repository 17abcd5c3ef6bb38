//! Typical samples of clusters that are not covered yet: for small budgets.
//!
//! The whole dataset is clustered by k-means into as many clusters as there will be labels. Clusters with the fewest
//! labels come first, larger ones before smaller ones; each gives its most typical sample, the one with the smallest
//! mean distance to its nearest neighbours among the cluster's unlabelled samples.
//!
//! Hacohen, Dekel and Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets", ICML 2022
//! (arXiv 2202.02794).

use std::cmp::Reverse;
use std::collections::VecDeque;

use querist_sdk::prelude::*;

/// What typicality averages over the neighbours.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// The Euclidean distance, as in the paper.
    #[default]
    L2,
    /// Its square, as in the authors' code.
    Sq,
}

/// How many neighbours a cluster of n samples allows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Neighbours {
    /// All others, n - 1.
    #[default]
    Others,
    /// Half the cluster, n / 2, as in the authors' code.
    Half,
}

/// Parameters of TypiClust.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Typiclust {
    /// Clusters at most; there is one a label otherwise, old and new.
    #[schemars(range(min = 1))]
    pub max_clusters: u32,
    /// Clusters of this size or smaller are selected only when nothing else is left.
    pub min_cluster_size: u32,
    /// Nearest neighbours that typicality looks at.
    #[schemars(range(min = 1))]
    pub k_nn: u32,
    /// What typicality averages over the neighbours.
    pub distance: Distance,
    /// How many neighbours a cluster smaller than `k_nn` allows.
    pub neighbours: Neighbours,
    /// Restarts of k-means, of which the best is kept.
    #[schemars(range(min = 1, max = 100))]
    pub n_init: u32,
    /// Iterations of one restart at most.
    #[schemars(range(min = 1, max = 1000))]
    pub max_iter: u32,
}

impl Default for Typiclust {
    fn default() -> Self {
        Self {
            max_clusters: 500,
            min_cluster_size: 5,
            k_nn: 20,
            distance: Distance::L2,
            neighbours: Neighbours::Others,
            n_init: 1,
            max_iter: 100,
        }
    }
}

impl Strategy for Typiclust {
    const ID: &'static str = "typiclust";
    const SUMMARY: &'static str = "The most typical sample of each of the clusters with the fewest labels";
    const PAPER: &'static str = "Hacohen, Dekel and Weinshall, Active Learning on a Budget: Opposite Strategies Suit \
                                 High and Low Budgets, ICML 2022";
    const COST: &'static str =
        "O(A K D) time an iteration of k-means with K clusters, then O(A^2 D / K) for neighbours; O(A) memory.";
    const ALIASES: &'static [&'static str] = &["typiclust_rp"];

    fn layers() -> Vec<Layer<Self>> {
        let text = "The authors' code: squared distances, and at most half of a cluster as neighbours.";
        let set = |typiclust: &mut Self| {
            (typiclust.distance, typiclust.neighbours) = (Distance::Sq, Neighbours::Half);
        };
        vec![Layer::preset("authors-code", text, set).once_called("preset", "authors")]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::FIXED_EMBEDDINGS), Need::new("labelled.fixed_embeddings")]
    }

    fn check(&self) -> Result<(), String> {
        for (name, value) in [("max_clusters", self.max_clusters), ("k_nn", self.k_nn), ("n_init", self.n_init)] {
            if value == 0 {
                return Err(format!("{name} is 0, but it must be at least 1"));
            }
        }
        Ok(())
    }
}

impl Selector for Typiclust {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        let mut selection = Selection::default();
        if wanted == query.rows() {
            selection.rows = (0..wanted).collect();
            return Ok(selection);
        }
        if wanted == 0 {
            return Ok(selection);
        }
        let features =
            query.matrix(names::FIXED_EMBEDDINGS)?.stack(&query.matrix("labelled.fixed_embeddings")?)?.normalise()?;
        let (large, small) = self.clusters(query, &features)?;
        // Small clusters are the fallback, one sample each in turn like the others.
        for (clusters, is_fallback) in [(large, false), (small, true)] {
            let before = selection.rows.len();
            self.take_in_turn(query, &features, clusters, &mut selection)?;
            if is_fallback {
                let taken = (selection.rows.len() - before) as f64;
                selection.diagnostics.push(("fallback_count".to_owned(), taken));
            }
        }
        Ok(selection)
    }
}

/// A cluster: its number, its size with labelled samples, how many these are, and its unlabelled rows, ascending.
#[derive(Debug, Default, Clone)]
struct Cluster {
    number: usize,
    size: u32,
    labelled: u32,
    open: Vec<u32>,
}

impl Typiclust {
    /// Clusters above the least size and the others, each in the order of asking.
    fn clusters(&self, query: &Query, features: &Matrix) -> Result<(Vec<Cluster>, Vec<Cluster>)> {
        let all = query.rows() + query.labelled_rows();
        let count = query.labelled_rows().saturating_add(query.wanted()).min(self.max_clusters).min(all);
        let options = KmeansOptions {
            clusters: count,
            restarts: self.n_init,
            max_iterations: self.max_iter,
            tolerance: 1e-4,
            init: Init::KmeansPlusPlus,
        };
        let clustering = features.kmeans(None, options, &query.stream("kmeans", StreamScope::Round)?)?;
        let mut clusters = vec![Cluster::default(); count as usize];
        for (row, &number) in clustering.read(0, all)?.iter().enumerate() {
            let cluster = &mut clusters[number as usize];
            cluster.number = number as usize;
            cluster.size += 1;
            if row < query.rows() as usize {
                cluster.open.push(row as u32);
            } else {
                cluster.labelled += 1;
            }
        }
        clusters.sort_by_key(|cluster| (cluster.labelled, Reverse(cluster.size), cluster.number));
        Ok(clusters.into_iter().partition(|cluster| cluster.size > self.min_cluster_size))
    }

    /// One sample of each cluster in turn, round and round, until enough are picked or none is left.
    fn take_in_turn(
        &self,
        query: &Query,
        features: &Matrix,
        clusters: Vec<Cluster>,
        selection: &mut Selection,
    ) -> Result<()> {
        let mut turns: VecDeque<Vec<u32>> = clusters.into_iter().map(|cluster| cluster.open).collect();
        while let Some(mut open) = turns.pop_front() {
            if selection.rows.len() as u32 == query.wanted() {
                break;
            }
            if open.is_empty() {
                continue;
            }
            let at = self.most_typical(features, &open)?;
            selection.rows.push(open.remove(at));
            turns.push_back(open);
            query.progress(selection.rows.len() as u64, u64::from(query.wanted()))?;
        }
        Ok(())
    }

    /// Position of the row with the smallest mean distance to its nearest neighbours among `open`.
    fn most_typical(&self, features: &Matrix, open: &[u32]) -> Result<usize> {
        let count = open.len() as u32;
        if count == 1 {
            return Ok(0);
        }
        let limit = match self.neighbours {
            Neighbours::Others => count - 1,
            Neighbours::Half => (count / 2).max(1),
        };
        let metric = match self.distance {
            Distance::L2 => Metric::Euclidean,
            Distance::Sq => Metric::SqEuclidean,
        };
        let spread = features.gather(open)?.neighbour_distance(self.k_nn.min(limit), metric)?.to_vec()?;
        let mut best = 0;
        for (at, &distance) in spread.iter().enumerate() {
            if distance < spread[best] {
                best = at;
            }
        }
        Ok(best)
    }
}

package!(scorers: [], selectors: [Typiclust]);
