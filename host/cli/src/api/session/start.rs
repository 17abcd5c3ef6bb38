//! How a session begins, and whether it is the one that a folder holds.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use querist_core::config::{LimitsConfig, Plan, RunConfig, Task};
use querist_core::dataset::DatasetParts;
use querist_core::{Dataset, Images, Label, Outcome, SampleId, Split};
use querist_files::shown;
use querist_loader::Hosted;
use querist_protocol::Shown;
use serde_json::{Map, Value, json};

use super::Data;
use crate::exit::Usage;
use crate::plugins::PluginArgs;
use crate::stored_run::StoredRun;

/// Name of the dataset of a session, in its run file.
pub(crate) const DATASET: &str = "session";
/// Classes at most.
const MOST_CLASSES: usize = 1 << 20;

/// How a session begins.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Its folder.
    pub folder: PathBuf,
    /// Ids of the pool's rows, distinct.
    pub names: Vec<String>,
    /// Whether the ids are texts of the user's, and not the rows' numbers.
    pub named: bool,
    /// Names of the classes; as many as the arrays of the first batch show where they are left out.
    pub class_names: Option<Vec<String>>,
    /// Rows that are labelled before the first batch.
    pub initial: Vec<(SampleId, Label)>,
    /// Labels of the test set, which `test_logits` are compared with.
    pub test_labels: Vec<u32>,
    /// Strategy as users name it.
    pub strategy: String,
    /// Its parameters.
    pub params: Map<String, Value>,
    /// Samples of each batch.
    pub budget: Vec<usize>,
    /// Root of all randomness.
    pub seed: u64,
    /// Rows that each query may choose from.
    pub subset_size: Option<usize>,
    /// Threads of kernels.
    pub threads: Option<usize>,
    /// What a query may use.
    pub limits: LimitsConfig,
    /// Whether the arrays of each round are kept, so that `querist replay` can ask about them again.
    pub keep_features: bool,
    /// Which packages may answer.
    pub plugins: PluginArgs,
    /// The strategy itself, where it is one of the program that calls; `strategy` is its id then.
    pub hosted: Option<Arc<Hosted>>,
}

impl Setup {
    /// The run file.
    pub(super) fn config(&self) -> Result<RunConfig> {
        if self.budget.is_empty() {
            return Err(
                Usage("`budget` has no batch; expected samples for each round, such as [100] * 10".to_owned()).into()
            );
        }
        let largest = self.budget.iter().max().copied().unwrap_or(0);
        if let Some(size) = self.subset_size.filter(|&size| size < largest) {
            let message = format!("`subset_size` of {size} holds fewer rows than the batch of {largest}");
            return Err(Usage(message).into());
        }
        let mut file = json!({
            "version": 1,
            "dataset": { "name": DATASET },
            "budget": { "initial": self.initial.len(), "batch": self.budget },
            "strategy": { "id": self.strategy, "params": self.params },
            "seeds": { "root": self.seed },
            "keep": { "model": "none", "features": if self.keep_features { "all" } else { "none" } },
            "compute": {},
            "limits": serde_json::to_value(&self.limits)?,
        });
        if let Some(size) = self.subset_size {
            file["strategy"]["subset_size"] = size.into();
        }
        if let Some(threads) = self.threads {
            file["compute"]["threads"] = threads.into();
        }
        let schema = querist_core::config::schemas().remove("run").context("there is no schema of run files")?;
        let schema = querist_core::Schema::new(schema)?;
        if let Some(problem) = schema.problems(&file).first() {
            let place = Shown::name(problem.pointer.trim_start_matches('/'));
            return Err(Usage(format!("`{place}`: {}", Shown::sentence(&problem.message))).into());
        }
        let config: RunConfig = serde_json::from_value(file)?;
        Ok(config.resolved())
    }

    /// The initial set as records have it.
    pub(super) fn outcomes(&self) -> Vec<(SampleId, Outcome)> {
        let mut initial: Vec<_> = self.initial.iter().map(|&(sample, label)| (sample, label.into())).collect();
        initial.sort_unstable_by_key(|&(sample, _)| sample);
        initial
    }

