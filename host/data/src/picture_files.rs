//! Files of pictures, in folders and archives: looked at first, decoded later, each to its place.
//!
//! A first look takes the header of a file, so that whatever hinders (two sizes, no picture at all) is found before
//! anything is decoded. Then contents are hashed, which numbers the samples, and only then each picture is decoded,
//! straight to its place among the pixels of all: however many pictures there are and however large they are in their
//! files, no more of them are in memory than there are threads.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::metadata::Orientation;
use querist_core::array::Buffer;
use querist_files::Links;
use rayon::prelude::*;

use crate::error::DataError;
use crate::memory::{Loan, Shared, reserve};
use crate::order;
use crate::picture::{self, Header, Wanted};
use crate::picture_cache::{Contents, Making, PictureCache};

/// Pictures of an archive in work at once: enough to keep every core busy, few enough to hold in memory undecoded.
const CHUNK: usize = 512;
const CHUNK_BYTES: usize = 64 << 20;
/// Largest encoded picture.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Memory of all encoded files that are in work at a time, whatever the number of threads.
static ENCODED: Shared = Shared::new(1 << 30);

/// Where a picture lies.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    File(PathBuf),
    /// The `number`-th picture of an archive.
    Member {
        archive: Arc<Path>,
        number: usize,
    },
}

/// A picture that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub origin: Origin,
    /// Where it is, for messages.
    pub at: String,
    pub header: Header,
    /// Hash of the file, once it was read.
    content: Option<[u8; 32]>,
}

impl Seen {
    /// Looks at a file.
    pub fn file(path: PathBuf, at: String, wanted: Wanted) -> Result<Self, DataError> {
        let file = querist_files::open(&path, Links::Follow)?;
        let length = querist_files::length_of(&file, &path)?;
        check_length(length, &at)?;
        let header = checked(Header::read(file), length, wanted).map_err(|error| undecodable(&at, &error))?;
        Ok(Self { origin: Origin::File(path), at, header, content: None })
    }

    /// Looks at the bytes of a member of an archive.
    pub fn member(
        archive: Arc<Path>,
        number: usize,
        at: String,
        bytes: &[u8],
        wanted: Wanted,
    ) -> Result<Self, DataError> {
        let header = checked(Header::read(Cursor::new(bytes)), bytes.len() as u64, wanted);
        let header = header.map_err(|error| undecodable(&at, &error))?;
        Ok(Self { origin: Origin::Member { archive, number }, at, header, content: Some(order::hash(bytes)) })
    }

    /// Hash of its file, which is read for it if that was not done before.
    pub fn hash(&mut self) -> Result<[u8; 32], DataError> {
        if let (None, Origin::File(path)) = (self.content, &self.origin) {
            self.content = Some(order::hash(&read(path)?.0));
        }
        Ok(self.content.unwrap_or_default())
    }

    fn decode(&self, bytes: &[u8], wanted: Wanted, to: &mut [u8]) -> Result<(), DataError> {
        if self.content.is_some_and(|content| content != order::hash(bytes)) {
            let found = "a file that was changed while the dataset was read";
            return Err(DataError::malformed(&self.at, "", found, "files that stay as they are; start again"));
        }
        picture::decode(bytes, &self.header, wanted, to).map_err(|error| undecodable(&self.at, &error))
    }
}

fn checked(header: Result<Header, String>, length: u64, wanted: Wanted) -> Result<Header, String> {
    let mut header = header?;
    if !wanted.upright {
        header.orientation = Orientation::NoTransforms;
    }
    picture::check(&header, length, wanted).map(|()| header)
}

fn undecodable(at: &str, error: &str) -> DataError {
    DataError::malformed(at, "", format!("the picture cannot be decoded ({error})"), "a whole PNG or JPEG")
}

