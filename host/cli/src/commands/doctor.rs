//! `querist doctor`: what the program found on this machine.

use std::fmt::Display;

use anyhow::Result;
use clap::Args;
use querist_loader::Cache;
use querist_protocol::Shown;
use serde_json::{Value, json};

use crate::commands::plugin::ListFormat;
use crate::{output, plugins, trainer};

/// Bytes that are shown at most.
const MOST_BYTES: usize = 64 << 10;

/// Say what this program found on this machine, and what is missing.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  querist doctor")]
pub struct DoctorArgs {
    /// Form of the answer.
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

/// What was found, with what is missing in its place.
struct Finding {
    /// What was looked for.
    name: &'static str,
    found: Result<String, String>,
}

impl Finding {
    fn new(name: &'static str, found: Result<impl Display, impl Display>) -> Self {
        // Names of folders come from the surroundings, and errors from libraries.
        let shown = |text: String| Shown::lines(&text, MOST_BYTES).into_string();
        let found = found.map(|found| shown(found.to_string())).map_err(|problem| shown(problem.to_string()));
        Self { name, found }
    }

    fn line(&self) -> String {
        match &self.found {
            Ok(found) => format!("{:<12} {found}\n", self.name),
            Err(problem) => format!("{:<12} PROBLEM: {problem}\n", self.name),
        }
    }

    fn value(&self) -> Value {
        match &self.found {
            Ok(found) => json!({ "name": self.name, "found": found, "problem": null }),
            Err(problem) => json!({ "name": self.name, "found": null, "problem": problem }),
        }
    }
}

/// Runs the verb.
pub fn main(args: &DoctorArgs) -> Result<()> {
    let findings = findings()?;
    if args.format == ListFormat::Json {
        let folders: Vec<Value> = plugins::folders(&[])
            .iter()
            .map(|(source, folder)| {
                let shown = querist_files::shown(folder);
                json!({ "source": format!("{source:?}"), "folder": shown.as_str(), "there": folder.is_dir() })
            })
            .collect();
        let findings: Vec<Value> = findings.iter().map(Finding::value).collect();
        let all = json!({ "findings": findings, "plugin_folders": folders });
        return output::line(&serde_json::to_string_pretty(&all)?);
    }
    let mut text: String = findings.iter().map(Finding::line).collect();
    for (source, folder) in plugins::folders(&[]) {
        let state = if folder.is_dir() { "" } else { " (not there)" };
        text += &format!("{:<12} {source:?}: {}{state}\n", "", querist_files::shown(&folder));
    }
    output::text(&text)
}

fn findings() -> Result<Vec<Finding>> {
    let mut findings = vec![Finding::new("querist", Ok::<_, String>(env!("CARGO_PKG_VERSION")))];
    match trainer::describe() {
        // A line each: its name, blanks, what it is.
        Ok(text) => findings.extend(text.lines().filter_map(|line| {
            let name = ["libtorch", "GPU", "ONNX Runtime"].into_iter().find(|name| line.starts_with(name))?;
            Some(Finding::new(name, Ok::<_, String>(line[name.len()..].trim())))
        })),
        Err(error) => findings.push(Finding::new("libtorch", Err::<String, _>(format!("{error:#}")))),
    }
    findings.push(Finding::new("cores", Ok::<_, String>(std::thread::available_parallelism().map_or(1, usize::from))));
    let cache = Cache::default_folder();
    findings.push(Finding::new("cache", Cache::open(&cache).map(|_| cache.display().to_string())));
    let search = querist_data::Search::from_env();
    let datasets = search.cache().map(|folder| folder.display().to_string());
    findings.push(Finding::new("datasets", datasets.ok_or("no folder is known; set QUERIST_DATA")));
    let listing = plugins::listing(&[])?;
    let strategies: usize = listing.usable().map(|(_, package)| package.description.strategies.len()).sum();
    let none = "none found; `cargo xtask build` builds those of this repository";
    let found = format!("{strategies} strategies in {} packages", listing.usable().count());
    findings.push(Finding::new("plugins", if strategies == 0 { Err(none) } else { Ok(found) }));
    let refused = listing.found.iter().filter(|found| found.package().is_err()).count();
    if refused > 0 {
        let refused = format!("{refused} packages cannot be used: `querist plugin list` says why");
        findings.push(Finding::new("refused", Ok::<_, String>(refused)));
    }
    Ok(findings)
}
