//! What became of a cell.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use querist_files::{Links, shown};
use querist_protocol::Shown;
use serde::{Deserialize, Serialize};

use super::folder::replace;
use crate::output;

/// Version of the ledger's files.
const VERSION: u32 = 1;
/// Attempts that are kept of a cell, the last ones.
const MOST_ATTEMPTS: usize = 20;
/// How often a process at work shows that it is alive.
pub const BEAT: Duration = Duration::from_secs(30);
/// Silence after which a process on another machine counts as gone: twenty beats.
const SILENT: u64 = 600;
/// Bytes of a ledger file at most.
const MOST_BYTES: u64 = 1 << 20;

/// How far a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not begun, or handed to a queue.
    Queued,
    /// A process does it.
    Running,
    /// Every round is there.
    Done,
    /// It ended with an error.
    Failed,
    /// It ended for lack of memory.
    OutOfMemory,
    /// It was stopped at its time limit.
    OverTime,
    /// It was told to stop.
    Stopped,
}

impl State {
    /// All states, in the order in which they are shown.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::OutOfMemory, Self::OverTime, Self::Stopped];

    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::OutOfMemory => "out of memory",
            Self::OverTime => "over time",
            Self::Stopped => "stopped",
        }
    }
}

/// One attempt at a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Seconds since 1970 at its start, by the clock of its machine.
    pub begun: u64,
    /// Seconds since 1970, by the same clock, when the process last showed that it is alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alive: Option<u64>,
    /// How long it took, by a clock that does not jump.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Machine.
    pub host: String,
    /// Process that watches over it.
    pub pid: u32,
    /// Job and task of a queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How it ended.
    pub state: State,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The ledger of one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    version: u32,
    /// Its attempts, the last one last.
    pub attempts: Vec<Attempt>,
    /// Job that it was handed to, before an attempt is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handed_to: Option<String>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { version: VERSION, attempts: Vec::new(), handed_to: None }
    }
}

impl Ledger {
    /// The ledger in a file; an empty one where there is none.
    pub fn read(path: &Path) -> Result<Self> {
        if std::fs::symlink_metadata(path).is_err() {
            return Ok(Self::default());
        }
        let bytes = querist_files::read(path, Links::Refuse, MOST_BYTES)?;
        let hint = || format!("{}: expected the ledger of a cell; remove it to begin a new one", shown(path));
        let ledger: Self = serde_json::from_slice(&bytes).with_context(hint)?;
        ensure!(ledger.version == VERSION, "{}: version {}, this program reads {VERSION}", shown(path), ledger.version);
        Ok(ledger)
    }

    /// The same for whoever is to write it: what is no ledger, half written by a machine that lost its power, is said
    /// and begun anew. Nothing hangs on it but what is told of earlier attempts.
    pub fn read_or_begin(path: &Path) -> Self {
        Self::read(path).unwrap_or_else(|error| {
            output::note(&format!("warning: {error:#}; a new one is begun"));
            Self::default()
        })
    }

    /// Puts it in place of the file, as a whole.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut kept = self.clone();
        kept.attempts.drain(..kept.attempts.len().saturating_sub(MOST_ATTEMPTS));
        replace(path, &serde_json::to_vec(&kept)?).with_context(|| format!("cannot write {}", shown(path)))?;
        Ok(())
    }

    /// How far the cell is, as far as was written.
    pub fn state(&self) -> State {
        match (&self.handed_to, self.attempts.last()) {
            (Some(_), _) | (None, None) => State::Queued,
            (None, Some(attempt)) => attempt.state,
        }
    }

    /// Why it ended, in words that can be shown.
    pub fn reason(&self) -> Option<String> {
        self.attempts.last()?.reason.as_deref().map(|reason| Shown::sentence(reason).into_string())
    }
}

impl Attempt {
    /// One that begins now.
    pub fn begin(job: Option<String>) -> Self {
        let (begun, host, pid) = (now(), host(), std::process::id());
        Self { begun, alive: Some(begun), seconds: None, host, pid, job, state: State::Running, reason: None }
    }

    /// Says that it is alive.
    pub fn beat(&mut self) {
        self.alive = Some(now());
    }

    /// Whether the process that watches over it is gone, as far as can be seen from this machine: here there is no such
    /// process, and elsewhere it has been silent for too long.
    pub fn is_gone(&self) -> bool {
        let is_here = self.host == host();
        let is_missing = || !Path::new(&format!("/proc/{}", self.pid)).exists();
        let is_silent = || self.silence().is_some_and(|seconds| seconds > SILENT);
        self.state == State::Running && if is_here { is_missing() } else { is_silent() }
    }

    /// Seconds since a process at work last showed that it is alive, where that is longer than it should be. Never
    /// below 0: a clock that was put back shows nothing.
    pub fn silence(&self) -> Option<u64> {
        let since = now().saturating_sub(self.alive.filter(|_| self.state == State::Running)?);
        (since > 2 * BEAT.as_secs()).then_some(since)
    }
}

/// Seconds since 1970 by this machine's clock.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Name of this machine.
pub fn host() -> String {
    let name = rustix::system::uname();
    Shown::name(&name.nodename().to_string_lossy()).into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_survives_and_keeps_what_was_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        assert_eq!(Ledger::read(&path).unwrap().state(), State::Queued);
        let mut ledger = Ledger::default();
        for at in 0..30 {
            ledger.attempts.push(Attempt {
                reason: Some(at.to_string()),
                state: State::Failed,
                ..Attempt::begin(None)
            });
        }
        ledger.write(&path).unwrap();
        let read = Ledger::read(&path).unwrap();
        assert_eq!((read.attempts.len(), read.reason().as_deref()), (MOST_ATTEMPTS, Some("29")));
        assert_eq!(read.state(), State::Failed);
        std::fs::write(&path, "{\"version\": 1, \"atte").unwrap();
        let error = format!("{:#}", Ledger::read(&path).unwrap_err());
        assert!(error.contains("expected the ledger of a cell; remove it"), "{error}");
        assert_eq!(Ledger::read_or_begin(&path), Ledger::default());
    }

    #[test]
    fn a_process_that_is_gone_runs_nothing() {
        let mut attempt = Attempt::begin(None);
        assert!(!attempt.is_gone());
        // Above the largest number that Linux gives.
        attempt.pid = 1 << 23;
        assert!(attempt.is_gone());
        attempt.host = "elsewhere".to_owned();
        assert!(!attempt.is_gone() && attempt.silence().is_none(), "it has just shown that it is alive");
        attempt.alive = Some(now() - SILENT / 2);
        assert!(!attempt.is_gone() && attempt.silence().is_some(), "late, and not yet given up");
        attempt.alive = Some(now() - SILENT - 5);
        assert!(attempt.is_gone());
        attempt.state = State::Done;
        assert!(!attempt.is_gone() && attempt.silence().is_none(), "what has ended need not live");
        let put_back = Attempt { alive: Some(now() + 100_000), host: "elsewhere".to_owned(), ..Attempt::begin(None) };
        assert!(!put_back.is_gone() && put_back.silence().is_none(), "a clock that was put back");
        let older = Attempt { alive: None, host: "elsewhere".to_owned(), ..Attempt::begin(None) };
        assert!(!older.is_gone(), "an older program said nothing of life");
    }
}
