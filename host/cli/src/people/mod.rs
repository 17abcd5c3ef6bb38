//! Runs that people label: they stop with each batch, and go on once it is answered.

pub mod standing;
mod waiting;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use querist_core::config::{Initial, OracleTable, RunConfig};
use querist_core::oracle::Oracle as _;
use querist_core::{Label, Outcome, People, SampleId, Seeds, Settled};
use querist_data::catalogue::PICTURES;
use querist_data::pictures_root;
use querist_files::shown;
use querist_people::{Batch, Journal, Looks, Outcome as Said, Picture, Stage};
use querist_protocol::{Capability, names};
use querist_report::stopping::MOST_WATCHED;

use crate::again;
use crate::config_file::ConfigFile;
use crate::exit::Usage;
use crate::run_folder::RunFolder;
use crate::stored_run::StoredRun;
pub use waiting::Waiting;

/// Time between looks at the answers of a batch that a run waits for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Refuses what people cannot label, or what hangs on labels that nobody knows.
pub fn refuse_misfits(config: &RunConfig) -> Result<()> {
    config.oracle.check().map_err(Usage)?;
    let is_of_pictures = config.experiment.dataset.name == PICTURES;
    let message = match (config.oracle.people().is_some(), is_of_pictures) {
        (false, false) => return Ok(()),
        (true, true) => misfit(config),
        (false, true) => Some(
            "dataset.name = \"pictures\" is for pictures whose labels are not known; set `oracle = \"people\"`, or \
             name `folder` or `manifest`",
        ),
        (true, false) => Some(
            "oracle = \"people\" is for pictures whose labels are not known: set `dataset.name = \"pictures\"` and \
             `dataset.classes`",
        ),
    };
    message.map_or(Ok(()), |message| Err(Usage(message.to_owned()).into()))
}

/// Refuses people as the oracle of a study.
pub fn refuse_study(file: &ConfigFile) -> Result<()> {
    if !file.has("/oracle") {
        return Ok(());
    }
    let message = "`oracle` is for run files: in a study many runs ask for labels at once, which the dataset knows; \
                   people label one run at a time (`querist run`)";
    Err(Usage(message.to_owned()).into())
}

fn misfit(config: &RunConfig) -> Option<&'static str> {
    let (budget, dataset) = (&config.experiment.budget, &config.experiment.dataset);
    let cases = [
        (
            config.strategy.is_upper(),
            "the upper baseline tries batches on hidden labels, which nobody knows here; choose a strategy",
        ),
        (
            budget.per_class || matches!(budget.initial, Some(Initial::Classes(_))),
            "budget.initial cannot be balanced: classes are not known before people label; give a number of samples",
        ),
        (
            matches!(budget.initial, Some(Initial::File(_))),
            "budget.initial lists samples by their numbers, whose labels are not known; name known labels with \
             `dataset.labels`",
        ),
        (budget.replace, "budget.replace would ask people for the same pictures again; leave it out"),
        (budget.patience.is_some(), "budget.patience looks at a validation set, and there is none; leave it out"),
        (dataset.variant.is_some(), "dataset.variant is for studies, where labels are known; leave it out"),
    ];
    cases.into_iter().find(|(is_there, _)| *is_there).map(|(_, message)| message)
}

/// Refuses strategies that cannot wait for labels.
pub fn refuse_strategy(settled: &Settled, pool: &[SampleId]) -> Result<()> {
    let needs = |name| settled.needs().iter().any(|need| need.name() == name);
    if needs(names::ORACLE_LABELS) || settled.capabilities().contains(&Capability::OracleStream) {
        People.reveal(pool).map_err(|error| Usage(error.to_string()))?;
    }
    if needs(names::SYNTHETIC_IMAGES) {
        let message = "the strategy makes images of its picks, which need their labels at once; people answer later: \
                       choose another strategy";
        return Err(Usage(message.to_owned()).into());
    }
    Ok(())
}

/// Samples whose predicted classes are recorded in each round, to see when they no longer change: some of the pool.
pub fn watched(pool: &[SampleId], seeds: &Seeds) -> Vec<SampleId> {
    let stream = seeds.variant_stream("watched");
    let mut keyed: Vec<_> = pool.iter().map(|&sample| (stream.item_bits(sample.0, 0), sample)).collect();
    keyed.sort_unstable();
    keyed.truncate(MOST_WATCHED);
    let mut watched: Vec<SampleId> = keyed.into_iter().map(|(_, sample)| sample).collect();
    watched.sort_unstable();
    watched
}

/// Which of the labels that people give are held out for the test.
#[derive(Debug, Clone, Copy)]
pub struct HoldOut {
    seeds: Seeds,
    share: f64,
}

impl HoldOut {
    /// As a run says: none where it has a labelled test set.
    pub fn of(config: &RunConfig, people: OracleTable, tests: usize) -> Self {
        Self { seeds: config.seeds, share: if tests > 0 { 0.0 } else { people.hold_out } }
    }

    /// What a label comes to.
    pub fn outcome(&self, sample: SampleId, label: Label) -> Outcome {
        match self.seeds.holds_out(sample, self.share) {
            true => Outcome::HeldOut(label),
            false => Outcome::Label(label),
        }
    }

