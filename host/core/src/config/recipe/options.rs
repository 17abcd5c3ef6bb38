//! The choices of a recipe.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Optimisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Optimiser {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with betas 0.9 and 0.999.
    Adam,
    /// Adam whose weight decay shrinks the weights themselves, apart from the gradient.
    Adamw,
}

/// How the learning rate changes after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The rate stays as it is.
    Constant,
    /// Times `gamma` at each of `milestones`.
    MultiStep,
    /// Times `gamma` after every `step_epochs` epochs.
    Step,
    /// Half a cosine down to 0 at the last step.
    Cosine,
    /// A triangle: from a fifth of the rate up to it at the share `peak` of all steps, then down to 0. No warm-up.
    OneCycle,
}

/// How many samples an epoch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EpochSamples {
    /// One pass over a set.
    Pass(Pass),
    /// So many, however many are labelled: passes follow each other, each in an order of its own.
    Samples(#[schemars(range(min = 1, max = 100_000_000))] usize),
    /// One pass over the labelled set, or so many samples where it has fewer: small sets are gone over more often.
    AtLeast(AtLeast),
}

/// Fewest samples of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AtLeast {
    /// Fewest samples of an epoch.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub at_least: usize,
}

impl Default for EpochSamples {
    fn default() -> Self {
        Self::Pass(Pass::Labelled)
    }
}

/// What an epoch goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pass {
    /// The labelled set, once.
    Labelled,
    /// As many samples as the larger of labelled set and pool has; the labelled set is repeated.
    Longest,
}

/// When training ends before the last epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Never.
    #[default]
    None,
    /// After an epoch whose training accuracy (augmented, dropout on) is at least this, such as
    /// `{ train_accuracy = 0.99 }`.
    TrainAccuracy(#[schemars(range(min = 0.0, max = 1.0))] f64),
    /// After an epoch whose summed loss, the sum of those of its minibatches, differs by less than this from that of
    /// the epoch before, such as `{ loss_change = 5e-4 }`.
    LossChange(#[schemars(range(min = 0.0, max = 1e6))] f64),
    /// After so many epochs without a better accuracy on the validation set, such as `{ patience = 10 }`. The labels of
    /// the validation set then take part in training, and each round's record counts them.
    Patience(#[schemars(range(min = 1, max = 100_000))] u32),
}

/// Which epoch's weights are the round's model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Evaluation {
    /// The last.
    #[default]
    Last,
    /// The first with the best accuracy on the validation set, whose labels then take part in training; each round's
    /// record counts them. The test set never decides.
    BestValidation,
}

/// Where a round's training starts. A strategy's own wish (`weight-decay-scheduling` and others) goes before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Fresh weights, drawn anew each round; batch-norm starts afresh, too. From `model.weights` where there are some.
    #[default]
    Reinit,
    /// As `reinit`, with the same weights each round.
    SameInit,
    /// The model of the round before goes on.
    Warm,
    /// The body of the round before goes on under a fresh head.
    HeadOnly,
    /// As `reinit`, and `model.weights` must be there.
    Pretrained,
}

impl Init {
    /// Whether a round starts from the model of the round before.
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Warm | Self::HeadOnly)
    }
}

/// What is trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Trained {
    /// Body and head.
    #[default]
    All,
    /// The head alone: the body is run in eval mode and stays as it is.
    Head,
}

/// Averages of weights over the steps of a training, which take the place of the weights themselves at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Averaging {
    /// None: the weights after the last step.
    #[default]
    None,
    /// A running mean over steps that keeps this share of itself, less in the first steps; batch-norm statistics are
    /// averaged alike. Such as `{ ema = 0.999 }`.
    Ema(#[schemars(range(min = 0.0, max = 0.999_999))] f64),
    /// The mean of the weights after each epoch from this share of the epochs on (Izmailov and others, 2018);
    /// batch-norm statistics are then measured anew in one pass over the labelled set. Such as `{ swa = 0.75 }`.
    Swa(#[schemars(range(min = 0.0, max = 0.999_999))] f64),
}
