//! `querist study`: grids of runs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use querist_core::config::{Cell, LaunchConfig, Launcher, Plan, StudyConfig, cores, schemas};
use querist_files::shown;
use serde_json::json;

use crate::commands::report::{self, Format};
use crate::commands::run::warn_of_threads;
use crate::commands::status::StatusFormat;
use crate::config_file::ConfigFile;
use crate::events::Log;
use crate::exit::{Hinted, Usage};
use crate::flags;
use crate::grid::{self, Grid};
use crate::people;
use crate::plugins::{self, PluginArgs};
use crate::run_folder::is_held;
use crate::stored_run::StoredRun;
use crate::study::doing::{Doing, How};
use crate::study::folder::{Planned, StudyFolder};
use crate::study::launch;
use crate::study::ledger::State;
use crate::study::local::{self, Places};
use crate::study::outlook::{Forecast, Outlook, Work};
use crate::study::search;
use crate::study::slurm::{self, Queue};
use crate::study::status::Status;
use crate::track::Tracker;
use crate::{again, events, output, progress};

/// Compare strategies over seeds, and over whatever else a study varies.
#[derive(Debug, Subcommand)]
pub enum StudyCommand {
    /// Do every run of a study that is not finished yet.
    Run(StudyRunArgs),
    /// Show the grid of a study and what it will cost; nothing is run.
    Plan(StudyPlanArgs),
    /// Show how far a study is, and why runs failed.
    Status(StudyStatusArgs),
    /// Do one run of a study: what launchers call.
    #[command(hide = true)]
    Cell(CellArgs),
}

/// A study file, and where its folder is.
#[derive(Debug, Args)]
pub struct StudyFileArgs {
    /// Study file.
    pub file: PathBuf,
    #[arg(long = "set", value_name = "KEY=VALUE", help = flags::SET)]
    pub set: Vec<String>,
    /// Folder of the study [default: runs/FILE].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Runs at the same time; each uses `compute.threads` threads, or its share of the cores [default: launch.jobs].
    #[arg(long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<usize>,
    #[command(flatten)]
    pub plugins: PluginArgs,
    #[arg(long, value_name = "cpu|cuda:N", help = flags::DEVICE)]
    pub device: Option<String>,
}

/// Do every run of a study that is not finished yet.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist study run examples/quick.toml --jobs 2 --out runs/quick")]
pub struct StudyRunArgs {
    #[command(flatten)]
    pub study: StudyFileArgs,
    /// What starts the runs, instead of the file's.
    #[arg(long, value_enum)]
    pub launcher: Option<LauncherArg>,
    /// Hand the runs to Slurm and end; `querist study status` shows how far they are.
    #[arg(long)]
    pub no_wait: bool,
    /// Threads of each run where the file names none [default: its share of the cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Form of what is told on standard error while it runs.
    #[arg(long, value_enum, default_value_t = Log::Text)]
    pub log: Log,
    /// Write an event file for TensorBoard in each run folder, too.
    #[arg(long, value_enum, value_name = "tensorboard")]
    pub track: Option<Tracker>,
    /// Form of the summary on standard output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Show the grid of a study and what it will cost.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist study plan examples/quick.toml --jobs 2")]
pub struct StudyPlanArgs {
    #[command(flatten)]
    pub study: StudyFileArgs,
    /// Name every run.
    #[arg(long)]
    pub cells: bool,
}

/// Show how far a study is.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist study status runs/quick --watch")]
pub struct StudyStatusArgs {
    /// Folder of the study.
    pub folder: PathBuf,
    /// Show it again every two seconds, until nothing is queued or running.
    #[arg(long)]
    pub watch: bool,
    /// Form of the state on standard output.
    #[arg(long, value_enum, default_value_t = StatusFormat::Table)]
    pub format: StatusFormat,
}

/// What starts runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LauncherArg {
    /// Processes on this machine.
    Local,
    /// Tasks of a Slurm job array.
    Slurm,
    /// The command of the file's `launch.command`.
    Command,
}

/// Do one run of a study.
#[derive(Debug, Args)]
pub struct CellArgs {
    /// Folder of the study.
    pub folder: PathBuf,
    /// Digest of the run.
    #[arg(long, required_unless_present = "list", conflicts_with = "list")]
    pub digest: Option<String>,
    /// File with a digest a line.
    #[arg(long, requires = "index")]
    pub list: Option<PathBuf>,
    /// Line of that file, from 0.
    #[arg(long)]
    pub index: Option<usize>,
    /// Job and task that this is.
    #[arg(long)]
    pub job: Option<String>,
    /// Threads where the run's file names none.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: u16,
    /// Minutes after which the run is stopped.
    #[arg(long)]
    pub minutes: Option<f64>,
    /// What else is written of the run.
    #[arg(long, value_enum)]
    pub track: Option<Tracker>,
    #[command(flatten)]
    pub plugins: PluginArgs,
}

