//! Files that are generated and checked in: the JSON Schemas of files and strategies, the page of all strategies, and
//! the tables of keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build::{program, step, target};
use crate::{keys, page};

/// The page whose tables of keys are generated.
const KEYS: &str = "docs/run-files.md";

/// Writes `schemas/`, `docs/strategies.md`, `docs/errors.md` and the tables of `docs/run-files.md`, or with `check`
/// says what differs.
pub fn write(check: bool) -> Result<()> {
    step(&format!(
        "{} schemas/, docs/strategies.md, docs/errors.md and docs/run-files.md",
        if check { "checking" } else { "writing" }
    ));
    let mut schemas = generate()?;
    let tables = {
        let schema = |name| serde_json::from_str::<Value>(&schemas[Path::new(name)]).context(name);
        let page = fs::read_to_string(KEYS).context(KEYS)?;
        keys::page(&page, &schema("schemas/run.schema.json")?, &schema("schemas/study.schema.json")?)?
    };
    schemas.insert(PathBuf::from(KEYS), tables);
    schemas.insert(PathBuf::from("docs/strategies.md"), page::strategies()?);
    schemas.insert(PathBuf::from("docs/errors.md"), page::errors()?);
    let mut wrong = Vec::new();
    for (path, text) in &schemas {
        if fs::read_to_string(path).ok().as_deref() == Some(text) {
            continue;
        }
        wrong.push(path.display().to_string());
        if !check {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            fs::write(path, text).with_context(|| path.display().to_string())?;
        }
    }
    for path in present(Path::new("schemas"))? {
        if !schemas.contains_key(&path) {
            wrong.push(path.display().to_string());
            if !check {
                fs::remove_file(&path)?;
            }
        }
    }
    match wrong.as_slice() {
        [] => Ok(()),
        _ if !check => {
            println!("{}", wrong.join("\n"));
            Ok(())
        }
        _ => bail!("{} are not up to date: run `cargo xtask schemas`", wrong.join(", ")),
    }
}

fn generate() -> Result<BTreeMap<PathBuf, String>> {
    let mut schemas = BTreeMap::new();
    for name in ["run", "sidecar", "study"] {
        let output = Command::new(program()).args(["schema", name]).output()?;
        anyhow::ensure!(output.status.success(), "`querist schema {name}` failed");
        schemas.insert(PathBuf::from(format!("schemas/{name}.schema.json")), String::from_utf8(output.stdout)?);
    }
    for package in fs::read_dir(target().join("debug/plugins"))? {
        let package = package?.path();
        if !package.is_dir() {
            continue;
        }
        for file in fs::read_dir(package)? {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".schema.json") {
                schemas.insert(Path::new("schemas/strategies").join(name), fs::read_to_string(&path)?);
            }
        }
    }
    Ok(schemas)
}

fn present(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(files) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(present(&path)?);
        } else if path.extension().is_some_and(|e| e == "json") {
            files.push(path);
        }
    }
    Ok(files)
}
