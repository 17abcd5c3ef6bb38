//! Parquet tables that hold pictures or their paths, as Hugging Face's datasets do.
//!
//! A picture is bytes, a struct of `bytes` and `path`, or a path. Names of classes stand in the schema's metadata.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::basic::Type as Physical;
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{ByteArrayType, DataType, Int32Type, Int64Type};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use querist_core::config::{ColumnsConfig, DatasetConfig};
use querist_files::Links;
use querist_files::parquet::{self, Source};
use serde_json::Value;

use super::table::{USUAL, column, needed};
use super::{Named, finish, number_labels, part_of};
use crate::error::DataError;
use crate::layout::Part;
use crate::load::Loaded;
use crate::picture_cache::PictureCache;
use crate::picture_files::{Chunk, Seen, check_length};
use crate::samples::{How, Sample};
use crate::walk::walk;

/// Rows that are read at once.
const ROWS: usize = 64;
/// Rows of one file, and largest column of a group of rows.
const MOST_ROWS: i64 = 1 << 31;
const MOST_COLUMN: i64 = 8 << 30;

/// Reads a table, or all tables below a folder by their sorted names.
pub(crate) fn read(place: &Path, config: &DatasetConfig, cache: Option<&PictureCache>) -> Result<Loaded, DataError> {
    let how = How::of(config, place, false, cache)?;
    let columns = config.columns.clone().unwrap_or_default();
    let (mut named, mut samples, mut classes) = (Vec::new(), Vec::new(), None);
    for path in tables(place)? {
        let table = Table::open(&path, &columns)?;
        classes = classes.or_else(|| table.classes.clone());
        let rows = table.rows()?;
        match table.holds {
            Holds::Paths => named.extend(table.named(rows)?),
            Holds::Pictures => samples.extend(table.samples(rows, how)?),
        }
    }
    if samples.is_empty() {
        let root = if place.is_dir() { place } else { place.parent().unwrap_or(Path::new("")) };
        return super::read(root, named, classes, how);
    }
    if let Some(one) = named.first() {
        return Err(DataError::malformed(&one.at, "", "a path, where other tables hold pictures", "one of both"));
    }
    let labels: Vec<(&str, &str)> = samples.iter().map(|(label, sample)| (&label[..], &sample.seen.at[..])).collect();
    let are_known = classes.is_some();
    let (labels, class_names) = number_labels(&labels, classes)?;
    let samples = samples.into_iter().zip(labels).map(|((_, sample), label)| Sample { label, ..sample }).collect();
    let again = |path: &Path, take: &mut dyn FnMut(Vec<u8>) -> Result<(), DataError>| {
        let table = Table::open(path, &columns)?;
        table.texts(table.image, &mut |row, bytes| take(table.given(row, bytes)?.to_vec()))
    };
    finish(samples, class_names, are_known, how, &again)
}

fn tables(place: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !place.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    let mut paths = Vec::new();
    for entry in walk(place, &mut |_| ()) {
        let entry = entry?;
        if !entry.is_folder && entry.path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet")) {
            paths.push(entry.path);
        }
    }
    paths.sort();
    match paths.is_empty() {
        true => Err(DataError::malformed(place.display(), "", "no .parquet file", "at least one")),
        false => Ok(paths),
    }
}

/// What the column of pictures holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Pictures,
    Paths,
}

/// An open file, with its columns.
struct Table {
    path: PathBuf,
    at: String,
    reader: SerializedFileReader<Source>,
    holds: Holds,
    image: usize,
    label: usize,
    split: Option<usize>,
    part: Part,
    classes: Option<Vec<String>>,
}

/// Takes the value of a row as bytes; nothing where it has none.
type Take<'a> = &'a mut dyn FnMut(usize, Option<&[u8]>) -> Result<(), DataError>;

/// A row without its picture.
struct Row {
    label: String,
    part: Part,
}

