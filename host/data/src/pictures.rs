//! PNG and JPEG pictures in one folder a class, on disk or in tar and zip archives.
//!
//! [`crate::layout`] says which folders are splits and which are classes. Samples are numbered by what the pictures hold
//! (see [`crate::order`]), so the order depends on no class, disk or archive.
//!
//! Names of classes and pictures go to tables that people read in terminals and spreadsheets, and to reports. One that
//! cannot be shown as it is, is refused here, once, instead of being cleaned in each of them: two cleaned names could be
//! one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use querist_core::config::DatasetLayout;
use querist_files::Links;
use rayon::prelude::*;

use crate::archive::Archive;
use crate::error::DataError;
use crate::ignored::is_ignored;
use crate::layout::{Context, Part, Place, Reading};
use crate::load::{Loaded, scale};
use crate::memory::{Kept, Shared, reserve};
use crate::order::{self, Key};
use crate::places::Pictures;
use crate::tape::Kind;
use crate::walk::{MAX_OTHERS, Walked, is_picture, shown_names, too_many_others, walk};

/// Pictures of an archive decoded at once: enough to keep every core busy, few enough to hold in memory undecoded.
const CHUNK: usize = 512;
const CHUNK_BYTES: usize = 64 << 20;
/// Largest side of a picture, and most bytes that one may have decoded.
pub(crate) const MAX_SIDE: u32 = 16_384;
const MAX_DECODED_BYTES: u64 = 512 << 20;
/// Pixels that a byte of a JPEG can stand for at most: a block of 64 takes a bit or more, and twice that is let pass.
const JPEG_PIXELS_A_BYTE: u64 = 1024;
/// Most bytes that a decoder may take for what stands before the pixels.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Largest encoded picture.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Memory of all encoded files, and of all decoders, that are in work at a time, whatever the number of threads.
static ENCODED: Shared = Shared::new(1 << 30);
static DECODING: Shared = Shared::new(2 << 30);
/// A decoder holds the pixels, their like in other colours, and coefficients of two bytes each.
const DECODING_RATIO: u64 = 4;
/// Memory of a file or a folder.
const ITEM_BYTES: u64 = 512;

