//! PNG and JPEG pictures in one folder a class, on disk or in tar and zip archives.
//!
//! [`crate::layout`] says which folders are splits and which are classes. Samples are numbered by what the pictures
//! hold (see [`crate::order`]), so the order depends on no class, disk or archive.
//!
//! Names of classes and pictures go to tables that people read in terminals and spreadsheets, and to reports. One that
//! cannot be shown as it is, is refused here, once, instead of being cleaned in each of them: two cleaned names could
//! be one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use querist_core::config::DatasetConfig;
use rayon::prelude::*;

use crate::archive::Archive;
use crate::error::DataError;
use crate::ignored::is_ignored;
use crate::layout::{Context, Part, Place, Reading};
use crate::load::Loaded;
use crate::memory::Kept;
use crate::picture::Wanted;
use crate::picture_cache::PictureCache;
use crate::picture_files::{Chunk, Seen, check_length};
use crate::places::Pictures;
use crate::samples::{How, Sample};
use crate::tape::Kind;
use crate::walk::{MAX_OTHERS, Walked, is_picture, shown_names, too_many_others, walk};

/// Memory of a file or a folder.
const ITEM_BYTES: u64 = 512;

/// Reads all pictures at `place`: a folder, a tar, tar.gz or zip archive, or a folder of archives whose names tell
/// splits.
pub(crate) fn read(place: &Path, config: &DatasetConfig, cache: Option<&PictureCache>) -> Result<Loaded, DataError> {
    let layout = config.layout;
    let how = How::of(config, place, false, cache)?;
    let mut placed = Placed::default();
    let found = Found { wanted: how.wanted, kept: Kept::new() };
    match Pictures::find(place, layout)? {
        Pictures::Folder(folder) => {
            let context = Context { place: &folder, known: None, layout, is_archive: false };
            place_items(found.in_folder(&folder)?, context, &mut placed)?;
        }
        Pictures::Archives(archives) => {
            for (archive, known) in archives {
                let context = Context { place: &archive, known, layout, is_archive: true };
                place_items(found.in_archive(&archive)?, context, &mut placed)?;
            }
        }
    }
    placed.pictures.par_sort_unstable_by(|a, b| a.slot.cmp(&b.slot));
    if let Some(twice) = placed.pictures.windows(2).find(|pair| pair[0].slot == pair[1].slot) {
        let at = format!(", `{}`", twice[0].slot.name());
        return Err(DataError::malformed(place.display(), at, "this path twice", "each path once"));
    }
    assemble(placed, how)
}

/// Place of a picture in the dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    part: Part,
    class: String,
    file: Vec<String>,
}

impl Slot {
    fn name(&self) -> String {
        format!("{}/{}/{}", self.part.name(), self.class, self.file.join("/"))
    }
}

/// A picture and its place.
struct Picture {
    slot: Slot,
    seen: Seen,
}

#[derive(Default)]
struct Placed {
    pictures: Vec<Picture>,
    /// Class folders, with pictures or without, and where each was seen.
    folders: BTreeMap<(Part, String), String>,
    /// Folders of splits, likewise.
    splits: BTreeMap<Part, String>,
}

/// Something found in a folder or an archive, not yet placed in the dataset.
struct Item {
    names: Vec<String>,
    /// Where it is, for messages.
    at: String,
    content: Content,
}

enum Content {
    Folder,
    /// A file that is no picture by its name.
    Other,
    Picture(Seen),
}

/// What is found, with what it is to become and the memory that is taken meanwhile.
struct Found {
    wanted: Wanted,
    kept: Kept,
}

