//! `querist run`: one run, from its file to its folder.

mod keeper;
mod same;
mod start;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use querist_core::config::{RunConfig, Task, cores, schemas};
use querist_core::{
    Dataset, DatasetOracle, Oracle, People, Position, QueryOptions, Round, Run, RunError, Split, check, run,
};
use querist_files::shown;
use querist_protocol::Capability;

use self::keeper::Keeper;
use self::same::{check_same, check_same_dataset};
use self::start::{Start, known_labels};

use crate::again;
use crate::body;
use crate::commands::report::{self, Format};
use crate::config_file::ConfigFile;
use crate::events::Log;
use crate::exit::{Hinted, Usage};
use crate::fixed;
use crate::flags;
use crate::index_file;
use crate::output;
use crate::own_learner;
use crate::people::{self, Batches, HoldOut, Still};
use crate::plugins::{Means, PluginArgs};
use crate::progress::{self, Display};
use crate::run_folder::{Header, RunFolder, refuse_occupied};
use crate::stored_run::{StoredRun, read_header};
use crate::track::Tracker;
use crate::track::tensorboard::Board;
use crate::trainer::Trainer;
use crate::upper::{self, Chooser};
use crate::without_torch;

/// Run one active-learning experiment.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  querist run examples/digits-badge.toml --strategy margin --seed 3 --set budget.rounds=3"
)]
pub struct RunArgs {
    /// Run file.
    pub file: PathBuf,
    #[arg(long, value_name = "ID", help = flags::STRATEGY_OF_FILE)]
    pub strategy: Option<String>,
    #[arg(long, value_name = "S", help = flags::SEED)]
    pub seed: Option<u64>,
    #[arg(long = "set", value_name = "KEY=VALUE", help = flags::SET)]
    pub set: Vec<String>,
    /// Folder of the run [default: runs/FILE-STRATEGY-sSEED].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with the run in the folder.
    #[arg(long)]
    pub resume: bool,
    /// Go on by itself whenever people have answered a batch, to the end of the plan.
    #[arg(long)]
    pub watch: bool,
    /// Stop after the initial set is drawn, or after a round (cycle), to go on with `--resume`.
    #[arg(long, value_name = "initialize|cycleN")]
    pub stop_after: Option<StopAfter>,
    #[command(flatten)]
    pub plugins: PluginArgs,
    #[arg(long, value_name = "cpu|cuda:N", help = flags::DEVICE)]
    pub device: Option<String>,
    /// Threads where the file names none [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Form of the table of rounds on standard output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Form of what is told on standard error while it runs.
    #[arg(long, value_enum, default_value_t = Log::Text)]
    pub log: Log,
    /// Write what other programs show of the run, too: an event file for TensorBoard. It is no part of the run.
    #[arg(long, value_enum, value_name = "tensorboard")]
    pub track: Option<Tracker>,
    /// The process that started this one, without which it ends.
    #[arg(long, hide = true, value_name = "PID")]
    pub with_parent: Option<i32>,
}

/// Where a run stops to go on another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopAfter {
    /// Before the first round: everything about the run's start is written.
    Initialize,
    /// After a round.
    Round(Round),
}

impl std::str::FromStr for StopAfter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("cycle").or_else(|| text.strip_prefix("round")).unwrap_or(text);
        match (text, number.parse()) {
            ("initialize", _) => Ok(Self::Initialize),
            (_, Ok(round)) => Ok(Self::Round(Round(round))),
            _ => Err("expected `initialize`, or a round such as `cycle0`".to_owned()),
        }
    }
}

