//! What a package says of itself, in its folder and inside its artifact.

use std::path::{Path, PathBuf};

use querist_core::{Schema, StrategyIdentity, StrategyKind};
use querist_files::Links;
use querist_protocol::{API_VERSION, Capability, Description, Need, Shown, StrategyDescription, is_showable};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::composite;
use crate::native::identity;

/// Name of the manifest in a package folder.
pub const FILE: &str = "plugin.toml";
/// Name of the custom section that carries the same manifest inside a component.
pub const SECTION: &str = "querist:manifest";
/// Bytes of a component at most.
pub const MAX_ARTIFACT_BYTES: u64 = 64 << 20;
/// Bytes of a manifest or schema file at most.
pub(crate) const MAX_TEXT_BYTES: u64 = 1 << 20;
/// Bytes of everything that a package says of itself at most.
const MAX_DESCRIPTION_BYTES: usize = 4 << 20;
/// Strategies in a package at most.
const MAX_STRATEGIES: usize = 256;
/// Other names of a strategy at most, and needs that it states.
const MAX_NAMES: usize = 32;
/// Interfaces that a component may import start with this.
const OUR_INTERFACES: &str = "querist:strategy/";

/// `plugin.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub manifest: u32,
    /// Package name in kebab-case.
    pub package: String,
    /// Package version, semver.
    pub version: String,
    /// How the artifact is run.
    pub kind: StrategyKind,
    /// Version of the boundary that it was built for.
    pub api: String,
    /// The artifact's file name, in the same folder.
    pub artifact: String,
    /// The strategies.
    #[serde(rename = "strategy")]
    pub strategies: Vec<ManifestStrategy>,
}

/// One strategy in `plugin.toml`; its schema is a file of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestStrategy {
    /// Id in kebab-case.
    pub id: String,
    /// One line that says what it asks for.
    pub summary: String,
    /// The paper it follows.
    pub paper: String,
    /// Time and memory beyond the inputs, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cost: String,
    /// Whether it scores rows one by one.
    pub scorer: bool,
    /// Other names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Needs under the default parameters.
    pub needs: Vec<String>,
    /// What other parameters may make it need beside those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may_need: Vec<String>,
    /// Declared powers beyond arrays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// File name of the schema, in the same folder.
    pub schema: String,
}

impl Manifest {
    /// The manifest of a described package with its schema files' contents.
    pub fn of(description: &Description, kind: StrategyKind, artifact: &str) -> Self {
        let strategy = |s: &StrategyDescription| ManifestStrategy {
            id: s.id.clone(),
            summary: s.summary.clone(),
            paper: s.paper.clone(),
            cost: s.cost.clone(),
            scorer: s.scorer,
            aliases: s.aliases.clone(),
            needs: s.needs.clone(),
            may_need: s.may_need.clone(),
            capabilities: s.capabilities.clone(),
            schema: format!("{}.schema.json", s.id),
        };
        Self {
            manifest: 1,
            package: description.package.clone(),
            version: description.version.clone(),
            kind,
            api: description.api.clone(),
            artifact: artifact.to_owned(),
            strategies: description.strategies.iter().map(strategy).collect(),
        }
    }
}

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

/// Why a package cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RefusedPackage {
    /// What is wrong, and what to do.
    pub reason: Shown,
}

impl RefusedPackage {
    pub(crate) fn new(reason: impl AsRef<str>) -> Self {
        Self { reason: Shown::sentence(reason.as_ref()) }
    }
}

