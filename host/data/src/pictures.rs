//! PNG and JPEG pictures in one folder a class, on disk or in tar archives.
//!
//! `train/<class>/...` and `test/<class>/...` (or `val`), or `<class>/...` without a test set. Samples are numbered in
//! the order of their paths, compared name by name, so the order does not depend on the disk or the archive.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{Cursor, Read};
use std::path::{Component, Path, PathBuf};

use image::{ColorType, DynamicImage, ImageReader, Limits};
use rayon::prelude::*;
use walkdir::WalkDir;

use crate::error::DataError;
use crate::load::{Loaded, scale};
use crate::source::{Source, reserve};

/// Pictures decoded at once: enough to keep every core busy, few enough to hold in memory undecoded.
const CHUNK: usize = 512;
/// Largest side of a picture, and most bytes that decoding one may take.
const MAX_SIDE: u32 = 16_384;
const MAX_DECODE_BYTES: u64 = 512 << 20;
/// Largest encoded picture.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Folders deeper than this are no dataset.
const MAX_DEPTH: usize = 16;

/// Reads all pictures at `place`: a folder, a tar or tar.gz archive, or a folder of two archives whose names hold
/// `train` and `test`.
pub(crate) fn read(place: &Path, size: Option<u32>) -> Result<Loaded, DataError> {
    let mut placed = Placed::default();
    match Pictures::find(place)? {
        Pictures::Folder(folder) => place_items(read_folder(&folder, size)?, None, &mut placed)?,
        Pictures::Archives(archives) => {
            for (archive, part) in archives {
                place_items(read_archive(&archive, size)?, part, &mut placed)?;
            }
        }
    }
    placed.pictures.par_sort_by(|a, b| a.slot.cmp(&b.slot));
    if let Some(twice) = placed.pictures.windows(2).find(|pair| pair[0].slot == pair[1].slot) {
        let at = format!(", `{}`", twice[0].slot.name());
        return Err(DataError::malformed(place.display(), at, "this path twice", "each path once"));
    }
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
        place.is_file()
            || fs::read_dir(place).is_ok_and(|mut entries| {
                entries.any(|entry| entry.is_ok_and(|entry| is_archive(&entry.path()) || entry.path().is_dir()))
            })
    }

    fn find(place: &Path) -> Result<Self, DataError> {
        if place.is_file() {
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
    [".tar", ".tar.gz", ".tgz"].iter().any(|ending| file_name(path).ends_with(ending)) && path.is_file()
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

/// Place of a picture in the dataset; the order is that of samples.
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
    Picture {
        shape: [usize; 3],
        bytes: Vec<u8>,
    },
}

fn read_folder(folder: &Path, size: Option<u32>) -> Result<Vec<Item>, DataError> {
    let mut items = Vec::new();
    let mut files = Vec::new();
    for entry in WalkDir::new(folder).min_depth(1).max_depth(MAX_DEPTH).follow_links(true) {
        let entry =
            entry.map_err(|error| DataError::Io { file: folder.display().to_string(), source: error.into() })?;
        let at = entry.path().display().to_string();
        let names = utf8_names(entry.path().strip_prefix(folder).unwrap_or(entry.path()), &at)?;
        match (is_hidden(&names), entry.file_type().is_dir(), is_picture(&names)) {
            (true, ..) => {}
            (_, true, _) => items.push(Item { names, at, content: Content::Folder }),
            (_, _, false) => items.push(Item { names, at, content: Content::Other }),
            (_, _, true) => files.push((names, at, entry.into_path())),
        }
    }
    let read = |(names, at, path): (Vec<String>, String, PathBuf)| {
        check_length(fs::metadata(&path).map_err(DataError::io(&path))?.len(), &at)?;
        decode(names, &fs::read(&path).map_err(DataError::io(&path))?, at, size)
    };
    let pictures: Vec<Item> = files.into_par_iter().map(read).collect::<Result<_, _>>()?;
    items.extend(pictures);
    Ok(items)
}

fn read_archive(path: &Path, size: Option<u32>) -> Result<Vec<Item>, DataError> {
    let source = Source::open(path)?;
    let file = source.name.clone();
    let bad = |error: std::io::Error| {
        DataError::malformed(&file, "", format!("no readable tar archive ({error})"), "a whole .tar or .tar.gz")
    };
    let mut tar = tar::Archive::new(source.into_reader());
    let mut items = Vec::new();
    let mut chunk: Vec<(Vec<String>, Vec<u8>, String)> = Vec::with_capacity(CHUNK);
    for entry in tar.entries().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        let inside = entry.path().map_err(bad)?.into_owned();
        let at = format!("{file}#{}", inside.display());
        let names = utf8_names(&inside, &at)?;
        let kind = entry.header().entry_type();
        match (is_hidden(&names), kind.is_dir(), is_picture(&names)) {
            (true, ..) => continue,
            (_, true, _) => items.push(Item { names, at, content: Content::Folder }),
            (_, _, false) => items.push(Item { names, at, content: Content::Other }),
            _ if !kind.is_file() => {
                return Err(DataError::malformed(at, "", "a link or a device", "a regular file"));
            }
            _ => {
                check_length(entry.size(), &at)?;
                // A claim costs nothing: memory grows with the bytes that come.
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(bad)?;
                if bytes.len() as u64 != entry.size() {
                    let found = format!("the archive ends after {} bytes of this picture", bytes.len());
                    return Err(DataError::malformed(at, "", found, format!("{}", entry.size())));
                }
                chunk.push((names, bytes, at));
            }
        }
        if chunk.len() == CHUNK {
            items.extend(decode_all(&mut chunk, size)?);
        }
    }
    items.extend(decode_all(&mut chunk, size)?);
    Ok(items)
}

