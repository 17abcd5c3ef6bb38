//! A run whose loop is somebody else's: asked for a batch, told its labels, and on the disk in between.
//!
//! The rounds are those of `querist run`, by the same steps (`querist_core::ask`, `querist_core::tell`), and so is the
//! folder. What was asked for and is not labelled yet lies in `asked/` beside the rounds.

mod asked_folder;
mod figures;
mod handed;
mod start;
mod wanted;

use std::path::Path;

use anyhow::{Result, ensure};
use querist_core::config::{Plan, RunConfig};
use querist_core::progress::Progress;
use querist_core::{
    Asked, Dataset, Evaluation, Given, Label, Position, QueryOptions, Run, RunError, SampleId, Settled, Split, Strategy,
};
use querist_files::shown;

use self::asked_folder::AskedFolder;
pub use self::figures::Figures;
use self::handed::{Handed, Keeper, Told};
pub(crate) use self::start::DATASET;
pub use self::start::Setup;
pub use self::wanted::Wanted;
use crate::exit::Usage;
use crate::plugins::{self, Means, PluginArgs, Ready};
use crate::run_folder::{Header, RunFolder};
use crate::stored_run::StoredRun;

/// What trains in a session, for its record.
const BACKEND: &str = "loop of the user's own";

/// A run whose loop is somebody else's. One process works on its folder at a time.
pub struct Session {
    setup: Setup,
    config: RunConfig,
    data: Data,
    at: Position,
    asked: Option<Asked>,
    evaluation: Option<Evaluation>,
    folder: Option<RunFolder>,
    finished: bool,
    /// The process that opened it; locks of files are shared with forks of it.
    process: u32,
}

/// What does not change in a session, once its classes are known.
struct Data {
    dataset: Option<Dataset>,
    split: Split,
    plan: Plan,
}

/// A batch that waits for its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The round.
    pub round: u32,
    /// Rows of the pool, in pick order.
    pub rows: Vec<u64>,
    /// Their scores, or nothing.
    pub scores: Vec<f64>,
    /// Figures that the strategy noted.
    pub diagnostics: Vec<(String, f64)>,
}

/// What a session does next.
#[derive(Debug, Clone)]
pub enum Next {
    /// This batch is asked for and waits for its labels.
    Tell(Batch),
    /// The strategy wants some of these arrays.
    Ask(Wanted),
    /// Every batch of the plan is labelled; the last model is to be evaluated.
    Finish,
    /// Nothing: it is at its end.
    Nothing,
}

impl Session {
    /// Opens the session of a folder, or begins it: the folder appears with the first batch.
    ///
    /// # Errors
    /// If the setup is contradictory, the folder holds something else, or another process works on it.
    pub fn open(setup: Setup) -> Result<Self> {
        let config = setup.config()?;
        let process = std::process::id();
        if !StoredRun::is_run(&setup.folder) {
            crate::run_folder::refuse_occupied(&setup.folder)?;
            let data = setup.data(&config, setup.class_names.as_deref())?;
            let at = Position::start(&data.split.pool, &setup.initial)?;
            let (asked, evaluation, folder) = (None, None, None);
            return Ok(Self { setup, config, data, at, asked, evaluation, folder, finished: false, process });
        }
        let (folder, stored) = RunFolder::resume(&setup.folder)?;
        setup.check_same(&config, &stored)?;
        let data = setup.data(&config, Some(&stored.header.dataset.classes))?;
        check_dataset(&setup.folder, &stored.header, &data)?;
        ensure!(
            stored.initial()? == setup.outcomes(),
            "{}: `initial` is another set than the one that the session was begun with",
            shown(&setup.folder)
        );
        let (at, finished) = (stored.position()?, stored.is_finished());
        let mut session =
            Self { setup, config, data, at, asked: None, evaluation: None, folder: Some(folder), finished, process };
        session.asked = session.read_asked()?;
        Ok(session)
    }

    /// The batch that was asked for before the process ended, where it is one of this round.
    fn read_asked(&mut self) -> Result<Option<Asked>> {
        let folder = AskedFolder::of(&self.setup.folder);
        let Some(found) = folder.read(self.at.round)? else { return Ok(None) };
        let Some(batch) = self.batch_size() else { return Ok(None) };
        let rows = self.candidates()?;
        found.asked(&rows, batch, &self.setup.folder).map(Some)
    }

    fn batch_size(&self) -> Option<usize> {
        self.data.plan.batch(self.at.round).filter(|_| self.at.partition.pool_len() > 0)
    }

