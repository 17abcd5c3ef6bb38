//! Parameters, and the formulas that they choose among.

use querist_sdk_torch::prelude::*;
use schemars::Schema;

use crate::critic::{CriticOptimiser, CriticOutput, Settings};

/// Least logarithm of a probability: one that underflowed must not decide alone.
const LEAST_LOG: f64 = -30.0;

fn with_peer(schema: &mut Schema) {
    add_old_name(schema, "peer", "authors-code");
}

/// How the means over pool and labelled set are weighed against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = with_peer)]
pub enum Bias {
    /// Alike, as the batch to be selected is expected to be like the pool.
    Balanced,
    /// The labelled set less, by the paper's formula, which leaves the batch out. A critic without bounds then follows
    /// what both sets share, and a sample unlike both may look labelled.
    Paper,
    /// The labelled set by its size over the pool's, as the authors' code does.
    AuthorsCode,
}

/// A bound on a sample's loss, smallest for a uniform prediction p.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = with_underscores)]
pub enum Uncertainty {
    /// `-log min p`.
    Worst,
    /// `-sum log p`.
    L1,
    /// The root of the sum of the squares of log p.
    L2,
    /// Half of `l1` and half of `worst`.
    Mix,
    /// Half of `l1` and half of `l2`.
    MixL2,
}

/// What an epoch goes through once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EpochOf {
    /// The larger of labelled set and pool, as published.
    #[default]
    Longest,
    /// The labelled set, which is faster.
    Labelled,
}

params! {
    /// Parameters of WAAL.
    pub struct WaalParams {
        /// Weight of the distance in the loss of the task's model.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub mu_train: f64 = 2e-3,
        /// Weight of the critic in a score.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub mu_query: f64 = 10.0,
        /// How pool and labelled set are weighed in the distance. `balanced` finds what the labelled set lacks
        /// where `paper` does not.
        pub bias: Bias = Bias::Paper,
        /// Weight of the gradient penalty in the critic's loss; a negative one rewards steepness.
        #[schemars(range(min = -1e6, max = 1e6))]
        pub gp_weight: f64 = 2.0,
        /// Steps of the critic on each minibatch.
        #[schemars(range(min = 1, max = 1000))]
        pub critic_steps: u32 = 1,
        /// What the critic's number passes at last.
        pub critic_output: CriticOutput = CriticOutput::Linear,
        /// Share of the critic's hidden values dropped in training, below 1.
        #[schemars(range(min = 0.0, max = 1.0))]
        pub critic_dropout: f64 = 0.0,
        /// How the critic steps.
        pub critic_optimiser: CriticOptimiser = CriticOptimiser::Adam,
        /// Learning rate of the critic.
        #[schemars(range(min = 0.0))]
        pub critic_lr: f64 = 1e-3,
        /// Momentum of the critic's SGD, below 1.
        #[schemars(range(min = 0.0, max = 1.0))]
        pub critic_momentum: f64 = 0.3,
        /// The bound on a sample's loss.
        pub uncertainty: Uncertainty = Uncertainty::Mix,
        /// What an epoch goes through once.
        pub epoch_length: EpochOf = EpochOf::Longest,
        /// Images of the pool beside each minibatch. As many as are labelled in it where it is left out.
        #[schemars(range(min = 1, max = 65_536))]
        pub unlabelled_minibatch: Option<u32> = None,
    }
}

impl WaalParams {
    /// What the critic is and how it learns.
    pub fn critic(&self) -> Settings {
        Settings {
            output: self.critic_output,
            dropout: self.critic_dropout,
            gp_weight: self.gp_weight,
            optimiser: self.critic_optimiser,
            lr: self.critic_lr,
            momentum: self.critic_momentum,
        }
    }
}

