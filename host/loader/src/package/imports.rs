//! What an artifact asks its surroundings for, read from its file.

use querist_core::StrategyKind;
use querist_core::digest::sha256;
use querist_protocol::Shown;

use super::file::{MAX_ARTIFACT_BYTES, read_capped};
use super::inspect::{contents, native};
use super::read::CheckedPackage;
use super::refused::{RefusedPackage, refuse};

/// The interfaces that a component imports, or the libraries that a native one loads, two hundred at most; nothing of a
/// text that names other strategies.
///
/// # Errors
/// If the artifact cannot be read, or is not what was checked.
pub fn imports(package: &CheckedPackage) -> Result<Vec<String>, RefusedPackage> {
    let bytes = artifact(package)?;
    let named = match package.kind {
        StrategyKind::Wasm => contents(&bytes)?.imports,
        StrategyKind::Native | StrategyKind::NativeTorch => native(&bytes)?.libraries,
        StrategyKind::Composite | StrategyKind::Python => Vec::new(),
    };
    Ok(named.into_iter().map(Shown::into_string).collect())
}

/// The bytes of an artifact, if they are still those that were checked.
pub(crate) fn artifact(package: &CheckedPackage) -> Result<Vec<u8>, RefusedPackage> {
    let bytes = read_capped(&package.artifact, MAX_ARTIFACT_BYTES)?;
    if sha256(&bytes) != package.digest {
        return refuse("its artifact was changed while it was looked at");
    }
    Ok(bytes)
}
