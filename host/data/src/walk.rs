//! Names in folders and archives: which are read, which are left out, which are refused.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use querist_protocol::is_showable;
use walkdir::WalkDir;

use crate::error::DataError;
use crate::ignored::is_ignored;

/// Files and folders that are no pictures.
pub(crate) const MAX_OTHERS: usize = 100_000;
/// Longest name of a class, a folder or a picture.
const MAX_NAME: usize = 255;
/// Folders deeper than this are no dataset.
const MAX_DEPTH: usize = 16;

/// A file or a folder below the place.
pub(crate) struct Walked {
    /// The names that lead to it.
    pub names: Vec<String>,
    /// Where it is, for messages.
    pub at: String,
    pub path: PathBuf,
    pub is_folder: bool,
}

/// Everything below a folder, links followed, but for what is ignored: that is shown to `ignored` and not looked into.
pub(crate) fn walk<'a>(
    folder: &'a Path,
    ignored: &'a mut dyn FnMut(&str),
) -> impl Iterator<Item = Result<Walked, DataError>> + 'a {
    // One level more than is read, so that what lies deeper is refused and not left out.
    let entries = WalkDir::new(folder).min_depth(1).max_depth(MAX_DEPTH + 1).follow_links(true).into_iter();
    let is_read = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_str().filter(|name| entry.depth() > 0 && is_ignored(name));
        name.inspect(|name| ignored(name)).is_none()
    };
    entries.filter_entry(is_read).map(move |entry| {
        let entry = entry.map_err(|error| walking(folder, error))?;
        let at = entry.path().display().to_string();
        let names = shown_names(entry.path().strip_prefix(folder).unwrap_or(entry.path()), &at)?;
        Ok(Walked { names, at, is_folder: entry.file_type().is_dir(), path: entry.into_path() })
    })
}

/// What stopped a walk through a folder.
fn walking(folder: &Path, error: walkdir::Error) -> DataError {
    let at = error.path().unwrap_or(folder).to_owned();
    match error.loop_ancestor() {
        Some(_) => {
            DataError::malformed(at.display(), "", "a link to a folder that it lies in", "a folder without circles")
        }
        None => DataError::io(&at)(error.into()),
    }
}

/// Why a place with more than [`MAX_OTHERS`] of them is refused.
pub(crate) fn too_many_others(place: &Path) -> DataError {
    let found = format!("more than {MAX_OTHERS} files and folders that are no pictures");
    DataError::malformed(place.display(), "", found, "one folder of pictures a class")
}

/// Whether a file is a picture by its name.
pub(crate) fn is_picture(names: &[String]) -> bool {
    let extension = names.last().and_then(|name| Path::new(name).extension()).and_then(OsStr::to_str);
    extension.is_some_and(|found| ["png", "jpg", "jpeg"].iter().any(|known| found.eq_ignore_ascii_case(known)))
}

/// The names along a path that leads nowhere but down.
pub(crate) fn shown_names(path: &Path, at: &str) -> Result<Vec<String>, DataError> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => {
            Some(name.to_str().map(str::to_owned).ok_or("a name that is no UTF-8").and_then(|name| match name {
                _ if name.len() > MAX_NAME => Err("a name of more than 255 bytes"),
                _ if !is_showable(&name) => Err("a name with control or invisible characters"),
                name => Ok(name),
            }))
        }
        Component::CurDir => None,
        _ => Some(Err("a path that leads out of the dataset")),
    };
    let names = path.components().filter_map(name).collect::<Result<Vec<_>, _>>();
    let names = names.map_err(|found| DataError::malformed(at, "", found, "names that can be shown; rename it"))?;
    match names.len() {
        0..=MAX_DEPTH => Ok(names),
        depth => {
            let found = format!("a path through {depth} folders");
            Err(DataError::malformed(at, "", found, format!("at most {MAX_DEPTH}")))
        }
    }
}
