//! IDX files: MNIST and the sets that share its format.
//!
//! Big-endian: a magic number (2051 images, 2049 labels), one u32 a dimension, then bytes.

use std::path::Path;

use crate::catalogue::{IdxFormat, PublicSet};
use crate::error::DataError;
use crate::load::Loaded;
use crate::source::{Source, is_there};

const IMAGES_MAGIC: u32 = 2051;
const LABELS_MAGIC: u32 = 2049;

/// Reads the four files of a set that lie in a folder or in a zip archive.
pub(crate) fn read_set(set: &PublicSet, format: &IdxFormat, place: &Path) -> Result<Loaded, DataError> {
    let [train_images, train_labels, test_images, test_labels] = format.stems;
    let pair = |images: &str, labels: &str| read_pair(set, format, place, images, labels);
    let (train, test) = rayon::join(|| pair(train_images, train_labels), || pair(test_images, test_labels));
    let ((mut images, mut labels), (tested, test_labels)) = (train?, test?);
    if (images.height, images.width) != (tested.height, tested.width) {
        return Err(DataError::malformed(
            &tested.name,
            ", byte 8",
            format!("test images of {}x{}", tested.height, tested.width),
            format!("{}x{} as in {}", images.height, images.width, images.name),
        ));
    }
    images.bytes.extend_from_slice(&tested.bytes);
    labels.extend_from_slice(&test_labels);
    let mut loaded = Loaded {
        shape: [images.height, images.width, 1],
        bytes: images.bytes.into(),
        official_validation: 0,
        official_test: test_labels.len(),
        labels,
        class_names: set.class_names(),
        files: Vec::new(),
    };
    // What is ordered anew is known by its published numbers.
    if format.ordered {
        let train = loaded.labels.len() - loaded.official_test;
        let name = |stem: &'static str, count: usize| (0..count).map(move |row| format!("{stem}#{row}"));
        loaded.files = name(train_images, train).chain(name(test_images, loaded.official_test)).collect();
    }
    Ok(loaded)
}

struct IdxImages {
    name: String,
    height: usize,
    width: usize,
    bytes: Vec<u8>,
}

/// One image file and its label file, checked against each other.
fn read_pair(
    set: &PublicSet,
    format: &IdxFormat,
    place: &Path,
    images: &str,
    labels: &str,
) -> Result<(IdxImages, Vec<u32>), DataError> {
    let mut images = read_images(find(set, place, images)?)?;
    if format.transposed {
        transpose(&mut images);
    }
    let source = find(set, place, labels)?;
    let (name, labels) = (source.name.clone(), read_labels(source, format.first_label, set.classes)?);
    let count = images.bytes.len() / (images.height * images.width);
    if labels.len() != count {
        return Err(DataError::malformed(
            name,
            ", byte 4",
            format!("{} labels", labels.len()),
            format!("{count}, one for each image of {}", images.name),
        ));
    }
    Ok((images, labels))
}

/// Opens `stem` plain or gzipped, in a folder or in a zip archive there.
fn find(set: &PublicSet, place: &Path, stem: &str) -> Result<Source, DataError> {
    // Copies of these files go round under both spellings.
    let dotted = stem.replace("-idx", ".idx");
    let names = [format!("{stem}.gz"), stem.to_owned(), format!("{dotted}.gz"), dotted];
    if let Some(path) = names.iter().map(|name| place.join(name)).find(|path| is_there(path)) {
        return Source::open(&path);
    }
    let is_zip =
        |path: &Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip")) && is_there(path);
    let published = set.files.iter().map(|file| place.join(file.name));
    if let Some(archive) = [place.to_owned()].into_iter().chain(published).find(|path| is_zip(path)) {
        let member = format!("gzip/{stem}.gz");
        return Source::open_member(&archive, &member)?.ok_or_else(|| {
            DataError::malformed(archive.display(), "", format!("no member `{member}`"), "the published archive")
        });
    }
    Err(set.missing(place, format!("`{stem}` or `{stem}.gz`")))
}

fn read_images(mut source: Source) -> Result<IdxImages, DataError> {
    let [count, height, width] = header(&mut source, IMAGES_MAGIC, "images")?;
    if [count, height, width].contains(&0) {
        return Err(source.error(format!("{count} images of {height}x{width}"), "at least one image of one pixel"));
    }
    let size = u64::from(count).checked_mul(u64::from(height) * u64::from(width));
    let size = size.ok_or_else(|| source.error("sizes beyond 64 bits", "the size of a real file"))?;
    let bytes = source.rest(size, "images")?;
    Ok(IdxImages { name: source.name, height: height as usize, width: width as usize, bytes })
}

fn read_labels(mut source: Source, first: u8, classes: usize) -> Result<Vec<u32>, DataError> {
    let [count] = header(&mut source, LABELS_MAGIC, "labels")?;
    let bytes = source.rest(u64::from(count), "labels")?;
    let last = usize::from(first) + classes - 1;
    match bytes.iter().position(|&label| label < first || usize::from(label) > last) {
        Some(at) => Err(DataError::malformed(
            &source.name,
            format_args!(", record {at} (byte {})", at + 8),
            format!("label {}", bytes[at]),
            format!("{first} to {last}"),
        )),
        None => Ok(bytes.into_iter().map(|label| u32::from(label - first)).collect()),
    }
}

fn header<const N: usize>(source: &mut Source, magic: u32, what: &str) -> Result<[u32; N], DataError> {
    let found = u32::from_be_bytes(source.array("header")?);
    if found != magic {
        let found = format!("magic number {found}");
        return Err(DataError::malformed(&source.name, ", byte 0", found, format!("{magic}, an IDX file of {what}")));
    }
    let mut sizes = [0; N];
    for size in &mut sizes {
        *size = u32::from_be_bytes(source.array("header")?);
    }
    Ok(sizes)
}

/// Swaps rows and columns of every image.
fn transpose(images: &mut IdxImages) {
    let (height, width) = (images.height, images.width);
    let mut turned = vec![0; height * width];
    for image in images.bytes.chunks_exact_mut(height * width) {
        for row in 0..height {
            for column in 0..width {
                turned[column * height + row] = image[row * width + column];
            }
        }
        image.copy_from_slice(&turned);
    }
    (images.height, images.width) = (width, height);
}
