//! Decoded pictures, kept from run to run.
//!
//! A study reads the same photographs in every run; what decoding made of them the first time is kept under a key of
//! their contents and of everything that changes a pixel ([`querist_files::kept`]).

use std::fs;
use std::io;
use std::path::PathBuf;

use memmap2::MmapOptions;
use querist_core::array::Buffer;
use querist_files::kept::{self, Found, HEADER, Sort, Store};
use sha2::{Digest, Sha256};

use crate::picture::{VERSION, Wanted};

const SORT: Sort = Sort { magic: b"querist pixels 1", ending: "pixels", large: "mapped", most_bytes: 16 << 30 };

/// A folder of decoded pictures.
#[derive(Debug, Clone)]
pub(crate) struct PictureCache(Store);

/// What is hashed to a key.
pub(crate) struct Contents(Sha256);

impl Contents {
    /// Of pictures of this shape, made as is wanted.
    pub fn new(shape: [usize; 3], wanted: Wanted) -> Self {
        let options = format!("{VERSION}\0{shape:?}\0{}", wanted.options());
        Self(Sha256::new().chain_update(SORT.magic).chain_update(options))
    }

    /// The next picture, by the hash of its file.
    pub fn add(&mut self, file: &[u8; 32]) {
        self.0.update(file);
    }
}

/// A file of the cache, there or not.
pub(crate) struct Entry<'a>(kept::Entry<'a>);

impl PictureCache {
    /// A cache in `folder`, which need not be there.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(Store::at(folder, SORT))
    }

    /// The user's: `pictures` in `$QUERIST_CACHE`, else in `querist` in the user's cache folder, where one is known.
    pub fn from_env() -> Option<Self> {
        Some(Self::at(querist_files::cache_folder()?.join("pictures")))
    }

    /// The file of these contents.
    pub fn entry(&self, contents: &Contents) -> Entry<'_> {
        Entry(self.0.entry(contents.0.clone().finalize().into()))
    }
}

impl Entry<'_> {
    /// Fills `pixels` where the cache has them; says whether it had.
    pub fn read(&self, pixels: &mut [u8]) -> bool {
        self.0.read(pixels) == Found::Whole
    }

    /// Keeps pixels for the next time, where that can be done.
    pub fn write(&self, pixels: &[u8]) {
        // A cache that cannot be written is none; the pixels are there.
        let _ = self.0.write(pixels);
    }

    /// The pixels of a whole file, mapped; they are read from the disk when they are looked at.
    pub fn map(&self, pixels: u64) -> Option<Buffer<u8>> {
        mapped(&self.0.large(pixels)?).ok()
    }

    /// A new file with room for so many bytes of pixels.
    pub fn begin(&self, pixels: u64) -> io::Result<Making<'_>> {
        self.0.begin(pixels).map(Making)
    }
}

/// A file of pixels that are not held in memory, in the making.
pub(crate) struct Making<'a>(kept::Making<'a>);

impl Making<'_> {
    /// Writes pixels to their place; from any thread.
    pub fn put(&self, at: u64, pixels: &[u8]) -> io::Result<()> {
        self.0.put(at, pixels)
    }

    /// Gives the file its name, and maps its pixels.
    pub fn finish(self) -> io::Result<Buffer<u8>> {
        mapped(&self.0.finish()?)
    }
}

/// The pixels of a file.
#[expect(unsafe_code, reason = "mapping a file is the only way to read gigabytes without copying them")]
fn mapped(file: &fs::File) -> io::Result<Buffer<u8>> {
    // SAFETY: the file lies in a folder that is closed to others, and no process writes to a file that has its name.
    let map = unsafe { MmapOptions::new().offset(HEADER as u64).map(file) }?;
    Ok(Buffer::mapped(map))
}
