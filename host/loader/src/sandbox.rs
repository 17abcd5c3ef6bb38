//! The WebAssembly engine: settings, compilation, limits.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use querist_core::config::LimitsConfig;
use querist_protocol::Shown;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter};

use crate::cache::{Cache, CacheError, write_whole};
use crate::manifest::{self, MAX_ARTIFACT_BYTES, RefusedPackage};
use crate::wasm::{CallState, add_to_linker};

/// Time that compiling an unknown component may take.
const COMPILE_TIME: Duration = Duration::from_secs(60);
/// Address space of the compiling child.
const COMPILE_MEMORY: u64 = 6 << 30;

/// Instances at once.
pub(crate) const MAX_INSTANCES: usize = 64;
/// Memories of one instance at most.
const MAX_MEMORIES: usize = 4;
/// Core instances, and tables, of one instance at most.
const MAX_PARTS: usize = 16;
/// Bytes of a memory that are cleared by hand, not given back to the system, when an instance ends.
const KEPT_RESIDENT: usize = 2 << 20;

/// Bytes of a child's messages that are kept.
const MESSAGE_BYTES: u64 = 16 << 10;

/// What one query of a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes of linear memory of all its instances together; as many again for host objects made for the plugin.
    pub memory: u64,
    /// Wall-clock time.
    pub time: Duration,
    /// WebAssembly fuel, if it is limited.
    pub fuel: Option<u64>,
    /// Objects of the host at once.
    pub handles: u32,
    /// Bytes of log.
    pub log: usize,
}

impl From<&LimitsConfig> for Limits {
    fn from(config: &LimitsConfig) -> Self {
        Self {
            memory: config.memory.0,
            time: Duration::from_secs_f64(config.seconds),
            fuel: config.fuel,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 512 << 20, time: Duration::from_secs(3600), fuel: None, handles: 1024, log: 64 << 10 }
    }
}

/// Who compiles components that are not in the cache.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// A child process, which can be killed: this program with these first arguments, then those of a [`Step`]. It must
    /// call [`compile_file`].
    Child(PathBuf, Vec<String>),
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

/// An engine with its cache: everything that is shared by all plugins of a process.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<CallState>,
    cache: Cache,
    compiler: Compiler,
    compile_time: Duration,
}

impl Sandbox {
    /// An engine that keeps compiled components in `cache`.
    ///
    /// # Errors
    /// If the machine cannot run the engine.
    pub fn new(cache: Cache, compiler: Compiler) -> Result<Self, SandboxError> {
        let engine = new_engine(settings().allocation_strategy(pool()))?;
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker).map_err(|error| SandboxError::Engine(Shown::sentence(&error.to_string())))?;
        Ok(Self { engine, linker, cache, compiler, compile_time: COMPILE_TIME })
    }

    /// Gives a child so long to compile one component, instead of a minute.
    #[must_use]
    pub fn with_compile_time(self, compile_time: Duration) -> Self {
        Self { compile_time, ..self }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn linker(&self) -> &Linker<CallState> {
        &self.linker
    }

    /// Loads a component whose SHA-256 is `digest`, compiling it if it is not in the cache.
    ///
    /// # Errors
    /// If the file changed since it was checked, or cannot be compiled within bounds.
    pub fn load(&self, artifact: &Path, digest: &str) -> Result<Component, SandboxError> {
        let compiled = self.cache.path(digest, &self.engine);
        // One that cannot be loaded is compiled anew.
        if let Ok(component) = self.load_compiled(&compiled) {
            return Ok(component);
        }
        let bytes = manifest::read_capped(artifact, MAX_ARTIFACT_BYTES)?;
        if manifest::hex_sha256(&bytes) != digest {
            return Err(SandboxError::Changed(artifact.to_owned()));
        }
        // The child compiles a private copy, so that nobody can exchange the file under its hands.
        self.work(Step::Compile, &bytes, &compiled)?;
        self.load_compiled(&compiled).map_err(|reason| SandboxError::Compile(Shown::sentence(&reason)))
    }

    /// Makes a component of a core module.
    ///
    /// # Errors
    /// If it is no module of this boundary, or takes too long or too much memory.
    pub(crate) fn wrap(&self, module: &[u8]) -> Result<Vec<u8>, SandboxError> {
        let failed = |error: std::io::Error| SandboxError::Compile(Shown::sentence(&error.to_string()));
        let target = tempfile::NamedTempFile::new_in(self.cache.folder()).map_err(failed)?;
        self.work(Step::Wrap, module, target.path())?;
        Ok(manifest::read_capped(target.path(), MAX_ARTIFACT_BYTES)?)
    }

    /// Does one step for these bytes.
    fn work(&self, step: Step, bytes: &[u8], target: &Path) -> Result<(), SandboxError> {
        let failed = |error: std::io::Error| SandboxError::Compile(Shown::sentence(&error.to_string()));
        let source = tempfile::NamedTempFile::new_in(self.cache.folder()).map_err(failed)?;
        fs::write(source.path(), bytes).map_err(failed)?;
        match &self.compiler {
            Compiler::InProcess => do_step(step, &self.engine, source.path(), target),
            Compiler::Child(program, args) => {
                let mut command = Command::new(program);
                command.args(args).args(step.argument()).args([source.path(), target]);
                in_child(command, self.compile_time)
            }
        }
    }

    fn load_compiled(&self, path: &Path) -> Result<Component, String> {
        if !path.exists() {
            return Err(format!("{} is missing", path.display()));
        }
        // SAFETY: the cache folder belongs to the user and is closed to others, and only `compile_file` writes there,
        // whole files at a time.
        unsafe { Component::deserialize_file(&self.engine, path) }.map_err(|error| format!("{error:#}"))
    }
}

