//! Cells as tasks of Slurm's job arrays.
//!
//! Only Slurm's own commands are used. An array has a name that is written to the ledgers of its cells before it is
//! submitted, so that a process that is killed in between submits nothing twice: `squeue` knows the name.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use querist_core::config::LaunchConfig;
use querist_files::{Links, shown};
use querist_protocol::Shown;

use super::doing::How;
use super::folder::{Planned, StudyFolder, replace};
use super::launch::{cell_words, line};
use super::ledger::{Ledger, State};
use crate::exit::Usage;

/// Tasks of an array at most: Slurm's own default allows numbers up to 1000.
const MOST_TASKS: usize = 1000;
/// Bytes of a template, and of a list of cells, at most.
const MOST_BYTES: u64 = 16 << 20;
/// Minutes that Slurm gives a task beyond the limit of its cell, to end by itself.
const MORE_MINUTES: f64 = 3.0;

/// Tasks that Slurm knows, by name of their array and number.
#[derive(Debug, Clone, Default)]
pub struct Queue {
    /// Whether there is a queue that knows.
    asked: bool,
    tasks: BTreeMap<String, String>,
}

impl Queue {
    /// What `squeue` says of the arrays that these ledgers name.
    pub fn of<'a>(ledgers: impl IntoIterator<Item = &'a Ledger>) -> Result<Self> {
        let array = |ledger: &'a Ledger| Some(job_of(ledger)?.rsplit_once('/')?.0);
        let mut names: Vec<&str> = ledgers.into_iter().filter_map(array).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(Self { asked: true, tasks: BTreeMap::new() });
        }
        let said = run(
            "squeue",
            &[
                "--noheader".into(),
                "--array".into(),
                "--format=%j/%K %T".into(),
                format!("--name={}", names.join(",")).into(),
            ],
        )?;
        let task = |line: &str| line.split_once(' ').map(|(task, state)| (task.to_owned(), state.trim().to_owned()));
        Ok(Self { asked: true, tasks: said.lines().filter_map(task).collect() })
    }

    /// How far a cell is, where the queue knows better than its ledger: what it was handed to may be gone, and what was
    /// stopped may have been put back into the queue.
    pub fn seen(&self, state: State, ledger: &Ledger) -> State {
        let Some(job) = job_of(ledger).filter(|_| self.asked) else { return state };
        match (state, self.tasks.get(job).map(String::as_str)) {
            (State::Done, _) => State::Done,
            (State::Queued | State::Running, None) => State::Stopped,
            (state, None) => state,
            (_, Some("RUNNING")) => State::Running,
            (_, Some(_)) => State::Queued,
        }
    }

    /// Whether a task of the queue has this cell in hand.
    pub fn holds(&self, ledger: &Ledger) -> bool {
        job_of(ledger).is_some_and(|job| self.tasks.contains_key(job))
    }
}

/// Array and number of the task that a cell was handed to last.
pub fn job_of(ledger: &Ledger) -> Option<&str> {
    let job = ledger.handed_to.as_deref().or_else(|| ledger.attempts.last()?.job.as_deref());
    job.filter(|job| job.contains('/'))
}

/// Submits the cells, a thousand an array.
pub fn submit(study: &StudyFolder, todo: &[&Planned], how: &How, launch: &LaunchConfig) -> Result<Vec<String>> {
    todo.chunks(MOST_TASKS).map(|cells| submit_array(study, cells, how, launch)).collect()
}

fn submit_array(study: &StudyFolder, cells: &[&Planned], how: &How, launch: &LaunchConfig) -> Result<String> {
    let (folder, name) = array_folder(study)?;
    let list: String = cells.iter().map(|cell| format!("{}\n", cell.digest)).collect();
    let path = folder.join("cells.txt");
    replace(&path, list.as_bytes()).with_context(|| format!("cannot write {}", shown(&path)))?;
    let script = folder.join("job.sh");
    let text = job_script(study, &folder, &name, cells.len(), how, launch)?;
    replace(&script, text.as_bytes()).with_context(|| format!("cannot write {}", shown(&script)))?;
    let before: Vec<Ledger> = cells.iter().map(|cell| Ledger::read_or_begin(&study.file(cell, "json"))).collect();
    for (at, (cell, ledger)) in cells.iter().zip(&before).enumerate() {
        let mut handed = ledger.clone();
        handed.handed_to = Some(format!("{name}/{at}"));
        handed.write(&study.file(cell, "json"))?;
    }
    let submitted = run("sbatch", &["--parsable".into(), script.into_os_string()]);
    if submitted.is_err() {
        for (cell, ledger) in cells.iter().zip(before) {
            ledger.write(&study.file(cell, "json"))?;
        }
    }
    Ok(Shown::name(submitted?.trim()).into_string())
}

