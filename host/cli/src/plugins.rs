//! Which plugins there are, and how one is made ready.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use clap::Args;
use querist_core::config::{Bytes, LimitsConfig, StrategyConfig, cores};
use querist_core::schema::Schema;
use querist_core::{Strategy, StrategyKind};
use querist_kernels::{Accelerator, Compute};
use querist_loader::composite::members::{Made, MemberError};
use querist_loader::package::combine::Member;
use querist_loader::package::trust::{LOCK_FILE, Lock, Mode, Policy};
use querist_loader::{
    Cache, Compiler, CompositeStrategy, Hosted, HostedStrategy, IsolatedStrategy, Limits, Listing, NativeStrategy,
    Resolved, Sandbox, Source, TorchBuild, WasmStrategy,
};
use querist_store::Store;
use serde_json::Value;

use crate::config_file::ConfigFile;
use crate::kept_listing;
use crate::lists;
use crate::output;
use crate::program;

/// Folders in which plugins are looked for, first come first.
pub fn folders(named: &[PathBuf]) -> Vec<(Source, PathBuf)> {
    let mut folders: Vec<(Source, PathBuf)> = named.iter().map(|dir| (Source::PluginDir, dir.clone())).collect();
    if let Some(paths) = std::env::var_os("QUERIST_PLUGIN_PATH") {
        // An empty entry is no folder, least of all the one that one works in.
        let named = std::env::split_paths(&paths).filter(|dir| !dir.as_os_str().is_empty());
        folders.extend(named.map(|dir| (Source::Environment, dir)));
    }
    folders.push((Source::Project, PathBuf::from("plugins")));
    folders.extend(user_folder().map(|dir| (Source::User, dir)));
    folders.extend(program::built_in().into_iter().map(|dir| (Source::BuiltIn, dir)));
    folders
}

/// Whether a folder is one of those of the built-in packages, by whatever name it is called.
pub fn is_built_in(folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    program::built_in().iter().any(|dir| dir.canonicalize().is_ok_and(|dir| dir == folder))
}

/// The user's own packages: `querist/plugins` in the data folder, where those lie that were installed.
fn user_folder() -> Option<PathBuf> {
    dirs::data_dir().filter(|data| data.is_absolute()).map(|data| data.join("querist/plugins"))
}

/// The store of the user's own packages.
pub fn store() -> Result<Store> {
    let folder = user_folder().context("there is no folder for your packages: set HOME or XDG_DATA_HOME")?;
    Ok(Store::at(&folder))
}

/// The keys that the user trusts. It is the user's alone: no project and no run file has a say in it.
pub fn keys_file() -> Result<PathBuf> {
    let config = dirs::config_dir().filter(|config| config.is_absolute());
    let config = config.context("there is no folder for your keys: set HOME or XDG_CONFIG_HOME")?;
    Ok(config.join("querist/trusted-keys.toml"))
}

/// Every package that can be found. Of installed versions those of the project's lock file come first.
pub fn listing(named: &[PathBuf]) -> Result<Arc<Listing>> {
    let folders = folders(named);
    kept_listing::kept(&folders, || search(&folders))
}

fn search(folders: &[(Source, PathBuf)]) -> Result<Listing> {
    let mut listing = Listing::search(folders)?;
    // One that cannot be read is an error where it decides what may run.
    if let Ok(Some(lock)) = Lock::read(Path::new(LOCK_FILE)) {
        listing.prefer(|name, digest| lock.names(name, digest));
    }
    Ok(listing)
}

/// The sandbox of this process: unknown components are compiled by a child, into the user's cache.
pub fn sandbox() -> Result<Arc<Sandbox>> {
    static MADE: Mutex<Option<Arc<Sandbox>>> = Mutex::new(None);
    // A poisoned lock only means that another thread panicked while it made one.
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sandbox) = &*made {
        return Ok(sandbox.clone());
    }
    let sandbox = new_sandbox()?;
    Ok(made.insert(sandbox).clone())
}

fn new_sandbox() -> Result<Arc<Sandbox>> {
    let cache = Cache::open(&Cache::default_folder())?;
    let mut words = program::words()?;
    words.push(COMPILE_VERB.into());
    let compiler = Compiler::Child(words);
    Ok(Arc::new(Sandbox::new(cache, compiler)?.with_notice(output::note)))
}

