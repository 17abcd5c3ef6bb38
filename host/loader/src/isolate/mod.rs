//! Native packages in a worker process that can reach nothing.
//!
//! The worker gets one read-only memory file with the job: the artifact, the parameters and the declared arrays, and no
//! more. Before any plugin code is loaded it gives up files (landlock), all system calls but those of arithmetic and
//! threads (seccomp) and large memory (limits of the system). It answers on one pipe.

mod cage;
mod job;
mod worker;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use querist_core::observer::{Phase, Progress};
use querist_core::strategy::{QueryError, QueryErrorKind};
use querist_core::{Answer, Query, Strategy, StrategyIdentity, StrategyKind};
use querist_protocol::{Capability, LogLevel, Need, names};
use serde_json::Value;

use crate::asking::{Failure, check_rights, check_selection, parse_needs, state_limit};
use crate::discover::Resolved;
use crate::manifest;
use crate::native::NativeError;
use crate::native::library;
use crate::sandbox::Limits;
use crate::wasm::LoadError;
use job::{Ask, Job, Said};

pub use worker::main as worker_main;

/// How often a running worker is looked after.
const TICK: Duration = Duration::from_millis(10);
/// Time that a worker has for loading and describing itself.
const START_TIME: Duration = Duration::from_secs(20);

/// A strategy of a native package, run in a fresh worker process for each question.
pub struct IsolatedStrategy {
    worker: Vec<OsString>,
    artifact: Vec<u8>,
    identity: StrategyIdentity,
    params: String,
    /// What it declares, word by word: the worker compares.
    declared: Vec<Need>,
    /// The same without what a worker cannot be given.
    needs: Vec<Need>,
    /// What its package declares.
    capabilities: Vec<Capability>,
    limits: Limits,
    threads: usize,
}

impl IsolatedStrategy {
    /// Checks a strategy in a worker. `worker` is the program with its first arguments that calls [`worker_main`].
    ///
    /// # Errors
    /// If the package cannot be isolated or loaded, says something else than its manifest, or refuses the parameters.
    pub fn start(
        worker: Vec<OsString>,
        resolved: Resolved<'_>,
        params: &Value,
        limits: Limits,
        threads: usize,
    ) -> Result<Self, LoadError> {
        let package = resolved.package;
        let name = &package.description.package;
        let refuse = |reason: String| LoadError::Native { package: name.clone(), source: NativeError { reason } };
        if package.kind == StrategyKind::NativeTorch {
            return Err(refuse(
                "it shares libtorch with the host and takes part in its work, so it cannot be isolated; if you trust \
                 it, lock it and use `--allow-native`"
                    .to_owned(),
            ));
        }
        let artifact = library::read(&package.artifact).map_err(|error| refuse(error.reason))?;
        if manifest::hex_sha256(&artifact) != package.digest {
            return Err(refuse(format!("{}: the file changed since it was checked", package.artifact.display())));
        }
        let mut strategy = Self {
            worker,
            artifact,
            identity: package.identity(&resolved.strategy.id),
            params: params.to_string(),
            declared: Vec::new(),
            needs: Vec::new(),
            capabilities: resolved.strategy.capabilities.clone(),
            limits,
            threads,
        };
        let asked = strategy.ask(Ask::Describe, None, START_TIME.min(limits.time), None);
        let said = asked.map_err(|failure| failure.of(&strategy.identity))?;
        let Said::Description { description, needs } = said else {
            return Err(strategy.dishonest("it did not describe itself").into());
        };
        if *description != package.description {
            return Err(strategy.dishonest("it describes itself otherwise than its manifest does").into());
        }
        strategy.declared = parse_needs(&needs).map_err(|failure| failure.of(&strategy.identity))?;
        if strategy.declared.iter().any(|need| need.name() == names::HEAD) {
            return Err(refuse(
                "it asks the model's head while it picks (`head`), which a worker cannot reach; if you trust it, lock \
                 it and use `--allow-native`"
                    .to_owned(),
            ));
        }
        strategy.needs = strategy.declared.iter().map(without_head).collect();
        check_rights(&strategy.needs, &strategy.capabilities).map_err(|failure| failure.of(&strategy.identity))?;
        Ok(strategy)
    }

