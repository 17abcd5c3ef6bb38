//! A study as a suite: what else an evaluation of a plugin looks at.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which rules a plugin is checked against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rules {
    /// All but those that take a clock.
    #[default]
    Quick,
    /// All.
    All,
    /// None.
    None,
}

/// What `querist evaluate` does with a study beside running it with the plugin among its strategies. `querist study`
/// leaves it alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateConfig {
    /// Built-in strategies, by id, of which those that are most like the plugin are run beside it: those that pick most
    /// of the same rows of made-up pools, else those that need the most similar arrays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub yardsticks: Vec<String>,
    /// How many of them.
    #[schemars(range(max = 8))]
    pub nearest: usize,
    /// Points of mean accuracy over the budget, 0 to 100, that are worth knowing of: what is surely smaller counts as
    /// equal, and how many seeds would tell is said of this difference.
    #[schemars(range(min = 0.01, max = 50.0))]
    pub worth: f64,
    /// Rules that the plugin is checked against.
    pub rules: Rules,
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        Self { yardsticks: Vec::new(), nearest: 1, worth: 1.0, rules: Rules::Quick }
    }
}
