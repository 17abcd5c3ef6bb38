//! Where packages are looked for, and how an id finds its package.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use querist_core::schema::suggest;
use querist_protocol::{Shown, StrategyDescription};

use super::manifest::FILE;
use super::read::{CheckedPackage, read_package};
use super::refused::RefusedPackage;

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
#[derive(Debug, Clone)]
pub struct Found {
    /// Its folder or file.
    pub path: PathBuf,
    /// Where it was found.
    pub source: Source,
    /// The package, or why it cannot be used.
    pub package: Result<CheckedPackage, RefusedPackage>,
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
    /// The id that it was asked for by, where that is one of its other names.
    pub alias: bool,
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
                    listing.found.extend(paths.iter().filter(|path| is_package(path)).map(|path| Found {
                        path: path.clone(),
                        source: *source,
                        package: read_whatever_happens(path),
                    }));
                }
                Err(error) if *source == Source::PluginDir => {
                    return Err(ResolveError::Folder { folder: folder.clone(), reason: error.to_string() });
                }
                Err(_) => {}
            }
        }
        listing.refuse_impostors();
        Ok(listing)
    }

    /// Nothing shadows a built-in: a package of the same name from elsewhere is refused, unless it is the very same.
    fn refuse_impostors(&mut self) {
        let built_in: Vec<(String, String)> = self
            .usable()
            .filter(|(found, _)| found.source == Source::BuiltIn)
            .map(|(_, package)| (package.description.package.clone(), package.digest.clone()))
            .collect();
        let mut seen: BTreeSet<(String, String)> = BTreeSet::new();
        self.found.retain(|found| match &found.package {
            Ok(package) => seen.insert((package.description.package.clone(), package.digest.clone())),
            Err(_) => true,
        });
        for found in &mut self.found {
            let Ok(package) = &found.package else { continue };
            let name = &package.description.package;
            let shadows = built_in.iter().any(|(built_in, digest)| built_in == name && *digest != package.digest);
            if found.source != Source::BuiltIn && shadows {
                let reason = format!("a built-in package is called `{name}`: give this one another name");
                found.package = Err(RefusedPackage::new(reason));
            }
        }
    }

    /// Packages that can be used.
    pub fn usable(&self) -> impl Iterator<Item = (&Found, &CheckedPackage)> {
        self.found.iter().filter_map(|found| found.package.as_ref().ok().map(|package| (found, package)))
    }

    /// Finds a strategy by `id`, by `package/id`, or by one of its other names.
    ///
    /// # Errors
    /// If there is none, with the nearest name; or if several packages have it, with their names.
    pub fn resolve(&self, name: &str) -> Result<Resolved<'_>, ResolveError> {
        let (wanted_package, id) = match name.split_once('/') {
            Some((package, id)) => (Some(package), id),
            None => (None, name),
        };
        let all = || {
            self.usable()
                .filter(move |(_, package)| wanted_package.is_none_or(|wanted| wanted == package.description.package))
                .flat_map(|(found, package)| {
                    package.description.strategies.iter().map(move |strategy| (found.source, package, strategy))
                })
        };
        for alias in [false, true] {
            let named = |s: &StrategyDescription| if alias { s.aliases.iter().any(|a| a == id) } else { s.id == id };
            let matches: Vec<_> = all().filter(|(_, _, strategy)| named(strategy)).collect();
            match matches[..] {
                [] => {}
                [(source, package, strategy)] => return Ok(Resolved { package, source, strategy, alias }),
                _ => {
                    return Err(ResolveError::Ambiguous {
                        name: name.to_owned(),
                        choices: matches
                            .iter()
                            .map(|(_, package, s)| format!("{}/{}", package.description.package, s.id))
                            .collect(),
                    });
                }
            }
        }
        let ids: Vec<String> = all().flat_map(|(_, _, s)| s.aliases.iter().chain([&s.id]).cloned()).collect();
        let lowered = id.to_lowercase();
        Err(ResolveError::Unknown {
            name: Shown::name(name).into_string(),
            near: suggest(&lowered, &ids).map(str::to_owned),
            refused: self.found.iter().filter(|found| found.package.is_err()).count(),
        })
    }
}

/// Reads a package. Whatever goes wrong with it, the others are listed.
fn read_whatever_happens(path: &Path) -> Result<CheckedPackage, RefusedPackage> {
    std::panic::catch_unwind(|| read_package(path))
        .unwrap_or_else(|_| Err(RefusedPackage::new("the host failed while it read this package; please report it")))
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