impl Found {
    fn in_folder(&self, folder: &Path) -> Result<Vec<Item>, DataError> {
        let mut items = Vec::new();
        let mut files = Vec::new();
        for entry in walk(folder, &mut |_| ()) {
            let Walked { names, at, path, is_folder } = entry?;
            match (is_folder, is_picture(&names)) {
                (true, _) => keep(&mut items, Item { names, at, content: Content::Folder }, folder)?,
                (_, false) => keep(&mut items, Item { names, at, content: Content::Other }, folder)?,
                (_, true) => files.push((names, at, path)),
            }
        }
        let look =
            |(names, at, path): (Vec<String>, String, PathBuf)| self.item(names, Seen::file(path, at, self.wanted)?);
        let pictures: Vec<Item> = files.into_par_iter().map(look).collect::<Result<_, _>>()?;
        items.extend(pictures);
        Ok(items)
    }

    fn in_archive(&self, path: &Path) -> Result<Vec<Item>, DataError> {
        let archive: Arc<Path> = path.into();
        let mut items = Vec::new();
        let mut others = Vec::new();
        let mut chunk = Chunk::new();
        let look = |(names, at, number): (Vec<String>, String, usize), bytes: Vec<u8>| {
            self.item(names, Seen::member(archive.clone(), number, at, &bytes, self.wanted)?)
        };
        let mut count = 0;
        each_member(path, &mut |Member { names, at, content }| {
            match content {
                MemberContent::Folder => keep(&mut others, Item { names, at, content: Content::Folder }, path)?,
                MemberContent::Other => keep(&mut others, Item { names, at, content: Content::Other }, path)?,
                MemberContent::Picture(bytes) => {
                    if chunk.push((names, at, count), bytes) {
                        items.extend(chunk.work(look)?);
                    }
                    count += 1;
                }
            }
            Ok(())
        })?;
        items.extend(chunk.work(look)?);
        items.append(&mut others);
        Ok(items)
    }

    fn item(&self, names: Vec<String>, seen: Seen) -> Result<Item, DataError> {
        self.kept.add(ITEM_BYTES, "the names of all pictures")?;
        Ok(Item { names, at: seen.at.clone(), content: Content::Picture(seen) })
    }
}

/// A member of an archive that may be of a dataset.
struct Member {
    names: Vec<String>,
    at: String,
    content: MemberContent,
}

enum MemberContent {
    Folder,
    Other,
    Picture(Vec<u8>),
}

/// Reads an archive from its beginning to its end.
fn each_member(path: &Path, take: &mut dyn FnMut(Member) -> Result<(), DataError>) -> Result<(), DataError> {
    let mut archive = Archive::open(path)?;
    while let Some(member) = archive.next()? {
        let at = format!("{}#{}", archive.file(), member.path.display());
        let names = shown_names(&member.path, &at)?;
        if names.is_empty() || names.iter().any(|name| is_ignored(name)) {
            continue;
        }
        let content = match (member.kind, is_picture(&names)) {
            (Kind::Folder, _) => MemberContent::Folder,
            (_, false) => MemberContent::Other,
            (Kind::Other, true) => {
                return Err(DataError::malformed(at, "", "a link or a device", "a regular file"));
            }
            (Kind::File, true) => {
                check_length(member.size, &at)?;
                MemberContent::Picture(archive.content(&member, &at)?)
            }
        };
        take(Member { names, at, content })?;
    }
    Ok(())
}

/// The pictures of an archive once more, in the same order.
fn each_picture(path: &Path, take: &mut dyn FnMut(Vec<u8>) -> Result<(), DataError>) -> Result<(), DataError> {
    each_member(path, &mut |member| match member.content {
        MemberContent::Picture(bytes) => take(bytes),
        MemberContent::Folder | MemberContent::Other => Ok(()),
    })
}

