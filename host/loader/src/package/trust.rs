//! Which packages may run, and how: the lock file, the list of built-in digests, and the user's word.

use std::path::{Path, PathBuf};

use querist_core::StrategyKind;
use querist_core::digest::hex;
use querist_files::Links;
use serde::{Deserialize, Serialize};

use super::description::description_digest;
use super::discover::{Resolved, Source};
use super::file::{MAX_ARTIFACT_BYTES, MAX_TEXT_BYTES, parsed_toml, read_capped, write_whole};
use super::library;
use super::read::CheckedPackage;
use super::refused::RefusedPackage;

/// Name of the lock file, in the project's folder.
pub const LOCK_FILE: &str = "querist.lock";
/// Name of the list of built-in digests, in the folder of the built-in packages; in the form of `sha256sum`.
pub const DIGESTS_FILE: &str = "SHA256SUMS";

/// `querist.lock`: the very packages that a project uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Version of this format: 1.
    pub version: u32,
    /// The packages, by name.
    #[serde(rename = "package", default)]
    pub packages: Vec<Locked>,
}

/// One package of a lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// Name of the package.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it is run.
    pub kind: StrategyKind,
    /// SHA-256 of the artifact.
    pub artifact: String,
    /// SHA-256 of what manifest and schemas say.
    pub description: String,
    /// Version of libtorch that it was built with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libtorch: Option<String>,
}

impl Locked {
    /// The entry of a package as it is now.
    ///
    /// # Errors
    /// If its artifact cannot be read.
    pub fn of(package: &CheckedPackage) -> Result<Self, RefusedPackage> {
        let libtorch = match package.kind {
            StrategyKind::NativeTorch => {
                let bytes = read_capped(&package.artifact, MAX_ARTIFACT_BYTES)?;
                Some(library::read(&bytes)?.libtorch.0)
            }
            _ => None,
        };
        let digest = description_digest(&package.description)?;
        Ok(Self {
            name: package.description.package.clone(),
            version: package.description.version.clone(),
            kind: package.kind,
            artifact: package.digest.clone(),
            description: hex(&digest),
            libtorch,
        })
    }
}

impl Lock {
    /// Reads a lock file; `None` where there is none.
    ///
    /// # Errors
    /// If it cannot be read or is malformed.
    pub fn read(path: &Path) -> Result<Option<Self>, TrustError> {
        let fail = |reason: String| TrustError::LockFile { path: path.to_owned(), reason };
        let text = match querist_files::read_text(path, Links::Follow, MAX_TEXT_BYTES) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(fail(error.reason.to_string())),
        };
        let lock: Self = parsed_toml(&text).map_err(fail)?;
        if lock.version != 1 {
            return Err(fail(format!("version {}, this host reads version 1", lock.version)));
        }
        Ok(Some(lock))
    }

    /// Puts packages in, replacing older entries of their names.
    pub fn put(&mut self, packages: impl IntoIterator<Item = Locked>) {
        self.version = 1;
        for package in packages {
            self.packages.retain(|old| old.name != package.name);
            self.packages.push(package);
        }
        self.packages.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), TrustError> {
        let fail = |reason: String| TrustError::LockFile { path: path.to_owned(), reason };
        let text = toml::to_string(self).map_err(|error| fail(error.to_string()))?;
        let text = format!("# Written by `querist plugin lock`; keep it with the project.\n{text}");
        write_whole(path, text.as_bytes(), 0o666).map_err(|error| fail(error.to_string()))
    }

    /// Whether it names the package with this artifact.
    pub fn names(&self, package: &str, artifact: &str) -> bool {
        self.packages.iter().any(|locked| locked.name == package && locked.artifact == artifact)
    }

    fn entry(&self, package: &CheckedPackage) -> Option<&Locked> {
        self.packages.iter().find(|locked| locked.name == package.description.package)
    }
}

/// What the user allows.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Locked native packages may run in this process.
    pub allow_native: bool,
    /// Native packages run in a worker process that can reach nothing.
    pub isolate: bool,
    /// Packages must be those of the lock file.
    pub locked: bool,
    /// The lock file, where there is one.
    pub lock: Option<Lock>,
    /// Folders of the built-in packages.
    pub built_in: Vec<PathBuf>,
}

