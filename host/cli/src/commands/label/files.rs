//! What the verbs that read and write files of other tools share.

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use querist_people::Journal;
use querist_people::formats::{self, FormatError};

use crate::exit::Usage;

/// Whose files are written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table with one answer a line.
    Csv,
    /// Pictures to be moved into one folder a class.
    Folder,
    /// Tasks of Label Studio with predictions, its exports as JSON or JSON-MIN.
    LabelStudio,
    /// COCO: one annotation an image, without boxes.
    Coco,
    /// CVAT for images 1.1: one tag an image.
    Cvat,
    /// FiftyOne's FiftyOneImageClassificationDataset.
    #[value(name = "fiftyone")]
    FiftyOne,
    /// The table as a Parquet file.
    Parquet,
}

impl Format {
    /// The format as the crate of people knows it.
    pub fn get(self) -> formats::Format {
        match self {
            Self::Csv => formats::Format::Csv,
            Self::Folder => formats::Format::Folder,
            Self::LabelStudio => formats::Format::LabelStudio,
            Self::Coco => formats::Format::Coco,
            Self::Cvat => formats::Format::Cvat,
            Self::FiftyOne => formats::Format::FiftyOne,
            Self::Parquet => formats::Format::Parquet,
        }
    }
}

/// The answers to the batch that waits in a run folder.
pub fn open(run: &Path) -> Result<Journal> {
    Ok(Journal::open(run, super::waiting(run)?)?)
}

/// What went wrong with a file, with the exit code that it stands for.
pub fn told(error: FormatError) -> anyhow::Error {
    if error.is_usage() { Usage(error.to_string()).into() } else { error.into() }
}
