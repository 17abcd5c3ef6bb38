//! Run and study files, and what they resolve to.
//!
//! The types are the schema: every field is documented, bounded and either required or defaulted, and unknown keys are
//! refused. Files are read elsewhere; here they only have a shape.

mod arrays;
mod budget;
mod bytes;
mod compute;
mod dataset;
mod learner;
mod model;
mod normalise;
mod oracle;
mod recipe;
mod sidecar;
mod strategy;
mod study;
mod upper;
mod variant;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::seed::Seeds;

pub use arrays::{FixedConfig, FixedFile, FrozenModel};
pub use budget::{
    Batch, BudgetConfig, BudgetError, Classes, EachClass, IndexFile, Initial, InitialSet, Named, NamedBudget, Plan,
    Task, Totals,
};
pub use bytes::{Bytes, BytesError};
pub use compute::{ComputeConfig, Devices, KeepConfig, KeepRounds, LimitsConfig, Precision, cores};
pub use dataset::{
    ClassNames, ColumnsConfig, DatasetConfig, DatasetLayout, EmbeddingsConfig, Files, Fit, ListConfig, ResizeFilter,
    SampleOrder,
};
pub use learner::{LearnerConfig, LearnerLimits};
pub use model::{
    Adversarial, EnsembleConfig, Evaluate, InitScheme, ModelConfig, ModelName, Stem, WeightsConfig, WeightsFile,
};
pub use normalise::{ChannelStatistics, Normalise};
pub use oracle::{Labeller, OracleConfig, OracleTable};
pub use recipe::{
    AtLeast, Augmentation, Averaging, EpochSamples, Evaluation, Init, Jitter, Optimiser, Pass, RandAugment, Recipe,
    ResizedCrop, Schedule, Stop, Trained,
};
pub use sidecar::{OutputName, Sidecar, SidecarOutputs};
pub use strategy::{StrategyConfig, TargetSet};
pub use study::{All, Cell, EvaluateConfig, LaunchConfig, Launcher, MOST_CELLS, Rules, StudyConfig, Tried};
pub use upper::{UPPER, UPPER_LABEL, UpperConfig, UpperParams};
pub use variant::{ForeignConfig, VariantConfig};

/// What runs have in common that are to be compared: everything but who chooses, and the seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Experiment {
    /// Version of this file format: 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    /// What is learned.
    pub dataset: DatasetConfig,
    /// Who learns, where that is a program of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learner: Option<LearnerConfig>,
    /// The task model.
    #[serde(default)]
    pub model: ModelConfig,
    /// How it is trained.
    #[serde(default, deserialize_with = "recipe::in_layers")]
    pub recipe: Recipe,
    /// How an ensemble is trained, where a strategy needs one.
    #[serde(default)]
    pub ensemble: EnsembleConfig,
    /// Where fixed embeddings come from; the task model's own where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_embeddings: Option<FixedConfig>,
    /// Arrays of your own that a strategy needs, by name: `extra.NAME`, columns of each sample, or `query.NAME`, rows
    /// that you point at and that are of no sample. As for fixed embeddings, their digests are in the header.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100, "propertyNames" = { "pattern": r"^(extra|query)\.[A-Za-z0-9_-]{1,64}$" }))]
    pub arrays: BTreeMap<String, FixedFile>,
    /// How many labels are bought, and when.
    pub budget: BudgetConfig,
    /// Where it is computed.
    #[serde(default)]
    pub compute: ComputeConfig,
    /// What a plugin may use.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What is kept beyond the records.
    #[serde(default)]
    pub keep: KeepConfig,
}

/// One run: one strategy, one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Everything else.
    #[serde(flatten)]
    pub experiment: Experiment,
    /// Who chooses.
    pub strategy: StrategyConfig,
    /// Sources of randomness.
    #[serde(default)]
    pub seeds: Seeds,
    /// Who labels.
    #[serde(default, skip_serializing_if = "OracleConfig::is_dataset")]
    pub oracle: OracleConfig,
}

impl RunConfig {
    /// The same run with every default written out, so that a later release reads it the same way.
    #[must_use]
    pub fn resolved(mut self) -> Self {
        let model = &mut self.experiment.model;
        model.dropout = Some(model.dropout());
        self.strategy.label = Some(self.strategy.label().to_owned());
        self.oracle = self.oracle.resolved();
        let keep = &mut self.experiment.keep;
        if self.experiment.learner.is_some() && keep.model == KeepRounds::Last {
            // The models of a learner of the user's own stay with it.
            keep.model = KeepRounds::None;
        }
        self
    }
}

/// Key by which a file names its own schema, for editors.
pub const OWN_SCHEMA: &str = "$schema";

/// The JSON Schemas of the files, by name.
pub fn schemas() -> BTreeMap<&'static str, Value> {
    let mut schemas = BTreeMap::from([
        ("run", schemars::schema_for!(RunConfig).to_value()),
        ("sidecar", schemars::schema_for!(Sidecar).to_value()),
        ("study", schemars::schema_for!(StudyConfig).to_value()),
    ]);
    for schema in schemas.values_mut() {
        schema["properties"][OWN_SCHEMA] = json!({
            "description": "Where this schema lies, for editors that complete and check by it; read by nothing else.",
            "type": "string",
        });
    }
    schemas
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    /// Budgets of schemas forbid recursion and excess; the program's own must keep them, or nothing runs.
    #[test]
    fn schemas_of_files_can_be_used() {
        for (name, schema) in schemas() {
            let schema = Schema::new(schema).unwrap_or_else(|error| panic!("{name}: {error}"));
            let experiment = json!({"version": 1, "dataset": {"name": "digits"}, "budget": {"initial": 1, "batch": 1}});
            let mut file = experiment;
            match name {
                "sidecar" => {
                    file = json!({"version": 1, "size": 32, "mean": [0.5], "std": [0.5], "outputs": {"embedding": 0}});
                }
                "run" => file["strategy"] = json!({"id": "random"}),
                _ => (file["strategies"], file["seeds"]) = (json!([{"id": "random"}]), json!([1])),
            }
            assert!(schema.problems(&file).is_empty(), "{name}: {:?}", schema.problems(&file));
        }
    }
}
