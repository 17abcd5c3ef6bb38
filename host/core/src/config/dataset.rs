//! What is learned.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A dataset, by name or by place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// `digits` (built in), `mnist`, `fashion-mnist`, `emnist-balanced`, `emnist-letters`, `cifar10`, `cifar100`, or
    /// `folder` for images of your own in one folder a class.
    pub name: String,
    /// Folder or archive that holds it, relative to the working folder; the cache of `querist data fetch` where it is
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How folders of pictures are read; by their names where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<DatasetLayout>,
    /// Samples to hold out for validation, stratified by class; only for datasets without a validation set of their
    /// own. They are evaluated each round, and used for nothing else.
    #[serde(default)]
    pub validation: usize,
    /// Samples to hold out for the test, stratified by class; only for datasets without an official test set (`digits`,
    /// and `folder` without a test folder).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub test: Option<usize>,
    /// Side in pixels to which every image is resized; without it all images must be of one size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4, max = 1024))]
    pub size: Option<u32>,
}

/// What folders of pictures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetLayout {
    /// Each folder is a class, whatever its name.
    Classes,
    /// Each folder is a split (training, validation or test, by its name), with a folder a class in it.
    Splits,
    /// As `splits`, and what is called validation is the test set.
    ValidationIsTest,
}
