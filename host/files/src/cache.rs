//! The folder for what can be made anew and is kept to save time.
//!
//! What is read there is believed, be it machine code or pixels. So the folder must belong to the user and be closed to
//! others; whoever could write there could run code as the user, or make the pixels.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The user's: `$QUERIST_CACHE`, else `querist` in the user's cache folder (`$XDG_CACHE_HOME`, else `~/.cache`), where
/// one is known. An empty variable counts as none, and so does a relative one of the system's.
pub fn cache_folder() -> Option<PathBuf> {
    found(|name| std::env::var_os(name))
}

/// The same, and where none is known one that does not outlive the system: in `$TMPDIR`, else in `/tmp`.
pub fn cache_folder_or_temporary() -> PathBuf {
    found_or_temporary(|name| std::env::var_os(name))
}

fn found(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let users = || {
        let named = absolute(&variable, "XDG_CACHE_HOME");
        named.or_else(|| absolute(&variable, "HOME").map(|home| home.join(".cache"))).map(|cache| cache.join("querist"))
    };
    set(&variable, "QUERIST_CACHE").or_else(users)
}

fn found_or_temporary(variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let temporary = || absolute(&variable, "TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp")).join("querist");
    found(&variable).unwrap_or_else(temporary)
}

fn set(variable: impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A relative folder of the system's would lie in whatever folder one works in.
fn absolute(variable: impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    set(variable, name).filter(|folder| folder.is_absolute())
}

/// Why a folder cannot be used as a cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheFolderError {
    /// It is not there and cannot be made.
    #[error("cannot be made: {0}; set QUERIST_CACHE to a folder of your own")]
    NotMade(#[source] io::Error),
    /// The system does not say whose it is.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// It is no folder.
    #[error("is no folder; set QUERIST_CACHE to a folder of your own")]
    NoFolder,
    /// Its owner could exchange what lies in it.
    #[error("belongs to another user; set QUERIST_CACHE to a folder of your own")]
    Foreign,
    /// Others could, too.
    #[error("others can write into it: close it with `chmod go-w`")]
    Open,
}

/// Makes a folder of the user's own where it is missing, and checks it.
///
/// # Errors
/// If it cannot be made, and as [`check_cache_folder`].
pub fn make_cache_folder(folder: &Path) -> Result<(), CacheFolderError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(CacheFolderError::NotMade)?;
    check_cache_folder(folder)
}

/// Checks that a folder is the user's own and closed to others.
///
/// # Errors
/// If it is not, or not there.
pub fn check_cache_folder(folder: &Path) -> Result<(), CacheFolderError> {
    let found = fs::metadata(folder).map_err(CacheFolderError::Io)?;
    if !found.is_dir() {
        return Err(CacheFolderError::NoFolder);
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(CacheFolderError::Foreign);
    }
    if found.mode() & 0o022 != 0 {
        return Err(CacheFolderError::Open);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn empty_and_relative_variables_make_no_folder_where_one_works() {
        let folders = |set: &[(&str, &str)]| {
            let of = |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
            (found(of).map(|folder| folder.display().to_string()), found_or_temporary(of).display().to_string())
        };
        let same = |folder: &str| (Some(folder.to_owned()), folder.to_owned());
        let home = ("HOME", "/home/me");
        assert_eq!(folders(&[("QUERIST_CACHE", "mine"), home]), same("mine"), "named by the user");
        assert_eq!(folders(&[("QUERIST_CACHE", ""), home]), same("/home/me/.cache/querist"));
        assert_eq!(folders(&[("XDG_CACHE_HOME", "/c"), home]), same("/c/querist"));
        assert_eq!(folders(&[("XDG_CACHE_HOME", "c"), home]), same("/home/me/.cache/querist"));
        let temporary = |folder: &str| (None, folder.to_owned());
        assert_eq!(folders(&[("XDG_CACHE_HOME", ""), ("HOME", "")]), temporary("/tmp/querist"));
        assert_eq!(folders(&[("HOME", "home"), ("TMPDIR", "")]), temporary("/tmp/querist"));
        assert_eq!(folders(&[("TMPDIR", "/scratch")]), temporary("/scratch/querist"));
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_no_cache() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/b");
        make_cache_folder(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        for mode in [0o720, 0o702, 0o777] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(check_cache_folder(&folder), Err(CacheFolderError::Open)), "{mode:o}");
            assert!(matches!(make_cache_folder(&folder), Err(CacheFolderError::Open)), "{mode:o}");
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        check_cache_folder(&folder).unwrap();
        let file = folder.join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(check_cache_folder(&file), Err(CacheFolderError::NoFolder)));
        assert!(matches!(make_cache_folder(&file), Err(CacheFolderError::NotMade(_))));
        assert!(matches!(check_cache_folder(&folder.join("none")), Err(CacheFolderError::Io(_))));
    }

    #[test]
    fn the_folder_of_another_user_is_no_cache() {
        let place = tempfile::tempdir().unwrap();
        // Root can give a folder away; whoever else runs this has a root whose folders are not theirs.
        let given = std::os::unix::fs::chown(place.path(), Some(1), None);
        let foreign = if given.is_ok() { place.path() } else { Path::new("/") };
        assert!(matches!(check_cache_folder(foreign), Err(CacheFolderError::Foreign)));
    }
}
