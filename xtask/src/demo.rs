//! The first thing a newcomer runs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::{self, program, run, step};
use crate::setup;

/// The study that is run.
const STUDY: &str = "examples/quick.toml";

/// The page that says which package has which strategies.
const STRATEGIES: &str = "docs/strategies.md";

/// Builds what the example study needs, runs it, and makes its report.
pub fn demo(out: &Path) -> Result<()> {
    setup::setup()?;
    build::only(&packages(Path::new(STUDY))?)?;
    step(&format!("running {STUDY} (finished runs are skipped)"));
    run(Command::new(program()).args(["study", "run", STUDY, "--out"]).arg(out))?;
    let page = out.join("report.html");
    run(Command::new(program())
        .arg("report")
        .arg(out)
        .arg("--html")
        .arg(&page)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null()))?;
    println!(
        "\nOpen {} in a browser. `cargo xtask build` builds the strategies that this study leaves out.",
        page.display()
    );
    Ok(())
}

/// The packages that a study needs.
fn packages(study: &Path) -> Result<BTreeSet<String>> {
    let study: toml::Table = read(study)?.parse().with_context(|| study.display().to_string())?;
    let page = read(Path::new(STRATEGIES))?;
    let mut found = BTreeSet::new();
    let strategies = study.get("strategies").context("the study names no strategies")?;
    for id in ids(strategies) {
        add(&id, &page, &mut found)?;
    }
    Ok(found)
}

/// Adds the package of a strategy, and those of its members if it is made of others.
fn add(id: &str, page: &str, found: &mut BTreeSet<String>) -> Result<()> {
    let name = owner(id, page).with_context(|| format!("{STRATEGIES} has no package with the strategy `{id}`"))?;
    if !found.insert(name.to_owned()) {
        return Ok(());
    }
    let text = Path::new("plugins").join(format!("{name}.toml"));
    if text.is_file() {
        let composite: toml::Table = read(&text)?.parse().with_context(|| text.display().to_string())?;
        let rows = composite.get("strategy").and_then(toml::Value::as_array).into_iter().flatten();
        // A row's own `id` is the strategy itself.
        for member in rows.filter_map(|row| row.get("defaults")).flat_map(ids) {
            add(&member, page, found)?;
        }
    }
    Ok(())
}

/// The package in whose row of the table a strategy stands.
fn owner<'a>(id: &str, page: &'a str) -> Option<&'a str> {
    let row = page.lines().find(|line| line.starts_with("| [") && line.contains(&format!("[`{id}`](#{id})")))?;
    row.strip_prefix("| [")?.split(']').next()
}

/// Every value of a key `id` anywhere below.
fn ids(value: &toml::Value) -> Vec<String> {
    match value {
        toml::Value::Array(values) => values.iter().flat_map(ids).collect(),
        toml::Value::Table(table) => {
            let own = table.get("id").and_then(toml::Value::as_str).map(str::to_owned);
            own.into_iter().chain(table.values().flat_map(ids)).collect()
        }
        _ => Vec::new(),
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_from_the_file() {
        std::env::set_current_dir(crate::workspace()).unwrap();
        let quick: Vec<String> = packages(Path::new(STUDY)).unwrap().into_iter().collect();
        assert_eq!(quick, ["badge", "k-center-greedy", "kmeans", "random", "uncertainty"]);
        let page = read(Path::new(STRATEGIES)).unwrap();
        let mut found = BTreeSet::new();
        add("tcm", &page, &mut found).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["tcm", "typiclust", "uncertainty"]);
        let missing = add("no-such", &page, &mut BTreeSet::new()).unwrap_err().to_string();
        assert!(missing.contains("`no-such`"), "{missing}");
    }
}
