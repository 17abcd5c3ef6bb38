//! Who labels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who labels what is asked for: `"dataset"`, whose labels are known and hidden until then, or `"people"`; as a table,
/// people with their settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OracleConfig {
    /// By its name.
    Named(Labeller),
    /// With settings.
    Table(OracleTable),
}

/// Who labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Labeller {
    /// The dataset.
    Dataset,
    /// People: the run stops with each batch, and goes on once they have answered.
    People,
}

/// People who label.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OracleTable {
    /// Who labels.
    pub by: Labeller,
    /// How many people look at each picture; where two disagree, a third look decides.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 2))]
    pub looks: u8,
    /// Share of the labels that is held out for the test, where there is no labelled test set.
    #[serde(default = "fifth")]
    #[schemars(range(min = 0.0, max = 0.9))]
    pub hold_out: f64,
}

fn one() -> u8 {
    1
}

fn fifth() -> f64 {
    0.2
}

impl Default for OracleConfig {
    fn default() -> Self {
        Self::Named(Labeller::Dataset)
    }
}

impl OracleConfig {
    /// Whether it is what is meant where nothing is said.
    pub(super) fn is_dataset(&self) -> bool {
        self.people().is_none()
    }

    /// The settings of people; `None` where the dataset labels.
    pub fn people(&self) -> Option<OracleTable> {
        match *self {
            Self::Named(Labeller::People) => {
                Some(OracleTable { by: Labeller::People, looks: one(), hold_out: fifth() })
            }
            Self::Table(table) if table.by == Labeller::People => Some(table),
            _ => None,
        }
    }

    /// The same with every default written out.
    #[must_use]
    pub fn resolved(self) -> Self {
        self.people().map_or_else(Self::default, Self::Table)
    }
}