/// Reads all pictures at `place`: a folder, a tar, tar.gz or zip archive, or a folder of archives whose names tell splits.
pub(crate) fn read(place: &Path, size: Option<u32>, layout: Option<DatasetLayout>) -> Result<Loaded, DataError> {
    let mut placed = Placed::default();
    let found = Found { size, kept: Kept::new() };
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
    let mut slots: Vec<&Slot> = placed.pictures.iter().map(|picture| &picture.slot).collect();
    slots.par_sort_unstable();
    if let Some(twice) = slots.windows(2).find(|pair| pair[0] == pair[1]) {
        let at = format!(", `{}`", twice[0].name());
        return Err(DataError::malformed(place.display(), at, "this path twice", "each path once"));
    }
    placed.pictures.par_sort_unstable_by_key(|picture| (picture.slot.part, picture.key));
    assemble(place, placed)
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
        for entry in walk(folder, &mut |_| ()) {
            let Walked { names, at, path, is_folder } = entry?;
            match (is_folder, is_picture(&names)) {
                (true, _) => keep(&mut items, Item { names, at, content: Content::Folder }, folder)?,
                (_, false) => keep(&mut items, Item { names, at, content: Content::Other }, folder)?,
                (_, true) => files.push((names, at, path)),
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
        let mut tape = Archive::open(path)?;
        let mut items = Vec::new();
        let mut chunk: Vec<Encoded> = Vec::new();
        let mut others = Vec::new();
        while let Some(member) = tape.next()? {
            let at = format!("{}#{}", tape.file(), member.path.display());
            let names = shown_names(&member.path, &at)?;
            if names.is_empty() || names.iter().any(|name| is_ignored(name)) {
                continue;
            }
            match (member.kind, is_picture(&names)) {
                (Kind::Folder, _) => keep(&mut others, Item { names, at, content: Content::Folder }, path)?,
                (_, false) => keep(&mut others, Item { names, at, content: Content::Other }, path)?,
                (Kind::Other, true) => {
                    return Err(DataError::malformed(at, "", "a link or a device", "a regular file"));
                }
                (Kind::File, true) => {
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

pub(crate) fn check_length(length: u64, at: &str) -> Result<(), DataError> {
    if length <= MAX_FILE_BYTES {
        return Ok(());
    }
    Err(DataError::malformed(at, "", format!("a picture of {length} bytes"), format!("at most {MAX_FILE_BYTES}")))
}

/// Sorts what was found into the dataset.
fn place_items(items: Vec<Item>, context: Context<'_>, placed: &mut Placed) -> Result<(), DataError> {
    let pictures = items.iter().filter(|item| matches!(item.content, Content::Picture(_)));
    let reading = Reading::of(pictures.map(|item| &item.names[..]), context)?;
    for Item { names, at, content } in items {
        match (content, reading.place(names)) {
            (Content::Picture(decoded), Place::InClass { part, class, names }) if !names.is_empty() => {
                let Decoded { file, shape, bytes } = decoded;
                let slot = Slot { part, class, file: names };
                placed.pictures.push(Picture { key: Key::of(file, slot.name().as_bytes()), slot, shape, bytes });
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

/// Shape and bytes of a picture, scaled where a size is wanted.
fn decode(bytes: &[u8], size: Option<u32>) -> Result<([usize; 3], Vec<u8>), String> {
    let image = decode_image(bytes)?;
    let image = match size {
        Some(side) if (image.width(), image.height()) != (side, side) => scale(&image, side)?,
        _ => image,
    };
    let channels = usize::from(image.color().channel_count());
    Ok(([image.height() as usize, image.width() as usize, channels], image.into_bytes()))
}

fn decode_image(bytes: &[u8]) -> Result<DynamicImage, String> {
    let said = |error: ImageError| error.to_string();
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_HEADER_BYTES);
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|error| error.to_string())?;
    reader.limits(limits.clone());
    let format = reader.format();
    let decoder = reader.into_decoder().map_err(said)?;
    let (width, height) = decoder.dimensions();
    let can_hold = (bytes.len() as u64).saturating_mul(JPEG_PIXELS_A_BYTE);
    if format == Some(ImageFormat::Jpeg) && u64::from(width) * u64::from(height) > can_hold {
        // The decoder would paint what is missing.
        return Err(format!("it claims {width}x{height} pixels, more than {} bytes can hold", bytes.len()));
    }
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    limits.reserve(decoder.total_bytes()).map_err(said)?;
    // A small file may claim a large picture, and as many do so at once as there are threads.
    let _loan = DECODING.lend(decoder.total_bytes().saturating_mul(DECODING_RATIO));
    let image = DynamicImage::from_decoder(decoder).map_err(said)?;
    let grey = matches!(image.color(), ColorType::L8 | ColorType::L16 | ColorType::La8 | ColorType::La16);
    Ok(if grey { DynamicImage::ImageLuma8(image.into_luma8()) } else { DynamicImage::ImageRgb8(image.into_rgb8()) })
}

/// Joins sorted pictures to one block, checking sizes and classes.
fn assemble(place: &Path, placed: Placed) -> Result<Loaded, DataError> {
    let Placed { pictures: images, folders, splits } = placed;
    check_splits(&images, &splits)?;
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
    let (mut official_validation, mut official_test) = (0, 0);
    for image in images {
        match channels == image.shape[2] {
            true => bytes.extend_from_slice(&image.bytes),
            false => bytes.extend(image.bytes.iter().flat_map(|&grey| [grey; 3])),
        }
        // The classes are sorted and hold every picture's.
        labels.push(classes.binary_search(&image.slot.class).unwrap_or_default() as u32);
        files.push(image.slot.name());
        official_validation += usize::from(image.slot.part == Part::Validation);
        official_test += usize::from(image.slot.part == Part::Test);
    }
    let shape = [height, width, channels];
    Ok(Loaded { shape, bytes, labels, official_validation, official_test, class_names: classes, files })
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
