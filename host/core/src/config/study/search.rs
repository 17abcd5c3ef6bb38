//! What a study tries of a strategy's parameters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Values of a parameter that are tried: a number of them from the range that the strategy's author names, `"all"` of
/// its choices, a list, or a range of your own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Tried {
    /// So many values of the range that the strategy's author names.
    Points(#[schemars(range(min = 1, max = 100))] usize),
    /// All choices.
    All(All),
    /// These.
    Values(#[schemars(length(min = 1, max = 100))] Vec<Value>),
    /// So many values between two positive numbers, each as many times the one before.
    Log {
        /// The lowest and the highest.
        log: [f64; 2],
        /// How many.
        #[schemars(range(min = 1, max = 100))]
        points: usize,
    },
    /// So many values between two numbers, each as much more than the one before.
    Linear {
        /// The lowest and the highest.
        linear: [f64; 2],
        /// How many.
        #[schemars(range(min = 1, max = 100))]
        points: usize,
    },
}

/// Every choice that a parameter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum All {
    /// Every choice that a parameter has.
    All,
}
