//! Embeddings in the place of pictures: files of rows, with files of labels.
//!
//! Either `dataset.embeddings` names the files of each part, or `dataset.path` is a folder as `querist embed` writes
//! it: `embeddings.npy`, `labels.npy` and `splits.npy`, or shards of them, and `classes.txt`. Samples are numbered by
//! their rows: the training rows first, then those to validate with and to test on.

use std::path::{Path, PathBuf};

use querist_core::array::{Array, Buffer, Values};
use querist_core::config::{DatasetConfig, EmbeddingsConfig};
use querist_core::dataset::Embeddings;
use querist_files::{Links, shown};
use querist_protocol::Shown;

use crate::arrays::{Kind, read_array};
use crate::catalogue::EMBEDDINGS;
use crate::error::DataError;
use crate::load::Loaded;
use crate::memory::reserve;
use crate::shards::files_of;

/// Bytes of a list of class names at most, and names in it.
const MOST_BYTES: u64 = 64 << 20;
const MOST_CLASSES: usize = 1_000_000;
/// File of class names in a folder that `querist embed` wrote.
pub const CLASSES: &str = "classes.txt";
/// What `splits.npy` calls training, validation and test rows.
pub const SPLITS: [u32; 3] = [0, 1, 2];

/// Reads what the configuration names.
pub(crate) fn read(config: &DatasetConfig) -> Result<(Loaded, Embeddings), DataError> {
    check_keys(config)?;
    let root = config.path.as_ref().map(PathBuf::from);
    match (&config.embeddings, root) {
        (Some(files), root) => of_parts(files, root.as_deref()),
        (None, Some(root)) => of_folder(&root),
        (None, None) => refuse(
            "set `dataset.path` to a folder that `querist embed` wrote, or `dataset.embeddings` to files of rows and \
             labels",
        ),
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, DataError> {
    Err(DataError::Config { dataset: EMBEDDINGS.to_owned(), message: message.into() })
}

/// Refuses keys that are for pictures: they would be left out in silence.
fn check_keys(config: &DatasetConfig) -> Result<(), DataError> {
    let others = [(config.columns.is_some(), "columns"), (config.order.is_some(), "order")];
    let other = others.into_iter().find(|(is_there, _)| *is_there).map(|(_, key)| key);
    match key_of_pictures(config).or(other) {
        None => Ok(()),
        Some(key) => refuse(format!(
            "`dataset.{key}` is for pictures; embeddings are taken as they are, by their rows; remove it"
        )),
    }
}

/// A key that is for pictures alone, where one is set.
pub(crate) fn key_of_pictures(config: &DatasetConfig) -> Option<&'static str> {
    let plain = DatasetConfig::named(EMBEDDINGS);
    let strangers = [
        (config.layout.is_some(), "layout"),
        (config.list.is_some(), "list"),
        (config.extra, "extra"),
        (config.size.is_some(), "size"),
        (config.resize.is_some(), "resize"),
        (config.fit != plain.fit, "fit"),
        (config.filter != plain.filter, "filter"),
        (config.upright != plain.upright, "upright"),
        (config.normalise.is_some(), "normalise"),
        (config.statistics.is_some(), "statistics"),
    ];
    strangers.into_iter().find(|(is_there, _)| *is_there).map(|(_, key)| key)
}

/// The rows of one part, as they are read.
#[derive(Default)]
struct Rows {
    /// Arrays of rows, each with its file.
    shards: Vec<(PathBuf, Array)>,
    width: usize,
    count: usize,
}

impl Rows {
    /// Adds the rows of some files, which are as wide as those before.
    fn add(&mut self, files: &[PathBuf], name: &str) -> Result<usize, DataError> {
        let before = self.count;
        for file in files {
            let array = read_array(file, Some(name), Kind::F32)?;
            let &[rows, width] = array.shape() else {
                let found = format!("shape {:?}", array.shape());
                return Err(DataError::malformed(file.display(), "", found, "embeddings, `[rows, width]`"));
            };
            if let Some((first, _)) = self.shards.first()
                && width != self.width
            {
                let expected = format!("{} as in `{}`", self.width, shown(first));
                return Err(DataError::malformed(file.display(), "", format!("rows of {width} values"), expected));
            }
            check_finite(file, &array, width)?;
            (self.width, self.count) = (width, self.count + rows);
            self.shards.push((file.clone(), array));
        }
        Ok(self.count - before)
    }

    /// All rows behind one another.
    fn into_values(self) -> Result<Buffer<f32>, DataError> {
        let floats = |array: &Array| match array.values() {
            Values::F32(values) => values.clone(),
            _ => Vec::new().into(),
        };
        if let [(_, only)] = &self.shards[..] {
            return Ok(floats(only));
        }
        let mut values = reserve((self.count * self.width) as u64, "the embeddings")?;
        self.shards.iter().for_each(|(_, shard)| values.extend_from_slice(&floats(shard)));
        Ok(values.into())
    }
}

fn check_finite(file: &Path, array: &Array, width: usize) -> Result<(), DataError> {
    let Values::F32(values) = array.values() else { return Ok(()) };
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(DataError::malformed(
            file.display(),
            format_args!(", row {}", at / width.max(1)),
            format!("the value {} in column {}", values[at], at % width.max(1)),
            "numbers that are finite",
        )),
    }
}