    /// Samples that the next query chooses from.
    fn candidates(&self) -> Result<Vec<SampleId>> {
        let id = self.identity_id()?;
        let pool = self.at.partition.pool();
        Ok(querist_core::question::candidates(
            &pool,
            self.config.strategy.subset_size,
            self.config.seeds,
            &id,
            self.at.round,
        ))
    }

    fn identity_id(&self) -> Result<String> {
        if let Some(hosted) = &self.setup.hosted {
            return Ok(hosted.resolved().strategy.id.clone());
        }
        let listing = plugins::listing(&self.setup.plugins.plugin_dir)?;
        Ok(listing.resolve(&self.config.strategy.id)?.strategy.id.clone())
    }

    /// What it does next.
    ///
    /// # Errors
    /// If the strategy cannot be loaded.
    pub fn next(&self) -> Result<Next> {
        self.check_process()?;
        if let Some(asked) = &self.asked {
            return Ok(Next::Tell(self.batch_of(asked)));
        }
        if self.finished {
            return Ok(Next::Nothing);
        }
        if self.batch_size().is_none() {
            return Ok(Next::Finish);
        }
        let ready = self.ready()?;
        let labelled = self.at.partition.labelled().into_iter().map(|(sample, _)| sample.0).collect();
        let rows = |samples: Vec<SampleId>| samples.into_iter().map(|sample| sample.0).collect();
        Ok(Next::Ask(Wanted {
            useful: wanted::useful(ready.strategy.needs()),
            candidates: rows(self.candidates()?),
            pool: rows(self.at.partition.pool()),
            labelled,
            samples: self.setup.names.len(),
        }))
    }

    /// Asks the strategy for the batch of this round, of which [`Self::next`] said that it is next.
    ///
    /// # Errors
    /// If the arrays are not what the strategy needs, it gives no answer, or that cannot be written down.
    pub fn ask(&mut self, given: Given, progress: &dyn Progress) -> Result<Batch> {
        self.check_process()?;
        let mut given = given;
        let (params, threads) = (&self.config.strategy.params, self.threads());
        let draws = |name: &str| {
            let (kind, _) = querist_protocol::ArrayKind::of(name)?;
            params.get(kind.draws_parameter()?)?.as_u64().and_then(|draws| usize::try_from(draws).ok())
        };
        let said = |error: &querist_core::GivenError| Usage(error.to_string());
        let classes = self.data.dataset.as_ref().map(Dataset::classes);
        given.arrange(classes, draws).map_err(|error| said(&error))?;
        let mut ready = self.ready()?;
        let needs = ready.strategy.needs().to_vec();
        wanted::complete(&mut given, &needs, self.at.partition.labelled_len() > 0)?;
        self.settle_classes(&given)?;
        let settled = wanted::settled(&*ready.strategy, &given)?;
        wanted::refuse_what_nobody_has(settled.needs())?;
        let asked = self.with_run(&mut *ready.strategy, &given, None, progress, |run, at| {
            querist_core::ask(run, at, settled.needs()).map_err(at_fault)
        })?;
        let Some(mut asked) = asked else { anyhow::bail!("nothing is left to ask for") };
        if !self.setup.keep_features {
            asked.arrays.clear();
        }
        self.begin(&ready, &settled, threads)?;
        AskedFolder::of(&self.setup.folder).write(self.at.round, &asked)?;
        let batch = self.batch_of(&asked);
        self.asked = Some(asked);
        Ok(batch)
    }

    /// Says what the model of this round came to, before its batch is told.
    ///
    /// # Errors
    /// If the figures are none.
    pub fn evaluate(&mut self, figures: &Figures) -> Result<()> {
        self.check_process()?;
        if let Some(evaluation) = self.evaluation_of(figures)? {
            self.evaluation = Some(evaluation);
        }
        Ok(())
    }

    /// Tells the labels of the batch that was asked for, by rows of the pool, and commits the round.
    ///
    /// # Errors
    /// If these are not the labels of exactly that batch, nothing is known of the round's model, or the round cannot be
    /// made durable.
    pub fn tell(&mut self, labels: &[(u64, u32)], figures: &Figures, progress: &dyn Progress) -> Result<()> {
        self.check_process()?;
        let Some(asked) = self.asked.clone() else {
            let message = "nothing is asked for: `ask` first, then `tell` the labels of its batch";
            return Err(Usage(message.to_owned()).into());
        };
        let told = self.told(&asked, labels)?;
        let evaluation = self.known_evaluation(figures)?;
        self.commit(Some(asked), Some(told), evaluation, progress)
    }

