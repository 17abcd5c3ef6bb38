//! Text files of paths and labels.
//!
//! A line is a path and a label with a blank, a tab or a comma between them, the last such letter of the line. Empty
//! lines are left out. A picture's number is that of its line, counted over the training, validation and test lists.

use std::fs;
use std::path::{Path, PathBuf};

use querist_core::config::{DatasetConfig, ListConfig};
use querist_files::Links;

use super::Named;
use crate::error::DataError;
use crate::layout::Part;
use crate::load::Loaded;
use crate::picture_cache::PictureCache;
use crate::samples::How;
use crate::walk::is_picture;

/// Longest list.
const MOST_BYTES: u64 = 512 << 20;

/// Reads what the lists of the configuration name, or `default` where it has none.
pub(crate) fn read(
    root: &Path,
    config: &DatasetConfig,
    default: Option<ListConfig>,
    cache: Option<&PictureCache>,
) -> Result<Loaded, DataError> {
    let Some(lists) = config.list.clone().or(default) else {
        let message = "set `dataset.list.train` (and `test`, `validation`) to files with a path and a label a line";
        return Err(DataError::Config { dataset: config.name.clone(), message: message.to_owned() });
    };
    let how = How::of(config, root, true, cache)?;
    let (named, classes) = entries(root, &lists)?;
    super::read(root, named, classes, how)
}

/// What lists name, and names of classes where a folder tells them.
pub(crate) fn entries(root: &Path, lists: &ListConfig) -> Result<(Vec<Named>, Option<Vec<String>>), DataError> {
    let mut named = lines(&place_of(root, &lists.train)?, Part::Train)?;
    if let Some(validation) = &lists.validation {
        named.extend(lines(&place_of(root, validation)?, Part::Validation)?);
    }
    let Some(test) = &lists.test else { return Ok((named, None)) };
    let test = place_of(root, test)?;
    if !test.is_dir() {
        named.extend(lines(&test, Part::Test)?);
        return Ok((named, None));
    }
    let (classes, pictures) = in_classes(root, &test)?;
    named.extend(pictures);
    Ok((named, Some(classes)))
}

/// A list: from the working folder, else from the folder of the pictures.
fn place_of(root: &Path, list: &str) -> Result<PathBuf, DataError> {
    let places = [PathBuf::from(list), root.join(list)];
    places.iter().find(|place| place.exists()).cloned().ok_or_else(|| DataError::Missing {
        dataset: root.display().to_string(),
        wanted: "such list".to_owned(),
        places: places.to_vec(),
        advice: "correct `dataset.list`".to_owned(),
    })
}

/// The lines of a list.
fn lines(list: &Path, part: Part) -> Result<Vec<Named>, DataError> {
    let text = querist_files::read_text(list, Links::Follow, MOST_BYTES)?;
    let mut named = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let at = format!("{}, line {}", list.display(), number + 1);
        let Some((path, label)) = line.rsplit_once([' ', '\t', ',']) else {
            let found = "a line without a blank, a tab or a comma";
            return Err(DataError::malformed(at, "", found, "a path and a label"));
        };
        let path = path.trim_end_matches([' ', '\t', ',']).to_owned();
        named.push(Named { part, label: label.to_owned(), path, at });
    }
    Ok(named)
}

/// Pictures in one folder a class, as test pictures; their labels are the numbers of the sorted folders.
fn in_classes(root: &Path, folder: &Path) -> Result<(Vec<String>, Vec<Named>), DataError> {
    let sorted = |folder: &Path| -> Result<Vec<PathBuf>, DataError> {
        let entries = fs::read_dir(folder).map_err(DataError::io(folder))?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
        paths.iter_mut().for_each(|paths| paths.sort());
        paths.map_err(DataError::io(folder))
    };
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let (mut classes, mut named) = (Vec::new(), Vec::new());
    for class in sorted(folder)?.into_iter().filter(|path| path.is_dir()) {
        let Some(label) = name(&class) else {
            return Err(DataError::malformed(
                class.display(),
                "",
                "a name that is no UTF-8",
                "names that can be shown",
            ));
        };
        for path in sorted(&class)? {
            if name(&path).is_some_and(|name| is_picture(&[name])) {
                let below = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                let at = folder.display().to_string();
                named.push(Named { part: Part::Test, label: label.clone(), path: below, at });
            }
        }
        classes.push(label);
    }
    Ok((classes, named))
}
