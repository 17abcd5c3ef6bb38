//! Pictures whose labels are not known: in one folder, whatever its sub-folders, or named by a table.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use querist_core::config::{ClassNames, DatasetConfig};
use querist_core::{Label, SampleId};
use querist_files::Links;
use querist_protocol::{Shown, is_showable};
use rayon::prelude::*;

use super::{Named, path_below, refuse_missing, refuse_twice, table};
use crate::catalogue::PICTURES;
use crate::error::DataError;
use crate::layout::Part;
use crate::load::{Loaded, folder_place};
use crate::picture_cache::PictureCache;
use crate::picture_files::Seen;
use crate::samples::{How, Sample};
use crate::walk::{MAX_OTHERS, Walked, is_picture, too_many_others, walk};

/// Classes at most that people choose from.
const MOST_CLASSES: usize = 10_000;
/// Bytes of the name of a class, and of a list of them, at most.
const MOST_NAME: usize = 255;
const MOST_LIST: u64 = 4 << 20;

/// What was read: pictures of the pool, whose labels mean nothing, and test pictures behind them, whose labels do.
pub(crate) struct Unlabelled {
    pub loaded: Loaded,
    /// Labels of the pool that are known already.
    pub known: Vec<(SampleId, Label)>,
}

/// A picture before it is looked at: the name that users see, and its file.
type Found = (String, PathBuf);

/// Reads what the configuration names.
pub(crate) fn read(config: &DatasetConfig, cache: Option<&PictureCache>) -> Result<Unlabelled, DataError> {
    let class_names = class_names(config)?;
    let place = folder_place(config)?;
    let how = How::of(config, &place, false, cache)?;
    let columns = config.columns.clone().unwrap_or_default();
    let (pool, mut said) = match place.is_dir() {
        true => (in_folder(&place)?, Vec::new()),
        false => in_table(&place, table::entries_without_labels(&place, &columns)?)?,
    };
    if let Some(labels) = &config.labels {
        said.extend(table::entries(Path::new(labels), &columns, Part::Train)?);
    }
    said.retain(|one| !one.label.is_empty());
    let look = |(name, path): Found, part, label| {
        let at = path.display().to_string();
        Ok::<_, DataError>(Sample { part, label, name, seen: Seen::file(path, at, how.wanted)? })
    };
    let mut samples: Vec<Sample> =
        pool.into_par_iter().map(|found| look(found, Part::Train, 0)).collect::<Result<_, _>>()?;
    if let Some(folder) = &config.test_path {
        let tests = tests(Path::new(folder), &place, &class_names)?;
        let look = |(found, label)| look(found, Part::Test, label);
        samples.extend(tests.into_par_iter().map(look).collect::<Result<Vec<_>, _>>()?);
    }
    let loaded = how.assemble(samples, class_names, &|_, _| Ok(()))?;
    let known = known(&loaded, said)?;
    Ok(Unlabelled { loaded, known })
}

/// The folder that names of pictures of the pool start from, as the system calls it.
///
/// # Errors
/// If it is not there.
pub fn pictures_root(config: &DatasetConfig) -> Result<PathBuf, DataError> {
    let place = folder_place(config)?;
    let folder = if place.is_dir() { place } else { place.parent().unwrap_or(Path::new("")).to_owned() };
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
    folder.canonicalize().map_err(DataError::io(&folder))
}

/// The classes that people choose from: some, all different, with names that can be shown.
fn class_names(config: &DatasetConfig) -> Result<Vec<String>, DataError> {
    let wrong = |message: String| DataError::Config { dataset: PICTURES.to_owned(), message };
    let names = match &config.classes {
        None => {
            let message = "set `dataset.classes` to the names of the classes that people choose from: a list, or a \
                           text file of one name a line";
            return Err(wrong(message.to_owned()));
        }
        Some(ClassNames::List(names)) => names.clone(),
        Some(ClassNames::File(file)) => {
            let text = querist_files::read_text(Path::new(file), Links::Follow, MOST_LIST)?;
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
        }
    };
    if !(2..=MOST_CLASSES).contains(&names.len()) {
        return Err(wrong(format!("`dataset.classes` has {} names; expected 2 to {MOST_CLASSES}", names.len())));
    }
    let mut seen = BTreeSet::new();
    for name in &names {
        if name.is_empty() || name.len() > MOST_NAME || name.trim() != name || !is_showable(name) {
            let name = Shown::name(name);
            let expected = format!("1 to {MOST_NAME} bytes that can be shown, no blank at either end");
            return Err(wrong(format!("`dataset.classes` has the name `{name}`; expected {expected}")));
        }
        if !seen.insert(name) {
            return Err(wrong(format!("`dataset.classes` has `{name}` twice; each class stands once")));
        }
    }
    Ok(names)
}

