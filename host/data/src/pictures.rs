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

use querist_files::Links;
use querist_protocol::is_showable;
use rayon::prelude::*;
use walkdir::WalkDir;

use crate::error::DataError;
use crate::load::Loaded;
use crate::memory::{Kept, Shared, reserve};
use crate::order::{self, Key};
use crate::picture::decode;
use crate::source::is_there;
use crate::tape::{Kind, Tape};

/// Pictures of an archive decoded at once: enough to keep every core busy, few enough to hold in memory undecoded.
const CHUNK: usize = 512;
const CHUNK_BYTES: usize = 64 << 20;
/// Largest encoded picture.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Memory of all encoded files that are in work at a time, whatever the number of threads.
static ENCODED: Shared = Shared::new(1 << 30);
/// Files and folders that are no pictures, and memory of one.
const MAX_OTHERS: usize = 100_000;
const ITEM_BYTES: u64 = 512;
/// Longest name of a class, a folder or a picture.
const MAX_NAME: usize = 255;
/// Folders deeper than this are no dataset.
const MAX_DEPTH: usize = 16;

/// Reads all pictures at `place`: a folder, a tar or tar.gz archive, or a folder of two archives whose names hold
/// `train` and `test`.
pub(crate) fn read(place: &Path, size: Option<u32>) -> Result<Loaded, DataError> {
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
    let mut slots: Vec<&Slot> = placed.pictures.iter().map(|picture| &picture.slot).collect();
    slots.par_sort_unstable();
    if let Some(twice) = slots.windows(2).find(|pair| pair[0] == pair[1]) {
        let at = format!(", `{}`", twice[0].name());
        return Err(DataError::malformed(place.display(), at, "this path twice", "each path once"));
    }
    placed.pictures.par_sort_unstable_by_key(|picture| (picture.slot.part, picture.key));
    assemble(place, placed)
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

/// A picture as bytes, `[height, width, channels]`.
struct Picture {
    slot: Slot,
    /// What its number is by.
    key: Key,
    shape: [usize; 3],
    bytes: Vec<u8>,
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
    Picture(Decoded),
}

/// A picture as bytes, and the hash of the file that it came from.
struct Decoded {
    file: [u8; 32],
    shape: [usize; 3],
    bytes: Vec<u8>,
}

/// What is found, with the size that it is scaled to and the memory that it takes.
struct Found {
    size: Option<u32>,
    kept: Kept,
}

/// A picture as it lies in a file.
struct Encoded {
    names: Vec<String>,
    at: String,
    bytes: Vec<u8>,
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
        let read = |(names, at, path): (Vec<String>, String, PathBuf)| {
            let file = querist_files::open(&path, Links::Follow)?;
            let _loan = ENCODED.lend(2 * querist_files::length_of(&file, &path)?.min(MAX_FILE_BYTES));
            let bytes = querist_files::read_open(file, &path, MAX_FILE_BYTES)?;
            self.decode(Encoded { names, at, bytes })
        };
        let pictures: Vec<Item> = files.into_par_iter().map(read).collect::<Result<_, _>>()?;
        items.extend(pictures);
        Ok(items)
    }

    fn in_archive(&self, path: &Path) -> Result<Vec<Item>, DataError> {
        let mut tape = Tape::open(path)?;
        let mut items = Vec::new();
        let mut chunk: Vec<Encoded> = Vec::new();
        let mut others = Vec::new();
        while let Some(member) = tape.next()? {
            let at = format!("{}#{}", tape.file, member.path.display());
            let names = utf8_names(&member.path, &at)?;
            match (is_hidden(&names), member.kind, is_picture(&names)) {
                (true, ..) => {}
                (_, Kind::Folder, _) => self.keep(&mut others, Item { names, at, content: Content::Folder }, path)?,
                (_, _, false) => self.keep(&mut others, Item { names, at, content: Content::Other }, path)?,
                (_, Kind::Other, true) => {
                    return Err(DataError::malformed(at, "", "a link or a device", "a regular file"));
                }
                (_, Kind::File, true) => {
                    check_length(member.size, &at)?;
                    let bytes = tape.content(&member, &at)?;
                    chunk.push(Encoded { names, at, bytes });
                }
            }
            if chunk.len() == CHUNK || chunk.iter().map(|encoded| encoded.bytes.len()).sum::<usize>() > CHUNK_BYTES {
                items.extend(self.decode_all(&mut chunk)?);
            }
        }
        items.extend(self.decode_all(&mut chunk)?);
        items.append(&mut others);
        Ok(items)
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

    fn decode_all(&self, chunk: &mut Vec<Encoded>) -> Result<Vec<Item>, DataError> {
        chunk.par_drain(..).map(|encoded| self.decode(encoded)).collect()
    }

    /// Decodes one picture to grey or red-green-blue bytes; transparency is dropped, 16 bits become 8.
    fn decode(&self, Encoded { names, at, bytes }: Encoded) -> Result<Item, DataError> {
        let file = order::hash(&bytes);
        let (shape, bytes) = decode(&bytes, self.size).map_err(|error| {
            DataError::malformed(&at, "", format!("the picture cannot be decoded ({error})"), "a whole PNG or JPEG")
        })?;
        self.kept.add(bytes.len() as u64 + ITEM_BYTES, "decoding all pictures (`dataset.size` makes them smaller)")?;
        Ok(Item { names, at, content: Content::Picture(Decoded { file, shape, bytes }) })
    }
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

fn check_length(length: u64, at: &str) -> Result<(), DataError> {
    if length <= MAX_FILE_BYTES {
        return Ok(());
    }
    Err(DataError::malformed(at, "", format!("a picture of {length} bytes"), format!("at most {MAX_FILE_BYTES}")))
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
            (Content::Picture(Decoded { file, shape, bytes }), _) => {
                let class = names.remove(0);
                let slot = Slot { part, class, file: names };
                placed.pictures.push(Picture { key: Key::of(file, slot.name().as_bytes()), slot, shape, bytes });
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

/// Joins sorted pictures to one block, checking sizes and classes.
fn assemble(place: &Path, placed: Placed) -> Result<Loaded, DataError> {
    let Placed { pictures: images, folders } = placed;
    let classes = class_names(place, &images, &folders)?;
    let [height, width, _] = images[0].shape;
    let channels = images.iter().map(|image| image.shape[2]).max().unwrap_or(1);
    if let Some(odd) = images.iter().find(|image| image.shape[..2] != [height, width]) {
        return Err(DataError::malformed(
            place.display(),
            format_args!(", `{}`", odd.slot.name()),
            format!("a picture of {}x{}", odd.shape[0], odd.shape[1]),
            format!("{height}x{width} like `{}`; set `dataset.size` to resize all", images[0].slot.name()),
        ));
    }
    let mut bytes: Vec<u8> = reserve((images.len() as u64) * (height * width * channels) as u64, "the images")?;
    let mut labels = Vec::with_capacity(images.len());
    let mut files = Vec::with_capacity(images.len());
    let mut official_test = 0;
    for image in images {
        match channels == image.shape[2] {
            true => bytes.extend_from_slice(&image.bytes),
            false => bytes.extend(image.bytes.iter().flat_map(|&grey| [grey; 3])),
        }
        // The classes are sorted and hold every picture's.
        labels.push(classes.binary_search(&image.slot.class).unwrap_or_default() as u32);
        files.push(image.slot.name());
        official_test += usize::from(image.slot.part == Part::Test);
    }
    Ok(Loaded { shape: [height, width, channels], bytes, labels, official_test, class_names: classes, files })
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