fn decode_all(chunk: &mut Vec<(Vec<String>, Vec<u8>, String)>, size: Option<u32>) -> Result<Vec<Item>, DataError> {
    chunk.par_drain(..).map(|(names, bytes, at)| decode(names, &bytes, at, size)).collect()
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
    let pictures = || items.iter().filter(|item| matches!(item.content, Content::Picture { .. }));
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
            (Content::Picture { .. }, 0 | 1) => {
                return Err(DataError::malformed(at, "", "a picture outside any class folder", "`<class>/<picture>`"));
            }
            (Content::Picture { shape, bytes }, _) => {
                let class = names.remove(0);
                placed.pictures.push(Picture { slot: Slot { part, class, file: names }, shape, bytes });
            }
        }
    }
    Ok(())
}

/// The names along a path that leads nowhere but down.
fn utf8_names(path: &Path, at: &str) -> Result<Vec<String>, DataError> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => {
            let name = name.to_str().map(str::to_owned);
            Some(name.ok_or_else(|| DataError::malformed(at, "", "a name that is no UTF-8", "UTF-8 names")))
        }
        Component::CurDir => None,
        _ => Some(Err(DataError::malformed(
            at,
            "",
            "a path that leads out of the dataset",
            "a relative path without `..`",
        ))),
    };
    path.components().filter_map(name).collect()
}

fn check_length(length: u64, at: &str) -> Result<(), DataError> {
    if length <= MAX_FILE_BYTES {
        return Ok(());
    }
    Err(DataError::malformed(at, "", format!("a picture of {length} bytes"), format!("at most {MAX_FILE_BYTES}")))
}

/// Decodes one picture to grey or red-green-blue bytes; transparency is dropped, 16 bits become 8.
fn decode(names: Vec<String>, bytes: &[u8], at: String, size: Option<u32>) -> Result<Item, DataError> {
    let image = decode_image(bytes).map_err(|error| {
        DataError::malformed(&at, "", format!("the picture cannot be decoded ({error})"), "a whole PNG or JPEG")
    })?;
    let grey = matches!(image.color(), ColorType::L8 | ColorType::L16 | ColorType::La8 | ColorType::La16);
    let image =
        if grey { DynamicImage::ImageLuma8(image.into_luma8()) } else { DynamicImage::ImageRgb8(image.into_rgb8()) };
    let image = match size {
        Some(side) if (image.width(), image.height()) != (side, side) => scale(&image, side),
        _ => image,
    };
    let shape = [image.height() as usize, image.width() as usize, if grey { 1 } else { 3 }];
    Ok(Item { names, at, content: Content::Picture { shape, bytes: image.into_bytes() } })
}

fn decode_image(bytes: &[u8]) -> image::ImageResult<DynamicImage> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    reader.limits(limits);
    reader.decode()
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
    let mut bytes = reserve((images.len() as u64) * (height * width * channels) as u64, "the images")?;
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
