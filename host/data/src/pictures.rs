//! PNG and JPEG pictures in one folder a class, on disk or in tar archives.
//!
//! `train/<class>/...` and `test/<class>/...` (or `val`), or `<class>/...` without a test set. Samples are numbered by
//! what the pictures hold (see [`crate::order`]), so the order depends on no class, disk or archive.
//!
//! Names of classes and pictures go to tables that people read in terminals and spreadsheets, and to reports. One that
//! cannot be shown as it is, is refused here, once, instead of being cleaned in each of them: two cleaned names could be
//! one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use querist_protocol::is_showable;
use rayon::prelude::*;
use walkdir::WalkDir;

use crate::error::DataError;
use crate::load::Loaded;
use crate::memory::Kept;
use crate::order::Key;
use crate::picture;
use crate::picture_cache::PictureCache;
use crate::picture_files::{Chunk, Plan, Seen, check_length};
use crate::source::is_there;
use crate::tape::{Kind, Tape};

/// Files and folders that are no pictures, and memory of one.
const MAX_OTHERS: usize = 100_000;
const ITEM_BYTES: u64 = 512;
/// Longest name of a class, a folder or a picture.
const MAX_NAME: usize = 255;
/// Folders deeper than this are no dataset.
const MAX_DEPTH: usize = 16;

/// Reads all pictures at `place`: a folder, a tar or tar.gz archive, or a folder of two archives whose names hold
/// `train` and `test`.
pub(crate) fn read(place: &Path, size: Option<u32>, cache: Option<&PictureCache>) -> Result<Loaded, DataError> {
    let mut placed = Placed::default();
    let found = Found { size, kept: Kept::new() };
    match Pictures::find(place)? {
        Pictures::Folder(folder) => place_items(found.in_folder(&folder)?, None, &mut placed)?,
        Pictures::Archives(archives) => {
            for (archive, part) in archives {
                place_items(found.in_archive(&archive)?, part, &mut placed)?;
            }
        }
    }
    placed.pictures.par_sort_unstable_by(|a, b| a.slot.cmp(&b.slot));
    if let Some(twice) = placed.pictures.windows(2).find(|pair| pair[0].slot == pair[1].slot) {
        let at = format!(", `{}`", twice[0].slot.name());
        return Err(DataError::malformed(place.display(), at, "this path twice", "each path once"));
    }
    assemble(place, placed, size, cache)
}

/// Which kind of place holds the pictures.
pub(crate) enum Pictures {
    Folder(PathBuf),
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

    fn find(place: &Path) -> Result<Self, DataError> {
        if is_there(place) {
            return Ok(Self::Archives(vec![(place.to_owned(), None)]));
        }
        let entries = fs::read_dir(place).map_err(DataError::io(place))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let mut archives: Vec<PathBuf> =
            paths.map_err(DataError::io(place))?.into_iter().filter(|p| is_archive(p)).collect();
        archives.sort();
        let of = |word: &str| archives.iter().filter(|path| file_name(path).contains(word)).collect::<Vec<_>>();
        match (&of("train")[..], &of("test")[..]) {
            ([train], [test]) => {
                Ok(Self::Archives(vec![((*train).clone(), Some(Part::Train)), ((*test).clone(), Some(Part::Test))]))
            }
            ([], []) => Ok(Self::Folder(place.to_owned())),
            (train, test) => Err(DataError::malformed(
                place.display(),
                "",
                format!("{} archives with `train` and {} with `test` in their names", train.len(), test.len()),
                "one of each; name the right one with `dataset.path`",
            )),
        }
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or("")
}

fn is_archive(path: &Path) -> bool {
    [".tar", ".tar.gz", ".tgz"].iter().any(|ending| file_name(path).ends_with(ending)) && is_there(path)
}

/// Part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Train,
    Test,
}

impl Part {
    fn of(folder: &str) -> Option<Self> {
        match folder {
            "train" => Some(Self::Train),
            "test" | "val" => Some(Self::Test),
            _ => None,
        }
    }
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
        let part = if self.part == Part::Train { "train" } else { "test" };
        format!("{part}/{}/{}", self.class, self.file.join("/"))
    }
}

/// A picture and its place.
struct Picture {
    slot: Slot,
    seen: Seen,
}

impl Picture {
    /// What its number is by.
    fn key(&mut self) -> Result<Key, DataError> {
        Ok(Key::of(self.seen.hash()?, self.slot.name().as_bytes()))
    }
}