/// Refuses what is too long for a picture.
pub(crate) fn check_length(length: u64, at: &str) -> Result<(), DataError> {
    if length <= MAX_FILE_BYTES {
        return Ok(());
    }
    Err(DataError::malformed(at, "", format!("a picture of {length} bytes"), format!("at most {MAX_FILE_BYTES}")))
}

/// The content of a file, as long as there is memory lent for it.
fn read(path: &Path) -> Result<(Vec<u8>, Loan<'static>), DataError> {
    let file: File = querist_files::open(path, Links::Follow)?;
    let loan = ENCODED.lend(2 * querist_files::length_of(&file, path)?.min(MAX_FILE_BYTES));
    Ok((querist_files::read_open(file, path, MAX_FILE_BYTES)?, loan))
}

/// Members of an archive that are in work together.
pub(crate) struct Chunk<T> {
    members: Vec<(T, Vec<u8>)>,
    bytes: usize,
}

impl<T: Send> Chunk<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { members: Vec::new(), bytes: 0 }
    }

    /// Takes a member; says whether there are enough.
    pub fn push(&mut self, member: T, bytes: Vec<u8>) -> bool {
        self.bytes += bytes.len();
        self.members.push((member, bytes));
        self.members.len() >= CHUNK || self.bytes > CHUNK_BYTES
    }

    /// Works on all of them, and is empty again.
    pub fn work<R: Send>(
        &mut self,
        work: impl Fn(T, Vec<u8>) -> Result<R, DataError> + Sync,
    ) -> Result<Vec<R>, DataError> {
        self.bytes = 0;
        self.members.par_drain(..).map(|(member, bytes)| work(member, bytes)).collect()
    }
}

/// How all pictures are to become one block of pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Height, width and channels of each.
    pub shape: [usize; 3],
    /// How each is made.
    pub wanted: Wanted,
}

impl Plan {
    /// The pixels of all pictures in their order: from the cache, or decoded and then kept there. More than `in_memory`
    /// bytes stay in a file of the cache, which is mapped.
    ///
    /// `members` reads the pictures of an archive again, one after the other.
    pub fn pixels(
        self,
        pictures: &[&Seen],
        (cache, in_memory): (Option<&PictureCache>, u64),
        members: Members<'_>,
    ) -> Result<Buffer<u8>, DataError> {
        let total = (pictures.len() as u64).saturating_mul(self.one() as u64);
        if total > in_memory {
            return self.in_file(pictures, cache, total, members);
        }
        let mut pixels = reserve(total, "the pixels of all pictures (`dataset.size` makes them fewer)")?;
        pixels.resize(total as usize, 0);
        let entry =
            cache.filter(|_| self.is_worth_keeping(pictures)).map(|cache| cache.entry(&self.contents(pictures)));
        if entry.as_ref().is_some_and(|entry| entry.read(&mut pixels)) {
            return Ok(pixels.into());
        }
        let places = pixels.chunks_exact_mut(self.one()).map(To::Memory);
        self.decode(pictures.iter().copied().zip(places), members)?;
        if let Some(entry) = entry {
            entry.write(&pixels);
        }
        Ok(pixels.into())
    }

    /// The same with nothing of it held in memory but what is being decoded.
    fn in_file(
        self,
        pictures: &[&Seen],
        cache: Option<&PictureCache>,
        total: u64,
        members: Members<'_>,
    ) -> Result<Buffer<u8>, DataError> {
        let Some(cache) = cache else {
            return Err(no_file(total, &"no cache folder is known"));
        };
        let entry = cache.entry(&self.contents(pictures));
        if let Some(pixels) = entry.map(total) {
            return Ok(pixels);
        }
        let making = entry.begin(total).map_err(|error| no_file(total, &error))?;
        let places = (0..).map(|number: u64| To::File(&making, number * self.one() as u64));
        self.decode(pictures.iter().copied().zip(places), members)?;
        making.finish().map_err(|error| no_file(total, &error))
    }