/// Runs the verb.
pub fn main(args: &RunArgs, trainer: &dyn Trainer) -> Result<()> {
    if let Some(parent) = args.with_parent {
        own_learner::end_with(parent)?;
    }
    let file = read(args)?;
    if file.is_study() {
        let (name, argument) = (args.file.display(), again::argument(&args.file.to_string_lossy()));
        return Err(Usage(format!("{name} is a study: start it with `querist study run {argument}`")).into());
    }
    let mut config = file.check::<RunConfig>(&schemas()["run"])?.resolved();
    own_learner::refuse_misfits(&config, &args.plugins)?;
    people::refuse_misfits(&config)?;
    if args.watch && config.oracle.people().is_none() {
        return Err(Usage("--watch waits for the answers of people; set `oracle = \"people\"`".to_owned()).into());
    }
    body::settle(&mut config.experiment)?;
    let folder = args.out.clone().unwrap_or_else(|| default_folder(&args.file, &config));
    progress::stop_on_interrupt()?;
    let display = Display::new(false);

    if !(args.resume && StoredRun::is_run(&folder)) {
        refuse_occupied(&folder)?;
    }
    let threads = threads_of(args, &config, &folder);
    warn_of_threads(threads, 1);
    config.experiment.compute.threads = Some(threads);
    let accelerator = trainer.accelerator(config.experiment.compute.device.split().0).context("compute.device")?;
    let torch = trainer.torch();
    let means =
        Means { limits: &config.experiment.limits, threads, accelerator: accelerator.as_ref(), torch: torch.as_ref() };
    let chooser = upper::chooser(&config, means, &args.plugins, &file)?;
    if let serde_json::Value::Object(params) = chooser.params() {
        config.strategy.params = params;
    }
    let mut call = Call { args, config: &config, folder: &folder, display: &display, trainer, dataset: None };
    let (mut chooser, mut resume) = (Some(chooser), args.resume);
    loop {
        let chooser = match chooser.take() {
            Some(chooser) => chooser,
            None => upper::chooser(&config, means, &args.plugins, &file)?,
        };
        match call.step(chooser, resume)? {
            Step::Done => return Ok(()),
            Step::Again => {}
            Step::Waits(still) if args.watch => {
                display.line(&format!("{still}; going on once they are there"));
                if !people::wait_for_answers(&folder)? {
                    output::note(&people::ways_on(&folder, &still));
                    return Ok(());
                }
            }
            Step::Waits(still) => {
                output::note(&people::ways_on(&folder, &still));
                return if StoredRun::read(&folder)?.rounds.is_empty() { Ok(()) } else { print(&folder, args.format) };
            }
        }
        resume = true;
    }
}

/// A call of the verb.
struct Call<'a> {
    args: &'a RunArgs,
    config: &'a RunConfig,
    folder: &'a Path,
    display: &'a Display,
    trainer: &'a dyn Trainer,
    /// The data, once they were read.
    dataset: Option<Dataset>,
}

/// Where a call stands.
enum Step {
    /// It has done what it was asked for.
    Done,
    /// People are asked.
    Waits(Still),
    /// What was asked is answered already: there is more to do.
    Again,
}

impl Call<'_> {
    /// Runs to the end, or until people are asked.
    fn step(&mut self, chooser: Chooser, resume: bool) -> Result<Step> {
        let Self { args, config, folder, display, trainer, .. } = *self;
        let stored = match open_stored(folder, config, resume)? {
            Some((run_folder, stored)) => match people::settle(run_folder, stored)? {
                Batches::GoesOn(run_folder, stored) => Some((run_folder, *stored)),
                Batches::Waits(still) => return Ok(Step::Waits(still)),
            },
            None => None,
        };
        if let Some((_, stored)) = &stored
            && stored.is_finished()
        {
            display.line(&format!("{} is finished already", folder.display()));
            args.track.map(|Tracker::Tensorboard| Board::open(folder, stored.rounds.len())).transpose()?;
            report::print(&[folder.to_owned()], args.format)?;
            return Ok(Step::Done);
        }
        if self.dataset.is_none() {
            self.dataset = Some(load(config)?);
        }
        let Some(dataset) = &self.dataset else { return Ok(Step::Done) };
        let finished = go(config, chooser, dataset, folder, stored, (display, args.stop_after, args.track), trainer);
        display.clear();
        let went = finished.map_err(|error| match error.downcast::<RunError>() {
            Ok(error) => match resume_hint(folder) {
                Some(hint) => Hinted::wrap(error, hint),
                None => error.into(),
            },
            Err(error) => error,
        })?;
        if went.asked {
            // A batch that was lost with its process and asked for again may have its answers already.
            return Ok(people::still(folder)?.map_or(Step::Again, Step::Waits));
        }
        if let Some(hint) = went.stopped.then(|| resume_hint(folder)).flatten() {
            output::note(&format!("stopped as `--stop-after` says: {hint}"));
        }
        if went.rounds > 0 {
            print(folder, args.format)?;
        }
        Ok(Step::Done)
    }
}

