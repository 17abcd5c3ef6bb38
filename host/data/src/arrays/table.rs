//! Columns of Parquet tables: lists of floats as rows of an array, and ids.
//!
//! A row of such a table cannot be read without all of its page, so a column of floats is written to a temporary file
//! once, as plain values of the type that it has, and read from there.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use ::parquet::basic::Type as Physical;
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{ByteArray, DataType, FixedLenByteArray};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use querist_core::Values;
use querist_files::parquet::Source;
use querist_files::{Links, shown};
use querist_protocol::Shown;

use super::convert::Scalar;
use super::{Kind, read_array, split_member};
use crate::error::DataError;
use crate::labelled::columns::{guarded, opened};

/// Rows that are read at once.
const ROWS: usize = 1024;
/// Longest row of a list.
const MOST_WIDTH: usize = 1 << 24;
/// Bytes of a list of ids at most.
const MOST_TEXT: u64 = 64 << 30;
/// Longest id.
const MOST_ID: usize = 4096;

/// The values of a column as they are read from now on.
pub(super) struct Spooled {
    pub file: File,
    pub rows: usize,
    pub width: usize,
    pub scalar: Scalar,
}

/// An open table.
struct Table {
    at: String,
    reader: SerializedFileReader<Source>,
}

impl Table {
    fn open(path: &Path) -> Result<Self, DataError> {
        let at = path.display().to_string();
        let file = querist_files::open(path, Links::Follow)?;
        let reader = opened(&at, file)?;
        Ok(Self { at, reader })
    }

    fn bad(&self, found: impl Into<String>, expected: impl Into<String>) -> DataError {
        DataError::malformed(&self.at, "", found, expected)
    }

    /// The column that is asked for, else the one called `name`, else the only one that `fits`.
    fn column(
        &self,
        asked: Option<&str>,
        name: &str,
        fits: impl Fn(Physical, i16) -> bool,
    ) -> Result<usize, DataError> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let tops: Vec<&str> = schema.columns().iter().map(|leaf| leaf.path().parts()[0].as_str()).collect();
        let fitting: Vec<usize> = (0..tops.len())
            .filter(|&at| fits(schema.column(at).physical_type(), schema.column(at).max_rep_level()))
            .collect();
        let called = |name: &str| fitting.iter().copied().find(|&at| tops[at] == name);
        let found = match (asked, &fitting[..]) {
            (Some(asked), _) => called(asked),
            (None, _) if called(name).is_some() => called(name),
            (None, &[only]) => Some(only),
            (None, _) => None,
        };
        found.ok_or_else(|| {
            let some: Vec<_> = fitting.iter().take(20).map(|&at| format!("`{}`", Shown::name(tops[at]))).collect();
            let found = format!("no column `{}` of such values", Shown::name(asked.unwrap_or(name)));
            let expected = match some.is_empty() {
                true => "lists of 16-, 32- or 64-bit floats (for ids: integers or texts)".to_owned(),
                false => format!("one of {}; write `FILE.parquet#COLUMN`", some.join(", ")),
            };
            self.bad(found, expected)
        })
    }

    /// Calls `take` with the values of a column, one row after the other, none of which may be missing.
    fn each_row<T: DataType>(
        &self,
        column: usize,
        of: impl Fn(ColumnReader) -> Option<ColumnReaderImpl<T>>,
        mut take: impl FnMut(usize, &[T::T]) -> Result<(), DataError>,
    ) -> Result<usize, DataError> {
        let leaf = self.reader.metadata().file_metadata().schema_descr().column(column);
        let (defined, repeats) = (leaf.max_def_level(), leaf.max_rep_level() > 0);
        let mut row = 0;
        for group in 0..self.reader.num_row_groups() {
            let reader = guarded(&self.at, || self.reader.get_row_group(group)?.get_column_reader(column))?;
            let mut reader = of(reader).ok_or_else(|| self.bad("a column of two types", "one"))?;
            loop {
                let (mut levels, mut starts, mut values) = (Vec::new(), Vec::new(), Vec::new());
                let read = || reader.read_records(ROWS, Some(&mut levels), Some(&mut starts), &mut values);
                let (records, ..) = guarded(&self.at, read)?;
                if records == 0 {
                    break;
                }
                if defined > 0
                    && let Some(at) = levels.iter().position(|&level| level != defined)
                {
                    let before =
                        if repeats { starts[..=at].iter().filter(|&&start| start == 0).count() - 1 } else { at };
                    return Err(self.bad(format!("row {}: a missing value", row + before), "a value in each place"));
                }
                let mut at = 0;
                for _ in 0..records {
                    let length = match repeats {
                        true => 1 + starts.iter().skip(at + 1).take_while(|&&start| start > 0).count(),
                        false => 1,
                    };
                    let here = values.get(at..at + length).ok_or_else(|| self.bad("damaged pages", "whole ones"))?;
                    take(row, here)?;
                    (at, row) = (at + length, row + 1);
                }
            }
        }
        Ok(row)
    }
}