    /// Dataset, split and plan; without a dataset where the classes are not known yet.
    pub(super) fn data(&self, config: &RunConfig, classes: Option<&[String]>) -> Result<Data> {
        let (pool, tests) = (self.names.len(), self.test_labels.len());
        if let Some(name) = self.names.iter().find(|name| !querist_protocol::is_showable(name)) {
            let message = format!("the id `{}` holds characters that cannot be shown", Shown::name(name));
            return Err(Usage(message).into());
        }
        let samples = |from: usize, to: usize| (from as u64..to as u64).map(SampleId).collect();
        let split = Split {
            pool: samples(0, pool),
            validation: Vec::new(),
            test: samples(pool, pool + tests),
            reserve: Vec::new(),
        };
        let task = Task { pool, classes: classes.map_or(2, <[String]>::len), listed: None };
        let plan: Plan = config.experiment.budget.plan(task).map_err(|error| Usage(error.to_string()))?;
        let dataset = classes.map(|classes| self.dataset(classes)).transpose()?;
        Ok(Data { dataset, split, plan })
    }

    fn dataset(&self, classes: &[String]) -> Result<Dataset> {
        let (pool, count) = (self.names.len(), classes.len());
        let wrong = |message: String| -> anyhow::Error { Usage(message).into() };
        if !(2..=MOST_CLASSES).contains(&count) {
            return Err(wrong(format!("{count} classes; expected 2 to {MOST_CLASSES}")));
        }
        let all = self.initial.iter().map(|&(sample, label)| (self.name(sample.0), label.0));
        let tests = self.test_labels.iter().enumerate().map(|(row, &label)| (format!("test row {row}"), label));
        if let Some((name, label)) = all.chain(tests).find(|(_, label)| *label as usize >= count) {
            return Err(wrong(format!("{name} has label {label}, but there are {count} classes (0 to {})", count - 1)));
        }
        // Labels of the pool are told one batch at a time, and nobody reads them here.
        let labels = vec![0; pool].into_iter().chain(self.test_labels.iter().copied()).collect();
        let names = self.names.iter().cloned();
        let tests = (0..self.test_labels.len()).map(|row| format!("test {row}"));
        let files: Vec<String> = names.chain(tests).collect();
        let parts = DatasetParts {
            name: DATASET.to_owned(),
            images: Images::none(files.len()),
            labels,
            official_validation: 0,
            official_test: self.test_labels.len(),
            class_names: classes.to_vec(),
            normalisation: None,
            files,
        };
        Dataset::listed(parts).map_err(|error| wrong(error.to_string()))
    }

    /// What a row is called in messages.
    pub(super) fn name(&self, row: u64) -> String {
        let name = usize::try_from(row).ok().and_then(|row| self.names.get(row));
        match name {
            Some(name) if self.named => format!("id `{}`", Shown::name(name)),
            Some(name) => format!("id {}", Shown::name(name)),
            None => format!("row {row}, beyond the {} of the pool,", self.names.len()),
        }
    }

    /// Refuses to go on with the session of another setup.
    pub(super) fn check_same(&self, config: &RunConfig, stored: &StoredRun) -> Result<()> {
        let folder = shown(&self.folder);
        let wrong = |message: String| -> anyhow::Error { Usage(message).into() };
        let before = &stored.config;
        if before.experiment.dataset.name != DATASET {
            return Err(wrong(format!("{folder} holds a run that is no session; choose another folder")));
        }
        let listing = crate::plugins::listing(&self.plugins.plugin_dir)?;
        let resolved = match &self.hosted {
            Some(hosted) => hosted.resolved(),
            None => listing.resolve(&self.strategy)?,
        };
        let (then, now) = (&stored.header.strategy, resolved.package.identity(&resolved.strategy.id));
        if then.id != now.id {
            let message = format!("{folder} is a session of strategy `{}`, not of `{}`", then.id, now.id);
            return Err(wrong(message));
        }
        if then.digest != now.digest {
            let message = format!(
                "{folder} was begun with another build of `{}` (digest {}, now {}): bring it back, or choose another \
                 folder",
                then.id, then.digest, now.digest
            );
            return Err(wrong(message));
        }
        let params = crate::plugins::params(&resolved, &Value::Object(self.params.clone()), None)?;
        if params != stored.header.params {
            let (then, now) = (&stored.header.params, params);
            return Err(wrong(format!("{folder} was begun with other parameters: {then}, now {now}")));
        }
        let same = [
            ("budget", before.experiment.budget == config.experiment.budget),
            ("seed", before.seeds == config.seeds),
            ("subset_size", before.strategy.subset_size == config.strategy.subset_size),
            ("keep_features", before.experiment.keep.features == config.experiment.keep.features),
        ];
        match same.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((what, _)) => Err(wrong(format!(
                "{folder} was begun with another `{what}`; give that, or choose another \
                                                   folder"
            ))),
        }
    }
}