/// A folder for an array of its own, and the array's name, which no other has.
fn array_folder(study: &StudyFolder) -> Result<(PathBuf, String)> {
    let all = study.root().join("slurm");
    fs::create_dir_all(&all).with_context(|| format!("cannot make {}", shown(&all)))?;
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    for number in 1..100_000 {
        let folder = all.join(format!("{number:04}"));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok((folder, format!("querist-{seconds:x}-{}-{number}", std::process::id()))),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", shown(&folder))),
        }
    }
    bail!("{} holds too many arrays; remove those that have ended", shown(&all))
}

fn job_script(
    study: &StudyFolder,
    folder: &Path,
    name: &str,
    tasks: usize,
    how: &How,
    launch: &LaunchConfig,
) -> Result<String> {
    let folder = std::path::absolute(folder)?;
    let folder = folder.to_str().context("the study's folder has a name that is no text")?;
    ensure!(
        !folder.contains(['\n', '%']),
        "the study's folder has a line break or `%` in its name, which Slurm replaces"
    );
    let here = std::env::current_dir()?;
    let here = here.to_str().context("the working folder has a name that is no text")?;
    let mut options = vec![
        format!("--job-name={name}"),
        format!("--array=0-{}%{}", tasks - 1, launch.jobs),
        format!("--output={folder}/task-%a.log"),
        "--open-mode=append".to_owned(),
        "--requeue".to_owned(),
        "--nodes=1".to_owned(),
        "--ntasks=1".to_owned(),
        format!("--cpus-per-task={}", how.threads),
        format!("--chdir={here}"),
    ];
    options.extend(how.limit.map(|limit| format!("--time={}", (limit.as_secs_f64() / 60.0 + MORE_MINUTES).ceil())));
    options.extend(launch.memory.as_ref().map(|memory| format!("--mem={memory}")));
    let options: String = options.iter().map(|option| format!("#SBATCH {}\n", quoted(option))).collect();
    let template = match &launch.template {
        None => String::new(),
        Some(path) => {
            let text = querist_files::read_text(Path::new(path), Links::Follow, MOST_BYTES);
            text.map_err(|error| Usage(format!("launch.template: {error}")))?
        }
    };
    let which: [OsString; 2] = ["--list".into(), format!("{folder}/cells.txt").into()];
    let words = line(&cell_words(study, &which, how)?)?;
    let task = format!("--index \"$SLURM_ARRAY_TASK_ID\" --job {name}/\"$SLURM_ARRAY_TASK_ID\"");
    // The process takes the shell's place, so that it is the one that Slurm's signals reach.
    Ok(format!("#!/bin/sh\n{options}{}\nexec {words} {task}\n", template.trim_end()))
}

/// A word for a line of options, which Slurm splits at blanks.
fn quoted(option: &str) -> String {
    if option.contains([' ', '\t', '"']) { format!("\"{}\"", option.replace('"', "\\\"")) } else { option.to_owned() }
}

/// The digest that stands in a line of a list of cells.
///
/// # Errors
/// If there is no such line: a task with a wrong number does nothing.
pub fn listed(list: &Path, index: usize) -> Result<String> {
    let text = querist_files::read_text(list, Links::Refuse, MOST_BYTES).map_err(|error| Usage(error.to_string()))?;
    let lines: Vec<&str> = text.lines().collect();
    let digest = lines.get(index).copied();
    let message = || {
        let last = lines.len().saturating_sub(1);
        Usage(format!("there is no cell {index} in {}; expected a number from 0 to {last}", shown(list)))
    };
    Ok(digest.ok_or_else(message)?.to_owned())
}

/// What a command of Slurm says.
fn run(program: &str, args: &[OsString]) -> Result<String> {
    let output = Command::new(program).args(args).output();
    let missing =
        || format!("cannot start `{program}`: launch.launcher = \"slurm\" needs Slurm's commands on the PATH");
    let output = output.with_context(missing)?;
    let said = Shown::sentence(&String::from_utf8_lossy(&output.stderr)).into_string();
    ensure!(output.status.success(), "`{program}` refused: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
