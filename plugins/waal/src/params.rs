//! Parameters, and the formulas that they choose among.

use querist_sdk_torch::prelude::*;

use crate::critic::{CriticOptimiser, CriticOutput, Settings};

/// Least logarithm of a probability: one that underflowed must not decide alone.
const LEAST_LOG: f64 = -30.0;

/// Where paper and the authors' released code differ, whose values are the defaults.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The paper's.
    #[default]
    Paper,
    /// The code's, whose penalty has the wrong sign; its sigmoid is what bounds the critic.
    Peer,
}

/// How the means over pool and labelled set are weighed against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bias {
    /// Alike, as the batch to be selected is expected to be like the pool.
    Balanced,
    /// The labelled set less, by the paper's formula, which leaves the batch out. A critic without bounds then follows
    /// what both sets share, and a sample unlike both may look labelled.
    Paper,
    /// The labelled set by its size over the pool's, as the code does.
    Peer,
}

/// A bound on a sample's loss, smallest for a uniform prediction p.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
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

/// Parameters of WAAL.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WaalParams {
    /// Sets the defaults of `bias`, `gp_weight`, `critic_output`, `critic_dropout`, `critic_optimiser`, `critic_lr` and
    /// `uncertainty`.
    pub profile: Profile,
    /// Weight of the distance in the loss of the task's model.
    #[schemars(range(min = 0.0, max = 1e6))]
    pub mu_train: f64,
    /// Weight of the critic in a score.
    #[schemars(range(min = 0.0, max = 1e6))]
    pub mu_query: f64,
    /// How pool and labelled set are weighed in the distance. Null: `paper`, or `peer` in that profile;
    /// `balanced` finds what the labelled set lacks where `paper` does not.
    pub bias: Option<Bias>,
    /// Weight of the gradient penalty in the critic's loss; a negative one rewards steepness. Null: 2; -2 in profile
    /// `peer`.
    #[schemars(range(min = -1e6, max = 1e6))]
    pub gp_weight: Option<f64>,
    /// Steps of the critic on each minibatch.
    #[schemars(range(min = 1, max = 1000))]
    pub critic_steps: u32,
    /// What the critic's number passes at last. Null: `linear`; `sigmoid` in profile `peer`.
    pub critic_output: Option<CriticOutput>,
    /// Share of the critic's hidden values dropped in training, below 1. Null: 0; 0.5 in profile `peer`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub critic_dropout: Option<f64>,
    /// How the critic steps. Null: `adam`; `sgd` in profile `peer`.
    pub critic_optimiser: Option<CriticOptimiser>,
    /// Learning rate of the critic. Null: 0.001; 0.01 times `mu_train` in profile `peer`, whose code multiplies the
    /// critic's loss with `mu_train`.
    #[schemars(range(min = 0.0))]
    pub critic_lr: Option<f64>,
    /// Momentum of the critic's SGD, below 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub critic_momentum: f64,
    /// The bound on a sample's loss. Null: `mix`; `mix_l2` in profile `peer`.
    pub uncertainty: Option<Uncertainty>,
    /// What an epoch goes through once.
    pub epoch_length: EpochOf,
    /// Images of the pool beside each minibatch. Null: as many as are labelled in it.
    #[schemars(range(min = 1, max = 65_536))]
    pub unlabelled_minibatch: Option<u32>,
}

impl Default for WaalParams {
    fn default() -> Self {
        Self {
            profile: Profile::Paper,
            mu_train: 2e-3,
            mu_query: 10.0,
            bias: None,
            gp_weight: None,
            critic_steps: 1,
            critic_output: None,
            critic_dropout: None,
            critic_optimiser: None,
            critic_lr: None,
            critic_momentum: 0.3,
            uncertainty: None,
            epoch_length: EpochOf::Longest,
            unlabelled_minibatch: None,
        }
    }
}

impl WaalParams {
    fn by_profile<T>(&self, paper: T, peer: T) -> T {
        match self.profile {
            Profile::Paper => paper,
            Profile::Peer => peer,
        }
    }

    /// How pool and labelled set are weighed.
    pub fn bias(&self) -> Bias {
        self.bias.unwrap_or(self.by_profile(Bias::Paper, Bias::Peer))
    }

    /// What the critic's number passes at last.
    pub fn critic_output(&self) -> CriticOutput {
        self.critic_output.unwrap_or(self.by_profile(CriticOutput::Linear, CriticOutput::Sigmoid))
    }

    /// The bound on a sample's loss.
    pub fn uncertainty(&self) -> Uncertainty {
        self.uncertainty.unwrap_or(self.by_profile(Uncertainty::Mix, Uncertainty::MixL2))
    }

    /// What the critic is and how it learns.
    pub fn critic(&self) -> Settings {
        Settings {
            output: self.critic_output(),
            dropout: self.critic_dropout.unwrap_or(self.by_profile(0.0, 0.5)),
            gp_weight: self.gp_weight.unwrap_or(self.by_profile(2.0, -2.0)),
            optimiser: self.critic_optimiser.unwrap_or(self.by_profile(CriticOptimiser::Adam, CriticOptimiser::Sgd)),
            lr: self.critic_lr.unwrap_or(self.by_profile(1e-3, 0.01 * self.mu_train)),
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
    const COST: &'static str = "A critic in every step of training, with a gradient of a gradient, beside a minibatch of the pool; O(N C) time to choose.";
    const ALIASES: &'static [&'static str] = &["WAAL"];

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
/// whatever direction all embeddings share. `peer` is the code's, `g(U) - L/U g(L)`, which only its sigmoid bounds.
pub fn weights(bias: Bias, unlabelled: u32, labelled: u32, batch: u32) -> Weights {
    let [u, l, b] = [unlabelled.max(1), labelled, batch.min(unlabelled)].map(f64::from);
    let c = (u - b) * l / (u * (l + b).max(1.0));
    match bias {
        Bias::Balanced => Weights { whole: c, labelled: 1.0 },
        Bias::Paper => Weights { whole: 1.0, labelled: c },
        Bias::Peer => Weights { whole: 1.0, labelled: l / u },
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