/// Reads the dataset of a run.
fn load(config: &RunConfig) -> Result<Dataset> {
    let (data, search) = (&config.experiment.dataset, querist_data::Search::from_env());
    Ok(match config.oracle.people() {
        Some(_) => querist_data::load_unlabelled(data, &search)?,
        None => querist_data::load(data, &search)?,
    })
}

/// Whether a run needs no libtorch. One whose file is wrong needs none either: it ends with what is wrong.
pub fn suffices_without_torch(args: &RunArgs) -> bool {
    let config = read(args).and_then(|file| file.check::<RunConfig>(&schemas()["run"]));
    config.map_or(true, |config| without_torch::suffices(&config))
}

/// The run file with what the call says instead of it.
fn read(args: &RunArgs) -> Result<ConfigFile> {
    let mut file = ConfigFile::read(&args.file, &[])?;
    if let Some(id) = &args.strategy
        && let Some(other) = file.use_strategy(id)
    {
        output::note(&format!("note: parameters in the file are those of `{other}`, and are left out"));
    }
    let seed = args.seed.map(|seed| format!("seeds.root={seed}"));
    let device = args.device.as_ref().map(|device| format!("compute.device=\"{device}\""));
    file.apply(&seed.into_iter().chain(args.set.iter().cloned()).chain(device).collect::<Vec<_>>())?;
    Ok(file)
}

/// What a run has come to: its figures, or its rounds where it is not at its end and has no figures yet.
fn print(folder: &Path, format: Format) -> Result<()> {
    let stored = StoredRun::read(folder)?;
    if format != Format::Table || stored.is_finished() {
        return report::print(&[folder.to_owned()], format);
    }
    let mut table = format!("{:>5}  {:>8}  {:>10}\n", "ROUND", "LABELLED", "ACCURACY %");
    for round in &stored.rounds {
        let record = &round.record;
        let accuracy = record.metrics.accuracy * 100.0;
        let accuracy = if accuracy.is_nan() { "-".to_owned() } else { format!("{accuracy:.2}") };
        table += &format!("{:>5}  {:>8}  {accuracy:>10}\n", record.round, record.labelled);
    }
    output::text(&table)
}

/// How far a run went.
struct Went {
    /// Finished rounds.
    rounds: usize,
    /// Whether it was told to stop, and more is to come.
    stopped: bool,
    /// Whether people were asked.
    asked: bool,
}

/// How to go on with a run that was under way; `None` where there is nothing yet to go on with.
fn resume_hint(folder: &Path) -> Option<String> {
    let rounds = StoredRun::read(folder).ok()?.rounds.len();
    let state = match rounds {
        0 => "no round is finished yet".to_owned(),
        1 => "one finished round is safe".to_owned(),
        rounds => format!("{rounds} finished rounds are safe"),
    };
    let out = folder.to_str().map(str::to_owned);
    let again = again::command(&[("--out", out), ("--resume", None)]);
    Some(match again {
        Some(command) => format!("{state}; go on with `{command}`"),
        None => format!("{state}; go on with the same command and `--resume`"),
    })
}

