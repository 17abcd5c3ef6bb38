//! Tables: one answer a line, pictures without an answer with an empty one.

use std::fs::File;
use std::path::Path;

use ::csv::{ReaderBuilder, StringRecord, Writer};
use querist_files::Links;
use querist_protocol::Shown;

use super::{Export, FormatError, Found, Line, MOST_BYTES, Row, Which, Words};
use crate::Effective;

/// The columns that are written. Files are read by the names of their columns, whatever else they have.
pub(super) const COLUMNS: [&str; 9] =
    ["rank", "id", "name", "label", "annotator", "seconds", "score", "guess", "probability"];

/// What stands in a line of a table.
pub(super) struct Cells<'a> {
    pub row: &'a Row<'a>,
    /// Nothing where the picture has no answer yet.
    pub answer: Option<&'a Effective>,
}

/// Every line of a table, by rank.
pub(super) fn cells<'a>(export: &'a Export<'a>) -> impl Iterator<Item = Cells<'a>> {
    export.rows.iter().flat_map(|row| {
        let open = row.answers.is_empty().then_some(Cells { row, answer: None });
        open.into_iter().chain(row.answers.iter().map(move |answer| Cells { row, answer: Some(answer) }))
    })
}

pub(super) fn write(export: &Export<'_>, words: &Words<'_>, out: &Path) -> Result<(), FormatError> {
    let failed = |error: ::csv::Error| FormatError::write(out, error.into());
    let columns = &COLUMNS[..if export.guesses { 9 } else { 7 }];
    let mut writer = Writer::from_writer(File::create(out).map_err(|error| FormatError::write(out, error))?);
    writer.write_record(columns).map_err(failed)?;
    for Cells { row, answer } in cells(export) {
        let number = |number: Option<f64>| number.map(|number| format!("{number:?}")).unwrap_or_default();
        let guess = row.picture.guess;
        let record = [
            row.rank.to_string(),
            row.picture.id.to_string(),
            row.picture.name.clone(),
            answer.and_then(|answer| words.spell(answer.answer)).unwrap_or_default().to_owned(),
            answer.map(|answer| answer.annotator.clone()).unwrap_or_default(),
            number(answer.and_then(|answer| answer.seconds)),
            number(row.picture.score),
            guess.map(|guess| export.batch.classes[guess.class as usize].clone()).unwrap_or_default(),
            number(guess.map(|guess| guess.probability)),
        ];
        writer.write_record(&record[..columns.len()]).map_err(failed)?;
    }
    writer.flush().map_err(|error| FormatError::write(out, error))
}

/// Where the columns are that are read.
struct Header {
    id: Option<usize>,
    name: Option<usize>,
    label: usize,
    annotator: Option<usize>,
    seconds: Option<usize>,
    guess: Option<usize>,
}

impl Header {
    fn of(path: &Path, names: &StringRecord) -> Result<Self, FormatError> {
        let column = |wanted: &str| {
            let mut found = names.iter().enumerate().filter(|(_, name)| name.trim().eq_ignore_ascii_case(wanted));
            let first = found.next().map(|(column, _)| column);
            match found.next() {
                Some(_) => Err(FormatError::malformed(path, format!("line 1: column `{wanted}` twice, expected once"))),
                None => Ok(first),
            }
        };
        let (id, name, label) = (column("id")?, column("name")?, column("label")?);
        let Some(label) = label.filter(|_| id.or(name).is_some()) else {
            let shown = names.iter().take(12).map(Shown::name).map(Shown::into_string).collect::<Vec<_>>().join(", ");
            let message = format!("line 1: columns {shown}; expected `label`, and `id` or `name` or both");
            return Err(FormatError::malformed(path, message));
        };
        let (annotator, seconds, guess) = (column("annotator")?, column("seconds")?, column("guess")?);
        Ok(Self { id, name, label, annotator, seconds, guess })
    }
}

pub(super) fn read(path: &Path) -> Result<Found, FormatError> {
    let text = querist_files::read_text(path, Links::Follow, MOST_BYTES)?;
    // Spreadsheets write a mark of byte order, and in some countries semicolons.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let first = text.lines().next().unwrap_or_default();
    let delimiter = [b',', b';', b'\t'].into_iter().find(|&byte| first.contains(byte as char)).unwrap_or(b',');
    let mut reader = ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let failed = |error: ::csv::Error| FormatError::malformed(path, error);
    let header = Header::of(path, reader.headers().map_err(failed)?)?;
    let mut found = Found::default();
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(failed)? {
        let line = record.position().map_or(0, ::csv::Position::line);
        let cell = |column: Option<usize>| column.and_then(|column| record.get(column)).unwrap_or_default();
        let given = |column: Option<usize>| Some(cell(column).trim()).filter(|text| !text.is_empty());
        let texts = Texts {
            id: given(header.id),
            name: Some(cell(header.name)).filter(|text| !text.is_empty()),
            label: cell(Some(header.label)),
            annotator: given(header.annotator),
            seconds: given(header.seconds),
            has_guess: given(header.guess).is_some(),
        };
        texts.take(format!("line {line}"), &mut found);
    }
    Ok(found)
}

/// What a line of a table says.
pub(super) struct Texts<'a> {
    pub id: Option<&'a str>,
    pub name: Option<&'a str>,
    pub label: &'a str,
    pub annotator: Option<&'a str>,
    pub seconds: Option<&'a str>,
    pub has_guess: bool,
}

impl Texts<'_> {
    /// Takes the line, or says what is wrong with it.
    pub fn take(self, place: String, found: &mut Found) {
        let name = self.name.map(str::to_owned);
        let which = match self.id.map(|id| id.parse().map_err(|_| id)) {
            Some(Ok(id)) => Which::Id(id, name),
            Some(Err(id)) => {
                let message = format!("`{}` is no number of a sample, expected digits", Shown::name(id));
                return found.wrong(place, message);
            }
            None => match name {
                Some(name) => Which::Name(name),
                None => return found.wrong(place, "neither an id nor a name, expected one of both"),
            },
        };
        if self.label.trim().is_empty() && self.annotator.is_none() && self.seconds.is_none() {
            found.unanswered += 1;
            return;
        }
        let seconds = match self.seconds.map(|text| text.parse::<f64>().map_err(|_| text)) {
            Some(Err(text)) => {
                let message = format!("`{}` is no time, expected seconds such as 2.5", Shown::name(text));
                return found.wrong(place, message);
            }
            Some(Ok(seconds)) => Some(seconds),
            None => None,
        };
        let (label, annotator) = (self.label.to_owned(), self.annotator.map(str::to_owned));
        found.line(Line { place, which, label, annotator, seconds, guess_shown: self.has_guess });
    }
}
