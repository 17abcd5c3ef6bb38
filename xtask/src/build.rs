//! Building the program and packing the plugins beside it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// What plugins are built for.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";

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

/// The packages that are made of others: texts under `plugins/` instead of crates. Clippy looks for its own file there.
fn composites() -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir("plugins").context("plugins/")?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    let mut texts: Vec<PathBuf> = paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml") && !path.ends_with("clippy.toml"))
        .collect();
    texts.sort();
    Ok(texts)
}

/// Whether a plugin crate is a native library rather than a component: it shares libtorch with the program, or says so.
fn is_native(name: &str) -> Result<bool> {
    let folder = Path::new("plugins").join(name.trim_start_matches("strategy-"));
    let read = |file: &str| {
        let path = folder.join(file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    Ok(read("Cargo.toml")?.contains("querist-sdk-torch") || read("src/lib.rs")?.contains("export_native!"))
}

/// Builds the repository's plugin crates and packs those that changed.
fn plugins() -> Result<()> {
    step("building the plugins");
    let mut components = Vec::new();
    let mut libraries = Vec::new();
    for name in plugin_crates()? {
        if is_native(&name)? { libraries.push(name) } else { components.push(name) }
    }
    let packed = target().join("debug/plugins");
    build_components(&components)?;
    pack(&components, &packed)?;
    // The workspace's build has made the libraries already.
    for name in &libraries {
        let library = target().join(format!("debug/lib{}.so", name.replace('-', "_")));
        pack_one(name, &library, &packed, &["--allow-native"])?;
    }
    // Last, because packing asks the members what they need.
    for text in composites()? {
        let name = text.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        pack_one(&name, &text, &packed, &[])?;
    }
    write_digests(&packed)?;
    let misbehaving = vec!["misbehaving".to_owned()];
    build_components(&misbehaving)?;
    pack(&misbehaving, &target().join("debug/misbehaving"))
}

fn build_components(crates: &[String]) -> Result<()> {
    let mut build = cargo(["build", "--profile", "plugin", "--target", WASM_TARGET]);
    for name in crates {
        build.args(["--package", name]);
    }
    run(&mut build)
}

fn pack(crates: &[String], packed: &Path) -> Result<()> {
    let built = target().join(WASM_TARGET).join("plugin");
    for name in crates {
        let module = built.join(format!("{}.wasm", name.replace('-', "_")));
        pack_one(name, &module, packed, &[])?;
    }
    Ok(())
}

fn pack_one(name: &str, built: &Path, packed: &Path, flags: &[&str]) -> Result<()> {
    let program = program();
    let package = packed.join(name.trim_start_matches("strategy-"));
    if newer(&package.join("plugin.toml"), &[built, &program]) {
        return Ok(());
    }
    run(Command::new(&program)
        .args(["plugin", "pack"])
        .args(flags)
        .arg(built)
        .arg("--out")
        .arg(packed)
        .stdout(std::process::Stdio::null()))
}

/// Lists the digests of packed artifacts, in the form of `sha256sum`: native packages that are installed with the
/// program are trusted by it.
fn write_digests(packed: &Path) -> Result<()> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(packed).with_context(|| packed.display().to_string())? {
        let package = entry?.path();
        let Some(name) = package.file_name().and_then(OsStr::to_str) else { continue };
        for file in ["wasm", "so", "composite.toml"].map(|extension| format!("{name}.{extension}")) {
            if let Ok(bytes) = fs::read(package.join(&file)) {
                let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                lines.push(format!("{digest}  {name}/{file}\n"));
            }
        }
    }
    lines.sort_by(|a, b| a[64..].cmp(&b[64..]));
    let list = packed.join("SHA256SUMS");
    fs::write(&list, lines.concat()).with_context(|| list.display().to_string())
}

/// Whether a file is newer than all of its sources.
fn newer(file: &Path, sources: &[&Path]) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    let Some(made) = modified(file) else { return false };
    sources.iter().all(|source| modified(source).unwrap_or_else(SystemTime::now) < made)
}