pub(crate) fn refuse<T>(reason: impl AsRef<str>) -> Result<T, RefusedPackage> {
    Err(RefusedPackage::new(reason))
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

impl Manifest {
    /// What manifest and schema files say of the package.
    fn description(&self, folder: &Path) -> Result<Description, RefusedPackage> {
        let strategy = |s: &ManifestStrategy| {
            let text = read_text(&inside(folder, &s.schema)?)?;
            let schema = serde_json::from_str(&text)
                .map_err(|error| RefusedPackage::new(format!("{}: {error}", Shown::name(&s.schema))))?;
            Ok(StrategyDescription {
                id: s.id.clone(),
                summary: s.summary.clone(),
                paper: s.paper.clone(),
                cost: s.cost.clone(),
                scorer: s.scorer,
                aliases: s.aliases.clone(),
                needs: s.needs.clone(),
                may_need: s.may_need.clone(),
                capabilities: s.capabilities.clone(),
                schema,
            })
        };
        Ok(Description {
            package: self.package.clone(),
            version: self.version.clone(),
            api: self.api.clone(),
            strategies: self.strategies.iter().map(strategy).collect::<Result<_, _>>()?,
        })
    }
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

/// SHA-256 of a description, which a native library carries in its identity.
pub(crate) fn description_digest(description: &Description) -> Result<[u8; 32], RefusedPackage> {
    let json = serde_json::to_vec(description).map_err(|error| RefusedPackage::new(error.to_string()))?;
    Ok(Sha256::digest(json).into())
}

/// Reads and checks a native library whose description stands beside it.
fn read_library(path: &Path, stated: Description) -> Result<CheckedPackage, RefusedPackage> {
    let bytes = read_capped(path, MAX_ARTIFACT_BYTES)?;
    let identity = identity::read(&bytes)?;
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

/// Reads and checks the text of a composite. Its needs and powers are those of its members when it was packed; what they
/// are now is looked at when it is made.
fn read_composite(path: &Path, stated: &Description) -> Result<CheckedPackage, RefusedPackage> {
    let text = read_capped(path, MAX_TEXT_BYTES)?;
    let mut description = composite::parse(&text)?.description()?;
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
        None => refuse("the component carries no manifest: make a package of it with `querist plugin pack`"),
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
                return refuse(
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
                    if foreign.len() > MAX_NAMES {
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
        return refuse(format!(
            "imports {}, but a sandboxed strategy may import only {OUR_INTERFACES}*: build it for the target \
             wasm32-unknown-unknown, without WASI (componentize-py: --stub-wasi)",
            foreign.join(", ")
        ));
    }
    Ok(section.map(|range| &bytes[range]))
}

/// Checks what a description claims, before anyone relies on it.
///
/// # Errors
/// The first claim that does not hold.
pub fn check_description(description: &Description) -> Result<(), RefusedPackage> {
    if description.api != API_VERSION {
        return refuse(format!(
            "built for boundary version {}, this host speaks {API_VERSION}: {}",
            Shown::name(&description.api),
            "rebuild it with the SDK of this release, or use the host it was built for"
        ));
    }
    check_name("package", &description.package)?;
    let in_versions = |c: char| c.is_ascii_alphanumeric() || ".+-".contains(c);
    if !(1..=64).contains(&description.version.len()) || !description.version.chars().all(in_versions) {
        let version = Shown::name(&description.version);
        return refuse(format!("version `{version}`; versions are 1 to 64 letters, digits, `.`, `+` and `-`"));
    }
    if description.strategies.is_empty() || description.strategies.len() > MAX_STRATEGIES {
        return refuse(format!("{} strategies; a package has 1 to {MAX_STRATEGIES}", description.strategies.len()));
    }
    let mut schema_bytes = 0;
    for (i, strategy) in description.strategies.iter().enumerate() {
        check_name("strategy", &strategy.id)?;
        if description.strategies[..i].iter().any(|other| other.id == strategy.id) {
            return refuse(format!("strategy `{}` stands in the manifest twice", strategy.id));
        }
        schema_bytes += strategy.schema.to_string().len();
        if schema_bytes > MAX_DESCRIPTION_BYTES {
            return refuse(format!("its schemas have more than {MAX_DESCRIPTION_BYTES} bytes together"));
        }
        check_strategy(strategy)
            .map_err(|reason| RefusedPackage::new(format!("strategy `{}`: {reason}", strategy.id)))?;
    }
    Ok(())
}

/// Checks what is said of one strategy.
fn check_strategy(strategy: &StrategyDescription) -> Result<(), String> {
    for (what, text, most) in
        [("summary", &strategy.summary, 400), ("paper", &strategy.paper, 1000), ("cost", &strategy.cost, 1000)]
    {
        check_text(what, text, most)?;
    }
    if [&strategy.aliases, &strategy.needs, &strategy.may_need].iter().any(|list| list.len() > MAX_NAMES) {
        return Err(format!("it has more than {MAX_NAMES} other names or needs"));
    }
    for alias in &strategy.aliases {
        check_text("other name", alias, 64)?;
    }
    for need in strategy.needs.iter().chain(&strategy.may_need) {
        need.parse::<Need>().map_err(|error| error.to_string())?;
    }
    check_schema_texts(&strategy.schema)?;
    Schema::new(strategy.schema.clone()).map(|_| ()).map_err(|error| error.to_string())
}

/// A text that people are shown as it is.
fn check_text(what: &str, text: &str, most: usize) -> Result<(), String> {
    if text.len() > most {
        return Err(format!("its {what} has {} bytes, the limit is {most}", text.len()));
    }
    if !is_showable(text) {
        return Err(format!("its {what} `{}` holds control, invisible or direction characters", Shown::name(text)));
    }
    Ok(())
}

/// Names and texts of a schema reach messages, too; texts may have several lines.
fn check_schema_texts(schema: &Value) -> Result<(), String> {
    match schema {
        Value::String(text) => check_text("schema's text", &text.replace('\n', " "), usize::MAX),
        Value::Array(items) => items.iter().try_for_each(check_schema_texts),
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            check_text("schema's key", key, Shown::NAME)?;
            check_schema_texts(value)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn check_name(what: &str, name: &str) -> Result<(), RefusedPackage> {
    let fits = (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-');
    if fits {
        Ok(())
    } else {
        refuse(format!("{what} name `{}`; names are 1 to 64 of a-z, 0-9 and `-`", Shown::name(name)))
    }
}

/// A file name that stays in its folder.
fn inside(folder: &Path, name: &str) -> Result<PathBuf, RefusedPackage> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(std::path::Component::Normal(part)), None) => Ok(folder.join(part)),
        _ => refuse(format!("{FILE} names the file `{}`; a package's files lie in its own folder", Shown::name(name))),
    }
}

pub(crate) fn read_text(path: &Path) -> Result<String, RefusedPackage> {
    text_of(path, read_capped(path, MAX_TEXT_BYTES)?)
}

fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String, RefusedPackage> {
    String::from_utf8(bytes).map_err(|_| RefusedPackage::new(format!("{}: not UTF-8", file_name(path))))
}

/// TOML of a package. An error has its place but no line of the text: a file that is none may be somebody's secret.
pub(crate) fn parsed_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("line {line}: {}", error.message())
    })
}

/// Reads a file of a package, of at most `limit` bytes.
pub(crate) fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>, RefusedPackage> {
    read(path, Links::Refuse, limit)
}

/// Reads a file that the user named, of at most `limit` bytes.
pub(crate) fn read_named(path: &Path, limit: u64) -> Result<Vec<u8>, RefusedPackage> {
    read(path, Links::Follow, limit)
}

fn read(path: &Path, links: Links, limit: u64) -> Result<Vec<u8>, RefusedPackage> {
    querist_files::read(path, links, limit)
        .map_err(|error| RefusedPackage::new(format!("{}: {}", file_name(path), error.reason)))
}

fn file_name(path: &Path) -> Shown {
    path.file_name().map_or_else(|| querist_files::shown(path), |name| Shown::name(&name.to_string_lossy()))
}

/// SHA-256 in hex.
pub fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