    /// Commits the last round, which only evaluates.
    ///
    /// # Errors
    /// As for [`Self::tell`].
    pub fn finish(&mut self, figures: &Figures, progress: &dyn Progress) -> Result<()> {
        self.check_process()?;
        if self.finished {
            return Ok(());
        }
        if self.asked.is_some() || self.batch_size().is_some() {
            let left = self.data.plan.rounds() - self.at.round.index();
            let message = format!("{left} batches of the budget are not labelled yet: `ask` and `tell` come first");
            return Err(Usage(message).into());
        }
        let evaluation = self.known_evaluation(figures)?;
        self.commit(None, None, evaluation, progress)
    }

    fn commit(
        &mut self,
        asked: Option<Asked>,
        told: Option<Vec<(SampleId, Label)>>,
        evaluation: Evaluation,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut ready = self.ready()?;
        let given = Given::default();
        let next = self.with_run(&mut *ready.strategy, &given, told, progress, |run, at| {
            Ok(querist_core::tell(run, at, asked, evaluation)?)
        })?;
        // The round is safe: what was asked for is part of it.
        AskedFolder::of(&self.setup.folder).remove()?;
        (self.asked, self.evaluation) = (None, None);
        match next {
            Some(next) => self.at = next,
            None => self.finished = true,
        }
        Ok(())
    }

