//! Decoded pictures, kept from run to run.
//!
//! A study reads the same photographs in every run; what decoding made of them the first time is kept under a key of
//! their contents and of everything that changes a pixel. Nothing depends on the cache: a file that is damaged, foreign
//! or gone is made anew, and a folder that cannot be used is not. Others must not be able to write there, since whoever
//! can makes the pixels.
//!
//! A file is a header (see [`Entry::header`]) and the pixels. It is written beside its place and renamed, so runs that
//! start together each find a whole file or none.

use std::fs::{self, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use memmap2::MmapOptions;
use querist_core::array::Buffer;
use querist_files::Links;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::picture::{VERSION, Wanted};

const MAGIC: &[u8; 16] = b"querist pixels 1";
const HEADER: usize = MAGIC.len() + 32 + 32;
const ENDING: &str = "pixels";
/// Of files that are mapped and not held in memory; room for them is half of what is free on the disk.
const LARGE: &str = "mapped";
/// Beginning of the names of files in the making, and the age from which nobody makes them any more.
const PARTIAL: &str = ".part-";
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// Bytes that all files together may have.
const MOST_BYTES: u64 = 16 << 30;

/// A folder of decoded pictures.
#[derive(Debug, Clone)]
pub(crate) struct PictureCache {
    folder: PathBuf,
    most_bytes: u64,
}

/// What is hashed to a key.
pub(crate) struct Contents(Sha256);

impl Contents {
    /// Of pictures of this shape, made as is wanted.
    pub fn new(shape: [usize; 3], wanted: Wanted) -> Self {
        let options = format!("{VERSION}\0{shape:?}\0{}", wanted.options());
        Self(Sha256::new().chain_update(MAGIC).chain_update(options))
    }

    /// The next picture, by the hash of its file.
    pub fn add(&mut self, file: &[u8; 32]) {
        self.0.update(file);
    }
}

/// A file of the cache, there or not.
pub(crate) struct Entry<'a> {
    cache: &'a PictureCache,
    key: [u8; 32],
}

impl PictureCache {
    /// A cache in `folder`, which need not be there.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), most_bytes: MOST_BYTES }
    }

    /// The user's: `pictures` in `$QUERIST_CACHE`, else in `querist` in the user's cache folder, where one is known.
    pub fn from_env() -> Option<Self> {
        Some(Self::at(querist_files::cache_folder()?.join("pictures")))
    }

    /// The file of these contents.
    pub fn entry(&self, contents: &Contents) -> Entry<'_> {
        Entry { cache: self, key: contents.0.clone().finalize().into() }
    }

    /// Removes files in the making that nobody makes any more, and the oldest until `more` bytes have room.
    fn make_room(&self, more: u64) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let (path, Ok(found)) = (entry.path(), entry.metadata()) else { continue };
            let used = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if path.extension().is_some_and(|ending| ending == ENDING) {
                kept.push((used, found.len(), path));
            } else if entry.file_name().to_string_lossy().starts_with(PARTIAL)
                && used.elapsed().is_ok_and(|age| age > ABANDONED)
            {
                remove(&path)?;
            }
        }
        kept.sort();
        let mut total = kept.iter().map(|(_, bytes, _)| bytes).sum::<u64>().saturating_add(more);
        for (_, bytes, path) in kept {
            if total <= self.most_bytes {
                break;
            }
            remove(&path)?;
            total -= bytes;
        }
        Ok(())
    }
}

/// Removes a file that somebody else may be removing, too.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether as much stays free on the disk as is taken.
fn has_room(folder: &Path, bytes: u64) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) / 2 >= bytes)
}

impl Entry<'_> {
    fn path(&self) -> PathBuf {
        let name: String = self.key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.cache.folder.join(name).with_extension(ENDING)
    }

    /// Magic, key, and digest of the pixels.
    fn header(&self, pixels: &[u8]) -> Vec<u8> {
        self.header_of(Sha256::digest(pixels).into())
    }

    fn header_of(&self, digest: [u8; 32]) -> Vec<u8> {
        [&MAGIC[..], &self.key, &digest].concat()
    }

    /// Fills `pixels` where the cache has them; says whether it had.
    pub fn read(&self, pixels: &mut [u8]) -> bool {
        querist_files::check_cache_folder(&self.cache.folder).is_ok()
            && self.read_file(pixels).is_ok_and(|is_whole| is_whole)
    }

    fn read_file(&self, pixels: &mut [u8]) -> io::Result<bool> {
        let path = self.path();
        let mut file = querist_files::open(&path, Links::Refuse).map_err(io::Error::other)?;
        if file.metadata()?.len() != (HEADER + pixels.len()) as u64 {
            return Ok(false);
        }
        let mut header = [0; HEADER];
        file.read_exact(&mut header)?;
        file.read_exact(pixels)?;
        // The files that were used last are those that stay.
        let _ = file.set_modified(SystemTime::now());
        Ok(header[..] == self.header(pixels))
    }

    /// Keeps pixels for the next time, where that can be done.
    pub fn write(&self, pixels: &[u8]) {
        // A cache that cannot be written is none; the pixels are there.
        let _ = self.write_file(pixels);
    }

    fn write_file(&self, pixels: &[u8]) -> io::Result<()> {
        let cache = self.cache;
        let bytes = (HEADER + pixels.len()) as u64;
        if bytes > cache.most_bytes {
            return Ok(());
        }
        querist_files::make_cache_folder(&cache.folder).map_err(io::Error::other)?;
        cache.make_room(bytes)?;
        if !has_room(&cache.folder, bytes) {
            return Ok(());
        }
        let mode = Permissions::from_mode(0o600);
        let mut file = tempfile::Builder::new().prefix(PARTIAL).permissions(mode).tempfile_in(&cache.folder)?;
        file.write_all(&self.header(pixels))?;
        file.write_all(pixels)?;
        file.as_file().sync_all()?;
        file.persist(self.path()).map_err(|error| error.error)?;
        Ok(())
    }
}

