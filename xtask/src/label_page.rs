//! The programs of the page on which people label: made of TypeScript by a pinned compiler and checked in, so that
//! whoever builds the house needs no Node.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::build::{run, step, target};

/// Where the sources are, and in `generated` what is made of them.
const FOLDER: &str = "host/cli/src/commands/label/page";
/// The file with the digest of the sources, which a test compares: it needs no compiler.
const DIGEST: &str = "sources.sha256";

/// Checks the types and writes `generated` anew; or only says what differs.
pub fn page(check: bool) -> Result<()> {
    step("the page on which people label");
    let tools = target().join("label-page");
    fs::create_dir_all(&tools)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(Path::new(FOLDER).join(name), tools.join(name))?;
    }
    let npm = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    run(Command::new("npm").args(npm).current_dir(&tools)).context("needs Node with npm: `apt install npm`")?;
    let made = tools.join("made");
    if made.exists() {
        fs::remove_dir_all(&made)?;
    }
    let compiler = tools.join("node_modules/typescript/bin/tsc");
    run(Command::new("node").arg(compiler).args(["--project", FOLDER, "--outDir"]).arg(&made))?;
    let mut files = texts(&made, "js")?;
    files.insert(DIGEST.to_owned(), digest(&texts(Path::new(FOLDER), "ts")?));
    let generated = Path::new(FOLDER).join("generated");
    if check {
        let mut known = texts(&generated, "js")?;
        known.insert(DIGEST.to_owned(), fs::read_to_string(generated.join(DIGEST)).unwrap_or_default());
        ensure!(known == files, "{} is not what its sources give: run `cargo xtask page`", generated.display());
        return Ok(());
    }
    if generated.exists() {
        fs::remove_dir_all(&generated)?;
    }
    fs::create_dir_all(&generated)?;
    for (name, text) in files {
        fs::write(generated.join(name), text)?;
    }
    Ok(())
}

/// Files of a kind in a folder, by their names.
fn texts(folder: &Path, kind: &str) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path: PathBuf = entry?.path();
        if path.extension().is_some_and(|extension| extension == kind) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            texts.insert(name, fs::read_to_string(&path)?);
        }
    }
    Ok(texts)
}

/// One line a source, as `sha256sum` prints it.
fn digest(sources: &BTreeMap<String, String>) -> String {
    let line = |(name, text): (&String, &String)| {
        let digest: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digest}  {name}\n")
    };
    sources.iter().map(line).collect()
}
