//! `querist plugin`: list, show, check, pack and lock plugins.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use querist_core::config::LimitsConfig;
use querist_loader::package::read::{CheckedPackage, read_package};
use querist_loader::package::trust::{LOCK_FILE, Lock, Locked};
use querist_loader::{Found, Listing, Resolved, Source, pack};
use querist_protocol::Shown;
use querist_store::store::Record;
use serde_json::{Value, json};

use crate::commands::parameters::{Parameters, printable};
use crate::commands::{about, bench, build, check, inspect, install, new, search, trust};
use crate::exit::Usage;
use crate::plugins::{Means, PluginArgs};
use crate::trainer::Trainer;
use crate::{output, plugins};

/// Find out about plugins, write, check and pack them.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List every strategy that can be found, and why a package cannot be used.
    #[command(after_help = "Example:\n  querist plugin list --format json")]
    List {
        /// Look for plugins here too, first.
        #[arg(long, value_name = "DIR")]
        plugin_dir: Vec<PathBuf>,
        /// Form of the list.
        #[arg(long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
    },
    /// Show one strategy: what it needs, its parameters, its paper.
    #[command(after_help = "Example:\n  querist plugin show badge")]
    Show {
        /// Id of the strategy.
        id: String,
        /// Look for plugins here too, first.
        #[arg(long, value_name = "DIR")]
        plugin_dir: Vec<PathBuf>,
        /// Form of the answer.
        #[arg(long, value_enum, default_value_t = ShowFormat::Table)]
        format: ShowFormat,
    },
    /// Write a small project for a strategy of your own.
    #[command(after_help = "Example:\n  querist plugin new my-strategy --lang python")]
    New(new::NewArgs),
    /// Check whether a plugin does what every strategy must do.
    #[command(after_help = "Example:\n  querist plugin check target/wasm32-unknown-unknown/release/mine.wasm")]
    Check(check::CheckArgs),
    /// Build a project with its own tools, and make a package of it.
    #[command(after_help = "Example:\n  querist plugin build margin-apart")]
    Build(build::BuildArgs),
    /// Show what can be seen of a plugin without running any of it: imports, versions, schemas, digests.
    #[command(after_help = "Example:\n  querist plugin inspect downloads/their-strategy.wasm")]
    Inspect(inspect::InspectArgs),
    /// Time a plugin beside others on the same made-up pools: its own code, kernels, copies, and how they grow.
    #[command(after_help = "Example:\n  querist plugin bench plugins/margin-apart --against random,badge")]
    Bench(bench::BenchArgs),
    /// Make a package of what cargo built for wasm32-unknown-unknown, or of a native library.
    #[command(
        after_help = "Example:\n  querist plugin pack target/wasm32-unknown-unknown/release/mine.wasm --out plugins"
    )]
    Pack {
        /// Core modules, components, native libraries, or texts that make strategies of others (.toml).
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Look for plugins here too, first.
        #[arg(long, value_name = "DIR")]
        plugin_dir: Vec<PathBuf>,
        /// Folder in which each package gets a folder of its own.
        #[arg(long, value_name = "DIR", default_value = "plugins")]
        out: PathBuf,
        /// Run the code of native libraries in this process, to have them describe themselves.
        #[arg(long)]
        allow_native: bool,
        /// Form of the answer.
        #[arg(long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
        #[command(flatten)]
        about: about::AboutArgs,
    },
    Install(install::InstallArgs),
    Remove(install::RemoveArgs),
    Verify(trust::VerifyArgs),
    Trust(trust::TrustArgs),
    Search(search::SearchArgs),
    /// Write the very packages that this project uses to querist.lock.
    #[command(after_help = "Example:\n  querist plugin lock vaal --plugin-dir ../their-plugins")]
    Lock {
        /// Packages, or one version as NAME@DIGEST [default: all that can be used and are not built in].
        #[arg(value_name = "PACKAGE")]
        packages: Vec<String>,
        /// Look for plugins here too, first.
        #[arg(long, value_name = "DIR")]
        plugin_dir: Vec<PathBuf>,
        /// Form of the answer.
        #[arg(long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
    },
}

