//! Components: what they import, and the manifest that they carry.

use querist_protocol::{Description, Shown};

use super::description::MAX_DESCRIPTION_BYTES;
use super::refused::{Refusal, RefusedPackage, refuse, refuse_as};

/// Name of the custom section that carries the manifest inside a component.
pub const SECTION: &str = "querist:manifest";
/// Interfaces that a component may import start with this.
const OUR_INTERFACES: &str = "querist:strategy/";
/// Foreign imports that are counted before the search ends.
const MAX_FOREIGN: usize = 32;

/// The embedded description of a component, once its imports were found to be ours alone.
///
/// # Errors
/// If it is no component, imports anything else, or carries no manifest.
pub fn embedded(bytes: &[u8]) -> Result<Description, RefusedPackage> {
    match scan(bytes)? {
        Some(section) if section.len() > MAX_DESCRIPTION_BYTES => {
            refuse(format!("embedded manifest: {} bytes, expected at most {MAX_DESCRIPTION_BYTES}", section.len()))
        }
        Some(section) => {
            serde_json::from_slice(section).map_err(|error| RefusedPackage::new(format!("embedded manifest: {error}")))
        }
        None => refuse_as(
            Refusal::NotPacked,
            "the component carries no manifest: make a package of it with `querist plugin pack`",
        ),
    }
}

/// Checks the imports of a component and finds its manifest section. Only the outermost level counts: inner components
/// can import nothing that the outermost does not hand them.
pub fn scan(bytes: &[u8]) -> Result<Option<&[u8]>, RefusedPackage> {
    use wasmparser::{Encoding, Parser, Payload};
    let broken =
        |error: wasmparser::BinaryReaderError| RefusedPackage::new(format!("not a WebAssembly component: {error}"));
    let mut depth = 0usize;
    let mut foreign = Vec::new();
    let mut section = None;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return refuse_as(
                    Refusal::NotPacked,
                    "a core module, not a component: make a package of it with `querist plugin pack FILE --out DIR`",
                );
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    let name = import.map_err(broken)?.name.name;
                    if !name.starts_with(OUR_INTERFACES) {
                        foreign.push(Shown::name(name).into_string());
                    }
                    if foreign.len() > MAX_FOREIGN {
                        break;
                    }
                }
            }
            Payload::CustomSection(custom) if depth == 0 && custom.name() == SECTION => {
                section = Some(custom.data_offset()..custom.data_offset() + custom.data().len());
            }
            _ => {}
        }
    }
    if !foreign.is_empty() {
        foreign.truncate(8);
        let reason = format!(
            "imports {}, but a sandboxed strategy may import only {OUR_INTERFACES}*: build it for the target \
             wasm32-unknown-unknown, without WASI (componentize-py: --stub-wasi)",
            foreign.join(", ")
        );
        return refuse_as(Refusal::Imports, reason);
    }
    Ok(section.map(|range| &bytes[range]))
}