impl Strategy for WaalParams {
    const ID: &'static str = "waal";
    const SUMMARY: &'static str =
        "Uncertain samples that a critic tells from the labelled ones, in features that hide it";
    const PAPER: &'static str =
        "Shui et al., Deep Active Learning: Unified and Principled Method for Query and Training, AISTATS 2020";
    const COST: &'static str = "A critic in every step of training, with a gradient of a gradient, beside a minibatch \
                                of the pool; O(N C) time to choose.";
    const ALIASES: &'static [&'static str] = &["WAAL"];

    fn layers() -> Vec<Layer<Self>> {
        let text = "The authors' code: the penalty of a wrong sign, where a sigmoid bounds the critic; its learning \
                    rate 0.01 times `mu_train`, since the code multiplies the critic's loss with that.";
        let set = |waal: &mut Self| {
            (waal.bias, waal.gp_weight, waal.uncertainty) = (Bias::AuthorsCode, -2.0, Uncertainty::MixL2);
            (waal.critic_output, waal.critic_dropout) = (CriticOutput::Sigmoid, 0.5);
            (waal.critic_optimiser, waal.critic_lr) = (CriticOptimiser::Sgd, 0.01 * waal.mu_train);
        };
        vec![
            Layer::preset("paper", "The paper's formulas: the defaults.", |_: &mut Self| ())
                .once_called("profile", "paper"),
            Layer::preset("authors-code", text, set).once_called("profile", "peer"),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::IMAGES)]
    }

    fn check(&self) -> Result<(), String> {
        let Settings { dropout, momentum, .. } = self.critic();
        for (name, value) in [("critic_dropout", dropout), ("critic_momentum", momentum)] {
            if value >= 1.0 {
                return Err(format!("{name} is {value}, expected 0 or more and below 1"));
            }
        }
        Ok(())
    }
}

/// What the two sides of the distance weigh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// The whole distance, where the task's model feels it.
    pub whole: f64,
    /// The labelled side beside the pool's, which weighs 1.
    pub labelled: f64,
}

/// The weights, where U samples are unlabelled, L labelled and B are to be selected.
///
/// With the pool's mean g(U), the distance between all samples and those with labels after the query is
/// `g(U) - c g(L) - (1 - c) g(B)` but for a constant factor, with `c = (U - B) L / (U (L + B))`. The batch B is unknown
/// while the model trains. `balanced` puts in what a random one would give, which makes it `c (g(U) - g(L))`. The
/// paper's formula leaves the last term out; what remains grows with any constant that is added to g, and pulls g along
/// whatever direction all embeddings share. `authors-code` is the code's, `g(U) - L/U g(L)`, which only its sigmoid
/// bounds.
pub fn weights(bias: Bias, unlabelled: u32, labelled: u32, batch: u32) -> Weights {
    let [u, l, b] = [unlabelled.max(1), labelled, batch.min(unlabelled)].map(f64::from);
    let c = (u - b) * l / (u * (l + b).max(1.0));
    match bias {
        Bias::Balanced => Weights { whole: c, labelled: 1.0 },
        Bias::Paper => Weights { whole: 1.0, labelled: c },
        Bias::AuthorsCode => Weights { whole: 1.0, labelled: l / u },
    }
}

/// Bounds on the losses of samples, `f64 [n]`, of logits `[n, classes]`.
///
/// # Errors
/// If libtorch fails.
pub fn uncertainty(logits: &Tensor, of: Uncertainty) -> Result<Tensor> {
    let costs = logits.f_log_softmax(1, Kind::Double)?.f_clamp_min(LEAST_LOG)?.f_neg()?;
    let bound = |of: Uncertainty| uncertainty(logits, of);
    let half = |a: Tensor, b: Tensor| a.f_add(&b)?.f_mul_scalar(0.5);
    Ok(match of {
        Uncertainty::Worst => costs.f_amax([1], false)?,
        Uncertainty::L1 => costs.f_sum_dim_intlist(1, false, None)?,
        Uncertainty::L2 => costs.f_square()?.f_sum_dim_intlist(1, false, None)?.f_sqrt()?,
        Uncertainty::Mix => half(bound(Uncertainty::L1)?, bound(Uncertainty::Worst)?)?,
        Uncertainty::MixL2 => half(bound(Uncertainty::L1)?, bound(Uncertainty::L2)?)?,
    })
}
