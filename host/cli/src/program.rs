//! What this program is on this machine: how it was called, how it is started again, and where its packages lie.
//!
//! Mostly that is the executable itself. Where the command line is part of another program, such as a Python that has
//! loaded it, that program says what takes the executable's place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result};

/// How a program that holds this command line starts it, and what came with it.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// What starts the command line, to which its arguments are added: an executable and its first arguments.
    pub start: Vec<OsString>,
    /// Folder of the packages that came with it.
    pub plugins: PathBuf,
    /// `querist-train`, where it is there.
    pub train: Option<PathBuf>,
}

static HOST: OnceLock<Host> = OnceLock::new();
static CALLED: OnceLock<Vec<OsString>> = OnceLock::new();

/// Says what takes the place of this process's executable. The first word counts, since it is about the process.
pub fn held_by(host: Host) {
    let _ = HOST.set(host);
}

/// Says with which arguments the command line was called, its own name first. The first word counts.
pub fn called_with(args: Vec<OsString>) {
    let _ = CALLED.set(args);
}

/// The arguments of this call, the program's name first.
pub fn args() -> Vec<OsString> {
    CALLED.get().cloned().unwrap_or_else(|| std::env::args_os().collect())
}

/// The words that start this program again: an executable, and arguments that come before all others.
///
/// # Errors
/// If the system does not say where the executable is.
pub fn words() -> Result<Vec<OsString>> {
    match HOST.get() {
        Some(host) => Ok(host.start.clone()),
        None => Ok(vec![executable()?.into_os_string()]),
    }
}

/// This program, about to be started again.
///
/// # Errors
/// As for [`words`].
pub fn command() -> Result<Command> {
    let words = words()?;
    let (program, first) = words.split_first().context("nothing is known that starts this program again")?;
    let mut command = Command::new(program);
    command.args(first);
    Ok(command)
}

/// The folder in which this program's executable lies, where it has one of its own.
pub fn folder() -> Option<PathBuf> {
    match HOST.get() {
        Some(_) => None,
        None => Some(executable().ok()?.parent()?.to_owned()),
    }
}

/// The packages that came with this program: those of its host, `plugins/` beside it, or `../lib/querist/plugins`.
pub fn built_in() -> Option<PathBuf> {
    if let Some(host) = HOST.get() {
        return Some(host.plugins.clone()).filter(|folder| folder.is_dir());
    }
    let program = executable().ok()?.canonicalize().ok()?;
    let folder = program.parent()?;
    [folder.join("plugins"), folder.join("../lib/querist/plugins")].into_iter().find(|dir| dir.is_dir())
}

/// `querist-train`: where the host says, beside this program, or in `../lib/querist`.
///
/// # Errors
/// If it is in none of these.
pub fn train() -> Result<PathBuf> {
    if let Some(host) = HOST.get() {
        let train = host.train.clone().filter(|path| path.is_file());
        return train.context("this package does not train: `cargo xtask install` in a clone brings what does");
    }
    let this = executable()?.canonicalize()?;
    let folder = this.parent().context("this program's own file has no folder")?;
    let places = [folder.join("querist-train"), folder.join("../lib/querist/querist-train")];
    let missing = |this: &Path| {
        format!("`querist-train` is missing: it belongs beside {} or in {}", this.display(), places[1].display())
    };
    places.iter().find(|path| path.is_file()).cloned().with_context(|| missing(&this))
}

fn executable() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}
