//! Laying the program down so that it runs from anywhere.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::build::{self, program, step, target};
use crate::setup;

/// Installs `bin/querist`, `lib/querist/querist-train` and `lib/querist/plugins` under `prefix`.
///
/// The program finds libtorch where the set-up put or found it, so that folder must stay.
pub fn install(prefix: &Path) -> Result<()> {
    setup::setup()?;
    build::everything()?;
    step(&format!("installing into {}", prefix.display()));
    let (bin, plugins) = (prefix.join("bin"), prefix.join("lib/querist/plugins"));
    fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
    let lib = prefix.join("lib/querist");
    fs::create_dir_all(&lib).with_context(|| lib.display().to_string())?;
    replace(&target().join("debug/querist-train"), &lib.join("querist-train"))?;
    replace(&program(), &bin.join("querist"))?;
    if plugins.exists() {
        fs::remove_dir_all(&plugins).with_context(|| plugins.display().to_string())?;
    }
    copy_folder(&target().join("debug/plugins"), &plugins)?;
    println!("{}", bin.join("querist").display());
    Ok(())
}

/// Puts a copy of a file in place of another. A running program cannot be written over, but its name can be given to
/// another file.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    fs::copy(from, &new).with_context(|| new.display().to_string())?;
    fs::rename(&new, to).with_context(|| to.display().to_string())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            fs::copy(&path, &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}
