//! Batches drawn without replacement in proportion to a score, instead of its top.
//!
//! The top of a score holds near copies of one sample. With s the base score, r its rank from 1 and g a standard Gumbel
//! number of each sample, the batch is the top of
//!
//! - power: `beta ln s + g`, a draw in proportion to `s^beta`;
//! - softmax: `beta s + g`, a draw in proportion to `e^(beta s)`;
//! - softrank: `-beta ln r + g`, a draw in proportion to `r^-beta`.
//!
//! Base scores are at least 0: mutual information (`bald`), 1 - margin, entropy, and 1 - confidence. For power, samples
//! of score 0 come after all others, in base order.
//!
//! Kirsch, Farquhar, Atighehchian, Jesson, Branchaud-Charron and Gal, "Stochastic Batch Acquisition: A Simple Baseline
//! for Deep Active Learning", TMLR 2023 (arXiv 2106.12059).

// More than 150 lines: it holds twelve strategies, of three draws over four scores.

use querist_sdk::draws::Draws;
use querist_sdk::prelude::*;

const PAPER: &str =
    "Kirsch et al., Stochastic Batch Acquisition: A Simple Baseline for Deep Active Learning, TMLR 2023";

/// What the draw is in proportion to.
trait Base {
    fn needs(&self) -> Vec<Need>;

    /// Scores of at least 0 with their tie-breakers, for each visible row.
    fn scores(&self, query: &Query) -> Result<BaseScores>;

    fn beta(&self) -> f64;
}

struct BaseScores {
    scores: Vec<f64>,
    second: Vec<f64>,
}

impl BaseScores {
    fn of_draws(query: &Query, draws: u32) -> Result<Self> {
        let mut base = Self { scores: Vec::new(), second: Vec::new() };
        Draws::of(query, names::MC_LOG_PROBS, draws)?.for_each(|_, row| {
            let (score, second) = row.mutual_information();
            base.scores.push(score);
            base.second.push(second);
            Ok(())
        })?;
        Ok(base)
    }

    fn of_logits(query: &Query, measure: Uncertainty) -> Result<Self> {
        let (primary, second) = query.matrix(names::LOGITS)?.uncertainty(measure)?;
        let (scores, second) = (primary.to_vec()?, second.to_vec()?);
        // The margin's tie-breaker is 1 - margin without cancellation: the same order, and never negative.
        let scores = if measure == Uncertainty::Margin { second.clone() } else { scores };
        Ok(Self { scores, second })
    }
}

/// Scores of a row from its base score and its Gumbel number.
fn perturbed(tile: &Query, base: &impl Base, key: impl Fn(f64, f64) -> f64) -> Result<Scores> {
    let BaseScores { scores, second } = base.scores(tile)?;
    let keys: Vec<f64> = scores.iter().zip(tile.gumbels("gumbel")?).map(|(&score, g)| key(score, g)).collect();
    Ok((tile.vector(&keys)?, tile.vector(&second)?).into())
}

fn power(tile: &Query, base: &impl Base) -> Result<Scores> {
    let beta = base.beta();
    // The lowest finite score stands for minus infinity; the base order goes on among those.
    perturbed(tile, base, |score, g| if score > 0.0 { beta * math::ln(score) + g } else { f64::MIN })
}

fn softmax(tile: &Query, base: &impl Base) -> Result<Scores> {
    let beta = base.beta();
    perturbed(tile, base, |score, g| beta * score + g)
}

fn softrank(query: &Query, base: &impl Base) -> Result<Selection> {
    let BaseScores { scores, second } = base.scores(query)?;
    let order = query.vector(&scores)?.top(Some(&query.vector(&second)?), query.rows(), None)?;
    let mut keys = query.gumbels("gumbel")?;
    for (at, &row) in order.iter().enumerate() {
        keys[row as usize] -= base.beta() * math::ln(at as f64 + 1.0);
    }
    query.largest(&keys, &keys)
}

