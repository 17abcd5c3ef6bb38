//! Whether datasets are there and whole.

use std::path::{Path, PathBuf};

use querist_core::Dataset;
use querist_core::config::{DatasetConfig, DatasetLayout};
use querist_core::digest::sha256_of;
use querist_files::Links;

use crate::catalogue::{self, Arrangement, EMBEDDINGS, FOLDER, Format, IDS, OWN, PICTURES, PublicSet, RemoteFile};
use crate::embeddings;
use crate::error::DataError;
use crate::labelled::ids;
use crate::load::{embedded, finish, folder_place, listed, load, load_unlabelled, place_of_pictures, read};
use crate::search::Search;
use crate::source::{Source, is_there};
use crate::summary::Summary;
use crate::survey::Understood;

/// A public set and whether it is there.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The set.
    pub set: &'static PublicSet,
    /// Its folder in the cache; `None` for built-in sets and where no cache folder is known.
    pub folder: Option<PathBuf>,
    /// Whether every file of it is there; contents are not read.
    pub present: bool,
}

/// Every public set, with whether its files lie in the cache.
pub fn list(search: &Search) -> Vec<Listing> {
    let listing = |set: &'static PublicSet| {
        let folder = search.folder_of(set).ok().filter(|_| !set.is_built_in());
        let has = |file: &RemoteFile| folder.as_ref().is_some_and(|folder| folder.join(file.name).is_file());
        let present = match set.files {
            // What is fetched by hand has no one form; it is there where its folder is.
            [] => set.is_built_in() || folder.as_ref().is_some_and(|folder| folder.is_dir()),
            files => files.iter().all(has),
        };
        Listing { present, folder, set }
    };
    catalogue::all().iter().map(listing).collect()
}

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// It is not there.
    Missing,
    /// It is the published file.
    Verified,
    /// It decompresses to what the published file does, but was compressed by someone else.
    SameContent,
    /// It is something else.
    Differs {
        /// SHA-256 of what is there, in hex.
        sha256: String,
    },
}

/// One file of a public set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// What is known of it.
    pub state: FileState,
}

/// What a check found.
#[derive(Debug)]
pub struct CheckReport {
    /// The published files; empty for built-in sets and pictures.
    pub files: Vec<FileReport>,
    /// What was understood of folders of pictures; nothing where there are none or they cannot be read.
    pub pictures: Option<Understood>,
    /// What was understood of everything else, where it could be read.
    pub summary: Option<Summary>,
    /// Digest of the dataset, or why it cannot be read or is not of the published size.
    pub dataset: Result<String, DataError>,
}

impl CheckReport {
    /// Whether the dataset can be used as what it is called.
    ///
    /// Files that are not the published ones do not hinder that: unpacked copies and pictures have none.
    pub fn is_good(&self) -> bool {
        self.dataset.is_ok() && !self.files.iter().any(|file| matches!(file.state, FileState::Differs { .. }))
    }
}

/// Verifies checksums, says what folders of pictures hold, reads everything, and compares counts with the published
/// ones.
///
/// # Errors
/// If the name is unknown or a file cannot be read at all; what is wrong with the dataset is in the report.
pub fn check(config: &DatasetConfig, search: &Search) -> Result<CheckReport, DataError> {
    if config.name == FOLDER {
        let digest = || load(config, search).map(|set| set.digest().to_owned());
        return Ok(of_pictures(folder_place(config), config, digest));
    }
    if config.name == EMBEDDINGS {
        return Ok(of_embeddings(config));
    }
    if config.name == IDS {
        return Ok(of_ids(config));
    }
    if config.name == PICTURES {
        let dataset = load_unlabelled(config, search).map(|set| set.digest().to_owned());
        return Ok(CheckReport { files: Vec::new(), pictures: None, summary: None, dataset });
    }
    if OWN.contains(&config.name.as_str()) {
        return Ok(of_others(Vec::new(), config, search, None));
    }
    let set = catalogue::find(&config.name)?;
    let mut files = Vec::new();
    if !set.files.is_empty() {
        let place = search.place_of(set, config)?;
        for file in set.files {
            let path = if is_there(&place) { place.clone() } else { place.join(file.name) };
            files.push(FileReport { state: state_of(file, &path)?, path });
        }
    }
    let counts = || check_counts(set, config, &load(config, search)?);
    if let Some(place) = place_of_pictures(set, config, search)? {
        return Ok(CheckReport { files, ..of_pictures(Ok(place), config, counts) });
    }
    if set.format == Format::Pictures(Arrangement::TrainAndValidation) {
        let layout = config.layout.or(Some(DatasetLayout::ValidationIsTest));
        let config = DatasetConfig { layout, ..config.clone() };
        return Ok(CheckReport { files, ..of_pictures(search.place_of(set, &config), &config, counts) });
    }
    Ok(of_others(files, config, search, Some(set)))
}

