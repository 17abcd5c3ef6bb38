//! A learner of the user's own in a run: what may stand beside it, how it is started, and what records say of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use querist_core::config::{
    EnsembleConfig, KeepRounds, LearnerConfig, ModelConfig, Precision, Recipe, RunConfig, StrategyConfig,
};
use querist_core::digest::sha256_of;
use querist_core::progress::Progress;
use querist_core::{Dataset, LearnError, Learner, SampleId, StrategyKind};
use querist_external::{External, PROTOCOL, Settings};
use querist_files::{Links, shown};
use querist_protocol::{Shown, is_showable};
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::exit::Usage;
use crate::plugins::{self, PluginArgs};
use crate::program;
use crate::stored_run::StoredRun;
use crate::trainer::Trainer;

/// The hidden verb that starts a learner which ends with this process.
pub const START_VERB: &str = "start-learner";

/// Words of a command at most, and files beside it, as the schema has them.
const MOST_WORDS: usize = 256;
const MOST_FILES: usize = MOST_WORDS + 100;
/// Bytes of a word at most.
const MOST_WORD: usize = 4096;

/// What the header of a run says of such a learner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnerFacts {
    /// Its command.
    pub command: Vec<String>,
    /// Its name, as it says itself.
    pub name: String,
    /// Its version, as it says itself.
    pub version: String,
    /// Version of the protocol.
    pub protocol: u32,
    /// The arrays that it offers.
    pub arrays: Vec<String>,
    /// SHA-256 of the files of its command and of those that the run file names, by path.
    pub files: BTreeMap<String, String>,
}

impl LearnerFacts {
    /// Whether it can have been written by this program.
    ///
    /// # Errors
    /// With what cannot.
    pub fn check(&self) -> Result<()> {
        let Self { command, name, version, protocol: _, arrays, files } = self;
        let counts = [(command.len(), MOST_WORDS), (arrays.len(), MOST_WORDS), (files.len(), MOST_FILES)];
        ensure!(counts.iter().all(|(found, most)| found <= most), "`learner` lists more than any run has");
        let texts = command.iter().chain(arrays).chain([name, version]).chain(files.iter().flat_map(|(k, v)| [k, v]));
        for text in texts {
            let fits = text.len() <= MOST_WORD && is_showable(text);
            ensure!(fits, "`learner` holds `{}`, expected text that can be seen", Shown::name(text));
        }
        Ok(())
    }
}

/// Whether a run goes on with the learner that it was started with.
///
/// # Errors
/// As `changed` says it, with what is not as it was.
pub fn check_same(
    before: Option<&LearnerFacts>,
    now: Option<&LearnerFacts>,
    changed: &dyn Fn(&str, &str, &str) -> Result<()>,
) -> Result<()> {
    let (Some(before), Some(now)) = (before, now) else {
        let said = |facts: Option<&LearnerFacts>| facts.map_or_else(|| "none".to_owned(), |facts| facts.name.clone());
        return changed("learner", &said(before), &said(now));
    };
    let named = |facts: &LearnerFacts| format!("{} {}", facts.name, facts.version);
    changed("learner", &named(before), &named(now))?;
    for file in before.files.keys().chain(now.files.keys()) {
        let digest = |facts: &LearnerFacts| facts.files.get(file).cloned().unwrap_or_else(|| "none".to_owned());
        changed(&format!("learner's file {file}"), &digest(before), &digest(now))?;
    }
    Ok(())
}

/// Refuses what would be left out in silence beside a learner of the user's own, and strategies that train.
pub fn refuse_misfits(config: &RunConfig, args: &PluginArgs) -> Result<()> {
    let experiment = &config.experiment;
    let Some(learner) = &experiment.learner else { return Ok(()) };
    let plain = ModelConfig { dropout: experiment.model.dropout, ..ModelConfig::default() };
    let is_plain_model = experiment.model == plain && plain.dropout.is_none_or(|p| p == plain.name.default_dropout());
    let strangers = [
        (!is_plain_model, "model"),
        (experiment.recipe != Recipe::default(), "recipe"),
        (experiment.ensemble != EnsembleConfig::default(), "ensemble"),
        (experiment.compute.precision != Precision::default(), "compute.precision"),
        (experiment.keep.model == KeepRounds::All, "keep.model"),
    ];
    if let Some((_, key)) = strangers.iter().find(|(is_there, _)| *is_there) {
        let message = format!("{key} is for the models of this program, and `learner` is set; remove one of the two");
        return Err(Usage(message).into());
    }
    if let Some(word) = learner.command.iter().chain(&learner.files).find(|word| !is_showable(word)) {
        let message = format!("learner.command and learner.files: `{}` cannot be shown", Shown::name(word));
        return Err(Usage(message).into());
    }
    refuse_training(&config.strategy, args)
}

