//! What a strategy that takes part in training agrees on with the host.

use serde::{Deserialize, Serialize};

/// Where the weights of a round's model come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitPolicy {
    /// Fresh weights, drawn anew each round.
    Reinit,
    /// The weights of the round before.
    Warm,
    /// Fresh weights, the same ones each round.
    SameInit,
}

/// Which images a stream goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamOf {
    /// The labelled set, with labels.
    Labelled,
    /// The pool, without labels.
    Unlabelled,
}

/// What happens to an image before a network sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transform {
    /// The recipe's random crops and flips, then normalisation.
    Train,
    /// Normalisation alone.
    Eval,
}

/// How many steps an epoch has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EpochLength {
    /// One pass over the labelled set.
    #[default]
    Labelled,
    /// One pass over the longer of labelled set and pool; the shorter is cycled.
    Longest,
}

/// Images of the pool beside each labelled minibatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnlabelledStream {
    /// What happens to its images.
    pub transform: Transform,
    /// Images beside each minibatch; as many as are labelled where this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minibatch: Option<u32>,
}

/// What a strategy changes in the training of one round. Whatever is left out stays as the recipe has it.
///
/// It is checked before training starts and written into the round's record, because results of changed trainings
/// compare with others only if readers know of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainOverrides {
    /// Weight decay, 0 or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Where weights come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<InitPolicy>,
    /// Share of the inputs of the last linear layer dropped in training, in [0, 1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Length of an epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_length: Option<EpochLength>,
    /// Images of the pool beside each minibatch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlabelled: Option<UnlabelledStream>,
    /// Whether the model of this round is kept for the next one to look at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_previous_model: bool,
    /// Whether `batch_loss` sees the model's stage maps. No change of the training by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stage_maps: bool,
    /// Whether `batch_loss` sees the loss of each sample. No change of the training by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sample_losses: bool,
}
