//! Reading a package, whatever its kind.

use std::path::{Path, PathBuf};

use querist_core::{StrategyIdentity, StrategyKind};
use querist_protocol::{Description, Shown};

use super::component::embedded;
use super::composite_text;
use super::description::{check_description, description_digest};
use super::file::{
    MAX_ARTIFACT_BYTES, MAX_TEXT_BYTES, file_name, hex_sha256, inside, parsed_toml, read_capped, read_text,
};
use super::library;
use super::manifest::{FILE, Manifest};
use super::refused::{RefusedPackage, refuse};

/// A package whose files were read and fit each other. No code of it has run.
#[derive(Debug, Clone)]
pub struct CheckedPackage {
    /// What it says of itself.
    pub description: Description,
    /// How its artifact is run.
    pub kind: StrategyKind,
    /// The artifact.
    pub artifact: PathBuf,
    /// SHA-256 of the artifact, in hex.
    pub digest: String,
}

impl CheckedPackage {
    /// Who one of its strategies is.
    pub fn identity(&self, id: &str) -> StrategyIdentity {
        StrategyIdentity {
            id: id.to_owned(),
            package: self.description.package.clone(),
            version: self.description.version.clone(),
            kind: self.kind,
            digest: self.digest.clone(),
        }
    }

    /// Whether its code runs outside the sandbox.
    pub fn is_native(&self) -> bool {
        matches!(self.kind, StrategyKind::Native | StrategyKind::NativeTorch)
    }
}

/// Reads a package from its folder, or from one bare `.wasm` file.
///
/// # Errors
/// If a file is missing, too large, malformed, of another boundary version, imports what it must not, or if manifest
/// and artifact disagree.
pub fn read_package(path: &Path) -> Result<CheckedPackage, RefusedPackage> {
    if path.is_dir() { read_folder(path) } else { read_artifact(path) }
}

fn read_folder(folder: &Path) -> Result<CheckedPackage, RefusedPackage> {
    let text = read_text(&folder.join(FILE))?;
    let manifest: Manifest = parsed_toml(&text).map_err(|error| RefusedPackage::new(format!("{FILE}: {error}")))?;
    if manifest.manifest != 1 {
        return refuse(format!("{FILE}: manifest version {}, this host reads version 1", manifest.manifest));
    }
    let artifact = inside(folder, &manifest.artifact)?;
    let stated = manifest.description(folder)?;
    let package = match manifest.kind {
        StrategyKind::Wasm => read_artifact(&artifact)?,
        StrategyKind::Native | StrategyKind::NativeTorch => read_library(&artifact, stated.clone())?,
        StrategyKind::Composite => read_composite(&artifact, &stated)?,
    };
    if package.description != stated || package.kind != manifest.kind {
        return refuse(format!(
            "{FILE} or a schema file disagrees with {}: pack the artifact again",
            Shown::name(&manifest.artifact)
        ));
    }
    Ok(package)
}

/// Reads and checks a native library whose description stands beside it.
fn read_library(path: &Path, stated: Description) -> Result<CheckedPackage, RefusedPackage> {
    let bytes = read_capped(path, MAX_ARTIFACT_BYTES)?;
    let identity = library::read(&bytes)?;
    check_description(&stated)?;
    if identity.description == [0; 32] {
        return refuse("the library was not packed: make a package of it with `querist plugin pack`");
    }
    let same = identity.description == description_digest(&stated)?;
    if !same || identity.package != stated.package || identity.version != stated.version {
        return refuse(format!("{FILE} or a schema file disagrees with {}: pack the artifact again", file_name(path)));
    }
    let kind = if identity.torch { StrategyKind::NativeTorch } else { StrategyKind::Native };
    Ok(CheckedPackage { description: stated, kind, artifact: path.to_owned(), digest: hex_sha256(&bytes) })
}

/// Reads and checks the text of a composite. Its needs and powers are those of its members when it was packed; what
/// they are now is looked at when it is made.
fn read_composite(path: &Path, stated: &Description) -> Result<CheckedPackage, RefusedPackage> {
    let text = read_capped(path, MAX_TEXT_BYTES)?;
    let mut description = composite_text::parse(&text)?.description()?;
    for (strategy, said) in description.strategies.iter_mut().zip(&stated.strategies) {
        strategy.needs.clone_from(&said.needs);
        strategy.capabilities.clone_from(&said.capabilities);
    }
    check_description(&description)?;
    let digest = hex_sha256(&text);
    Ok(CheckedPackage { description, kind: StrategyKind::Composite, artifact: path.to_owned(), digest })
}

/// Reads and checks a component with its embedded manifest.
fn read_artifact(path: &Path) -> Result<CheckedPackage, RefusedPackage> {
    if path.extension().is_some_and(|extension| extension == "so") {
        return refuse("a bare library: a native package is a folder made by `querist plugin pack`");
    }
    let bytes = read_capped(path, MAX_ARTIFACT_BYTES)?;
    let description = embedded(&bytes)?;
    check_description(&description)?;
    Ok(CheckedPackage { description, kind: StrategyKind::Wasm, artifact: path.to_owned(), digest: hex_sha256(&bytes) })
}
