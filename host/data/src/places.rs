//! What holds the pictures: a folder, an archive, or a folder of archives whose names tell splits.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use querist_core::config::DatasetLayout;

use crate::error::DataError;
use crate::ignored::is_ignored;
use crate::layout::{Part, list};
use crate::source::is_there;

/// Endings of archives that are read, in any case.
const ENDINGS: [&str; 4] = [".tar.gz", ".tar", ".tgz", ".zip"];

/// Which kind of place holds the pictures.
pub(crate) enum Pictures {
    Folder(PathBuf),
    /// Archives, and the split that the name of each tells.
    Archives(Vec<(PathBuf, Option<Part>)>),
}

impl Pictures {
    /// Whether there is anything at `place` that could hold pictures.
    pub fn can_be_at(place: &Path) -> bool {
        is_there(place)
            || fs::read_dir(place).is_ok_and(|mut entries| {
                entries.any(|entry| entry.is_ok_and(|entry| is_archive(&entry.path()) || entry.path().is_dir()))
            })
    }

    /// Looks what is at `place`.
    pub fn find(place: &Path, layout: Option<DatasetLayout>) -> Result<Self, DataError> {
        if is_there(place) {
            return Ok(Self::Archives(vec![(place.to_owned(), None)]));
        }
        let entries = fs::read_dir(place).map_err(DataError::io(place))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let mut paths = paths.map_err(DataError::io(place))?;
        paths.retain(|path| !is_ignored(file_name(path)));
        paths.sort();
        let archives: Vec<&PathBuf> = paths.iter().filter(|path| is_archive(path)).collect();
        let of = |part: Part| -> Vec<PathBuf> {
            archives.iter().filter(|path| told(path) == Some(part)).map(|path| (**path).clone()).collect()
        };
        let [train, validation, test] = Part::ALL.map(of);
        let counts = [train.len(), validation.len(), test.len()];
        if counts == [0; 3] {
            let names = || archives.iter().map(|path| file_name(path));
            if !archives.is_empty() && !paths.iter().any(|path| path.is_dir()) {
                let found = format!("{} and no folder of pictures", list(names()));
                let expected = "folders of pictures; an archive is read where `dataset.path` names it, several where \
                                their names hold `train`, `validation` and `test`";
                return Err(DataError::malformed(place.display(), "", found, expected));
            }
            return Ok(Self::Folder(place.to_owned()));
        }
        if counts[0] != 1 || counts[1] > 1 || counts[2] > 1 || counts[1] + counts[2] == 0 {
            let validation = if counts[1] > 0 { format!(", {} with `validation`", counts[1]) } else { String::new() };
            let found =
                format!("{} archives with `train` and {} with `test`{validation} in their names", counts[0], counts[2]);
            let expected = "one of each; name the right one with `dataset.path`";
            return Err(DataError::malformed(place.display(), "", found, expected));
        }
        if layout == Some(DatasetLayout::ValidationIsTest) && [counts[1], counts[2]] != [1, 0] {
            let found = "`dataset.layout = \"validation-is-test\"` with an archive of test pictures, or without one of \
                         validation pictures";
            let expected = "an archive of validation pictures and none of test pictures";
            return Err(DataError::malformed(place.display(), "", found, expected));
        }
        let known = |paths: Vec<PathBuf>, part| paths.into_iter().map(move |path| (path, Some(part)));
        let all = known(train, Part::Train).chain(known(validation, Part::Validation)).chain(known(test, Part::Test));
        Ok(Self::Archives(all.collect()))
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or("")
}

fn is_archive(path: &Path) -> bool {
    stem(file_name(path)).is_some() && is_there(path)
}

/// The name of an archive without its ending; nothing for what is none.
fn stem(name: &str) -> Option<&str> {
    ENDINGS.iter().find_map(|ending| {
        let (stem, end) = name.split_at_checked(name.len().checked_sub(ending.len())?)?;
        end.eq_ignore_ascii_case(ending).then_some(stem)
    })
}

/// The split that the name of an archive tells.
fn told(path: &Path) -> Option<Part> {
    let stem = stem(file_name(path))?;
    Part::of(stem).or_else(|| Part::within(stem).map(|(part, _)| part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives_tell_splits() {
        let cases = [
            ("train.tar", Some(Part::Train)),
            ("my-TRAIN.Tar.GZ", Some(Part::Train)),
            ("cifar10_train_images.tgz", Some(Part::Train)),
            ("ILSVRC2012_img_val.tar", Some(Part::Validation)),
            ("second-test.zip", Some(Part::Test)),
            // Words that only hold the letters.
            ("latest.tar", None),
            ("train_and_test.tar", None),
            ("train.png", None),
            (".tar", None),
        ];
        for (name, part) in cases {
            assert_eq!(told(Path::new(name)), part, "{name}");
        }
    }
}
