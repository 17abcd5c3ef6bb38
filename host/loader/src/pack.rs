//! Making a package of what an author's compiler made.
//!
//! An artifact describes itself, so its code runs: a component's in the sandbox, a native library's in this process.

use std::fs;
use std::path::{Path, PathBuf};

use querist_core::StrategyKind;
use querist_core::digest::sha256;
use querist_files::Links;
use querist_protocol::Description;
use wasm_encoder::{CustomSection, Encode, Section};

use crate::composite::error::CompositeError;
use crate::composite::members::{Made, MemberError};
use crate::composite::strategy::powers;
use crate::native::error::NativeError;
use crate::native::torch::TorchBuild;
use crate::native::{library, plugin};
use crate::package::combine::Member;
use crate::package::component::{SECTION, scan};
use crate::package::composite_text;
use crate::package::description::description_digest;
use crate::package::file::{MAX_ARTIFACT_BYTES, MAX_TEXT_BYTES, read_named};
use crate::package::imports::artifact;
use crate::package::library as identity;
use crate::package::metadata::Metadata;
use crate::package::read::CheckedPackage;
use crate::package::refused::{Refusal, RefusedPackage};
use crate::package::write::{WriteError, write_package, writing};
use crate::run::limits::Limits;
use crate::wasm::error::SandboxError;
use crate::wasm::instance;
use crate::wasm::sandbox::Sandbox;

/// Makes a package folder of a core module (as cargo builds it for `wasm32-unknown-unknown`) or of a component.
///
/// The artifact is asked once, in the sandbox, to describe itself; manifest and schema files are written from the
/// answer, and the same is embedded in the artifact, with what registries show of it. Returns the folder,
/// `out/PACKAGE`.
///
/// # Errors
/// If the artifact is refused, does not answer, or the folder cannot be written.
pub fn pack(source: &Path, out: &Path, about: &Metadata, sandbox: &Sandbox) -> Result<PathBuf, PackError> {
    about.check()?;
    if source.is_dir() {
        let reason = "a folder: name what a compiler made in it, or build a project with `querist plugin build DIR`";
        return Err(RefusedPackage::new(reason).of(Refusal::NotPacked).into());
    }
    let bytes = read_named(source, MAX_ARTIFACT_BYTES)?;
    if !bytes.starts_with(b"\0asm") {
        let reason = "neither WebAssembly nor a native library, nor a text of a composite (.toml): name what a \
                      compiler made, such as target/wasm32-unknown-unknown/release/strategy_mine.wasm";
        return Err(RefusedPackage::new(reason).of(Refusal::Form).into());
    }
    let component = componentise(bytes, sandbox)?;
    scan(&component)?;

    fs::create_dir_all(out).map_err(writing(out))?;
    let bare = tempfile::NamedTempFile::new_in(out).map_err(writing(out))?;
    fs::write(bare.path(), &component).map_err(writing(bare.path()))?;
    let digest = sha256(&component);
    let loaded = sandbox.load(bare.path(), &digest)?;
    let description = instance::describe(sandbox, &loaded, &Limits::default()).map_err(PackError::Describe)?;
    let mut packed = component;
    shown_of(&description, about).append(&mut packed)?;
    let packed = with_section(packed, &description)?;
    // The manifest is no code, so the package need not be compiled once more when it is used first.
    let _ = sandbox.keep_as(&digest, &sha256(&packed));
    Ok(write_package(out, &description, StrategyKind::Wasm, &packed)?)
}

/// Makes a package folder of a native library. **Runs its code** in this process, to have it describe itself.
///
/// # Errors
/// As for [`pack`], and if the library has no identity or another libtorch.
pub fn pack_native(source: &Path, out: &Path, torch: Option<&TorchBuild>) -> Result<PathBuf, PackError> {
    let mut bytes = read_named(source, MAX_ARTIFACT_BYTES)?;
    let identity = identity::read(&bytes)?;
    let plugin = library::open(&bytes, torch)?;
    let description = plugin::describe(plugin).map_err(PackError::Describe)?;
    let place = identity.description_offset..identity.description_offset + 32;
    bytes[place].copy_from_slice(&description_digest(&description)?);
    let kind = if identity.torch { StrategyKind::NativeTorch } else { StrategyKind::Native };
    Ok(write_package(out, &description, kind, &bytes)?)
}

