//! What a package says of itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Powers beyond arrays that a strategy must declare, because they change what its results mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Reads the hidden labels of the whole pool: an upper bound, not a legal strategy.
    OracleLabels,
    /// Has each label revealed as soon as it asks for it, inside the batch.
    OracleStream,
}

impl Capability {
    /// The power as manifests write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OracleLabels => "oracle-labels",
            Self::OracleStream => "oracle-stream",
        }
    }
}

/// A package: its name, the boundary it was built for and its strategies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Package name in kebab-case.
    pub package: String,
    /// Package version, semver.
    pub version: String,
    /// [`crate::API_VERSION`] of the SDK it was built with.
    pub api: String,
    /// The strategies it carries.
    pub strategies: Vec<StrategyDescription>,
}

/// One strategy of a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StrategyDescription {
    /// Id in kebab-case, as users write it.
    pub id: String,
    /// One line that says what it asks for.
    pub summary: String,
    /// The paper it follows, as a citation.
    pub paper: String,
    /// Time and memory beyond the inputs, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cost: String,
    /// Whether it scores rows one by one (`score`) or sees the whole pool (`select`).
    pub scorer: bool,
    /// Other names under which the field knows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Needs under the default parameters.
    pub needs: Vec<String>,
    /// What other parameters may make it need beside `needs`. A package whose code is not trusted gets no array that
    /// stands in neither.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may_need: Vec<String>,
    /// Declared powers beyond arrays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// JSON Schema of its parameters.
    pub schema: Value,
}
