//! The table of `csv` as a Parquet file.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use ::parquet::basic::{Compression, Type as Physical};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::column::writer::ColumnWriter;
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::errors::{ParquetError, Result as Outcome};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use querist_files::parquet::{self, Source};
use querist_files::{Links, length_of};

use super::csv::{COLUMNS, Cells, Texts, cells};
use super::{Export, FormatError, Found, MOST_BYTES, Words};

const SCHEMA: &str = "message batch {
    required int64 rank; required int64 id; required binary name (UTF8); optional binary label (UTF8);
    optional binary annotator (UTF8); optional double seconds; optional double score; optional binary guess (UTF8);
    optional double probability;
}";

/// Rows that are read at once, and rows of a file at most.
const ROWS: usize = 4096;
const MOST_ROWS: i64 = 10_000_000;

pub(super) fn write(export: &Export<'_>, words: &Words<'_>, out: &Path) -> Result<(), FormatError> {
    let file = File::create_new(out).map_err(|error| FormatError::write(out, error))?;
    write_to(file, export, words).map_err(|error| FormatError::write(out, std::io::Error::other(error)))
}

fn write_to(file: File, export: &Export<'_>, words: &Words<'_>) -> Outcome<()> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(file, Arc::new(parse_message_type(SCHEMA)?), Arc::new(properties))?;
    let rows: Vec<Cells<'_>> = cells(export).collect();
    let mut group = writer.next_row_group()?;
    for name in COLUMNS {
        let Some(mut column) = group.next_column()? else { break };
        match column.untyped() {
            ColumnWriter::Int64ColumnWriter(numbers) => {
                let value = |cells: &Cells<'_>| match name {
                    "rank" => cells.row.rank as i64,
                    _ => cells.row.picture.id as i64,
                };
                numbers.write_batch(&rows.iter().map(value).collect::<Vec<_>>(), None, None)?;
            }
            ColumnWriter::DoubleColumnWriter(numbers) => {
                let values = rows.iter().map(|cells| number(name, cells, export.guesses)).collect();
                let (values, levels) = with_levels(values);
                numbers.write_batch(&values, Some(&levels), None)?;
            }
            ColumnWriter::ByteArrayColumnWriter(texts) => {
                let text = |cells: &Cells<'_>| text(name, cells, export, words).map(ByteArray::from);
                let (values, levels) = with_levels(rows.iter().map(text).collect());
                texts.write_batch(&values, (name != "name").then_some(&levels), None)?;
            }
            _ => return Err(ParquetError::General(format!("column {name} of another type"))),
        }
        column.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(())
}

fn number(name: &str, cells: &Cells<'_>, guesses: bool) -> Option<f64> {
    match name {
        "seconds" => cells.answer?.seconds,
        "score" => cells.row.picture.score,
        _ => cells.row.picture.guess.filter(|_| guesses).map(|guess| guess.probability),
    }
}

fn text<'a>(name: &str, cells: &Cells<'a>, export: &'a Export<'a>, words: &Words<'a>) -> Option<&'a str> {
    match name {
        "name" => Some(&cells.row.picture.name),
        "label" => words.spell(cells.answer?.answer),
        "annotator" => Some(&cells.answer?.annotator),
        _ => {
            let guess = cells.row.picture.guess.filter(|_| export.guesses)?;
            Some(&export.batch.classes[guess.class as usize])
        }
    }
}

/// The values that there are, and which those are.
fn with_levels<T>(values: Vec<Option<T>>) -> (Vec<T>, Vec<i16>) {
    let levels = values.iter().map(|value| i16::from(value.is_some())).collect();
    (values.into_iter().flatten().collect(), levels)
}

pub(super) fn read(path: &Path) -> Result<Found, FormatError> {
    let file = querist_files::open(path, Links::Follow)?;
    let length = length_of(&file, path)?;
    if length > MOST_BYTES {
        return Err(FormatError::malformed(path, format!("{length} bytes, expected at most {MOST_BYTES}")));
    }
    let table = Table { path, reader: parquet::reader(file).map_err(|found| unreadable(path, &found))? };
    table.check()?;
    let column = |name| table.column(name);
    let (id, name, label) = (column("id")?, column("name")?, column("label")?);
    let (annotator, seconds, guess) = (column("annotator")?, column("seconds")?, column("guess")?);
    let Some(label) = label.filter(|_| id.is_some() || name.is_some()) else {
        return Err(FormatError::malformed(path, "expected a column `label`, and `id` or `name` or both"));
    };
    let mut found = Found::default();
    for (row, label) in label.iter().enumerate() {
        let cell = |column: &'_ Option<Vec<Option<String>>>| column.as_ref()?.get(row)?.clone();
        let full = |column| cell(column).filter(|text| !text.trim().is_empty());
        let (id, name, annotator, seconds) = (full(&id), full(&name), full(&annotator), full(&seconds));
        let texts = Texts {
            id: id.as_deref().map(str::trim),
            name: name.as_deref(),
            label: label.as_deref().unwrap_or_default(),
            annotator: annotator.as_deref().map(str::trim),
            seconds: seconds.as_deref().map(str::trim),
            has_guess: full(&guess).is_some(),
        };
        texts.take(format!("row {row}"), &mut found);
    }
    Ok(found)
}