/// Makes a package folder of the text of a composite. Its members are made by `make`, to know what they need.
///
/// # Errors
/// As for [`pack`], and if a member cannot be made.
pub fn pack_composite(
    source: &Path,
    out: &Path,
    make: &mut dyn FnMut(&Member) -> Result<Made, MemberError>,
) -> Result<PathBuf, PackError> {
    let bytes = read_named(source, MAX_TEXT_BYTES)?;
    let combined = composite_text::parse(&bytes)?;
    let mut description = combined.description()?;
    for strategy in &mut description.strategies {
        let (needs, capabilities) = powers(&combined, strategy, make).map_err(PackError::Composite)?;
        strategy.needs = needs.iter().map(ToString::to_string).collect();
        strategy.capabilities = capabilities;
    }
    Ok(write_package(out, &description, StrategyKind::Composite, &bytes)?)
}

/// Writes a package that was checked once more, as `out/PACKAGE`: the very artifact, and the texts that describe it.
///
/// # Errors
/// If the artifact is not what was checked any more, or the folder cannot be written.
pub fn copy(package: &CheckedPackage, out: &Path) -> Result<PathBuf, PackError> {
    let bytes = artifact(package)?;
    Ok(write_package(out, &package.description, package.kind, &bytes)?)
}

/// Whether a file is the text of a composite.
pub fn is_composite(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "toml")
}

/// Whether a file is a component that carries its manifest, and so is a package already.
pub fn is_packed(file: &Path) -> bool {
    read_named(file, MAX_ARTIFACT_BYTES).is_ok_and(|bytes| matches!(scan(&bytes), Ok(Some(_))))
}

/// Whether a file is a native library rather than WebAssembly.
pub fn is_native(file: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    let opened = querist_files::open(file, Links::Follow);
    opened.is_ok_and(|mut file| file.read_exact(&mut magic).is_ok()) && magic == *b"\x7fELF"
}

/// Whether a file is a native library that shares libtorch; files that are none are not.
pub fn shares_torch(file: &Path) -> bool {
    is_native(file)
        && read_named(file, MAX_ARTIFACT_BYTES)
            .and_then(|bytes| identity::read(&bytes))
            .is_ok_and(|identity| identity.torch)
}

/// Wraps a core module into a component; a component stays as it is, without an earlier manifest.
fn componentise(bytes: Vec<u8>, sandbox: &Sandbox) -> Result<Vec<u8>, PackError> {
    if !wasmparser::Parser::is_component(&bytes) {
        return Ok(sandbox.wrap(&bytes)?);
    }
    match scan(&bytes)? {
        None => Ok(bytes),
        Some(_) => {
            Err(PackError::Encode("this component is packed already: pack the module it was made from".to_owned()))
        }
    }
}

/// What registries show of a package whose author says `about`. Whoever says nothing has a package as it always was.
fn shown_of(description: &Description, about: &Metadata) -> Metadata {
    if *about == Metadata::default() {
        return Metadata::default();
    }
    let summary = match &description.strategies[..] {
        [only] => Some(only.summary.clone()),
        _ => None,
    };
    let own = Metadata { description: summary, version: Some(description.version.clone()), ..Metadata::default() };
    about.clone().or(own)
}

fn with_section(mut component: Vec<u8>, description: &Description) -> Result<Vec<u8>, PackError> {
    let json = serde_json::to_vec(description).map_err(|error| PackError::Encode(error.to_string()))?;
    let section = CustomSection { name: SECTION.into(), data: json.into() };
    component.push(section.id());
    section.encode(&mut component);
    Ok(component)
}

/// Why no package was made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum PackError {
    #[error(transparent)]
    Refused(#[from] RefusedPackage),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Native(#[from] NativeError),
    #[error("the plugin does not describe itself: {0}")]
    Describe(String),
    #[error(transparent)]
    Composite(CompositeError),
    #[error("the component cannot be made: {0}")]
    Encode(String),
    #[error(transparent)]
    Write(#[from] WriteError),
}
