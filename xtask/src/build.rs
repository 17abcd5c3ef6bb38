//! Building the program and packing the plugins beside it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Says what is being done.
pub fn step(what: &str) {
    eprintln!("==> {what}");
}

/// A call of cargo.
pub fn cargo(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if status.success() {
        return Ok(());
    }
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    bail!("`{} {}` failed: {status}", command.get_program().display(), args.join(" "))
}

/// Folder of what cargo builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// The built program.
pub fn program() -> PathBuf {
    target().join("debug/querist")
}

/// Builds the program and packs every plugin of the repository into `plugins/` beside it.
pub fn everything() -> Result<()> {
    with_targets(&[])
}

/// The same, with tests and benches. What only tests depend on switches features of common dependencies on, so building
/// without it first would build those twice.
pub fn with_tests() -> Result<()> {
    with_targets(&["--all-targets"])
}

fn with_targets(targets: &[&str]) -> Result<()> {
    step("building the program");
    // The whole workspace, so that tests and lints find their dependencies built with the same features.
    run(cargo(["build", "--workspace"]).args(targets))?;
    plugins()
}

/// Names of the plugin crates, from the folders under `plugins/`.
pub fn plugin_crates() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("plugins").context("plugins/")? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            names.push(format!("strategy-{}", path.file_name().unwrap_or_default().to_string_lossy()));
        }
    }
    names.sort();
    Ok(names)
}

/// Builds components of the repository's plugin crates and packs those that changed.
fn plugins() -> Result<()> {
    step("building the plugins");
    let crates = plugin_crates()?;
    pack(&crates, &target().join("debug/plugins"))?;
    let misbehaving = vec!["misbehaving".to_owned()];
    pack(&misbehaving, &target().join("debug/misbehaving"))
}

fn pack(crates: &[String], packed: &Path) -> Result<()> {
    let mut build = cargo(["build", "--profile", "plugin", "--target", WASM_TARGET]);
    for name in crates {
        build.args(["--package", name]);
    }
    run(&mut build)?;
    let built = target().join(WASM_TARGET).join("plugin");
    let program = program();
    for name in crates {
        let module = built.join(format!("{}.wasm", name.replace('-', "_")));
        let package = packed.join(name.trim_start_matches("strategy-"));
        if newer(&package.join("plugin.toml"), &[&module, &program]) {
            continue;
        }
        run(Command::new(&program)
            .args(["plugin", "pack"])
            .arg(&module)
            .arg("--out")
            .arg(packed)
            .stdout(std::process::Stdio::null()))?;
    }
    Ok(())
}

/// Whether a file is newer than all of its sources.
fn newer(file: &Path, sources: &[&Path]) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    let Some(made) = modified(file) else { return false };
    sources.iter().all(|source| modified(source).unwrap_or_else(SystemTime::now) < made)
}
