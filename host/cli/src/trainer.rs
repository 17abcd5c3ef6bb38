//! The executable that trains, and how to get to it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use querist_core::config::{ModelConfig, RunConfig, cores};
use querist_core::progress::Progress;
use querist_core::{Array, Dataset, HostServices, LearnError, Learner, SampleId, ServiceScope};
use querist_files::Links;
use querist_kernels::Accelerator;
use querist_loader::TorchBuild;

use crate::body::Body;
use crate::program;

/// The hidden verb that says which libtorch is used.
pub const DESCRIBE_VERB: &str = "describe-libtorch";

/// A question about embeddings, and what else a strategy that shares libtorch may know of it.
pub struct EmbeddedTask<'a> {
    /// The round, its samples by ascending ids, and the strategy's random numbers.
    pub scope: ServiceScope<'a>,
    /// Classes of the task.
    pub classes: usize,
    /// Embeddings of the pool, `f32 [pool, width]`.
    pub pool: &'a Array,
    /// Embeddings of the labelled set, `f32 [labelled, width]`.
    pub labelled: &'a Array,
}

/// What only the training executable can do.
pub trait Trainer {
    /// A learner for a run, which keeps arrays beyond the run's memory in `scratch`, where there is such a folder.
    /// `body` is what the files that `model` names hold; what was loaded of them is handed to `say`.
    ///
    /// # Errors
    /// If settings, data and machine do not fit each other.
    fn learner(
        &self,
        dataset: &Dataset,
        pool: &[SampleId],
        config: &RunConfig,
        scratch: Option<&Path>,
        body: Option<&Body>,
        say: &dyn Fn(&str),
    ) -> Result<Box<dyn Learner>, LearnError>;

    /// Embeddings of samples, `f32 [samples, width]`, by the network of `model.file`, which is `body`.
    ///
    /// # Errors
    /// If the network cannot be used, or does not take the images.
    fn embeddings(
        &self,
        dataset: &Dataset,
        pool: &[SampleId],
        config: &RunConfig,
        body: &Body,
        samples: &[SampleId],
        progress: &dyn Progress,
    ) -> Result<Array, LearnError>;

    /// Embeddings of samples, `f32 [samples, width]`, from a frozen model's file.
    ///
    /// # Errors
    /// If the file holds no such model.
    fn frozen(
        &self,
        dataset: &Dataset,
        pool: &[SampleId],
        config: &RunConfig,
        model_and_file: (&ModelConfig, &[u8]),
        samples: &[SampleId],
        progress: &dyn Progress,
    ) -> Result<Array, LearnError>;

    /// The same in less time, but for roundings.
    ///
    /// # Errors
    /// As for [`Self::frozen`].
    fn embed(
        &self,
        dataset: &Dataset,
        pool: &[SampleId],
        config: &RunConfig,
        model_and_file: (&ModelConfig, &[u8]),
        samples: &[SampleId],
        progress: &dyn Progress,
    ) -> Result<Array, LearnError>;

    /// What a strategy may ask for that looks at embeddings alone, of which the task has some.
    ///
    /// # Errors
    /// If there is no such device, or the arrays do not fit.
    fn embedded<'a>(
        &self,
        task: EmbeddedTask<'a>,
        device: &str,
        threads: usize,
    ) -> Result<Box<dyn HostServices + 'a>, LearnError>;

    /// The device as one for kernels; `None` for the CPU, whose kernels need no libtorch.
    ///
    /// # Errors
    /// If there is no such device, or it cannot be used.
    fn accelerator(&self, device: &str) -> Result<Option<Arc<dyn Accelerator>>, LearnError>;

    /// The libtorch in use, for plugins that share it, where there is one.
    fn torch(&self) -> Option<TorchBuild>;

    /// Lines about the libtorch in use.
    fn describe(&self) -> String;
}

/// Goes on as `querist-train` with the same arguments; returns only if that fails.
pub fn become_trainer() -> Result<()> {
    let program = program::train()?;
    let mut args = program::args().into_iter();
    let mut command = Command::new(&program);
    // Under its own name, so that its hints name the program that the user called.
    command.arg0(args.next().unwrap_or_else(|| "querist".into())).args(args);
    // How many threads it will have stands in a file that it has yet to read.
    set_waiting(&mut command, cores());
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// Tells the threads of libtorch in another process how to wait for each other, unless the user does. `threads` are
/// those of all processes that are started beside each other.
///
/// Its OpenMP reads this when the library is loaded, and waits in a loop for ever so long otherwise: two small runs
/// beside each other on two cores took up to three times as long. Where every thread has a core of its own, a short
/// loop spares the way through the system; where it has not, a thread that waits should sleep at once.
pub fn set_waiting(command: &mut Command, threads: usize) {
    const BY_USER: [&str; 3] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"];
    if BY_USER.iter().all(|name| std::env::var_os(name).is_none()) {
        let (name, value) = waiting(threads, busy(), cores());
        command.env(name, value);
    }
}

fn waiting(threads: usize, busy: usize, cores: usize) -> (&'static str, &'static str) {
    match threads.saturating_add(busy) > cores {
        true => ("OMP_WAIT_POLICY", "passive"),
        // Some hundred microseconds: longer than the work between two calls of a small model's threads.
        false => ("GOMP_SPINCOUNT", "3000"),
    }
}

/// Threads that run on this machine beside this one, where the system says.
fn busy() -> usize {
    let load = querist_files::read_text(Path::new("/proc/loadavg"), Links::Follow, 4096).unwrap_or_default();
    let running = load.split_whitespace().nth(3).and_then(|field| field.split('/').next()?.parse::<usize>().ok());
    running.unwrap_or(1).saturating_sub(1)
}

/// What `querist-train` says of its libtorch.
pub fn describe() -> Result<String> {
    let program = program::train()?;
    let output = Command::new(&program).arg(DESCRIBE_VERB).output();
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_loop_only_on_cores_of_their_own() {
        for (threads, busy, cores, passive) in [(2, 0, 2, false), (2, 1, 2, true), (4, 0, 2, true), (1, 1, 2, false)] {
            assert_eq!(waiting(threads, busy, cores).1 == "passive", passive, "{threads} {busy} {cores}");
        }
        assert!(waiting(usize::MAX, 1, 8).1 == "passive");
    }
}
