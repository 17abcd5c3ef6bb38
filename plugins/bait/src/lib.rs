//! Batches that lower the variance of predictions: Bayesian experimental design with the Fisher information of the
//! head.
//!
//! With p the class probabilities and h the input of the last layer, a sample's information about that layer is
//! `I = (diag p - p pᵀ) (x) h hᵀ`. With M the information of labelled and picked samples plus `lambda` times the
//! identity, and F the mean information of all samples, the batch makes `tr(M⁻¹ F)` small: `oversample` times as many
//! as wanted are added one by one, each the one that lowers it most, and then those are removed whose loss raises it
//! least.
//!
//! The middle matrix is split as `R Rᵀ` with R of `[classes, rank]`, so that every change is one of low rank, which the
//! host's design engine makes in place of products of `(C D)²` matrices:
//!
//! | `fisher` | what is kept | rank |
//! | --- | --- | --- |
//! | `exact` | all of it | C - 1 |
//! | `topk` | the gradients of the `topk` most probable classes, in proportion to their probabilities | `topk` |
//! | `binary` | `p (1 - p) h hᵀ` of the most probable class | 1, of D by D |
//!
//! Labelled samples weigh `1 / (L + b)`. The authors' code weighs picked ones `b / (L + b)` (`weighting = "authors"`),
//! the plain mean weighs them like the others (`"average"`).
//!
//! Ash, Goel, Krishnamurthy and Kakade, "Gone Fishing: Neural Active Learning with Fisher Embeddings", NeurIPS 2021
//! (arXiv 2106.09675); `topk` and `binary`: Huseljic, Hahn, Herde, Rauch and Sick, "Fast Fishing: Approximating BAIT
//! for Efficient and Scalable Deep Active Image Classification", ECML-PKDD 2024 (arXiv 2404.08981).

// More than 150 lines: three forms of the information are factored here, and picks are both added and removed.

mod factors;

use factors::Form;
use querist_sdk::prelude::*;
use querist_sdk::principal;
use querist_sdk::protocol::{Fault, FaultCode};

/// Side of the exact matrices up to which they are the default.
const EXACT_UP_TO: u64 = 8192;

/// How the Fisher information is represented.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fisher {
    /// As `exact` while classes times width are at most 8192, as `binary` beyond.
    #[default]
    Auto,
    /// In full.
    Exact,
    /// By the most probable classes.
    Topk,
    /// As that of the most probable class against all others.
    Binary,
}

/// Weight of a picked sample.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// `b` times that of a labelled one, as in the authors' code.
    #[default]
    Authors,
    /// That of a labelled one.
    Average,
}

params! {
    /// Parameters of BAIT.
    #[schemars(extend("examples" = [
        {"pca_dim": 8},
        {"fisher": "topk", "pca_dim": 5, "include_bias": true, "weighting": "average"},
        {"fisher": "binary", "preset": "al-baselines"},
    ]))]
    pub struct Bait {
        /// Multiple of the identity that the information starts from.
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        pub lambda: f64 = 1.0,
        /// How many times the batch is added before the surplus is removed.
        #[schemars(range(min = 1.0))]
        pub oversample: f64 = 2.0,
        /// How the Fisher information is represented.
        pub fisher: Fisher = Fisher::Auto,
        /// Classes that `fisher = "topk"` keeps, at most all.
        #[schemars(range(min = 1))]
        pub topk: u32 = 2,
        /// Weight of a picked sample.
        pub weighting: Weighting = Weighting::Authors,
        /// Principal components that the embeddings are reduced to; all of their columns where it is left out.
        #[schemars(range(min = 1))]
        pub pca_dim: Option<u32> = None,
        /// Whether the last layer's bias counts too.
        pub include_bias: bool = false,
    }
}

