//! Reading a package, whatever its kind.

use std::path::{Path, PathBuf};

use querist_core::digest::sha256;
use querist_core::{StrategyIdentity, StrategyKind};
use querist_protocol::Description;

use super::component::embedded;
use super::composite_text;
use super::description::{check_description, description_digest};
use super::file::{MAX_ARTIFACT_BYTES, MAX_TEXT_BYTES, file_name, inside, parsed_toml, read_capped, read_text};
use super::library;
use super::manifest::{FILE, Manifest};
use super::refused::{Refusal, RefusedPackage, refuse, refuse_as};

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
    if path.is_dir() { StatedPackage::read(path)?.checked() } else { read_artifact(path) }
}

/// A package as the texts of its folder describe it. Its artifact, which may be large, was not opened yet.
#[derive(Debug, Clone)]
pub(super) struct StatedPackage {
    /// What it says of itself; every claim was checked for its form.
    pub(super) description: Description,
    kind: StrategyKind,
    artifact: PathBuf,
}

impl StatedPackage {
    /// The artifact's file.
    pub(super) fn artifact(&self) -> &Path {
        &self.artifact
    }

    /// Reads manifest and schema files.
    pub(super) fn read(folder: &Path) -> Result<Self, RefusedPackage> {
        let text = read_text(&folder.join(FILE))?;
        let manifest: Manifest = parsed_toml(&text).map_err(|error| RefusedPackage::new(format!("{FILE}: {error}")))?;
        if manifest.manifest != 1 {
            return refuse(format!("{FILE}: manifest version {}, this host reads version 1", manifest.manifest));
        }
        let artifact = inside(folder, &manifest.artifact)?;
        let description = manifest.description(folder)?;
        check_description(&description)?;
        Ok(Self { description, kind: manifest.kind, artifact })
    }

    /// Reads the artifact and checks that it is what the texts say.
    pub(super) fn checked(&self) -> Result<CheckedPackage, RefusedPackage> {
        let package = match self.kind {
            StrategyKind::Wasm => read_artifact(&self.artifact)?,
            StrategyKind::Native | StrategyKind::NativeTorch => read_library(&self.artifact, &self.description)?,
            StrategyKind::Composite => read_composite(&self.artifact, &self.description)?,
            StrategyKind::Python => return refuse(format!("{FILE}: `python` is no kind of package")),
        };
        if package.description == self.description && package.kind == self.kind {
            Ok(package)
        } else {
            disagrees(&self.artifact)
        }
    }
}

fn disagrees<T>(artifact: &Path) -> Result<T, RefusedPackage> {
    let reason = format!("{FILE} or a schema file disagrees with {}: pack the artifact again", file_name(artifact));
    refuse_as(Refusal::Disagrees, reason)
}

/// Reads and checks a native library whose description stands beside it.
fn read_library(path: &Path, stated: &Description) -> Result<CheckedPackage, RefusedPackage> {
    let bytes = read_capped(path, MAX_ARTIFACT_BYTES)?;
    let identity = library::read(&bytes)?;
    if identity.description == [0; 32] {
        let reason = "the library was not packed: make a package of it with `querist plugin pack`";
        return refuse_as(Refusal::NotPacked, reason);
    }
    let same = identity.description == description_digest(stated)?;
    if !same || identity.package != stated.package || identity.version != stated.version {
        return disagrees(path);
    }
    let kind = if identity.torch { StrategyKind::NativeTorch } else { StrategyKind::Native };
    let (description, artifact) = (stated.clone(), path.to_owned());
    Ok(CheckedPackage { description, kind, artifact, digest: sha256(&bytes) })
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
    let digest = sha256(&text);
    Ok(CheckedPackage { description, kind: StrategyKind::Composite, artifact: path.to_owned(), digest })
}

/// Reads and checks a component with its embedded manifest.
fn read_artifact(path: &Path) -> Result<CheckedPackage, RefusedPackage> {
    if path.extension().is_some_and(|extension| extension == "so") {
        let reason = "a bare library: a native package is a folder made by `querist plugin pack`";
        return refuse_as(Refusal::NotPacked, reason);
    }
    let bytes = read_capped(path, MAX_ARTIFACT_BYTES)?;
    let description = embedded(&bytes)?;
    check_description(&description)?;
    Ok(CheckedPackage { description, kind: StrategyKind::Wasm, artifact: path.to_owned(), digest: sha256(&bytes) })
}