/// How a package runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the WebAssembly sandbox.
    Sandboxed,
    /// As native code in this process.
    InProcess,
    /// As native code in a worker process.
    Isolated,
    /// As the strategies that it is made of, each in its own way.
    Composed,
}

impl Policy {
    /// How the package of a strategy runs, if it may.
    ///
    /// # Errors
    /// If the user did not allow it, with what would.
    pub fn mode(&self, resolved: &Resolved<'_>) -> Result<Mode, TrustError> {
        let package = resolved.package;
        let name = || package.description.package.clone();
        let entry = self.lock.as_ref().and_then(|lock| lock.entry(package));
        if self.locked {
            let Some(entry) = entry else { return Err(TrustError::NotLocked { package: name() }) };
            let now = Locked::of(package)?;
            if now != *entry {
                return Err(TrustError::Drift { package: name(), what: drift(entry, &now) });
            }
        }
        match package.kind {
            StrategyKind::Wasm => return Ok(Mode::Sandboxed),
            StrategyKind::Composite => return Ok(Mode::Composed),
            StrategyKind::Native | StrategyKind::NativeTorch | StrategyKind::Python => {}
        }
        if self.isolate {
            return Ok(Mode::Isolated);
        }
        if resolved.source == Source::BuiltIn && self.is_built_in(package) {
            return Ok(Mode::InProcess);
        }
        match entry {
            Some(entry) if entry.artifact != package.digest => {
                Err(TrustError::Drift { package: name(), what: drift(entry, &Locked::of(package)?) })
            }
            Some(_) if self.allow_native => Ok(Mode::InProcess),
            locked => {
                let (package, digest) = (name(), package.digest.clone());
                Err(TrustError::Native { package, digest, locked: locked.is_some(), allowed: self.allow_native })
            }
        }
    }

    /// Whether a digest list that was installed with built-in packages names this artifact.
    fn is_built_in(&self, package: &CheckedPackage) -> bool {
        self.built_in.iter().any(|folder| {
            let list = querist_files::read_text(&folder.join(DIGESTS_FILE), Links::Follow, MAX_TEXT_BYTES);
            let list = list.unwrap_or_default();
            list.lines().filter_map(|line| line.split_whitespace().next()).any(|digest| digest == package.digest)
        })
    }
}

fn drift(locked: &Locked, now: &Locked) -> String {
    let parts = [
        ("version", &locked.version, &now.version),
        ("artifact", &locked.artifact, &now.artifact),
        ("description", &locked.description, &now.description),
    ];
    let changed: Vec<String> = parts
        .iter()
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| format!("{name} {} was locked, now it is {}", short(old), short(new)))
        .collect();
    if changed.is_empty() { "its kind or libtorch changed".to_owned() } else { changed.join("; ") }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Why a package may not run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum TrustError {
    #[error("{}: {reason}", path.display())]
    LockFile { path: PathBuf, reason: String },
    #[error("package `{package}` is not in {LOCK_FILE}: lock it with `querist plugin lock {package}`")]
    NotLocked { package: String },
    #[error(
        "package `{package}` is not the one in {LOCK_FILE}: {what}; if you meant to change it, lock it again with \
         `querist plugin lock {package}`"
    )]
    Drift { package: String, what: String },
    #[error("{}", native_message(package, digest, *locked, *allowed))]
    Native { package: String, digest: String, locked: bool, allowed: bool },
    #[error(transparent)]
    Refused(#[from] RefusedPackage),
}

fn native_message(package: &str, digest: &str, locked: bool, allowed: bool) -> String {
    let mut steps = Vec::new();
    if !locked {
        steps.push(format!("lock it with `querist plugin lock {package}`"));
    }
    if !allowed {
        steps.push("add `--allow-native`".to_owned());
    }
    format!(
        "package `{package}` is native code, which can do whatever you can (artifact {}). If you trust it, {}; if not, \
         `--isolate` runs it where it reaches nothing",
        short(digest),
        steps.join(" and ")
    )
}