/// Runs at a time at most.
const MOST_JOBS: usize = 10_000;

fn jobs(text: &str) -> std::result::Result<usize, String> {
    let expected = || format!("expected 1 to {MOST_JOBS} runs at a time");
    text.parse().ok().filter(|jobs| (1..=MOST_JOBS).contains(jobs)).ok_or_else(expected)
}

/// Runs the verb.
pub fn main(command: &StudyCommand) -> Result<()> {
    match command {
        StudyCommand::Run(args) => run(args),
        StudyCommand::Plan(args) => plan(args),
        StudyCommand::Status(args) => status(args),
        StudyCommand::Cell(args) => cell(args),
    }
}

/// A study, looked at: what is run, how, and where.
pub struct Asked {
    /// Its runs.
    pub cells: Vec<Cell>,
    /// What was found of them.
    pub grid: Grid,
    /// What starts them.
    pub launch: LaunchConfig,
    /// Its folder.
    pub out: PathBuf,
}

/// What a call says beside the study.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// Which plugins there are.
    pub plugins: &'a PluginArgs,
    /// Threads of a run whose file names none.
    pub threads: Option<u16>,
    /// What else is written of each run.
    pub track: Option<Tracker>,
    /// Whether to end once all is in a queue.
    pub no_wait: bool,
}

/// A study whose runs have ended.
pub struct Worked {
    /// Its folder.
    pub study: StudyFolder,
    /// Runs that did not finish, by name.
    pub failed: Vec<String>,
    /// As long as it is held, no other process starts runs there.
    _lock: File,
}

fn read(args: &StudyFileArgs) -> Result<Asked> {
    let mut overrides = args.set.clone();
    overrides.extend(args.device.as_ref().map(|device| format!("compute.device=\"{device}\"")));
    let file = ConfigFile::read(&args.file, &overrides)?;
    if !file.is_study() {
        let (name, argument) = (args.file.display(), again::argument(&args.file.to_string_lossy()));
        let message = format!("{name} has no `strategies`, so it is no study; `querist run {argument}` starts a run");
        return Err(Usage(message).into());
    }
    people::refuse_study(&file)?;
    let config: StudyConfig = file.check(&schemas()["study"])?;
    let listing = plugins::listing(&args.plugins.plugin_dir)?;
    let settled = search::settle(&config, &listing)?.map_err(|problems| file.report(&problems, ""))?;
    let cells = settled.cells().map_err(|problems| file.report(&problems, ""))?;
    let grid = grid::check(&config, &cells, &args.plugins)?;
    if !grid.problems.is_empty() {
        return Err(file.report(&grid.problems, "").into());
    }
    let out = args.out.clone().unwrap_or_else(|| {
        let stem = args.file.file_stem().map_or_else(|| "study".into(), |stem| stem.to_string_lossy());
        PathBuf::from("runs").join(stem.as_ref())
    });
    let mut launch = config.launch;
    launch.jobs = args.jobs.unwrap_or(launch.jobs);
    Ok(Asked { cells, grid, launch, out })
}

fn run(args: &StudyRunArgs) -> Result<()> {
    let mut asked = read(&args.study)?;
    asked.launch.launcher = match args.launcher {
        None => asked.launch.launcher,
        Some(LauncherArg::Local) => Launcher::Local,
        Some(LauncherArg::Slurm) => Launcher::Slurm,
        Some(LauncherArg::Command) => Launcher::Command,
    };
    let StudyRunArgs { threads, track, no_wait, .. } = *args;
    let worked = do_runs(&asked, Beside { plugins: &args.study.plugins, threads, track, no_wait })?;
    if no_wait && asked.launch.launcher == Launcher::Slurm {
        return Ok(());
    }
    // Whatever becomes of the summary, what failed is said.
    let summary = summarise(&worked.study, args.format);
    match worked.failed.as_slice() {
        [] => summary,
        failed => Err(unfinished(failed, asked.cells.len(), &asked.out)),
    }
}

