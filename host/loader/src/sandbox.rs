//! The WebAssembly engine: settings, compilation, limits.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use querist_core::config::LimitsConfig;
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

/// What one query of a plugin may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Bytes of linear memory; as many again for host objects made for the plugin.
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
    /// A child process, which can be killed: this program with these first arguments, then the component's path and
    /// the path of the result. It must call [`compile_file`].
    Child(PathBuf, Vec<String>),
    /// This process. A hostile component can then hold it up for as long as it likes.
    InProcess,
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
        add_to_linker(&mut linker).map_err(|error| SandboxError::Engine(error.to_string()))?;
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
        let failed = |error: std::io::Error| SandboxError::Compile(error.to_string());
        let source = tempfile::NamedTempFile::new_in(self.cache.folder()).map_err(failed)?;
        fs::write(source.path(), &bytes).map_err(failed)?;
        match &self.compiler {
            Compiler::InProcess => compile_with(&self.engine, source.path(), &compiled)?,
            Compiler::Child(program, args) => {
                compile_in_child((program, args), self.compile_time, source.path(), &compiled)?;
            }
        }
        self.load_compiled(&compiled).map_err(SandboxError::Compile)
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
    Engine::new(config).map_err(|error| SandboxError::Engine(format!("{error:#}")))
}

/// Compiles a component to a file: the work of the child process. Limits its own memory first.
///
/// # Errors
/// If the component cannot be compiled or the result not written.
pub fn compile_file(source: &Path, target: &Path) -> Result<(), SandboxError> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let limit = Rlimit { current: Some(COMPILE_MEMORY), maximum: Some(COMPILE_MEMORY) };
    setrlimit(Resource::As, limit).map_err(|error| SandboxError::Compile(error.to_string()))?;
    // Without the pool, whose addresses would not fit; it makes no difference to compiled code.
    compile_with(&new_engine(&settings())?, source, target)
}

fn compile_with(engine: &Engine, source: &Path, target: &Path) -> Result<(), SandboxError> {
    let bytes = manifest::read_capped(source, MAX_ARTIFACT_BYTES)?;
    manifest::scan(&bytes)?;
    let compiled = engine.precompile_component(&bytes).map_err(|error| SandboxError::Compile(format!("{error:#}")))?;
    write_whole(target, &compiled, 0o600)
        .map_err(|error| SandboxError::Compile(format!("{}: {error}", target.display())))
}

fn compile_in_child(
    (program, args): (&Path, &[String]),
    time: Duration,
    source: &Path,
    target: &Path,
) -> Result<(), SandboxError> {
    let failed = |error: std::io::Error| SandboxError::Compile(format!("{}: {error}", program.display()));
    let mut child = Command::new(program)
        .args(args)
        .args([source, target])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let deadline = Instant::now() + time;
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() > deadline {
            // It may have ended on its own in between; either way it must be reaped.
            let _ = child.kill();
            let _ = child.wait();
            return Err(SandboxError::Compile(format!(
                "it takes longer than {} seconds to compile; a strategy of ordinary size takes less than one",
                time.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(SandboxError::Compile(match said.trim() {
        "" => format!("the compiler ended with {}", output.status),
        said => said.chars().take(2000).collect(),
    }))
}

/// Counts and limits what the instances of one store allocate.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: u64,
    used: u64,
    pub(crate) peak: u64,
    /// Whether a request was refused: the trap itself cannot say so.
    pub(crate) refused: Option<u64>,
}

impl Limiter {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0, peak: 0, refused: None }
    }
}

/// Entries of a plugin's tables at most; ordinary ones have a few hundred.
const MAX_TABLE: usize = 100_000;

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used + (desired - current) as u64;
        if used > self.limit {
            self.refused = Some(used);
            wasmtime::bail!("the plugin asked for {used} bytes of memory, the limit is {}", self.limit);
        }
        self.used = used;
        self.peak = self.peak.max(used);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE {
            self.refused = Some(desired as u64);
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
    Engine(String),
    /// The file is not the one that was checked.
    #[error("{}: the file changed since it was checked", .0.display())]
    Changed(PathBuf),
    /// Compilation failed or was stopped.
    #[error("the component cannot be compiled: {0}")]
    Compile(String),
    /// The package is refused.
    #[error(transparent)]
    Refused(#[from] RefusedPackage),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}