/// Sorts what was found into the dataset.
fn place_items(items: Vec<Item>, context: Context<'_>, placed: &mut Placed) -> Result<(), DataError> {
    let pictures = items.iter().filter(|item| matches!(item.content, Content::Picture(_)));
    let reading = Reading::of(pictures.map(|item| &item.names[..]), context)?;
    for Item { names, at, content } in items {
        match (content, reading.place(names)) {
            (Content::Picture(seen), Place::InClass { part, class, names }) if !names.is_empty() => {
                placed.pictures.push(Picture { slot: Slot { part, class, file: names }, seen });
            }
            (Content::Picture(_), _) => return Err(reading.outside(at)),
            (Content::Folder, Place::InClass { part, class, names }) if names.is_empty() => {
                placed.folders.insert((part, class), at);
            }
            (Content::Folder, Place::Split(part)) => {
                placed.splits.insert(part, at);
            }
            (Content::Other, Place::InClass { names, .. }) if !names.is_empty() => {
                let found = "a file in a class folder that is no .png, .jpg or .jpeg";
                return Err(DataError::malformed(at, "", found, "pictures of these kinds; convert it or move it away"));
            }
            // A licence or a list beside the class folders is no sample.
            (Content::Folder | Content::Other, _) => {}
        }
    }
    Ok(())
}

/// Keeps what is no picture: a licence beside the classes, folders, but not a number without end.
fn keep(others: &mut Vec<Item>, item: Item, place: &Path) -> Result<(), DataError> {
    if others.len() == MAX_OTHERS {
        return Err(too_many_others(place));
    }
    others.push(item);
    Ok(())
}

/// Checks splits and classes. `placed` is sorted by places.
fn assemble(placed: Placed, how: How<'_>) -> Result<Loaded, DataError> {
    let Placed { pictures, folders, splits } = placed;
    check_splits(&pictures, &splits)?;
    let class_names = class_names(how.place, &pictures, &folders)?;
    // The classes are sorted and hold every picture's.
    let label = |slot: &Slot| class_names.binary_search(&slot.class).unwrap_or_default() as u32;
    let sample = |Picture { slot, seen }| Sample { part: slot.part, label: label(&slot), name: slot.name(), seen };
    let samples = pictures.into_iter().map(sample).collect();
    how.assemble(samples, class_names, &each_picture)
}

/// Every folder of a split must hold pictures: an empty one would make another dataset in silence.
fn check_splits(images: &[Picture], splits: &BTreeMap<Part, String>) -> Result<(), DataError> {
    match splits.iter().find(|(part, _)| images.iter().all(|image| image.slot.part != **part)) {
        Some((part, at)) => {
            let found = format!("a folder of {} pictures without any", part.adjective());
            Err(DataError::malformed(at, "", found, "at least one; fill or remove it"))
        }
        None => Ok(()),
    }
}

/// The training classes, sorted; every class folder must hold pictures, and every class be a training class.
fn class_names(
    place: &Path,
    images: &[Picture],
    folders: &BTreeMap<(Part, String), String>,
) -> Result<Vec<String>, DataError> {
    let of = |part| images.iter().filter(move |image| image.slot.part == part).map(|image| &image.slot.class);
    let classes: BTreeMap<Part, BTreeSet<&String>> = Part::ALL.map(|part| (part, of(part).collect())).into();
    let train = &classes[&Part::Train];
    if train.is_empty() {
        let expected = "`<class>/<picture>` or `train/<class>/<picture>`, PNG or JPEG; where the names of classes read \
                        like splits, set `dataset.layout = \"classes\"`";
        return Err(DataError::malformed(place.display(), "", "no training pictures", expected));
    }
    if let Some((_, at)) = folders.iter().find(|((part, class), _)| !classes[part].contains(class)) {
        return Err(DataError::malformed(at, "", "a class folder without pictures", "at least one; fill or remove it"));
    }
    for part in [Part::Validation, Part::Test] {
        if let Some(class) = classes[&part].difference(train).next() {
            let part = part.adjective();
            let found = format!("{part} pictures of class `{class}`, of which there are none to train on");
            let expected = format!("{part} classes that are training classes");
            return Err(DataError::malformed(place.display(), "", found, expected));
        }
    }
    Ok(train.iter().map(|class| (*class).clone()).collect())
}
