//! Doing one cell: a run in a process of its own, its limit, and what its end means.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use querist_files::{Links, shown};
use querist_protocol::Shown;
use rustix::process::{Pid, Signal, kill_process};

use super::folder::{Planned, StudyFolder, replace};
use super::ledger::{Attempt, BEAT, Ledger, State};
use super::outlook::spelled;
use crate::program;
use crate::progress;
use crate::track::Tracker;
use crate::trainer::set_waiting;

/// Bytes of a log at most that is looked at for the reason of a failure.
const MOST_LOG: u64 = 16 << 20;
/// How long a run may take to reach its next safe point once its time is over.
const GRACE: Duration = Duration::from_secs(60);

/// How cells are done.
#[derive(Debug, Clone)]
pub struct How {
    /// Threads of a run whose file names none.
    pub threads: usize,
    /// Runs at a time on this machine, which share its cores.
    pub beside: usize,
    /// Arguments about plugins.
    pub plugins: Vec<std::ffi::OsString>,
    /// Time limit of a cell.
    pub limit: Option<Duration>,
    /// Job and task of a queue.
    pub job: Option<String>,
    /// What else is written of each run.
    pub track: Option<Tracker>,
}

/// A cell that is being done.
pub struct Doing {
    child: Child,
    since: Instant,
    beaten: Instant,
    limit: Option<Duration>,
    over: Option<Instant>,
    told: bool,
    killed: bool,
    kills_before: Option<u64>,
    ledger: Ledger,
    ledger_file: PathBuf,
    log: PathBuf,
}

impl Doing {
    /// Starts the run of a cell, on a device and on cores of its own where some are given.
    pub fn start(
        study: &StudyFolder,
        cell: &Planned,
        how: &How,
        device: Option<&str>,
        cores: Option<&[usize]>,
    ) -> Result<Self> {
        let (log, ledger_file) = (study.file(cell, "log"), study.file(cell, "json"));
        let mut ledger = Ledger::read_or_begin(&ledger_file);
        ledger.handed_to = None;
        ledger.attempts.push(Attempt::begin(how.job.clone()));
        ledger.write(&ledger_file)?;
        let cannot = || format!("cannot write in {}", shown(study.root()));
        let said = replace(&log, b"").with_context(cannot)?;
        let mut command = program::command()?;
        command.arg("run").arg(study.file(cell, "toml")).arg("--out").arg(study.run(cell));
        command.args(["--resume", "--format", "csv"]);
        command.args(["--threads", &how.threads.to_string(), "--with-parent", &std::process::id().to_string()]);
        command.args(device.iter().flat_map(|device| ["--device", device]));
        command.args(how.track.iter().flat_map(|Tracker::Tensorboard| ["--track", "tensorboard"]));
        command.args(&how.plugins);
        set_waiting(&mut command, how.threads.saturating_mul(how.beside));
        let child = command
            // A terminal's Ctrl-C is for the study, which passes it on once.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .with_context(|| format!("cannot start {}", cell.name()))?;
        if let (Some(cores), Some(pid)) = (cores, pid_of(&child)) {
            keep_to(pid, cores);
        }
        Ok(Self {
            child,
            since: Instant::now(),
            beaten: Instant::now(),
            limit: how.limit,
            over: None,
            told: false,
            killed: false,
            kills_before: kills_for_memory(),
            ledger,
            ledger_file,
            log,
        })
    }

    /// Asks the run to stop at its next safe point.
    pub fn stop(&mut self) {
        self.told = true;
        self.signal(Signal::TERM);
    }

    /// How long it has been at work.
    pub fn seconds(&self) -> f64 {
        self.since.elapsed().as_secs_f64()
    }

    /// How it ended, where it has: written to its ledger, too.
    pub fn poll(&mut self) -> Result<Option<Ledger>> {
        let Some(status) = self.child.try_wait()? else {
            self.keep_time();
            self.beat();
            return Ok(None);
        };
        let (state, reason) = self.outcome(status);
        if let Some(attempt) = self.ledger.attempts.last_mut() {
            (attempt.seconds, attempt.state, attempt.reason) =
                (Some(self.since.elapsed().as_secs_f64()), state, reason);
        }
        self.ledger.write(&self.ledger_file)?;
        Ok(Some(self.ledger.clone()))
    }

