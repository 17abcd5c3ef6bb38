//! What a training leaves behind.

use std::collections::BTreeMap;

use querist_protocol::TrainOverrides;
use serde::{Deserialize, Serialize};

use crate::config::{Adversarial, Evaluate};

/// What a training leaves behind, beside the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fitted {
    /// Training curve.
    pub epochs: Vec<EpochRecord>,
    /// What the strategy changed in the training.
    pub overrides: TrainOverrides,
    /// Named figures that the strategy recorded meanwhile.
    pub metrics: BTreeMap<String, f64>,
    /// The ensemble, where one was trained.
    pub ensemble: Option<EnsembleRecord>,
    /// Labels of the validation set that took part in the training.
    pub validation_labels: usize,
}

/// One epoch of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Epoch from 0.
    pub epoch: usize,
    /// Mean loss over the training samples.
    pub loss: f64,
    /// Share of right predictions over the training samples, as trained (augmented, dropout on).
    pub accuracy: f64,
    /// Mean of what the strategy added to the loss, by minibatch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_loss: Option<f64>,
    /// Accuracy on the validation set, where the recipe looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// Learning rate at the end of the epoch.
    pub lr: f64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// The ensemble of a round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnsembleRecord {
    /// What its members learned beside the cross-entropy.
    pub adversarial: Adversarial,
    /// Whose predictions the figures of the round are.
    pub evaluate: Evaluate,
    /// Samples of the pool whose images, without labels, took part in training.
    pub unlabelled: usize,
    /// Wall-clock seconds of the training of each member; the first is the task model where its are 0.
    pub seconds: Vec<f64>,
}
