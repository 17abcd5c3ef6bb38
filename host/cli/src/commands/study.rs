//! `querist study run`: a grid of strategies and seeds, each run in a process of its own.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use querist_core::config::{StudyConfig, schemas};
use querist_core::schema::Problem;
use querist_files::{Links, shown};
use serde_json::Value;

use crate::commands::report::{self, Format};
use crate::config_file::ConfigFile;
use crate::exit::Usage;
use crate::plugins::{self, PluginArgs};
use crate::progress;
use crate::stored_run::{StoredRun, refuse_linked};

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
    /// Runs at the same time; each uses `compute.threads` threads.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub jobs: usize,
    /// Folder of the study [default: runs/FILE].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub plugins: PluginArgs,
    /// Device of training and features, instead of the file's.
    #[arg(long, value_name = "cpu|cuda:N")]
    pub device: Option<String>,
    /// Form of the summary on standard output.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
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
        let name = args.file.display();
        let message = format!("{name} has no `strategies`, so it is no study; `querist run {name}` starts a run");
        return Err(Usage(message).into());
    }
    let config: StudyConfig = file.check(&schemas()["study"])?;
    check_grid(&config, &file, &args.plugins)?;
    let out = args.out.clone().unwrap_or_else(|| {
        let stem = args.file.file_stem().map_or_else(|| "study".into(), |stem| stem.to_string_lossy());
        PathBuf::from("runs").join(stem.as_ref())
    });
    progress::stop_on_interrupt()?;
    let jobs = lay_out(&config, &out)?;
    let total = jobs.len();
    let (done, todo): (Vec<Job>, Vec<Job>) =
        jobs.into_iter().partition(|job| StoredRun::read(&job.folder).is_ok_and(|run| run.is_finished()));
    eprintln!("study {}: {total} runs, {} of them finished already", shown(&out), done.len());
    let failed = work(todo, args, &out)?;
    report::print(std::slice::from_ref(&out), args.format)?;
    match failed.as_slice() {
        [] => Ok(()),
        failed => bail!(
            "{} of {total} runs did not finish: {}\nhint: the logs in {} say why; start the study again to go on",
            failed.len(),
            failed.join(", "),
            shown(&out.join("files"))
        ),
    }
}

/// Everything about the grid that can be wrong is found before the first run.
fn check_grid(config: &StudyConfig, file: &ConfigFile, args: &PluginArgs) -> Result<()> {
    let mut problems = Vec::new();
    let mut labels = BTreeSet::new();
    let listing = plugins::listing(&args.plugin_dir)?;
    let policy = args.policy()?;
    for (i, strategy) in config.strategies.iter().enumerate() {
        let at = format!("/strategies/{i}");
        if !labels.insert(strategy.label().to_owned()) {
            let message = format!("a second strategy is labelled `{}`: give it a `label` of its own", strategy.label());
            problems.push(Problem { pointer: at.clone(), message, help: None });
        }
        match listing.resolve(&strategy.id) {
            Err(error) => {
                problems.push(Problem { pointer: format!("{at}/id"), message: error.to_string(), help: None });
            }
            Ok(resolved) => {
                if let Err(error) = policy.mode(&resolved) {
                    problems.push(Problem { pointer: format!("{at}/id"), message: error.to_string(), help: None });
                }
                let schema = querist_core::schema::Schema::new(resolved.strategy.schema.clone())?;
                let found = schema.problems(&Value::Object(strategy.params.clone()));
                problems
                    .extend(found.into_iter().map(|p| Problem { pointer: format!("{at}/params{}", p.pointer), ..p }));
            }
        }
    }
    let mut seeds = BTreeSet::new();
    for (i, seed) in config.seeds.iter().enumerate().filter(|(_, seed)| !seeds.insert(**seed)) {
        let message = format!("seed {seed} stands here twice");
        problems.push(Problem { pointer: format!("/seeds/{i}"), message, help: None });
    }
    if problems.is_empty() { Ok(()) } else { Err(file.report(&problems, "").into()) }
}

/// Writes the run files; a study that is laid out already must be the same.
fn lay_out(config: &StudyConfig, out: &Path) -> Result<Vec<Job>> {
    let files = out.join("files");
    fs::create_dir_all(&files).with_context(|| format!("cannot make {}", shown(&files)))?;
    refuse_linked(&files)?;
    let mut jobs = Vec::new();
    for &seed in &config.seeds {
        for strategy in &config.strategies {
            let name = format!("{}/seed-{seed}", strategy.label());
            let file = files.join(format!("{}-s{seed}.toml", strategy.label()));
            let text = toml::to_string(&config.run(strategy, seed))?;
            let folder = out.join(&name);
            let before = querist_files::read_text(&file, Links::Refuse, MOST_RUN_FILE);
            if StoredRun::is_run(&folder) && before.is_ok_and(|before| before != text) {
                bail!(
                    "{} holds runs of another study: its `{name}` has another config\nhint: choose another `--out`",
                    shown(out)
                );
            }
            replace(&file, text.as_bytes()).with_context(|| format!("cannot write {}", shown(&file)))?;
            jobs.push(Job { name, folder, file });
        }
    }
    Ok(jobs)
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
fn work(todo: Vec<Job>, args: &StudyRunArgs, out: &Path) -> Result<Vec<String>> {
    let total = todo.len();
    let mut waiting: VecDeque<Job> = todo.into();
    let mut running: Vec<(Job, Child, Instant)> = Vec::new();
    let mut failed = Vec::new();
    let mut ended = 0;
    loop {
        while running.len() < args.jobs.max(1) && !progress::stopped() {
            let Some(job) = waiting.pop_front() else { break };
            let child = start(&job, args, out)?;
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
                    eprintln!("[{ended}/{total}] {:<32} {outcome} in {seconds:.0} s{}", job.name, result_of(&job));
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
        log.lines().find(|line| line.starts_with("error")).map(|line| format!("  {line}")).unwrap_or_default()
    })
}

fn log_of(job: &Job) -> PathBuf {
    job.file.with_extension("log")
}

fn start(job: &Job, args: &StudyRunArgs, out: &Path) -> Result<Child> {
    let log = replace(&log_of(job), b"").with_context(|| format!("cannot write in {}", shown(out)))?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.arg("run").arg(&job.file).arg("--out").arg(&job.folder).arg("--resume").args(["--format", "csv"]);
    command.args(args.plugins.to_args()?);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", job.name))
}