    /// Shows others that this process is alive, now and then.
    fn beat(&mut self) {
        if self.beaten.elapsed() >= BEAT {
            self.beaten = Instant::now();
            self.ledger.attempts.last_mut().map(Attempt::beat);
            // One that cannot be written, on a full disk, ends no run; the end of the run is told of.
            let _ = self.ledger.write(&self.ledger_file);
        }
    }

    fn keep_time(&mut self) {
        match (self.limit, self.over) {
            (Some(limit), None) if self.since.elapsed() > limit => {
                self.over = Some(Instant::now());
                self.signal(Signal::TERM);
            }
            (_, Some(over)) if over.elapsed() > GRACE && !self.killed => {
                self.killed = true;
                self.signal(Signal::KILL);
            }
            _ => {}
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = pid_of(&self.child) {
            // A run that has just ended is stopped.
            let _ = kill_process(pid, signal);
        }
    }

    fn outcome(&self, status: ExitStatus) -> (State, Option<String>) {
        if status.success() {
            return (State::Done, None);
        }
        if let (Some(_), Some(limit)) = (self.over, self.limit) {
            return (State::OverTime, Some(format!("it was not done in {}", spelled(limit.as_secs_f64()))));
        }
        // A queue tells the run itself, too, which may end before this process has heard of it.
        if self.told || progress::stopped() || was_told(&self.log) {
            return (State::Stopped, Some("it was told to stop; finished rounds are safe".to_owned()));
        }
        let said = reason_in(&self.log);
        if said.as_deref().is_some_and(is_about_memory) {
            return (State::OutOfMemory, said);
        }
        if status.signal() == Some(9) {
            let by_kernel = kills_for_memory() > self.kills_before;
            return match by_kernel {
                true => (State::OutOfMemory, Some("the kernel killed it for lack of memory".to_owned())),
                false => (State::Failed, Some("somebody killed it (signal 9)".to_owned())),
            };
        }
        let how = match status.signal() {
            Some(signal) => format!("it ended by signal {signal}"),
            None => format!("it ended with {}", status.code().unwrap_or(-1)),
        };
        (State::Failed, Some(said.unwrap_or(how)))
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Keeps a process, with the threads it will start, to some cores. Where the system does not allow it, work goes on.
fn keep_to(pid: Pid, cores: &[usize]) {
    let mut set = rustix::thread::CpuSet::new();
    cores.iter().for_each(|&core| set.set(core));
    let _ = rustix::thread::sched_setaffinity(Some(pid), &set);
}

/// Processes that the kernel has killed for lack of memory since it started, where it says so.
fn kills_for_memory() -> Option<u64> {
    let counts = querist_files::read_text(Path::new("/proc/vmstat"), Links::Follow, 1 << 20).ok()?;
    counts.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Whether the run says that it was told to stop.
fn was_told(log: &Path) -> bool {
    let said = querist_files::read_text(log, Links::Refuse, MOST_LOG).unwrap_or_default();
    said.lines().any(|line| line.starts_with(progress::STOPPING))
}

/// The line of a log that says why a run failed: its error.
fn reason_in(log: &Path) -> Option<String> {
    let said = querist_files::read_text(log, Links::Refuse, MOST_LOG).ok()?;
    let line = said.lines().find(|line| line.starts_with("error"))?;
    let causes = said.lines().skip_while(|other| *other != line).skip(1).take_while(|line| line.starts_with("  "));
    let whole = std::iter::once(line).chain(causes.map(str::trim)).collect::<Vec<_>>().join("; ");
    Some(Shown::sentence(&whole).into_string())
}

fn is_about_memory(reason: &str) -> bool {
    let reason = reason.to_lowercase();
    ["out of memory", "bad_alloc", "cannot allocate memory", "memory allocation of"].iter().any(|s| reason.contains(s))
}

/// Cores that this process may use, by number.
pub fn own_cores() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None);
    allowed.map_or_else(
        |_| Vec::new(),
        |set| (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect(),
    )
}
