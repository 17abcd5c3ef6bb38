//! Tables of text (CSV) that name pictures, their classes and, where they do, their splits.

use std::path::Path;

use querist_core::config::{ColumnsConfig, DatasetConfig};
use querist_files::Links;

use super::{Named, part_of};
use crate::error::DataError;
use crate::layout::Part;
use crate::load::Loaded;
use crate::picture_cache::PictureCache;
use crate::samples::How;

/// Longest table.
const MOST_BYTES: u64 = 1 << 30;

/// Names that columns of pictures, classes and splits usually have.
pub(crate) const USUAL: [&[&str]; 3] = [
    &["image", "img", "path", "file", "filename", "Path", "Filename"],
    &["label", "fine_label", "class", "ClassId"],
    &["split"],
];

/// Reads the pictures that a table names; they lie beside it.
pub(crate) fn read(table: &Path, config: &DatasetConfig, cache: Option<&PictureCache>) -> Result<Loaded, DataError> {
    let how = How::of(config, table, false, cache)?;
    let columns = config.columns.clone().unwrap_or_default();
    let named = entries(table, &columns, Part::Train)?;
    super::read(table.parent().unwrap_or(Path::new("")), named, None, how)
}

/// The rows of a table; those without a split are of `part`.
pub(crate) fn entries(table: &Path, columns: &ColumnsConfig, part: Part) -> Result<Vec<Named>, DataError> {
    entries_by(table, columns, part, &USUAL)
}

/// The rows of a table that need not have labels; where they have none, these are empty.
pub(crate) fn entries_without_labels(table: &Path, columns: &ColumnsConfig) -> Result<Vec<Named>, DataError> {
    rows(table, columns, Part::Train, &USUAL, false)
}

/// The same as [`entries`] with other names that columns usually have.
pub(crate) fn entries_by(
    table: &Path,
    columns: &ColumnsConfig,
    part: Part,
    usual: &[&[&str]; 3],
) -> Result<Vec<Named>, DataError> {
    rows(table, columns, part, usual, true)
}

fn rows(
    table: &Path,
    columns: &ColumnsConfig,
    part: Part,
    usual: &[&[&str]; 3],
    labelled: bool,
) -> Result<Vec<Named>, DataError> {
    let text = querist_files::read_text(table, Links::Follow, MOST_BYTES)?;
    let header = text.lines().next().unwrap_or_default();
    // Commas, semicolons or tabs: whichever the names of the columns have most of.
    let count = |separator: u8| header.bytes().filter(|&byte| byte == separator).count();
    let separator = [b',', b';', b'\t'].into_iter().rev().max_by_key(|&separator| count(separator)).unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let error = |at: u64, found: String, expected: &str| {
        DataError::malformed(table.display(), format_args!(", line {at}"), found, expected)
    };
    let names: Vec<String> = reader
        .headers()
        .map_err(|why| error(1, why.to_string(), "names of columns"))?
        .iter()
        .map(str::to_owned)
        .collect();
    let place = table.display().to_string();
    let image = needed(&place, &names, columns.image.as_ref(), ("image", usual[0]))?;
    let label = match labelled {
        true => Some(needed(&place, &names, columns.label.as_ref(), ("label", usual[1]))?),
        false => column(&place, &names, columns.label.as_ref(), usual[1])?,
    };
    let split = column(&place, &names, columns.split.as_ref(), usual[2])?;
    let mut named = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|why| {
            let at = why.position().map_or(0, csv::Position::line);
            error(at, "a row with another number of columns, or no text".to_owned(), "as many as there are names")
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |column: usize| record.get(column).unwrap_or_default().trim();
        let part = match split {
            None => part,
            Some(split) => part_of(cell(split))
                .ok_or_else(|| error(line, format!("split `{}`", cell(split)), "train, validation or test"))?,
        };
        let (label, path) = (label.map(cell).unwrap_or_default().to_owned(), cell(image).to_owned());
        named.push(Named { part, label, path, at: format!("{place}, line {line}") });
    }
    Ok(named)
}

/// A column: the one that was asked for, or the first of its usual names; nothing where there is none of these.
pub(crate) fn column(
    table: &str,
    names: &[String],
    asked: Option<&String>,
    usual: &[&str],
) -> Result<Option<usize>, DataError> {
    let find = |name: &str| names.iter().position(|column| column == name);
    match asked {
        None => Ok(usual.iter().find_map(|name| find(name))),
        Some(name) => find(name).map(Some).ok_or_else(|| {
            let found = format!("no column `{name}`, only `{}`", names.join("`, `"));
            DataError::malformed(table, "", found, "the column that `dataset.columns` names")
        }),
    }
}

/// A column that must be there.
pub(crate) fn needed(
    table: &str,
    names: &[String],
    asked: Option<&String>,
    (key, usual): (&str, &[&str]),
) -> Result<usize, DataError> {
    column(table, names, asked, usual)?.ok_or_else(|| {
        let found = format!("columns `{}`, and none is called `{}`", names.join("`, `"), usual.join("`, `"));
        DataError::malformed(table, "", found, format!("its name in `dataset.columns.{key}`"))
    })
}
