//! Which plugins there are, and how one is made ready.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use querist_core::config::{LimitsConfig, StrategyConfig};
use querist_core::schema::Schema;
use querist_loader::cache::Cache;
use querist_loader::{Compiler, Limits, Listing, Resolved, Sandbox, Source, WasmStrategy};
use serde_json::Value;

use crate::config_file::ConfigFile;

/// Folders in which plugins are looked for, first come first.
pub fn folders(named: &[PathBuf]) -> Vec<(Source, PathBuf)> {
    let mut folders: Vec<(Source, PathBuf)> = named.iter().map(|dir| (Source::PluginDir, dir.clone())).collect();
    if let Some(paths) = std::env::var_os("QUERIST_PLUGIN_PATH") {
        folders.extend(std::env::split_paths(&paths).map(|dir| (Source::Environment, dir)));
    }
    folders.push((Source::Project, PathBuf::from("plugins")));
    if let Some(data) = dirs::data_dir() {
        folders.push((Source::User, data.join("querist/plugins")));
    }
    folders.extend(built_in().map(|dir| (Source::BuiltIn, dir)));
    folders
}

/// The packages installed with this program: `plugins/` beside it, or `../lib/querist/plugins`.
fn built_in() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    let folder = program.parent()?;
    [folder.join("plugins"), folder.join("../lib/querist/plugins")].into_iter().find(|dir| dir.is_dir())
}

/// Every package that can be found.
pub fn listing(named: &[PathBuf]) -> Result<Listing> {
    Ok(Listing::search(&folders(named))?)
}

/// The sandbox of this process: unknown components are compiled by a child, into the user's cache.
pub fn sandbox() -> Result<Arc<Sandbox>> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let cache = Cache::open(&Cache::default_folder())?;
    Ok(Arc::new(Sandbox::new(cache, Compiler::Child(program, vec![COMPILE_VERB.to_owned()]))?))
}

/// The hidden verb that compiles one component.
pub const COMPILE_VERB: &str = "compile-component";

/// A strategy's parameters: checked against its schema, with every default.
///
/// Problems are shown in the user's file, if the parameters come from one.
pub fn params(resolved: &Resolved<'_>, given: &Value, file: Option<(&ConfigFile, &str)>) -> Result<Value> {
    let schema = Schema::new(resolved.strategy.schema.clone())?;
    let problems = schema.problems(given);
    if problems.is_empty() {
        return Ok(schema.with_defaults(given));
    }
    if let Some((file, pointer)) = file {
        return Err(file.report(&problems, pointer).into());
    }
    let lines: Vec<String> = problems
        .iter()
        .map(|p| {
            let place = p.pointer.trim_start_matches('/').replace('/', ".");
            let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
            let help = p.help.as_deref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("  {place}{}{help}", p.message)
        })
        .collect();
    Err(anyhow::Error::new(crate::exit::Usage(format!(
        "parameters of strategy `{}`:\n{}",
        resolved.strategy.id,
        lines.join("\n")
    ))))
}

/// A strategy that is ready to be asked, with its complete parameters.
pub struct Ready {
    /// The strategy.
    pub strategy: WasmStrategy,
    /// Its parameters with every default.
    pub params: Value,
}

/// Finds, checks and loads the strategy of a config. `file` is where its parameters stand, for messages.
pub fn ready(
    config: &StrategyConfig,
    limits: &LimitsConfig,
    threads: usize,
    named: &[PathBuf],
    file: Option<(&ConfigFile, &str)>,
) -> Result<Ready> {
    let listing = listing(named)?;
    let resolved = listing.resolve(&config.id).map_err(|error| crate::exit::Usage(error.to_string()))?;
    if resolved.alias {
        eprintln!("note: `{}` is another name of `{}`", config.id, resolved.strategy.id);
    }
    let params = params(&resolved, &Value::Object(config.params.clone()), file)?;
    let strategy = WasmStrategy::load(sandbox()?, resolved, &params, Limits::from(limits), threads)?;
    Ok(Ready { strategy, params })
}
