//! A native plugin in this process.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL, RTLD_NOW};
use querist_protocol::Shown;
use querist_protocol::abi::{self, PluginApi};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::error::{NativeError, fail};
use super::table;
use super::torch::{TorchBuild, check};
use crate::package::file::{MAX_ARTIFACT_BYTES, read_checked};
use crate::package::library as identity;

/// A loaded plugin's functions.
#[derive(Clone, Copy)]
pub(crate) struct Loaded {
    pub(crate) api: &'static PluginApi,
}

/// Loads the library whose SHA-256 is `digest`, once a process; it is never unloaded.
pub(crate) fn load(artifact: &Path, digest: &str, torch: Option<&TorchBuild>) -> Result<Loaded, NativeError> {
    static LOADED: Mutex<Option<HashMap<String, Loaded>>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = loaded.get_or_insert_default();
    if let Some(&plugin) = loaded.get(digest) {
        return Ok(plugin);
    }
    let bytes = read_checked(artifact, MAX_ARTIFACT_BYTES, digest)?;
    let plugin = open(&bytes, torch)?;
    loaded.insert(digest.to_owned(), plugin);
    Ok(plugin)
}

/// Loads checked bytes.
pub(crate) fn open(bytes: &[u8], torch: Option<&TorchBuild>) -> Result<Loaded, NativeError> {
    seal(bytes, torch)?.load()
}

/// A library whose bytes were checked, before any of its code is loaded: a private copy in memory that nobody can write
/// to, so that the system loads exactly these.
pub(crate) struct Sealed {
    file: File,
    /// Whether it is shown the host's libtorch.
    shows_torch: bool,
    /// Libraries that it asks the system for.
    needed: Vec<String>,
}

/// Checks bytes and copies them to a memory file.
pub(crate) fn seal(bytes: &[u8], torch: Option<&TorchBuild>) -> Result<Sealed, NativeError> {
    let identity = identity::read(bytes)?;
    check(&identity, torch)?;
    let needed =
        identity::needed(bytes).map_err(|error| NativeError { reason: format!("not a shared library: {error}") })?;
    let file = memory_file(&format!("querist-{}", identity.package), bytes)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).map_err(|error| in_memory(error.into()))?;
    Ok(Sealed { file, shows_torch: torch.is_some(), needed })
}

/// A file that exists in memory only.
pub(crate) fn memory_file(name: &str, bytes: &[u8]) -> Result<File, NativeError> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    let mut file = File::from(file.map_err(|error| in_memory(error.into()))?);
    file.write_all(bytes).map_err(in_memory)?;
    Ok(file)
}

fn in_memory(error: std::io::Error) -> NativeError {
    NativeError { reason: format!("cannot be copied to memory: {error}") }
}

impl Sealed {
    /// The copy's descriptor, which stays what it is.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Loads the system's libraries that it asks for, by name; those that are loaded already stay as they are.
    pub(crate) fn load_needed(&self) -> Result<(), NativeError> {
        for name in &self.needed {
            if name.contains('/') {
                return fail(format!("it links {}, a file: link libraries of the system, by name", Shown::name(name)));
            }
            // SAFETY: libraries of the system; the names are those that the system's own loader would look for.
            let library = unsafe { Library::open(Some(name), RTLD_LAZY | RTLD_LOCAL) };
            std::mem::forget(library.map_err(|error| NativeError {
                reason: format!("the system cannot load {}, which it links: {error}", Shown::name(name)),
            })?);
        }
        Ok(())
    }

    /// Loads it.
    pub(crate) fn load(self) -> Result<Loaded, NativeError> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        // SAFETY: running this library's code is what the user allowed; its identity says that it is made for this.
        let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| NativeError { reason: format!("the system cannot load it: {error}") })?;
        // SAFETY: the identity's version fixes the type of this function.
        let entry = unsafe { library.get::<abi::Entry>(abi::ENTRY) }.map(|symbol| *symbol);
        // Never unloaded: threads, thread-locals and autograd graphs may point into it.
        std::mem::forget(library);
        // The name of a loaded file must stay taken, or another plugin could come to have it and be mistaken for this
        // one.
        std::mem::forget(self.file);
        let entry = entry.map_err(|_| NativeError { reason: format!("it does not export `{}`", abi::ENTRY) })?;
        // SAFETY: the table lives as long as the process.
        let api = unsafe { entry(table::host_api(self.shows_torch)).as_ref() };
        let Some(api) = api else {
            return fail("it cannot work with this host: it needs a newer release");
        };
        if (api.size as usize) < size_of::<PluginApi>() {
            return fail(format!(
                "its table has {} bytes, expected {}: rebuild it with the SDK of this release",
                api.size,
                size_of::<PluginApi>()
            ));
        }
        Ok(Loaded { api })
    }
}
