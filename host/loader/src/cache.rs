//! Compiled components, kept where only the user can write.
//!
//! Loading a compiled component runs its machine code, so whoever can write here can run code as the user. The folder
//! must therefore belong to the user and be closed to others, and nothing in it ever comes from a package.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

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
        let error = |reason: String| CacheError { folder: folder.to_owned(), reason };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|e| error(format!("cannot be made: {e}; set QUERIST_CACHE to a folder of your own")))?;
        let metadata = fs::metadata(folder).map_err(|e| error(e.to_string()))?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(error("belongs to another user; set QUERIST_CACHE to a folder of your own".to_owned()));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(error("others can write into it: close it with `chmod go-w`".to_owned()));
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The user's cache: `$QUERIST_CACHE`, else `querist` in the user's cache folder.
    pub fn default_folder() -> PathBuf {
        let user = || {
            std::env::var_os("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
                .unwrap_or_else(std::env::temp_dir)
                .join("querist")
        };
        std::env::var_os("QUERIST_CACHE").map_or_else(user, PathBuf::from).join("compiled")
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

/// Writes a file so that it is there whole or not at all.
///
/// `mode` are its permissions, less those that the process withholds.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(mode)).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// A cache that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compile cache {}: {reason}", folder.display())]
pub struct CacheError {
    folder: PathBuf,
    reason: String,
}