    /// Does something with the parts of the run.
    fn with_run<T>(
        &mut self,
        strategy: &mut dyn Strategy,
        given: &Given,
        told: Option<Vec<(SampleId, Label)>>,
        progress: &dyn Progress,
        work: impl FnOnce(&mut Run<'_>, &Position) -> Result<T>,
    ) -> Result<T> {
        let Some(dataset) = &self.data.dataset else {
            return Err(Usage("the session has not begun: `ask` for its first batch".to_owned()).into());
        };
        let mut learner = Handed::new(given);
        let mut oracle = Told(told);
        let mut observer = Keeper { folder: self.folder.as_ref(), dataset, progress };
        let mut run = Run {
            dataset,
            split: &self.data.split,
            plan: &self.data.plan,
            options: QueryOptions { subset: self.config.strategy.subset_size, ..QueryOptions::default() },
            seeds: self.config.seeds,
            learner: &mut learner,
            strategy,
            oracle: &mut oracle,
            observer: &mut observer,
            stop_after: None,
        };
        work(&mut run, &self.at)
    }

    /// Makes the run folder, where there is none yet.
    fn begin(&mut self, ready: &Ready, settled: &Settled, threads: usize) -> Result<()> {
        let Some(dataset) = &self.data.dataset else { return Ok(()) };
        if self.folder.is_some() {
            return Ok(());
        }
        let mut config = self.config.clone();
        config.experiment.compute.threads = Some(threads);
        if let serde_json::Value::Object(params) = &ready.params {
            config.strategy.params.clone_from(params);
        }
        let header = Header::new(dataset, &self.data.split, (ready, settled), BACKEND.to_owned(), threads);
        let initial = self.setup.outcomes();
        self.folder =
            Some(RunFolder::create(&self.setup.folder, &config, &header, &self.data.split, Some(&initial), dataset)?);
        Ok(())
    }

    /// Takes the number of classes from the arrays, where the setup did not say.
    fn settle_classes(&mut self, given: &Given) -> Result<()> {
        let is_said = self.folder.is_some() || self.setup.class_names.is_some();
        if is_said && self.data.dataset.is_some() {
            return Ok(());
        }
        let Some(classes) = wanted::classes(given) else {
            let message = "no array says how many classes there are: say so with `classes=`";
            return Err(Usage(message.to_owned()).into());
        };
        let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        self.data = self.setup.data(&self.config, Some(&names))?;
        Ok(())
    }

    fn ready(&self) -> Result<Ready> {
        let limits = &self.config.experiment.limits;
        let means = Means { limits, threads: self.threads(), accelerator: None, torch: None };
        plugins::ready_or_hosted(self.setup.hosted.as_deref(), &self.config.strategy, means, &self.setup.plugins)
    }

    fn threads(&self) -> usize {
        self.config.experiment.compute.threads()
    }

    fn batch_of(&self, asked: &Asked) -> Batch {
        Batch {
            round: self.at.round.0,
            rows: asked.acquisition.ids().iter().map(|sample| sample.0).collect(),
            scores: asked.acquisition.scores().to_vec(),
            diagnostics: asked.figures.iter().map(|(name, value)| (name.clone(), *value)).collect(),
        }
    }

    /// The labels of a batch in its order.
    fn told(&self, asked: &Asked, labels: &[(u64, u32)]) -> Result<Vec<(SampleId, Label)>> {
        let wrong = |message: String| Err(Usage(message).into());
        let classes = self.data.dataset.as_ref().map_or(0, Dataset::classes);
        let ids = asked.acquisition.ids();
        let mut of_batch: std::collections::BTreeMap<SampleId, Option<Label>> =
            ids.iter().map(|&sample| (sample, None)).collect();
        for &(row, label) in labels {
            let name = self.setup.name(row);
            match of_batch.get_mut(&SampleId(row)) {
                None => match self.at.partition.labelled_in(SampleId(row)) {
                    Some(_) => return wrong(format!("{name} is labelled already, in an earlier round")),
                    None => return wrong(format!("{name} was never asked for")),
                },
                Some(Some(_)) => return wrong(format!("{name} is told twice")),
                Some(_) if label as usize >= classes => {
                    return wrong(format!(
                        "{name} has label {label}, but there are {classes} classes (0 to {})",
                        classes - 1
                    ));
                }
                Some(place) => *place = Some(Label(label)),
            }
        }
        let missing: Vec<&SampleId> = of_batch.iter().filter(|(_, label)| label.is_none()).map(|(id, _)| id).collect();
        if let Some(first) = missing.first() {
            let (count, all, name) = (missing.len(), ids.len(), self.setup.name(first.0));
            return wrong(format!("{count} of the {all} labels of the batch are missing, such as that of {name}"));
        }
        Ok(ids.iter().filter_map(|id| Some((*id, of_batch.get(id).copied()??))).collect())
    }

    /// What figures come to, where there are some.
    fn evaluation_of(&self, figures: &Figures) -> Result<Option<Evaluation>> {
        if figures.accuracy.is_none() && figures.test_logits.is_none() {
            return Ok(None);
        }
        let Some(dataset) = &self.data.dataset else {
            let message = "the number of classes is not known yet: say so with `classes=`";
            return Err(Usage(message.to_owned()).into());
        };
        figures.evaluation(dataset, &self.data.split).map(Some)
    }

    /// What is said now, else what was said when the batch was asked for.
    fn known_evaluation(&self, figures: &Figures) -> Result<Evaluation> {
        let said = self.evaluation_of(figures)?;
        said.or_else(|| self.evaluation.clone()).ok_or_else(|| {
            let round = self.at.round;
            let message = format!(
                "nothing is known of the model of round {round}: give `metrics={{\"accuracy\": ...}}`, or \
                 `test_logits` where the session has `test_labels`"
            );
            Usage(message).into()
        })
    }

    /// A fork shares the lock of the folder, and must not work on it.
    fn check_process(&self) -> Result<()> {
        let now = std::process::id();
        if now == self.process {
            return Ok(());
        }
        let message = format!(
            "this session belongs to process {}, of which {now} is a fork: open a session of its own there, with \
             another folder",
            self.process
        );
        Err(Usage(message).into())
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.setup.folder
    }

    /// Rounds that are finished.
    pub fn round(&self) -> u32 {
        self.at.round.0 + u32::from(self.finished)
    }

    /// Queries of its budget.
    pub fn rounds(&self) -> usize {
        self.data.plan.rounds()
    }

    /// Whether its last round is committed.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Rows that are labelled, ascending, with their labels.
    pub fn labelled(&self) -> Vec<(u64, u32)> {
        self.at.partition.labelled().into_iter().map(|(sample, label)| (sample.0, label.0)).collect()
    }

    /// Rows that are not labelled yet, ascending.
    pub fn unlabelled(&self) -> Vec<u64> {
        self.at.partition.pool().into_iter().map(|sample| sample.0).collect()
    }
}

/// Arrays that do not fit are the caller's.
fn at_fault(error: RunError) -> anyhow::Error {
    match error {
        RunError::Arrays(error) => Usage(error.to_string()).into(),
        other => other.into(),
    }
}

fn check_dataset(folder: &Path, header: &Header, data: &Data) -> Result<()> {
    let now = data.dataset.as_ref().map(Dataset::digest).unwrap_or_default();
    if header.dataset.digest == now {
        return Ok(());
    }
    let message = format!(
        "{} was begun with other ids, classes or test labels; give those, or choose another folder",
        shown(folder)
    );
    Err(Usage(message).into())
}

/// Which packages a session asks.
pub type Plugins = PluginArgs;
