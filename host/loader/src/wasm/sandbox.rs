//! An engine with its cache: everything that all sandboxed plugins of a process share.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use querist_protocol::Shown;
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use super::cache::Cache;
use super::compile::{Compiler, Step};
use super::engine;
use super::error::SandboxError;
use super::generated::bindings::Plugin;
use super::state::CallState;
use crate::package::file::{MAX_ARTIFACT_BYTES, read_capped, read_checked};

/// Time that compiling an unknown component may take, and more of it for each mebibyte: an interpreter has twenty.
const COMPILE_TIME: Duration = Duration::from_secs(60);
const COMPILE_TIME_OF_MEBIBYTE: Duration = Duration::from_secs(5);
/// A mebibyte.
const MEBIBYTE: usize = 1 << 20;

/// Who is told what takes a while.
type Notice = Box<dyn Fn(&str) + Send + Sync>;

/// An engine with its cache: everything that is shared by all plugins of a process.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<CallState>,
    cache: Cache,
    compiler: Compiler,
    compile_time: Option<Duration>,
    notice: Option<Notice>,
}

impl Sandbox {
    /// An engine that keeps compiled components in `cache`.
    ///
    /// # Errors
    /// If the machine cannot run the engine.
    pub fn new(cache: Cache, compiler: Compiler) -> Result<Self, SandboxError> {
        let engine = engine::running()?;
        let mut linker = Linker::new(&engine);
        Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)
            .map_err(|error| SandboxError::Engine(Shown::sentence(&error.to_string())))?;
        Ok(Self { engine, linker, cache, compiler, compile_time: None, notice: None })
    }

    /// Tells `notice` before something takes seconds.
    #[must_use]
    pub fn with_notice(self, notice: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { notice: Some(Box::new(notice)), ..self }
    }

    /// Gives a child so long to compile one component, instead of a minute and five seconds for each mebibyte.
    #[must_use]
    pub fn with_compile_time(self, compile_time: Duration) -> Self {
        Self { compile_time: Some(compile_time), ..self }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn linker(&self) -> &Linker<CallState> {
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
        let bytes = read_checked(artifact, MAX_ARTIFACT_BYTES, digest)?;
        if let Some(notice) = self.notice.as_ref().filter(|_| bytes.len() > MEBIBYTE) {
            let mebibytes = bytes.len().div_ceil(MEBIBYTE);
            notice(&format!("note: compiling a component of {mebibytes} MiB, once; this may take a minute or more"));
        }
        // The child compiles a private copy, so that nobody can exchange the file under its hands.
        self.work(Step::Compile, &bytes, &compiled)?;
        self.load_compiled(&compiled).map_err(|reason| SandboxError::Compile(Shown::sentence(&reason)))
    }

    /// Keeps what was compiled for one digest under another, too: that of the same code with its manifest.
    ///
    /// # Errors
    /// If the cache cannot be written.
    pub(crate) fn keep_as(&self, digest: &str, other: &str) -> io::Result<()> {
        let [from, to] = [digest, other].map(|digest| self.cache.path(digest, &self.engine));
        match fs::hard_link(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    }

    /// Makes a component of a core module.
    ///
    /// # Errors
    /// If it is no module of this boundary, or takes too long or too much memory.
    pub(crate) fn wrap(&self, module: &[u8]) -> Result<Vec<u8>, SandboxError> {
        let failed = |error: io::Error| SandboxError::Compile(Shown::sentence(&error.to_string()));
        let target = tempfile::NamedTempFile::new_in(self.cache.folder()).map_err(failed)?;
        self.work(Step::Wrap, module, target.path())?;
        Ok(read_capped(target.path(), MAX_ARTIFACT_BYTES)?)
    }

    /// Does one step for these bytes.
    fn work(&self, step: Step, bytes: &[u8], target: &Path) -> Result<(), SandboxError> {
        let failed = |error: io::Error| SandboxError::Compile(Shown::sentence(&error.to_string()));
        let source = tempfile::NamedTempFile::new_in(self.cache.folder()).map_err(failed)?;
        fs::write(source.path(), bytes).map_err(failed)?;
        let usual = COMPILE_TIME + COMPILE_TIME_OF_MEBIBYTE * (bytes.len() / MEBIBYTE) as u32;
        let time = self.compile_time.unwrap_or(usual);
        self.compiler.work(step, &self.engine, [source.path(), target], time)
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
