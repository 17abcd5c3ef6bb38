//! Where exports go: whole or not at all, and never in the place of something else.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use querist_files::{Links, shown};

use super::FormatError;

/// How pictures get beside an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pictures {
    /// As copies.
    #[default]
    Copy,
    /// As hard links: no room is needed, but a tool that changes a picture changes the original.
    Link,
}

/// Has `write` make a file or a folder, and puts it in its place once it is whole.
pub(super) fn whole(out: &Path, write: impl FnOnce(&Path) -> Result<(), FormatError>) -> Result<(), FormatError> {
    if out.symlink_metadata().is_ok() {
        let message = format!("{} is there, and nothing is replaced: choose another --out", shown(out));
        return Err(FormatError::Unfit(message));
    }
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |error| FormatError::write(out, error);
    fs::create_dir_all(parent).map_err(failed)?;
    let folder = tempfile::Builder::new().prefix(".querist-export-").tempdir_in(parent).map_err(failed)?;
    // In a folder of its own it gets the usual rights, which the temporary folder has not.
    let target = folder.path().join("export");
    write(&target)?;
    fs::rename(&target, out).map_err(failed)
}

pub(super) fn make_folder(path: &Path) -> Result<(), FormatError> {
    fs::create_dir_all(path).map_err(|error| FormatError::write(path, error))
}

/// Puts a picture under another name.
pub(super) fn put(from: &Path, to: &Path, how: Pictures) -> Result<(), FormatError> {
    let mut source = querist_files::open(from, Links::Follow)?;
    let failed = |error| FormatError::write(to, error);
    match how {
        Pictures::Copy => {
            let mut target = File::create_new(to).map_err(failed)?;
            io::copy(&mut source, &mut target).map_err(failed)?;
        }
        Pictures::Link => {
            // A link to a link would be one.
            let from = fs::canonicalize(from).map_err(failed)?;
            fs::hard_link(from, to).map_err(failed)?;
        }
    }
    Ok(())
}