/// Writes a column of floats to a temporary file.
pub(super) fn spool(path: &Path, asked: Option<&str>, name: &str) -> Result<Spooled, DataError> {
    let table = Table::open(path)?;
    let schema = table.reader.metadata().file_metadata().schema_descr_ptr();
    let is_half = |at: usize| schema.column(at).type_length() == 2;
    let at = table.column(asked, name, |kind, _| {
        matches!(kind, Physical::FLOAT | Physical::DOUBLE | Physical::FIXED_LEN_BYTE_ARRAY)
    })?;
    let folder = std::env::temp_dir();
    let failed = |error: std::io::Error| DataError::io(&folder)(error);
    let mut out = BufWriter::with_capacity(1 << 20, tempfile::tempfile().map_err(failed)?);
    let mut width = None;
    let mut check = |row: usize, found: usize| match width {
        Some(width) if width == found => Ok(()),
        None if found > 0 && found <= MOST_WIDTH => {
            width = Some(found);
            Ok(())
        }
        Some(width) => Err(table.bad(format!("row {row} of {found} values"), format!("{width}, as in row 0"))),
        None => Err(table.bad(format!("row {row} of {found} values"), format!("1 to {MOST_WIDTH}"))),
    };
    let floats = |reader| if let ColumnReader::FloatColumnReader(reader) = reader { Some(reader) } else { None };
    let doubles = |reader| if let ColumnReader::DoubleColumnReader(reader) = reader { Some(reader) } else { None };
    let halves =
        |reader| if let ColumnReader::FixedLenByteArrayColumnReader(reader) = reader { Some(reader) } else { None };
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(failed);
    let (rows, scalar) = match schema.column(at).physical_type() {
        Physical::FLOAT => {
            let rows = table.each_row(at, floats, |row, values: &[f32]| {
                check(row, values.len()).and_then(|()| write(bytemuck::cast_slice(values)))
            })?;
            (rows, Scalar::F32)
        }
        Physical::DOUBLE => {
            let rows = table.each_row(at, doubles, |row, values: &[f64]| {
                check(row, values.len()).and_then(|()| write(bytemuck::cast_slice(values)))
            })?;
            (rows, Scalar::F64)
        }
        Physical::FIXED_LEN_BYTE_ARRAY if is_half(at) => {
            let rows = table.each_row(at, halves, |row, values: &[FixedLenByteArray]| {
                check(row, values.len())?;
                // Parquet's are little-endian.
                let half = |value: &FixedLenByteArray| <[u8; 2]>::try_from(value.data()).map(u16::from_le_bytes);
                let halves: Result<Vec<u16>, _> = values.iter().map(half).collect();
                let halves = halves.map_err(|_| table.bad("values that are no 16-bit floats", "16-bit floats"))?;
                write(bytemuck::cast_slice(&halves))
            })?;
            (rows, Scalar::F16)
        }
        other => return Err(table.bad(format!("a column of {other}"), "lists of 16-, 32- or 64-bit floats")),
    };
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    Ok(Spooled { file, rows, width: width.unwrap_or(1), scalar })
}

/// Ids of samples: numbers, or texts.
#[derive(Debug, Clone)]
pub enum Ids {
    /// Numbers of up to 64 bits.
    Numbers(Vec<u64>),
    /// Texts.
    Texts(Texts),
}

/// Texts behind one another.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    text: String,
    ends: Vec<usize>,
}

impl Texts {
    /// Number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One of them.
    pub fn get(&self, at: usize) -> Option<&str> {
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.text.get(start..*self.ends.get(at)?)
    }

    /// Adds one.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len());
    }

    /// Two places that hold the same text, if there are any.
    pub fn twice(&self) -> Option<(usize, usize)> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by_key(|&at| (self.get(at as usize), at));
        let pair = order.windows(2).find(|pair| self.get(pair[0] as usize) == self.get(pair[1] as usize))?;
        Some((pair[0] as usize, pair[1] as usize))
    }
}

