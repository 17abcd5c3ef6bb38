//! From a dataset's configuration to a dataset.

use std::path::{Path, PathBuf};

use querist_core::array::Buffer;
use querist_core::config::{DatasetConfig, DatasetLayout, Normalise, SampleOrder};
use querist_core::dataset::{Dataset, DatasetParts, Embeddings, Images, Normalisation};
use querist_protocol::Shown;

use crate::catalogue::{self, CifarFormat, Format, PublicSet};
use crate::error::DataError;
use crate::labelled::unknown::{self, Unlabelled};
use crate::labelled::{columns, ids, list, public, shards, table};
use crate::picture::{Wanted, resized};
use crate::pictures;
use crate::places::Pictures;
use crate::search::Search;
use crate::{cifar, digits, embeddings, idx, mini_imagenet, order, svhn};

/// What every reader yields: training images first, `u8 [images, height, width, channels]`.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub shape: [usize; 3],
    pub bytes: Buffer<u8>,
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
    if config.name == catalogue::EMBEDDINGS {
        return embedded(config, embeddings::read(config)?);
    }
    if config.name == catalogue::IDS {
        return listed(config, ids::read(config)?);
    }
    let (loaded, published) = read(config, search)?;
    finish(config, loaded, published)
}

/// Reads pictures whose labels are not known (`pictures`), for a run that people label.
///
/// # Errors
/// As for [`load`]; also if `config` names another form of data, classes that cannot be, or labels of pictures that are
/// not there.
pub fn load_unlabelled(config: &DatasetConfig, search: &Search) -> Result<Dataset, DataError> {
    if config.name != catalogue::PICTURES {
        let message = "its labels are known; people label `dataset.name = \"pictures\"`".to_owned();
        return Err(DataError::Config { dataset: config.name.clone(), message });
    }
    check_keys(config)?;
    let Unlabelled { mut loaded, known } = unknown::read(config, search.pictures())?;
    let normalisation = normalisation(config, loaded.shape[2], None)?;
    let [height, width, channels] = loaded.shape;
    let images = Images { count: loaded.labels.len(), height, width, channels, bytes: loaded.bytes.clone() };
    loaded.labels.drain(..images.count - loaded.official_test);
    Ok(Dataset::unlabelled(parts(config, loaded, images, normalisation), known)?)
}

/// A dataset of embeddings.
pub(crate) fn embedded(
    config: &DatasetConfig,
    (loaded, embeddings): (Loaded, Embeddings),
) -> Result<Dataset, DataError> {
    let images = Images::none(loaded.labels.len());
    Ok(Dataset::embedded(parts(config, loaded, images, None), embeddings)?)
}

/// A dataset of ids.
pub(crate) fn listed(config: &DatasetConfig, loaded: Loaded) -> Result<Dataset, DataError> {
    let images = Images::none(loaded.labels.len());
    Ok(Dataset::listed(parts(config, loaded, images, None))?)
}

/// Everything but the checks of a dataset, and published statistics.
pub(crate) fn read(config: &DatasetConfig, search: &Search) -> Result<(Loaded, Option<Normalisation>), DataError> {
    let wanted = Wanted::of(config)?;
    check_keys(config)?;
    if config.name == catalogue::PICTURES {
        let message = "the labels of its pictures are not known, which is for `querist run` with `oracle = \"people\"`";
        return Err(DataError::Config { dataset: config.name.clone(), message: message.to_owned() });
    }
    if catalogue::OWN.contains(&config.name.as_str()) {
        let (place, cache) = (folder_place(config)?, search.pictures());
        let loaded = match config.name.as_str() {
            catalogue::LIST => list::read(&place, config, None, cache)?,
            catalogue::MANIFEST => table::read(&place, config, cache)?,
            catalogue::PARQUET => columns::read(&place, config, cache)?,
            catalogue::WEBDATASET => shards::read(&place, config, cache)?,
            _ => pictures::read(&place, config, cache)?,
        };
        return Ok((loaded, None));
    }
    let set = catalogue::find(&config.name)?;
    Ok((read_set(set, config, search, wanted)?, set.normalisation()))
}

/// Refuses keys that are for another form of data: they would be left out in silence.
fn check_keys(config: &DatasetConfig) -> Result<(), DataError> {
    let is = |names: &[&str]| names.contains(&config.name.as_str());
    let layouts = [Some(DatasetLayout::ValidationIsTest), None];
    let strangers = [
        (config.list.is_some() && !is(&["list", "imagenet-lt", "caltech256"]), "list", "lists"),
        (
            config.columns.is_some() && !is(&["manifest", "parquet", "webdataset", "ids", "pictures"]),
            "columns",
            "tables",
        ),
        (config.embeddings.is_some(), "embeddings", "`embeddings`"),
        (config.classes.is_some() && !is(&["pictures"]), "classes", "`pictures`"),
        (config.labels.is_some() && !is(&["pictures"]), "labels", "`pictures`"),
        (config.test_path.is_some() && !is(&["pictures"]), "test_path", "`pictures`"),
        (is(&["pictures"]) && config.layout.is_some(), "layout", "folders"),
        (config.extra && !is(&["svhn"]), "extra", "`svhn`"),
        (is(&["list", "manifest", "parquet", "webdataset"]) && !layouts.contains(&config.layout), "layout", "folders"),
    ];
    match strangers.into_iter().find(|(is_there, ..)| *is_there) {
        None => Ok(()),
        Some((_, key, form)) => {
            let message = format!("`dataset.{key}` is for {form}; remove it");
            Err(DataError::Config { dataset: config.name.clone(), message })
        }
    }
}