impl PluginCommand {
    /// Whether only the executable with libtorch can do it.
    pub fn needs_libtorch(&self) -> bool {
        match self {
            Self::Pack { files, .. } => files.iter().any(|file| pack::shares_torch(file)),
            Self::Check(args) => args.needs_libtorch(),
            _ => false,
        }
    }
}

/// Forms of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Forms of one strategy's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShowFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For pages.
    Markdown,
}

/// Runs the verb.
pub fn main(command: &PluginCommand, trainer: Option<&dyn Trainer>) -> Result<()> {
    match command {
        PluginCommand::New(args) => new::main(args),
        PluginCommand::Build(args) => build::main(args),
        PluginCommand::Inspect(args) => inspect::main(args),
        PluginCommand::Bench(args) => bench::main(args),
        PluginCommand::Check(args) => check::main(args, trainer),
        PluginCommand::List { plugin_dir, format } => list(plugin_dir, *format),
        PluginCommand::Show { id, plugin_dir, format } => show(id, plugin_dir, *format),
        PluginCommand::Pack { files, plugin_dir, out, allow_native, about, format } => {
            let sandbox = plugins::sandbox()?;
            let mut rows = Vec::new();
            for file in files {
                if about.is_given() && (pack::is_native(file) || pack::is_composite(file)) {
                    let message = format!("{}: only a component holds what registries show", shown(file));
                    return Err(Usage(message).into());
                }
                let packed = match (pack::is_native(file), allow_native) {
                    (false, _) if pack::is_composite(file) => {
                        let limits = LimitsConfig::default();
                        let means = Means { limits: &limits, threads: 1, accelerator: None, torch: None };
                        let args = PluginArgs { plugin_dir: plugin_dir.clone(), ..PluginArgs::default() };
                        pack::pack_composite(file, out, &mut |member| plugins::member(member, means, &args))
                    }
                    (false, _) => pack::pack(file, out, &about.of(file), &sandbox),
                    (true, true) => pack::pack_native(file, out, trainer.and_then(Trainer::torch).as_ref()),
                    (true, false) => {
                        let message = format!(
                            "{} is native code, and packing runs it: add `--allow-native` if you trust it",
                            file.display()
                        );
                        return Err(Usage(message).into());
                    }
                };
                let folder = packed
                    .map_err(|error| anyhow::Error::new(error).context(format!("cannot pack {}", file.display())))?;
                match format {
                    ListFormat::Table => output::line(output::shown(&folder.to_string_lossy()).as_str())?,
                    ListFormat::Json => rows.push(packed_row(&folder)?),
                }
            }
            if *format == ListFormat::Json {
                output::line(&serde_json::to_string_pretty(&rows)?)?;
            }
            Ok(())
        }
        PluginCommand::Install(args) => install::install(args),
        PluginCommand::Remove(args) => install::remove(args),
        PluginCommand::Verify(args) => trust::verify(args),
        PluginCommand::Trust(args) => trust::trust(args),
        PluginCommand::Search(args) => search::main(args),
        PluginCommand::Lock { packages, plugin_dir, format } => lock(packages, plugin_dir, *format),
    }
}

/// What was packed, for programs.
fn packed_row(folder: &Path) -> Result<Value> {
    let package = read_package(folder)?;
    let d = &package.description;
    let ids: Vec<&str> = d.strategies.iter().map(|strategy| strategy.id.as_str()).collect();
    Ok(json!({
        "package": d.package, "version": d.version, "kind": package.kind, "digest": package.digest,
        "folder": shown(folder),
        "artifact": shown(&package.artifact), "strategies": ids,
    }))
}

