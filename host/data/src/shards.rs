//! Files of which several make one: named one by one, or with `*` for what differs in their names.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use querist_files::shown;

use crate::catalogue::EMBEDDINGS;
use crate::error::DataError;

/// Files that one pattern may stand for.
const MOST_FILES: usize = 100_000;

/// The files of `names`, each looked for from the working folder and then from `root`; `key` is for messages.
///
/// Where names say `3-of-8`, all of them must be there.
pub(crate) fn files_of(names: &[String], root: Option<&Path>, key: &str) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for name in names {
        let places: Vec<PathBuf> =
            std::iter::once(PathBuf::from(name)).chain(root.map(|root| root.join(name))).collect();
        let found =
            places.iter().map(|place| matching(place)).find(|found| !matches!(found, Ok(files) if files.is_empty()));
        files.extend(found.unwrap_or_else(|| {
            Err(DataError::Missing {
                dataset: EMBEDDINGS.to_owned(),
                wanted: "such file".to_owned(),
                places,
                advice: format!("correct `{key}`"),
            })
        })?);
    }
    check_complete(&files)?;
    Ok(files)
}

/// The files that a path stands for, in the order of their names, numbers by their value; `FILE#MEMBER` is one.
pub(crate) fn matching(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !name.contains('*') || path.exists() {
        let whole = path.to_str().and_then(|text| text.rsplit_once('#')).map(|(file, _)| Path::new(file));
        let is_there = path.exists() || whole.is_some_and(Path::exists);
        return Ok(if is_there { vec![path.to_owned()] } else { Vec::new() });
    }
    let (pattern, member) = match name.rsplit_once('#') {
        Some((pattern, member)) => (pattern, format!("#{member}")),
        None => (name, String::new()),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(DataError::io(folder))?.file_name().to_string_lossy().into_owned();
        if is_like(&name, pattern) {
            names.push(name);
        }
        if names.len() > MOST_FILES {
            let found = format!("more than {MOST_FILES} files like `{pattern}`");
            return Err(DataError::malformed(folder.display(), "", found, "fewer, larger ones"));
        }
    }
    names.sort_by(|a, b| by_numbers(a, b));
    let parent = path.parent().unwrap_or(Path::new(""));
    Ok(names.into_iter().map(|name| parent.join(name + &member)).collect())
}

/// Whether `*` of a pattern can stand for parts of a name that make it this one.
fn is_like(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// `part-9` before `part-10`.
fn by_numbers(a: &str, b: &str) -> Ordering {
    let key = |text: &str| -> Vec<(bool, u128, String)> {
        let mut pieces: Vec<String> = Vec::new();
        for c in text.chars() {
            match pieces.last_mut() {
                Some(last) if last.ends_with(|end: char| end.is_ascii_digit() == c.is_ascii_digit()) => last.push(c),
                _ => pieces.push(c.to_string()),
            }
        }
        let piece = |piece: String| match piece.parse() {
            Ok(number) => (false, number, piece),
            Err(_) => (true, 0, piece),
        };
        pieces.into_iter().map(piece).collect()
    };
    key(a).cmp(&key(b)).then_with(|| a.cmp(b))
}

/// Of shards that count themselves, whether one is missing.
pub(crate) fn check_complete(files: &[PathBuf]) -> Result<(), DataError> {
    let numbered: Option<Vec<Numbered>> = files.iter().map(|file| Numbered::of(file)).collect();
    let Some(first) = numbered.as_ref().and_then(|numbered| numbered.first()) else { return Ok(()) };
    let numbered = numbered.iter().flatten();
    let there: BTreeSet<usize> = numbered.clone().map(|shard| shard.number).collect();
    if numbered.clone().any(|shard| shard.of != first.of || shard.before != first.before) {
        return Ok(());
    }
    let from = usize::from(!there.contains(&0));
    match (from..from + first.of).find(|number| !there.contains(number)) {
        None => Ok(()),
        Some(missing) => {
            let (wanted, found) = (first.of, there.len());
            let file = first.folder.join(first.name(missing));
            let found = format!("missing, with {found} of {wanted} shards there");
            Err(DataError::malformed(shown(&file), "", found, "all of them"))
        }
    }
}

/// A file that says which of how many shards it is.
struct Numbered {
    folder: PathBuf,
    before: String,
    digits: usize,
    number: usize,
    of: usize,
    after: String,
}

impl Numbered {
    fn of(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?;
        let (head, tail) = name.split_once("-of-")?;
        let start = head.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, of) = (head[start..].parse().ok()?, tail[..end].parse().ok()?);
        // The first number may be 0 or 1.
        (number <= of && of <= MOST_FILES).then(|| Self {
            folder: file.parent().unwrap_or(Path::new("")).to_owned(),
            before: head[..start].to_owned(),
            digits: head.len() - start,
            number,
            of,
            after: tail.to_owned(),
        })
    }

    fn name(&self, number: usize) -> String {
        format!("{}{number:0width$}-of-{}", self.before, self.after, width = self.digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_names() {
        for (name, pattern, is) in [
            ("a-1.npy", "a-*.npy", true),
            ("a-.npy", "a-*.npy", true),
            ("b-1.npy", "a-*.npy", false),
            ("a-1.npz", "a-*.npy", false),
            ("e-1-of-2.npy", "e-*-of-*.npy", true),
            ("e-1-2.npy", "e-*-of-*.npy", false),
            ("ab", "ab*b", false),
            ("a", "a", true),
            ("ab", "a", false),
        ] {
            assert_eq!(is_like(name, pattern), is, "{name} {pattern}");
        }
    }

    #[test]
    fn shards_are_in_the_order_of_their_numbers_and_all_there() {
        let folder = tempfile::tempdir().unwrap();
        for shard in (1..=11).rev() {
            fs::write(folder.path().join(format!("e-{shard}-of-11.npy")), "").unwrap();
        }
        let files = |pattern: &str| files_of(&[pattern.to_owned()], Some(folder.path()), "key");
        let found = files("e-*-of-*.npy").unwrap();
        let expected: Vec<_> = (1..=11).map(|shard| folder.path().join(format!("e-{shard}-of-11.npy"))).collect();
        assert_eq!(found, expected);
        fs::remove_file(folder.path().join("e-7-of-11.npy")).unwrap();
        let error = files("e-*.npy").unwrap_err().to_string();
        assert!(error.contains("e-7-of-11.npy") && error.contains("10 of 11 shards"), "{error}");
        // From 0 on, as others count.
        for shard in [0, 2] {
            fs::write(folder.path().join(format!("z-0000{shard}-of-00003.npy")), "").unwrap();
        }
        let error = files("z-*.npy").unwrap_err().to_string();
        assert!(error.contains("z-00001-of-00003.npy"), "{error}");
        let error = files("x-*.npy").unwrap_err().to_string();
        assert!(error.contains("x-*.npy") && error.contains("correct `key`"), "{error}");
    }
}
