//! What an origin gives: read once, bounded, and compared with its digest before any of it is looked at.

use std::path::Path;

use querist_core::StrategyKind;
use querist_core::digest::sha256;
use querist_files::Links;
use querist_loader::RefusedPackage;
use querist_loader::package::component::embedded;
use querist_loader::package::file::{MAX_ARTIFACT_BYTES, read_checked};
use querist_loader::package::read::read_package;
use querist_protocol::Description;

use crate::archive::{is_archive, unpack};
use crate::digest::Digest;
use crate::fetch::{Address, Client};
use crate::oci;
use crate::origin::Origin;
use crate::signature::{Files, MAX_SIGNATURE_BYTES, MINISIGN, SIGSTORE};
use crate::store::StoreError;

/// A package as it was offered. Nothing is believed yet but what it says of itself, for which it is refused or not.
pub(crate) struct Offer {
    pub(crate) description: Description,
    pub(crate) kind: StrategyKind,
    pub(crate) artifact: Vec<u8>,
    pub(crate) signatures: Files,
}

/// Takes what lies at an origin. `digest` is that of the file, or of the artifact of a folder or image.
pub(crate) fn take(origin: &Origin, digest: Option<&Digest>, client: &Client) -> Result<Offer, StoreError> {
    match origin {
        Origin::Path(path) if oci::is_layout(path) => of_image(oci::read_layout(path, None)?, digest),
        Origin::Layout(folder, manifest) => of_image(oci::read_layout(folder, manifest.as_ref())?, digest),
        Origin::Oci(image) => of_image(oci::pull(image, client)?, digest),
        Origin::Path(path) if path.is_dir() => {
            let offer = of_folder(path)?;
            check(&offer.artifact, digest)?;
            Ok(offer)
        }
        Origin::Path(path) => {
            let bytes = querist_files::read(path, Links::Follow, MAX_ARTIFACT_BYTES)?;
            check(&bytes, digest)?;
            of_file(bytes, || Ok(Files::beside(path)?))
        }
        Origin::Web(address) => {
            let bytes = client.get(address, MAX_ARTIFACT_BYTES)?;
            check(&bytes, digest)?;
            of_file(bytes, || signatures_at(address, client))
        }
    }
}

fn check(bytes: &[u8], expected: Option<&Digest>) -> Result<(), StoreError> {
    match expected {
        Some(expected) if Digest::of(bytes) != *expected => {
            Err(StoreError::Digest { found: Digest::of(bytes), expected: expected.clone() })
        }
        _ => Ok(()),
    }
}

/// A file is a component that carries its manifest, or a whole folder.
fn of_file(bytes: Vec<u8>, signatures: impl FnOnce() -> Result<Files, StoreError>) -> Result<Offer, StoreError> {
    if bytes.starts_with(b"\x7fELF") {
        return Err(StoreError::BareLibrary);
    }
    if !is_archive(&bytes) {
        return of_component(bytes, signatures()?);
    }
    let folder = tempfile::tempdir().map_err(StoreError::writing(&std::env::temp_dir()))?;
    unpack(&bytes, folder.path())?;
    of_folder(folder.path())
}

/// An image is named by digests throughout; signatures lie elsewhere.
fn of_image(component: Vec<u8>, digest: Option<&Digest>) -> Result<Offer, StoreError> {
    check(&component, digest)?;
    of_component(component, Files::default())
}

fn of_component(bytes: Vec<u8>, signatures: Files) -> Result<Offer, StoreError> {
    if bytes.len() as u64 > MAX_ARTIFACT_BYTES {
        return Err(StoreError::TooLarge);
    }
    let description = embedded(&bytes)?;
    Ok(Offer { description, kind: StrategyKind::Wasm, artifact: bytes, signatures })
}

/// Only what a package is made of is taken from a folder: whatever else lies there stays behind.
fn of_folder(folder: &Path) -> Result<Offer, StoreError> {
    let package = read_package(folder)?;
    let artifact = read_checked(&package.artifact, MAX_ARTIFACT_BYTES, &package.digest)?;
    let signatures = Files::beside(&package.artifact)?;
    Ok(Offer { description: package.description, kind: package.kind, artifact, signatures })
}

/// The signatures that a server has beside a file.
fn signatures_at(address: &Address, client: &Client) -> Result<Files, StoreError> {
    let get = |ending| client.get_if_there(&address.with(ending)?, MAX_SIGNATURE_BYTES);
    let minisign = get(MINISIGN)?;
    let sigstore = if minisign.is_some() { None } else { get(SIGSTORE)? };
    Ok(Files { minisign, sigstore })
}

impl Offer {
    /// The digest under which it is kept.
    pub(crate) fn digest(&self) -> String {
        sha256(&self.artifact)
    }
}

impl From<RefusedPackage> for StoreError {
    fn from(refused: RefusedPackage) -> Self {
        Self::Refused(refused)
    }
}
