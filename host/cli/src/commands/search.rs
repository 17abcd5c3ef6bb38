//! `querist plugin search`: what a registry has, and what of it this host can use.

use anyhow::Result;
use clap::Args;
use querist_protocol::Shown;
use querist_store::registry::Entry;
use querist_store::{Client, Registry};
use serde_json::{Value, json};

use crate::commands::plugin::ListFormat;
use crate::output;

/// Search a registry of plugins, and see which versions this program can use.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist plugin search margin --registry https://lab.org/plugins")]
pub struct SearchArgs {
    /// A part of the name or summary [default: all plugins].
    #[arg(value_name = "TERM", default_value = "")]
    term: String,
    /// The registry: a folder, or the address of one.
    #[arg(long, value_name = "DIR|URL")]
    registry: String,
    /// Let the server lead to this host.
    #[arg(long, value_name = "HOST")]
    allow_host: Vec<String>,
    /// Form of the list.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

/// Runs the verb.
pub fn main(args: &SearchArgs) -> Result<()> {
    let client = Client::new(&args.allow_host);
    let registry = Registry::open(&args.registry, &client)?;
    let mut found = Vec::new();
    for name in registry.names()? {
        let entry = registry.entry(&name)?;
        if entry.matches(&args.term) {
            found.push(entry);
        }
    }
    if args.format == ListFormat::Json {
        return output::line(&serde_json::to_string_pretty(&found.iter().map(row).collect::<Vec<_>>())?);
    }
    for entry in &found {
        output::text(&text(entry))?;
    }
    if found.is_empty() {
        output::note(&format!("nothing in this registry is called or says `{}`", Shown::name(&args.term)));
    }
    Ok(())
}

fn text(entry: &Entry) -> String {
    let choice = entry.newest();
    let fits = match choice.release {
        Some(release) => format!("{} ({}, commit {})", release.version, release.kind, short(&release.commit)),
        None => "no version fits this host".to_owned(),
    };
    let mut lines = vec![
        format!("{} {fits} - {}", entry.name, Shown::sentence(&entry.summary)),
        format!("  source   {}", Shown::sentence(&entry.source)),
    ];
    if !entry.license.is_empty() {
        lines.push(format!("  licence  {}", Shown::name(&entry.license)));
    }
    let passed = choice.passed_over.iter();
    lines.extend(passed.map(|(release, why)| format!("  not {}: {why}", Shown::name(&release.version))));
    lines.iter().map(|line| output::shown(line).into_string() + "\n").collect()
}

fn short(commit: &str) -> Shown {
    Shown::name(commit.get(..12).unwrap_or(commit))
}

fn row(entry: &Entry) -> Value {
    let choice = entry.newest();
    let passed = choice.passed_over.iter();
    let passed = passed.map(|(release, why)| json!({ "version": release.version, "reason": why.as_str() }));
    json!({
        "name": entry.name, "summary": entry.summary, "source": entry.source, "license": entry.license,
        "version": choice.release.map(|release| &release.version),
        "commit": choice.release.map(|release| &release.commit),
        "digest": choice.release.map(|release| &release.digest),
        "passed_over": passed.collect::<Vec<_>>(),
    })
}
