//! The page of all strategies, made of what the plugins say, and that of all codes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::build::program;

const HEAD: &str = "# Strategies

This page is generated from the plugins by `cargo xtask schemas`; do not edit it. `querist plugin show ID` prints the
same of one strategy, `querist plugin list` what is installed.

In costs, N is the number of rows in the pool, L of labelled rows, A = N + L, b the batch, C the classes, D the width of
embeddings and T the draws or members. Logarithms are natural, p are class probabilities, ties go to the lower row
unless something else is said. `penultimate` is what the last linear layer sees: the embeddings, unless the head has a
hidden layer. Of a need like `head.w(or=head)` one of the two is enough.
";

const ERRORS: &str = "# Codes of failures

This page is generated from the program by `cargo xtask schemas`; do not edit it. `querist explain CODE` prints the same
of one code. A code keeps its meaning; what a message says besides may change. With `--log json` the event `error` has
it as `kind`.

";

/// The page of all codes.
pub fn errors() -> Result<String> {
    Ok(ERRORS.to_owned() + &said(&["explain", "--format", "markdown"])?)
}

/// The whole page.
pub fn strategies() -> Result<String> {
    let mut packages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let listed: Vec<Value> = serde_json::from_str(&querist(&["list", "--format", "json"])?)?;
    for row in &listed {
        let text = |key: &str| row[key].as_str().map(str::to_owned).with_context(|| format!("no `{key}` in {row}"));
        packages.entry(text("package")?).or_default().push(text("id")?);
    }
    let mut page = HEAD.to_owned();
    page += "\n| package | strategies |\n| --- | --- |\n";
    for (package, ids) in &packages {
        let links: Vec<String> = ids.iter().map(|id| format!("[`{id}`](#{id})")).collect();
        page += &format!("| [{package}](#package-{package}) | {} |\n", links.join(", "));
    }
    for (package, ids) in &packages {
        page += &format!("\n## Package {package}\n");
        let sources = sources(package)?;
        page += &words(sources.get(Path::new("lib.rs")).map_or("", String::as_str));
        for id in ids {
            page += "\n";
            page += &querist(&["show", id, "--format", "markdown"])?;
            let named = format!("ID: &'static str = \"{id}\"");
            let own = sources.iter().find(|(path, text)| *path != Path::new("lib.rs") && text.contains(&named));
            page += &words(own.map_or("", |(_, text)| text));
        }
    }
    Ok(page)
}

fn querist(args: &[&str]) -> Result<String> {
    said(&[&["plugin"], args].concat())
}

/// What the program says.
fn said(args: &[&str]) -> Result<String> {
    // From a folder without plugins of its own, so that only those of the build are seen.
    let output = Command::new(fs::canonicalize(program())?)
        .args(args)
        .current_dir(std::env::temp_dir())
        .env_remove("QUERIST_PLUGIN_PATH")
        .env("XDG_DATA_HOME", "/nonexistent")
        .output()?;
    ensure!(output.status.success(), "`querist {}`: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Source files of a package's crate, by their names; none for packages without one.
fn sources(package: &str) -> Result<BTreeMap<PathBuf, String>> {
    let folder = Path::new("plugins").join(package).join("src");
    let Ok(entries) = fs::read_dir(&folder) else { return Ok(BTreeMap::new()) };
    let mut texts = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_name().unwrap_or_default();
            texts.insert(PathBuf::from(name), fs::read_to_string(&path)?);
        }
    }
    Ok(texts)
}

/// What a source file says of itself at its head.
fn words(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let text: String = lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect();
    if text.is_empty() { text } else { format!("\n{text}") }
}
