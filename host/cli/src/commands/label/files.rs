//! What the verbs that read and write files of other tools share.

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use querist_files::shown;
use querist_people::formats::{self, FormatError};
use querist_people::{Batch, Journal};

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
    let place = shown(run);
    let Some(batch) = Batch::read(run).with_context(|| format!("cannot read what {place} asks"))? else {
        let message = format!("nothing waits for labels in {place}");
        let advice = "`querist status` says how far a run is, `querist run --resume` goes on with it";
        return Err(Usage(format!("{message}; {advice}")).into());
    };
    Ok(Journal::open(run, batch)?)
}

/// What went wrong with a file, with the exit code that it stands for.
pub fn told(error: FormatError) -> anyhow::Error {
    if error.is_usage() { Usage(error.to_string()).into() } else { error.into() }
}
