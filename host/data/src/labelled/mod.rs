//! Pictures whose labels stand in files beside them: lists, tables, shards.

pub(crate) mod columns;
pub(crate) mod ids;
pub(crate) mod list;
pub(crate) mod public;
pub(crate) mod shards;
pub(crate) mod table;
pub(crate) mod unknown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use querist_protocol::{Shown, is_showable};
use rayon::prelude::*;

use crate::error::DataError;
use crate::layout::Part;
use crate::load::Loaded;
use crate::picture_files::Seen;
use crate::samples::{How, Sample, check_classes};
use crate::walk::shown_names;

/// Classes at most.
const MAX_CLASSES: usize = 100_000;
/// Longest name of a class.
const MAX_NAME: usize = 255;
/// Missing files that a message names.
const MOST_MISSING: usize = 20;

/// A picture that a file names.
#[derive(Debug)]
pub(crate) struct Named {
    pub part: Part,
    /// The label as it is written.
    pub label: String,
    /// The path as it is written, below the folder of the pictures.
    pub path: String,
    /// Where it is named, for messages.
    pub at: String,
}

/// Reads pictures that files name, below `root`.
///
/// `classes` are the names where they are known; otherwise labels say them.
pub(crate) fn read(
    root: &Path,
    mut named: Vec<Named>,
    classes: Option<Vec<String>>,
    how: How<'_>,
) -> Result<Loaded, DataError> {
    for one in &mut named {
        one.path = one.path.trim_start_matches("./").to_owned();
    }
    let paths = named.iter().map(|one| path_below(root, one)).collect::<Result<Vec<_>, _>>()?;
    refuse_twice(&named, &paths)?;
    refuse_missing(how.place, &named, &paths)?;
    let labels: Vec<(&str, &str)> = named.iter().map(|one| (one.label.as_str(), one.at.as_str())).collect();
    let are_known = classes.is_some();
    let (labels, class_names) = number_labels(&labels, classes)?;
    let look = |((one, path), label): ((Named, PathBuf), u32)| {
        let seen = Seen::file(path, format!("{} ({})", root.join(&one.path).display(), one.at), how.wanted)?;
        Ok(Sample { part: one.part, label, name: format!("{}/{}", one.part.name(), one.path), seen })
    };
    let samples: Vec<Sample> =
        named.into_par_iter().zip(paths).zip(labels).map(look).collect::<Result<_, DataError>>()?;
    finish(samples, class_names, are_known, how, &|_, _| Ok(()))
}

/// Checks classes and decodes.
pub(crate) fn finish(
    samples: Vec<Sample>,
    class_names: Vec<String>,
    are_known: bool,
    how: How<'_>,
    members: crate::picture_files::Members<'_>,
) -> Result<Loaded, DataError> {
    if !samples.iter().any(|sample| sample.part == Part::Train) {
        let expected = "at least one; name the part `train`";
        return Err(DataError::malformed(how.place.display(), "", "no training pictures", expected));
    }
    if !are_known {
        check_classes(how.place, &samples, &class_names)?;
    }
    how.assemble(samples, class_names, members)
}

/// The path of a picture, which must lie below the folder.
fn path_below(root: &Path, one: &Named) -> Result<PathBuf, DataError> {
    let names = shown_names(Path::new(&one.path), &one.at)?;
    match names.is_empty() {
        true => Err(DataError::malformed(&one.at, "", "a picture without a path", "a path and a label")),
        false => Ok(root.join(names.iter().collect::<PathBuf>())),
    }
}

/// A picture that is named twice would be two samples, or of two splits.
fn refuse_twice(named: &[Named], paths: &[PathBuf]) -> Result<(), DataError> {
    let mut seen: BTreeMap<&Path, &Named> = BTreeMap::new();
    for (one, path) in named.iter().zip(paths) {
        if let Some(before) = seen.insert(path, one) {
            let found = format!("`{}`, which {} names, too", one.path, before.at);
            return Err(DataError::malformed(&one.at, "", found, "each picture once"));
        }
    }
    Ok(())
}

/// All files that are missing are told, up to a number, not only the first.
fn refuse_missing(place: &Path, named: &[Named], paths: &[PathBuf]) -> Result<(), DataError> {
    let missing: Vec<&Named> =
        named.par_iter().zip(paths).filter(|(_, path)| !path.is_file()).map(|(one, _)| one).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let shown = |one: &&Named| Shown::sentence(&format!("`{}` ({})", one.path, one.at));
    Err(DataError::MissingPictures {
        place: querist_files::shown(place),
        missing: missing.len(),
        named: named.len(),
        first: missing.iter().take(MOST_MISSING).map(shown).collect(),
    })
}

/// Labels as numbers, and the name of each class.
///
/// With names, a label is one of them or its number. Without, labels that are all numbers are those of their classes;
/// otherwise they are names, which are sorted.
pub(crate) fn number_labels(
    labels: &[(&str, &str)],
    names: Option<Vec<String>>,
) -> Result<(Vec<u32>, Vec<String>), DataError> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| (*number as usize) < MAX_CLASSES);
    let names = match names {
        Some(names) => names,
        None if labels.iter().all(|(label, _)| number(label).is_some()) => {
            let last = labels.iter().filter_map(|(label, _)| number(label)).max().unwrap_or_default();
            (0..=last).map(|label| label.to_string()).collect()
        }
        None => {
            labels.iter().map(|&(label, _)| label).collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
        }
    };
    let mut by_name: BTreeMap<&str, u32> = BTreeMap::new();
    for (label, name) in names.iter().enumerate() {
        if name.is_empty() || name.len() > MAX_NAME || !is_showable(name) || label >= MAX_CLASSES {
            let at = labels.iter().find(|(label, _)| label == name).map_or("the names of classes", |&(_, at)| at);
            let found = format!("the class `{name}`, number {label}");
            let expected = format!("at most {MAX_CLASSES} names of 1 to {MAX_NAME} bytes that can be shown");
            return Err(DataError::malformed(at, "", found, expected));
        }
        if by_name.insert(name, label as u32).is_some() {
            return Err(DataError::malformed("the names of classes", "", format!("`{name}` twice"), "each once"));
        }
    }
    let known = |label: &str| {
        by_name.get(label).copied().or_else(|| number(label).filter(|&label| (label as usize) < names.len()))
    };
    let numbered = labels.iter().map(|&(label, at)| {
        let expected =
            || format!("one of {} classes, by name or as 0 to {}", names.len(), names.len().saturating_sub(1));
        known(label).ok_or_else(|| DataError::malformed(at, "", format!("label `{label}`"), expected()))
    });
    Ok((numbered.collect::<Result<_, _>>()?, names.clone()))
}

/// The part that the name of a file or the value of a column tells.
pub(crate) fn part_of(text: &str) -> Option<Part> {
    Part::of(text).or_else(|| Part::within(text).map(|(part, _)| part))
}
