//! One representative of each of as many clusters as samples are wanted.
//!
//! `kmeans` clusters the pool's embeddings into `batch` clusters and selects the member of each that is nearest to the
//! centre. Clusters without a member left give nothing; what is missing is drawn at random.
//!
//! `accu-kmeans` clusters pool and labelled set together and selects the nearest unlabelled member of each cluster.
//! What clusters without one leave missing, the others give in turn, the largest first, each its next-nearest.
//!
//! Baseline of Sener and Savarese, ICLR 2018, and strategy of Pourahmadi, Nooralinejad and Pirsiavash, "A Simple
//! Baseline for Low-Budget Active Learning", 2021 (arXiv 2110.12033).

// More than 150 lines: two strategies share its parameters, and each has their presets.

use querist_sdk::prelude::*;

/// How embeddings are scaled before they are clustered.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Normalise {
    /// Not at all.
    #[default]
    None,
    /// To Euclidean norm 1.
    L2,
}

/// How the first centres are placed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Placement {
    /// Each next centre is drawn with probability proportional to its squared distance from the nearest one.
    #[default]
    #[serde(rename = "kmeans++")]
    KmeansPlusPlus,
    /// Distinct samples, each equally likely.
    #[serde(rename = "random-points")]
    RandomPoints,
}

params! {
    /// Parameters of k-means sampling.
    #[schemars(extend("examples" = [
        {"n_init": 2},
        {"preset": "cure-lab", "n_init": 2},
        {"preset": "low-budget"},
        {"init": "random-points", "normalize": "l2", "max_iter": 3, "tol": 0.0},
    ]))]
    pub struct Kmeans {
        /// Restarts, of which the best is kept.
        #[schemars(range(min = 1, max = 100))]
        pub n_init: u32 = 5,
        /// Iterations of one restart at most.
        #[schemars(range(min = 1, max = 1000))]
        pub max_iter: u32 = 20,
        /// A restart ends when inertia falls by less than this share of itself.
        #[schemars(range(min = 0.0, max = 1.0))]
        pub tol: f64 = 1e-4,
        /// How the first centres are placed.
        pub init: Placement = Placement::KmeansPlusPlus,
        /// How embeddings are scaled before they are clustered.
        pub normalize: Normalise = Normalise::None,
    }
}

impl Kmeans {
    /// As scikit-learn does by default.
    fn as_cure_lab(&mut self) {
        (self.n_init, self.max_iter) = (10, 300);
    }

    fn as_low_budget(&mut self) {
        (self.init, self.normalize) = (Placement::RandomPoints, Normalise::L2);
    }
}

/// The presets of both strategies.
fn presets<S>(cure_lab: fn(&mut S), low_budget: fn(&mut S)) -> Vec<Layer<S>> {
    vec![
        Layer::preset(
            "cure-lab",
            "cure-lab/deep-active-learning, whose values are scikit-learn's: 10 restarts, 300 iterations.",
            cure_lab,
        )
        .once_called("preset", "s1"),
        Layer::preset(
            "low-budget",
            "UCDvision/low-budget-al: random points as first centres, embeddings of norm 1.",
            low_budget,
        )
        .once_called("preset", "s2"),
    ]
}

impl Strategy for Kmeans {
    const ID: &'static str = "kmeans";
    const SUMMARY: &'static str = "The sample nearest to the centre of each of as many k-means clusters as are wanted";
    const PAPER: &'static str =
        "Pourahmadi, Nooralinejad and Pirsiavash, A Simple Baseline for Low-Budget Active Learning, 2021";
    const COST: &'static str = "O(N b D) time an iteration and restart at most, far less where bounds prune; 2 N b \
                                bytes for the bounds at most, and O(N + b D).";
    const ALIASES: &'static [&'static str] = &["KMeansSampling"];
    const RANKS_ALL: bool = false;

    fn layers() -> Vec<Layer<Self>> {
        presets(Self::as_cure_lab, Self::as_low_budget)
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::EMBEDDINGS)]
    }
}

impl Selector for Kmeans {
    fn select(&self, query: &Query) -> Result<Selection> {
        let clusters = self.cluster(query, query.matrix(names::EMBEDDINGS)?)?;
        let mut picks = query.picks()?;
        picks.take_all(clusters.representatives(None)?.into_iter().flatten())?;
        picks.note("inertia", clusters.inertia()?);
        picks.fill_at_random()
    }
}

impl Kmeans {
    /// As many clusters of `rows` as samples are wanted.
    fn cluster(&self, query: &Query, rows: Matrix) -> Result<Clustering> {
        let rows = match self.normalize {
            Normalise::None => rows,
            Normalise::L2 => rows.normalise()?,
        };
        rows.kmeans(None, self.options(query.wanted()), &query.stream("kmeans", StreamScope::Round)?)
    }

    fn options(&self, clusters: u32) -> KmeansOptions {
        KmeansOptions {
            clusters,
            restarts: self.n_init,
            max_iterations: self.max_iter,
            tolerance: self.tol,
            init: match self.init {
                Placement::KmeansPlusPlus => Init::KmeansPlusPlus,
                Placement::RandomPoints => Init::RandomPoints,
            },
        }
    }
}

/// Parameters of k-means sampling over pool and labelled set: those of [`Kmeans`].
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("examples" = [{"n_init": 2}, {"preset": "low-budget", "n_init": 2}]))]
pub struct AccuKmeans(pub Kmeans);

impl Strategy for AccuKmeans {
    const ID: &'static str = "accu-kmeans";
    const SUMMARY: &'static str =
        "The unlabelled sample nearest to the centre of each k-means cluster of the whole dataset";
    const PAPER: &'static str = Kmeans::PAPER;
    const COST: &'static str = "O(A b D) time an iteration and restart at most, far less where bounds prune; 2 A b \
                                bytes for the bounds at most, and O(A + b D).";
    const ALIASES: &'static [&'static str] = &["accu_kmeans"];
    const RANKS_ALL: bool = false;

    fn layers() -> Vec<Layer<Self>> {
        presets(|accu| accu.0.as_cure_lab(), |accu| accu.0.as_low_budget())
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::EMBEDDINGS), Need::new("labelled.embeddings")]
    }
}

impl Selector for AccuKmeans {
    fn select(&self, query: &Query) -> Result<Selection> {
        let (rows, all) = (query.rows(), query.rows() + query.labelled_rows());
        let dataset = query.matrix(names::EMBEDDINGS)?.stack(&query.matrix("labelled.embeddings")?)?;
        let clusters = self.0.cluster(query, dataset)?;
        let taken = query.mask(all)?;
        taken.exclude(&(rows..all).collect::<Vec<_>>())?;
        let mut picks = query.picks()?;
        picks.take_all(clusters.representatives(Some(&taken))?.into_iter().flatten())?;
        picks.note("inertia", clusters.inertia()?);
        picks.note("fallback_count", picks.missing());
        let sizes = clusters.sizes()?;
        let mut by_size: Vec<usize> = (0..sizes.len()).collect();
        by_size.sort_by_key(|&cluster| std::cmp::Reverse(sizes[cluster]));
        while picks.missing() > 0 {
            taken.exclude(picks.rows())?;
            let next = clusters.representatives(Some(&taken))?;
            let left = picks.missing() as usize;
            picks.take_all(by_size.iter().filter_map(|&cluster| next[cluster]).take(left))?;
        }
        Ok(picks.done())
    }
}

package!(selectors: [Kmeans, AccuKmeans]);
