//! Who chooses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Held-out samples that a strategy may aim at. It sees predictions on their images, never their labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSet {
    /// The validation set.
    Validation,
    /// The test set.
    Test,
}

/// A strategy with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StrategyConfig {
    /// Id of the strategy, `package/strategy` where several packages have it, or another name of it. `@sha256:` and a
    /// digest behind it mean one build of its package, such as `mine@sha256:1a2b3c4d5e6f`.
    pub id: String,
    /// Its parameters; `querist plugin show ID` lists them.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub params: serde_json::Map<String, Value>,
    /// Name in tables and folders: letters, digits, `.`, `_`, `-`; 64 at most. The id where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    pub label: Option<String>,
    /// Samples that a query may choose from, drawn at random from the pool for each query; at least the largest batch.
    /// The whole pool where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub subset_size: Option<usize>,
    /// Held-out samples whose images the strategy aims at, where it wants such a set (`epig` with `target =
    /// "provided"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetSet>,
}

impl StrategyConfig {
    /// Name in tables and folders.
    pub fn label(&self) -> &str {
        let named = self.id.split('@').next().unwrap_or(&self.id);
        self.label.as_deref().unwrap_or(named.rsplit('/').next().unwrap_or(named))
    }
}
