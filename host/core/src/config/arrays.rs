//! Arrays that do not change from round to round.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ModelName, Stem};

/// Embeddings that do not change from round to round, for strategies that want them (`typiclust`, `probcover`, ...).
/// Files are read from the working folder; their SHA-256 is in the header, and a run goes on only with the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FixedConfig {
    /// A file of arrays.
    File(FixedFile),
    /// A model that is not trained any more.
    Frozen(FrozenModel),
}

/// A file of rows, one a sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedFile {
    /// `.npy`, `.npz` (`FILE#MEMBER`) or `.safetensors` (`FILE#TENSOR`), f32 `[rows, width]`, finite.
    pub file: String,
    /// File of the sample id of each row; every sample of the pool has one. Without it row i is of sample i, as
    /// `querist data files` lists them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<String>,
}

/// A model file whose embeddings of all samples are taken once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FrozenModel {
    /// A `model.safetensors` that a run has kept, or any file that `model.weights` takes. Its head may be of other
    /// classes.
    pub model: String,
    /// Its architecture.
    pub name: ModelName,
    /// Its stem, where that is not the default for these images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stem: Option<Stem>,
}