impl Table {
    fn open(path: &Path, columns: &ColumnsConfig) -> Result<Self, DataError> {
        let at = path.display().to_string();
        let file = querist_files::open(path, Links::Follow)?;
        let reader = opened(&at, file)?;
        let metadata = reader.metadata();
        let sizes = metadata.row_groups().iter().flat_map(|group| group.columns());
        let is_large = sizes.map(|column| column.uncompressed_size()).any(|size| !(0..=MOST_COLUMN).contains(&size));
        if is_large || !(0..=MOST_ROWS).contains(&metadata.file_metadata().num_rows()) {
            return Err(DataError::malformed(&at, "", "sizes beyond what a table can have", "a whole Parquet file"));
        }
        let leaves = metadata.file_metadata().schema_descr().columns();
        let tops: Vec<String> = leaves.iter().map(|leaf| leaf.path().parts()[0].clone()).collect();
        let image = needed(&at, &tops, columns.image.as_ref(), ("image", USUAL[0]))?;
        let label = needed(&at, &tops, columns.label.as_ref(), ("label", USUAL[1]))?;
        let split = column(&at, &tops, columns.split.as_ref(), USUAL[2])?;
        // Of a struct it is the member `bytes`.
        let inner = leaves.iter().position(|leaf| leaf.path().parts() == [&tops[image], "bytes"]);
        let is_text = leaves[image].logical_type_ref().is_some() || tops[image].to_lowercase().contains("path");
        let holds = if inner.is_none() && is_text { Holds::Paths } else { Holds::Pictures };
        let image = inner.unwrap_or(image);
        for leaf in [Some(image), Some(label), split].into_iter().flatten().map(|leaf| &leaves[leaf]) {
            let is_read = matches!(leaf.physical_type(), Physical::BYTE_ARRAY | Physical::INT32 | Physical::INT64);
            if leaf.max_rep_level() > 0 || !is_read {
                let found = format!("column `{}` of {}", leaf.path().string(), leaf.physical_type());
                return Err(DataError::malformed(&at, "", found, "one value a row: bytes, texts or integers"));
            }
        }
        let classes = class_names(metadata.file_metadata().key_value_metadata(), &tops[label]);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        let part = part_of(stem).or_else(|| part_of(folder)).unwrap_or(Part::Train);
        Ok(Self { path: path.to_owned(), at, holds, image, label, split, part, classes, reader })
    }

    fn rows(&self) -> Result<Vec<Row>, DataError> {
        let mut rows = Vec::new();
        self.texts(self.label, &mut |row, text| {
            let text = text.and_then(|text| std::str::from_utf8(text).ok()).map(str::trim);
            let label = text.ok_or_else(|| self.bad(row, "a label that is missing or no text", "a class"))?.to_owned();
            rows.push(Row { label, part: self.part });
            Ok(())
        })?;
        if let Some(split) = self.split {
            self.texts(split, &mut |row, text| {
                let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
                let part = part_of(&text)
                    .ok_or_else(|| self.bad(row, &format!("split `{text}`"), "train, validation or test"))?;
                rows.get_mut(row)
                    .ok_or_else(|| self.bad(row, "a split without a label", "columns of one length"))?
                    .part = part;
                Ok(())
            })?;
        }
        Ok(rows)
    }

    fn named(&self, rows: Vec<Row>) -> Result<Vec<Named>, DataError> {
        let mut paths = Vec::new();
        self.texts(self.image, &mut |row, path| {
            let path = path.and_then(|path| std::str::from_utf8(path).ok());
            paths.push(path.ok_or_else(|| self.bad(row, "a path that is missing or no UTF-8", "a path"))?.to_owned());
            Ok(())
        })?;
        self.same_length(paths.len(), rows.len())?;
        let named = rows.into_iter().zip(paths).enumerate();
        let named = named.map(|(row, (Row { label, part }, path))| Named { part, label, path, at: self.row(row) });
        Ok(named.collect())
    }

    fn samples(&self, rows: Vec<Row>, how: How<'_>) -> Result<Vec<(String, Sample)>, DataError> {
        let count = rows.len();
        let archive: Arc<Path> = self.path.as_path().into();
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let look = |(number, Row { label, part }): (usize, Row), bytes: Vec<u8>| {
            let seen = Seen::member(archive.clone(), number, self.row(number), &bytes, how.wanted)?;
            Ok((label, Sample { part, label: 0, name: format!("{}/{name}#{number}", part.name()), seen }))
        };
        let (mut rows, mut chunk, mut samples) = (rows.into_iter(), Chunk::new(), Vec::new());
        self.texts(self.image, &mut |number, bytes| {
            let bytes = self.given(number, bytes)?;
            let Some(row) = rows.next() else { return self.same_length(number + 1, count) };
            if chunk.push((number, row), bytes.to_vec()) {
                samples.extend(chunk.work(look)?);
            }
            Ok(())
        })?;
        samples.extend(chunk.work(look)?);
        self.same_length(samples.len(), count)?;
        Ok(samples)
    }

