//! Where datasets are looked for.

use std::path::{Path, PathBuf};

use querist_core::config::DatasetConfig;

use crate::catalogue::PublicSet;
use crate::error::DataError;

/// Knows the folder in which fetched datasets lie, one folder a set.
#[derive(Debug, Clone)]
pub struct Search {
    cache: Option<PathBuf>,
}

impl Search {
    /// The folder `$QUERIST_DATA`, else `querist/data` in the user's data folder (`$XDG_DATA_HOME` where it is set).
    pub fn from_env() -> Self {
        let named = std::env::var_os("QUERIST_DATA").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        Self { cache: named.or_else(|| user_folder(dirs::data_dir()).map(|data| data.join("querist").join("data"))) }
    }

    /// A folder of one's choice.
    pub fn at(cache: impl Into<PathBuf>) -> Self {
        Self { cache: Some(cache.into()) }
    }

    /// The folder, where there is one.
    pub fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    /// The folder of one public set.
    ///
    /// # Errors
    /// If neither `$QUERIST_DATA` nor a home folder is known.
    pub fn folder_of(&self, set: &PublicSet) -> Result<PathBuf, DataError> {
        let message = || "the system names no data folder; set QUERIST_DATA to the one to use".to_owned();
        let cache =
            self.cache.as_ref().ok_or_else(|| DataError::Config { dataset: set.name.into(), message: message() })?;
        Ok(cache.join(set.folder))
    }

    /// Where `config` says the dataset lies: its path, else its folder in the cache.
    pub(crate) fn place_of(&self, set: &PublicSet, config: &DatasetConfig) -> Result<PathBuf, DataError> {
        match &config.path {
            Some(path) => Ok(PathBuf::from(path)),
            None => self.folder_of(set),
        }
    }
}

/// A folder of the user, unless it would lie in the working folder because a variable is empty or relative.
fn user_folder(folder: Option<PathBuf>) -> Option<PathBuf> {
    folder.filter(|folder| folder.is_absolute())
}
