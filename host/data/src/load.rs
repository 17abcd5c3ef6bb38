//! From a dataset's configuration to a dataset.

use std::path::{Path, PathBuf};

use querist_core::config::DatasetConfig;
use querist_core::dataset::{Dataset, DatasetParts, Images, Normalisation};
use querist_protocol::Shown;

use crate::catalogue::{self, CifarFormat, Format, PublicSet};
use crate::error::DataError;
use crate::picture::resized;
use crate::pictures;
use crate::places::Pictures;
use crate::search::Search;
use crate::{cifar, digits, idx, order};

/// What every reader yields: training images first, `u8 [images, height, width, channels]`.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub shape: [usize; 3],
    pub bytes: Vec<u8>,
    pub labels: Vec<u32>,
    pub official_validation: usize,
    pub official_test: usize,
    pub class_names: Vec<String>,
    pub files: Vec<String>,
}

/// Reads the dataset that `config` names, from its path or from the cache that `search` knows.
///
/// With `size`, every image is scaled until its shorter side has that many pixels (triangle filter, widened where it is
/// made smaller) and the middle is cut out; without it, all images must be of one size. A value is within one of the
/// exact one, except in large JPEGs (more than 512 x 512 pixels), which are first reduced to a half, a quarter or an
/// eighth while they are decoded, as far as they stay as large as wanted. Images that have the size keep their pixels.
///
/// Pictures that were decoded once are kept in the cache that `search` knows, under a key of their contents and `size`.
///
/// # Errors
/// If the name is unknown (with the nearest one), files are missing (with where they were looked for and how to get
/// them), or a file is not what its format says (with file, position and what was expected).
pub fn load(config: &DatasetConfig, search: &Search) -> Result<Dataset, DataError> {
    let size = checked_size(config)?;
    if config.name == catalogue::FOLDER {
        let loaded = pictures::read(&folder_place(config)?, config, search.pictures())?;
        return finish(&config.name, loaded, None);
    }
    let set = catalogue::find(&config.name)?;
    let loaded = read_set(set, config, search, size)?;
    finish(set.name, loaded, set.normalisation())
}

fn read_set(set: &PublicSet, config: &DatasetConfig, search: &Search, size: Option<u32>) -> Result<Loaded, DataError> {
    let place = set.files.first().map(|_| set_place(set, config, search)).transpose()?;
    if config.layout.is_some() && !matches!(set.format, Format::Cifar(_)) {
        let message = "`dataset.layout` is for folders of pictures; remove it".to_owned();
        return Err(DataError::Config { dataset: set.name.to_owned(), message });
    }
    let mut loaded = match (&set.format, place) {
        (Format::Idx(format), Some(place)) => idx::read_set(set, format, &place)?,
        (Format::Cifar(format), Some(place)) => match cifar::Place::find(format, set, &place) {
            Some(binary) => cifar::read_set(set, format, &binary)?,
            None => return read_cifar_pictures(set, format, &place, config, search),
        },
        _ => digits::read(set)?,
    };
    if order::tells_classes(&loaded) {
        order::by_pixels(&mut loaded)?;
    }
    match size {
        Some(side) => resized(loaded, side),
        None => Ok(loaded),
    }
}

/// Where the pictures of a public set lie, if it is read as pictures.
pub(crate) fn place_of_pictures(
    set: &PublicSet,
    config: &DatasetConfig,
    search: &Search,
) -> Result<Option<PathBuf>, DataError> {
    let Format::Cifar(format) = &set.format else { return Ok(None) };
    let place = search.place_of(set, config)?;
    let is_other = cifar::Place::find(format, set, &place).is_some()
        || cifar::refuse_other_forms(format, set, &place).is_err()
        || !Pictures::can_be_at(&place);
    Ok((!is_other).then_some(place))
}

fn set_place(set: &PublicSet, config: &DatasetConfig, search: &Search) -> Result<PathBuf, DataError> {
    let place = search.place_of(set, config)?;
    if place.exists() { Ok(place) } else { Err(set.missing(&place, "files".to_owned())) }
}

pub(crate) fn folder_place(config: &DatasetConfig) -> Result<PathBuf, DataError> {
    let missing = |wanted: &str, places, advice: &str| DataError::Missing {
        dataset: config.name.clone(),
        wanted: wanted.to_owned(),
        places,
        advice: advice.to_owned(),
    };
    let Some(path) = config.path.as_ref().map(PathBuf::from) else {
        let message =
            "set `dataset.path` to a folder (or a tar, tar.gz or zip archive) with one folder of pictures a class"
                .to_owned();
        return Err(DataError::Config { dataset: config.name.clone(), message });
    };
    if path.exists() { Ok(path) } else { Err(missing("files", vec![path], "correct `dataset.path`")) }
}

/// CIFAR's pictures as PNG or JPEG; the classes must be CIFAR's.
fn read_cifar_pictures(
    set: &PublicSet,
    format: &CifarFormat,
    place: &Path,
    config: &DatasetConfig,
    search: &Search,
) -> Result<Loaded, DataError> {
    cifar::refuse_other_forms(format, set, place)?;
    if !Pictures::can_be_at(place) {
        let wanted = format!("`{}`, `{}` or folders of pictures", set.files[0].name, format.test);
        return Err(set.missing(place, wanted));
    }
    let mut loaded = pictures::read(place, config, search.pictures())?;
    let names = set.class_names();
    let found: Vec<String> = loaded.class_names.iter().map(|name| name.replace('_', " ")).collect();
    if found != names {
        let stranger = found.iter().find(|name| !names.contains(name));
        let absent = names.iter().find(|name| !found.contains(name));
        let difference = match (stranger, absent) {
            (Some(name), _) => format!("a class folder `{}`", Shown::name(name)),
            (None, Some(name)) => format!("no class folder `{name}`"),
            (None, None) => "class folders in another order".to_owned(),
        };
        let expected = format!("the {} classes of {}", set.classes, set.name);
        return Err(DataError::malformed(place.display(), "", difference, expected));
    }
    loaded.class_names = names;
    Ok(loaded)
}

fn checked_size(config: &DatasetConfig) -> Result<Option<u32>, DataError> {
    match config.size {
        Some(size) if !(4..=1024).contains(&size) => {
            let message = format!("`dataset.size` is {size}; expected 4 to 1024 pixels");
            Err(DataError::Config { dataset: config.name.clone(), message })
        }
        size => Ok(size),
    }
}

fn finish(name: &str, loaded: Loaded, normalisation: Option<Normalisation>) -> Result<Dataset, DataError> {
    let [height, width, channels] = loaded.shape;
    // Published statistics are of the images in their own colours.
    let normalisation = normalisation.filter(|n| n.mean.len() == channels);
    let images = Images { count: loaded.labels.len(), height, width, channels, bytes: loaded.bytes.into() };
    Ok(Dataset::new(DatasetParts {
        name: name.to_owned(),
        images,
        labels: loaded.labels,
        official_validation: loaded.official_validation,
        official_test: loaded.official_test,
        class_names: loaded.class_names,
        normalisation,
        files: loaded.files,
    })?)
}
