//! What can be wrong with data, and where.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use querist_core::dataset::DatasetError;
use querist_files::FileError;
use querist_protocol::Shown;

use crate::catalogue;

/// Why data could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum DataError {
    /// No dataset has this name.
    #[error(
        "no dataset is called `{name}`; {}the names are {}",
        did_you_mean(*suggestion),
        catalogue::names().join(", ")
    )]
    UnknownDataset { name: Shown, suggestion: Option<&'static str> },
    /// The dataset's files are not where they should be.
    #[error("dataset `{dataset}`: found no {wanted} in {}; {advice}", list(places))]
    Missing { dataset: String, wanted: String, places: Vec<PathBuf>, advice: String },
    /// Files of lists or tables name pictures that are not there.
    #[error(
        "{place}: {missing} of {named} pictures that are named are missing; expected all, below that folder; missing \
         are {}{}",
        join_shown(first),
        more(*missing, first.len())
    )]
    MissingPictures { place: Shown, missing: usize, named: usize, first: Vec<Shown> },
    /// The configuration asks for something this dataset cannot give.
    #[error("dataset `{dataset}`: {message}")]
    Config { dataset: String, message: String },
    /// A file was not opened or not read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The system refused an operation on a file.
    #[error("{file}: {source}")]
    Io { file: Shown, source: io::Error },
    /// A file's content is not what its format says.
    #[error("{file}{at}: {found}; expected {expected}")]
    Malformed { file: Shown, at: Shown, found: Shown, expected: Shown },
    /// The parts do not make a dataset.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A public set could not be downloaded.
    #[error("`{file}` could not be downloaded; tried {}", join(tries))]
    Fetch { file: String, tries: Vec<Shown> },
    /// Another process is downloading the same file.
    #[error("{}: another download of this file is running; wait for it, or stop it", part.display())]
    Busy { part: PathBuf },
    /// The user stopped the work.
    #[error("cancelled; what was downloaded stays and the next fetch goes on from there")]
    Cancelled,
    /// There is no memory for what was asked.
    #[error("{what} needs {bytes} bytes of memory, which are not there")]
    Memory { what: Shown, bytes: u64 },
}

impl DataError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { file: querist_files::shown(path), source }
    }

    /// There is no memory for `bytes` bytes of `what`.
    pub(crate) fn memory(what: &str, bytes: u64) -> Self {
        Self::Memory { what: Shown::sentence(what), bytes }
    }

    /// Content of `file` at `at` (empty, or beginning with a comma) that breaks the format.
    pub(crate) fn malformed(
        file: impl Display,
        at: impl Display,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Malformed {
            file: Shown::sentence(&file.to_string()),
            at: Shown::sentence(&at.to_string()),
            found: Shown::sentence(&found.into()),
            expected: Shown::sentence(&expected.into()),
        }
    }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!("did you mean `{name}`? ")).unwrap_or_default()
}

fn join(tries: &[Shown]) -> String {
    tries.iter().map(Shown::as_str).collect::<Vec<_>>().join("; ")
}

fn join_shown(names: &[Shown]) -> String {
    names.iter().map(Shown::as_str).collect::<Vec<_>>().join(", ")
}

fn more(missing: usize, named: usize) -> String {
    if missing > named { format!(" and {} more", missing - named) } else { String::new() }
}

fn list(places: &[PathBuf]) -> String {
    places.iter().map(|place| format!("`{}`", querist_files::shown(place))).collect::<Vec<_>>().join(", ")
}