/// Every picture of a folder, at any depth.
fn in_folder(folder: &Path) -> Result<Vec<Found>, DataError> {
    let (mut found, mut others) = (Vec::new(), 0);
    for entry in walk(folder, &mut |_| ()) {
        let Walked { names, path, is_folder, .. } = entry?;
        if !is_folder && is_picture(&names) {
            found.push((names.join("/"), path));
        } else if others == MAX_OTHERS {
            return Err(too_many_others(folder));
        } else {
            others += 1;
        }
    }
    match found.is_empty() {
        true => Err(DataError::malformed(folder.display(), "", "no pictures", "files that end in .png, .jpg or .jpeg")),
        false => Ok(found),
    }
}

/// Every picture that a table names, and the rows, some of which have labels.
fn in_table(table: &Path, mut named: Vec<Named>) -> Result<(Vec<Found>, Vec<Named>), DataError> {
    let root = table.parent().unwrap_or(Path::new(""));
    if let Some(held_out) = named.iter().find(|one| one.part != Part::Train) {
        let expected = "training pictures alone; `dataset.test_path` names a labelled test set";
        return Err(DataError::malformed(&held_out.at, "", "a picture of another split", expected));
    }
    for one in &mut named {
        one.path = one.path.trim_start_matches("./").to_owned();
    }
    let paths = named.iter().map(|one| path_below(root, one)).collect::<Result<Vec<_>, _>>()?;
    refuse_twice(&named, &paths)?;
    refuse_missing(table, &named, &paths)?;
    if named.is_empty() {
        return Err(DataError::malformed(table.display(), "", "no rows", "a picture a row"));
    }
    let found = named.iter().zip(paths).map(|(one, path)| (one.path.clone(), path)).collect();
    Ok((found, named))
}

/// The pictures of a labelled test set with their labels.
fn tests(folder: &Path, place: &Path, classes: &[String]) -> Result<Vec<(Found, u32)>, DataError> {
    let real = |path: &Path| path.canonicalize().map_err(DataError::io(path));
    if place.is_dir() && real(folder)?.starts_with(real(place)?) {
        let found = "the folder of `dataset.test_path` inside that of `dataset.path`";
        return Err(DataError::malformed(
            folder.display(),
            "",
            found,
            "another folder: nobody trains on test pictures",
        ));
    }
    let mut tests = Vec::new();
    for entry in walk(folder, &mut |_| ()) {
        let Walked { names, path, at, is_folder } = entry?;
        if is_folder || !is_picture(&names) {
            continue;
        }
        let expected = "one folder of test pictures a class, called like one of `dataset.classes`";
        let class = names.first().filter(|_| names.len() > 1);
        let label = class.and_then(|class| classes.iter().position(|name| name == class));
        match (class, label) {
            (_, Some(label)) => tests.push(((format!("test/{}", names.join("/")), path), label as u32)),
            (Some(class), None) => {
                let found = format!("a picture of class `{class}`, which `dataset.classes` has not");
                return Err(DataError::malformed(at, "", found, expected));
            }
            (None, None) => return Err(DataError::malformed(at, "", "a test picture of no class", expected)),
        }
    }
    match tests.is_empty() {
        true => Err(DataError::malformed(folder.display(), "", "no test pictures", "some; or leave it out")),
        false => Ok(tests),
    }
}

/// Labels by sample.
fn known(loaded: &Loaded, said: Vec<Named>) -> Result<Vec<(SampleId, Label)>, DataError> {
    let pool = &loaded.files[..loaded.files.len() - loaded.official_test];
    let places: HashMap<&str, u64> = pool.iter().map(String::as_str).zip(0..).collect();
    let classes: HashMap<&str, u32> = loaded.class_names.iter().map(String::as_str).zip(0..).collect();
    let mut known = HashMap::with_capacity(said.len());
    for Named { label, path, at, .. } in said {
        let path = path.trim_start_matches("./");
        let Some(&sample) = places.get(path) else {
            let found = format!("`{path}`, which is no picture of the dataset");
            return Err(DataError::malformed(at, "", found, "paths of its pictures, below `dataset.path`"));
        };
        let Some(&class) = classes.get(label.as_str()) else {
            let found = format!("class `{label}`, which `dataset.classes` has not");
            return Err(DataError::malformed(at, "", found, "its names; none where a label is not known"));
        };
        if known.insert(sample, class).is_some() {
            return Err(DataError::malformed(at, "", format!("a second label of `{path}`"), "each picture once"));
        }
    }
    Ok(known.into_iter().map(|(sample, class)| (SampleId(sample), Label(class))).collect())
}
