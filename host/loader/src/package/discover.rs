//! Where packages are looked for, and how an id finds its package.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use querist_core::schema::suggest;
use querist_protocol::{Description, Shown, StrategyDescription};
use semver::Version;

use super::manifest::FILE;
use super::read::{CheckedPackage, StatedPackage, read_package};
use super::refused::{Refusal, RefusedPackage};

/// What stands between the name of a strategy and the digest of its package's artifact: `margin@sha256:1a2b...`.
pub const BY_DIGEST: &str = "@sha256:";
/// Hex digits of a digest that mean one package, at least.
const FEWEST_DIGITS: usize = 8;

/// Where a package was found, in the order of search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A folder named on the command line.
    PluginDir,
    /// A folder of `QUERIST_PLUGIN_PATH`.
    Environment,
    /// `plugins/` in the working folder.
    Project,
    /// The user's own folder.
    User,
    /// Installed beside the binary.
    BuiltIn,
}

/// A package that was found, usable or not.
///
/// A start looks at the texts of every package that is installed; artifacts are many megabytes of which it needs one,
/// and are opened when their package is asked for.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its folder or file.
    pub path: PathBuf,
    /// Where it was found.
    pub source: Source,
    /// The digest under which it was installed, where it was.
    pub installed: Option<String>,
    /// What its texts say, where they were read and its artifact may not have been.
    stated: Option<StatedPackage>,
    package: OnceLock<Result<CheckedPackage, RefusedPackage>>,
}

impl Found {
    fn look(path: PathBuf, source: Source) -> Self {
        let (stated, package) = match path.is_dir() {
            true => match whatever_happens(|| StatedPackage::read(&path)) {
                Ok(stated) => (Some(stated), OnceLock::new()),
                Err(refused) => (None, OnceLock::from(Err(refused))),
            },
            false => (None, OnceLock::from(whatever_happens(|| read_package(&path)))),
        };
        Self { path, source, installed: None, stated, package }
    }

    /// The versions of a package that were installed: folders of a folder, each called by the digest of its artifact.
    /// The newest comes first.
    fn installed(folder: &Path, source: Source) -> Vec<Self> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let mut found: Vec<Self> = paths
            .filter_map(|path| {
                let digest = path.file_name()?.to_str().filter(|name| is_digest(name))?.to_owned();
                let found = is_package(&path).then(|| Self::look(path, source))?;
                Some(Self { installed: Some(digest), ..found })
            })
            .collect();
        let version = |found: &Self| found.description().and_then(|said| Version::parse(&said.version).ok());
        found.sort_by_key(|found| (Reverse(version(found)), found.installed.clone()));
        found
    }

    /// The package with its artifact, which is read and checked when it is asked for first; or why it cannot be used.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn package(&self) -> Result<&CheckedPackage, &RefusedPackage> {
        let read = || match &self.stated {
            Some(stated) => whatever_happens(|| stated.checked()),
            None => whatever_happens(|| read_package(&self.path)),
        };
        self.package.get_or_init(|| read().and_then(|package| self.as_installed(package))).as_ref()
    }

    /// Whether it is known that it cannot be used.
    pub fn is_refused(&self) -> bool {
        matches!(self.package.get(), Some(Err(_)))
    }

    /// What was installed is what it was then.
    fn as_installed(&self, package: CheckedPackage) -> Result<CheckedPackage, RefusedPackage> {
        match &self.installed {
            Some(digest) if *digest != package.digest => Err(RefusedPackage::new(format!(
                "changed since it was installed: its artifact has the digest {}; remove the package and install it \
                 again",
                package.digest
            ))),
            _ => Ok(package),
        }
    }

    /// What it says of itself, where it can be used as far as is known.
    fn description(&self) -> Option<&Description> {
        match self.package.get() {
            Some(package) => package.as_ref().ok().map(|package| &package.description),
            None => self.stated.as_ref().map(|stated| &stated.description),
        }
    }

    /// Name and digest of a package whose name is among `names`.
    fn shared(&self, names: &BTreeSet<String>) -> Option<(&str, &str)> {
        self.description().filter(|description| names.contains(&description.package))?;
        self.package().ok().map(|package| (package.description.package.as_str(), package.digest.as_str()))
    }

    fn refuse(&mut self, reason: String) {
        self.package = OnceLock::from(Err(RefusedPackage::new(reason).of(Refusal::Name)));
    }
}

/// Every package of the search folders.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The packages, in the order of search and by name within a folder.
    pub found: Vec<Found>,
}

/// A strategy and the package it is in.
#[derive(Debug, Clone, Copy)]
pub struct Resolved<'a> {
    /// The package.
    pub package: &'a CheckedPackage,
    /// Where the package was found.
    pub source: Source,
    /// The strategy.
    pub strategy: &'a StrategyDescription,
    /// Whether it was asked for by one of its other names.
    pub alias: bool,
    /// Another package of the same name, which was found later and is not used.
    pub hidden: Option<&'a Found>,
}