/// Numbers of some files behind one another, one a row; beside them those files.
fn numbers(files: &[PathBuf], name: &str) -> Result<Vec<u32>, DataError> {
    let mut all = Vec::new();
    for file in files {
        let array = read_array(file, Some(name), Kind::U32)?;
        match (array.values(), array.shape()) {
            (Values::U32(numbers), [_]) => all.extend_from_slice(numbers),
            (_, shape) => {
                let found = format!("shape {shape:?}");
                return Err(DataError::malformed(file.display(), "", found, format!("{name} in one dimension")));
            }
        }
    }
    Ok(all)
}

fn check_counts(rows: usize, files: &[PathBuf], numbers: usize, of: &[PathBuf], what: &str) -> Result<(), DataError> {
    if rows == numbers {
        return Ok(());
    }
    let (files, of) = (named(files), named(of));
    Err(DataError::malformed(of, "", format!("{numbers} {what}"), format!("{rows}, one for each row of {files}")))
}

fn named(files: &[PathBuf]) -> Shown {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Shown::sentence(&names.join(", "))
}

/// What the keys of `dataset.embeddings` name.
fn of_parts(config: &EmbeddingsConfig, root: Option<&Path>) -> Result<(Loaded, Embeddings), DataError> {
    let (mut rows, mut labels, mut counts) = (Rows::default(), Vec::new(), [0; 3]);
    let parts = [
        ("train", Some(&config.train), Some(&config.train_labels)),
        ("validation", config.validation.as_ref(), config.validation_labels.as_ref()),
        ("test", config.test.as_ref(), config.test_labels.as_ref()),
    ];
    for ((part, files, of), count) in parts.into_iter().zip(&mut counts) {
        let (files, of) = match (files, of) {
            (None, None) => continue,
            (Some(files), Some(of)) => (files, of),
            (files, _) => {
                let missing = if files.is_some() { "_labels" } else { "" };
                return refuse(format!("set `dataset.embeddings.{part}{missing}`, too: rows and labels go together"));
            }
        };
        let key = format!("dataset.embeddings.{part}");
        let files = files_of(files.all(), root, &key)?;
        let of = files_of(of.all(), root, &format!("{key}_labels"))?;
        *count = rows.add(&files, "embeddings")?;
        let found = numbers(&of, "labels")?;
        check_counts(*count, &files, found.len(), &of, "labels")?;
        labels.extend(found);
    }
    let names = config
        .classes
        .as_ref()
        .map(|classes| files_of(std::slice::from_ref(classes), root, "dataset.embeddings.classes"));
    let names = names.transpose()?.map(|files| class_names(&files[0])).transpose()?;
    let [_, validation, test] = counts;
    finish(rows, labels, (validation, test), names)
}

/// A folder that `querist embed` wrote.
fn of_folder(root: &Path) -> Result<(Loaded, Embeddings), DataError> {
    let files = |name: &str| {
        let one = root.join(format!("{name}.npy"));
        let pattern = if one.exists() { format!("{name}.npy") } else { format!("{name}-*-of-*.npy") };
        files_of(&[pattern], Some(root), "dataset.path")
    };
    let (shards, of, split) = (files("embeddings")?, files("labels")?, files("splits")?);
    let mut rows = Rows::default();
    let count = rows.add(&shards, "embeddings")?;
    let labels = numbers(&of, "labels")?;
    check_counts(count, &shards, labels.len(), &of, "labels")?;
    let splits = numbers(&split, "splits")?;
    check_counts(count, &shards, splits.len(), &split, "splits")?;
    if !splits.is_sorted() || splits.last().is_some_and(|last| !SPLITS.contains(last)) {
        let expected = "0 for training rows, then 1 for validation, then 2 for test rows";
        return Err(DataError::malformed(named(&split), "", "splits in another order", expected));
    }
    let of_split = |part: u32| splits.iter().filter(|&&split| split == part).count();
    let names = root.join(CLASSES);
    let names = names.exists().then(|| class_names(&names)).transpose()?;
    finish(rows, labels, (of_split(SPLITS[1]), of_split(SPLITS[2])), names)
}

/// Names of classes, one a line.
fn class_names(file: &Path) -> Result<Vec<String>, DataError> {
    let text = querist_files::read_text(file, Links::Follow, MOST_BYTES)?;
    let names: Vec<String> = text.lines().map(str::to_owned).collect();
    if names.len() > MOST_CLASSES || names.iter().any(String::is_empty) {
        let found = format!("{} lines, of which some may be empty", names.len());
        return Err(DataError::malformed(file.display(), "", found, "a name of a class in each line"));
    }
    Ok(names)
}

fn finish(
    rows: Rows,
    labels: Vec<u32>,
    (official_validation, official_test): (usize, usize),
    names: Option<Vec<String>>,
) -> Result<(Loaded, Embeddings), DataError> {
    let most = labels.iter().max().map_or(0, |&most| most as usize + 1);
    let class_names = match names {
        Some(names) => names,
        None if most > MOST_CLASSES => {
            return refuse(format!("a label is {}; expected less than {MOST_CLASSES}, labels count classes", most - 1));
        }
        None => (0..most).map(|class| class.to_string()).collect(),
    };
    let width = rows.width;
    let embeddings = Embeddings { values: rows.into_values()?, width };
    let (bytes, files) = (Vec::new().into(), Vec::new());
    Ok((Loaded { shape: [0; 3], bytes, labels, official_validation, official_test, class_names, files }, embeddings))
}
