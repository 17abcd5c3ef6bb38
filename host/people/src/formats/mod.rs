//! Batches and answers as files of other tools.
//!
//! A file is written from the batch and the answers so far, and read into [`Line`]s, each one person's answer for one
//! picture with the place where it stands. What a line means for a run is found out in one place for all formats,
//! [`Plan`]: which picture is meant, never by order, what is known already, and what contradicts what was recorded.

mod coco;
mod csv;
mod cvat;
mod fiftyone;
mod folder;
pub mod label_studio;
mod names;
mod out;
mod parquet;
mod plan;
mod words;

use std::fmt;
use std::path::Path;

use querist_files::{FileError, Links, shown};
use querist_protocol::Shown;

use crate::{Batch, Effective, Journal, Outcome, PeopleError, Picture};

pub use out::Pictures;
pub use plan::{Conflict, How, Plan};
pub use words::{NONE, UNSURE, Words};

/// Bytes of a file of answers at most.
const MOST_BYTES: u64 = 256 << 20;

/// Whose files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table, one answer a line.
    Csv,
    /// Pictures, to be sorted into one folder a class.
    Folder,
    /// Tasks and exports of Label Studio.
    LabelStudio,
    /// Images and categories of COCO, with one annotation an image.
    Coco,
    /// "CVAT for images 1.1", with tags.
    Cvat,
    /// FiftyOne's `FiftyOneImageClassificationDataset`.
    FiftyOne,
    /// The table as a Parquet file.
    Parquet,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 7] =
        [Self::Csv, Self::Folder, Self::LabelStudio, Self::Coco, Self::Cvat, Self::FiftyOne, Self::Parquet];

    /// Its name, which is also where answers come from, and who gave them where the file does not say.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Folder => "folder",
            Self::LabelStudio => "label-studio",
            Self::Coco => "coco",
            Self::Cvat => "cvat",
            Self::FiftyOne => "fiftyone",
            Self::Parquet => "parquet",
        }
    }

    /// Whether the files have a place for what a model takes a picture for.
    pub fn has_guesses(self) -> bool {
        matches!(self, Self::Csv | Self::LabelStudio | Self::Parquet)
    }

    /// Whether pictures are put beside the files.
    pub fn has_pictures(self) -> bool {
        matches!(self, Self::Folder | Self::Coco | Self::Cvat | Self::FiftyOne)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why nothing was written or read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A file cannot be opened.
    #[error(transparent)]
    File(#[from] FileError),
    /// The run's own files are wrong.
    #[error(transparent)]
    People(#[from] PeopleError),
    /// A file is none of the format.
    #[error("{path}: {message}")]
    Malformed {
        /// The file.
        path: Shown,
        /// What is wrong with it, and what was expected.
        message: String,
    },
    /// The batch does not fit the format.
    #[error("{0}")]
    Unfit(String),
    /// The disk refuses.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: Shown,
        /// What the system says.
        source: std::io::Error,
    },
}

impl FormatError {
    fn malformed(path: &Path, message: impl fmt::Display) -> Self {
        Self::Malformed { path: shown(path), message: Shown::sentence(&message.to_string()).into_string() }
    }

    fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write { path: shown(path), source }
    }

    /// Whether the call or its files are at fault, not the disk.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::File(error) => !matches!(error.reason, querist_files::Reason::Io(_)),
            Self::Write { .. } | Self::People(_) => false,
            Self::Malformed { .. } | Self::Unfit(_) => true,
        }
    }
}

/// A picture to be written, and what people said of it so far.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its place in the batch, from 1: the order in which it was chosen.
    pub rank: usize,
    /// The picture.
    pub picture: &'a Picture,
    /// The answers that count.
    pub answers: &'a [Effective],
    /// What they come to.
    pub outcome: Outcome,
}

/// What is written.
#[derive(Debug)]
pub struct Export<'a> {
    /// The batch.
    pub batch: &'a Batch,
    /// Its pictures by rank.
    pub rows: Vec<Row<'a>>,
    /// Whether to write what the model takes each picture for.
    pub guesses: bool,
    /// How pictures get beside the files.
    pub pictures: Pictures,
    /// For Label Studio: what stands before a picture's name in its address.
    pub address: &'a str,
}

impl<'a> Export<'a> {
    /// Everything that a journal's batch asks, or what is still open of it; without guesses, with copied pictures.
    pub fn of(journal: &'a Journal, only_open: bool) -> Self {
        let batch = journal.batch();
        let rows = batch.pictures.iter().zip(journal.outcomes()).enumerate();
        let rows = rows.map(|(place, (picture, outcome))| {
            let answers = journal.effective(picture.id);
            Row { rank: place + 1, picture, answers, outcome }
        });
        let rows = rows.filter(|row| !only_open || !row.outcome.is_final()).collect();
        Self { batch, rows, guesses: false, pictures: Pictures::Copy, address: label_studio::LOCAL_FILES }
    }