    /// Bytes of one picture.
    fn one(self) -> usize {
        self.shape.iter().product()
    }

    /// What decodes in a moment needs no cache.
    fn is_worth_keeping(self, pictures: &[&Seen]) -> bool {
        const LEAST_PIXELS: u64 = 1 << 20;
        let of = |seen: &&Seen| u64::from(seen.header.width) * u64::from(seen.header.height);
        pictures.iter().map(of).sum::<u64>() >= LEAST_PIXELS
    }

    fn contents(self, pictures: &[&Seen]) -> Contents {
        let mut contents = Contents::new(self.shape, self.wanted);
        pictures.iter().for_each(|seen| contents.add(&seen.content.unwrap_or_default()));
        contents
    }

    fn decode<'p>(
        self,
        pictures: impl Iterator<Item = (&'p Seen, To<'p>)>,
        members: Members<'_>,
    ) -> Result<(), DataError> {
        let mut files: Vec<(&Seen, &Path, To<'_>)> = Vec::new();
        let mut archives: BTreeMap<&Path, BTreeMap<usize, (&Seen, To<'_>)>> = BTreeMap::new();
        for (seen, to) in pictures {
            match &seen.origin {
                Origin::File(path) => files.push((seen, path, to)),
                Origin::Member { archive, number } => {
                    archives.entry(archive).or_default().insert(*number, (seen, to));
                }
            }
        }
        files.into_par_iter().try_for_each(|(seen, path, to)| self.one_to(seen, &read(path)?.0, to))?;
        for (archive, places) in archives {
            self.decode_archive(archive, places, members)?;
        }
        Ok(())
    }

    fn one_to(self, seen: &Seen, bytes: &[u8], to: To<'_>) -> Result<(), DataError> {
        match to {
            To::Memory(to) => seen.decode(bytes, self.wanted, to),
            To::File(making, at) => {
                let mut pixels = vec![0; self.one()];
                seen.decode(bytes, self.wanted, &mut pixels)?;
                making.put(at, &pixels).map_err(|error| no_file(at, &error))
            }
        }
    }

    fn decode_archive(
        self,
        archive: &Path,
        mut places: BTreeMap<usize, (&Seen, To<'_>)>,
        members: Members<'_>,
    ) -> Result<(), DataError> {
        let mut chunk = Chunk::new();
        let work = |(seen, to): (&Seen, To<'_>), bytes: Vec<u8>| self.one_to(seen, &bytes, to);
        let mut number = 0;
        members(archive, &mut |bytes| {
            let place = places.remove(&number);
            number += 1;
            let is_full = place.is_some_and(|place| chunk.push(place, bytes));
            if is_full { chunk.work(work).map(drop) } else { Ok(()) }
        })?;
        chunk.work(work)?;
        match places.into_values().next() {
            None => Ok(()),
            Some((seen, _)) => {
                let found = "an archive that was changed while the dataset was read";
                Err(DataError::malformed(&seen.at, "", found, "files that stay as they are; start again"))
            }
        }
    }
}

/// Reads the pictures of a container again, one after the other.
pub(crate) type Members<'a> =
    &'a dyn Fn(&Path, &mut dyn FnMut(Vec<u8>) -> Result<(), DataError>) -> Result<(), DataError>;

/// Where the pixels of a picture go.
enum To<'a> {
    Memory(&'a mut [u8]),
    /// To this byte of the pixels of a file in the making.
    File(&'a Making<'a>, u64),
}

/// Why pixels that are not to be in memory have no file.
fn no_file(bytes: u64, why: &dyn std::fmt::Display) -> DataError {
    let message = format!(
        "its pixels are more than `dataset.in_memory` and need a file in the cache, which failed at {bytes} bytes \
         ({why}); make room or set QUERIST_CACHE to another folder, make `dataset.size` smaller, or raise \
         `dataset.in_memory`"
    );
    DataError::Config { dataset: "pictures".to_owned(), message }
}