/// Threads of training and kernels: the file's, those that the run began with, those that the call asks for, or all
/// cores.
fn threads_of(args: &RunArgs, config: &RunConfig, folder: &Path) -> usize {
    let begun_with = || args.resume.then(|| read_header(folder).ok()).flatten().map(|header| header.threads);
    let threads = config.experiment.compute.threads.or_else(begun_with).or(args.threads.map(usize::from));
    threads.unwrap_or_else(cores)
}

/// Says that threads will wait for each other.
pub fn warn_of_threads(threads: usize, runs: usize) {
    let (wanted, cores) = (threads.saturating_mul(runs), cores());
    if wanted > cores {
        let runs = if runs == 1 { String::new() } else { format!("{runs} runs at a time of ") };
        let each = if threads == 1 { "one thread".to_owned() } else { format!("{threads} threads") };
        output::note(&format!(
            "warning: {runs}{each} on {cores} {}: this is slower than fewer threads (`compute.threads`)",
            if cores == 1 { "core" } else { "cores" }
        ));
    }
}

fn default_folder(file: &Path, config: &RunConfig) -> PathBuf {
    let stem = file.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned());
    PathBuf::from("runs").join(format!("{stem}-{}-s{}", config.strategy.label(), config.seeds.root))
}

/// The run in the folder, if it is to be gone on with.
fn open_stored(folder: &Path, config: &RunConfig, resume: bool) -> Result<Option<(RunFolder, StoredRun)>> {
    if !resume {
        return Ok(None);
    }
    if !StoredRun::is_run(folder) {
        // A run that was killed before its folder appeared starts from its beginning.
        return Ok(None);
    }
    let (run, stored) = RunFolder::resume(folder)?;
    if config.experiment.learner.is_some() {
        // What was handed to a learner that is gone.
        querist_external::remove_exchange(folder).with_context(|| shown(folder).into_string())?;
    }
    if stored.config != *config {
        let (old, new) = (toml::to_string(&stored.config)?, toml::to_string(config)?);
        let changed: Vec<&str> = new.lines().filter(|line| !old.lines().any(|other| other == *line)).collect();
        let message = format!(
            "{} was started with another config; what differs now: {}\nhint: start it with the file it had, or choose \
             another `--out`",
            shown(folder),
            changed.join("; ")
        );
        return Err(Usage(message).into());
    }
    Ok(Some((run, stored)))
}

