//! Handing cells to whatever does them, and waiting until it has.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use querist_core::config::LaunchConfig;
use querist_files::shown;

use super::doing::How;
use super::folder::{Planned, StudyFolder};
use super::ledger::{Ledger, State};
use super::local::tell_end;
use super::outlook::Forecast;
use super::slurm::Queue;
use crate::exit::Usage;
use crate::program;
use crate::progress;
use crate::track::Tracker;

/// How often the ledgers of waiting cells are looked at, for each thousand of them.
const EVERY: Duration = Duration::from_secs(1);

/// The words that do one cell, wherever they are said.
pub fn cell_words(study: &StudyFolder, which: &[OsString], how: &How) -> Result<Vec<OsString>> {
    let mut words = program::words()?;
    words.extend(["study".into(), "cell".into()]);
    words.push(std::path::absolute(study.root())?.into_os_string());
    words.extend(which.iter().cloned());
    words.extend(["--threads".into(), how.threads.to_string().into()]);
    words.extend(
        how.limit.into_iter().flat_map(|limit| ["--minutes".into(), (limit.as_secs_f64() / 60.0).to_string().into()]),
    );
    words.extend(how.track.iter().flat_map(|Tracker::Tensorboard| ["--track".into(), "tensorboard".into()]));
    words.extend(how.plugins.iter().cloned());
    Ok(words)
}

/// Words as one line for a shell.
pub fn line(words: &[OsString]) -> Result<String> {
    let texts = words.iter().map(|word| word.to_str().context("a path is no text, which a script cannot hold"));
    Ok(shlex::try_join(texts.collect::<Result<Vec<_>>>()?)?)
}

/// Hands each cell to the user's own command, some at a time, and waits for all; returns those that are not done.
pub fn by_command(
    study: &StudyFolder,
    todo: &[&Planned],
    how: &How,
    launch: &LaunchConfig,
    forecast: &mut Forecast,
) -> Result<Vec<String>> {
    if launch.command.is_empty() {
        let message = "launch.launcher = \"command\" needs launch.command, such as [\"ssh\", \"node\", \"{line}\"]";
        return Err(Usage(message.to_owned()).into());
    }
    let mut free = Vec::new();
    for &cell in todo {
        // Another machine is at it, and alive.
        if study.state(cell)?.0 != State::Running {
            free.push(cell);
        }
    }
    let mut started: Vec<(&Planned, Child)> = Vec::new();
    let mut waiting = free.iter().copied().enumerate();
    let mut next = waiting.next();
    while next.is_some() || !started.is_empty() {
        while let Some((index, cell)) = next.filter(|_| started.len() < launch.jobs && !progress::stopped()) {
            started.push((cell, start(study, cell, index, how, launch)?));
            next = waiting.next();
        }
        if progress::stopped() && started.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        let mut still = Vec::new();
        for (cell, mut child) in started {
            match child.try_wait()? {
                None => still.push((cell, child)),
                Some(status) if status.success() => {}
                Some(status) => refused(study, cell, &format!("launch.command ended: {status}"))?,
            }
        }
        started = still;
    }
    wait(study, todo, &|_| Ok(Queue::default()), (forecast, launch.jobs))
}

fn start(study: &StudyFolder, cell: &Planned, index: usize, how: &How, launch: &LaunchConfig) -> Result<Child> {
    let words = cell_words(study, &["--digest".into(), cell.digest.clone().into()], how)?;
    let name = format!("querist-{}", &cell.digest[..8]);
    let mut said: Vec<OsString> = Vec::new();
    for word in &launch.command {
        match word.as_str() {
            "{cell}" => said.extend(words.iter().cloned()),
            word => {
                let word = word.replace("{line}", &line(&words)?).replace("{name}", &name);
                said.push(word.replace("{index}", &index.to_string()).into());
            }
        }
    }
    let path = study.file(cell, "json");
    let mut ledger = Ledger::read_or_begin(&path);
    ledger.handed_to = Some(name);
    ledger.write(&path)?;
    let mut command = Command::new(&said[0]);
    command.args(&said[1..]).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().with_context(|| format!("launch.command: cannot start {}", shown(Path::new(&said[0]))))
}

/// Writes down that a cell was not taken; what began all the same counts.
fn refused(study: &StudyFolder, cell: &Planned, reason: &str) -> Result<()> {
    let path = study.file(cell, "json");
    let mut ledger = Ledger::read_or_begin(&path);
    if ledger.handed_to.take().is_some() {
        let mut attempt = super::ledger::Attempt::begin(None);
        (attempt.state, attempt.reason) = (State::Failed, Some(reason.to_owned()));
        ledger.attempts.push(attempt);
        ledger.write(&path)?;
    }
    Ok(())
}

/// Who knows how far handed cells are, by their ledgers.
pub type Asking<'a> = &'a dyn Fn(&[Ledger]) -> Result<Queue>;

/// Waits until no cell is queued or at work any more; returns those that are not done, by name.
pub fn wait(
    study: &StudyFolder,
    todo: &[&Planned],
    queue: Asking<'_>,
    (forecast, jobs): (&mut Forecast, usize),
) -> Result<Vec<String>> {
    let mut open: Vec<&Planned> = todo.to_vec();
    let (mut failed, mut ended, total) = (Vec::new(), 0, todo.len());
    let every = EVERY.mul_f64((total as f64 / 1000.0).max(1.0));
    let mut looked = Instant::now();
    loop {
        let mut still = Vec::new();
        let found = open.iter().map(|cell| study.state(cell)).collect::<Result<Vec<_>>>()?;
        let (states, ledgers): (Vec<State>, Vec<Ledger>) = found.into_iter().unzip();
        let queue = queue(&ledgers)?;
        let mut over = Vec::new();
        for ((cell, state), ledger) in open.into_iter().zip(states).zip(ledgers) {
            match queue.seen(state, &ledger) {
                State::Queued | State::Running => still.push(cell),
                state => over.push((cell, state, ledger)),
            }
        }
        for (cell, state, ledger) in over {
            ended += 1;
            let seconds = ledger.attempts.last().and_then(|attempt| attempt.seconds);
            match state {
                State::Done => seconds.into_iter().for_each(|seconds| forecast.ended(&cell.digest, seconds)),
                _ => failed.push(cell.name()),
            }
            let left = forecast.left(still.iter().map(|cell| (cell.digest.as_str(), 0.0)), jobs);
            tell_end(study, cell, (state, ledger.reason()), seconds, (ended, total), left);
        }
        open = still;
        if open.is_empty() || progress::stopped() {
            failed.extend(open.iter().map(|cell| cell.name()));
            return Ok(failed);
        }
        while looked.elapsed() < every && !progress::stopped() {
            std::thread::sleep(Duration::from_millis(50));
        }
        looked = Instant::now();
    }
}
