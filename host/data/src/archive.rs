//! Archives of pictures, told by their first bytes: tar, gzipped tar, zip.

use std::io::Read;
use std::path::{Path, PathBuf};

use querist_files::Links;

use crate::error::DataError;
use crate::tape::{Kind, Member, Tape};
use crate::zipped::Zip;

/// Largest directory of a zip archive, of half a million pictures or more.
const MAX_DIRECTORY: u64 = 64 << 20;

/// An archive, read from its beginning.
pub(crate) enum Archive {
    /// Plain or gzipped.
    Tar(Tape),
    /// Its members in the order of its directory.
    Zip {
        /// Its name, for messages.
        file: String,
        /// The archive.
        zip: Zip,
        /// How many members have been given.
        given: usize,
    },
}

impl Archive {
    /// Opens an archive of any kind that is read.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let mut magic = Vec::new();
        let file = querist_files::open(path, Links::Follow)?;
        file.take(8).read_to_end(&mut magic).map_err(DataError::io(path))?;
        let other = OTHERS.iter().find(|(start, _)| magic.starts_with(start));
        if let Some((_, kind)) = other {
            let expected = "a .tar, .tar.gz or .zip; unpack it, or pack it anew";
            return Err(DataError::malformed(path.display(), "", format!("{kind}, which is not read"), expected));
        }
        // An empty archive has a directory only.
        if !magic.starts_with(b"PK\x03\x04") && !magic.starts_with(b"PK\x05\x06") {
            return Tape::open(path).map(Self::Tar);
        }
        let (file, zip) = (path.display().to_string(), Zip::open(path, MAX_DIRECTORY)?);
        if zip.stored() > zip.length() {
            // A small file would be unpacked again and again.
            return Err(DataError::malformed(file, "", "members that lie over one another", "a whole zip archive"));
        }
        Ok(Self::Zip { file, zip, given: 0 })
    }

    /// Its name, for messages.
    pub fn file(&self) -> &str {
        match self {
            Self::Tar(tape) => &tape.file,
            Self::Zip { file, .. } => file,
        }
    }

    /// The next member.
    pub fn next(&mut self) -> Result<Option<Member>, DataError> {
        let Self::Zip { file, zip, given } = self else {
            let Self::Tar(tape) = self else { return Ok(None) };
            return tape.next();
        };
        let Some(member) = zip.members().get(*given) else { return Ok(None) };
        *given += 1;
        if !member.is_utf8 {
            let at = format!("{file}#{}", member.name);
            return Err(DataError::malformed(
                at,
                "",
                "a name that is no UTF-8",
                "names that can be shown; pack it anew",
            ));
        }
        // Some programs of Windows separate names by what is a letter elsewhere.
        let name = if member.name.contains('/') { member.name.clone() } else { member.name.replace('\\', "/") };
        let kind = match name.ends_with('/') {
            true => Kind::Folder,
            false if member.is_special => Kind::Other,
            false => Kind::File,
        };
        Ok(Some(Member { path: PathBuf::from(name), size: member.size, kind }))
    }

    /// The whole content of the member that came last.
    pub fn content(&mut self, member: &Member, shown: &str) -> Result<Vec<u8>, DataError> {
        match self {
            Self::Tar(tape) => tape.content(member, shown),
            Self::Zip { zip, given, .. } => zip.content(given.saturating_sub(1), shown),
        }
    }
}

/// How other archives begin.
const OTHERS: [(&[u8], &str); 6] = [
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"PK\x07\x08", "a part of a split zip archive"),
];
