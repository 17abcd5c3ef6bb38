//! Building the program and packing the plugins beside it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
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

/// Builds the workspace and packs every plugin of the repository into `plugins/` beside the program.
pub fn everything() -> Result<()> {
    with_targets(&[])
}

/// The same, with tests and benches. What only tests depend on switches features of common dependencies on, so building
/// without it first would build those twice.
pub fn with_tests() -> Result<()> {
    with_targets(&["--all-targets"])
}

/// Builds the program and packs the named packages, and no other, into `plugins/` beside it.
pub fn only(names: &BTreeSet<String>) -> Result<()> {
    step("building the program");
    // Features are those of the whole workspace, so that a build of everything finds all of this done.
    run(&mut cargo(["build", "--workspace", "--bin", "querist", "--bin", "querist-train"]))?;
    let packages = Packages::find()?.only(names)?;
    for name in &packages.libraries {
        run(&mut cargo(["build", "--package", name]))?;
    }
    packages.build_and_pack()
}

fn with_targets(targets: &[&str]) -> Result<()> {
    step("building the program");
    // The whole workspace, so that tests and lints find their dependencies built with the same features.
    run(cargo(["build", "--workspace"]).args(targets))?;
    Packages::find()?.build_and_pack()?;
    let misbehaving = vec!["misbehaving".to_owned()];
    build_components(&misbehaving)?;
    pack(&misbehaving, &target().join("debug/misbehaving"))
}

/// Plugins of the repository, as the folders and texts under `plugins/` are.
struct Packages {
    /// Crates that become components.
    components: Vec<String>,
    /// Crates that become native libraries: they share libtorch with the program, or say so.
    libraries: Vec<String>,
    /// Texts that make strategies of others.
    composites: Vec<PathBuf>,
}

impl Packages {
    fn find() -> Result<Self> {
        let mut found = Self { components: Vec::new(), libraries: Vec::new(), composites: Vec::new() };
        for entry in fs::read_dir("plugins").context("plugins/")? {
            let path = entry?.path();
            if path.join("Cargo.toml").is_file() {
                let list = if is_native(&path)? { &mut found.libraries } else { &mut found.components };
                list.push(format!("strategy-{}", path.file_name().unwrap_or_default().to_string_lossy()));
            } else if path.extension().is_some_and(|end| end == "toml") && !path.ends_with("clippy.toml") {
                found.composites.push(path);
            }
        }
        found.components.sort();
        found.libraries.sort();
        found.composites.sort();
        Ok(found)
    }

    /// Keeps the named packages, every one of which must be there.
    fn only(mut self, names: &BTreeSet<String>) -> Result<Self> {
        self.components.retain(|name| names.contains(package(name)));
        self.libraries.retain(|name| names.contains(package(name)));
        self.composites.retain(|text| names.contains(&stem(text)));
        let found = self.components.len() + self.libraries.len() + self.composites.len();
        ensure!(found == names.len(), "not all of {names:?} lie under plugins/");
        Ok(self)
    }

    /// Builds the components, and packs all that changed. Libraries are built with the rest of the workspace.
    fn build_and_pack(&self) -> Result<()> {
        step("building the plugins");
        let packed = target().join("debug/plugins");
        fs::create_dir_all(&packed).with_context(|| packed.display().to_string())?;
        if !self.components.is_empty() {
            build_components(&self.components)?;
        }
        pack(&self.components, &packed)?;
        for name in &self.libraries {
            let library = target().join(format!("debug/lib{}.so", name.replace('-', "_")));
            pack_one(name, &library, &packed, &["--allow-native"])?;
        }
        // Last, because packing asks the members what they need.
        for text in &self.composites {
            pack_one(&stem(text), text, &packed, &[])?;
        }
        write_digests(&packed)
    }
}

/// Name of the package that a plugin crate becomes.
fn package(name: &str) -> &str {
    name.trim_start_matches("strategy-")
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_native(folder: &Path) -> Result<bool> {
    let read = |file: &str| {
        let path = folder.join(file);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    Ok(read("Cargo.toml")?.contains("querist-sdk-torch") || read("src/lib.rs")?.contains("export_native!"))
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
    let package = packed.join(package(name));
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
