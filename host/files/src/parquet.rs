//! Files of Parquet. Their reader panics at some damage, and reads nothing again and again beyond the end of a file.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::parquet::errors::Result as Outcome;
use ::parquet::file::metadata::ColumnChunkMetaData;
use ::parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use bytes::Bytes;

use crate::Whole;

/// What is expected of a file, for messages.
pub const EXPECTED: &str = "a whole Parquet file, plain or compressed with snappy, gzip or zstd";

/// A file, read to its end and no farther.
#[derive(Debug)]
pub struct Source(File);

impl Length for Source {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Source {
    type T = Whole<BufReader<File>>;

    fn get_read(&self, start: u64) -> Outcome<Self::T> {
        let mut file = self.0.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        Ok(Whole(BufReader::new(file)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Outcome<Bytes> {
        // No room is made for more than there is.
        let left = self.len().saturating_sub(start);
        if length as u64 > left {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        self.0.get_bytes(start, length)
    }
}

/// A reader of an open file, whose columns lie somewhere.
///
/// # Errors
/// What is wrong with the file.
pub fn reader(file: File) -> Result<SerializedFileReader<Source>, String> {
    let reader = guarded(|| SerializedFileReader::new(Source(file)))?;
    let is_placed = |column: &ColumnChunkMetaData| {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        start >= 0 && column.compressed_size() >= 0
    };
    let mut columns = reader.metadata().row_groups().iter().flat_map(|group| group.columns());
    if columns.all(is_placed) { Ok(reader) } else { Err("a column at a negative place".to_owned()) }
}

/// What the reader says or, of some damaged files, panics with.
///
/// # Errors
/// What is wrong with the file.
pub fn guarded<T>(read: impl FnOnce() -> Outcome<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("damaged pages".to_owned()),
    }
}
