//! `querist plugin`: list, show and pack plugins.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};
use querist_loader::manifest::CheckedPackage;
use querist_loader::{Found, Source, pack};
use serde_json::{Value, json};

use crate::{output, plugins};

/// Find out about plugins, and make packages.
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
        #[arg(long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
    },
    /// Make a package of what cargo built for wasm32-unknown-unknown.
    #[command(
        after_help = "Example:\n  querist plugin pack target/wasm32-unknown-unknown/release/mine.wasm --out plugins"
    )]
    Pack {
        /// Core modules or components.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Folder in which each package gets a folder of its own.
        #[arg(long, value_name = "DIR", default_value = "plugins")]
        out: PathBuf,
    },
}

/// Forms of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Runs the verb.
pub fn main(command: &PluginCommand) -> Result<()> {
    match command {
        PluginCommand::List { plugin_dir, format } => list(plugin_dir, *format),
        PluginCommand::Show { id, plugin_dir, format } => show(id, plugin_dir, *format),
        PluginCommand::Pack { files, out } => {
            let sandbox = plugins::sandbox()?;
            for file in files {
                let folder = pack::pack(file, out, &sandbox)
                    .map_err(|error| anyhow::Error::new(error).context(format!("cannot pack {}", file.display())))?;
                output::line(&folder.display().to_string())?;
            }
            Ok(())
        }
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
    for found in listing.found.iter().filter(|found| found.package.is_err()) {
        if let Err(refused) = &found.package {
            text += &format!("refused {}: {}\n", found.path.display(), printable(&refused.reason));
        }
    }
    output::text(&text)
}

fn from(found: &Found) -> String {
    match found.source {
        Source::PluginDir => "--plugin-dir",
        Source::Environment => "QUERIST_PLUGIN_PATH",
        Source::Project => "project",
        Source::User => "user",
        Source::BuiltIn => "built-in",
    }
    .to_owned()
}

fn json_rows(found: &Found) -> Vec<Value> {
    match &found.package {
        Ok(package) => {
            let d = &package.description;
            let row = |s: &querist_protocol::StrategyDescription| {
                json!({
                    "id": s.id, "package": d.package, "version": d.version, "kind": package.kind,
                    "digest": package.digest, "needs": s.needs, "status": "ok", "reason": null,
                })
            };
            d.strategies.iter().map(row).collect()
        }
        Err(refused) => {
            let name = found.path.file_stem().map(|name| name.to_string_lossy().into_owned());
            vec![json!({
                "id": null, "package": name, "version": null, "kind": null, "digest": null, "needs": [],
                "status": "refused", "reason": refused.reason,
            })]
        }
    }
}

fn show(id: &str, plugin_dir: &[PathBuf], format: ListFormat) -> Result<()> {
    let listing = plugins::listing(plugin_dir)?;
    let resolved = listing.resolve(id).map_err(|error| crate::exit::Usage(error.to_string()))?;
    let (strategy, package): (_, &CheckedPackage) = (resolved.strategy, resolved.package);
    if format == ListFormat::Json {
        let value = json!({
            "package": package.description.package, "version": package.description.version, "kind": package.kind,
            "digest": package.digest, "artifact": package.artifact, "strategy": strategy,
        });
        return output::line(&serde_json::to_string_pretty(&value)?);
    }
    let list = |items: &[String]| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let mut text = format!(
        "{} - {}\n\npaper    {}\npackage  {} {} ({})\ndigest   {}\nneeds    {}\naliases  {}\n",
        strategy.id,
        printable(&strategy.summary),
        printable(&strategy.paper),
        package.description.package,
        package.description.version,
        package.kind,
        package.digest,
        list(&strategy.needs),
        printable(&list(&strategy.aliases)),
    );
    let parameters = parameter_rows(&strategy.schema);
    if parameters.is_empty() {
        text += "\nNo parameters.\n";
    } else {
        text += "\nParameters\n";
        text += &columns(&parameters);
    }
    output::text(&text)
}

/// Name, default, allowed values and meaning of each parameter.
fn parameter_rows(schema: &Value) -> Vec<Vec<String>> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let row = |(name, property): (&String, &Value)| {
        let target = property
            .get("$ref")
            .or_else(|| property.pointer("/anyOf/0/$ref"))
            .and_then(Value::as_str)
            .and_then(|reference| schema.pointer(reference.trim_start_matches('#')))
            .unwrap_or(property);
        let default = property.get("default").filter(|d| !d.is_null()).map_or("-".to_owned(), Value::to_string);
        let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default();
        vec![format!("  {}", printable(name)), printable(&default), allowed(target), printable(meaning)]
    };
    properties.iter().map(row).collect()
}

fn allowed(schema: &Value) -> String {
    let choices = schema.get("oneOf").or_else(|| schema.get("enum")).and_then(Value::as_array);
    if let Some(choices) = choices {
        let choice = |c: &Value| c.get("const").unwrap_or(c).to_string();
        return printable(&choices.iter().map(choice).collect::<Vec<_>>().join(" | "));
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).filter(|k| *k != "null").collect(),
        _ => "any".to_owned(),
    };
    let bound = |key: &str| schema.get(key).map(Value::to_string);
    printable(&match (bound("minimum"), bound("maximum")) {
        (Some(low), Some(high)) => format!("{kind} {low} to {high}"),
        (Some(low), None) => format!("{kind} from {low}"),
        (None, Some(high)) => format!("{kind} up to {high}"),
        (None, None) => kind,
    })
}

/// Text of a package without characters that steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Left-aligned columns; the last is not padded.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
