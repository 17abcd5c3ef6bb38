//! Where datasets are looked for.

use std::path::{Path, PathBuf};

use querist_core::config::DatasetConfig;

use crate::catalogue::PublicSet;
use crate::error::DataError;
use crate::picture_cache::PictureCache;

/// Knows the folder in which fetched datasets lie, one folder a set, and where decoded pictures are kept.
#[derive(Debug, Clone)]
pub struct Search {
    cache: Option<PathBuf>,
    pictures: Option<PictureCache>,
}

impl Search {
    /// The folder `$QUERIST_DATA`, else `querist/data` in the user's data folder (`$XDG_DATA_HOME` where it is set).
    ///
    /// Decoded pictures are kept in `pictures` in `$QUERIST_CACHE`, else in `querist` in the user's cache folder.
    pub fn from_env() -> Self {
        let named = std::env::var_os("QUERIST_DATA").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let cache = named.or_else(|| user_folder(dirs::data_dir()).map(|data| data.join("querist").join("data")));
        Self { cache, pictures: PictureCache::from_env() }
    }

    /// A folder of one's choice; decoded pictures are kept nowhere.
    pub fn at(cache: impl Into<PathBuf>) -> Self {
        Self { cache: Some(cache.into()), pictures: None }
    }

    /// The same with decoded pictures kept in `folder`, which need not be there.
    pub fn keeping_pictures_in(self, folder: impl Into<PathBuf>) -> Self {
        Self { pictures: Some(PictureCache::at(folder)), ..self }
    }

    pub(crate) fn pictures(&self) -> Option<&PictureCache> {
        self.pictures.as_ref()
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