/// What compiled code depends on.
fn settings() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .concurrency_support(false)
        .epoch_interruption(true)
        .consume_fuel(true);
    config
}

/// Room for instances that is kept from one to the next: a scorer needs a fresh one for each tile, and mapping and
/// unmapping its memory each time took as long as a fifth of the tile's work. Addresses are reserved for all, memory is
/// used by those that run.
fn pool() -> InstanceAllocationStrategy {
    let instances = MAX_INSTANCES as u32;
    let parts = MAX_PARTS as u32;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances * parts)
        .max_core_instances_per_component(parts)
        .total_tables(instances * parts)
        .max_tables_per_component(parts)
        .table_elements(MAX_TABLE)
        .table_keep_resident(KEPT_RESIDENT)
        .total_memories(2 * instances)
        .max_memories_per_component(MAX_MEMORIES as u32)
        .linear_memory_keep_resident(KEPT_RESIDENT);
    InstanceAllocationStrategy::Pooling(pool)
}

fn new_engine(config: &Config) -> Result<Engine, SandboxError> {
    Engine::new(config).map_err(|error| SandboxError::Engine(Shown::sentence(&format!("{error:#}"))))
}

/// Does one step from file to file: the work of the child process. Limits its own memory first, and ends with its parent.
///
/// # Errors
/// If the step cannot be done or the result not written.
pub fn compile_file(step: Step, source: &Path, target: &Path) -> Result<(), SandboxError> {
    use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
    let failed = |error: rustix::io::Errno| SandboxError::Compile(Shown::sentence(&error.to_string()));
    let limit = Rlimit { current: Some(COMPILE_MEMORY), maximum: Some(COMPILE_MEMORY) };
    setrlimit(Resource::As, limit).map_err(failed)?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed)?;
    // Without the pool, whose addresses would not fit; it makes no difference to compiled code.
    do_step(step, &new_engine(&settings())?, source, target)
}

fn do_step(step: Step, engine: &Engine, source: &Path, target: &Path) -> Result<(), SandboxError> {
    let failed = |reason: String| SandboxError::Compile(Shown::sentence(&reason));
    let bytes = manifest::read_capped(source, MAX_ARTIFACT_BYTES)?;
    let made = match step {
        Step::Compile => {
            manifest::scan(&bytes)?;
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

/// The linear memory of all instances that answer one question, on however many threads.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: u64,
    used: AtomicU64,
    peak: AtomicU64,
}

impl Memory {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0), peak: AtomicU64::new(0) })
    }

    /// The most bytes that were held at once.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Takes `bytes` more, unless that would pass the limit; then says how many it would have been.
    fn take(&self, bytes: u64) -> Result<(), u64> {
        let add = |now: u64| now.checked_add(bytes).filter(|&sum| sum <= self.limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(before) => {
                self.peak.fetch_max(before + bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(now) => Err(now.saturating_add(bytes)),
        }
    }
}

/// Counts and limits what one instance allocates.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory: Arc<Memory>,
    used: u64,
    /// Whether a request was refused: the trap itself cannot say so.
    pub(crate) refused: bool,
}

impl Limiter {
    pub(crate) fn new(memory: &Arc<Memory>) -> Self {
        Self { memory: memory.clone(), used: 0, refused: false }
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.used, Ordering::Relaxed);
    }
}

/// Entries of a plugin's tables at most; ordinary ones have a few hundred.
const MAX_TABLE: usize = 100_000;

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        if let Err(wanted) = self.memory.take(more) {
            self.refused = true;
            wasmtime::bail!("the plugin asked for {wanted} bytes of memory, the limit is {}", self.memory.limit);
        }
        self.used += more;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE {
            self.refused = true;
            wasmtime::bail!("the plugin asked for a table of {desired} entries, the limit is {MAX_TABLE}");
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

/// Why a component cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The engine cannot run here.
    #[error("the WebAssembly engine cannot run here: {0}")]
    Engine(Shown),
    /// The file is not the one that was checked.
    #[error("{}: the file changed since it was checked", .0.display())]
    Changed(PathBuf),
    /// Compilation failed or was stopped.
    #[error("the component cannot be compiled: {0}")]
    Compile(Shown),
    /// The package is refused.
    #[error(transparent)]
    Refused(#[from] RefusedPackage),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}
