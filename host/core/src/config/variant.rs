//! What is done to the pool of a dataset for a study.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ColumnsConfig, ListConfig};

/// Changes of the pool, made in this order after the split: validation and test set stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VariantConfig {
    /// Samples of the pool that are kept, drawn with the shares of the classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub subset: Option<usize>,
    /// Imbalance factor: the first class keeps what the smallest class has, the last this many times fewer, and the
    /// classes between fall in equal ratios.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1.0, max = 1e6))]
    pub long_tail: Option<f64>,
    /// Share of the pool whose label becomes another class, each of the others alike often.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub label_noise: Option<f64>,
    /// Samples of another dataset that are put into the pool, as one class more, `foreign`, that no test sample has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub foreign: Option<ForeignConfig>,
    /// How often each sample is in the pool: once, and copies with noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 1000))]
    pub repeat: Option<u32>,
    /// Standard deviation of the noise of copies, where pixels are 0 to 1. Copies bear the label of their sample.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub repeat_noise: f64,
}

/// Samples of another dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForeignConfig {
    /// The other dataset, as `dataset.name`; of its training samples some are drawn. Images are resized to those of the
    /// first.
    pub name: String,
    /// Where it lies, as `dataset.path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its files where it is a list, as `dataset.list`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListConfig>,
    /// Its columns where it is a table, as `dataset.columns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<ColumnsConfig>,
    /// How many of its samples.
    #[schemars(range(min = 1))]
    pub count: usize,
}