/// The strategy that a user means by `id`; says where that is not plain.
pub fn resolve<'a>(listing: &'a Listing, id: &str) -> Result<Resolved<'a>> {
    let resolved = listing.resolve(id)?;
    if resolved.alias {
        output::note(&format!("note: `{id}` is another name of `{}`", resolved.strategy.id));
    }
    if let Some(hidden) = resolved.hidden {
        output::note(&format!(
            "note: there are several packages `{}`; that of {} is used, not {} (`--plugin-dir` goes first, \
             PACKAGE@DIGEST/STRATEGY names one)",
            resolved.package.description.package,
            resolved.package.artifact.parent().unwrap_or(&resolved.package.artifact).display(),
            hidden.path.display()
        ));
    }
    Ok(resolved)
}

/// The hidden verb that compiles one component.
pub const COMPILE_VERB: &str = "compile-component";

/// A strategy's parameters: checked against its schema, with every default.
///
/// Problems are shown in the user's file, if the parameters come from one.
pub fn params(resolved: &Resolved<'_>, given: &Value, file: Option<(&ConfigFile, &str)>) -> Result<Value> {
    let schema = Schema::new(resolved.strategy.schema.clone())?;
    let problems = match schema.settled(given) {
        Ok(params) => return Ok(params),
        Err(problems) => problems,
    };
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

/// Where packages come from and how far they are trusted; the same for every verb that runs them.
#[derive(Debug, Clone, Default, Args)]
pub struct PluginArgs {
    /// Look for plugins here too, first.
    #[arg(long, value_name = "DIR")]
    pub plugin_dir: Vec<PathBuf>,
    /// Let native packages that are locked run in this process.
    #[arg(long)]
    pub allow_native: bool,
    /// Run native packages in a worker process that can reach nothing.
    #[arg(long)]
    pub isolate: bool,
    /// Refuse packages that are not exactly those of querist.lock.
    #[arg(long)]
    pub locked: bool,
}

impl PluginArgs {
    /// What these flags allow, with the lock file of the working folder.
    pub fn policy(&self) -> Result<Policy> {
        let lock = Lock::read(Path::new(LOCK_FILE))?;
        let Self { allow_native, isolate, locked, .. } = *self;
        Ok(Policy { allow_native, isolate, locked, lock, built_in: program::built_in() })
    }

    /// The same flags for another process of this program.
    pub fn to_args(&self) -> Result<Vec<OsString>> {
        let mut args = Vec::new();
        for dir in &self.plugin_dir {
            args.extend(["--plugin-dir".into(), std::path::absolute(dir)?.into_os_string()]);
        }
        for (given, flag) in
            [(self.allow_native, "--allow-native"), (self.isolate, "--isolate"), (self.locked, "--locked")]
        {
            args.extend(given.then(|| flag.into()));
        }
        Ok(args)
    }
}

/// What one query may use, and which packages answer it: the same for every verb that asks about arrays of the user's.
#[derive(Debug, Clone, Args)]
pub struct QueryArgs {
    /// Threads of the kernels [default: all cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Memory of the plugin, and again as much for host objects made for it.
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    pub memory: Bytes,
    /// Wall-clock seconds of one query at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600.0, value_parser = seconds)]
    pub seconds: f64,
    #[command(flatten)]
    pub plugins: PluginArgs,
}

impl QueryArgs {
    /// Limits of one query.
    pub fn limits(&self) -> LimitsConfig {
        LimitsConfig { memory: self.memory, seconds: self.seconds, fuel: None }
    }

    /// Threads of kernels.
    pub fn threads(&self) -> usize {
        self.threads.unwrap_or_else(cores)
    }
}

/// A strategy that is ready to be asked, with its complete parameters.
pub struct Ready {
    /// The strategy.
    pub strategy: Box<dyn Strategy>,
    /// Its parameters with every default.
    pub params: Value,
}

/// What a strategy may use.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Limits of a query.
    pub limits: &'a LimitsConfig,
    /// Threads of kernels.
    pub threads: usize,
    /// The device of kernels beside the CPU, if there is one.
    pub accelerator: Option<&'a Arc<dyn Accelerator>>,
    /// The libtorch of this process, where it has one.
    pub torch: Option<&'a TorchBuild>,
}