/// A file of pixels that are not held in memory, in the making.
pub(crate) struct Making<'a> {
    entry: &'a Entry<'a>,
    file: NamedTempFile,
    pixels: u64,
}

impl Entry<'_> {
    /// The pixels of a whole file, mapped; they are read from the disk when they are looked at.
    pub fn map(&self, pixels: u64) -> Option<Buffer<u8>> {
        querist_files::check_cache_folder(&self.cache.folder).ok()?;
        let path = self.path().with_extension(LARGE);
        let mut file = querist_files::open(&path, Links::Refuse).ok()?;
        if file.metadata().ok()?.len() != HEADER as u64 + pixels {
            return None;
        }
        let mut header = [0; HEADER];
        file.read_exact(&mut header).ok()?;
        let _ = file.set_modified(SystemTime::now());
        let is_whole = header[..] == self.header_of(hash_of(&mut file).ok()?);
        is_whole.then(|| mapped(&file).ok()).flatten()
    }

    /// A new file with room for so many bytes of pixels.
    pub fn begin(&self, pixels: u64) -> io::Result<Making<'_>> {
        let folder = &self.cache.folder;
        querist_files::make_cache_folder(folder).map_err(io::Error::other)?;
        self.cache.make_room(0)?;
        self.cache.make_room_for_large(HEADER as u64 + pixels)?;
        let mode = Permissions::from_mode(0o600);
        let file = tempfile::Builder::new().prefix(PARTIAL).permissions(mode).tempfile_in(folder)?;
        file.as_file().set_len(HEADER as u64 + pixels)?;
        Ok(Making { entry: self, file, pixels })
    }
}

impl Making<'_> {
    /// Writes pixels to their place; from any thread.
    pub fn put(&self, at: u64, pixels: &[u8]) -> io::Result<()> {
        self.file.as_file().write_all_at(pixels, HEADER as u64 + at)
    }

    /// Gives the file its name, and maps its pixels.
    pub fn finish(self) -> io::Result<Buffer<u8>> {
        let mut file = self.file;
        file.as_file_mut().seek(SeekFrom::Start(HEADER as u64))?;
        let header = self.entry.header_of(hash_of(file.as_file_mut())?);
        file.as_file().write_all_at(&header, 0)?;
        file.as_file().sync_all()?;
        let file = file.persist(self.entry.path().with_extension(LARGE)).map_err(|error| error.error)?;
        debug_assert_eq!(file.metadata()?.len(), HEADER as u64 + self.pixels);
        mapped(&file)
    }
}

impl PictureCache {
    /// Removes the large files that were not used for longest until there is room on the disk.
    fn make_room_for_large(&self, bytes: u64) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|ending| ending == LARGE) {
                kept.push((entry.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH), entry.path()));
            }
        }
        kept.sort();
        let mut kept = kept.into_iter();
        while !has_room(&self.folder, bytes) {
            let Some((_, path)) = kept.next() else {
                let why = format!("{} has no room, or less than half of what is free", self.folder.display());
                return Err(io::Error::new(io::ErrorKind::StorageFull, why));
            };
            remove(&path)?;
        }
        Ok(())
    }
}

/// SHA-256 of the rest of a file.
fn hash_of(file: &mut fs::File) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(n) => hash.update(&block[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The pixels of a file.
fn mapped(file: &fs::File) -> io::Result<Buffer<u8>> {
    // SAFETY: the file lies in a folder that is closed to others, and no process writes to a file that has its name.
    let map = unsafe { MmapOptions::new().offset(HEADER as u64).map(file) }?;
    Ok(Buffer::mapped(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_files_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let cache = PictureCache { folder: folder.path().join("pictures"), most_bytes: 3 * (HEADER as u64 + 1000) };
        let contents = |number: u8| {
            let mut contents = Contents::new([1, 1000, 1], Wanted { square: None, upright: true });
            contents.add(&[number; 32]);
            contents
        };
        let entries = [1, 2, 3, 4].map(|number| cache.entry(&contents(number)));
        let mut pixels = vec![0; 1000];
        for (entry, age) in entries.iter().zip([300, 400, 200, 0]) {
            entry.write(&[7; 1000]);
            let file = fs::File::open(entry.path()).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        // The second was used longest ago.
        assert_eq!(entries.each_ref().map(|entry| entry.path().exists()), [true, false, true, true]);
        // Who is used stays.
        assert!(entries[0].read(&mut pixels) && pixels == [7; 1000]);
        entries[1].write(&[8; 1000]);
        assert_eq!(entries.each_ref().map(|entry| entry.path().exists()), [true, true, false, true]);
        // What is larger than all may be is not kept, and removes nothing.
        cache.entry(&contents(5)).write(&vec![1; 9000]);
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 3);
    }
}
