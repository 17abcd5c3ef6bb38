//! The template of authors in Rust, taken the way that `docs/plugin-authors.md` tells them to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build::{cargo, program, run, step, target};
use crate::wheels;

/// What the project is called: not as the template is, so that nothing is left of that name.
const NAME: &str = "far-apart";

/// The lints of plugins; authors get the same.
const LINTS: [&str; 2] = ["plugins/clippy.toml", "plugin-sdk/templates/rust/clippy.toml"];

/// Writes a new project, tests it, builds, packs and checks the component.
///
/// # Errors
/// If a step fails, or the package is not what the page for authors promises.
pub fn template() -> Result<()> {
    step("a new project of an author");
    let [ours, theirs] = LINTS.map(|path| fs::read_to_string(path).with_context(|| path.to_owned()));
    ensure!(ours? == theirs?, "{} and {} differ: copy the first over the second", LINTS[0], LINTS[1]);
    let folder = target().join("template");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let folder = fs::canonicalize(folder)?;
    let copy = project(&folder)?;
    let profile = folder.join("profile.toml");
    write(&profile, profile_of_workspace(&crates_of(&copy)?)?.as_bytes())?;
    let tests = |args: &[&str]| {
        let mut command = cargo(["--config"]);
        command.arg(&profile).args(args).current_dir(&copy).env("CARGO_TARGET_DIR", shared());
        command
    };
    run(&mut tests(&["test"]))?;
    run(&mut tests(&["clippy", "--all-targets", "--", "--deny", "warnings"]))?;
    pack(&copy, &folder.join("plugins"))
}

/// The target folder of the workspace: what both need of others is built once.
fn shared() -> PathBuf {
    fs::canonicalize(target()).unwrap_or_else(|_| target())
}

/// Has the program write a project, in a folder that stays from one time to the next.
fn project(folder: &Path) -> Result<PathBuf> {
    let written = folder.join("new");
    wheels::remove(&written)?;
    run(Command::new(program()).args(["plugin", "new", NAME, "--out"]).arg(&written))?;
    let copy = folder.join(NAME);
    copy_changed(&written, &copy)?;
    // The versions that everything else is built with; cargo takes out what is not needed.
    fs::copy("Cargo.lock", copy.join("Cargo.lock")).context("Cargo.lock")?;
    Ok(copy)
}

/// Copies what differs, so that what was built of the rest stays fresh.
fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let other = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_changed(&path, &other)?;
        } else {
            write(&other, &fs::read(&path)?)?;
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

/// Names of all crates that the copy is built of.
fn crates_of(copy: &Path) -> Result<BTreeSet<String>> {
    let tree = ["tree", "--prefix", "none", "--format", "{p}", "--edges", "all", "--target", "all"];
    let output = cargo(tree).current_dir(copy).output().context("cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    Ok(lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// The workspace's profile `dev` as a configuration of cargo: under the template's own, cargo would build every crate
/// of others a second time.
fn profile_of_workspace(crates: &BTreeSet<String>) -> Result<String> {
    let manifest: toml::Table = fs::read_to_string("Cargo.toml").context("Cargo.toml")?.parse()?;
    let mut dev = manifest["profile"]["dev"].clone();
    // Levels of crates that the template lacks would each be a warning.
    if let Some(packages) = dev.get_mut("package").and_then(toml::Value::as_table_mut) {
        packages.retain(|name, _| name == "*" || crates.contains(name));
    }
    let profile = toml::Table::from_iter([("dev".to_owned(), dev)]);
    Ok(toml::to_string(&toml::Table::from_iter([("profile".to_owned(), profile.into())]))?)
}

fn pack(project: &Path, packed: &Path) -> Result<()> {
    let mut build = Command::new(program());
    build.args(["plugin", "build"]).arg(project).arg("--out").arg(packed).env("CARGO_TARGET_DIR", shared());
    run(&mut build)?;
    let package = packed.join(NAME);
    for file in ["plugin.toml", "far-apart.schema.json", "far-apart.wasm"] {
        ensure!(package.join(file).is_file(), "{} holds no {file}", package.display());
    }
    run(Command::new(program()).args(["plugin", "check", "--quick"]).arg(&package))
}
