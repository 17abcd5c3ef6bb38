//! Files of a cache folder: what was computed once, under a key of everything that it hangs on.
//!
//! Nothing depends on them: a file that is damaged, foreign or gone is made anew, and a folder that cannot be used is
//! not. Others must not be able to write there, since whoever can makes the contents.
//!
//! A file is magic, key, digest of the contents, and the contents. It is written beside its place and renamed, so
//! processes that start together each find a whole file or none.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::{Links, check_cache_folder, make_cache_folder, open};

const MAGIC_BYTES: usize = 16;
/// Bytes before the contents.
pub const HEADER: usize = MAGIC_BYTES + 32 + 32;
/// Beginning of the names of files in the making, and the age from which nobody makes them any more.
const PARTIAL: &str = ".part-";
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// What all files of one kind have in common.
#[derive(Debug, Clone, Copy)]
pub struct Sort {
    /// The first bytes of a file: the kind, and the version of its layout.
    pub magic: &'static [u8; MAGIC_BYTES],
    /// Ending of the names of files that are read to memory.
    pub ending: &'static str,
    /// Ending of the names of files that stay where they are; room for them is half of what is free on the disk.
    pub large: &'static str,
    /// Bytes that all files to be read to memory may have together.
    pub most_bytes: u64,
}

/// A folder of files of one kind.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    sort: Sort,
}

/// A file of a folder, there or not.
pub struct Entry<'a> {
    store: &'a Store,
    key: [u8; 32],
}

/// What was found in the place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Its contents, whole.
    Whole,
    /// Nothing, or no folder that can be used.
    Nothing,
    /// Something that is not what was written.
    Damaged,
}

impl Store {
    /// A store in `folder`, which need not be there.
    pub fn at(folder: impl Into<PathBuf>, sort: Sort) -> Self {
        Self { folder: folder.into(), sort }
    }

    /// The file of this key.
    pub fn entry(&self, key: [u8; 32]) -> Entry<'_> {
        Entry { store: self, key }
    }

    /// Removes files in the making that nobody makes any more, and the oldest until `more` bytes have room.
    fn make_room(&self, more: u64) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let (path, Ok(found)) = (entry.path(), entry.metadata()) else { continue };
            let used = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            if path.extension().is_some_and(|ending| ending == self.sort.ending) {
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
            if total <= self.sort.most_bytes {
                break;
            }
            remove(&path)?;
            total -= bytes;
        }
        Ok(())
    }

    /// Removes the large files that were not used for longest until there is room on the disk.
    fn make_room_for_large(&self, bytes: u64) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|ending| ending == self.sort.large) {
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

    /// A new file of the user's own, nameless as yet.
    fn partial(&self) -> io::Result<NamedTempFile> {
        let mode = Permissions::from_mode(0o600);
        tempfile::Builder::new().prefix(PARTIAL).permissions(mode).tempfile_in(&self.folder)
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
    /// Where it lies, or would lie.
    pub fn path(&self) -> PathBuf {
        let name: String = self.key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.store.folder.join(name).with_extension(self.store.sort.ending)
    }

    fn large_path(&self) -> PathBuf {
        self.path().with_extension(self.store.sort.large)
    }

    fn header(&self, digest: [u8; 32]) -> Vec<u8> {
        [&self.store.sort.magic[..], &self.key, &digest].concat()
    }

    /// Fills `contents` where the file is whole; else they are anything.
    pub fn read(&self, contents: &mut [u8]) -> Found {
        if check_cache_folder(&self.store.folder).is_err() {
            return Found::Nothing;
        }
        match open(&self.path(), Links::Refuse) {
            Err(error) if error.is_not_found() => Found::Nothing,
            Err(_) => Found::Damaged,
            Ok(file) => match self.read_open(file, contents) {
                Ok(true) => Found::Whole,
                _ => Found::Damaged,
            },
        }
    }

    fn read_open(&self, mut file: File, contents: &mut [u8]) -> io::Result<bool> {
        if file.metadata()?.len() != (HEADER + contents.len()) as u64 {
            return Ok(false);
        }
        let mut header = [0; HEADER];
        file.read_exact(&mut header)?;
        file.read_exact(contents)?;
        // The files that were used last are those that stay.
        let _ = file.set_modified(SystemTime::now());
        Ok(header[..] == self.header(Sha256::digest(contents).into()))
    }

    /// Keeps contents for the next time; says whether there was room.
    ///
    /// # Errors
    /// If folder or disk refuse.
    pub fn write(&self, contents: &[u8]) -> io::Result<bool> {
        let store = self.store;
        let bytes = (HEADER + contents.len()) as u64;
        if bytes > store.sort.most_bytes {
            return Ok(false);
        }
        make_cache_folder(&store.folder).map_err(io::Error::other)?;
        store.make_room(bytes)?;
        if !has_room(&store.folder, bytes) {
            return Ok(false);
        }
        let mut file = store.partial()?;
        file.write_all(&self.header(Sha256::digest(contents).into()))?;
        file.write_all(contents)?;
        file.as_file().sync_all()?;
        file.persist(self.path()).map_err(|error| error.error)?;
        Ok(true)
    }

    /// The large file of this key where it is whole: after [`HEADER`] bytes, `contents` of them.
    pub fn large(&self, contents: u64) -> Option<File> {
        check_cache_folder(&self.store.folder).ok()?;
        let mut file = open(&self.large_path(), Links::Refuse).ok()?;
        if file.metadata().ok()?.len() != HEADER as u64 + contents {
            return None;
        }
        let mut header = [0; HEADER];
        file.read_exact(&mut header).ok()?;
        let _ = file.set_modified(SystemTime::now());
        let is_whole = header[..] == self.header(hash_of(&mut file).ok()?);
        is_whole.then_some(file)
    }

    /// A new large file with room for so many bytes of contents.
    ///
    /// # Errors
    /// If folder or disk refuse, or have no room.
    pub fn begin(&self, contents: u64) -> io::Result<Making<'_>> {
        let store = self.store;
        make_cache_folder(&store.folder).map_err(io::Error::other)?;
        store.make_room(0)?;
        store.make_room_for_large(HEADER as u64 + contents)?;
        let file = store.partial()?;
        file.as_file().set_len(HEADER as u64 + contents)?;
        Ok(Making { entry: self, file })
    }
}