fn go(
    config: &RunConfig,
    chooser: Chooser,
    whole: &Dataset,
    folder: &Path,
    stored: Option<(RunFolder, StoredRun)>,
    (display, stop_after, track): (&Display, Option<StopAfter>, Option<Tracker>),
    trainer: &dyn Trainer,
) -> Result<Went> {
    let d = &config.experiment.dataset;
    let drawn = Split::draw(whole, d.validation, d.test, config.seeds.split_stream());
    let drawn = drawn.map_err(|error| Usage(error.to_string()))?;
    let varied = querist_data::vary(whole, &drawn, d, &querist_data::Search::from_env(), &config.seeds)?;
    let (dataset, split, variant) = match &varied {
        Some((dataset, split, facts)) => (dataset, split.clone(), Some(facts.clone())),
        None => (whole, drawn, None),
    };
    let split = split.with_reserve(dataset, d.reserve, &config.seeds).map_err(|error| Usage(error.to_string()))?;
    if let Some((_, stored)) = &stored {
        check_same_dataset(&stored.header.dataset, dataset)?;
    }
    let budget = &config.experiment.budget;
    let listed = budget.initial_file().map(|file| index_file::read(file, dataset, &split)).transpose();
    let listed = listed.map_err(|error| Usage(format!("budget.initial: {error:#}")))?;
    let (pool, classes) = (split.pool.len(), dataset.classes());
    let known = known_labels(config, dataset)?;
    let task = Task { pool, classes, listed: listed.as_ref().map(|listed| listed.samples.len()).or(known) };
    let plan = budget.plan(task).map_err(|error| Usage(error.to_string()))?;
    let body = body::read(&config.experiment.model)?;
    let say = |line: &str| display.line(line);
    let (mut learner, of_learner) =
        own_learner::of(dataset, &split.pool, config, folder, body.as_ref(), &say, display, trainer)?;
    let fixed = fixed::read(dataset, &split.pool, config, display, trainer)?;
    let people = config.oracle.people();
    let watched = people.map(|_| people::watched(&split.pool, &config.seeds)).unwrap_or_default();
    let options = QueryOptions {
        subset: config.strategy.subset_size,
        target: config.strategy.target,
        fixed: Some(&fixed.arrays),
        watched: &watched,
    };
    let task = upper::Task { dataset, split: &split, plan: &plan, options, learner: &*learner };
    let mut ready = chooser.settled(&task, &say)?;
    let settled = check(&*learner, &*ready.strategy, &split, &plan, options)?;
    if people.is_some() {
        people::refuse_strategy(&settled, &split.pool)?;
    }
    let mut header =
        Header::new(dataset, &split, (&ready, &settled), learner.backend(), config.experiment.compute.threads());
    header.arrays = fixed.digests;
    header.learner = of_learner;
    header.dataset.variant = variant;
    header.arrays.extend(listed.iter().map(|listed| ("budget.initial".to_owned(), listed.digest.clone())));
    if let Some(body) = body {
        header.arrays.extend(body.network);
        header.weights = body.weights;
    }
    let listed = listed.map(|listed| listed.samples).unwrap_or_default();
    let start = match people {
        Some(people) => {
            Start::of_people(config, dataset, &split, &plan, HoldOut::of(config, people, split.test.len()))?
        }
        None => Start::drawn(config, dataset, &split, &plan, &listed)?,
    };
    let (run_folder, position) = match stored {
        Some((run_folder, stored)) => {
            check_same(&stored.header, &header)?;
            if stored.awaits_initial {
                return start.ask(config, dataset, &run_folder);
            }
            let position = start.replayed(&stored, &split, dataset)?;
            display.line(&format!("going on with round {} of {}", stored.rounds.len(), plan.rounds()));
            if let (Some(model), Some(last)) = (stored.model_to_go_on_with()?, stored.rounds.last()) {
                learner.restore(&model, &last.record.overrides)?;
            }
            if let Some(state) = stored.optimiser_to_go_on_with()? {
                learner.restore_optimiser(state);
            }
            (run_folder, position)
        }
        None => {
            let initial = start.known();
            let run_folder = RunFolder::create(folder, config, &header, &split, initial.as_deref(), dataset)?;
            let Some(initial) = initial else { return start.ask(config, dataset, &run_folder) };
            (run_folder, Position::start(&split.pool, &initial)?)
        }
    };
    let done = position.round;
    let stop_after = match stop_after {
        None => None,
        Some(StopAfter::Round(round)) if round >= done => Some(round),
        Some(_) => return Ok(Went { rounds: done.index(), stopped: true, asked: false }),
    };
    let asks_one_by_one = settled.capabilities().contains(&Capability::OracleStream);
    let board = track.map(|Tracker::Tensorboard| Board::open(folder, done.index())).transpose()?;
    let rounds = plan.rounds();
    let (folder_of_run, waits) = (run_folder, false);
    let mut keeper =
        Keeper { folder: folder_of_run, config, dataset, display, rounds, asks_one_by_one, board, people, waits };
    let (mut of_dataset, mut of_people) = (DatasetOracle::new(dataset), People);
    let oracle: &mut dyn Oracle = if people.is_some() { &mut of_people } else { &mut of_dataset };
    let mut parts = Run {
        dataset,
        split: &split,
        plan: &plan,
        options,
        seeds: config.seeds,
        learner: &mut *learner,
        strategy: &mut *ready.strategy,
        oracle,
        observer: &mut keeper,
        stop_after,
    };
    run(&mut parts, position)?;
    let asked = keeper.waits;
    let stored = StoredRun::read(folder)?;
    let stopped = stop_after.is_some() && !asked && !stored.is_finished();
    Ok(Went { rounds: stored.rounds.len(), stopped, asked })
}