    /// Digits of a rank in names of files, so that they sort as numbers do.
    fn digits(&self) -> usize {
        self.batch.pictures.len().to_string().len().max(4)
    }

    fn ranked(&self, row: &Row<'_>) -> String {
        names::ranked(row.rank, self.digits(), row.picture)
    }

    /// Puts the pictures into a folder, named by rank.
    fn put_all(&self, folder: &Path) -> Result<(), FormatError> {
        out::make_folder(folder)?;
        self.rows.iter().try_for_each(|row| self.put(row, folder))
    }

    fn put(&self, row: &Row<'_>, folder: &Path) -> Result<(), FormatError> {
        out::put(&self.batch.path(row.picture), &folder.join(self.ranked(row)), self.pictures)
    }
}

/// Writes a batch with the answers so far: all of it, or nothing.
///
/// `out` is the file for [`Format::Csv`] and [`Format::Parquet`], a folder for all others; nothing there is replaced.
///
/// # Errors
/// If the format cannot tell the run's classes apart, something is there already, a picture is missing, or the disk
/// refuses.
pub fn write(format: Format, export: &Export<'_>, out: &Path) -> Result<(), FormatError> {
    let words = Words::of(&export.batch.classes)?;
    out::whole(out, |target| match format {
        Format::Csv => csv::write(export, &words, target),
        Format::Folder => folder::write(export, &words, target),
        Format::LabelStudio => label_studio::write(export, &words, target),
        Format::Coco => coco::write(export, &words, target),
        Format::Cvat => cvat::write(export, &words, target),
        Format::FiftyOne => fiftyone::write(export, &words, target),
        Format::Parquet => parquet::write(export, &words, target),
    })
}

/// Which picture a line is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// This sample, with its name where the file has it, too.
    Id(u64, Option<String>),
    /// The picture of this name: its own, or the one it was written under.
    Name(String),
}

/// One person's answer for one picture, as a file has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Where it stands.
    pub place: String,
    /// What it is about.
    pub which: Which,
    /// The name of a class, or [`NONE`] or [`UNSURE`].
    pub label: String,
    /// Who said it, where the file knows.
    pub annotator: Option<String>,
    /// How long it took, where the file knows.
    pub seconds: Option<f64>,
    /// Whether the file showed what a model takes the picture for.
    pub guess_shown: bool,
}

/// Something that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where it stands.
    pub place: String,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Shown::name(&self.place), Shown::sentence(&self.message))
    }
}

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Answers, and what is none and should be one, in the order of the file.
    pub lines: Vec<Result<Line, Wrong>>,
    /// Pictures that it has no answer for, which is no fault.
    pub unanswered: usize,
}

impl Found {
    fn line(&mut self, line: Line) {
        self.lines.push(Ok(line));
    }

    fn wrong(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.lines.push(Err(Wrong { place: place.into(), message: message.into() }));
    }
}

/// Reads a file of answers, or a folder for the formats that are one.
///
/// # Errors
/// If it cannot be opened, is too long, or is none of the format.
pub fn read(format: Format, path: &Path) -> Result<Found, FormatError> {
    match format {
        Format::Csv => csv::read(path),
        Format::Folder => folder::read(path),
        Format::LabelStudio => label_studio::read(&inside(path, label_studio::TASKS)),
        Format::Coco => coco::read(&inside(path, coco::FILE)),
        Format::Cvat => cvat::read(&inside(path, cvat::FILE)),
        Format::FiftyOne => fiftyone::read(&inside(path, fiftyone::FILE)),
        Format::Parquet => parquet::read(path),
    }
}

/// The file of a folder that was written, or the file itself.
fn inside(path: &Path, file: &str) -> std::path::PathBuf {
    if path.is_dir() { path.join(file) } else { path.to_owned() }
}

/// A value from a JSON file.
fn from_json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T, FormatError> {
    let bytes = querist_files::read(path, Links::Follow, MOST_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|error| FormatError::malformed(path, format!("{error}; expected {what}")))
}

/// Writes a JSON file that people can read, too.
fn to_json(path: &Path, value: &serde_json::Value) -> Result<(), FormatError> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| FormatError::write(path, error.into()))?;
    std::fs::write(path, text).map_err(|error| FormatError::write(path, error))
}
