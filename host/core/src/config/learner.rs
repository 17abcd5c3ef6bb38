//! A learner of the user's own: a program that trains and predicts in the place of the models of this program.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A program of your own that trains and predicts, in the place of `model`, `recipe` and `ensemble`. Split, budget,
/// oracle, strategy and records stay with this program; `docs/external-learners.md` says how the two speak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LearnerConfig {
    /// The program and its arguments, such as `["python", "train.py"]`. It is started in the working folder, without a
    /// shell. Arguments that are files have their SHA-256 in the header, and a run goes on only with the same.
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 4096)))]
    pub command: Vec<String>,
    /// Other files that its results depend on; their SHA-256 is in the header as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 4096)))]
    pub files: Vec<String>,
    /// What the learner is told at its start: whatever it understands, such as `{ lr = 0.1 }`. A study may vary it:
    /// `"learner.options.lr" = [0.1, 0.01]`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// How long it may take; nothing here changes a result.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: LearnerLimits,
}

/// How long a learner may take for an answer, in seconds. One that takes longer is ended, and the run with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LearnerLimits {
    /// From its start until it says what it can do, and again until it has taken over the data.
    #[schemars(range(min = 0.01, max = 1e7))]
    pub start: f64,
    /// For one training.
    #[schemars(range(min = 0.01, max = 1e7))]
    pub fit: f64,
    /// For the arrays of one set of samples.
    #[schemars(range(min = 0.01, max = 1e7))]
    pub predict: f64,
}

impl Default for LearnerLimits {
    fn default() -> Self {
        Self { start: 120.0, fit: 86_400.0, predict: 86_400.0 }
    }
}

fn is_default(limits: &LearnerLimits) -> bool {
    *limits == LearnerLimits::default()
}
