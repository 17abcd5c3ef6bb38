//! A package folder in one file: a tar archive, as it is or with gzip.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use querist_loader::package::file::MAX_ARTIFACT_BYTES;
use querist_protocol::Shown;
use tar::{Archive, EntryType};

/// Bytes of everything in an archive at most: an artifact, and texts beside it.
const MOST_BYTES: u64 = MAX_ARTIFACT_BYTES + (16 << 20);
/// Entries of an archive at most: 256 strategies have a schema each.
const MOST_ENTRIES: usize = 1024;

/// Why an archive is no package.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("not an archive of a package: {0}")]
    Broken(Shown),
    #[error("the archive holds {what} `{name}`; a package is regular files")]
    NotRegular { what: &'static str, name: Shown },
    #[error("the archive holds `{name}`; a package's files lie in one folder")]
    Outside { name: Shown },
    #[error("the archive holds `{name}` twice")]
    Twice { name: Shown },
    #[error("the archive holds more than {MOST_BYTES} bytes")]
    TooLarge,
    #[error("the archive holds more than {MOST_ENTRIES} entries")]
    TooMany,
    #[error("{0}")]
    Write(Shown),
}

/// Whether bytes are those of an archive, by their beginning.
pub(crate) fn is_archive(bytes: &[u8]) -> bool {
    is_gzip(bytes) || bytes.get(257..262) == Some(b"ustar")
}

fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// Writes the files of an archive into an empty folder, which becomes a package folder.
///
/// Nothing is written before the whole archive was looked at.
pub(crate) fn unpack(bytes: &[u8], folder: &Path) -> Result<(), ArchiveError> {
    let files = if is_gzip(bytes) { files(GzDecoder::new(bytes))? } else { files(bytes)? };
    for (name, contents) in files {
        let write = fs::write(folder.join(name), contents);
        write.map_err(|error| ArchiveError::Write(Shown::sentence(&error.to_string())))?;
    }
    Ok(())
}

/// The files of an archive by name. All lie in the same folder, or in none.
pub(crate) fn files(archive: impl Read) -> Result<BTreeMap<String, Vec<u8>>, ArchiveError> {
    let broken = |error: std::io::Error| ArchiveError::Broken(Shown::sentence(&error.to_string()));
    // What is unpacked of a small file may be without end.
    let mut archive = Archive::new(archive.take(MOST_BYTES + 1));
    let mut files = BTreeMap::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut room = MOST_BYTES;
    for (at, entry) in archive.entries().map_err(broken)?.enumerate() {
        if at == MOST_ENTRIES {
            return Err(ArchiveError::TooMany);
        }
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let shown = || Shown::name(&path.to_string_lossy());
        let (folder, name) = place(&path).ok_or_else(|| ArchiveError::Outside { name: shown() })?;
        match entry.header().entry_type() {
            EntryType::Regular => {}
            EntryType::Directory if folder.as_os_str().is_empty() => continue,
            EntryType::XGlobalHeader => continue,
            other => return Err(ArchiveError::NotRegular { what: name_of(other), name: shown() }),
        }
        folders.push(folder);
        if folders.iter().any(|folder| *folder != folders[0]) {
            return Err(ArchiveError::Outside { name: shown() });
        }
        if entry.size() > room {
            return Err(ArchiveError::TooLarge);
        }
        let mut contents = Vec::new();
        entry.by_ref().take(room + 1).read_to_end(&mut contents).map_err(broken)?;
        room = room.checked_sub(contents.len() as u64).ok_or(ArchiveError::TooLarge)?;
        if files.insert(name, contents).is_some() {
            return Err(ArchiveError::Twice { name: shown() });
        }
    }
    Ok(files)
}

/// Folder and name of a file that lies in an archive's folder, or beside it.
fn place(path: &Path) -> Option<(PathBuf, String)> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => return None,
        }
    }
    match parts[..] {
        [] => Some((PathBuf::new(), String::new())),
        [name] => Some((PathBuf::new(), name.to_owned())),
        [folder, name] => Some((PathBuf::from(folder), name.to_owned())),
        _ => None,
    }
}

fn name_of(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Symlink | EntryType::Link => "a link",
        EntryType::Fifo => "a named pipe",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Directory => "a folder",
        _ => "a special entry",
    }
}
