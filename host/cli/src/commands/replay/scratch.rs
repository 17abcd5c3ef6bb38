//! Doing a run again from its dataset, in a process of its own.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use querist_core::config::{KeepConfig, KeepRounds};
use querist_files::shown;

use super::picked::{Picked, of_run};
use super::{ReplayArgs, strategy};
use crate::run_folder::refuse_occupied;
use crate::stored_run::StoredRun;
use crate::study::folder::replace;
use crate::trainer::set_waiting;
use crate::{output, program, progress};

/// The run file of what is done again, and its run folder.
const FILE: &str = "replay.toml";
const RUN: &str = "run";

/// The selections, made again with every training before them.
pub fn replay(stored: &StoredRun, args: &ReplayArgs) -> Result<Vec<Picked>> {
    let temporary = tempfile::tempdir().context("no temporary folder can be made")?;
    let folder = args.out.as_deref().unwrap_or(temporary.path());
    if let Some(out) = &args.out {
        refuse_occupied(out)?;
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", shown(out)))?;
    }
    let mut config = stored.config.clone();
    config.strategy = strategy(stored);
    config.experiment.compute.threads = Some(stored.header.threads);
    config.experiment.keep = KeepConfig { model: KeepRounds::None, features: KeepRounds::None, epochs: false };
    let (file, run) = (folder.join(FILE), folder.join(RUN));
    replace(&file, toml::to_string(&config)?.as_bytes()).with_context(|| format!("cannot write {}", shown(&file)))?;
    train(stored, args, &file, &run)?;
    let again = StoredRun::read(&run)?;
    compare_starts(stored, &again)?;
    of_run(&again)
}

fn train(stored: &StoredRun, args: &ReplayArgs, file: &Path, run: &Path) -> Result<()> {
    progress::stop_on_interrupt()?;
    let mut command = program::command()?;
    command.arg("run").arg(file).arg("--out").arg(run);
    command.args(["--format", "csv", "--with-parent", &std::process::id().to_string()]);
    command.args(args.plugins.to_args()?);
    if let Some(last) = stored.rounds.last().filter(|_| !stored.is_finished()) {
        command.args(["--stop-after", &format!("cycle{}", last.record.round)]);
    }
    set_waiting(&mut command, stored.header.threads);
    output::note(&format!("training {} models again", stored.rounds.len()));
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().context("cannot start the run")?;
    ensure!(status.success(), "the run could not be done again, as said above");
    Ok(())
}

/// What is not the strategy's doing.
fn compare_starts(recorded: &StoredRun, again: &StoredRun) -> Result<()> {
    let (one, other) = (&recorded.header, &again.header);
    if one.dataset.digest != other.dataset.digest {
        bail!(
            "the dataset is not the one of the run (sha256 {}, now {}): nothing can be compared",
            one.dataset.digest,
            other.dataset.digest
        );
    }
    if recorded.split()? != again.split()? || recorded.initial()? != again.initial()? {
        bail!(
            "split or initial set are not those of the run: the program draws them otherwise now, or they were changed"
        );
    }
    if one.backend != other.backend {
        output::note(&format!(
            "note: the run was trained by {}, this is {}; another machine or library may train another model",
            one.backend, other.backend
        ));
    }
    Ok(())
}