/// Finds, checks and loads the strategy of a config. `file` is where its parameters stand, for messages.
pub fn ready(
    config: &StrategyConfig,
    means: Means<'_>,
    args: &PluginArgs,
    file: Option<(&ConfigFile, &str)>,
) -> Result<Ready> {
    let listing = listing(&args.plugin_dir)?;
    let resolved = resolve(&listing, &config.id)?;
    let mut given = Value::Object(config.params.clone());
    let schema = Schema::new(resolved.strategy.schema.clone())?;
    if let Some((file, pointer)) = file {
        file.restore_texts(&mut given, pointer, &schema);
    }
    lists::read(&mut given, &resolved.strategy.schema)?;
    let params = params(&resolved, &given, file)?;
    let strategy = load(resolved, &params, means, args)?;
    Ok(Ready { strategy, params })
}

/// [`ready`] for a strategy of the program that calls, where there is one.
pub fn ready_or_hosted(
    hosted: Option<&Hosted>,
    config: &StrategyConfig,
    means: Means<'_>,
    args: &PluginArgs,
) -> Result<Ready> {
    let Some(hosted) = hosted else { return ready(config, means, args, None) };
    let mut given = Value::Object(config.params.clone());
    let resolved = hosted.resolved();
    lists::read(&mut given, &resolved.strategy.schema)?;
    let params = params(&resolved, &given, None)?;
    let compute = Compute { threads: means.threads, accelerator: means.accelerator.cloned() };
    let strategy = Box::new(HostedStrategy::load(hosted, &params, Limits::from(means.limits), compute)?);
    Ok(Ready { strategy, params })
}

/// Loads a strategy the way that its package and the user's word allow. `params` are complete.
pub fn load(resolved: Resolved<'_>, params: &Value, means: Means<'_>, args: &PluginArgs) -> Result<Box<dyn Strategy>> {
    let mode = args.policy()?.mode(&resolved)?;
    let (limits, threads) = (Limits::from(means.limits), means.threads);
    let compute = Compute { threads, accelerator: means.accelerator.cloned() };
    Ok(match mode {
        Mode::Sandboxed => Box::new(WasmStrategy::load(sandbox()?, resolved, params, limits, compute)?),
        Mode::InProcess => Box::new(NativeStrategy::load(resolved, params, limits, compute, means.torch)?),
        Mode::Isolated => {
            let is_wanted = || !crate::progress::stopped();
            Box::new(IsolatedStrategy::start(worker()?, resolved, params, limits, threads, &is_wanted)?)
        }
        Mode::Composed => Box::new(compose(resolved, params, means, args)?),
    })
}

/// Loads a strategy made of others.
pub fn compose(
    resolved: Resolved<'_>,
    params: &Value,
    means: Means<'_>,
    args: &PluginArgs,
) -> Result<CompositeStrategy> {
    let mut make = |wanted: &Member| member(wanted, means, args);
    let compute = Compute { threads: means.threads, accelerator: means.accelerator.cloned() };
    Ok(CompositeStrategy::load(resolved, params, Limits::from(means.limits), compute, &mut make)?)
}

/// A member of a strategy made of others.
pub fn member(member: &Member, means: Means<'_>, args: &PluginArgs) -> Result<Made, MemberError> {
    let listing = listing(&args.plugin_dir)?;
    let resolved = listing.resolve(&member.id)?;
    if resolved.package.kind == StrategyKind::Composite {
        return Err("it is made of others itself, which members may not be".into());
    }
    let params = params(&resolved, &Value::Object(member.params.clone()), None)?;
    let strategy = load(resolved, &params, means, args)?;
    Ok(Made { strategy, description: resolved.strategy.clone() })
}

/// Reads the seconds that a query may take.
///
/// # Errors
/// If it is no number above 0 and up to ten million.
pub fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number is expected".to_owned())?;
    if seconds > 0.0 && seconds <= 1e7 { Ok(seconds) } else { Err("a number above 0, at most 10000000".to_owned()) }
}

/// The hidden verb of a worker process.
pub const WORKER_VERB: &str = "plugin-worker";

/// How a worker process is started.
pub fn worker() -> Result<Vec<OsString>> {
    let mut words = program::words()?;
    words.push(WORKER_VERB.into());
    Ok(words)
}
