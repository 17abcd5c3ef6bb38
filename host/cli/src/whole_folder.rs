//! A folder of ours that is there whole or not at all.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use querist_files::{shown, sync_folder};

use crate::stored_run::refuse_linked;

/// A folder that is written beside its place, made durable, and renamed.
pub struct WholeFolder {
    path: PathBuf,
}

impl WholeFolder {
    /// The folder at this place.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes it anew; it is there once this returns.
    pub fn write(&self, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let temporary = self.path.with_extension("tmp");
        remove(&temporary)?;
        fs::create_dir(&temporary)?;
        write(&temporary)?;
        sync_folder(&temporary)?;
        self.remove()?;
        fs::rename(&temporary, &self.path)?;
        Ok(sync_folder(self.path.parent().unwrap_or(Path::new(".")))?)
    }

    /// Removes it: at once under its name, so that nobody finds half of it.
    pub fn remove(&self) -> Result<()> {
        let old = self.path.with_extension("old");
        remove(&old)?;
        match fs::rename(&self.path, &old) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", shown(&self.path))),
            Ok(()) => remove(&old),
        }
    }

    /// Removes what an interrupted process left of it, and says whether it is there.
    pub fn tidied(&self) -> Result<bool> {
        for left in ["tmp", "old"] {
            remove(&self.path.with_extension(left))?;
        }
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            _ => refuse_linked(&self.path).map(|()| true),
        }
    }
}

/// Removes a folder of ours; nothing there is fine.
fn remove(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| shown(path).into_string()),
        Ok(found) if found.is_dir() => {
            fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", shown(path)))
        }
        Ok(_) => fs::remove_file(path).with_context(|| format!("cannot remove {}", shown(path))),
    }
}