    /// What people said of a sample; `None` where they have not done yet.
    fn said(&self, sample: SampleId, said: Said) -> Option<Outcome> {
        match said {
            Said::Label(class) => Some(self.outcome(sample, Label(class))),
            Said::Rejected => Some(Outcome::Rejected),
            Said::Unsure => Some(Outcome::Unsure),
            Said::Open | Said::Disputed => None,
        }
    }

    /// Whether stored outcomes are held out as this says.
    pub fn check(&self, outcomes: &[(SampleId, Outcome)]) -> Result<()> {
        for &(sample, outcome) in outcomes {
            if let Some(label) = outcome.class() {
                ensure!(self.outcome(sample, label) == outcome, "sample {sample} is not held out as the seeds say");
            }
        }
        Ok(())
    }
}

/// A batch that people are asked for.
pub fn batch(
    config: &RunConfig,
    people: OracleTable,
    stage: Stage,
    classes: &[String],
    pictures: Vec<Picture>,
) -> Result<Batch> {
    Ok(Batch {
        version: 1,
        stage,
        strategy: config.strategy.label().to_owned(),
        classes: classes.to_vec(),
        folder: pictures_root(&config.experiment.dataset)?,
        looks: if people.looks == 2 { Looks::Two } else { Looks::One },
        pictures,
    })
}

/// Where the batches of a run stand.
pub enum Batches {
    /// Nothing waits, or what waited is answered and committed.
    GoesOn(RunFolder, Box<StoredRun>),
    /// Some pictures have no outcome yet.
    Waits(Still),
}

/// What is still to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Still {
    /// What for.
    pub stage: Stage,
    /// Pictures of the batch.
    pub pictures: usize,
    /// Those of them that lack answers.
    pub open: usize,
    /// Those that people disagree about.
    pub disputed: usize,
}

impl Still {
    fn of(batch: &Batch, said: &[Said]) -> Option<Self> {
        let count = |wanted| said.iter().filter(|said| **said == wanted).count();
        let (open, disputed) = (count(Said::Open), count(Said::Disputed));
        (open + disputed > 0).then_some(Self { stage: batch.stage, pictures: said.len(), open, disputed })
    }
}

impl std::fmt::Display for Still {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { stage, pictures, open, disputed } = self;
        let what = match stage {
            Stage::Initial => "the initial set".to_owned(),
            Stage::Round(round) => format!("round {round}"),
        };
        write!(f, "awaiting labels: {} of {pictures} pictures of {what} have none yet", open + disputed)?;
        if *disputed > 0 { write!(f, " ({disputed} of them disputed)") } else { Ok(()) }
    }
}

/// What of the batch that waits is still to be answered, if something is.
///
/// # Errors
/// If batch or answers cannot be read.
pub fn still(run: &Path) -> Result<Option<Still>> {
    let Some(batch) = Batch::read(run)? else { return Ok(None) };
    let said = Journal::open(run, batch.clone())?.outcomes();
    Ok(Still::of(&batch, &said))
}

/// Takes over what people answered: commits the batch that waits, where all of it is answered.
///
/// # Errors
/// If what waits is not what the run asked for, or cannot be committed.
pub fn settle(folder: RunFolder, stored: StoredRun) -> Result<Batches> {
    let waiting = Waiting::of(folder.path());
    let Some(batch) = waiting.batch(&stored)? else { return Ok(Batches::GoesOn(folder, Box::new(stored))) };
    let Some(people) = stored.config.oracle.people() else {
        bail!("{}: a batch waits for people, and run.toml has none", shown(folder.path()));
    };
    let journal = Journal::open(folder.path(), batch.clone())?;
    let said = journal.outcomes();
    if let Some(still) = Still::of(&batch, &said) {
        return Ok(Batches::Waits(still));
    }
    let hold_out = HoldOut::of(&stored.config, people, stored.header.dataset.test);
    let outcome = |(picture, said): (&Picture, &Said)| {
        let sample = SampleId(picture.id);
        hold_out.said(sample, *said).map(|outcome| (sample, outcome))
    };
    let outcomes: Vec<(SampleId, Outcome)> = batch.pictures.iter().zip(&said).filter_map(outcome).collect();
    waiting.commit(&folder, &batch, &outcomes)?;
    let stored = StoredRun::read(folder.path())?;
    Ok(Batches::GoesOn(folder, Box::new(stored)))
}

/// Waits until every picture of the batch that waits is answered, or somebody else committed it; says whether that is
/// so, and not that the user wants to stop.
///
/// # Errors
/// If the answers cannot be read.
pub fn wait_for_answers(run: &Path) -> Result<bool> {
    let Some(batch) = Batch::read(run)? else { return Ok(true) };
    let mut journal = Journal::open(run, batch)?;
    loop {
        if crate::progress::stopped() {
            return Ok(false);
        }
        journal.refresh()?;
        if Batch::stamp(run).is_none() || journal.outcomes().iter().all(|said| said.is_final()) {
            return Ok(true);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What waits, and the ways on.
pub fn ways_on(run: &Path, still: &Still) -> String {
    let argument = again::argument(&run.to_string_lossy());
    let out = run.to_str().map(str::to_owned);
    let resume = again::command(&[("--out", out), ("--resume", None)])
        .unwrap_or_else(|| "the same command with `--resume`".to_owned());
    format!(
        "{still}, in {}\n  querist label {argument}  opens the page to label them\n  querist label export {argument}  \
         writes them for another tool; `import` reads the answers back\n  {resume}  goes on once they are labelled",
        shown(run)
    )
}
