//! What can be seen of a plugin's file without running any of it.

use std::path::{Path, PathBuf};

use querist_core::digest::sha256;
use querist_files::Links;
use querist_protocol::Shown;
use wasmparser::{BinaryReaderError, Encoding, Import, KnownCustom, Parser, Payload, ProducersSectionReader};

use super::description::description_digest;
use super::file::{MAX_ARTIFACT_BYTES, file_name};
use super::library::{self, ReadIdentity};
use super::read::{CheckedPackage, StatedPackage, read_package};
use super::refused::{Refusal, RefusedPackage};

/// Names of each kind that are kept: a file can have a million imports.
const MOST_NAMES: usize = 200;
/// Bytes of a text that a file carries about itself.
const TEXT_BYTES: usize = 400;
/// Custom sections with what `wkg` shows of a component.
const ABOUT: [&str; 7] = ["authors", "description", "homepage", "licenses", "revision", "source", "version"];

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A WebAssembly component.
    Component,
    /// A core module, which packing makes a component of.
    CoreModule,
    /// A native library.
    Library,
    /// A text that makes strategies of others.
    Composite,
    /// Nothing of these.
    Other,
}

impl Form {
    fn of(path: &Path, bytes: &[u8]) -> Self {
        match bytes {
            _ if Parser::is_component(bytes) => Self::Component,
            _ if Parser::is_core_wasm(bytes) => Self::CoreModule,
            [0x7f, b'E', b'L', b'F', ..] => Self::Library,
            _ if path.extension().is_some_and(|extension| extension == "toml") => Self::Composite,
            _ => Self::Other,
        }
    }

    /// The form in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Component => "component",
            Self::CoreModule => "core module",
            Self::Library => "native library",
            Self::Composite => "text that makes strategies of others",
            Self::Other => "no plugin",
        }
    }
}

/// A tool that worked on a file, as the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// `language`, `sdk` or `processed-by`.
    pub field: Shown,
    /// Its name.
    pub name: Shown,
    /// Its version.
    pub version: Shown,
}

/// What a WebAssembly file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// What it asks for: interfaces of a component, functions and memories of a module.
    pub imports: Vec<Shown>,
    /// What it offers.
    pub exports: Vec<Shown>,
    /// Core modules, inner ones too.
    pub modules: usize,
    /// Tools that worked on it, as it says.
    pub producers: Vec<Producer>,
    /// Texts about it, as `wkg` publishes them: what and the text.
    pub about: Vec<(&'static str, Shown)>,
    /// Custom sections of the outermost level, each with its bytes.
    pub sections: Vec<(Shown, usize)>,
}

/// What a native library says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Native {
    /// Version of the native boundary, major and minor.
    pub abi: (u16, u16),
    /// Compiler.
    pub compiler: Shown,
    /// Target triple.
    pub target: Shown,
    /// Version of libtorch that it shares.
    pub libtorch: Option<Shown>,
    /// Whether a panic ends the process.
    pub aborts: bool,
    /// Libraries that it links.
    pub libraries: Vec<Shown>,
}

/// Everything that can be seen of a plugin.
#[derive(Debug)]
pub struct Inspection {
    /// The file that was looked at.
    pub artifact: PathBuf,
    /// What it is.
    pub form: Form,
    /// Its length.
    pub bytes: usize,
    /// Its SHA-256, in hex.
    pub digest: String,
    /// Of WebAssembly.
    pub contents: Option<Result<Contents, RefusedPackage>>,
    /// Of native code.
    pub native: Option<Result<Native, RefusedPackage>>,
    /// The package, or why it can be used by no one.
    pub package: Result<CheckedPackage, RefusedPackage>,
    /// SHA-256 of what the package says of itself, in hex, which lock files have.
    pub description: Option<String>,
}

/// Looks at a package's folder, a packed component, or what a compiler made. Nothing of it runs.
///
/// # Errors
/// If there is no file to look at.
pub fn inspect(path: &Path) -> Result<Inspection, RefusedPackage> {
    let artifact = if path.is_dir() { StatedPackage::read(path)?.artifact().to_owned() } else { path.to_owned() };
    // A folder's files stay in it; what the user names may be a link.
    let links = if path.is_dir() { Links::Refuse } else { Links::Follow };
    let bytes = querist_files::read(&artifact, links, MAX_ARTIFACT_BYTES).map_err(|error| {
        RefusedPackage::new(format!("{}: {}", file_name(&artifact), error.reason)).of(Refusal::File)
    })?;
    let form = Form::of(&artifact, &bytes);
    let package = read_package(path);
    let description = package.as_ref().ok().and_then(|package| description_digest(&package.description).ok());
    Ok(Inspection {
        form,
        bytes: bytes.len(),
        digest: sha256(&bytes),
        contents: matches!(form, Form::Component | Form::CoreModule).then(|| contents(&bytes)),
        native: (form == Form::Library).then(|| native(&bytes)),
        package,
        description: description.map(|digest| querist_core::digest::hex(&digest)),
        artifact,
    })
}

