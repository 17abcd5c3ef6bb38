//! WebDataset: tar archives in which `KEY.jpg` (or `.png`) and `KEY.cls` (or `.json`) stand one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use querist_core::config::DatasetConfig;
use serde_json::Value;

use super::{finish, number_labels, part_of};
use crate::archive::Archive;
use crate::error::DataError;
use crate::ignored::is_ignored;
use crate::layout::Part;
use crate::load::Loaded;
use crate::picture_cache::PictureCache;
use crate::picture_files::{Chunk, Seen, check_length};
use crate::samples::{How, Sample};
use crate::tape::Kind;
use crate::walk::{is_picture, shown_names};

/// Longest label, as a text or in JSON.
const MOST_LABEL: u64 = 1 << 20;
/// Keys of JSON under which a class stands.
const KEYS: [&str; 4] = ["label", "cls", "class", "class_id"];

/// Reads an archive, or all archives of a folder by their sorted names.
pub(crate) fn read(place: &Path, config: &DatasetConfig, cache: Option<&PictureCache>) -> Result<Loaded, DataError> {
    let how = How::of(config, place, false, cache)?;
    let key = config.columns.as_ref().and_then(|columns| columns.label.as_deref());
    let mut found = Vec::new();
    for shard in shards(place)? {
        let part = shard.file_stem().and_then(|stem| stem.to_str()).and_then(part_of).unwrap_or(Part::Train);
        Shard { path: shard.as_path().into(), part, key, how }.read(&mut found)?;
    }
    let labels: Vec<(&str, &str)> = found.iter().map(|(label, sample)| (&label[..], &sample.seen.at[..])).collect();
    let (labels, class_names) = number_labels(&labels, None)?;
    let numbered = found.into_iter().zip(labels);
    let samples = numbered.map(|((_, sample), label)| Sample { label, ..sample }).collect();
    finish(samples, class_names, false, how, &each_picture)
}

fn shards(place: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !place.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    let is_shard = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        !is_ignored(name) && [".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending))
    };
    let entries = fs::read_dir(place).map_err(DataError::io(place))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>();
    paths.iter_mut().for_each(|paths| {
        paths.retain(|path| is_shard(path));
        paths.sort();
    });
    let paths = paths.map_err(DataError::io(place))?;
    match paths.is_empty() {
        true => Err(DataError::malformed(place.display(), "", "no .tar, .tar.gz or .tgz", "shards of a WebDataset")),
        false => Ok(paths),
    }
}

/// One archive while it is read.
struct Shard<'a> {
    path: Arc<Path>,
    part: Part,
    key: Option<&'a str>,
    how: How<'a>,
}

/// The members of one key.
#[derive(Default)]
struct Group {
    key: String,
    picture: Option<(String, Vec<u8>)>,
    label: Option<String>,
}

impl Shard<'_> {
    fn read(&self, found: &mut Vec<(String, Sample)>) -> Result<(), DataError> {
        let mut archive = Archive::open(&self.path)?;
        let (mut chunk, mut group, mut number) = (Chunk::new(), Group::default(), 0);
        let look = |(label, at, number): (String, String, usize), bytes: Vec<u8>| {
            let name = at.rsplit('/').next().unwrap_or(&at);
            let name = format!("{}/{name}", self.part.name());
            let seen = Seen::member(self.path.clone(), number, at, &bytes, self.how.wanted)?;
            Ok((label, Sample { part: self.part, label: 0, name, seen }))
        };
        let mut end = |group: Group, found: &mut Vec<(String, Sample)>| {
            let Some((label, at, bytes)) = self.whole(group)? else { return Ok(()) };
            if chunk.push((label, at, number), bytes) {
                found.extend(chunk.work(look)?);
            }
            number += 1;
            Ok::<(), DataError>(())
        };
        while let Some(member) = archive.next()? {
            let at = format!("{}#{}", archive.file(), member.path.display());
            let names = shown_names(&member.path, &at)?;
            if names.is_empty() || member.kind == Kind::Folder || names.iter().any(|name| is_ignored(name)) {
                continue;
            }
            let path = names.join("/");
            let folder = path.len() - names[names.len() - 1].len();
            let Some(dot) = path[folder..].find('.') else { continue };
            let (key, ending) = (path[..folder + dot].to_owned(), path[folder + dot + 1..].to_lowercase());
            if key != group.key {
                end(std::mem::take(&mut group), found)?;
                group.key = key;
            }
            let is_label = matches!(ending.as_str(), "cls" | "json");
            if !is_label && !is_picture(&names) {
                continue;
            }
            if member.kind == Kind::Other {
                return Err(DataError::malformed(at, "", "a link or a device", "a regular file"));
            }
            if is_label {
                if member.size > MOST_LABEL {
                    let found = format!("a label of {} bytes", member.size);
                    return Err(DataError::malformed(at, "", found, format!("at most {MOST_LABEL}")));
                }
                let text = String::from_utf8(archive.content(&member, &at)?);
                let text = text.map_err(|_| DataError::malformed(&at, "", "a label that is no UTF-8", "text"))?;
                if let Some(label) = self.label(&ending, &text, &at)? {
                    group.label = Some(label);
                }
            } else {
                check_length(member.size, &at)?;
                if group.picture.is_some() {
                    return Err(DataError::malformed(at, "", "a second picture of one key", "one"));
                }
                group.picture = Some((at.clone(), archive.content(&member, &at)?));
            }
        }
        end(group, found)?;
        found.extend(chunk.work(look)?);
        Ok(())
    }

    /// A label, its picture's place, and the picture; nothing where a key has neither.
    fn whole(&self, group: Group) -> Result<Option<(String, String, Vec<u8>)>, DataError> {
        let Group { key, picture, label } = group;
        let at = || format!("{}#{key}", self.path.display());
        match (picture, label) {
            (Some((at, bytes)), Some(label)) => Ok(Some((label, at, bytes))),
            (None, None) => Ok(None),
            (Some(_), None) => {
                let expected = "its label in `.cls`, or in `.json` under `label` (or as `dataset.columns.label` says)";
                Err(DataError::malformed(at(), "", "a picture without a label", expected))
            }
            (None, Some(_)) => {
                let expected = "a .png, .jpg or .jpeg of the same key beside it";
                Err(DataError::malformed(at(), "", "a label without a picture", expected))
            }
        }
    }

    /// The class that a member tells.
    fn label(&self, ending: &str, text: &str, at: &str) -> Result<Option<String>, DataError> {
        if ending == "cls" {
            return Ok(Some(text.trim().to_owned()));
        }
        let json: Value = serde_json::from_str(text)
            .map_err(|error| DataError::malformed(at, "", format!("no JSON ({error})"), "an object"))?;
        let under = |key: &str| json.get(key);
        let value = match self.key {
            Some(key) => under(key),
            None => KEYS.iter().find_map(|key| under(key)),
        };
        match value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(DataError::malformed(at, "", "a class that is neither text nor number", "one of both")),
        }
    }
}

/// The pictures of a shard once more, in the same order.
fn each_picture(path: &Path, take: &mut dyn FnMut(Vec<u8>) -> Result<(), DataError>) -> Result<(), DataError> {
    let mut archive = Archive::open(path)?;
    while let Some(member) = archive.next()? {
        let at = format!("{}#{}", archive.file(), member.path.display());
        let names = shown_names(&member.path, &at)?;
        if member.kind == Kind::File && is_picture(&names) && !names.iter().any(|name| is_ignored(name)) {
            take(archive.content(&member, &at)?)?;
        }
    }
    Ok(())
}