    fn dishonest(&self, message: &str) -> QueryError {
        Failure::new(QueryErrorKind::Dishonest, message).of(&self.identity)
    }

    /// Starts a worker on one question and waits for what it says.
    fn ask(
        &self,
        ask: Ask,
        query: Option<&Query<'_>>,
        time: Duration,
        progress: Option<&dyn Progress>,
    ) -> Result<Said, Failure> {
        let failed =
            |what: &str, error: std::io::Error| Failure::new(QueryErrorKind::Failed, format!("{what}: {error}"));
        let mut job = Job::default();
        job.ask = ask;
        job.strategy.clone_from(&self.identity.id);
        job.params.clone_from(&self.params);
        job.needs = self.declared.iter().map(ToString::to_string).collect();
        job.threads = self.threads;
        (job.memory, job.seconds) = (self.limits.memory, self.limits.time.as_secs_f64());
        (job.handles, job.log) = (self.limits.handles, self.limits.log);
        let file = job.write(&self.artifact, query).map_err(|error| failed("the worker's memory file", error))?;
        let Some((program, args)) = self.worker.split_first() else {
            return Err(Failure::new(QueryErrorKind::Failed, "no program for workers"));
        };
        let mut child = Command::new(program)
            .args(args)
            .env_clear()
            .current_dir("/")
            .stdin(file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed("the worker cannot be started", error))?;
        let rows = query.map_or(0, |query| query.arrays.ids().len());
        let listened = listen(&mut child, rows, Instant::now() + time, progress);
        // Whatever happened, nothing of the worker stays behind.
        let _ = child.kill();
        let status = child.wait().map_err(|error| failed("the worker is lost", error))?;
        match listened {
            Heard::Said(Said::Failed { kind, message, hint }) => {
                let failure = Failure::new(kind, message);
                Err(hint.iter().fold(failure, |failure, hint| failure.hint(hint)))
            }
            Heard::Said(said) => Ok(said),
            Heard::Forbidden(call) => Err(forbidden(call)),
            Heard::TimeOut => Err(Failure::new(
                QueryErrorKind::Timeout,
                format!(
                    "its worker ran past its time limit of {:.0} s and was killed",
                    time.min(self.limits.time).as_secs_f64()
                ),
            )
            .hint("raise `limits.seconds`")),
            Heard::Cancelled => Err(Failure::new(QueryErrorKind::Cancelled, "cancelled")),
            Heard::Nothing(why) => Err(ended(status, &why)),
        }
    }
}

/// A need whose second choice is none that a worker cannot be given.
fn without_head(need: &Need) -> Need {
    match need.second_choice() {
        Some(other) if other.name() == names::HEAD => need.first_choice(),
        _ => need.clone(),
    }
}

/// What came from a worker in the end.
enum Heard {
    Said(Said),
    Forbidden(i64),
    TimeOut,
    Cancelled,
    /// It ended without an answer; what it printed last.
    Nothing(String),
}