/// Does every run that is not done.
pub fn do_runs(asked: &Asked, beside: Beside<'_>) -> Result<Worked> {
    let Asked { cells, grid, launch, out } = asked;
    progress::stop_on_interrupt()?;
    let (study, lock) = StudyFolder::lay_out(out, cells)?;
    let total = cells.len();
    let mut todo = Vec::new();
    for cell in &study.cells {
        // Done is what is there and unchanged, whatever the ledger says.
        if !StoredRun::read(&study.run(cell)).is_ok_and(|run| run.is_finished()) {
            todo.push(cell);
        }
    }
    todo.iter().for_each(|cell| study.mend(cell));
    let finished = total - todo.len();
    match events::are_json() {
        true => events::tell("study", json!({ "folder": shown(out).as_str(), "runs": total, "finished": finished })),
        false => output::note(&format!("study {}: {total} runs, {finished} of them finished already", shown(out))),
    }
    let mut forecast = forecast(&study, cells, grid);
    let at_a_time = launch.jobs.min(todo.len().max(1));
    let wanted = cells.iter().filter_map(|cell| cell.config.experiment.compute.threads).max();
    let wanted = wanted.or(beside.threads.map(usize::from));
    let is_local = launch.launcher == Launcher::Local;
    let threads = wanted.unwrap_or_else(|| if is_local { (cores() / at_a_time).max(1) } else { 1 });
    let how = How {
        threads,
        beside: at_a_time,
        plugins: beside.plugins.to_args()?,
        limit: launch.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
        job: None,
        track: beside.track,
    };
    let failed = match launch.launcher {
        Launcher::Local => {
            warn_of_threads(threads, at_a_time);
            let places = Places { jobs: at_a_time, devices: launch.devices.clone(), pin: launch.pin };
            local::work(&study, todo, &how, &places, &mut forecast)?
        }
        Launcher::Slurm => by_slurm(&study, &todo, &how, launch, (beside.no_wait, &mut forecast))?,
        Launcher::Command => launch::by_command(&study, &todo, &how, launch, &mut forecast)?,
    };
    Ok(Worked { study, failed, _lock: lock })
}

/// Submits what no task has in hand, and waits for all.
fn by_slurm(
    study: &StudyFolder,
    todo: &[&Planned],
    how: &How,
    launch: &LaunchConfig,
    (no_wait, forecast): (bool, &mut Forecast),
) -> Result<Vec<String>> {
    let ledgers = todo.iter().map(|cell| study.ledger(cell)).collect::<Result<Vec<_>>>()?;
    let queue = Queue::of(&ledgers)?;
    let missing: Vec<&Planned> =
        todo.iter().zip(&ledgers).filter(|(_, ledger)| !queue.holds(ledger)).map(|(&cell, _)| cell).collect();
    for job in slurm::submit(study, &missing, how, launch)? {
        output::note(&format!("submitted job {job}"));
    }
    output::note(&format!("{} runs submitted, {} in the queue already", missing.len(), todo.len() - missing.len()));
    if no_wait {
        Ok(Vec::new())
    } else {
        launch::wait(study, todo, &|ledgers| Queue::of(ledgers), (forecast, launch.jobs))
    }
}

fn plan(args: &StudyPlanArgs) -> Result<()> {
    let Asked { cells, grid, launch, out } = read(&args.study)?;
    let begun = StudyFolder::read(&out).ok();
    let planned = |cell: &Cell| begun.as_ref()?.cells.iter().find(|planned| planned.digest == cell.digest);
    let known = cells.iter().zip(&grid.plans).map(|(cell, plan)| {
        let seconds = begun.as_ref().and_then(|begun| seconds_of(begun, planned(cell)?));
        (cell.folder(), kind(cell), work(cell, plan.as_ref()), seconds)
    });
    let outlook = Outlook { cells: known.collect() };
    if args.cells {
        outlook.cells.iter().try_for_each(|(folder, ..)| output::line(folder))?;
    }
    output::text(&outlook.text(launch.jobs))
}

/// What makes a cell cost what it costs.
fn kind(cell: &Cell) -> String {
    let point = cell.point.iter().map(|(key, value)| format!(", {key} {value}")).collect::<String>();
    format!("{}{point}", cell.config.strategy.label())
}

fn work(cell: &Cell, plan: Option<&Plan>) -> Work {
    plan.map(|plan| Work::of(cell, plan)).unwrap_or_default()
}

/// How long a cell took that is done.
fn seconds_of(study: &StudyFolder, cell: &Planned) -> Option<f64> {
    let (state, ledger) = study.state(cell).ok()?;
    (state == State::Done).then(|| ledger.attempts.iter().filter_map(|attempt| attempt.seconds).sum())
}

