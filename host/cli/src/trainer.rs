//! The executable that trains, and how to get to it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use querist_core::config::{ModelName, RunConfig};
use querist_core::observer::Progress;
use querist_core::{Array, Dataset, LearnError, Learner, SampleId};
use querist_kernels::Accelerator;
use querist_loader::TorchBuild;

/// The hidden verb that says which libtorch is used.
pub const DESCRIBE_VERB: &str = "describe-libtorch";

/// What only the training executable can do.
pub trait Trainer {
    /// A learner for a run, which keeps arrays beyond the run's memory in `scratch`, where there is such a folder.
    ///
    /// # Errors
    /// If settings, data and machine do not fit each other.
    fn learner(
        &self,
        dataset: &Dataset,
        pool: &[SampleId],
        config: &RunConfig,
        scratch: Option<&Path>,
    ) -> Result<Box<dyn Learner>, LearnError>;

    /// Embeddings of all samples of the dataset from a frozen model's file.
    ///
    /// # Errors
    /// If the file holds no such model.
    fn frozen(
        &self,
        dataset: &Dataset,
        pool: &[SampleId],
        config: &RunConfig,
        name: ModelName,
        file: &[u8],
        progress: &dyn Progress,
    ) -> Result<Array, LearnError>;

    /// The device as one for kernels; `None` for the CPU, whose kernels need no libtorch.
    ///
    /// # Errors
    /// If there is no such device, or it cannot be used.
    fn accelerator(&self, device: &str) -> Result<Option<Arc<dyn Accelerator>>, LearnError>;

    /// The libtorch in use, for plugins that share it.
    fn torch(&self) -> TorchBuild;

    /// Lines about the libtorch in use.
    fn describe(&self) -> String;
}

/// `querist-train`: beside this program, or in `../lib/querist`.
pub fn program() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find this program's own file")?.canonicalize()?;
    let folder = this.parent().context("this program's own file has no folder")?;
    let places = [folder.join("querist-train"), folder.join("../lib/querist/querist-train")];
    places.iter().find(|path| path.is_file()).cloned().with_context(|| {
        format!("`querist-train` is missing: it belongs beside {} or in {}", this.display(), places[1].display())
    })
}

/// Goes on as `querist-train` with the same arguments; returns only if that fails.
pub fn become_trainer() -> Result<()> {
    let program = program()?;
    let mut args = std::env::args_os();
    let mut command = Command::new(&program);
    // Under its own name, so that its hints name the program that the user called.
    command.arg0(args.next().unwrap_or_else(|| "querist".into())).args(args);
    wait_passively(&mut command);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// Lets the threads of libtorch sleep while they wait for each other, unless the user wants it otherwise.
///
/// Those of its OpenMP spin, and read how to wait when the library is loaded: two small runs beside each other on two
/// cores took seven times as long as with threads that sleep.
fn wait_passively(command: &mut Command) {
    const POLICY: &str = "OMP_WAIT_POLICY";
    if [POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME"].iter().all(|name| std::env::var_os(name).is_none()) {
        command.env(POLICY, "passive");
    }
}

/// What `querist-train` says of its libtorch.
pub fn describe() -> Result<String> {
    let program = program()?;
    let output = Command::new(&program).arg(DESCRIBE_VERB).output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
