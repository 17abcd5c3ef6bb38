//! The plugins that a call names: found, told apart, and laid down so that what was looked at is what runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use querist_core::StrategyKind;
use querist_core::config::StrategyConfig;
use querist_files::shown;
use querist_loader::package::manifest::FILE;
use querist_loader::package::read::CheckedPackage;
use querist_loader::{BY_DIGEST, Found, Listing, Resolved, Source, pack};
use querist_protocol::StrategyDescription;
use serde_json::{Map, Value};

use crate::exit::Usage;
use crate::plugins::{self, PluginArgs};

/// Hex digits of a digest in a label.
const DIGITS: usize = 8;
/// Hex digits in the name of a folder.
const FOLDER_DIGITS: usize = 16;

/// A strategy that is evaluated.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its package.
    pub package: CheckedPackage,
    /// What the package says of it.
    pub strategy: StrategyDescription,
    /// Where the package was found.
    pub source: Source,
    /// Name of its curves.
    pub label: String,
    /// Its parameters, as far as the call gives them.
    pub params: Map<String, Value>,
}

impl Candidate {
    /// The plugin that a word of the call means: a package's folder or file, or an id as anywhere else.
    pub fn find(word: &str, strategy: Option<&str>, args: &PluginArgs) -> Result<Self> {
        let path = Path::new(word);
        let is_package = path.join(FILE).exists() || (path.is_file() && path.extension().is_some_and(|e| e == "wasm"));
        if is_package {
            return Self::in_package(path, strategy);
        }
        if path.exists() && !is_name(word) {
            let what = if path.is_dir() { "holds no package (no plugin.toml)" } else { "is no package" };
            let message = format!(
                "{} {what}: make one of a compiled strategy with `querist plugin pack`, and name its folder",
                shown(path)
            );
            return Err(Usage(message).into());
        }
        let listing = plugins::listing(&args.plugin_dir)?;
        Ok(Self::of(plugins::resolve(&listing, word)?))
    }

    fn in_package(path: &Path, strategy: Option<&str>) -> Result<Self> {
        let listing = Listing::only(path.to_owned(), source(path));
        let found = &listing.found[0];
        let package =
            found.package().map_err(|refused| Usage(format!("{} is refused: {}", shown(path), refused.reason)))?;
        let all = &package.description.strategies;
        let ids = || all.iter().map(|one| format!("`{}`", one.id)).collect::<Vec<_>>().join(", ");
        let chosen = match (strategy, all.as_slice()) {
            (Some(id), all) => all
                .iter()
                .find(|one| one.id == id)
                .ok_or_else(|| Usage(format!("{} has no strategy `{id}`; it has {}", shown(path), ids())))?,
            (None, [only]) => only,
            (None, _) => {
                let message =
                    format!("{} has several strategies: choose one with `--strategy`, of {}", shown(path), ids());
                return Err(Usage(message).into());
            }
        };
        let resolved = Resolved { package, source: found.source, strategy: chosen, alias: false, hidden: None };
        let mut candidate = Self::of(resolved);
        // A copy of what came with the program is that, wherever it lies.
        let installed = plugins::listing(&[])?;
        let is_it = |(found, package): &(&Found, &CheckedPackage)| {
            found.source == Source::BuiltIn && package.digest == candidate.package.digest
        };
        if let Some((found, package)) = installed.usable().find(is_it) {
            (candidate.package, candidate.source) = (package.clone(), found.source);
        }
        Ok(candidate)
    }

    fn of(resolved: Resolved<'_>) -> Self {
        Self {
            package: resolved.package.clone(),
            strategy: resolved.strategy.clone(),
            source: resolved.source,
            label: resolved.strategy.id.clone(),
            params: Map::new(),
        }
    }

    /// Whether it is installed with the program.
    pub fn is_built_in(&self) -> bool {
        self.source == Source::BuiltIn
    }

    /// Its name for the program: this very artifact and no other.
    pub fn exact(&self) -> String {
        exact(&self.package, &self.strategy)
    }

    /// What stands for it among the strategies of a study.
    pub fn config(&self) -> StrategyConfig {
        let (id, params, label) = (self.exact(), self.params.clone(), Some(self.label.clone()));
        StrategyConfig { id, params, label, subset_size: None, target: None }
    }

    /// The folder of its package, once what is not built in was laid down below `out`: whatever happens to the original
    /// meanwhile, all runs are of what was looked at. Gives the folder to look for plugins in, too.
    pub fn lay_down(&self, out: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
        if self.is_built_in() {
            let folder = self.package.artifact.parent().context("an artifact lies in a folder")?;
            return Ok((folder.to_owned(), None));
        }
        let plugins = out.join("plugins").join(&self.package.digest[..FOLDER_DIGITS]);
        let folder = pack::copy(&self.package, &plugins)
            .with_context(|| format!("cannot lay down package `{}`", self.package.description.package))?;
        Ok((folder, Some(plugins)))
    }
}

/// A strategy of this very artifact.
pub fn exact(package: &CheckedPackage, strategy: &StrategyDescription) -> String {
    format!("{}/{}{BY_DIGEST}{}", package.description.package, strategy.id, package.digest)
}

/// Whether a word may be an id rather than a path that happens to exist.
fn is_name(word: &str) -> bool {
    !word.contains('.') && !word.ends_with('/') && !word.starts_with('/')
}

/// What lies in the folder of the built-in packages is built in, by whatever name it is called.
fn source(path: &Path) -> Source {
    let path = path.canonicalize().ok();
    let is_built_in = path.as_deref().and_then(Path::parent).is_some_and(plugins::is_built_in);
    if is_built_in { Source::BuiltIn } else { Source::PluginDir }
}

/// Gives each a label that nobody else has: its id, with its digest where it needs one.
pub fn tell_apart(candidates: &mut [Candidate], taken: &[String]) -> Result<()> {
    for at in 0..candidates.len() {
        let (id, digest) = (&candidates[at].strategy.id, &candidates[at].package.digest);
        let others = || candidates.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, one)| one);
        if others().any(|other| other.strategy.id == *id && other.package.digest == *digest) {
            return Err(Usage(format!("`{id}` of package {digest} is named twice")).into());
        }
        if taken.contains(id) || others().any(|other| other.strategy.id == *id) {
            candidates[at].label = format!("{id}-{}", &digest[..DIGITS]);
        }
    }
    Ok(())
}

/// How native plugins among them may run: pool strategies apart from everything, those that share libtorch only with
/// the user's word.
pub fn settle_native(candidates: &[Candidate], args: &mut PluginArgs) -> Result<()> {
    let of = |kind: StrategyKind| candidates.iter().find(|one| one.package.kind == kind);
    let (pool, torch) = (of(StrategyKind::Native), of(StrategyKind::NativeTorch));
    if let (Some(pool), Some(torch)) = (pool, torch) {
        let message = format!(
            "`{}` runs isolated, and `{}` shares libtorch and cannot: evaluate them one after the other",
            pool.label, torch.label
        );
        return Err(Usage(message).into());
    }
    if let Some(torch) = torch.filter(|torch| !torch.is_built_in() && !args.allow_native) {
        let message = format!(
            "`{}` trains networks with libtorch in this process, so it could do whatever you can, and nothing isolates \
             it: add `--allow-native` if you trust it",
            torch.label
        );
        return Err(Usage(message).into());
    }
    args.isolate |= pool.is_some();
    Ok(())
}