fn lock(wanted: &[String], plugin_dir: &[PathBuf], format: ListFormat) -> Result<()> {
    // Whoever names a package means the newest version, not the one that is locked.
    let listing = match wanted {
        [] => plugins::listing(plugin_dir)?,
        _ => Arc::new(Listing::search(&plugins::folders(plugin_dir))?),
    };
    let path = Path::new(LOCK_FILE);
    let mut lock = Lock::read(path)?.unwrap_or_default();
    let mut entries: Vec<Locked> = Vec::new();
    for wanted in wanted {
        let (name, digest) = wanted.split_once('@').unwrap_or((wanted, ""));
        let is_meant = |package: &CheckedPackage| {
            package.description.package == name && package.digest.starts_with(digest.trim_start_matches("sha256:"))
        };
        // Of several packages of one name the first is the one that would be used.
        match listing.usable().find(|(_, package)| is_meant(package)) {
            Some((_, package)) => entries.push(Locked::of(package)?),
            None => {
                let message = format!("no usable package is called `{wanted}`; `querist plugin list` shows all");
                return Err(Usage(message).into());
            }
        }
    }
    if wanted.is_empty() {
        for (_, package) in listing.usable().filter(|(found, _)| found.source != Source::BuiltIn) {
            if entries.iter().all(|first| first.name != package.description.package) {
                entries.push(Locked::of(package)?);
            }
        }
    }
    let rows = serde_json::to_string_pretty(&entries)?;
    let lines = entries.iter().map(|one| format!("{} {} ({}) {}\n", one.name, one.version, one.kind, one.artifact));
    let lines: String = lines.collect();
    lock.put(entries);
    lock.write(path)?;
    match format {
        ListFormat::Table => output::text(&lines),
        ListFormat::Json => output::line(&rows),
    }
}

fn list(plugin_dir: &[PathBuf], format: ListFormat) -> Result<()> {
    let listing = plugins::listing(plugin_dir)?;
    if format == ListFormat::Json {
        let rows: Vec<Value> = listing.found.iter().flat_map(json_rows).collect();
        return output::line(&serde_json::to_string_pretty(&rows)?);
    }
    let mut rows = vec![["STRATEGY", "PACKAGE", "VERSION", "KIND", "FROM", "NEEDS"].map(str::to_owned).to_vec()];
    for (found, package) in listing.usable() {
        let d = &package.description;
        rows.extend(d.strategies.iter().map(|s| {
            let needs = if s.needs.is_empty() { "-".to_owned() } else { s.needs.join(", ") };
            vec![s.id.clone(), d.package.clone(), d.version.clone(), package.kind.to_string(), from(found), needs]
        }));
    }
    let mut text = columns(&rows);
    for found in listing.found.iter().filter(|found| found.package().is_err()) {
        if let Err(refused) = found.package() {
            text += &format!("refused {}: {}\n", Shown::sentence(&found.path.to_string_lossy()), refused.reason);
        }
    }
    output::text(&text)
}

/// A path in JSON, which has no bytes beyond UTF-8.
fn shown(path: &Path) -> String {
    output::shown(&path.to_string_lossy()).into_string()
}

fn from(found: &Found) -> String {
    match found.source {
        Source::PluginDir => "--plugin-dir",
        Source::Environment => "QUERIST_PLUGIN_PATH",
        Source::Project => "project",
        Source::User if found.installed.is_some() => "installed",
        Source::User => "user",
        Source::BuiltIn => "built-in",
    }
    .to_owned()
}

fn json_rows(found: &Found) -> Vec<Value> {
    match found.package() {
        Ok(package) => {
            let d = &package.description;
            let record = found.installed.as_ref().and_then(|_| Record::of(&found.path));
            let row = |s: &querist_protocol::StrategyDescription| {
                json!({
                    "id": s.id, "package": d.package, "version": d.version, "kind": package.kind,
                    "digest": package.digest, "needs": s.needs, "status": "ok", "reason": null, "aliases": s.aliases,
                    "summary": s.summary, "from": from(found), "path": shown(&found.path), "installed": record,
                })
            };
            d.strategies.iter().map(row).collect()
        }
        Err(refused) => {
            let name = found.path.file_stem().map(|name| Shown::name(&name.to_string_lossy()).into_string());
            vec![json!({
                "id": null, "package": name, "version": null, "kind": null, "digest": null, "needs": [],
                "status": "refused", "reason": refused.reason.as_str(), "aliases": [], "summary": null,
                "from": from(found), "path": shown(&found.path), "installed": null,
            })]
        }
    }
}

