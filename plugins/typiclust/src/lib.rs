//! Typical samples of clusters that are not covered yet: for small budgets.
//!
//! The whole dataset is clustered by k-means into as many clusters as there will be labels. Clusters with the fewest
//! labels come first, larger ones before smaller ones; each gives its most typical sample, the one with the smallest
//! mean distance to its nearest neighbours among the cluster's unlabelled samples.
//!
//! Hacohen, Dekel and Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets", ICML
//! 2022 (arXiv 2202.02794).

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

params! {
    /// Parameters of TypiClust.
    #[schemars(extend("examples" =
        [{}, {"preset": "authors-code"}, {"max_clusters": 20, "k_nn": 3, "min_cluster_size": 30}]))]
    pub struct Typiclust {
        /// Clusters at most; there is one a label otherwise, old and new.
        #[schemars(range(min = 1))]
        pub max_clusters: u32 = 500,
        /// Clusters of this size or smaller are selected only when nothing else is left.
        pub min_cluster_size: u32 = 5,
        /// Nearest neighbours that typicality looks at.
        #[schemars(range(min = 1))]
        pub k_nn: u32 = 20,
        /// What typicality averages over the neighbours.
        pub distance: Distance = Distance::L2,
        /// How many neighbours a cluster smaller than `k_nn` allows.
        pub neighbours: Neighbours = Neighbours::Others,
        /// Restarts of k-means, of which the best is kept.
        #[schemars(range(min = 1, max = 100))]
        pub n_init: u32 = 1,
        /// Iterations of one restart at most.
        #[schemars(range(min = 1, max = 1000))]
        pub max_iter: u32 = 100,
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
    const RANKS_ALL: bool = false;

    fn layers() -> Vec<Layer<Self>> {
        let text = "The authors' code: squared distances, and at most half of a cluster as neighbours.";
        let set = |params: &mut Self| (params.distance, params.neighbours) = (Distance::Sq, Neighbours::Half);
        vec![Layer::preset("authors-code", text, set).once_called("preset", "authors")]
    }

    fn needs(&self) -> Vec<Need> {
        Need::all([names::FIXED_EMBEDDINGS, "labelled.fixed_embeddings"])
    }
}

impl Selector for Typiclust {
    fn select(&self, query: &Query) -> Result<Selection> {
        let features =
            query.matrix(names::FIXED_EMBEDDINGS)?.stack(&query.matrix("labelled.fixed_embeddings")?)?.normalise()?;
        let (large, small) = self.clusters(query, &features)?;
        let mut picks = query.picks()?;
        self.take_in_turn(&features, large, &mut picks)?;
        // Small clusters are the fallback, one sample each in turn like the others.
        picks.note("fallback_count", picks.missing());
        self.take_in_turn(&features, small, &mut picks)?;
        Ok(picks.done())
    }
}

/// A cluster: its size with labelled samples, and its unlabelled rows, ascending.
#[derive(Debug, Default, Clone)]
struct Cluster {
    size: usize,
    open: Vec<u32>,
}

impl Typiclust {
    /// Clusters above the least size and the others, each in the order in which they give samples.
    fn clusters(&self, query: &Query, features: &Matrix) -> Result<(Vec<Cluster>, Vec<Cluster>)> {
        let all = query.rows() + query.labelled_rows();
        let count = query.labelled_rows().saturating_add(query.wanted()).min(self.max_clusters).min(all);
        let options =
            KmeansOptions { restarts: self.n_init, max_iterations: self.max_iter, ..KmeansOptions::new(count) };
        let clustering = features.kmeans(None, options, &query.stream("kmeans", StreamScope::Round)?)?;
        let mut clusters = vec![Cluster::default(); count as usize];
        for (row, &number) in clustering.read(0, all)?.iter().enumerate() {
            let cluster = &mut clusters[number as usize];
            cluster.size += 1;
            cluster.open.extend(Some(row as u32).filter(|&row| row < query.rows()));
        }
        // Equals stay in the order of their numbers.
        clusters.sort_by_key(|cluster| (cluster.size - cluster.open.len(), std::cmp::Reverse(cluster.size)));
        Ok(clusters.into_iter().partition(|cluster| cluster.size > self.min_cluster_size as usize))
    }

    /// One sample of each cluster in turn, round and round, until enough are picked or none is left.
    fn take_in_turn(&self, features: &Matrix, clusters: Vec<Cluster>, picks: &mut Picks) -> Result<()> {
        let some = |open: &Vec<u32>| !open.is_empty();
        let mut turns: VecDeque<Vec<u32>> = clusters.into_iter().map(|cluster| cluster.open).filter(some).collect();
        while picks.missing() > 0
            && let Some(mut open) = turns.pop_front()
        {
            let at = self.most_typical(features, &open)?;
            picks.take(open.remove(at), None)?;
            turns.extend(Some(open).filter(some));
        }
        Ok(())
    }

    /// Position of the row with the smallest mean distance to its nearest neighbours among `open`.
    fn most_typical(&self, features: &Matrix, open: &[u32]) -> Result<usize> {
        let count = open.len() as u32;
        if count == 1 {
            return Ok(0);
        }
        let limit = if self.neighbours == Neighbours::Half { (count / 2).max(1) } else { count - 1 };
        let metric = if self.distance == Distance::Sq { Metric::SqEuclidean } else { Metric::Euclidean };
        let spread = features.gather(open)?.neighbour_distance(self.k_nn.min(limit), metric)?.to_vec()?;
        Ok(math::argmin(&spread))
    }
}

package!(selectors: [Typiclust]);
