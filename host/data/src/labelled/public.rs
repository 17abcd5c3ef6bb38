//! Public sets of pictures, each as it is published.

use std::path::{Path, PathBuf};

use querist_core::config::{ColumnsConfig, DatasetConfig, DatasetLayout, ListConfig};
use querist_files::Links;

use super::{Named, list, table};
use crate::catalogue::{Arrangement, PublicSet};
use crate::error::DataError;
use crate::layout::Part;
use crate::load::Loaded;
use crate::picture_cache::PictureCache;
use crate::pictures;
use crate::samples::How;
use crate::source::is_there;
use crate::walk::{is_picture, walk};

/// Longest table of classes.
const MOST_BYTES: u64 = 64 << 20;

/// Reads a set as its files are arranged.
pub(crate) fn read_set(
    set: &PublicSet,
    arrangement: Arrangement,
    place: &Path,
    config: &DatasetConfig,
    cache: Option<&PictureCache>,
) -> Result<Loaded, DataError> {
    let lists =
        |train: &str, test: &str| ListConfig { train: train.to_owned(), validation: None, test: Some(test.to_owned()) };
    match arrangement {
        Arrangement::TrainAndValidation => {
            let layout = config.layout.or(Some(DatasetLayout::ValidationIsTest));
            pictures::read(place, &DatasetConfig { layout, ..config.clone() }, cache)
        }
        Arrangement::TrainListAndValidation => {
            list::read(place, config, Some(lists("ImageNet_LT_train.txt", "val")), cache)
        }
        Arrangement::TwoLists => list::read(place, config, None, cache),
        Arrangement::TinyImagenet => {
            let named = tiny_imagenet(set, &inner(place, "tiny-imagenet-200"))?;
            super::read(&inner(place, "tiny-imagenet-200"), named, None, How::of(config, place, false, cache)?)
        }
        Arrangement::Gtsrb => {
            let root = inner(place, "GTSRB");
            let named = gtsrb(set, &root)?;
            super::read(&root, named, None, How::of(config, place, false, cache)?)
        }
    }
}

/// The folder that an archive unpacks to, where it lies in `place`.
fn inner(place: &Path, folder: &str) -> PathBuf {
    let inner = place.join(folder);
    if inner.is_dir() { inner } else { place.to_owned() }
}

/// Every picture below a folder, with the names that lead to it from `root`.
fn pictures_below(root: &Path, folder: &str) -> Result<Vec<Vec<String>>, DataError> {
    let mut found = Vec::new();
    for entry in walk(&root.join(folder), &mut |_| ()) {
        let entry = entry?;
        if !entry.is_folder && is_picture_or_ppm(&entry.names) {
            found.push(folder.split('/').map(str::to_owned).chain(entry.names).collect());
        }
    }
    found.sort();
    Ok(found)
}

/// GTSRB is published as PPM.
fn is_picture_or_ppm(names: &[String]) -> bool {
    is_picture(names) || names.last().is_some_and(|name| name.to_lowercase().ends_with(".ppm"))
}

/// `train/CLASS/images/` and `val/images/`, whose classes stand in `val/val_annotations.txt`. The test pictures have no
/// published labels.
fn tiny_imagenet(set: &PublicSet, root: &Path) -> Result<Vec<Named>, DataError> {
    let table = root.join("val/val_annotations.txt");
    if !is_there(&table) {
        return Err(set.missing(root, "`val/val_annotations.txt`".to_owned()));
    }
    let mut named = Vec::new();
    for names in pictures_below(root, "train")? {
        let label = names.get(1).cloned().unwrap_or_default();
        named.push(Named { part: Part::Train, label, path: names.join("/"), at: root.display().to_string() });
    }
    let text = querist_files::read_text(&table, Links::Follow, MOST_BYTES)?;
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = format!("{}, line {}", table.display(), number + 1);
        let mut cells = line.split('\t');
        let (Some(file), Some(label)) = (cells.next(), cells.next()) else {
            return Err(DataError::malformed(at, "", "a line without a tab", "a file, a class, and a box"));
        };
        let path = format!("val/images/{}", file.trim());
        named.push(Named { part: Part::Test, label: label.trim().to_owned(), path, at });
    }
    Ok(named)
}

/// The two forms in which GTSRB goes round: the official archives, and folders with tables.
fn gtsrb(set: &PublicSet, root: &Path) -> Result<Vec<Named>, DataError> {
    let official = ["GT-final_test.csv", "Final_Test/Images/GT-final_test.csv"].map(|table| root.join(table));
    let (train, test) = match official.into_iter().find(|table| is_there(table)) {
        Some(table) => ("Final_Training/Images", Some((table, "Final_Test/Images/"))),
        None => ("Train", Some((root.join("Test.csv"), ""))),
    };
    let Some((table, folder)) = test.filter(|(table, _)| is_there(table)) else {
        return Err(set.missing(root, "`GT-final_test.csv` or `Test.csv`".to_owned()));
    };
    let mut named = Vec::new();
    for names in pictures_below(root, train)? {
        // `00007` is class 7.
        let class = names.iter().rev().nth(1).and_then(|name| name.parse::<u32>().ok());
        let at = root.display().to_string();
        let Some(class) = class else {
            let found = format!("`{}` in no folder of a class", names.join("/"));
            return Err(DataError::malformed(at, "", found, "folders 0 to 42, or 00000 to 00042"));
        };
        named.push(Named { part: Part::Train, label: class.to_string(), path: names.join("/"), at });
    }
    for mut one in table::entries(&table, &ColumnsConfig::default(), Part::Test)? {
        one.path = format!("{folder}{}", one.path);
        named.push(one);
    }
    Ok(named)
}
