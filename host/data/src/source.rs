//! Streams of bytes with a bound on what may come out of them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::DataError;

/// Deflate makes at most this many bytes of one.
pub(crate) const DEFLATE_RATIO: u64 = 1032;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A stream, named for messages, that cannot yield more than `most` bytes.
pub(crate) struct Source {
    pub name: String,
    pub most: u64,
    reader: Box<dyn Read + Send>,
    position: u64,
}

impl Source {
    /// A file, plain or gzipped; its first bytes decide which.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io(path))?;
        let metadata = file.metadata().map_err(DataError::io(path))?;
        if !metadata.is_file() {
            return Err(DataError::malformed(path.display(), "", "not a regular file", "a file"));
        }
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let zipped = reader.fill_buf().map_err(DataError::io(path))?.starts_with(&GZIP_MAGIC);
        Ok(Self::over(path.display().to_string(), reader, metadata.len(), zipped))
    }

    /// A member of a zip archive, plain or gzipped.
    pub fn open_member(path: &Path, member: &str) -> Result<Option<Self>, DataError> {
        let mut archive = open_zip(path)?;
        let Some(index) = archive.index_for_name(member) else { return Ok(None) };
        let name = format!("{}#{member}", path.display());
        let bytes = read_zip_member(&mut archive, index, &name)?;
        let (zipped, length) = (bytes.starts_with(&GZIP_MAGIC), bytes.len() as u64);
        Ok(Some(Self::over(name, Cursor::new(bytes), length, zipped)))
    }

    fn over(name: String, reader: impl BufRead + Send + 'static, length: u64, zipped: bool) -> Self {
        let most = if zipped { length.saturating_mul(DEFLATE_RATIO) } else { length };
        let reader: Box<dyn Read + Send> =
            if zipped { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
        Self { name, most, reader, position: 0 }
    }

    /// The stream itself, for readers of a container format.
    pub fn into_reader(self) -> Box<dyn Read + Send> {
        self.reader
    }

    /// Exactly `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], DataError> {
        let mut bytes = [0; N];
        let got = self.fill(&mut bytes)?;
        if got < N { Err(self.truncated(got as u64, N as u64, what)) } else { Ok(bytes) }
    }

    /// Exactly `count` bytes that are the rest of the stream.
    pub fn rest(&mut self, count: u64, what: &str) -> Result<Vec<u8>, DataError> {
        if count > self.most {
            return Err(self.error(
                format!("the header claims {count} bytes of {what}"),
                format!("at most the {} that a file of this size can hold", self.most),
            ));
        }
        let mut bytes = reserve(count, &self.name)?;
        let got = (&mut self.reader).take(count).read_to_end(&mut bytes).map_err(self.io())? as u64;
        if got < count {
            return Err(self.truncated(got, count, what));
        }
        self.position += got;
        let end = self.position;
        if self.fill(&mut [0])? > 0 {
            self.position = end;
            return Err(self.error(format!("more bytes after the {what}"), "the end of the file"));
        }
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, DataError> {
        let mut got = 0;
        while got < bytes.len() {
            match self.reader.read(&mut bytes[got..]) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io()(error)),
            }
        }
        self.position += got as u64;
        Ok(got)
    }

    fn io(&self) -> impl FnOnce(io::Error) -> DataError + use<> {
        let file = self.name.clone();
        move |source| match source.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                let found = format!("the compressed data is damaged or cut off ({source})");
                DataError::malformed(file, "", found, "a whole file; fetch it again")
            }
            _ => DataError::Io { file, source },
        }
    }

    fn truncated(&self, got: u64, count: u64, what: &str) -> DataError {
        self.error(format!("the file ends after {got} of {count} bytes of {what}"), "a whole file; fetch it again")
    }

    /// An error at the current position.
    pub fn error(&self, found: impl Into<String>, expected: impl Into<String>) -> DataError {
        DataError::malformed(&self.name, format_args!(", byte {}", self.position), found, expected)
    }
}

/// An empty vector with room for `count` bytes, or an error where there is no such memory.
pub(crate) fn reserve(count: u64, what: &str) -> Result<Vec<u8>, DataError> {
    let memory = || DataError::Memory { what: what.to_owned(), bytes: count };
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(count).map_err(|_| memory())?).map_err(|_| memory())?;
    Ok(bytes)
}

/// The archive type behind every zip read here.
pub(crate) type Zip = zip::ZipArchive<BufReader<File>>;

/// Opens a zip archive.
pub(crate) fn open_zip(path: &Path) -> Result<Zip, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    zip::ZipArchive::new(BufReader::new(file)).map_err(|error| {
        DataError::malformed(path.display(), "", format!("no readable zip archive ({error})"), "a zip archive")
    })
}

/// The whole content of a zip member. Its checksum is checked; its claim of a size is believed only as far as its
/// stored bytes can carry it.
pub(crate) fn read_zip_member(archive: &mut Zip, index: usize, name: &str) -> Result<Vec<u8>, DataError> {
    let bad = |found: String| DataError::malformed(name, "", found, "a stored or deflated zip member");
    let member = archive.by_index(index).map_err(|error| bad(error.to_string()))?;
    let (size, stored) = (member.size(), member.compressed_size());
    if size > stored.saturating_mul(DEFLATE_RATIO) {
        return Err(bad(format!("the archive claims {size} bytes made of {stored}, which cannot be")));
    }
    let mut bytes = reserve(size, name)?;
    member.take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| bad(error.to_string()))?;
    if bytes.len() as u64 != size {
        return Err(bad(format!("{} bytes where the archive claims {size}", bytes.len())));
    }
    Ok(bytes)
}