/// Parameters over mutual information, of which dropout draws are a part.
macro_rules! parameters {
    ($name:ident, $id:literal, Bald) => {
        params! {
            #[doc = concat!("Parameters of `", $id, "`.")]
            pub struct $name {
                /// Strength of the base score: near 0 the draw is uniform, for large values the batch is the top.
                #[schemars(range(max = 64.0))]
                #[schemars(extend("exclusiveMinimum" = 0.0, "x-querist-search" = {"log": [0.25, 16.0]}))]
                pub beta: f64 = 1.0,
                /// Passes with dropout on.
                #[serde(rename = "T")]
                #[schemars(range(min = 2, max = 1000))]
                pub draws: u32 = 10,
            }
        }

        impl Base for $name {
            fn needs(&self) -> Vec<Need> {
                vec![Need::new(names::MC_LOG_PROBS).with("T", self.draws)]
            }

            fn scores(&self, query: &Query) -> Result<BaseScores> {
                BaseScores::of_draws(query, self.draws)
            }

            fn beta(&self) -> f64 {
                self.beta
            }
        }
    };
    ($name:ident, $id:literal, $measure:ident) => {
        params! {
            #[doc = concat!("Parameters of `", $id, "`.")]
            pub struct $name {
                /// Strength of the base score: near 0 the draw is uniform, for large values the batch is the top.
                #[schemars(range(max = 64.0))]
                #[schemars(extend("exclusiveMinimum" = 0.0, "x-querist-search" = {"log": [0.25, 16.0]}))]
                pub beta: f64 = 1.0,
            }
        }

        impl Base for $name {
            fn needs(&self) -> Vec<Need> {
                vec![Need::new(names::LOGITS)]
            }

            fn scores(&self, query: &Query) -> Result<BaseScores> {
                BaseScores::of_logits(query, Uncertainty::$measure)
            }

            fn beta(&self) -> f64 {
                self.beta
            }
        }
    };
}

macro_rules! strategy {
    ($name:ident, $id:literal, $base:ident, $summary:expr, $aliases:expr) => {
        parameters!($name, $id, $base);

        impl Strategy for $name {
            const ID: &'static str = $id;
            const SUMMARY: &'static str = $summary;
            const PAPER: &'static str = PAPER;
            const COST: &'static str = "That of the base score, and O(N) for the draws.";
            const ALIASES: &'static [&'static str] = $aliases;

            fn needs(&self) -> Vec<Need> {
                Base::needs(self)
            }
        }
    };
}

macro_rules! scorers {
    ($draw:ident: $($name:ident, $id:literal, $base:ident, $summary:literal, $aliases:expr;)*) => { $(
        strategy!($name, $id, $base, $summary, $aliases);

        impl Scorer for $name {
            fn score(&self, tile: &Query) -> Result<Scores> {
                $draw(tile, self)
            }
        }
    )* };
}

macro_rules! selectors {
    ($($name:ident, $id:literal, $base:ident, $summary:literal;)*) => { $(
        strategy!($name, $id, $base, $summary, &[]);

        impl Selector for $name {
            fn select(&self, query: &Query) -> Result<Selection> {
                softrank(query, self)
            }
        }
    )* };
}

scorers! {
    power:
    PowerBald, "power-bald", Bald, "Samples drawn in proportion to a power of their mutual information with the model",
        &["PowerBALD"];
    PowerMargin, "power-margin", Margin, "Samples drawn in proportion to a power of 1 - margin", &["PowerMargin"];
    PowerEntropy, "power-entropy", Entropy, "Samples drawn in proportion to a power of their predictive entropy", &[];
    PowerLeastConfidence, "power-least-confidence", LeastConfidence,
        "Samples drawn in proportion to a power of 1 - confidence", &[];
}

scorers! {
    softmax:
    SoftmaxBald, "softmax-bald", Bald, "Samples drawn in proportion to e^(beta mutual information)", &[];
    SoftmaxMargin, "softmax-margin", Margin, "Samples drawn in proportion to e^(beta (1 - margin))", &[];
    SoftmaxEntropy, "softmax-entropy", Entropy, "Samples drawn in proportion to e^(beta entropy)", &[];
    SoftmaxLeastConfidence, "softmax-least-confidence", LeastConfidence,
        "Samples drawn in proportion to e^(beta (1 - confidence))", &[];
}

selectors! {
    SoftrankBald, "softrank-bald", Bald, "Samples drawn in proportion to a power of their rank by mutual information";
    SoftrankMargin, "softrank-margin", Margin, "Samples drawn in proportion to a power of their rank by margin";
    SoftrankEntropy, "softrank-entropy", Entropy, "Samples drawn in proportion to a power of their rank by entropy";
    SoftrankLeastConfidence, "softrank-least-confidence", LeastConfidence,
        "Samples drawn in proportion to a power of their rank by confidence";
}

package!(
    scorers: [
        PowerBald, PowerMargin, PowerEntropy, PowerLeastConfidence,
        SoftmaxBald, SoftmaxMargin, SoftmaxEntropy, SoftmaxLeastConfidence,
    ],
    selectors: [SoftrankBald, SoftrankMargin, SoftrankEntropy, SoftrankLeastConfidence]
);