pub(super) fn native(bytes: &[u8]) -> Result<Native, RefusedPackage> {
    let ReadIdentity { abi, compiler, target, torch, libtorch, aborts, .. } = library::read(bytes)?;
    let mut libraries = library::needed(bytes).unwrap_or_default();
    libraries.truncate(MOST_NAMES);
    Ok(Native {
        abi,
        compiler: Shown::name(&compiler),
        target: Shown::name(&target),
        libtorch: torch.then(|| Shown::name(&libtorch.0)),
        aborts,
        libraries: libraries.iter().map(|name| Shown::name(name)).collect(),
    })
}

pub(super) fn contents(bytes: &[u8]) -> Result<Contents, RefusedPackage> {
    let broken = |error: BinaryReaderError| RefusedPackage::new(format!("not WebAssembly: {error}"));
    let mut contents = Contents::default();
    let mut depth = 0usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version { encoding: Encoding::Module, .. } => contents.modules += 1,
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                let names = section.into_iter().map(|import| import.map(|import| import.name.name.to_owned()));
                keep(&mut contents.imports, names).map_err(broken)?;
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                let names = section.into_iter().map(|export| export.map(|export| export.name.name.to_owned()));
                keep(&mut contents.exports, names).map_err(broken)?;
            }
            Payload::ImportSection(section) if depth == 0 => {
                let name = |Import { module, name, .. }: Import<'_>| format!("{module}.{name}");
                keep(&mut contents.imports, section.into_imports().map(|import| import.map(name))).map_err(broken)?;
            }
            Payload::ExportSection(section) if depth == 0 => {
                let names = section.into_iter().map(|export| export.map(|export| export.name.to_owned()));
                keep(&mut contents.exports, names).map_err(broken)?;
            }
            Payload::CustomSection(custom) => {
                if let KnownCustom::Producers(section) = custom.as_known() {
                    contents.producers(section);
                }
                if depth == 0 {
                    contents.section(custom.name(), custom.data());
                }
            }
            _ => {}
        }
    }
    Ok(contents)
}

/// Keeps the first names of a section.
fn keep(
    kept: &mut Vec<Shown>,
    names: impl Iterator<Item = Result<String, BinaryReaderError>>,
) -> Result<(), BinaryReaderError> {
    for name in names.take(MOST_NAMES.saturating_sub(kept.len())) {
        kept.push(Shown::name(&name?));
    }
    Ok(())
}

impl Contents {
    /// Takes a section of the outermost level.
    fn section(&mut self, name: &str, data: &[u8]) {
        if self.sections.len() < MOST_NAMES {
            self.sections.push((Shown::name(name), data.len()));
        }
        let text = std::str::from_utf8(data).ok().filter(|_| self.about.len() < ABOUT.len());
        if let (Some(what), Some(text)) = (ABOUT.into_iter().find(|what| *what == name), text) {
            self.about.push((what, Shown::new(text, TEXT_BYTES)));
        }
    }

    /// Takes the tools that a section names; one that is malformed names none.
    fn producers(&mut self, section: ProducersSectionReader<'_>) {
        for field in section.into_iter().filter_map(Result::ok) {
            for value in field.values.into_iter().filter_map(Result::ok) {
                let [field, name, version] = [field.name, value.name, value.version].map(Shown::name);
                let producer = Producer { field, name, version };
                if self.producers.len() < MOST_NAMES && !self.producers.contains(&producer) {
                    self.producers.push(producer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{Component, CustomSection, Module, RawSection};

    use super::*;

    #[test]
    fn sections_of_the_outermost_level_are_seen_and_cut() {
        let mut component = Component::new();
        let custom = |name: &'static str, data: &[u8]| CustomSection { name: name.into(), data: data.to_vec().into() };
        component.section(&custom("authors", "Ada\u{1b}[31m".as_bytes()));
        component.section(&custom("licenses", &[b'x'; 5000]));
        component.section(&custom("source", &[0xff]));
        let contents = contents(&component.finish()).unwrap();
        assert_eq!(contents.sections.len(), 3);
        assert_eq!(contents.about.len(), 2, "what is no text is none");
        assert_eq!(contents.about[0].1.as_str(), "Ada\u{fffd}[31m");
        assert!(contents.about[1].1.as_str().len() < TEXT_BYTES + 30);
    }

    #[test]
    fn a_section_that_is_malformed_ends_the_look_with_a_reason() {
        let mut module = Module::new();
        module.section(&RawSection { id: 2, data: &[0xff, 0xff, 0xff, 0xff] });
        assert!(contents(&module.finish()).is_err());
    }
}