/// Reads what a worker says until it answers, ends, is out of time or no longer wanted.
fn listen(child: &mut Child, rows: usize, deadline: Instant, progress: Option<&dyn Progress>) -> Heard {
    // An answer has a few numbers a row, and its state.
    let limit = (1usize << 24) + rows * 64;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Heard::Nothing("it has no pipes".to_owned());
    };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let printed = scope.spawn(move || {
            let mut text = Vec::new();
            // What cannot be read is not there to be shown.
            let _ = stderr.take(4000).read_to_end(&mut text);
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let (said, hears) = std::sync::mpsc::sync_channel(64);
        let stop = &stop;
        scope.spawn(move || {
            let mut lines = BufReader::new(stdout.take(limit as u64));
            let mut line = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                line.clear();
                match lines.read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
                let Ok(message) = serde_json::from_slice::<Said>(&line) else { break };
                if said.send(message).is_err() {
                    break;
                }
            }
        });
        let heard = loop {
            match hears.recv_timeout(TICK) {
                Ok(Said::Progress { done, total }) => {
                    if progress.is_some_and(|progress| progress.report(Phase::Query, done, total).is_err()) {
                        break Heard::Cancelled;
                    }
                }
                Ok(Said::Log { level, message }) => {
                    let level = match level {
                        0 => LogLevel::Debug,
                        1 => LogLevel::Info,
                        _ => LogLevel::Warning,
                    };
                    progress.inspect(|progress| progress.log(level, &message));
                }
                Ok(Said::Forbidden { call }) => break Heard::Forbidden(call),
                Ok(said) => break Heard::Said(said),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break Heard::Nothing(String::new()),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    if progress.is_some_and(|progress| progress.report(Phase::Query, 0, 0).is_err()) {
                        break Heard::Cancelled;
                    }
                }
            }
            if Instant::now() > deadline {
                break Heard::TimeOut;
            }
        };
        stop.store(true, Ordering::Relaxed);
        if matches!(heard, Heard::Nothing(_)) {
            // It closed its pipe, so it ends by itself or has nothing more to say: a moment for its last signal to show.
            for _ in 0..50 {
                match child.try_wait() {
                    Ok(None) => std::thread::sleep(TICK),
                    _ => break,
                }
            }
        }
        // Ends the threads that read: there is nobody left to write.
        let _ = child.kill();
        drop(hears);
        let printed = printed.join().unwrap_or_default();
        if let Heard::Nothing(_) = heard { Heard::Nothing(printed) } else { heard }
    })
}

fn forbidden(call: i64) -> Failure {
    let what = match cage::name_of(call) {
        Some(what) => what.to_owned(),
        None => format!("made system call {call}"),
    };
    let message = format!("it {what}, which isolated plugins may not, and was stopped");
    Failure::new(QueryErrorKind::Trap, message)
        .hint("a strategy needs only the host's arrays and kernels; if you trust it, use `--allow-native` instead")
}

/// A worker that ended without an answer.
fn ended(status: ExitStatus, printed: &str) -> Failure {
    let printed = if printed.is_empty() { String::new() } else { format!("; it printed: {printed}") };
    match status.signal() {
        Some(signal) => {
            // What Rust's allocator prints before it gives up.
            let out_of_memory = printed.contains("memory allocation of");
            let kind = if out_of_memory { QueryErrorKind::Memory } else { QueryErrorKind::Trap };
            let message = format!("it crashed its worker ({}){printed}", cage::signal_name(signal));
            let failure = Failure::new(kind, message);
            if out_of_memory { failure.hint("raise `limits.memory`") } else { failure }
        }
        None => {
            let message = format!("its worker ended without an answer ({status}){printed}");
            Failure::new(QueryErrorKind::Failed, message)
        }
    }
}

impl Strategy for IsolatedStrategy {
    fn identity(&self) -> &StrategyIdentity {
        &self.identity
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn capabilities(&self) -> &[Capability] {
        &self.capabilities
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        if query.arrays.reveals().is_some() {
            let message = "asks for labels one by one, which are written down as it asks; a worker has no files";
            let failure = Failure::new(QueryErrorKind::Failed, message).hint("run it without `--isolate`");
            return Err(failure.of(&self.identity));
        }
        let clock = Instant::now();
        // The worker keeps the limit itself; the host's watch allows for its start.
        let time = self.limits.time + Duration::from_secs(5);
        let said = self.ask(Ask::Query, Some(query), time, Some(query.progress)).map_err(|f| f.of(&self.identity))?;
        let Said::Answer { selection, peak_memory } = said else {
            return Err(self.dishonest("its worker answered another question"));
        };
        let selection = selection.selection();
        check_selection(&selection, state_limit(query.arrays)).map_err(|failure| failure.of(&self.identity))?;
        let usage = querist_core::Usage { seconds: clock.elapsed().as_secs_f64(), fuel: None, peak_memory };
        Ok(Answer { selection, usage })
    }
}
