//! What the build needs besides crates.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{highs, libtorch};

/// Makes libtorch, HiGHS and the WebAssembly target exist; does nothing where they do.
///
/// # Errors
/// If one of them is missing and cannot be fetched.
pub fn setup() -> Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.parent().context("xtask lies in the workspace")?;
    libtorch::setup(root)?;
    highs::setup(root)?;
    add_wasm_target()
}

/// Says what is being done.
pub fn step(line: &str) {
    eprintln!("setup: {line}");
}

/// Adds the target that plugins are built for, where it is missing.
fn add_wasm_target() -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().context("running rustc")?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
        step(&format!("Rust's target {TARGET} is there"));
        return Ok(());
    }
    step(&format!("adding Rust's target {TARGET}"));
    let status = Command::new("rustup").args(["target", "add", TARGET]).stdout(Stdio::from(io::stderr())).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("`rustup target add {TARGET}` failed ({status})"),
        Err(error) => bail!("rustup: {error}; install Rust's target {TARGET} as your system installs Rust"),
    }
}
