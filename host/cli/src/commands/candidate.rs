//! What an author has at hand: a package, a folder of packages, or what a compiler made, ready to be looked at.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use querist_loader::package::metadata::Metadata;
use querist_loader::{Listing, Resolved, Source, pack};
use querist_protocol::Shown;

use crate::exit::Usage;
use crate::plugins;
use crate::trainer::Trainer;

/// The packages of a path: it may be a package itself or hold some.
pub fn listing(path: &Path) -> Result<Listing> {
    let is_package = path.is_file() || path.join(querist_loader::package::manifest::FILE).exists();
    let packages = path.parent().filter(|_| is_package).unwrap_or(path);
    // What is installed with this program is trusted by it, as everywhere.
    let source = if plugins::is_built_in(packages) { Source::BuiltIn } else { Source::PluginDir };
    if is_package {
        return Ok(Listing::only(path.to_owned(), source));
    }
    Ok(Listing::search(&[(source, packages.to_owned())])?)
}

/// A path with packages in it: what a compiler made is packed first, into `folder`.
///
/// # Errors
/// If it cannot be packed, or is native code that nobody allowed.
pub fn packed(named: &Path, allow_native: bool, folder: &Path, trainer: Option<&dyn Trainer>) -> Result<PathBuf> {
    let path = named.canonicalize().map_err(|error| Usage(format!("{}: {error}", querist_files::shown(named))))?;
    if path.is_dir() || pack::is_packed(&path) {
        return Ok(path);
    }
    let made = if pack::is_native(&path) {
        if !allow_native {
            let message = format!("{} is native code: add `--allow-native` if you trust it", path.display());
            return Err(Usage(message).into());
        }
        pack::pack_native(&path, folder, trainer.and_then(Trainer::torch).as_ref())
    } else {
        pack::pack(&path, folder, &Metadata::default(), &*plugins::sandbox()?)
    };
    made.map_err(|error| anyhow::Error::new(error).context(format!("cannot pack {}", path.display())))?;
    Ok(folder.to_owned())
}

/// The strategies of a path, or the one that is asked for.
///
/// # Errors
/// If a package there is refused, or there is nothing.
pub fn wanted<'a>(listing: &'a Listing, strategy: Option<&str>, path: &Path) -> Result<Vec<Resolved<'a>>> {
    if let Some((found, refused)) = listing.found.iter().find_map(|found| Some((found, found.package().err()?))) {
        let what = format!("{} is refused", Shown::sentence(&found.path.to_string_lossy()));
        bail!(anyhow::Error::new(refused.clone()).context(what));
    }
    let wanted: Vec<Resolved<'a>> = listing
        .usable()
        .flat_map(|(found, package)| {
            let of = |strategy| Resolved { package, source: found.source, strategy, alias: false, hidden: None };
            package.description.strategies.iter().map(of)
        })
        .filter(|resolved| strategy.is_none_or(|id| id == resolved.strategy.id))
        .collect();
    if wanted.is_empty() {
        let what = strategy.map_or("package".to_owned(), |id| format!("strategy `{id}`"));
        return Err(Usage(format!("there is no {what} in {}", querist_files::shown(path))).into());
    }
    Ok(wanted)
}
