//! CIFAR-10 and CIFAR-100 in their binary and in their Python form.
//!
//! A record is one label byte (CIFAR-100: coarse, then fine) and 3072 bytes: the red, green and blue planes of 32x32.
//! In the Python form a batch is a pickle of a dict with `data`, the same 3072 bytes a row, and `labels` or
//! `fine_labels`.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::catalogue::{CifarFormat, PublicSet};
use crate::error::DataError;
use crate::load::Loaded;
use crate::memory::reserve;
use crate::pickle::Pickle;
use crate::source::{Source, is_there};
use crate::tape::{Kind, Tape};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;

/// Where the files lie, and in which form.
pub(crate) struct Place {
    form: Form,
    at: At,
}

enum At {
    Folder(PathBuf),
    Archive(PathBuf),
}

/// How the records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Binary,
    /// Pickles of dicts.
    Python,
}

impl Place {
    /// Looks for the files of either form in `place`, in the folder that its archive unpacks to, and for the archive.
    pub fn find(format: &CifarFormat, set: &PublicSet, place: &Path) -> Option<Self> {
        let binary = set.files.first().map_or("", |file| file.name);
        [(Form::Binary, format.folder, binary), (Form::Python, format.python_folder, format.python_archive)]
            .into_iter()
            .find_map(|(form, folder, archive)| {
                Some(Self { form, at: Self::at(format, form, place, (folder, archive))? })
            })
    }

    fn at(format: &CifarFormat, form: Form, place: &Path, (folder, archive): (&str, &str)) -> Option<At> {
        let names = form.names(format);
        let unpacked = [place.to_owned(), place.join(folder)];
        // One of the files will do: what is missing is said when they are read.
        let any = |folder: &PathBuf| names.iter().any(|file| is_there(&folder.join(file)));
        if let Some(folder) = unpacked.into_iter().find(any) {
            return Some(At::Folder(folder));
        }
        let named = Some(place.join(archive)).filter(|archive| is_there(archive));
        // Archives of pictures are told from the published one by what is in them.
        let given = || (is_there(place) && holds(place, names.last()?)).then(|| place.to_owned());
        named.or_else(given).map(At::Archive)
    }
}

impl Form {
    /// The files, the test batch last.
    fn names(self, format: &CifarFormat) -> Vec<&'static str> {
        let all = format.train.iter().copied().chain([format.test]);
        match self {
            Self::Binary => all.collect(),
            Self::Python => all.map(|name| name.trim_end_matches(".bin")).collect(),
        }
    }
}

/// The MATLAB form, which is published beside the others: folders that it unpacks to, and archives.
const MATLAB: ([&str; 2], [&str; 2]) =
    (["cifar-10-batches-mat", "cifar-100-matlab"], ["cifar-10-matlab.tar.gz", "cifar-100-matlab.tar.gz"]);

/// Refuses the MATLAB form of the set at `place` by what it is.
pub(crate) fn refuse_other_forms(format: &CifarFormat, set: &PublicSet, place: &Path) -> Result<(), DataError> {
    let (folders, archives) = MATLAB;
    let file = format.train[0].replace(".bin", ".mat");
    let folders = folders.into_iter().map(|folder| place.join(folder)).chain([place.to_owned()]);
    let unpacked = folders.map(|folder| folder.join(&file)).find(|path| is_there(path));
    let packed = || archives.into_iter().map(|archive| place.join(archive)).find(|path| is_there(path));
    let given = || (is_there(place) && holds(place, &file)).then(|| place.to_owned());
    if let Some(found) = unpacked.or_else(packed).or_else(given) {
        let expected = format!("its binary or Python form; fetch it with `querist data fetch {}`", set.name);
        let what = format!("{}'s MATLAB form, which is not read", set.name);
        return Err(DataError::malformed(found.display(), "", what, expected));
    }
    Ok(())
}

/// Whether a tar archive has a member with this file name.
fn holds(archive: &Path, name: &str) -> bool {
    let Ok(mut tape) = Tape::open(archive) else { return false };
    let members = std::iter::from_fn(|| tape.next().ok().flatten());
    // The published archive holds eight members; one of pictures is recognised by its first few.
    members.take(64).any(|member| member.kind == Kind::File && member.path.ends_with(name))
}