#[derive(Default)]
struct Placed {
    pictures: Vec<Picture>,
    /// Class folders, with pictures or without, and where each was seen.
    folders: BTreeMap<(Part, String), String>,
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

/// What is found, with the size that it is to have and the memory that is taken meanwhile.
struct Found {
    size: Option<u32>,
    kept: Kept,
}

impl Found {
    fn in_folder(&self, folder: &Path) -> Result<Vec<Item>, DataError> {
        let mut items = Vec::new();
        let mut files = Vec::new();
        for entry in WalkDir::new(folder).min_depth(1).max_depth(MAX_DEPTH).follow_links(true) {
            let entry = entry.map_err(|error| walking(folder, error))?;
            let at = entry.path().display().to_string();
            let names = utf8_names(entry.path().strip_prefix(folder).unwrap_or(entry.path()), &at)?;
            match (is_hidden(&names), entry.file_type().is_dir(), is_picture(&names)) {
                (true, ..) => {}
                (_, true, _) => self.keep(&mut items, Item { names, at, content: Content::Folder }, folder)?,
                (_, _, false) => self.keep(&mut items, Item { names, at, content: Content::Other }, folder)?,
                (_, _, true) => files.push((names, at, entry.into_path())),
            }
        }
        let look =
            |(names, at, path): (Vec<String>, String, PathBuf)| self.item(names, Seen::file(path, at, self.size)?);
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
            self.item(names, Seen::member(archive.clone(), number, at, &bytes, self.size)?)
        };
        let mut count = 0;
        each_member(path, &mut |Member { names, at, content }| {
            match content {
                MemberContent::Folder => self.keep(&mut others, Item { names, at, content: Content::Folder }, path)?,
                MemberContent::Other => self.keep(&mut others, Item { names, at, content: Content::Other }, path)?,
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

    /// Keeps what is no picture: a licence beside the classes, folders, but not a number without end.
    fn keep(&self, others: &mut Vec<Item>, item: Item, place: &Path) -> Result<(), DataError> {
        if others.len() == MAX_OTHERS {
            let found = format!("more than {MAX_OTHERS} files and folders that are no pictures");
            return Err(DataError::malformed(place.display(), "", found, "one folder of pictures a class"));
        }
        others.push(item);
        Ok(())
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
    let mut tape = Tape::open(path)?;
    while let Some(member) = tape.next()? {
        let at = format!("{}#{}", tape.file, member.path.display());
        let names = utf8_names(&member.path, &at)?;
        let content = match (is_hidden(&names), member.kind, is_picture(&names)) {
            (true, ..) => continue,
            (_, Kind::Folder, _) => MemberContent::Folder,
            (_, _, false) => MemberContent::Other,
            (_, Kind::Other, true) => {
                return Err(DataError::malformed(at, "", "a link or a device", "a regular file"));
            }
            (_, Kind::File, true) => {
                check_length(member.size, &at)?;
                MemberContent::Picture(tape.content(&member, &at)?)
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

/// Hidden files are the file manager's, not the user's.
fn is_hidden(names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| name.starts_with('.') || name == "Thumbs.db")
}

fn is_picture(names: &[String]) -> bool {
    let extension = names.last().and_then(|name| Path::new(name).extension()).and_then(OsStr::to_str);
    extension.is_some_and(|found| ["png", "jpg", "jpeg"].iter().any(|known| found.eq_ignore_ascii_case(known)))
}

/// How many folders hold everything and say nothing (`cifar10/train/...`, `flowers/rose/...`).
fn wrapper_depth(items: &[Item]) -> usize {
    let pictures = || items.iter().filter(|item| matches!(item.content, Content::Picture(_)));
    let wraps = |depth: usize| {
        let mut firsts = pictures().map(|item| item.names.get(depth));
        let Some(Some(first)) = firsts.next() else { return false };
        Part::of(first).is_none()
            && firsts.all(|name| name == Some(first))
            && pictures().all(|item| item.names.len() >= depth + 3)
    };
    (0..MAX_DEPTH).take_while(|&depth| wraps(depth)).count()
}

/// Sorts what was found into the dataset. `known` is the part that an archive's name tells.
fn place_items(items: Vec<Item>, known: Option<Part>, placed: &mut Placed) -> Result<(), DataError> {
    let depth = wrapper_depth(&items);
    for Item { mut names, at, content } in items {
        names.drain(..depth.min(names.len()));
        let part = names.first().and_then(|first| Part::of(first));
        names.drain(..usize::from(part.is_some()));
        let part = part.or(known).unwrap_or(Part::Train);
        match (content, names.len()) {
            (Content::Folder, 1) => {
                placed.folders.insert((part, names.remove(0)), at);
            }
            // A licence or a list beside the class folders is no sample.
            (Content::Folder, _) | (Content::Other, 0 | 1) => {}
            (Content::Other, _) => {
                let found = "a file in a class folder that is no .png, .jpg or .jpeg";
                return Err(DataError::malformed(at, "", found, "pictures of these kinds; convert it or move it away"));
            }
            (Content::Picture(_), 0 | 1) => {
                return Err(DataError::malformed(at, "", "a picture outside any class folder", "`<class>/<picture>`"));
            }
            (Content::Picture(seen), _) => {
                let class = names.remove(0);
                placed.pictures.push(Picture { slot: Slot { part, class, file: names }, seen });
            }
        }
    }
    Ok(())
}

/// The names along a path that leads nowhere but down.
fn utf8_names(path: &Path, at: &str) -> Result<Vec<String>, DataError> {
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

/// Checks classes and sizes, numbers the pictures by their contents, and only then decodes them to one block.
///
/// `placed` is sorted by places.
fn assemble(
    place: &Path,
    placed: Placed,
    size: Option<u32>,
    cache: Option<&PictureCache>,
) -> Result<Loaded, DataError> {
    let Placed { mut pictures, folders } = placed;
    let class_names = class_names(place, &pictures, &folders)?;
    let plan = plan(place, &pictures, size)?;
    let keys: Vec<Key> = pictures.par_iter_mut().map(Picture::key).collect::<Result<_, _>>()?;
    let mut keyed: Vec<(Key, Picture)> = keys.into_iter().zip(pictures).collect();
    keyed.par_sort_unstable_by_key(|(key, picture)| (picture.slot.part, *key));
    let seen: Vec<&Seen> = keyed.iter().map(|(_, picture)| &picture.seen).collect();
    let bytes = plan.pixels(&seen, cache, each_picture)?;
    let slots = || keyed.iter().map(|(_, picture)| &picture.slot);
    // The classes are sorted and hold every picture's.
    let labels = slots().map(|slot| class_names.binary_search(&slot.class).unwrap_or_default() as u32).collect();
    let official_test = slots().filter(|slot| slot.part == Part::Test).count();
    Ok(Loaded {
        shape: plan.shape,
        bytes,
        labels,
        official_test,
        files: slots().map(Slot::name).collect(),
        class_names,
    })
}

/// What all pictures become; without a size they must have the same.
fn plan(place: &Path, pictures: &[Picture], size: Option<u32>) -> Result<Plan, DataError> {
    let shapes = || pictures.iter().map(|picture| picture::shape(&picture.seen.header, size));
    let [height, width, _] = shapes().next().unwrap_or_default();
    if let Some((odd, shape)) = pictures.iter().zip(shapes()).find(|(_, shape)| shape[..2] != [height, width]) {
        return Err(DataError::malformed(
            place.display(),
            format_args!(", `{}`", odd.slot.name()),
            format!("a picture of {}x{}", shape[0], shape[1]),
            format!("{height}x{width} like `{}`; set `dataset.size` to resize all", pictures[0].slot.name()),
        ));
    }
    let channels = shapes().map(|shape| shape[2]).max().unwrap_or(1);
    Ok(Plan { shape: [height, width, channels], size })
}

/// The training classes, sorted; every class folder must hold pictures and every test class be a training class.
fn class_names(
    place: &Path,
    images: &[Picture],
    folders: &BTreeMap<(Part, String), String>,
) -> Result<Vec<String>, DataError> {
    let of = |part| images.iter().filter(move |image| image.slot.part == part).map(|image| &image.slot.class);
    let (train, test): (BTreeSet<_>, BTreeSet<_>) = (of(Part::Train).collect(), of(Part::Test).collect());
    if train.is_empty() {
        let expected = "`<class>/<picture>` or `train/<class>/<picture>`, PNG or JPEG";
        return Err(DataError::malformed(place.display(), "", "no training pictures", expected));
    }
    let filled =
        |part: Part, class: &String| if part == Part::Train { train.contains(class) } else { test.contains(class) };
    if let Some((_, at)) = folders.iter().find(|((part, class), _)| !filled(*part, class)) {
        return Err(DataError::malformed(at, "", "a class folder without pictures", "at least one; fill or remove it"));
    }
    if let Some(class) = test.difference(&train).next() {
        let found = format!("test pictures of class `{class}`, of which there are none to train on");
        return Err(DataError::malformed(place.display(), "", found, "test classes that are training classes"));
    }
    Ok(train.into_iter().cloned().collect())
}
