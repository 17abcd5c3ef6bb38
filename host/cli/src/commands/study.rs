//! `querist study run`: a grid of strategies and seeds, each run in a process of its own.

use std::collections::VecDeque;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use querist_core::config::{StudyConfig, cores, schemas};
use querist_files::{Links, shown};
use querist_protocol::Shown;
use rustix::process::{Pid, Signal, kill_process};

use crate::commands::report::{self, Format};
use crate::commands::run::warn_of_threads;
use crate::config_file::ConfigFile;
use crate::exit::{Hinted, Usage};
use crate::plugins::PluginArgs;
use crate::run_folder::lock;
use crate::stored_run::{StoredRun, refuse_linked};
use crate::trainer::set_waiting;
use crate::{again, grid, output, progress};

/// Compare strategies over seeds.
#[derive(Debug, Subcommand)]
pub enum StudyCommand {
    /// Do every run of a study that is not finished yet.
    Run(StudyRunArgs),
}

/// Do every run of a study that is not finished yet.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist study run examples/quick.toml --jobs 2 --out runs/quick")]
pub struct StudyRunArgs {
    /// Study file.
    pub file: PathBuf,
    /// Replace a value of the file, such as budget.batch=100.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Runs at the same time; each uses `compute.threads` threads, or its share of the cores.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = jobs)]
    pub jobs: usize,
    /// Folder of the study [default: runs/FILE].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub plugins: PluginArgs,
    /// Device of training and features, instead of the file's.
    #[arg(long, value_name = "cpu|cuda:N")]
    pub device: Option<String>,
    /// Threads of each run where the file names none [default: its share of the cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Form of the summary on standard output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// Runs at a time at most.
const MOST_JOBS: usize = 1024;

fn jobs(text: &str) -> std::result::Result<usize, String> {
    let expected = || format!("expected 1 to {MOST_JOBS} runs at a time");
    text.parse().ok().filter(|jobs| (1..=MOST_JOBS).contains(jobs)).ok_or_else(expected)
}

/// Bytes of a run file at most, as of any config file.
const MOST_RUN_FILE: u64 = 4 << 20;
/// Bytes of a log at most that is looked at for the reason of a failure.
const MOST_LOG: u64 = 16 << 20;

/// One run of the grid.
struct Job {
    name: String,
    folder: PathBuf,
    file: PathBuf,
}

/// Runs the verb.
pub fn main(command: &StudyCommand) -> Result<()> {
    let StudyCommand::Run(args) = command;
    let mut overrides = args.set.clone();
    overrides.extend(args.device.as_ref().map(|device| format!("compute.device=\"{device}\"")));
    let file = ConfigFile::read(&args.file, &overrides)?;
    if !file.is_study() {
        let (name, argument) = (args.file.display(), again::argument(&args.file.to_string_lossy()));
        let message = format!("{name} has no `strategies`, so it is no study; `querist run {argument}` starts a run");
        return Err(Usage(message).into());
    }
    let config: StudyConfig = file.check(&schemas()["study"])?;
    let problems = grid::problems(&config, &args.plugins)?;
    if !problems.is_empty() {
        return Err(file.report(&problems, "").into());
    }
    let out = args.out.clone().unwrap_or_else(|| {
        let stem = args.file.file_stem().map_or_else(|| "study".into(), |stem| stem.to_string_lossy());
        PathBuf::from("runs").join(stem.as_ref())
    });
    progress::stop_on_interrupt()?;
    let (jobs, _lock) = lay_out(&config, &out)?;
    let total = jobs.len();
    let folders: Vec<PathBuf> = jobs.iter().map(|job| job.folder.clone()).collect();
    let (done, todo): (Vec<Job>, Vec<Job>) =
        jobs.into_iter().partition(|job| StoredRun::read(&job.folder).is_ok_and(|run| run.is_finished()));
    output::note(&format!("study {}: {total} runs, {} of them finished already", shown(&out), done.len()));
    let asked = config.experiment.compute.threads.or(args.threads.map(usize::from));
    let threads = asked.unwrap_or_else(|| (cores() / args.jobs.min(todo.len().max(1))).max(1));
    warn_of_threads(threads, args.jobs.min(todo.len()));
    let failed = work(todo, args, &out, threads)?;
    // Whatever becomes of the summary, what failed is said.
    let summary = summarise(&folders, &out, args.format);
    match failed.as_slice() {
        [] => summary,
        failed => Err(unfinished(failed, total, &out)),
    }
}

/// Prints the figures of the study's runs; others that lie in its folder are only named.
fn summarise(folders: &[PathBuf], out: &Path, format: Format) -> Result<()> {
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
fn unfinished(failed: &[String], total: usize, out: &Path) -> anyhow::Error {
    const NAMED: usize = 20;
    let more = failed.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let names = failed.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let goes_on = again::command(&[]).map_or_else(|| "the same command".to_owned(), |command| format!("`{command}`"));
    let message = format!("{} of {total} runs did not finish: {names}{more}", failed.len());
    let hint = match progress::stopped() {
        true => format!("finished rounds are safe; {goes_on} goes on with them"),
        false => format!("the logs in {} say why; {goes_on} goes on with them", shown(&out.join("files"))),
    };
    Hinted::say(message, hint)
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("one {what}") } else { format!("{count} {what}s") }
}

/// Writes the run files; a study that is laid out already must be the same. The folder is this process's as long as it
/// holds the lock.
fn lay_out(config: &StudyConfig, out: &Path) -> Result<(Vec<Job>, File)> {
    let files = out.join("files");
    fs::create_dir_all(&files).with_context(|| format!("cannot make {}", shown(&files)))?;
    refuse_linked(&files)?;
    let lock = lock(&files.join("lock"), "study", out)?;
    let mut jobs = Vec::new();
    for &seed in &config.seeds {
        for strategy in &config.strategies {
            let name = format!("{}/seed-{seed}", strategy.label());
            let file = files.join(format!("{}-s{seed}.toml", strategy.label()));
            let text = toml::to_string(&config.run(strategy, seed))?;
            let folder = out.join(&name);
            let before = querist_files::read_text(&file, Links::Refuse, MOST_RUN_FILE);
            if StoredRun::is_run(&folder) && before.is_ok_and(|before| before != text) {
                let message = format!(
                    "{} holds runs of another study: its `{name}` has another config\nhint: choose another `--out`",
                    shown(out)
                );
                return Err(Usage(message).into());
            }
            replace(&file, text.as_bytes()).with_context(|| format!("cannot write {}", shown(&file)))?;
            jobs.push(Job { name, folder, file });
        }
    }
    Ok((jobs, lock))
}

/// Writes a file in place of whatever has its name; a link is replaced, not followed.
fn replace(path: &Path, bytes: &[u8]) -> Result<File> {
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(path.parent().context("it has no folder")?)?;
    file.write_all(bytes)?;
    Ok(file.persist(path)?)
}

/// Does the jobs, some at a time; returns the names of those that failed.
fn work(todo: Vec<Job>, args: &StudyRunArgs, out: &Path, threads: usize) -> Result<Vec<String>> {
    let total = todo.len();
    let mut waiting: VecDeque<Job> = todo.into();
    let mut running: Vec<(Job, Child, Instant)> = Vec::new();
    let mut failed = Vec::new();
    let mut ended = 0;
    let mut told = false;
    loop {
        if progress::stopped() && !told {
            told = true;
            running.iter().for_each(|(_, child, _)| stop(child));
        }
        while running.len() < args.jobs && !progress::stopped() {
            let Some(job) = waiting.pop_front() else { break };
            let child = start(&job, args, out, threads)?;
            running.push((job, child, Instant::now()));
        }
        if running.is_empty() {
            failed.extend(waiting.into_iter().map(|job| job.name));
            return Ok(failed);
        }
        std::thread::sleep(Duration::from_millis(20));
        let mut still = Vec::new();
        for (job, mut child, since) in running {
            match child.try_wait()? {
                None => still.push((job, child, since)),
                Some(status) => {
                    ended += 1;
                    let seconds = since.elapsed().as_secs_f64();
                    let outcome = if status.success() { "done" } else { "FAILED" };
                    output::note(&format!(
                        "[{ended}/{total}] {:<32} {outcome} in {seconds:.0} s{}",
                        job.name,
                        result_of(&job)
                    ));
                    if !status.success() {
                        failed.push(job.name);
                    }
                }
            }
        }
        running = still;
    }
}

/// The last accuracy of a run, or the last line of its log.
fn result_of(job: &Job) -> String {
    let accuracy = StoredRun::read(&job.folder).ok().and_then(|run| {
        let last = run.rounds.last()?.record.clone();
        run.is_finished().then(|| format!("  accuracy {:.1} %", last.metrics.accuracy * 100.0))
    });
    accuracy.unwrap_or_else(|| {
        let log = querist_files::read_text(&log_of(job), Links::Refuse, MOST_LOG).unwrap_or_default();
        log.lines()
            .find(|line| line.starts_with("error"))
            .map(|line| format!("  {}", Shown::sentence(line)))
            .unwrap_or_default()
    })
}

/// Asks a run to stop at its next safe point.
fn stop(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // A run that has just ended is stopped.
        let _ = kill_process(pid, Signal::TERM);
    }
}

fn log_of(job: &Job) -> PathBuf {
    job.file.with_extension("log")
}

fn start(job: &Job, args: &StudyRunArgs, out: &Path, threads: usize) -> Result<Child> {
    let log = replace(&log_of(job), b"").with_context(|| format!("cannot write in {}", shown(out)))?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.arg("run").arg(&job.file).arg("--out").arg(&job.folder).arg("--resume").args(["--format", "csv"]);
    command.args(["--threads", &threads.to_string(), "--with-parent", &std::process::id().to_string()]);
    command.args(args.plugins.to_args()?);
    set_waiting(&mut command, threads.saturating_mul(args.jobs));
    command
        // A terminal's Ctrl-C is for the study, which passes it on once.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", job.name))
}
