//! The worker process.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use querist_core::progress::{Cancelled, Phase, Progress};
use querist_core::{Failure, Query, QueryErrorKind, Round, Seeds, Strategy, StrategyIdentity, StrategyKind, Streams};
use querist_kernels::Compute;
use querist_protocol::{LogLevel, Shown};
use rustix::fs::{SealFlags, fcntl_add_seals, ftruncate};

use super::job::{Ask, Received};
use super::said::{self, Said};
use super::{birth, cage, trap};
use crate::native::error::NativeError;
use crate::native::library::{self, Loaded};
use crate::native::strategy::NativeStrategy;
use crate::run::limits::Limits;
use crate::run::route::Spec;

/// The work of a worker: the job is its standard input, and its standard output becomes the host's pipe. Does not
/// return: the host ends a worker that has said its last.
pub fn main() {
    match birth::begin() {
        Ok(pipe) => {
            trap::report_to(pipe.as_raw_fd());
            let pipe = PIPE.get_or_init(|| pipe);
            let said = work().unwrap_or_else(|Failure { kind, message, .. }| failure(kind, message.as_str()));
            say(pipe, &said);
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "{why}");
            std::process::exit(2);
        }
    }
}

/// Where the host listens.
static PIPE: OnceLock<ManuallyDrop<File>> = OnceLock::new();

fn failed(message: impl AsRef<str>) -> Failure {
    Failure::new(QueryErrorKind::Failed, message)
}

/// The bytes that say a failure.
fn failure(kind: QueryErrorKind, message: &str) -> Vec<u8> {
    let message = Shown::new(message, 8000).into_string();
    said::line(&Said::Failed { kind, message }).unwrap_or_default()
}

fn work() -> Result<Vec<u8>, Failure> {
    let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(|error| failed(error.to_string()))?;
    let received = Received::read(&File::from(input)).map_err(|error| failed(format!("the job: {error}")))?;
    let job = &received.job;
    let plugin = load(&received).map_err(failed)?;

    let limits = Limits {
        memory: job.memory,
        time: Duration::from_secs_f64(job.seconds),
        fuel: None,
        handles: job.handles,
        log: job.log,
    };
    let description = job.strategy.clone().ok_or_else(|| failed("the job names no strategy"))?;
    let identity = StrategyIdentity {
        id: description.id.clone(),
        package: job.package.clone(),
        version: job.version.clone(),
        kind: StrategyKind::Native,
        digest: String::new(),
    };
    let compute = Compute::threads(job.threads);
    let spec = Spec { identity, description, params: job.params.clone(), limits, compute };
    let made = NativeStrategy::from_plugin(plugin, spec)?;
    if job.ask == Ask::Needs {
        let needs = made.needs().iter().map(ToString::to_string).collect();
        return said::line(&Said::Needs { needs }).map_err(|error| failed(error.to_string()));
    }
    answer(made, &received)
}

/// Closes everything and loads the plugin. The order matters: all files are made, and the system's libraries loaded,
/// before the last doors are closed, and nothing of the plugin runs before they are.
fn load(received: &Received) -> Result<Loaded, String> {
    let job = &received.job;
    let text = |error: NativeError| error.reason;
    let artifact = received.artifact();
    let plugin = library::seal(artifact, None).map_err(text)?;
    // A library that a plugin brings with it is part of the plugin, so it is not larger.
    let room = library::memory_file("brought", &[]).map_err(text)?;
    let size = artifact.len() as u64;
    ftruncate(&room, size)
        .and_then(|()| fcntl_add_seals(&room, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL))
        .map_err(|error| format!("no room for a library that the plugin brings with it: {error}"))?;

    cage::close(job.memory + received.mapped_len() as u64, job.seconds, job.threads)?;
    plugin.load_needed().map_err(text)?;
    trap::lend(plugin.descriptor(), room.into_raw_fd());
    cage::close_all()?;
    plugin.load().map_err(text)
}

fn answer(strategy: NativeStrategy, received: &Received) -> Result<Vec<u8>, Failure> {
    let job = &received.job;
    let needs: Vec<String> = strategy.needs().iter().map(ToString::to_string).collect();
    if needs != job.needs {
        return Err(Failure::new(QueryErrorKind::Dishonest, "its needs are not those that it named before"));
    }
    let arrays = received.arrays().map_err(failed)?;
    let mut strategy = strategy.with_streams(job.streams.unwrap_or(Streams::NONE));
    let query = Query {
        arrays: &strategy.granted(&arrays).map_err(|error| failed(error.message.as_str()))?,
        batch: job.batch,
        round: Round(job.round),
        // Nobody reads them here: the strategy draws from the streams above.
        seeds: Seeds::default(),
        state: received.state(),
        services: None,
        progress: &Pipe,
    };
    let answer = strategy.query(&query)?;
    said::answer(&answer.selection).map_err(|error| failed(error.to_string()))
}

/// Says something whole. A host that does not listen any more has killed this process, or will.
fn say(mut pipe: &File, said: &[u8]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = pipe.write_all(said);
}

fn say_line(said: &Said) {
    if let (Some(pipe), Ok(line)) = (PIPE.get(), said::line(said)) {
        say(pipe, &line);
    }
}

/// Passes progress to the host.
struct Pipe;

impl Progress for Pipe {
    fn report(&self, _: Phase, done: u64, total: u64) -> Result<(), Cancelled> {
        static LAST: Mutex<(u64, u64)> = Mutex::new((0, 0));
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != (done, total) {
            *last = (done, total);
            say_line(&Said::Progress { done, total });
        }
        Ok(())
    }

    fn log(&self, level: LogLevel, message: &str) {
        let level = match level {
            LogLevel::Debug => 0,
            LogLevel::Info => 1,
            LogLevel::Warning => 2,
        };
        let message = Shown::sentence(message).into_string();
        say_line(&Said::Log { level, message });
    }
}
