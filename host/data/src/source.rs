//! Streams of bytes with a bound on what may come out of them.

use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use querist_files::{Links, length_of};
use querist_protocol::Shown;

use crate::error::DataError;
use crate::memory::reserve;
use crate::zipped::{MAX_DIRECTORY, Zip};

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
        let file = querist_files::open(path, Links::Follow)?;
        let length = length_of(&file, path)?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let zipped = reader.fill_buf().map_err(DataError::io(path))?.starts_with(&GZIP_MAGIC);
        Ok(Self::over(path.display().to_string(), reader, length, zipped))
    }

    /// A member of a zip archive, plain or gzipped.
    pub fn open_member(path: &Path, member: &str) -> Result<Option<Self>, DataError> {
        let name = format!("{}#{member}", path.display());
        let Some(bytes) = Zip::open(path, MAX_DIRECTORY)?.read(member, &name)? else { return Ok(None) };
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

    /// All bytes, which must be `most` or fewer.
    pub fn all(&mut self, most: u64) -> Result<Vec<u8>, DataError> {
        let most = most.min(self.most);
        let mut bytes = Vec::new();
        // Memory grows with the bytes that come, whatever a compressed file could hold.
        let got = (&mut self.reader).take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(self.io())? as u64;
        self.position += got;
        if got > most {
            return Err(self.error(format!("more than {most} bytes"), "a smaller file"));
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
            _ => DataError::Io { file: Shown::sentence(&file), source },
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

/// Whether there is something at `path` that may be tried as a file; opening it says what else it is.
pub(crate) fn is_there(path: &Path) -> bool {
    path.exists() && !path.is_dir()
}
