//! The worker process.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use querist_core::observer::{Cancelled, Phase, Progress};
use querist_core::strategy::QueryErrorKind;
use querist_core::{Granted, Query, Round, Seeds, Strategy, StrategyIdentity, StrategyKind, Streams};
use querist_kernels::Compute;
use querist_protocol::LogLevel;

use super::cage;
use super::job::{Ask, Picks, Received, Said};
use crate::asking::Failure;
use crate::native::library;
use crate::native::strategy::{NativeStrategy, describe};
use crate::sandbox::Limits;

/// The work of a worker: the job is its standard input, the answer goes to its standard output.
pub fn main() {
    let said = match work() {
        Ok(said) => said,
        Err(Failure { kind, message, hint }) => Said::Failed { kind, message: message.into_string(), hint },
    };
    say(&said);
}

fn failed(message: impl AsRef<str>) -> Failure {
    Failure::new(QueryErrorKind::Failed, message)
}

fn work() -> Result<Said, Failure> {
    let input = std::io::stdin().as_fd().try_clone_to_owned().map_err(|error| failed(error.to_string()))?;
    let received = Received::read(&File::from(input)).map_err(|error| failed(format!("the job: {error}")))?;
    let job = &received.job;
    let room = job.memory + received.mapped_len() as u64;
    cage::close(room, job.seconds, job.threads).map_err(failed)?;
    let plugin = library::open(received.artifact(), None).map_err(|error| failed(error.reason))?;
    cage::close_files().map_err(failed)?;

    let description = describe(plugin).map_err(|message| Failure::new(QueryErrorKind::Dishonest, message))?;
    let limits = Limits {
        memory: job.memory,
        time: Duration::from_secs_f64(job.seconds),
        fuel: None,
        handles: job.handles,
        log: job.log,
    };
    let Some(stated) = description.strategies.iter().find(|strategy| strategy.id == job.strategy) else {
        return Err(Failure::new(QueryErrorKind::Dishonest, format!("it has no strategy `{}`", job.strategy)));
    };
    let identity = StrategyIdentity {
        id: job.strategy.clone(),
        package: description.package.clone(),
        version: description.version.clone(),
        kind: StrategyKind::Native,
        digest: String::new(),
    };
    let made = NativeStrategy::from_plugin(
        plugin,
        identity,
        stated.clone(),
        job.params.clone(),
        limits,
        Compute::threads(job.threads),
    )?;
    if job.ask == Ask::Describe {
        let needs = made.needs().iter().map(ToString::to_string).collect();
        return Ok(Said::Description { description: Box::new(description), needs });
    }
    answer(made, &received)
}

fn answer(strategy: NativeStrategy, received: &Received) -> Result<Said, Failure> {
    let job = &received.job;
    let needs: Vec<String> = strategy.needs().iter().map(ToString::to_string).collect();
    if needs != job.needs {
        return Err(Failure::new(QueryErrorKind::Dishonest, "its needs are not those that it named before"));
    }
    let arrays = received.arrays().map_err(failed)?;
    let mut strategy = strategy.with_streams(job.streams.unwrap_or(Streams::NONE));
    let query = Query {
        arrays: &Granted::to(&strategy, &arrays).map_err(|error| failed(error.message.as_str()))?,
        batch: job.batch,
        round: Round(job.round),
        seeds: Seeds::default(),
        state: received.state(),
        services: None,
        progress: &Pipe,
    };
    let answer = strategy.query(&query).map_err(|error| Failure {
        kind: error.kind,
        message: error.message,
        hint: error.hint,
    })?;
    Ok(Said::Answer { selection: Picks::of(&answer.selection), peak_memory: answer.usage.peak_memory })
}

/// Says one line. A host that does not listen any more has killed this process, or will.
fn say(said: &Said) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(mut line) = serde_json::to_vec(said) {
        line.push(b'\n');
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(&line).and_then(|()| out.flush());
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
            say(&Said::Progress { done, total });
        }
        Ok(())
    }

    fn log(&self, level: LogLevel, message: &str) {
        let level = match level {
            LogLevel::Debug => 0,
            LogLevel::Info => 1,
            LogLevel::Warning => 2,
        };
        say(&Said::Log { level, message: message.to_owned() });
    }
}