struct Table<'a> {
    path: &'a Path,
    reader: SerializedFileReader<Source>,
}

impl Table<'_> {
    fn check(&self) -> Result<(), FormatError> {
        let metadata = self.reader.metadata();
        let sizes = metadata.row_groups().iter().flat_map(|group| group.columns());
        let mut sizes = sizes.map(|column| column.uncompressed_size());
        let rows = metadata.file_metadata().num_rows();
        if sizes.any(|size| !(0..=MOST_BYTES as i64).contains(&size)) || !(0..=MOST_ROWS).contains(&rows) {
            return Err(FormatError::malformed(self.path, "sizes beyond what a table of answers has"));
        }
        Ok(())
    }

    /// All values of a column as text; nothing where there is no such column.
    fn column(&self, name: &str) -> Result<Option<Vec<Option<String>>>, FormatError> {
        let leaves = self.reader.metadata().file_metadata().schema_descr().columns();
        let named = |leaf: &&_| {
            let leaf: &Arc<::parquet::schema::types::ColumnDescriptor> = leaf;
            let parts = leaf.path().parts();
            parts.len() == 1 && parts[0].eq_ignore_ascii_case(name)
        };
        let found: Vec<usize> = (0..leaves.len()).filter(|&at| named(&&leaves[at])).collect();
        let at = match found[..] {
            [] => return Ok(None),
            [at] => at,
            _ => return Err(FormatError::malformed(self.path, format!("column `{name}` twice, expected once"))),
        };
        if leaves[at].max_rep_level() > 0 || leaves[at].physical_type() == Physical::INT96 {
            return Err(FormatError::malformed(self.path, format!("column `{name}` has no plain values")));
        }
        let defined = leaves[at].max_def_level();
        let mut values = Vec::new();
        for group in 0..self.reader.num_row_groups() {
            let open = || self.reader.get_row_group(group)?.get_column_reader(at);
            match guarded(self.path, open)? {
                ColumnReader::ByteArrayColumnReader(reader) => {
                    self.texts(reader, defined, &mut values, &|value| text_of(value.data()))?;
                }
                ColumnReader::Int32ColumnReader(reader) => self.texts(reader, defined, &mut values, &digits)?,
                ColumnReader::Int64ColumnReader(reader) => self.texts(reader, defined, &mut values, &digits)?,
                ColumnReader::FloatColumnReader(reader) => self.texts(reader, defined, &mut values, &finite)?,
                ColumnReader::DoubleColumnReader(reader) => self.texts(reader, defined, &mut values, &finite)?,
                _ => {
                    let message = format!("column `{name}` of another type, expected texts or numbers");
                    return Err(FormatError::malformed(self.path, message));
                }
            }
        }
        Ok(Some(values))
    }

    fn texts<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        defined: i16,
        all: &mut Vec<Option<String>>,
        text: &dyn Fn(&T::T) -> Option<String>,
    ) -> Result<(), FormatError> {
        loop {
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            let read = || reader.read_records(ROWS, Some(&mut levels), None, &mut values);
            let (records, ..) = guarded(self.path, read)?;
            if records == 0 {
                return Ok(());
            }
            if all.len() + records > MOST_ROWS as usize {
                return Err(FormatError::malformed(self.path, format!("more than {MOST_ROWS} rows")));
            }
            let mut values = values.iter();
            for record in 0..records {
                let is_there = defined == 0 || levels.get(record) == Some(&defined);
                let value = if is_there { values.next() } else { None };
                all.push(match value {
                    None => None,
                    Some(value) => Some(
                        text(value)
                            .ok_or_else(|| FormatError::malformed(self.path, format!("row {}: no UTF-8", all.len())))?,
                    ),
                });
            }
        }
    }
}

fn text_of(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn digits(number: &impl ToString) -> Option<String> {
    Some(number.to_string())
}

/// Tables of Python have NaN where there is no number, and numbers of samples with `.0` where some are missing.
fn finite<T: Copy + Into<f64>>(number: &T) -> Option<String> {
    let number: f64 = (*number).into();
    Some(if number.is_nan() { String::new() } else { number.to_string() })
}

fn guarded<T>(path: &Path, read: impl FnOnce() -> Outcome<T>) -> Result<T, FormatError> {
    parquet::guarded(read).map_err(|found| unreadable(path, &found))
}

fn unreadable(path: &Path, found: &str) -> FormatError {
    FormatError::malformed(path, format!("no readable Parquet ({found}); expected {}", parquet::EXPECTED))
}
