//! Runs in the shapes that other systems write, one file a system.

mod al_baselines;
mod cure_lab;
mod ift780;
mod low_budget;
mod uwe;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use querist_core::config::Experiment;
use querist_core::ids::{Label, SampleId};
use querist_core::{Outcome, RoundRecord};
use querist_files::shown;

use crate::round_files::EPOCHS;
use crate::stored_run::StoredRun;

pub use al_baselines::al_baselines;
pub use cure_lab::cure_lab;
pub use ift780::ift780;
pub use low_budget::low_budget;
pub use uwe::uwe;

/// A file to write, below the folder that the user named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub bytes: Vec<u8>,
}

impl File {
    fn new(path: impl Into<PathBuf>, text: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), bytes: text.into() }
    }
}

/// A run, as these systems look at one.
pub struct Trial {
    /// Its folder.
    pub folder: PathBuf,
    /// Whether its last round is done.
    pub is_finished: bool,
    /// Whether the host's upper baseline chose, and no strategy.
    pub is_upper: bool,
    label: String,
    dataset: String,
    model: String,
    seed: u64,
    pool: usize,
    classes: usize,
    experiment: Experiment,
    initial: Vec<(SampleId, Label)>,
    rounds: Vec<Cycle>,
}

/// One round of a run.
struct Cycle {
    record: RoundRecord,
    /// What was bought at its end, in the order of the picks.
    bought: Vec<(SampleId, Label)>,
    /// Rows of the training curve.
    epochs: Vec<Epoch>,
}

#[derive(serde::Deserialize)]
struct Epoch {
    loss: f64,
    accuracy: f64,
}

/// The labels of samples that have one.
fn labels(outcomes: &[(SampleId, Outcome)]) -> Vec<(SampleId, Label)> {
    outcomes.iter().filter_map(|(sample, outcome)| Some((*sample, outcome.class()?))).collect()
}

impl Trial {
    /// Reads a run folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let run = StoredRun::read(folder)?;
        if run.config.oracle.people().is_some() {
            let folder = shown(folder);
            bail!("{folder}: people label it, and the tables of other tools have no place for what is no label");
        }
        let initial = run.initial()?;
        let is_finished = run.is_finished();
        let experiment = run.config.experiment.clone();
        let model = serde_json::to_value(experiment.model.name)?.as_str().unwrap_or_default().to_owned();
        let rounds = run.rounds.into_iter().map(|round| {
            let epochs = round.files.bytes(EPOCHS)?.unwrap_or_default();
            let epochs = csv::Reader::from_reader(&epochs[..]).into_deserialize().collect::<Result<_, _>>();
            let path = || shown(&round.files.folder().join(EPOCHS)).into_string();
            Ok(Cycle { record: round.record, bought: labels(&round.outcomes), epochs: epochs.with_context(path)? })
        });
        let trial = Self {
            folder: folder.to_owned(),
            is_finished,
            is_upper: run.header.strategy.is_upper(),
            label: run.config.strategy.label().to_owned(),
            dataset: run.header.dataset.name.clone(),
            model,
            seed: run.config.seeds.root,
            pool: run.header.dataset.pool,
            classes: run.header.dataset.classes.len(),
            experiment,
            initial: labels(&initial),
            rounds: rounds.collect::<Result<_>>()?,
        };
        // They become parts of paths.
        for (what, name) in [("label", &trial.label), ("dataset", &trial.dataset)] {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) && !name.starts_with('.');
            let folder = shown(folder);
            ensure!(plain && !name.is_empty(), "{folder}: its {what} is no plain name, and files are named after it");
        }
        Ok(trial)
    }

    /// Samples that a round is trained on, the initial ones first.
    fn labelled(&self, round: usize) -> impl Iterator<Item = (SampleId, Label)> + '_ {
        // A batch joins those before it, unless it takes their place.
        let first = if self.experiment.budget.replace { round.saturating_sub(1) } else { 0 };
        let bought = self.rounds.iter().take(round).skip(first).flat_map(|cycle| &cycle.bought);
        self.initial.iter().chain(bought).copied()
    }
}

/// Trials of one strategy on one dataset, by dataset and label; by seed within.
fn groups(trials: &[Trial]) -> BTreeMap<(&str, &str), Vec<&Trial>> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Trial>> = BTreeMap::new();
    for trial in trials {
        groups.entry((&trial.dataset, &trial.label)).or_default().push(trial);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|trial| trial.seed);
    }
    groups
}

/// Rows of text as CSV.
fn csv_text(rows: impl IntoIterator<Item = Vec<String>>) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(writer.into_inner()?)
}

/// A table's cells as text.
fn cells<const N: usize>(cells: [&dyn std::fmt::Display; N]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

/// Mean and standard deviation; the latter divides by the number of values.
fn mean_and_std(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    (mean, variance.sqrt())
}
