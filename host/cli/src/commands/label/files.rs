//! What the verbs that read and write files of other tools share.

use std::path::Path;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use querist_people::Journal;
use querist_people::formats::{Format, FormatError};

use crate::exit::Usage;

/// Reads the name of a format.
pub fn format_parser() -> impl TypedValueParser<Value = Format> {
    let named = |name: String| Format::ALL.into_iter().find(|format| format.name() == name).ok_or("no such format");
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(named)
}

/// The answers to the batch that waits in a run folder.
pub fn open(run: &Path) -> Result<Journal> {
    Ok(Journal::open(run, super::waiting(run)?)?)
}

/// What went wrong with a file, with the exit code that it stands for.
pub fn told(error: FormatError) -> anyhow::Error {
    if error.is_usage() { Usage(error.to_string()).into() } else { error.into() }
}
