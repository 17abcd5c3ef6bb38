//! Making a package of what an author's compiler made.

use std::fs;
use std::path::{Path, PathBuf};

use querist_core::StrategyKind;
use querist_files::Links;
use querist_protocol::Description;
use wasm_encoder::{CustomSection, Encode, Section};

use crate::cache::write_whole;
use crate::composite::{self, CompositeError, Made, Member, MemberError};
use crate::manifest::{self, FILE, Manifest, RefusedPackage, SECTION};
use crate::native::{self, NativeError, TorchBuild, identity, library};
use crate::sandbox::{Limits, Sandbox, SandboxError};
use crate::wasm;

/// Makes a package folder of a core module (as cargo builds it for `wasm32-unknown-unknown`) or of a component.
///
/// The artifact is asked once, in the sandbox, to describe itself; manifest and schema files are written from the
/// answer, and the same is embedded in the artifact. Returns the folder, `out/PACKAGE`.
///
/// # Errors
/// If the artifact is refused, does not answer, or the folder cannot be written.
pub fn pack(source: &Path, out: &Path, sandbox: &Sandbox) -> Result<PathBuf, PackError> {
    let bytes = manifest::read_named(source, manifest::MAX_ARTIFACT_BYTES)?;
    let component = componentise(bytes, sandbox)?;
    manifest::scan(&component)?;

    fs::create_dir_all(out).map_err(writing(out))?;
    let bare = tempfile::NamedTempFile::new_in(out).map_err(writing(out))?;
    fs::write(bare.path(), &component).map_err(writing(bare.path()))?;
    let loaded = sandbox.load(bare.path(), &manifest::hex_sha256(&component))?;
    let description = wasm::describe(sandbox, &loaded, &Limits::default()).map_err(PackError::Describe)?;
    let packed = with_section(component, &description)?;
    lay_down(out, &description, StrategyKind::Wasm, &packed)
}

/// Makes a package folder of a native library. **Runs its code** in this process, to have it describe itself.
///
/// # Errors
/// As for [`pack`], and if the library has no identity or another libtorch.
pub fn pack_native(source: &Path, out: &Path, torch: Option<&TorchBuild>) -> Result<PathBuf, PackError> {
    let mut bytes = manifest::read_named(source, manifest::MAX_ARTIFACT_BYTES)?;
    let identity = identity::read(&bytes)?;
    let plugin = library::open(&bytes, torch)?;
    let description = native::strategy::describe(plugin).map_err(PackError::Describe)?;
    let place = identity.description_offset..identity.description_offset + 32;
    bytes[place].copy_from_slice(&manifest::description_digest(&description)?);
    let kind = if identity.torch { StrategyKind::NativeTorch } else { StrategyKind::Native };
    lay_down(out, &description, kind, &bytes)
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
    let bytes = manifest::read_named(source, manifest::MAX_TEXT_BYTES)?;
    let combined = composite::parse(&bytes)?;
    let mut description = combined.description()?;
    for at in 0..description.strategies.len() {
        let (needs, capabilities) =
            composite::powers(&combined, &description.strategies[at], make).map_err(PackError::Composite)?;
        description.strategies[at].needs = needs.iter().map(ToString::to_string).collect();
        description.strategies[at].capabilities = capabilities;
    }
    lay_down(out, &description, StrategyKind::Composite, &bytes)
}

/// Whether a file is the text of a composite.
pub fn is_composite(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "toml")
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
        && manifest::read_named(file, manifest::MAX_ARTIFACT_BYTES)
            .and_then(|bytes| identity::read(&bytes))
            .is_ok_and(|identity| identity.torch)
}

/// Writes artifact, manifest and schema files.
fn lay_down(out: &Path, description: &Description, kind: StrategyKind, packed: &[u8]) -> Result<PathBuf, PackError> {
    manifest::check_description(description)?;
    let folder = out.join(&description.package);
    fs::create_dir_all(&folder).map_err(writing(&folder))?;
    let extension = match kind {
        StrategyKind::Wasm => "wasm",
        StrategyKind::Native | StrategyKind::NativeTorch => "so",
        StrategyKind::Composite => "composite.toml",
    };
    let artifact = format!("{}.{extension}", description.package);
    let manifest = Manifest::of(description, kind, &artifact);
    let text = toml::to_string(&manifest).map_err(|error| PackError::Encode(error.to_string()))?;
    let mut files = vec![(artifact, packed.to_vec()), (FILE.to_owned(), text.into_bytes())];
    for (strategy, entry) in description.strategies.iter().zip(&manifest.strategies) {
        let schema =
            serde_json::to_string_pretty(&strategy.schema).map_err(|error| PackError::Encode(error.to_string()))?;
        files.push((entry.schema.clone(), (schema + "\n").into_bytes()));
    }
    for (name, bytes) in files {
        let path = folder.join(name);
        write_whole(&path, &bytes, 0o666).map_err(writing(&path))?;
    }
    manifest::read_package(&folder)?;
    Ok(folder)
}

fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> PackError + use<> {
    let path = path.to_owned();
    move |error| PackError::Write { path, reason: error.to_string() }
}

/// Wraps a core module into a component; a component stays as it is, without an earlier manifest.
fn componentise(bytes: Vec<u8>, sandbox: &Sandbox) -> Result<Vec<u8>, PackError> {
    if !wasmparser::Parser::is_component(&bytes) {
        return Ok(sandbox.wrap(&bytes)?);
    }
    match manifest::scan(&bytes)? {
        None => Ok(bytes),
        Some(_) => {
            Err(PackError::Encode("this component is packed already: pack the module it was made from".to_owned()))
        }
    }
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
    #[error("{}: {reason}", path.display())]
    Write { path: PathBuf, reason: String },
}
