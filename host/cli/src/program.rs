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

impl Host {
    fn built_in(&self) -> Vec<PathBuf> {
        let beside = self.train.as_deref().and_then(python_packages).map(|all| all.join("querist_torch/plugins"));
        let folders = [Some(self.plugins.clone()), beside].into_iter().flatten();
        folders.filter(|folder| folder.is_dir()).collect()
    }

    fn trainer(&self) -> Result<PathBuf> {
        let train = self.train.clone().filter(|path| path.is_file()).with_context(|| {
            let version = env!("CARGO_PKG_VERSION");
            format!("this package does not train: `pip install querist-torch=={version}` brings what does")
        })?;
        // The system's own words name neither the folder nor the remedy. Who exports a path may have it elsewhere.
        let library = python_packages(&train).map(|all| all.join("torch/lib/libtorch_cpu.so"));
        if let Some(library) = library.filter(|file| !file.is_file() && std::env::var_os("LD_LIBRARY_PATH").is_none()) {
            anyhow::bail!(
                "`querist-train` needs PyTorch, whose {} is not there: `pip install 'torch==2.11.*'` brings it",
                library.display()
            );
        }
        Ok(train)
    }
}

static HOST: OnceLock<Host> = OnceLock::new();
/// Says to a host that is started again where `querist-train` is.
const TRAIN_VARIABLE: &str = "QUERIST_TRAIN";

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
    if let Some(train) = HOST.get().and_then(|host| host.train.as_ref()) {
        // It is started without what finds other packages.
        command.env(TRAIN_VARIABLE, train);
    }
    Ok(command)
}

/// The folder in which this program's executable lies, where it has one of its own.
pub fn folder() -> Option<PathBuf> {
    match HOST.get() {
        Some(_) => None,
        None => Some(executable().ok()?.parent()?.to_owned()),
    }
}

/// Folders of the packages that came with this program, first come first.
pub fn built_in() -> Vec<PathBuf> {
    if let Some(host) = HOST.get() {
        return host.built_in();
    }
    let program = executable().ok().and_then(|program| program.canonicalize().ok());
    program.as_deref().map(built_in_of).unwrap_or_default()
}

/// Folders of packages of an executable: `plugins/` beside it, or `../lib/querist/plugins`; of the one in the Python
/// package `querist_torch`, that package's own and those of the package `querist` beside it.
fn built_in_of(program: &Path) -> Vec<PathBuf> {
    let Some(folder) = program.parent() else { return Vec::new() };
    if let Some(packages) = python_packages(program) {
        let both = ["querist_torch/plugins", "querist/plugins"].map(|plugins| packages.join(plugins));
        return both.into_iter().filter(|dir| dir.is_dir()).collect();
    }
    let places = [folder.join("plugins"), folder.join("../lib/querist/plugins")];
    places.into_iter().find(|dir| dir.is_dir()).into_iter().collect()
}

/// The folder of installed Python packages, of which `querist_torch` holds this executable.
fn python_packages(program: &Path) -> Option<&Path> {
    let folder = program.parent()?;
    if folder.ends_with("querist_torch/bin") { folder.parent()?.parent() } else { None }
}

/// `querist-train`: where the host says, beside this program, or in `../lib/querist`.
///
/// # Errors
/// If it is in none of these.
pub fn train() -> Result<PathBuf> {
    if let Some(host) = HOST.get() {
        return host.trainer();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_python_lie_beside_each_other() {
        let site = tempfile::tempdir().unwrap();
        let at = |path: &str| site.path().join(path);
        let torch = ["querist_torch/plugins", "querist_torch/bin"];
        for folder in ["querist/plugins", "bin/plugins", "lib/querist/plugins"].iter().chain(&torch) {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        let both = [at("querist_torch/plugins"), at("querist/plugins")];
        assert_eq!(built_in_of(&at("querist_torch/bin/querist-train")), both);
        // An executable anywhere else has packages of its own, and looks no further.
        assert_eq!(built_in_of(&at("bin/querist")), [at("bin/plugins")]);
        assert_eq!(built_in_of(&at("lib/querist/querist-train")), [at("lib/querist/plugins")]);
        assert!(built_in_of(&at("querist/bin/querist")).is_empty());
        let train = at("querist_torch/bin/querist-train");
        let host = Host { start: Vec::new(), plugins: at("querist/plugins"), train: Some(train.clone()) };
        assert_eq!(host.built_in(), [at("querist/plugins"), at("querist_torch/plugins")]);
        let says = |host: &Host| format!("{:#}", host.trainer().unwrap_err());
        assert!(says(&host).contains("pip install querist-torch=="), "{}", says(&host));
        std::fs::write(&train, "").unwrap();
        if std::env::var_os("LD_LIBRARY_PATH").is_none() {
            assert!(says(&host).contains("pip install 'torch==2.11.*'"), "{}", says(&host));
        }
        std::fs::create_dir_all(at("torch/lib")).unwrap();
        std::fs::write(at("torch/lib/libtorch_cpu.so"), "").unwrap();
        assert_eq!(host.trainer().unwrap(), train);
    }
}