/// Reads all batches, the test batch last.
pub(crate) fn read_set(set: &PublicSet, format: &CifarFormat, place: &Place) -> Result<Loaded, DataError> {
    let names = place.form.names(format);
    let record = format.label_bytes + 3 * PLANE;
    // Pickles hold names of files beside the records.
    let most_bytes = ((set.train + set.test) * (record + 200)) as u64;
    let mut batches = match &place.at {
        At::Folder(folder) => from_folder(set, folder, (&names, most_bytes))?,
        At::Archive(archive) => from_archive(archive, &names, most_bytes)?,
    };
    if place.form == Form::Python {
        batches = batches
            .into_par_iter()
            .map(|(name, bytes)| Ok((name.clone(), records(set, format, &name, &bytes)?)))
            .collect::<Result<_, DataError>>()?;
    }
    for (name, bytes) in &batches {
        if bytes.is_empty() || bytes.len() % record != 0 {
            let whole = bytes.len() / record;
            return Err(DataError::malformed(
                name,
                format_args!(", record {whole} (byte {})", whole * record),
                format!("{} bytes are no whole number of records", bytes.len()),
                format!("records of {record} bytes"),
            ));
        }
    }
    let total: usize = batches.iter().map(|(_, bytes)| bytes.len() / record).sum();
    let mut bytes: Vec<u8> = reserve((total * 3 * PLANE) as u64, "the images")?;
    bytes.resize(total * 3 * PLANE, 0);
    let records = batches.iter().flat_map(|(_, batch)| batch.chunks_exact(record)).collect::<Vec<_>>();
    bytes.par_chunks_exact_mut(3 * PLANE).zip(&records).for_each(|(image, record)| {
        interleave(&record[format.label_bytes..], image);
    });
    let mut labels = Vec::with_capacity(total);
    for (name, batch) in &batches {
        for (at, record) in batch.chunks_exact(record).enumerate() {
            let label = u32::from(record[format.label_bytes - 1]);
            if label as usize >= set.classes {
                return Err(DataError::malformed(
                    name,
                    format_args!(", record {at}"),
                    format!("label {label}"),
                    format!("0 to {}", set.classes - 1),
                ));
            }
            labels.push(label);
        }
    }
    let official_test = batches.last().map_or(0, |(_, batch)| batch.len() / record);
    Ok(Loaded {
        shape: [SIDE, SIDE, 3],
        bytes: bytes.into(),
        labels,
        official_validation: 0,
        official_test,
        class_names: set.class_names(),
        files: Vec::new(),
    })
}

/// A batch of the Python form as records of the binary one.
fn records(set: &PublicSet, format: &CifarFormat, name: &str, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    let pickle = Pickle::read(name, bytes)?;
    let (shape, pixels) = pickle.bytes(pickle.entry(&["data"])?, "data")?;
    let labels = pickle.integers(pickle.entry(&["fine_labels", "labels"])?, "labels")?;
    if shape != [labels.len() as u64, (3 * PLANE) as u64] {
        let found = format!("`data` of shape {shape:?} and {} labels", labels.len());
        return Err(pickle.error(found, format!("one row of {} bytes a label", 3 * PLANE)));
    }
    let mut records = reserve((labels.len() * (format.label_bytes + 3 * PLANE)) as u64, "the records")?;
    for (at, (&label, pixels)) in labels.iter().zip(pixels.chunks_exact(3 * PLANE)).enumerate() {
        let Some(label) = u8::try_from(label).ok().filter(|&label| usize::from(label) < set.classes) else {
            return Err(pickle.error(format!("label {label} at {at}"), format!("0 to {}", set.classes - 1)));
        };
        // The coarse label comes first where there are two, and nobody reads it.
        records.extend_from_slice(&[0, label][2 - format.label_bytes..]);
        records.extend_from_slice(pixels);
    }
    Ok(records)
}

/// Three planes to red-green-blue pixels.
fn interleave(planes: &[u8], image: &mut [u8]) {
    let (red, rest) = planes.split_at(PLANE);
    let (green, blue) = rest.split_at(PLANE);
    for (pixel, ((&r, &g), &b)) in image.chunks_exact_mut(3).zip(red.iter().zip(green).zip(blue)) {
        pixel.copy_from_slice(&[r, g, b]);
    }
}

type Batch = (String, Vec<u8>);

fn from_folder(set: &PublicSet, folder: &Path, (names, most): (&[&str], u64)) -> Result<Vec<Batch>, DataError> {
    let read = |name: &&str| {
        let path = folder.join(name);
        if !is_there(&path) {
            return Err(set.missing(folder, format!("`{name}`")));
        }
        Ok((path.display().to_string(), Source::open(&path)?.all(most)?))
    };
    names.par_iter().map(read).collect()
}

fn from_archive(archive: &Path, names: &[&str], most: u64) -> Result<Vec<Batch>, DataError> {
    let mut tape = Tape::open(archive)?;
    let file = tape.file.clone();
    let bad = |found: String| DataError::malformed(&file, "", found, "the published tar archive");
    let mut found: Vec<Option<Batch>> = names.iter().map(|_| None).collect();
    while let Some(member) = tape.next()? {
        let name = member.path.file_name().and_then(|name| name.to_str());
        let Some(at) = names.iter().position(|&wanted| Some(wanted) == name) else { continue };
        if member.kind != Kind::File || member.size > most || found[at].is_some() {
            let size = member.size;
            return Err(bad(format!("member `{}` of {size} bytes is no file, too large or there twice", names[at])));
        }
        let name = format!("{file}#{}", names[at]);
        let bytes = tape.content(&member, &name)?;
        found[at] = Some((name, bytes));
    }
    let complete = found.into_iter().zip(names);
    complete.map(|(batch, name)| batch.ok_or_else(|| bad(format!("no member `{name}`")))).collect()
}
