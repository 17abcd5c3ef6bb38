//! Expected predictive information gain: what a label would tell about the labels of a target set.
//!
//! With p_t the class distribution of a sample in draw t of the model and p*_t that of a target, their joint
//! distribution is the mean over draws of the outer product of the two. The score is the mean over targets of the
//! mutual information of the two labels, in nats. Draws must be coherent: draw t is the same network for every sample.
//!
//! The chain rule makes it one kernel call: given that target j has class c, the draws have the weights
//! `p*_jt(c) / sum_t p*_jt(c)`, so the score is `H(mean_t p_t) - sum_jc P(j, c) H(sum_t weight_jct p_t)`.
//!
//! Bickford Smith, Kirsch, Farquhar, Gal, Foster and Rainforth, "Prediction-Oriented Bayesian Active Learning", AISTATS
//! 2023 (arXiv 2304.08151).
//!
//! `coremse` and `corelog` ask the same with other scores and other batches.

// More than 150 lines: three strategies, and the decomposition that tells estimation rows apart.

mod bemps;

use querist_sdk::draws::Draws;
use querist_sdk::prelude::*;

pub use bemps::{Batch, CoreLog, CoreMse};

/// Where the targets come from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Random samples of the pool, others in every round.
    #[default]
    Pool,
    /// A target set of the host, such as unlabelled samples of the place of use.
    Provided,
}

impl Target {
    fn needs(self, draws: u32, n_target: u32) -> Vec<Need> {
        let coherent = |name| Need::new(name).with("T", draws).with_flag("coherent");
        let mut needs = vec![coherent(names::MC_LOG_PROBS)];
        if self == Self::Provided {
            let target = coherent(names::TARGET_MC_LOG_PROBS);
            needs.push(if n_target == u32::MAX { target } else { target.with("n", n_target) });
        }
        needs
    }

    /// Calls `visit` with the class distributions of each target, `[draws * classes]`: at most `n_target` of the pool.
    fn for_each(self, query: &Query, pool: &Draws, n_target: u32, mut visit: impl FnMut(&[f64])) -> Result<()> {
        match self {
            Self::Pool if n_target == u32::MAX => pool.for_each(|_, row| {
                visit(&row.probs);
                Ok(())
            }),
            Self::Pool => {
                let keys = query.stream("targets", StreamScope::Round)?.by_row(0)?;
                for row in keys.top(None, n_target, None)? {
                    visit(&pool.probs(row)?);
                }
                Ok(())
            }
            Self::Provided => Draws::of(query, names::TARGET_MC_LOG_PROBS, pool.draws() as u32)?.for_each(|_, row| {
                visit(&row.probs);
                Ok(())
            }),
        }
    }
}

/// How a batch is made of the scores.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stochastic {
    /// The largest scores.
    #[default]
    None,
    /// A draw without replacement in proportion to the scores; scores of 0 come last, in order of their rows.
    Power,
}

params! {
    /// Parameters of EPIG.
    #[schemars(extend("examples" = [{}, {"target": "provided", "stochastic": "power"}]))]
    pub struct Epig {
        /// Passes with dropout on.
        #[serde(rename = "T")]
        #[schemars(range(min = 2, max = 1000))]
        pub draws: u32 = 10,
        /// Targets; the whole pool where it is smaller.
        #[schemars(range(min = 1, max = 100_000))]
        pub n_target: u32 = 100,
        /// Where the targets come from.
        pub target: Target = Target::Pool,
        /// How a batch is made of the scores.
        pub stochastic: Stochastic = Stochastic::None,
    }
}

impl Strategy for Epig {
    const ID: &'static str = "epig";
    const SUMMARY: &'static str = "Samples whose label would tell most about predictions on a target set";
    const PAPER: &'static str = "Bickford Smith et al., Prediction-Oriented Bayesian Active Learning, AISTATS 2023";
    const COST: &'static str = "O(N n C^2 T) time with n targets; O(C^2 n) memory a chunk of rows.";
    const ALIASES: &'static [&'static str] = &["EPIG"];

    fn needs(&self) -> Vec<Need> {
        self.target.needs(self.draws, self.n_target)
    }

    fn may_need() -> Vec<Need> {
        vec![Need::new(names::TARGET_MC_LOG_PROBS)]
    }
}

impl Selector for Epig {
    fn select(&self, query: &Query) -> Result<Selection> {
        let pool = Draws::of(query, names::MC_LOG_PROBS, self.draws)?;
        let mut targets = Targets::new(&pool);
        self.target.for_each(query, &pool, self.n_target, |probs| targets.add(probs))?;
        let scores = targets.information(query, pool.log_probs())?;
        if self.stochastic == Stochastic::None {
            return query.largest(&scores, &scores);
        }
        let mut keys = query.gumbels("gumbel")?;
        for (key, &score) in keys.iter_mut().zip(&scores) {
            *key = if score > 0.0 { math::ln(score) + *key } else { f64::MIN };
        }
        query.largest(&keys, &scores)
    }
}

/// Draws weighted by what each class of each target says of them.
struct Targets {
    draws: usize,
    classes: usize,
    count: u32,
    /// `draws` weights for each class of each target that is possible.
    weights: Vec<f64>,
    /// Probability of each such class.
    shares: Vec<f64>,
}

impl Targets {
    fn new(pool: &Draws) -> Self {
        Self { draws: pool.draws(), classes: pool.classes(), count: 0, weights: Vec::new(), shares: Vec::new() }
    }

    /// Adds a target by its class distributions, `[draws * classes]`.
    fn add(&mut self, probs: &[f64]) {
        self.count += 1;
        for class in 0..self.classes {
            let of_class = || probs[class..].iter().step_by(self.classes);
            let total: f64 = of_class().sum();
            if total > 0.0 {
                self.weights.extend(of_class().map(|p| p / total));
                self.shares.push(total / self.draws as f64);
            }
        }
    }

    /// Mean information of each row about the targets; rows hold log-probabilities, `[rows, draws * classes]`.
    fn information(&mut self, query: &Query, rows: &Matrix) -> Result<Vec<f64>> {
        let apart = entropies(query, rows, self.draws as u32)?;
        self.told(query, rows, &apart)
    }

    /// The same, of rows whose labels have the entropies `apart` before anything is told.
    fn told(&mut self, query: &Query, rows: &Matrix, apart: &[f64]) -> Result<Vec<f64>> {
        if self.count == 0 {
            return Err(StrategyError::Failed("the target set is empty".to_owned()));
        }
        self.shares.iter_mut().for_each(|share| *share /= f64::from(self.count));
        let given = rows.mixture_entropy(&query.vector(&self.weights)?, &query.vector(&self.shares)?)?.to_vec()?;
        Ok(apart.iter().zip(given).map(|(apart, given)| (apart - given).max(0.0)).collect())
    }
}

/// Entropy of each row's label: that of its mean over draws.
fn entropies(query: &Query, rows: &Matrix, draws: u32) -> Result<Vec<f64>> {
    let weights = vec![1.0 / f64::from(draws); draws as usize];
    rows.mixture_entropy(&query.vector(&weights)?, &query.vector(&[1.0])?)?.to_vec()
}

package!(selectors: [Epig, CoreMse, CoreLog]);
