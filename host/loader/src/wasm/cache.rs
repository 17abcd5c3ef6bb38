//! Compiled components, kept where only the user can write.
//!
//! Loading a compiled component runs its machine code, so whoever can write here can run code as the user. The folder
//! must therefore belong to the user and be closed to others, and nothing in it ever comes from a package.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
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

    /// The user's cache: `$QUERIST_CACHE`, else `querist` in the user's cache folder. An empty variable counts as none.
    pub fn default_folder() -> PathBuf {
        default_folder(|name| std::env::var_os(name))
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

fn default_folder(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // A relative folder of the system's would lie in whatever folder one works in.
    let absolute = |name: &str| set(name).filter(|folder| folder.is_absolute());
    let user = || {
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .or_else(|| absolute("TMPDIR"))
            .unwrap_or_else(|| PathBuf::from("/tmp"))
            .join("querist")
    };
    set("QUERIST_CACHE").unwrap_or_else(user).join("compiled")
}

/// A cache that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compile cache {}: {reason}", querist_files::shown(folder))]
pub struct CacheError {
    folder: PathBuf,
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_relative_variables_make_no_folder_where_one_works() {
        let folder = |set: &[(&str, &str)]| {
            let of = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
            default_folder(of).display().to_string()
        };
        let home = ("HOME", "/home/me");
        assert_eq!(folder(&[("QUERIST_CACHE", "mine"), home]), "mine/compiled", "named by the user");
        assert_eq!(folder(&[("QUERIST_CACHE", ""), home]), "/home/me/.cache/querist/compiled");
        assert_eq!(folder(&[("XDG_CACHE_HOME", "/c"), home]), "/c/querist/compiled");
        assert_eq!(folder(&[("XDG_CACHE_HOME", "c"), home]), "/home/me/.cache/querist/compiled");
        assert_eq!(folder(&[("XDG_CACHE_HOME", ""), ("HOME", "")]), "/tmp/querist/compiled");
        assert_eq!(folder(&[("HOME", "home"), ("TMPDIR", "")]), "/tmp/querist/compiled");
        assert_eq!(folder(&[("TMPDIR", "/scratch")]), "/scratch/querist/compiled");
    }
}
