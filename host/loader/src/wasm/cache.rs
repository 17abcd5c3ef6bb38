//! Compiled components, kept where only the user can write.
//!
//! Loading a compiled component runs its machine code, so whoever can write here can run code as the user. The folder
//! must therefore belong to the user and be closed to others, and nothing in it ever comes from a package.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use querist_files::{CacheFolderError, cache_folder_or_temporary, make_cache_folder};
use wasmtime::Engine;

/// A folder of compiled components.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// A cache in `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// If it cannot be made, or others could write into it.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        make_cache_folder(folder).map_err(|reason| CacheError { folder: folder.to_owned(), reason })?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The user's cache: `compiled` in `$QUERIST_CACHE`, else in `querist` in the user's cache folder, else in a
    /// temporary one.
    pub fn default_folder() -> PathBuf {
        cache_folder_or_temporary().join("compiled")
    }

    /// Where the compiled form of a component lies or would lie.
    pub fn path(&self, digest: &str, engine: &Engine) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.folder.join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
    }

    /// A folder for files in the making, on the same file system.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// A cache that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("compile cache {}: {reason}", querist_files::shown(folder))]
pub struct CacheError {
    folder: PathBuf,
    reason: CacheFolderError,
}
