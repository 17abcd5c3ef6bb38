//! One representative of each of as many clusters as samples are wanted.
//!
//! The pool's embeddings are clustered with k-means into `batch` clusters; of each cluster the member nearest to the
//! centre is asked for. Clusters without a member left give nothing; what is missing is drawn at random.
//!
//! Baseline of Sener and Savarese, ICLR 2018, and strategy of Pourahmadi, Nooralinejad and Pirsiavash, "A Simple
//! Baseline for Low-Budget Active Learning", 2021 (arXiv 2110.12033).

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

/// Settings of published systems; a preset only sets defaults of the other parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// scikit-learn's defaults: 10 restarts, 300 iterations, k-means++, raw embeddings.
    S1,
    /// 5 restarts, 20 iterations, random points, L2-normalised embeddings.
    S2,
}

/// Parameters of k-means sampling.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kmeans {
    /// Published settings that replace the defaults below.
    pub preset: Option<Preset>,
    /// Restarts, of which the best is kept; 5 by default.
    #[schemars(range(min = 1, max = 100))]
    pub n_init: Option<u32>,
    /// Iterations of one restart at most; 20 by default.
    #[schemars(range(min = 1, max = 1000))]
    pub max_iter: Option<u32>,
    /// A restart ends when inertia falls by less than this share of itself; 1e-4 by default.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub tol: Option<f64>,
    /// How the first centres are placed; `kmeans++` by default.
    pub init: Option<Placement>,
    /// How embeddings are scaled before they are clustered; `none` by default.
    pub normalize: Option<Normalise>,
}

impl Strategy for Kmeans {
    const ID: &'static str = "kmeans";
    const SUMMARY: &'static str = "The sample nearest to the centre of each of as many k-means clusters as are wanted";
    const PAPER: &'static str =
        "Pourahmadi, Nooralinejad and Pirsiavash, A Simple Baseline for Low-Budget Active Learning, 2021";
    const ALIASES: &'static [&'static str] = &["KMeansSampling"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::EMBEDDINGS)]
    }
}

impl Selector for Kmeans {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        let mut selection = Selection::default();
        if wanted == query.rows() {
            selection.rows = (0..wanted).collect();
            return Ok(selection);
        }
        if wanted > 0 {
            let embeddings = query.matrix(names::EMBEDDINGS)?;
            let rows = match self.scaling() {
                Normalise::None => embeddings,
                Normalise::L2 => embeddings.normalise()?,
            };
            let clusters = rows.kmeans(None, self.options(wanted), &query.stream("kmeans", StreamScope::Round)?)?;
            selection.rows = clusters.representatives(None)?.into_iter().flatten().collect();
            selection.diagnostics.push(("inertia".to_owned(), clusters.inertia()?));
        }
        query.refill_at_random(&mut selection)?;
        Ok(selection)
    }
}

impl Kmeans {
    fn scaling(&self) -> Normalise {
        let preset = if self.preset == Some(Preset::S2) { Normalise::L2 } else { Normalise::None };
        self.normalize.unwrap_or(preset)
    }

    fn options(&self, clusters: u32) -> KmeansOptions {
        let (restarts, iterations) = if self.preset == Some(Preset::S1) { (10, 300) } else { (5, 20) };
        let random = self.preset == Some(Preset::S2);
        let init = self.init.unwrap_or(if random { Placement::RandomPoints } else { Placement::KmeansPlusPlus });
        KmeansOptions {
            clusters,
            restarts: self.n_init.unwrap_or(restarts),
            max_iterations: self.max_iter.unwrap_or(iterations),
            tolerance: self.tol.unwrap_or(1e-4),
            init: match init {
                Placement::KmeansPlusPlus => Init::KmeansPlusPlus,
                Placement::RandomPoints => Init::RandomPoints,
            },
        }
    }
}

package!(scorers: [], selectors: [Kmeans]);
