//! What is labelled before the first round.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is labelled before the first round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Initial {
    /// So many samples, drawn at random. With 0 the strategy chooses the first batch without a trained model: one that
    /// needs nothing of it.
    Samples(usize),
    /// A share of the pool, such as `"10%"`, drawn at random.
    Share(#[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?%$"), extend("examples" = ["10%"]))] String),
    /// So many samples of each class, drawn at random, such as `{ each_class = 5 }`.
    Classes(Classes),
    /// The samples that a file lists, such as `{ file = "initial.txt" }`.
    File(IndexFile),
}

/// Samples of each class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Classes {
    /// One number for all classes, or a list of one for each.
    pub each_class: EachClass,
}

/// Numbers of samples by class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EachClass {
    /// The same number of each.
    Same(#[schemars(range(min = 1))] usize),
    /// Of each class its own number, in the order of the classes.
    List(#[schemars(length(min = 1, max = 100_000))] Vec<usize>),
}

/// A file of sample numbers: `.npy` of integers, or text with one number a line or with commas between them. It is read
/// from the working folder; its SHA-256 is in the header, and a run goes on only with the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexFile {
    /// The file.
    pub file: String,
    /// The number of the first sample: 0, or 1 as in lists made with MATLAB.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 1))]
    pub base: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(base: &u64) -> bool {
    *base == 0
}

/// How the initial set is found, with nothing left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitialSet {
    /// So many, each sample equally likely.
    Random(usize),
    /// So many, as many of each class as of any other.
    Balanced(usize),
    /// So many of each class.
    Classes(Vec<usize>),
    /// So many, which a file lists.
    Listed(usize),
}

impl InitialSet {
    /// Its samples.
    pub fn len(&self) -> usize {
        match self {
            Self::Random(count) | Self::Balanced(count) | Self::Listed(count) => *count,
            Self::Classes(counts) => counts.iter().sum(),
        }
    }

    /// Whether nothing is labelled before the first round.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