/// A large file in the making.
pub struct Making<'a> {
    entry: &'a Entry<'a>,
    file: NamedTempFile,
}

impl Making<'_> {
    /// Writes contents to their place; from any thread.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn put(&self, at: u64, contents: &[u8]) -> io::Result<()> {
        self.file.as_file().write_all_at(contents, HEADER as u64 + at)
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn finish(self) -> io::Result<File> {
        let mut file = self.file;
        file.as_file_mut().seek(SeekFrom::Start(HEADER as u64))?;
        let header = self.entry.header(hash_of(file.as_file_mut())?);
        file.as_file().write_all_at(&header, 0)?;
        file.as_file().sync_all()?;
        file.persist(self.entry.large_path()).map_err(|error| error.error)
    }
}

/// SHA-256 of the rest of a file.
fn hash_of(file: &mut File) -> io::Result<[u8; 32]> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path, most: u64) -> Store {
        let sort = Sort { magic: b"querist tests  1", ending: "test", large: "large", most_bytes: most };
        Store::at(folder.join("kept"), sort)
    }

    #[test]
    fn the_oldest_files_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), 3 * (HEADER as u64 + 1000));
        let entries = [1, 2, 3, 4].map(|number| store.entry([number; 32]));
        let mut contents = vec![0; 1000];
        for (entry, age) in entries.iter().zip([300, 400, 200, 0]) {
            assert!(entry.write(&[7; 1000]).unwrap());
            let file = File::open(entry.path()).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        // The second was used longest ago.
        assert_eq!(entries.each_ref().map(|entry| entry.path().exists()), [true, false, true, true]);
        // Who is used stays.
        assert!(entries[0].read(&mut contents) == Found::Whole && contents == [7; 1000]);
        entries[1].write(&[8; 1000]).unwrap();
        assert_eq!(entries.each_ref().map(|entry| entry.path().exists()), [true, true, false, true]);
        // What is larger than all may be is not kept, and removes nothing.
        assert!(!store.entry([5; 32]).write(&vec![1; 9000]).unwrap());
        assert_eq!(fs::read_dir(&store.folder).unwrap().count(), 3);
    }

    #[test]
    fn whatever_is_not_what_was_written_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), 1 << 20);
        let (entry, other) = (store.entry([1; 32]), store.entry([2; 32]));
        let mut contents = [0; 100];
        assert_eq!(entry.read(&mut contents), Found::Nothing);
        entry.write(&[9; 100]).unwrap();
        let whole = fs::read(entry.path()).unwrap();
        assert_eq!(entry.read(&mut contents), Found::Whole);
        // Under another key, cut off, and with one other byte anywhere.
        fs::write(other.path(), &whole).unwrap();
        assert_eq!(other.read(&mut contents), Found::Damaged);
        for cut in [0, 10, HEADER, whole.len() - 1] {
            fs::write(entry.path(), &whole[..cut]).unwrap();
            assert_eq!(entry.read(&mut contents), Found::Damaged, "{cut}");
        }
        for at in [0, 20, 60, HEADER, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(entry.path(), changed).unwrap();
            assert_eq!(entry.read(&mut contents), Found::Damaged, "{at}");
        }
        fs::remove_file(entry.path()).unwrap();
        std::os::unix::fs::symlink(other.path(), entry.path()).unwrap();
        assert_eq!(entry.read(&mut contents), Found::Damaged);
    }
}