impl Listing {
    /// Looks through folders. Missing folders are skipped, unless they were named on the command line.
    ///
    /// # Errors
    /// If a folder that was named on the command line cannot be read.
    pub fn search(folders: &[(Source, PathBuf)]) -> Result<Self, ResolveError> {
        let mut listing = Self::default();
        let mut seen = BTreeSet::new();
        for (source, folder) in folders {
            // The same folder by two ways is one folder.
            if !seen.insert(folder.canonicalize().unwrap_or_else(|_| folder.clone())) {
                continue;
            }
            match std::fs::read_dir(folder) {
                Ok(entries) => {
                    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
                    paths.sort();
                    for path in paths {
                        match is_package(&path) {
                            true => listing.found.push(Found::look(path, *source)),
                            false => listing.found.extend(Found::installed(&path, *source)),
                        }
                    }
                }
                Err(error) if *source == Source::PluginDir => {
                    return Err(ResolveError::Folder { folder: folder.clone(), reason: error.to_string() });
                }
                Err(_) => {}
            }
        }
        listing.refuse_what_others_can_change();
        listing.refuse_impostors();
        Ok(listing)
    }

    /// Puts those of a package's installed versions first that `is_named`, by package and digest.
    pub fn prefer(&mut self, is_named: impl Fn(&str, &str) -> bool) {
        let named = |found: &Found| {
            let name = found.description().map(|said| &said.package);
            name.zip(found.installed.as_ref()).is_some_and(|(name, digest)| is_named(name, digest))
        };
        let of_one = |a: &Found, b: &Found| a.installed.is_some() && a.path.parent() == b.path.parent();
        for versions in self.found.chunk_by_mut(of_one) {
            versions.sort_by_key(|found| !named(found));
        }
    }

    /// What anybody on this machine can put there is nobody's word. Whoever can write beside the program can exchange
    /// the program as well.
    fn refuse_what_others_can_change(&mut self) {
        for found in self.found.iter_mut().filter(|found| found.source != Source::BuiltIn) {
            let above = if found.installed.is_some() { 2 } else { 1 };
            let open = found.path.ancestors().take(above + 1).find(|path| is_open_to_all(path));
            if let Some(folder) = open.map(querist_files::shown) {
                found.refuse(format!("everybody can write into {folder}: close it with `chmod o-w {folder}`"));
            }
        }
    }

    /// The one package of a folder or file.
    pub fn only(path: PathBuf, source: Source) -> Self {
        Self { found: vec![Found::look(path, source)] }
    }

    /// Nothing shadows a built-in: a package of the same name from elsewhere is refused, unless it is the very same.
    fn refuse_impostors(&mut self) {
        let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
        let mut built_in: Vec<(String, String)> = Vec::new();
        let shared = self.shared_names();
        for found in &self.found {
            if let Some((name, digest)) = found.shared(&shared)
                && found.source == Source::BuiltIn
            {
                built_in.push((name.to_owned(), digest.to_owned()));
            }
        }
        self.found.retain(|found| match found.shared(&shared) {
            Some((name, digest)) => seen.insert((name.to_owned(), digest.to_owned())),
            None => true,
        });
        for found in self.found.iter_mut().filter(|found| found.source != Source::BuiltIn) {
            let Some((name, digest)) = found.shared(&shared) else { continue };
            if built_in.iter().any(|(built_in, its_digest)| built_in == name && its_digest != digest) {
                let reason = format!("a built-in package is called `{name}`: give this one another name");
                found.refuse(reason);
            }
        }
    }