fn show(id: &str, plugin_dir: &[PathBuf], format: ShowFormat) -> Result<()> {
    let listing = plugins::listing(plugin_dir)?;
    let resolved = listing.resolve(id)?;
    let (strategy, package): (_, &CheckedPackage) = (resolved.strategy, resolved.package);
    if format == ShowFormat::Markdown {
        return output::text(&markdown(resolved)?);
    }
    if format == ShowFormat::Json {
        let value = json!({
            "package": package.description.package, "version": package.description.version, "kind": package.kind,
            "digest": package.digest, "artifact": shown(&package.artifact), "strategy": strategy,
        });
        return output::line(&serde_json::to_string_pretty(&value)?);
    }
    let may_need = match strategy.may_need.as_slice() {
        [] => String::new(),
        more => format!("may need {}\n", printable(&more.join(", "))),
    };
    let list = |items: &[String]| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let mut text = format!(
        "{} - {}\n\npaper    {}\npackage  {} {} ({})\ndigest   {}\nneeds    {}\n{may_need}aliases  {}\ncost     {}\n",
        strategy.id,
        printable(&strategy.summary),
        printable(&strategy.paper),
        package.description.package,
        package.description.version,
        package.kind,
        package.digest,
        list(&strategy.needs),
        printable(&list(&strategy.aliases)),
        if strategy.cost.is_empty() { "unknown".to_owned() } else { printable(&strategy.cost) },
    );
    let parameters = Parameters::of(&strategy.schema)?;
    let presets = parameters.presets();
    if !presets.is_empty() {
        text += "\nPresets\n";
        text += &columns(&indented(presets.into_iter().map(|[name, text, sets]| [name, sets, text])));
    }
    let rows = parameters.rows();
    text += if rows.is_empty() { "\nNo parameters.\n" } else { "\nParameters\n" };
    text += &columns(&indented(rows));
    output::text(&text)
}

/// A section of a page.
fn markdown(resolved: Resolved<'_>) -> Result<String> {
    let strategy = resolved.strategy;
    let code = |items: &[String]| items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ");
    let mut text = format!("### `{}`\n\n{}.\n\n", strategy.id, printable(strategy.summary.trim_end_matches('.')));
    text += &format!("- Paper: {}\n", printable(&strategy.paper));
    if !strategy.aliases.is_empty() {
        text += &format!("- Also called: {}\n", printable(&code(&strategy.aliases)));
    }
    text += &match strategy.needs.as_slice() {
        [] => "- Needs: no arrays\n".to_owned(),
        needs => format!("- Needs: {}\n", printable(&code(needs))),
    };
    if !strategy.may_need.is_empty() {
        text += &format!("- With other parameters it may need: {}\n", printable(&code(&strategy.may_need)));
    }
    if !strategy.cost.is_empty() {
        text += &format!("- Cost: {}\n", printable(&strategy.cost));
    }
    let parameters = Parameters::of(&strategy.schema)?;
    let rows = parameters.rows();
    if rows.is_empty() {
        return Ok(text + "- No parameters\n");
    }
    text += &table(["parameter", "default", "values", ""], &rows);
    let presets = parameters.presets();
    if !presets.is_empty() {
        text += &table(["preset", "", "sets"], &presets);
    }
    Ok(text)
}

/// A table of Markdown, whose first column are names.
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut text = format!("\n| {} |\n|{}\n", head.join(" | "), " --- |".repeat(N));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.trim().replace('|', "\\|")).collect();
        text += &format!("| `{}` | {} |\n", cells[0], cells[1..].join(" | "));
    }
    text
}

/// Rows whose first cell is set in by two spaces.
fn indented<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> Vec<Vec<String>> {
    let row = |mut row: [String; N]| {
        row[0].insert_str(0, "  ");
        row.to_vec()
    };
    rows.into_iter().map(row).collect()
}

/// Left-aligned columns; the last is not padded.
fn columns(rows: &[Vec<String>]) -> String {
    let shown = |row: &Vec<String>| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = rows.iter().map(shown).collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