/// What is known of how long the cells of a study take.
fn forecast(study: &StudyFolder, cells: &[Cell], grid: &Grid) -> Forecast {
    let of = |((cell, planned), plan): ((&Cell, &Planned), &Option<Plan>)| {
        (planned.digest.clone(), kind(cell), work(cell, plan.as_ref()), seconds_of(study, planned))
    };
    Forecast::of(cells.iter().zip(&study.cells).zip(&grid.plans).map(of))
}

fn status(args: &StudyStatusArgs) -> Result<()> {
    progress::stop_on_interrupt()?;
    loop {
        let status = Status::of(&StudyFolder::read(&args.folder)?)?;
        match args.format {
            StatusFormat::Table => output::text(&status.text())?,
            StatusFormat::Json => output::line(&status.json().to_string())?,
        }
        if !args.watch || status.is_over() || progress::stopped() {
            return Ok(());
        }
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(50));
            if progress::stopped() {
                return Ok(());
            }
        }
    }
}

/// Does one cell here, as a launcher asked; a cell that is done, or that another process does, is left alone.
fn cell(args: &CellArgs) -> Result<()> {
    progress::stop_on_interrupt()?;
    let study = StudyFolder::read(&args.folder)?;
    let digest = match (&args.digest, &args.list, args.index) {
        (Some(digest), ..) => digest.clone(),
        (None, Some(list), Some(index)) => slurm::listed(list, index)?,
        _ => return Err(Usage("expected `--digest`, or `--list` with `--index`".to_owned()).into()),
    };
    let found = study.cells.iter().find(|cell| cell.digest == digest);
    let found = found.ok_or_else(|| Usage(format!("{} has no run of digest {digest}", shown(&args.folder))))?;
    let name = found.name();
    if study.state(found)?.0 == State::Done {
        output::note(&format!("{name} is done already"));
        return Ok(());
    }
    if is_held(&study.run(found)) {
        output::note(&format!("another process does {name}"));
        return Ok(());
    }
    let how = How {
        threads: args.threads.into(),
        beside: 1,
        plugins: args.plugins.to_args()?,
        limit: args.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
        job: args.job.clone(),
        track: args.track,
    };
    let mut doing = Doing::start(&study, found, &how, None, None)?;
    let mut told = false;
    let ledger = loop {
        if let Some(ledger) = doing.poll()? {
            break ledger;
        }
        if progress::stopped() && !told {
            told = true;
            doing.stop();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let reason = ledger.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
    output::note(&format!("{name} {}{reason}", ledger.state().name()));
    match ledger.state() {
        State::Done => Ok(()),
        _ => Err(anyhow::anyhow!("{name} is not done")),
    }
}

/// Prints the figures of the study's runs; others that lie in its folder are only named.
fn summarise(study: &StudyFolder, format: Format) -> Result<()> {
    let folders: Vec<PathBuf> = study.cells.iter().map(|cell| study.run(cell)).collect();
    let out = study.root();
    let begun: Vec<PathBuf> = folders.iter().filter(|folder| StoredRun::is_run(folder)).cloned().collect();
    let others: Vec<PathBuf> = report::runs_in(out)?.into_iter().filter(|run| !folders.contains(run)).collect();
    if let Some(first) = others.first() {
        output::note(&format!(
            "note: {} in {} {} not in the study's file and {} left out here, such as {}; `querist report {}` shows all",
            counted(others.len(), "run"),
            shown(out),
            if others.len() == 1 { "is" } else { "are" },
            if others.len() == 1 { "is" } else { "are" },
            shown(first),
            again::argument(&out.to_string_lossy())
        ));
    }
    if begun.is_empty() { Ok(()) } else { report::print(&begun, format) }
}

/// What is said of runs that are not done.
pub fn unfinished(failed: &[String], total: usize, out: &Path) -> anyhow::Error {
    const NAMED: usize = 20;
    let more = failed.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let names = failed.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let goes_on = again::command(&[]).map_or_else(|| "the same command".to_owned(), |command| format!("`{command}`"));
    let message = format!("{} of {total} runs did not finish: {names}{more}", failed.len());
    let hint = match progress::stopped() {
        true => format!("finished rounds are safe; {goes_on} goes on with them"),
        false => format!("the logs in {} say why; {goes_on} goes on with them", shown(&out.join("cells"))),
    };
    Hinted::say(message, hint)
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("one {what}") } else { format!("{count} {what}s") }
}
