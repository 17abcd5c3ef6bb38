//! The set that a run starts from: drawn with its labels, known already, or asked of people.

use anyhow::{Context, Result};
use querist_core::config::{Plan, RunConfig};
use querist_core::{Dataset, DatasetOracle, Outcome, People, Position, SampleId, Split};
use querist_people::{Picture, Stage};

use super::same::{replayed, replayed_of_people};
use super::{Went, people};
use crate::exit::Usage;
use crate::people::{HoldOut, Waiting};
use crate::run_folder::RunFolder;
use crate::stored_run::StoredRun;

/// The initial set.
pub struct Start {
    /// Samples, with what they are where that is known.
    samples: Vec<(SampleId, Option<Outcome>)>,
    /// What is held out of what people answer.
    hold_out: Option<HoldOut>,
}

impl Start {
    /// Drawn from a dataset with labels.
    pub fn drawn(
        config: &RunConfig,
        dataset: &Dataset,
        split: &Split,
        plan: &Plan,
        listed: &[SampleId],
    ) -> Result<Self> {
        let oracle = DatasetOracle::new(dataset);
        let initial = oracle.initial_set(split, plan.initial_set(), listed, config.seeds.initial_stream())?;
        let samples = initial.into_iter().map(|(sample, label)| (sample, Some(label.into()))).collect();
        Ok(Self { samples, hold_out: None })
    }

    /// Labels that are known already, or samples that people are asked for; none of either is a cold start.
    pub fn of_people(
        config: &RunConfig,
        dataset: &Dataset,
        split: &Split,
        plan: &Plan,
        hold_out: HoldOut,
    ) -> Result<Self> {
        let samples = match dataset.known_labels() {
            [] => {
                let stream = config.seeds.initial_stream();
                let asked = People::initial_set(split, plan.initial_set(), stream);
                asked.map_err(|error| Usage(error.to_string()))?.into_iter().map(|sample| (sample, None)).collect()
            }
            known => known.iter().map(|&(sample, label)| (sample, Some(hold_out.outcome(sample, label)))).collect(),
        };
        Ok(Self { samples, hold_out: Some(hold_out) })
    }

    /// What the samples are, where that is known of all.
    pub fn known(&self) -> Option<Vec<(SampleId, Outcome)>> {
        self.samples.iter().map(|&(sample, outcome)| Some((sample, outcome?))).collect()
    }

    /// Where a stored run stands that started from it.
    pub fn replayed(&self, stored: &StoredRun, split: &Split, dataset: &Dataset) -> Result<Position> {
        match self.hold_out {
            Some(hold_out) => replayed_of_people(stored, split, &self.samples, hold_out),
            None => replayed(stored, split, &self.known().unwrap_or_default(), dataset),
        }
    }

    /// Asks people for it.
    pub fn ask(&self, config: &RunConfig, dataset: &Dataset, folder: &RunFolder) -> Result<Went> {
        let people = config.oracle.people().context("nobody labels the initial set")?;
        let picture = |&(id, _): &(SampleId, Option<Outcome>)| {
            let name = dataset.file(id).unwrap_or_default().to_owned();
            Picture { id: id.0, name, score: None, guess: None }
        };
        let pictures = self.samples.iter().map(picture).collect();
        let batch = people::batch(config, people, Stage::Initial, dataset.class_names(), pictures)?;
        Waiting::of(folder.path()).write(&batch, |_| Ok(()))?;
        Ok(Went { rounds: 0, stopped: false, asked: true })
    }
}

/// How many labels are known before the run, where there are some, or there is a file of them.
pub fn known_labels(config: &RunConfig, dataset: &Dataset) -> Result<Option<usize>> {
    let (known, budget) = (dataset.known_labels().len(), &config.experiment.budget);
    let said = config.experiment.dataset.labels.is_some();
    if known == 0 && !said {
        return Ok(None);
    }
    if known == 0 {
        let message = "dataset.labels has no label: name some, or leave it out and say `budget.initial`";
        return Err(Usage(message.to_owned()).into());
    }
    if budget.initial.is_some() {
        let message = format!("{known} labels are known, which are the initial set: leave `budget.initial` out");
        return Err(Usage(message).into());
    }
    Ok(Some(known))
}
