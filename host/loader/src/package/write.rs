//! Writing a package folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use querist_core::StrategyKind;
use querist_protocol::Description;

use super::description::check_description;
use super::file::write_whole;
use super::manifest::{FILE, Manifest};
use super::read::read_package;
use super::refused::RefusedPackage;

/// Why a package folder was not written.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum WriteError {
    #[error(transparent)]
    Refused(#[from] RefusedPackage),
    #[error("the component cannot be made: {0}")]
    Encode(String),
    #[error("{}: {reason}", path.display())]
    Write { path: PathBuf, reason: String },
}

/// An error of the system about this path.
pub(crate) fn writing(path: &Path) -> impl FnOnce(io::Error) -> WriteError + use<> {
    let path = path.to_owned();
    move |error| WriteError::Write { path, reason: error.to_string() }
}

/// Writes artifact, manifest and schema files, and reads them back. Returns the folder, `out/PACKAGE`.
///
/// # Errors
/// If the description is refused, artifact and description disagree, or the folder cannot be written.
pub fn write_package(
    out: &Path,
    description: &Description,
    kind: StrategyKind,
    artifact: &[u8],
) -> Result<PathBuf, WriteError> {
    check_description(description)?;
    let folder = out.join(&description.package);
    fs::create_dir_all(&folder).map_err(writing(&folder))?;
    let extension = match kind {
        StrategyKind::Wasm => "wasm",
        StrategyKind::Native | StrategyKind::NativeTorch => "so",
        StrategyKind::Composite => "composite.toml",
        StrategyKind::Python => "py",
    };
    let manifest = Manifest::of(description, kind, &format!("{}.{extension}", description.package));
    let text = toml::to_string(&manifest).map_err(|error| WriteError::Encode(error.to_string()))?;
    let mut files = vec![(manifest.artifact.clone(), artifact.to_vec()), (FILE.to_owned(), text.into_bytes())];
    for (strategy, entry) in description.strategies.iter().zip(&manifest.strategies) {
        let schema =
            serde_json::to_string_pretty(&strategy.schema).map_err(|error| WriteError::Encode(error.to_string()))?;
        files.push((entry.schema.clone(), (schema + "\n").into_bytes()));
    }
    for (name, bytes) in files {
        let path = folder.join(name);
        write_whole(&path, &bytes, 0o666).map_err(writing(&path))?;
    }
    read_package(&folder)?;
    Ok(folder)
}