/// The ids in some files behind one another: arrays of integers, `.txt` with one id a line, or a column of `.parquet`.
///
/// # Errors
/// If a file holds no ids, or they are numbers in one file and texts in another.
pub fn read_ids(files: &[PathBuf], name: &str) -> Result<Ids, DataError> {
    let (mut numbers, mut texts) = (Vec::new(), Texts::default());
    for path in files {
        let before = (numbers.len(), texts.len());
        read_some(path, name, &mut numbers, &mut texts)?;
        if !numbers.is_empty() && !texts.is_empty() {
            let (found, expected) = if before.0 > 0 { ("texts", "numbers") } else { ("numbers", "texts") };
            return Err(DataError::malformed(
                shown(path),
                "",
                format!("ids that are {found}"),
                format!("{expected}, as in the files before"),
            ));
        }
    }
    Ok(if texts.is_empty() { Ids::Numbers(numbers) } else { Ids::Texts(texts) })
}

fn read_some(path: &Path, name: &str, numbers: &mut Vec<u64>, texts: &mut Texts) -> Result<(), DataError> {
    let (whole, asked) = split_member(path);
    let ending = whole.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    match ending.as_deref() {
        Some("txt") => {
            let text = querist_files::read_text(path, Links::Follow, MOST_TEXT)?;
            for (line, id) in text.lines().enumerate() {
                check_id(path, line, id)?;
                texts.push(id);
            }
            Ok(())
        }
        Some("parquet") => ids_of_table(&whole, asked.as_deref(), name, numbers, texts),
        _ => {
            let array = read_array(path, Some(name), Kind::U64)?;
            match (array.values(), array.shape()) {
                (Values::U64(ids), [_]) => numbers.extend_from_slice(ids),
                (_, shape) => {
                    return Err(DataError::malformed(shown(path), "", format!("shape {shape:?}"), "ids in a list"));
                }
            }
            Ok(())
        }
    }
}

fn check_id(path: impl AsRef<Path>, row: usize, id: &str) -> Result<(), DataError> {
    if !id.is_empty() && id.len() <= MOST_ID {
        return Ok(());
    }
    let found = format!("row {row}: an id of {} bytes", id.len());
    Err(DataError::malformed(shown(path.as_ref()), "", found, format!("1 to {MOST_ID}")))
}

fn ids_of_table(
    path: &Path,
    asked: Option<&str>,
    name: &str,
    numbers: &mut Vec<u64>,
    texts: &mut Texts,
) -> Result<(), DataError> {
    let table = Table::open(path)?;
    let is_id = |kind: Physical, repeats: i16| {
        repeats == 0 && matches!(kind, Physical::BYTE_ARRAY | Physical::INT32 | Physical::INT64)
    };
    let at = table.column(asked, name, is_id)?;
    let mut add = |row: usize, number: i128| {
        let negative = || table.bad(format!("row {row}: the id {number}"), "ids of 0 or more");
        u64::try_from(number).map(|number| numbers.push(number)).map_err(|_| negative())
    };
    let longs = |reader| if let ColumnReader::Int64ColumnReader(reader) = reader { Some(reader) } else { None };
    let ints = |reader| if let ColumnReader::Int32ColumnReader(reader) = reader { Some(reader) } else { None };
    let bytes = |reader| if let ColumnReader::ByteArrayColumnReader(reader) = reader { Some(reader) } else { None };
    let leaf = table.reader.metadata().file_metadata().schema_descr().column(at);
    // Unsigned numbers lie in the bits of signed ones.
    let is_unsigned = leaf.sort_order() == ::parquet::basic::SortOrder::UNSIGNED;
    match leaf.physical_type() {
        Physical::INT64 => table.each_row(at, longs, |row, values: &[i64]| {
            add(row, if is_unsigned { i128::from(values[0] as u64) } else { i128::from(values[0]) })
        })?,
        Physical::INT32 => table.each_row(at, ints, |row, values: &[i32]| {
            add(row, if is_unsigned { i128::from(values[0] as u32) } else { i128::from(values[0]) })
        })?,
        _ => table.each_row(at, bytes, |row, values: &[ByteArray]| {
            let no_text = || table.bad(format!("row {row}: an id that is no UTF-8"), "text");
            let id = values[0].as_utf8().map_err(|_| no_text())?;
            check_id(path, row, id)?;
            texts.push(id);
            Ok(())
        })?,
    };
    Ok(())
}
