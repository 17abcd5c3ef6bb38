//! What can be wrong with batches and answers.

use std::path::Path;

use querist_files::{FileError, shown};
use querist_protocol::Shown;

/// A batch that cannot be asked, or an answer that cannot be taken.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum PeopleError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path}: {message}")]
    Batch { path: Shown, message: String },
    #[error("{path}, line {line}: {message}")]
    Line { path: Shown, line: u64, message: String },
    #[error("{path}: {source}")]
    Write { path: Shown, source: std::io::Error },
    #[error("an answer's {part} is {found}, expected {expected}")]
    Answer { part: &'static str, found: String, expected: String },
}

impl PeopleError {
    pub(crate) fn batch(path: &Path, message: impl Into<String>) -> Self {
        Self::Batch { path: shown(path), message: message.into() }
    }

    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write { path: shown(path), source }
    }
}