    /// Names that more than one package has.
    fn shared_names(&self) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let names = self.found.iter().filter_map(Found::description).map(|description| &description.package);
        names.filter(|name| !seen.insert(*name)).cloned().collect()
    }

    /// Packages that can be used. Reads the artifact of each.
    pub fn usable(&self) -> impl Iterator<Item = (&Found, &CheckedPackage)> {
        self.found.iter().filter_map(|found| found.package().ok().map(|package| (found, package)))
    }

    /// Finds a strategy by `id`, by `package/id`, or by one of its other names. `@sha256:` and the artifact's digest,
    /// or its beginning, behind it mean one package of several, as `package@digest/id` does.
    ///
    /// # Errors
    /// If there is none, with the nearest name; or if packages of several names have it, with these.
    pub fn resolve(&self, name: &str) -> Result<Resolved<'_>, ResolveError> {
        let (named, digest) = with_digest(name)?;
        let (package, id) = match named.split_once('/') {
            Some((package, id)) => (Some(package), id),
            None => (None, named),
        };
        let (wanted_package, digest) = match package.and_then(|package| package.split_once('@')) {
            Some((package, digits)) if digest.is_none() => (Some(package), Some(digits.trim_start_matches("sha256:"))),
            _ => (package, digest),
        };
        let in_package = |d: &Description| wanted_package.is_none_or(|wanted| wanted == d.package);
        let mut of_others = Vec::new();
        for alias in [false, true] {
            let named = |s: &StrategyDescription| if alias { s.aliases.iter().any(|a| a == id) } else { s.id == id };
            let holds = |d: &Description| in_package(d) && d.strategies.iter().any(named);
            let holders = self.found.iter().filter(|found| found.description().is_some_and(holds));
            let holders = holders.filter_map(|found| found.package().ok().map(|package| (found, package)));
            let (meant, others): (Vec<_>, Vec<_>) =
                holders.partition(|(_, package)| digest.is_none_or(|digest| package.digest.starts_with(digest)));
            of_others.extend(others.iter().map(|(_, package)| package.digest.clone()));
            let matches: Vec<_> = meant
                .into_iter()
                .flat_map(|(found, package)| {
                    let strategies = package.description.strategies.iter().filter(|strategy| named(strategy));
                    strategies.map(move |strategy| (found, package, strategy))
                })
                .collect();
            match matches[..] {
                [] => {}
                // Of packages of one name, that of the first folder is meant.
                [(found, package, strategy), ref others @ ..]
                    if others.iter().all(|(_, other, its)| {
                        its.id == strategy.id && other.description.package == package.description.package
                    }) =>
                {
                    let hidden = others.first().map(|(found, ..)| *found);
                    return Ok(Resolved { package, source: found.source, strategy, alias, hidden });
                }
                _ => return Err(ambiguous(name, &matches)),
            }
        }
        if !of_others.is_empty() {
            return Err(ResolveError::Digest { name: Shown::name(name).into_string(), found: of_others });
        }
        let packages = self.usable().map(|(_, package)| &package.description).filter(|d| in_package(d));
        let strategies = packages.flat_map(|description| &description.strategies);
        let ids: Vec<String> = strategies.flat_map(|s| s.aliases.iter().chain([&s.id]).cloned()).collect();
        let lowered = id.to_lowercase();
        Err(ResolveError::Unknown {
            name: Shown::name(name).into_string(),
            near: suggest(&lowered, &ids).map(str::to_owned),
            refused: self.found.iter().filter(|found| found.package().is_err()).count(),
        })
    }
}

/// What stands before and behind [`BY_DIGEST`] in the name of a strategy.
fn with_digest(name: &str) -> Result<(&str, Option<&str>), ResolveError> {
    let Some((named, digest)) = name.split_once(BY_DIGEST) else { return Ok((name, None)) };
    let is_hex = digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || !(FEWEST_DIGITS..=64).contains(&digest.len()) {
        return Err(ResolveError::NoDigest { digest: Shown::name(digest).into_string() });
    }
    Ok((named, Some(digest)))
}

fn ambiguous(name: &str, matches: &[(&Found, &CheckedPackage, &StrategyDescription)]) -> ResolveError {
    let choices = matches.iter().map(|(_, package, one)| format!("{}/{}", package.description.package, one.id));
    let choices: BTreeSet<String> = choices.collect();
    ResolveError::Ambiguous { name: name.to_owned(), choices: choices.into_iter().collect() }
}

/// Reads a package or a part of it. Whatever goes wrong with it, the others are listed.
fn whatever_happens<T>(read: impl FnOnce() -> Result<T, RefusedPackage>) -> Result<T, RefusedPackage> {
    let failed = "the host failed while it read this package; please report it";
    std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(RefusedPackage::new(failed)))
}

/// Whether a name is that of a folder of an installed version.
fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Whether everybody on this machine can write into a folder or file.
fn is_open_to_all(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.mode() & 0o002 != 0)
}

/// Whether something in a folder of packages is meant as one. What it really is shows when it is opened.
fn is_package(path: &Path) -> bool {
    path.join(FILE).symlink_metadata().is_ok() || path.extension().is_some_and(|e| e == "wasm")
}

/// Why an id leads to no strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum ResolveError {
    #[error("no strategy is called `{name}`{}", hint(near.as_deref(), *refused))]
    Unknown { name: String, near: Option<String>, refused: usize },
    #[error("several packages have a strategy `{name}`: write one of {}", choices.join(", "))]
    Ambiguous { name: String, choices: Vec<String> },
    #[error("no package that was found is `{name}`: there is one with digest {}", found.join(", one with digest "))]
    Digest { name: String, found: Vec<String> },
    #[error("`{digest}` is no digest: expected {FEWEST_DIGITS} to 64 hex digits behind `{BY_DIGEST}`")]
    NoDigest { digest: String },
    #[error("plugin folder {}: {reason}", querist_files::shown(folder))]
    Folder { folder: PathBuf, reason: String },
}

fn hint(near: Option<&str>, refused: usize) -> String {
    let mut hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    if refused > 0 {
        hint += &format!(" ({refused} packages could not be used: `querist plugin list` says why)");
    } else if near.is_none() {
        hint += "; `querist plugin list` shows all";
    }
    hint
}
