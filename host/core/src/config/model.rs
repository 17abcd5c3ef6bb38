//! The task model, and an ensemble of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Network architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ModelName {
    /// Three convolutions and a 128-wide embedding, for small grey images.
    Cnn,
    /// Two 5x5 convolutions with dropout and a 50-wide embedding.
    Lenet,
    /// Two hidden layers on the raw pixels.
    Mlp,
    /// ResNet-18 with the 3x3 stem for 32-pixel images.
    Resnet18,
}

/// The task model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Architecture.
    pub name: ModelName,
    /// Probability that an input of the last linear layer is dropped while training: a value of the embedding, or of
    /// the head's hidden layer where it has one. The architecture's own default (lenet 0.5, others 0) where it is left
    /// out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: Option<f64>,
    /// Units of a hidden layer between embedding and logits: the head is then linear, ReLU, dropout, linear. One linear
    /// layer where it is left out, which some strategies need.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub head_hidden: Option<u32>,
}

impl ModelConfig {
    /// The architecture with every option at its default.
    pub fn of(name: ModelName) -> Self {
        Self { name, dropout: None, head_hidden: None }
    }

    /// Probability that an input of the last linear layer is dropped, the architecture's own where none is set.
    pub fn dropout(&self) -> f64 {
        self.dropout.unwrap_or(if self.name == ModelName::Lenet { 0.5 } else { 0.0 })
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self::of(ModelName::Cnn)
    }
}

/// What the members of an ensemble learn beside the cross-entropy of their minibatch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Adversarial {
    /// Nothing.
    #[default]
    None,
    /// The cross-entropy of the same images, each pixel moved by `fgsm_eps` in the direction that raises it.
    Fgsm,
    /// Predictions that stay the same under the worst small change of *unlabelled* images of the pool (virtual
    /// adversarial training).
    Vat,
}

/// Whose predictions are evaluated in a run that trains an ensemble.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Evaluate {
    /// The mean of the members' class probabilities.
    #[default]
    Mean,
    /// Those of the task model, which is trained without adversarial images.
    Task,
}

/// How members are trained where a strategy needs an ensemble (`ensemble-*`); without one this table does nothing. How
/// many members there are is the strategy's parameter `members`.
///
/// Each is trained by the recipe on the same labels, from weights and in an order of its own. The first is the task
/// model itself, unless adversarial images take part. Members wait in main memory; one at a time is on the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnsembleConfig {
    /// What members learn beside the cross-entropy of their minibatch; recorded, and shown in reports.
    pub adversarial: Adversarial,
    /// Change of a pixel under `fgsm`, as a share of the range of its channel.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fgsm_eps: f64,
    /// Length of the change of an image under `vat`, in normalised pixels.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub vat_eps: f64,
    /// Length of the trial change from which `vat` finds the worst direction.
    #[schemars(range(min = 1e-9, max = 10.0))]
    pub vat_xi: f64,
    /// Trials of `vat`: steps of the power iteration.
    #[schemars(range(min = 1, max = 100))]
    pub vat_iters: u32,
    /// Whose figures a round records.
    pub evaluate: Evaluate,
}

impl Default for EnsembleConfig {
    fn default() -> Self {
        Self {
            adversarial: Adversarial::None,
            fgsm_eps: 0.01,
            vat_eps: 2.5,
            vat_xi: 1e-6,
            vat_iters: 1,
            evaluate: Evaluate::Mean,
        }
    }
}