fn read_set(set: &PublicSet, config: &DatasetConfig, search: &Search, wanted: Wanted) -> Result<Loaded, DataError> {
    let place = if set.is_built_in() { None } else { Some(set_place(set, config, search)?) };
    if config.layout.is_some() && !matches!(set.format, Format::Cifar(_) | Format::Pictures(_)) {
        let message = "`dataset.layout` is for folders of pictures; remove it".to_owned();
        return Err(DataError::Config { dataset: set.name.to_owned(), message });
    }
    let mut loaded = match (&set.format, place) {
        (Format::Idx(format), Some(place)) => idx::read_set(set, format, &place)?,
        (Format::Cifar(format), Some(place)) => match cifar::Place::find(format, set, &place) {
            Some(found) => cifar::read_set(set, format, &found)?,
            None => return read_cifar_pictures(set, format, &place, config, search),
        },
        (Format::Svhn, Some(place)) => svhn::read_set(set, &place, config.extra)?,
        (Format::MiniImagenet, Some(place)) => mini_imagenet::read_set(set, &place)?,
        (&Format::Pictures(arrangement), Some(place)) => {
            return public::read_set(set, arrangement, &place, config, search.pictures());
        }
        _ => digits::read(set)?,
    };
    let by_pixels = match config.order {
        Some(order) => order == SampleOrder::Content,
        None => set.is_ordered() || order::tells_classes(&loaded),
    };
    if by_pixels {
        order::by_pixels(&mut loaded)?;
    }
    match wanted.square {
        Some(square) => resized(loaded, square),
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
        let message = match config.name.as_str() {
            catalogue::LIST => "set `dataset.path` to the folder of the pictures that the lists name",
            catalogue::MANIFEST => "set `dataset.path` to the table, which lies beside its pictures",
            catalogue::IDS => "set `dataset.path` to a table (CSV) with the columns `id` and `label`",
            catalogue::PICTURES => "set `dataset.path` to a folder of pictures, or to a table (CSV) of their paths",
            catalogue::PARQUET => "set `dataset.path` to a Parquet file or to a folder of them",
            catalogue::WEBDATASET => "set `dataset.path` to a tar archive or to a folder of them",
            _ => "set `dataset.path` to a folder (or a tar, tar.gz or zip archive) with one folder of pictures a class",
        }
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

/// Checks what was read.
pub(crate) fn finish(
    config: &DatasetConfig,
    loaded: Loaded,
    published: Option<Normalisation>,
) -> Result<Dataset, DataError> {
    let [height, width, channels] = loaded.shape;
    let normalisation = normalisation(config, channels, published)?;
    let images = Images { count: loaded.labels.len(), height, width, channels, bytes: loaded.bytes.clone() };
    Ok(Dataset::new(parts(config, loaded, images, normalisation))?)
}

fn parts(config: &DatasetConfig, loaded: Loaded, images: Images, normalisation: Option<Normalisation>) -> DatasetParts {
    DatasetParts {
        name: config.name.clone(),
        images,
        labels: loaded.labels,
        official_validation: loaded.official_validation,
        official_test: loaded.official_test,
        class_names: loaded.class_names,
        normalisation,
        files: loaded.files,
    }
}

/// Mean and standard deviation as the configuration asks for them; nothing where they are to be measured.
fn normalisation(
    config: &DatasetConfig,
    channels: usize,
    published: Option<Normalisation>,
) -> Result<Option<Normalisation>, DataError> {
    let error = |message: String| Err(DataError::Config { dataset: config.name.clone(), message });
    let (found, key) = match (config.normalise, &config.statistics) {
        (Some(_), Some(_)) => return error("`dataset.normalise` and `dataset.statistics` are two; remove one".into()),
        (None, Some(numbers)) => {
            let floats = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
            (
                Normalisation { mean: floats(&numbers.mean), std: floats(&numbers.std) },
                "`dataset.statistics`".to_owned(),
            )
        }
        (Some(Normalise::Measured), None) => return Ok(None),
        // Published statistics are of the images in their own colours.
        (None, None) => return Ok(published.filter(|found| found.mean.len() == channels)),
        (Some(Normalise::Published), None) => match published {
            Some(published) => (published, "`dataset.normalise = \"published\"`".to_owned()),
            None => return error("no statistics are published for it; set `dataset.normalise` to another".into()),
        },
        (Some(name), None) => match name.numbers(channels) {
            Some(numbers) => (numbers, format!("`dataset.normalise = \"{}\"`", name.name())),
            None => return Ok(None),
        },
    };
    let is_sound =
        found.mean.iter().all(|mean| mean.is_finite()) && found.std.iter().all(|&std| std > 0.0 && std < 1e6);
    match (found.mean.len(), found.std.len()) {
        _ if !is_sound => error(format!("{key} has a value that is no number or a standard deviation of 0 or less")),
        (mean, std) if (mean, std) == (channels, channels) => Ok(Some(found)),
        (mean, std) => {
            error(format!("{key} has {mean} means and {std} deviations; the images have {channels} channels"))
        }
    }
}
