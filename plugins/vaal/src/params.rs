//! Choices that both strategies have.

use querist_sdk_torch::prelude::*;

/// How the divergences of a batch and its latent dimensions become one number.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = with_underscores)]
pub enum KlReduction {
    /// Summed over both, as the authors' code has it. The posterior is then all but pinned to the prior.
    #[default]
    Sum,
    /// Mean over both.
    Mean,
    /// Summed over dimensions, mean over the batch.
    SumDim,
}

/// What happens to training images.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TrainTransform {
    /// The recipe's crops and flips.
    #[default]
    Train,
    /// Nothing.
    Eval,
}
