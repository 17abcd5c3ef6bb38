//! What an artifact asks its surroundings for, read from its file.

use querist_core::StrategyKind;
use querist_core::digest::sha256;
use querist_protocol::Shown;
use wasmparser::{Parser, Payload};

use super::file::{MAX_ARTIFACT_BYTES, read_capped};
use super::library::needed;
use super::read::CheckedPackage;
use super::refused::{RefusedPackage, refuse};

/// The interfaces that a component imports, or the libraries that a native one loads; nothing of a text that names
/// other strategies.
///
/// # Errors
/// If the artifact cannot be read, or is not what was checked.
pub fn imports(package: &CheckedPackage) -> Result<Vec<String>, RefusedPackage> {
    let bytes = artifact(package)?;
    let named = match package.kind {
        StrategyKind::Wasm => of_component(&bytes)?,
        StrategyKind::Native | StrategyKind::NativeTorch => {
            needed(&bytes).map_err(|error| RefusedPackage::new(format!("not a shared library: {error}")))?
        }
        StrategyKind::Composite => Vec::new(),
    };
    Ok(named.iter().map(|name| Shown::name(name).into_string()).collect())
}

/// The bytes of an artifact, if they are still those that were checked.
pub(crate) fn artifact(package: &CheckedPackage) -> Result<Vec<u8>, RefusedPackage> {
    let bytes = read_capped(&package.artifact, MAX_ARTIFACT_BYTES)?;
    if sha256(&bytes) != package.digest {
        return refuse("its artifact was changed while it was looked at");
    }
    Ok(bytes)
}

/// Imports of the outermost level: inner components get nothing but what it hands them.
fn of_component(bytes: &[u8]) -> Result<Vec<String>, RefusedPackage> {
    let broken = |error| RefusedPackage::new(format!("not a WebAssembly component: {error}"));
    let (mut depth, mut names) = (0usize, Vec::new());
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    names.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}