impl Strategy for Bait {
    const ID: &'static str = "bait";
    const SUMMARY: &'static str = "Batches that lower the variance of predictions most, by Fisher information";
    const PAPER: &'static str = "Ash et al., Gone Fishing: Neural Active Learning with Fisher Embeddings, NeurIPS 2021";
    const COST: &'static str = "exact and topk: O(b (N C D r + (C D)^2 r)) time and O(N r^2 + (C D)^2) memory with \
                                rank r = C - 1 or topk; binary: O(b (N D + D^2)) time and O(N + D^2) memory.";
    const ALIASES: &'static [&'static str] = &["BAIT", "BaitSampling"];
    const RANKS_ALL: bool = false;

    fn layers() -> Vec<Layer<Self>> {
        let for_images = |bait: &mut Self| (bait.lambda, bait.fisher) = (0.01, Fisher::Exact);
        vec![
            Layer::preset("al-baselines", "euphoria0-0/Active-Learning-for-Image-Classification.", for_images)
                .once_called("preset", "s0"),
            Layer::preset("authors-code", "The authors' script as it stands.", |bait: &mut Self| {
                bait.fisher = Fisher::Exact;
            })
            .once_called("preset", "authors"),
            Layer::preset("authors-code-cifar", "What the authors' script does for CIFAR-10.", for_images)
                .once_called("preset", "cifar"),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        Need::all([names::LOGITS, names::PENULTIMATE, "labelled.logits", "labelled.penultimate"])
    }
}

impl Selector for Bait {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        let (pool, labelled) = self.embeddings(query)?;
        let form = self.form(query.classes(), pool.shape()?.1);
        let shape = factors::Shape::of(form, query.classes(), self.topk);
        let of_pool = factors::factors(query, names::LOGITS, shape)?;
        let of_labelled = factors::factors(query, "labelled.logits", shape)?;
        let together = f64::from(query.labelled_rows()) + f64::from(wanted);
        let options = DesignOptions {
            rank: shape.rank,
            ridge: self.lambda,
            labelled_weight: 1.0 / together,
            added_weight: match self.weighting {
                Weighting::Authors => f64::from(wanted) / together,
                Weighting::Average => 1.0 / together,
            },
        };
        let design = of_pool.design(&pool, &of_labelled, &labelled, options).map_err(advise)?;
        let mut picks = query.picks()?;
        for (row, gain) in self.forward_and_back(query, &design)? {
            picks.take(row, gain)?;
        }
        picks.note("rank", shape.rank);
        Ok(picks.done())
    }
}

impl Bait {
    fn form(&self, classes: u32, width: u32) -> Form {
        let fits = u64::from(classes) * u64::from(width) <= EXACT_UP_TO;
        match self.fisher {
            Fisher::Auto if fits => Form::Exact,
            Fisher::Auto => Form::Binary,
            Fisher::Exact => Form::Exact,
            Fisher::Topk => Form::Topk,
            Fisher::Binary => Form::Binary,
        }
    }

    /// Embeddings of the pool and of the labelled set, reduced and with a bias where that is wanted.
    fn embeddings(&self, query: &Query) -> Result<(Matrix, Matrix)> {
        let (mut pool, mut labelled) = (query.matrix(names::PENULTIMATE)?, query.matrix("labelled.penultimate")?);
        if let Some(components) = self.pca_dim {
            (pool, labelled) = principal::reduced(query, &pool, &labelled, components)?;
        }
        if self.include_bias {
            (pool, labelled) = (pool.with_ones()?, labelled.with_ones()?);
        }
        Ok((pool, labelled))
    }

    fn forward_and_back(&self, query: &Query, design: &Design) -> Result<Vec<(u32, f64)>> {
        let wanted = query.wanted() as usize;
        let most = (self.oversample * wanted as f64).ceil().min(f64::from(query.rows())) as usize;
        let steps = (2 * most - wanted) as u64;
        let mut picked: Vec<(u32, f64)> = Vec::with_capacity(most);
        while picked.len() < most {
            let Some((row, gain)) = design.best()? else { break };
            design.add(row)?;
            picked.push((row, gain));
            query.progress(picked.len() as u64, steps)?;
        }
        while picked.len() > wanted {
            let Some((row, _)) = design.least()? else { break };
            design.remove(row)?;
            picked.retain(|&(kept, _)| kept != row);
            query.progress((2 * most - picked.len()) as u64, steps)?;
        }
        Ok(picked)
    }
}

/// Says what helps where memory does not suffice.
fn advise(error: StrategyError) -> StrategyError {
    match error {
        StrategyError::Fault(Fault { code: FaultCode::Quota, message }) => StrategyError::Fault(Fault::new(
            FaultCode::Quota,
            format!("{message}; choose `fisher = \"binary\"` or `\"topk\"`, set `pca_dim`, or raise the memory limit"),
        )),
        other => other,
    }
}

package!(selectors: [Bait]);
