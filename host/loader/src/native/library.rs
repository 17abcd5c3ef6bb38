//! A native plugin in this process.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use querist_protocol::abi::{self, PluginApi};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::identity::{self, ReadIdentity};
use super::table;
use crate::manifest::{self, MAX_ARTIFACT_BYTES};

/// The libtorch of this process, which plugins that share it must have been built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorchBuild {
    /// Version, such as `2.11.0`.
    pub version: String,
    /// Whether its strings are those of C++11.
    pub cxx11: bool,
}

/// A loaded plugin's functions.
#[derive(Clone, Copy)]
pub(crate) struct Loaded {
    pub(crate) api: &'static PluginApi,
}

/// Why a native plugin is not loaded.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct NativeError {
    /// What is wrong, and what to do.
    pub reason: String,
}

fn fail<T>(reason: impl Into<String>) -> Result<T, NativeError> {
    Err(NativeError { reason: reason.into() })
}

/// Loads the library whose SHA-256 is `digest`, once a process; it is never unloaded.
pub(crate) fn load(artifact: &Path, digest: &str, torch: Option<&TorchBuild>) -> Result<Loaded, NativeError> {
    static LOADED: Mutex<Option<HashMap<String, Loaded>>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = loaded.get_or_insert_default();
    if let Some(&plugin) = loaded.get(digest) {
        return Ok(plugin);
    }
    let bytes = read(artifact)?;
    if manifest::hex_sha256(&bytes) != digest {
        return fail(format!("{}: the file changed since it was checked", artifact.display()));
    }
    let plugin = open(&bytes, torch)?;
    loaded.insert(digest.to_owned(), plugin);
    Ok(plugin)
}

pub(crate) fn read(artifact: &Path) -> Result<Vec<u8>, NativeError> {
    manifest::read_capped(artifact, MAX_ARTIFACT_BYTES)
        .map_err(|refused| NativeError { reason: refused.reason.into_string() })
}

/// Loads checked bytes. The system loads exactly these: a private copy in memory that nobody can write to.
pub(crate) fn open(bytes: &[u8], torch: Option<&TorchBuild>) -> Result<Loaded, NativeError> {
    let identity = identity::read(bytes).map_err(|refused| NativeError { reason: refused.reason.into_string() })?;
    check(&identity, torch)?;
    let failed = |error: std::io::Error| NativeError { reason: format!("cannot be copied to memory: {error}") };
    let name = format!("querist-{}", identity.package);
    let file = memfd_create(name.as_str(), MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(|error| failed(error.into()))?;
    let mut file = std::fs::File::from(file);
    file.write_all(bytes).map_err(failed)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).map_err(|error| failed(error.into()))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));

    // SAFETY: running this library's code is what the user allowed; its identity says that it is made for this.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| NativeError { reason: format!("the system cannot load it: {error}") })?;
    // SAFETY: the identity's version fixes the type of this function.
    let entry = unsafe { library.get::<abi::Entry>(abi::ENTRY) }.map(|symbol| *symbol);
    // Never unloaded: threads, thread-locals and autograd graphs may point into it.
    std::mem::forget(library);
    // The name of a loaded file must stay taken, or another plugin could come to have it and be mistaken for this one.
    std::mem::forget(file);
    let entry = entry.map_err(|_| NativeError { reason: format!("it does not export `{}`", abi::ENTRY) })?;
    // SAFETY: the table lives as long as the process.
    let api = unsafe { entry(table::host_api(torch.is_some())).as_ref() };
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

fn check(identity: &ReadIdentity, torch: Option<&TorchBuild>) -> Result<(), NativeError> {
    if identity.aborts {
        return fail(
            "built with `panic = \"abort\"`, so a panic would end the host: build it with `panic = \"unwind\"`",
        );
    }
    if !identity.torch {
        return Ok(());
    }
    let Some(torch) = torch else {
        return fail("it shares libtorch with the host, and this program has none: start it by `querist run`");
    };
    let (version, cxx11) = &identity.libtorch;
    if *version != torch.version || *cxx11 != torch.cxx11 {
        let flavour = |cxx11| if cxx11 { "C++11" } else { "old" };
        return fail(format!(
            "built for libtorch {version} ({} strings), this host runs {} ({} strings): rebuild it against the libtorch \
             that `querist doctor` names",
            flavour(*cxx11),
            torch.version,
            flavour(torch.cxx11)
        ));
    }
    Ok(())
}
