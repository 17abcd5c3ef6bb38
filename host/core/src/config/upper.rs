//! The best possible: an upper baseline that the host computes beside a study's strategies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::StrategyConfig;

/// What stands as `strategy.id` in the run file of an upper baseline; no package can have it.
pub const UPPER: &str = "querist/upper";
/// Its name in tables and folders.
pub const UPPER_LABEL: &str = "upper";
/// Batches that are tried in a round at most.
const MOST_PROPOSALS: usize = 10_000;

/// An upper baseline for each point and seed of the grid. In each round several strategies propose batches on parts of
/// the pool; each batch is tried with its true labels on a slice that no run may buy from, and the best is bought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpperConfig {
    /// Batches that are tried in a round.
    #[schemars(range(min = 1, max = 10_000))]
    pub proposals: usize,
    /// Share of the pool that leaves it in all runs of the study, to judge batches by: `dataset.reserve`.
    #[schemars(range(min = 0.01, max = 0.5))]
    pub slice: f64,
    /// Strategies that propose, in turns, with their default parameters; those of a fixed list that can work with the
    /// run's arrays where it is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub members: Vec<String>,
}

impl Default for UpperConfig {
    fn default() -> Self {
        Self { proposals: 100, slice: 0.2, members: Vec::new() }
    }
}

impl UpperConfig {
    /// What stands in the place of a strategy in its run files.
    pub fn chooser(&self) -> StrategyConfig {
        let mut params = Map::from_iter([("proposals".to_owned(), json!(self.proposals))]);
        if !self.members.is_empty() {
            params.insert("members".to_owned(), json!(self.members));
        }
        let label = Some(UPPER_LABEL.to_owned());
        StrategyConfig { id: UPPER.to_owned(), params, label, subset_size: None, target: None }
    }
}

/// `strategy.params` of an upper baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpperParams {
    /// Batches that are tried in a round.
    pub proposals: usize,
    /// Strategies that propose, in turns; the usual ones where it is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

impl Default for UpperParams {
    fn default() -> Self {
        let UpperConfig { proposals, members, .. } = UpperConfig::default();
        Self { proposals, members }
    }
}

impl UpperParams {
    /// Reads the parameters of a run file.
    ///
    /// # Errors
    /// A sentence, if they are none.
    pub fn read(params: &Map<String, Value>) -> Result<Self, String> {
        let read: Self = serde_json::from_value(Value::Object(params.clone())).map_err(|error| error.to_string())?;
        if !(1..=MOST_PROPOSALS).contains(&read.proposals) {
            return Err(format!("`proposals` is {}, expected 1 to {MOST_PROPOSALS}", read.proposals));
        }
        Ok(read)
    }
}

impl StrategyConfig {
    /// Whether it stands for the upper baseline instead of a strategy.
    pub fn is_upper(&self) -> bool {
        self.id == UPPER
    }
}