/// Reads everything, and says what it was.
fn of_others(files: Vec<FileReport>, config: &DatasetConfig, search: &Search, set: Option<&PublicSet>) -> CheckReport {
    let (mut summary, pictures) = (None, None);
    let dataset = read(config, search).and_then(|(loaded, published)| {
        // The known sets with checksums are what they are called; of everything else it is said what was found.
        let is_known = set.is_some_and(|set| set.is_built_in() || !set.files.is_empty());
        summary = (!is_known).then(|| Summary::of(&loaded));
        let dataset = finish(config, loaded, published)?;
        set.map_or_else(|| Ok(dataset.digest().to_owned()), |set| check_counts(set, config, &dataset))
    });
    CheckReport { files, pictures, summary, dataset }
}

/// Reads arrays in the place of pictures, and says what they were.
fn of_embeddings(config: &DatasetConfig) -> CheckReport {
    let mut summary = None;
    let dataset = embeddings::read(config).and_then(|(loaded, embeddings)| {
        summary = Some(Summary { embedding: Some(embeddings.width), ..Summary::of(&loaded) });
        embedded(config, (loaded, embeddings)).map(|dataset| dataset.digest().to_owned())
    });
    CheckReport { files: Vec::new(), pictures: None, summary, dataset }
}

fn of_ids(config: &DatasetConfig) -> CheckReport {
    let mut summary = None;
    let dataset = ids::read(config).and_then(|loaded| {
        summary = Some(Summary::of(&loaded));
        listed(config, loaded).map(|dataset| dataset.digest().to_owned())
    });
    CheckReport { files: Vec::new(), pictures: None, summary, dataset }
}

/// Looks at the names and headers of pictures first: what is wrong with them is told beside what was understood.
fn of_pictures(
    place: Result<PathBuf, DataError>,
    config: &DatasetConfig,
    digest: impl FnOnce() -> Result<String, DataError>,
) -> CheckReport {
    let understood = place.and_then(|place| Understood::of(&place, config.layout));
    let (pictures, dataset) = match understood {
        Ok(pictures) => (Some(pictures), digest()),
        Err(error) => (None, Err(error)),
    };
    CheckReport { files: Vec::new(), pictures, summary: None, dataset }
}

fn check_counts(set: &PublicSet, config: &DatasetConfig, dataset: &Dataset) -> Result<String, DataError> {
    // Validation pictures were training pictures when the set was published.
    let (train, test) = (dataset.len() - dataset.official_test(), dataset.official_test());
    let published = set.train + if config.extra { set.extra } else { 0 };
    if (train, test) != (published, set.test) {
        let message = format!("{train} training and {test} test images; {published} and {} are published", set.test);
        return Err(DataError::Config { dataset: set.name.to_owned(), message });
    }
    Ok(dataset.digest().to_owned())
}

fn state_of(file: &RemoteFile, path: &Path) -> Result<FileState, DataError> {
    if !is_there(path) {
        return Ok(FileState::Missing);
    }
    let sha256 = file_sha256(path)?;
    if sha256 == file.sha256 {
        return Ok(FileState::Verified);
    }
    if let Some(content) = file.content_sha256 {
        // A file that does not even decompress differs; loading it says how.
        let source = Source::open(path)?;
        if sha256_of(source.into_reader()).is_ok_and(|found| found == content) {
            return Ok(FileState::SameContent);
        }
    }
    Ok(FileState::Differs { sha256 })
}

/// SHA-256 of a file, in hex.
pub(crate) fn file_sha256(path: &Path) -> Result<String, DataError> {
    sha256_of(querist_files::open(path, Links::Follow)?).map_err(DataError::io(path))
}
