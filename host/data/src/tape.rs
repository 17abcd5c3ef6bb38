//! Members of tar archives, one after the other.
//!
//! The general reader keeps long names and extended headers of whatever length they claim, and a gigabyte of one letter
//! is a megabyte of gzip. Here they have a bound, and what a reader of pictures has no use for is refused or passed
//! over.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header, PaxExtensions};

use crate::error::DataError;
use crate::source::Source;

/// Longest name, and longest extended header.
const MAX_EXTENSION: u64 = 64 << 10;
const BLOCK: u64 = 512;

/// An archive, read from its beginning.
pub(crate) struct Tape {
    /// Its name, for messages.
    pub file: String,
    reader: Box<dyn Read + Send>,
    /// Bytes up to the next header.
    ahead: u64,
}

/// A member; its content comes next in the archive.
pub(crate) struct Member {
    pub path: PathBuf,
    pub size: u64,
    pub kind: Kind,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    /// A link, a device, a pipe.
    Other,
}

/// What extended headers say of the member after them.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Tape {
    /// Opens a plain or gzipped archive.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let source = Source::open(path)?;
        Ok(Self { file: source.name.clone(), reader: source.into_reader(), ahead: 0 })
    }

    /// The next member.
    pub fn next(&mut self) -> Result<Option<Member>, DataError> {
        let mut extension = Extension::default();
        while let Some(header) = self.header()? {
            // The error of the general reader quotes whatever bytes there are.
            let size = header.entry_size().map_err(|_| self.bad("a size that is no number"))?;
            self.ahead = size.checked_next_multiple_of(BLOCK).ok_or_else(|| self.bad("a size beyond 64 bits"))?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    let mut name = self.extension(size)?;
                    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
                    extension.path = Some(name);
                }
                // Where a link leads is of no interest: links are refused.
                EntryType::GNULongLink => drop(self.extension(size)?),
                EntryType::XHeader => self.extend(&mut extension, size)?,
                EntryType::XGlobalHeader => {
                    let mut global = Extension::default();
                    self.extend(&mut global, size)?;
                    if global.path.is_some() || global.size.is_some() {
                        return Err(self.bad("one path or size for all members"));
                    }
                }
                kind => return self.member(&header, kind, size, extension).map(Some),
            }
        }
        Ok(None)
    }

    /// The whole content of the member that came last.
    pub fn content(&mut self, member: &Member, shown: &str) -> Result<Vec<u8>, DataError> {
        // A claim costs nothing: memory grows with the bytes that come.
        let bytes = self.take(member.size)?;
        if (bytes.len() as u64) < member.size {
            let found = format!("the archive ends after {} bytes of this file", bytes.len());
            return Err(DataError::malformed(shown, "", found, format!("{}", member.size)));
        }
        Ok(bytes)
    }

    fn member(&self, header: &Header, kind: EntryType, size: u64, extension: Extension) -> Result<Member, DataError> {
        if extension.size.is_some_and(|extended| extended != size) {
            return Err(self.bad("a size in an extended header that is another than in the header"));
        }
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Folder,
            EntryType::GNUSparse => return Err(self.bad("a sparse file")),
            _ => Kind::Other,
        };
        let path = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
        Ok(Member { path: OsStr::from_bytes(&path).into(), size, kind })
    }

    /// The next header, or nothing at the end.
    fn header(&mut self) -> Result<Option<Header>, DataError> {
        let ahead = self.ahead;
        let passed = std::io::copy(&mut (&mut self.reader).take(ahead), &mut std::io::sink());
        if passed.map_err(|error| self.bad(error.to_string()))? < ahead {
            return Err(self.bad("it ends inside a member"));
        }
        self.ahead = 0;
        let block = self.upto(BLOCK)?;
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let header = <&[u8; BLOCK as usize]>::try_from(&block[..]).map_err(|_| self.bad("it ends inside a header"))?;
        let header = Header::from_byte_slice(header).clone();
        let sum: u32 =
            block.iter().enumerate().map(|(at, &byte)| u32::from(if is_sum(at) { b' ' } else { byte })).sum();
        match header.cksum() {
            Ok(claimed) if claimed == sum => Ok(Some(header)),
            _ => Err(self.bad("a header with a wrong checksum")),
        }
    }

    /// The content of a header that only says more of the next one.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, DataError> {
        if size > MAX_EXTENSION {
            return Err(
                self.bad(format!("a name or extended header of {size} bytes, at most {MAX_EXTENSION} are read"))
            );
        }
        let bytes = self.take(size)?;
        if (bytes.len() as u64) < size { Err(self.bad("it ends inside a header")) } else { Ok(bytes) }
    }

    fn extend(&mut self, extension: &mut Extension, size: u64) -> Result<(), DataError> {
        let bytes = self.extension(size)?;
        for record in PaxExtensions::new(&bytes) {
            let record = record.map_err(|error| self.bad(error.to_string()))?;
            match record.key_bytes() {
                b"path" => extension.path = Some(record.value_bytes().to_vec()),
                b"size" => {
                    let size = record.value().ok().and_then(|value| value.parse().ok());
                    extension.size = Some(size.ok_or_else(|| self.bad("a size that is no number"))?);
                }
                key if key.starts_with(b"GNU.sparse.") => return Err(self.bad("a sparse file")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Up to `size` bytes of the current member; fewer where the archive ends.
    fn take(&mut self, size: u64) -> Result<Vec<u8>, DataError> {
        let bytes = self.upto(size)?;
        self.ahead = self.ahead.saturating_sub(bytes.len() as u64);
        Ok(bytes)
    }

    fn upto(&mut self, size: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(size).read_to_end(&mut bytes);
        read.map_err(|error| self.bad(error.to_string()))?;
        Ok(bytes)
    }

    fn bad(&self, found: impl std::fmt::Display) -> DataError {
        let found = format!("no readable tar archive ({found})");
        DataError::malformed(&self.file, "", found, "a whole .tar or .tar.gz")
    }
}

/// Whether a byte of a header belongs to its checksum, and counts as a blank in it.
fn is_sum(at: usize) -> bool {
    (148..156).contains(&at)
}
