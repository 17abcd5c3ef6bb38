//! The only way to open a file that somebody else may have made.
//!
//! Whoever made a folder chose what lies behind each name in it: a named pipe stops whoever opens it, `/dev/zero` never
//! ends and has no length, a link shows another file, and a file may be changed between a look at it and its opening.
//! So a file is opened once, without waiting, and everything that is asked of it (its type, its length) is asked of the
//! open handle; what is read is bounded while it is read.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod cache;
pub mod kept;
pub mod parquet;
mod whole;

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use querist_protocol::Shown;

pub use cache::{CacheFolderError, cache_folder, cache_folder_or_temporary, check_cache_folder, make_cache_folder};
pub use whole::Whole;

/// What to do where the last name of a path is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Open what it leads to: for paths that the user gave, and for pictures, which people link.
    Follow,
    /// Refuse it: for packages and run folders, which nobody makes of links.
    Refuse,
}

/// Why a file was not opened or not read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", shown(path))]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// There is nothing under this name.
    #[error("no such file")]
    NotFound,
    /// There is something else than a file.
    #[error("{0}, expected a regular file")]
    NotRegular(&'static str),
    /// It is longer than what may be read of it.
    #[error("{bytes} bytes or more, expected at most {most}")]
    TooLarge {
        /// Bytes that are known to be there.
        bytes: u64,
        /// Bytes that may be there.
        most: u64,
    },
    /// It is no UTF-8.
    #[error("no UTF-8 at byte {at}, expected text")]
    NotText {
        /// The first byte that belongs to no character.
        at: usize,
    },
    /// The system refused.
    #[error("{0}")]
    Io(#[source] io::Error),
}

impl FileError {
    /// Whether there is simply nothing under this name.
    pub fn is_not_found(&self) -> bool {
        matches!(self.reason, Reason::NotFound)
    }

    fn new(path: &Path, reason: Reason) -> Self {
        Self { path: path.to_owned(), reason }
    }

    fn io(path: &Path, error: io::Error) -> Self {
        let reason = match error.raw_os_error() {
            // A path with a file in the place of a folder names nothing, either.
            Some(libc::ENOENT | libc::ENOTDIR) => Reason::NotFound,
            _ => Reason::Io(error),
        };
        Self::new(path, reason)
    }
}

/// A path as it can be shown.
pub fn shown(path: &Path) -> Shown {
    Shown::sentence(&path.to_string_lossy())
}

/// Opens a regular file to read it.
///
/// Never waits and never opens a terminal as its own; the handle does not pass to children. A pipe, a device, a socket
/// or a folder is closed again unread.
///
/// # Errors
/// If there is no regular file, with what there is.
pub fn open(path: &Path, links: Links) -> Result<File, FileError> {
    open_with(OpenOptions::new().read(true), path, links)
}

/// Opens a regular file of our own to read and write it, and makes it where there is none; a link is refused.
///
/// # Errors
/// If there is something else than a regular file, with what there is.
pub fn open_or_create(path: &Path) -> Result<File, FileError> {
    open_with(OpenOptions::new().read(true).write(true).create(true).truncate(false), path, Links::Refuse)
}

/// Reads a whole regular file of at most `most_bytes` bytes.
///
/// # Errors
/// If there is no regular file, or a longer one; also where it grows beyond the limit while it is read.
pub fn read(path: &Path, links: Links, most_bytes: u64) -> Result<Vec<u8>, FileError> {
    read_open(open(path, links)?, path, most_bytes)
}

/// Reads the rest of an open file, as [`read`] does; `path` is for messages.
///
/// # Errors
/// If it is longer than the limit, or the system refuses.
pub fn read_open(file: File, path: &Path, most_bytes: u64) -> Result<Vec<u8>, FileError> {
    let length = length_of(&file, path)?;
    let too_large = |bytes| FileError::new(path, Reason::TooLarge { bytes, most: most_bytes });
    if length > most_bytes {
        return Err(too_large(length));
    }
    // A sparse file claims what it likes: memory grows with the bytes that come.
    let mut bytes = Vec::with_capacity(length.min(1 << 20) as usize);
    file.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| FileError::io(path, error))?;
    if bytes.len() as u64 > most_bytes {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Reads a whole text; see [`read`].
///
/// # Errors
/// As [`read`], and if the file is no UTF-8, with the first byte that is none.
pub fn read_text(path: &Path, links: Links, most_bytes: u64) -> Result<String, FileError> {
    String::from_utf8(read(path, links, most_bytes)?)
        .map_err(|error| FileError::new(path, Reason::NotText { at: error.utf8_error().valid_up_to() }))
}

/// Length of a regular file in bytes.
///
/// # Errors
/// If there is no regular file, with what there is.
pub fn length(path: &Path, links: Links) -> Result<u64, FileError> {
    length_of(&open(path, links)?, path)
}

/// Length of an open file in bytes.
///
/// # Errors
/// If the system does not say.
pub fn length_of(file: &File, path: &Path) -> Result<u64, FileError> {
    Ok(file.metadata().map_err(|error| FileError::io(path, error))?.len())
}

/// Makes durable what was made, renamed or removed in a folder.
///
/// # Errors
/// If there is no folder, or the system refuses.
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    let flags = libc::O_DIRECTORY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    opened.and_then(|folder| folder.sync_all()).map_err(|error| FileError::io(path, error))
}

fn open_with(options: &mut OpenOptions, path: &Path, links: Links) -> Result<File, FileError> {
    let no_follow = if links == Links::Refuse { libc::O_NOFOLLOW } else { 0 };
    options.custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY | no_follow);
    let file = options.open(path).map_err(|error| refused(path, links, error))?;
    let found = file.metadata().map_err(|error| FileError::io(path, error))?.file_type();
    if found.is_file() { Ok(file) } else { Err(FileError::new(path, Reason::NotRegular(name_of(found)))) }
}

/// Why the system did not open what is there. Only words hang on this second look.
fn refused(path: &Path, links: Links, error: io::Error) -> FileError {
    let found = match error.raw_os_error() {
        Some(libc::ELOOP) if links == Links::Follow => "links that lead in a circle",
        Some(libc::ELOOP) => "a link",
        // Sockets, and devices and pipes with nobody behind; folders that were to be written to.
        Some(libc::ENXIO | libc::ENODEV | libc::EISDIR) => {
            std::fs::metadata(path).map_or("a thing that cannot be opened", |found| name_of(found.file_type()))
        }
        _ => return FileError::io(path, error),
    };
    FileError::new(path, Reason::NotRegular(found))
}

fn name_of(found: FileType) -> &'static str {
    match found {
        _ if found.is_dir() => "a folder",
        _ if found.is_fifo() => "a named pipe",
        _ if found.is_socket() => "a socket",
        _ if found.is_char_device() => "a character device",
        _ if found.is_block_device() => "a block device",
        _ if found.is_symlink() => "a link",
        _ => "a thing that cannot be opened",
    }
}
