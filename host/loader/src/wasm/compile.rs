//! Compiling components: by parsers and a compiler that may fail or not end, since whoever wrote the component may mean
//! them to. So a child process does it, which is limited and can be killed.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use querist_protocol::Shown;
use wasmtime::Engine;

use super::engine;
use super::error::SandboxError;
use crate::package::component::scan;
use crate::package::file::{MAX_ARTIFACT_BYTES, read_capped, write_whole};

/// Address space of the compiling child.
const COMPILE_MEMORY: u64 = 6 << 30;
/// Bytes of a child's messages that are kept.
const MESSAGE_BYTES: u64 = 16 << 10;

/// Who compiles components that are not in the cache.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// A child process, which can be killed: a program and its first arguments, to which those of a [`Step`] are added.
    /// It must call [`compile_file`].
    Child(Vec<OsString>),
    /// This process. A hostile component can then hold it up for as long as it likes.
    InProcess,
}

/// What is asked of third-party parsers about a file, whose author may have meant them to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A component becomes machine code.
    Compile,
    /// A core module becomes a component.
    Wrap,
}

impl Step {
    /// First argument of a child that does the second step.
    const WRAP: &str = "--wrap";

    fn argument(self) -> Option<&'static str> {
        (self == Self::Wrap).then_some(Self::WRAP)
    }
}

impl Compiler {
    /// Does one step from file to file; a child has `time` for it.
    pub(super) fn work(
        &self,
        step: Step,
        engine: &Engine,
        [source, target]: [&Path; 2],
        time: Duration,
    ) -> Result<(), SandboxError> {
        match self {
            Self::InProcess => do_step(step, engine, source, target),
            Self::Child(words) => {
                let nobody = || SandboxError::Compile(Shown::sentence("no program is named that compiles"));
                let (program, args) = words.split_first().ok_or_else(nobody)?;
                let mut command = Command::new(program);
                command.args(args).args(step.argument()).args([source, target]);
                in_child(command, time)
            }
        }
    }
}

/// Does one step from file to file: the work of the child process. Limits its own memory first, and ends with its
/// parent.
///
/// # Errors
/// If the step cannot be done or the result not written.
pub fn compile_file(step: Step, source: &Path, target: &Path) -> Result<(), SandboxError> {
    use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
    let failed = |error: rustix::io::Errno| SandboxError::Compile(Shown::sentence(&error.to_string()));
    let limit = Rlimit { current: Some(COMPILE_MEMORY), maximum: Some(COMPILE_MEMORY) };
    setrlimit(Resource::As, limit).map_err(failed)?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    do_step(step, &engine::compiling()?, source, target)
}

fn do_step(step: Step, engine: &Engine, source: &Path, target: &Path) -> Result<(), SandboxError> {
    let failed = |reason: String| SandboxError::Compile(Shown::sentence(&reason));
    let bytes = read_capped(source, MAX_ARTIFACT_BYTES)?;
    let made = match step {
        Step::Compile => {
            scan(&bytes)?;
            engine.precompile_component(&bytes).map_err(|error| failed(format!("{error:#}")))?
        }
        Step::Wrap => wit_component::ComponentEncoder::default()
            .validate(true)
            .module(&bytes)
            .and_then(|mut encoder| encoder.encode())
            .map_err(|error| failed(format!("{error:#}")))?,
    };
    write_whole(target, &made, 0o600).map_err(|error| failed(format!("{}: {error}", target.display())))
}

/// Waits for a child that compiles, and kills it when its time is over.
fn in_child(mut command: Command, time: Duration) -> Result<(), SandboxError> {
    let program = command.get_program().to_owned();
    let compile = |reason: String| SandboxError::Compile(Shown::sentence(&reason));
    let failed = |error: std::io::Error| compile(format!("{}: {error}", program.display()));
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let messages = child.stderr.take().map(|stderr| std::thread::spawn(|| beginning_of(stderr)));
    let deadline = Instant::now() + time;
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                // It may have ended on its own in between; either way it must be reaped.
                let _ = child.kill();
                let _ = child.wait();
                return Err(compile(format!(
                    "it takes longer than {} seconds to compile; a strategy of ordinary size takes less than one",
                    time.as_secs()
                )));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let said = messages.and_then(|thread| thread.join().ok()).unwrap_or_default();
    match (status.success(), said.trim()) {
        (true, _) => Ok(()),
        (false, "") => Err(compile(format!("the compiler ended with {status}"))),
        (false, said) => Err(compile(said.trim_start_matches("error: ").to_owned())),
    }
}

/// The first bytes of what a child says. The rest is read too, since a child whose pipe is full waits for ever.
fn beginning_of(mut stderr: ChildStderr) -> String {
    let mut said = Vec::new();
    let read = (&mut stderr).take(MESSAGE_BYTES).read_to_end(&mut said);
    // A pipe that breaks has nothing more to say.
    let _ = read.and_then(|_| std::io::copy(&mut stderr, &mut std::io::sink()));
    String::from_utf8_lossy(&said).into_owned()
}