    /// The bytes of a picture, which must be in the table.
    fn given<'b>(&self, row: usize, bytes: Option<&'b [u8]>) -> Result<&'b [u8], DataError> {
        let bytes = bytes.ok_or_else(|| self.bad(row, "a row without a picture", "the bytes of a PNG or JPEG"))?;
        check_length(bytes.len() as u64, &self.row(row))?;
        Ok(bytes)
    }

    fn same_length(&self, pictures: usize, labels: usize) -> Result<(), DataError> {
        if pictures == labels {
            return Ok(());
        }
        let found = format!("{pictures} pictures and {labels} labels");
        Err(DataError::malformed(&self.at, "", found, "columns of one length"))
    }

    /// Every value of a column as bytes, numbers in digits; nothing where a row has none.
    fn texts(&self, column: usize, take: Take<'_>) -> Result<(), DataError> {
        let defined = self.reader.metadata().file_metadata().schema_descr().column(column).max_def_level();
        let mut row = 0;
        for group in 0..self.reader.num_row_groups() {
            let open = || self.reader.get_row_group(group)?.get_column_reader(column);
            match guarded(&self.at, open)? {
                ColumnReader::ByteArrayColumnReader(values) => {
                    let bytes = |value: &<ByteArrayType as DataType>::T| value.data().to_vec();
                    self.values(values, defined, &mut row, &bytes, take)?;
                }
                ColumnReader::Int32ColumnReader(values) => {
                    let digits = |value: &<Int32Type as DataType>::T| value.to_string().into_bytes();
                    self.values(values, defined, &mut row, &digits, take)?;
                }
                ColumnReader::Int64ColumnReader(values) => {
                    let digits = |value: &<Int64Type as DataType>::T| value.to_string().into_bytes();
                    self.values(values, defined, &mut row, &digits, take)?;
                }
                _ => return Err(self.bad(row, "values of another type", "bytes, texts or integers")),
            }
        }
        Ok(())
    }

    fn values<T: DataType>(
        &self,
        mut reader: ColumnReaderImpl<T>,
        defined: i16,
        row: &mut usize,
        bytes: &dyn Fn(&T::T) -> Vec<u8>,
        take: Take<'_>,
    ) -> Result<(), DataError> {
        loop {
            let (mut levels, mut values) = (Vec::new(), Vec::new());
            let read = || reader.read_records(ROWS, Some(&mut levels), None, &mut values);
            let (records, ..) = guarded(&self.at, read)?;
            if records == 0 {
                return Ok(());
            }
            let mut values = values.iter();
            for record in 0..records {
                let is_there = defined == 0 || levels.get(record) == Some(&defined);
                let value = if is_there { values.next().map(bytes) } else { None };
                take(*row, value.as_deref())?;
                *row += 1;
            }
        }
    }

    fn row(&self, row: usize) -> String {
        format!("{}, row {row}", self.at)
    }

    fn bad(&self, row: usize, found: &str, expected: &str) -> DataError {
        DataError::malformed(self.row(row), "", found, expected)
    }
}

pub(crate) fn opened(at: &str, file: File) -> Result<SerializedFileReader<Source>, DataError> {
    parquet::reader(file).map_err(|found| unreadable(at, &found))
}

pub(crate) fn guarded<T>(at: &str, read: impl FnOnce() -> ::parquet::errors::Result<T>) -> Result<T, DataError> {
    parquet::guarded(read).map_err(|found| unreadable(at, &found))
}

fn unreadable(at: &str, found: &str) -> DataError {
    DataError::malformed(at, "", format!("no readable Parquet ({found})"), parquet::EXPECTED)
}

/// Names of classes, as Hugging Face's library writes them to a file.
fn class_names(metadata: Option<&Vec<::parquet::file::metadata::KeyValue>>, label: &str) -> Option<Vec<String>> {
    let text = metadata?.iter().find(|pair| pair.key == "huggingface")?.value.as_ref()?;
    let json: Value = serde_json::from_str(text).ok()?;
    let names = json.get("info")?.get("features")?.get(label)?.get("names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}