/// A strategy that trains networks meets the model in this program's memory.
fn refuse_training(strategy: &StrategyConfig, args: &PluginArgs) -> Result<()> {
    let listing = plugins::listing(&args.plugin_dir)?;
    match listing.resolve(&strategy.id) {
        // Who finds none says so later.
        Err(_) => Ok(()),
        Ok(found) if found.package.kind != StrategyKind::NativeTorch => Ok(()),
        Ok(_) => {
            let message = format!(
                "strategy.id: `{}` trains beside a model of this program, and `learner` is a program of your own; \
                 choose a strategy that works on arrays, or leave `learner` out",
                Shown::name(&strategy.id)
            );
            Err(Usage(message).into())
        }
    }
}

/// Whether the program may be started that a folder names, which somebody else may have made.
///
/// # Errors
/// If nobody allowed it.
pub fn allow(stored: &StoredRun, allowed: bool) -> Result<()> {
    let Some(own) = stored.config.experiment.learner.as_ref().filter(|_| !allowed) else { return Ok(()) };
    let message = format!(
        "{} was trained by a program, `{}`: if you trust it, start it with `--start-learner`; a run that keeps \
         features (`keep.features = \"all\"`) is replayed without",
        shown(&stored.folder),
        Shown::new(&own.command.join(" "), 200)
    );
    Err(Usage(message).into())
}

/// The learner of a run, with what the header says of it where it is one of the user's own.
#[expect(clippy::too_many_arguments, reason = "a learner sees all of a run")]
pub fn of<'a>(
    dataset: &'a Dataset,
    pool: &[SampleId],
    config: &'a RunConfig,
    folder: &Path,
    body: Option<&Body>,
    say: &dyn Fn(&str),
    progress: &dyn Progress,
    trainer: &dyn Trainer,
) -> Result<(Box<dyn Learner + 'a>, Option<LearnerFacts>)> {
    let Some(own) = &config.experiment.learner else {
        return Ok((trainer.learner(dataset, pool, config, Some(folder), body, say)?, None));
    };
    let files = digests(own)?;
    let learner = start(dataset, config, own, folder, progress)?;
    let offer = learner.offer();
    let facts = LearnerFacts {
        command: own.command.clone(),
        name: offer.name.clone(),
        version: offer.version.clone(),
        protocol: PROTOCOL,
        arrays: offer.arrays.clone(),
        files,
    };
    Ok((Box::new(learner), Some(facts)))
}

/// Starts a learner of the user's own, which ends with this process however that ends.
pub fn start<'a>(
    dataset: &'a Dataset,
    config: &RunConfig,
    own: &'a LearnerConfig,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<External<'a>, LearnError> {
    let mut starter = program::words().map_err(|error| LearnError::Config(format!("{error:#}")))?;
    starter.extend([START_VERB.into(), std::process::id().to_string().into(), "--".into()]);
    let (seeds, threads) = (config.seeds, config.experiment.compute.threads());
    External::start(dataset, Settings { config: own, starter, seeds, threads, folder: folder.to_owned() }, progress)
}

/// Becomes a learner that ends when `parent` does, which started this process.
///
/// # Errors
/// If the program cannot be started.
pub fn become_learner(parent: i32, command: &[OsString]) -> Result<()> {
    end_with(parent)?;
    let (program, arguments) = command.split_first().context("no command")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", shown(Path::new(program))))
}

/// Ends this process when `parent` does, which started it: a study that was killed leaves nothing that still trains.
pub fn end_with(parent: i32) -> Result<()> {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
    // Rounds are durable, so nothing is lost, and whoever starts the study again finds its folders free.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot follow the process that started this one")?;
    // It may have ended before.
    ensure!(getppid().map(Pid::as_raw_pid) == Some(parent), "the process that started this one is gone");
    Ok(())
}

/// SHA-256 of the files of the command and of those that are named beside it, by path.
fn digests(own: &LearnerConfig) -> Result<BTreeMap<String, String>> {
    let of_command = own.command.iter().skip(1).filter(|word| Path::new(word).is_file());
    let mut digests = BTreeMap::new();
    for file in of_command.chain(&own.files) {
        let digest = digest(&PathBuf::from(file)).map_err(|error| Usage(format!("learner.files: {error:#}")))?;
        digests.insert(file.clone(), digest);
    }
    Ok(digests)
}

fn digest(path: &Path) -> Result<String> {
    let file = querist_files::open(path, Links::Follow)?;
    sha256_of(file).with_context(|| shown(path).into_string())
}
