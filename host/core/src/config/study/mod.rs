//! Study files: a base run, what is varied of it, and how the runs are started.

mod cells;
mod evaluate;
mod launch;
mod search;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use cells::{Cell, MOST_CELLS};
pub use evaluate::{EvaluateConfig, Rules};
pub use launch::{LaunchConfig, Launcher};
pub use search::{All, Tried};

use super::{Experiment, StrategyConfig, UpperConfig};

/// A value of an axis: of a key of the run file whatever may stand there; of a name of your own a table of keys.
type Axis = Vec<Value>;

/// A grid of runs: every strategy with every seed and every value of each axis, everything else alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields, transform = may_come_from_axes)]
pub struct StudyConfig {
    /// What runs have in common: the keys of a run file.
    #[serde(flatten)]
    #[schemars(with = "Experiment")]
    pub base: Map<String, Value>,
    /// The strategies to compare; two of one id need different labels.
    #[schemars(length(min = 1, max = 1000))]
    pub strategies: Vec<StrategyConfig>,
    /// Root seeds, distinct. Every strategy is run with each; all of one seed share split, initial set and weights.
    #[schemars(length(min = 1, max = 10000))]
    pub seeds: Vec<u64>,
    /// Parameters of strategies that are searched: by the strategy's label, then by the parameter's name. Each
    /// combination of values takes the strategy's place, labelled `LABEL-NAME-VALUE`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 1000))]
    pub search: BTreeMap<String, BTreeMap<String, Tried>>,
    /// What else is varied, every value with every other. The name is a key of the run file, such as `"budget.batch" =
    /// [10, 100]` or `"seeds.model" = [0, 1]`, or one of your own, whose values are tables of keys that go together:
    /// `size = [{ label = "small", "budget.initial" = 10, "budget.batch" = 10 }, { ... }]`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 20,
        "additionalProperties" = { "type": "array", "minItems": 1, "maxItems": 1000 },
    ))]
    pub axes: BTreeMap<String, Axis>,
    /// Cells that are left out: those with all values of one of these tables. Keys are those of the run file,
    /// `strategy` (a label) and `seed`; a list stands for any of its values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub exclude: Vec<Map<String, Value>>,
    /// Cells beside the grid: the base with the keys of each table, for every strategy and seed, or those that
    /// `strategy` and `seed` name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub include: Vec<Map<String, Value>>,
    /// The best possible beside the strategies, in a run for each point and seed; every run then leaves a slice of its
    /// pool to judge batches by. It needs features that no training changes: `dataset.name = "embeddings"`, or
    /// `fixed_embeddings`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<UpperConfig>,
    /// What `querist evaluate` looks at with this study as its suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<EvaluateConfig>,
    /// How runs are started; nothing here changes a result.
    #[serde(default)]
    pub launch: LaunchConfig,
}

/// What a run file needs an axis may give.
fn may_come_from_axes(schema: &mut schemars::Schema) {
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|key| key != "dataset" && key != "budget");
    }
}
