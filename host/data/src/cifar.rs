//! CIFAR-10 and CIFAR-100 in their binary form.
//!
//! A record is one label byte (CIFAR-100: coarse, then fine) and 3072 bytes: the red, green and blue planes of 32x32.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::catalogue::{CifarFormat, PublicSet};
use crate::error::DataError;
use crate::load::Loaded;
use crate::memory::reserve;
use crate::source::{Source, is_there};
use crate::tape::{Kind, Tape};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;

/// Where the binary form lies, if it is at `place`.
pub(crate) enum Place {
    Folder(PathBuf),
    Archive(PathBuf),
}

impl Place {
    /// Looks for the binary files in `place`, in the folder that the archive unpacks to, and for the archive itself.
    pub fn find(format: &CifarFormat, set: &PublicSet, place: &Path) -> Option<Self> {
        let unpacked = [place.to_owned(), place.join(format.folder)];
        // One of the files will do: what is missing is said when they are read.
        let any = |folder: &PathBuf| {
            let mut files = format.train.iter().chain([&format.test]);
            files.any(|file| is_there(&folder.join(file)))
        };
        if let Some(folder) = unpacked.into_iter().find(any) {
            return Some(Self::Folder(folder));
        }
        let named = set.files.first().map(|file| place.join(file.name)).filter(|archive| is_there(archive));
        // Archives of pictures are told from the published one by what is in them.
        let given = || (is_there(place) && holds(place, format.test)).then(|| place.to_owned());
        named.or_else(given).map(Self::Archive)
    }
}

/// Forms that are published beside the binary one, with the folders that they unpack to, their archives, and what their
/// files end with.
const OTHER_FORMS: [(&str, [&str; 2], [&str; 2], &str); 2] = [
    ("Python", ["cifar-10-batches-py", "cifar-100-python"], ["cifar-10-python.tar.gz", "cifar-100-python.tar.gz"], ""),
    (
        "MATLAB",
        ["cifar-10-batches-mat", "cifar-100-matlab"],
        ["cifar-10-matlab.tar.gz", "cifar-100-matlab.tar.gz"],
        ".mat",
    ),
];

/// Refuses another form of the set at `place` by what it is.
pub(crate) fn refuse_other_forms(format: &CifarFormat, set: &PublicSet, place: &Path) -> Result<(), DataError> {
    let first = format.train[0].trim_end_matches(".bin");
    for (form, folders, archives, ending) in OTHER_FORMS {
        let file = format!("{first}{ending}");
        let folders = folders.into_iter().map(|folder| place.join(folder)).chain([place.to_owned()]);
        let unpacked = folders.map(|folder| folder.join(&file)).find(|path| is_there(path));
        let packed = || archives.into_iter().map(|archive| place.join(archive)).find(|path| is_there(path));
        let given = || (is_there(place) && holds(place, &file)).then(|| place.to_owned());
        if let Some(found) = unpacked.or_else(packed).or_else(given) {
            let expected = format!("its binary form; fetch it with `querist data fetch {}`", set.name);
            let what = format!("{}'s {form} form, which is not read", set.name);
            return Err(DataError::malformed(found.display(), "", what, expected));
        }
    }
    Ok(())
}

/// Whether a tar archive has a member with this file name.
fn holds(archive: &Path, name: &str) -> bool {
    let Ok(mut tape) = Tape::open(archive) else { return false };
    let members = std::iter::from_fn(|| tape.next().ok().flatten());
    // The published archive holds eight members; one of pictures is recognised by its first few.
    members.take(64).any(|member| member.path.ends_with(name))
}

/// Reads all batches, the test batch last.
pub(crate) fn read_set(set: &PublicSet, format: &CifarFormat, place: &Place) -> Result<Loaded, DataError> {
    let names: Vec<&str> = format.train.iter().copied().chain([format.test]).collect();
    let record = format.label_bytes + 3 * PLANE;
    let most_bytes = ((set.train + set.test) * record) as u64;
    let batches = match place {
        Place::Folder(folder) => from_folder(set, folder, &names)?,
        Place::Archive(archive) => from_archive(archive, &names, most_bytes)?,
    };
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
        bytes,
        labels,
        official_validation: 0,
        official_test,
        class_names: set.class_names(),
        files: Vec::new(),
    })
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

fn from_folder(set: &PublicSet, folder: &Path, names: &[&str]) -> Result<Vec<Batch>, DataError> {
    let read = |name: &&str| {
        let path = folder.join(name);
        if !is_there(&path) {
            return Err(set.missing(folder, format!("`{name}`")));
        }
        let mut source = Source::open(&path)?;
        let bytes = source.rest(source.most, "records")?;
        Ok((path.display().to_string(), bytes))
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
