//! The run folder: the source of truth of a run, changed by whole rounds only.
//!
//! ```text
//! run.toml       the config with every default written out     header.json  versions, digests, device
//! split.json     pool, validation and test                     initial.csv  the labelled set before round 0
//! rounds/0003/   one finished round                            rounds.jsonl one record a line, derived from rounds/
//! ```
//! A round is written to `rounds/0003.tmp/`, made durable, and renamed: it is there whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use querist_core::config::{KeepConfig, KeepRounds, RunConfig};
use querist_core::digest::sha256;
use querist_core::ids::{Round, SampleId};
use querist_core::observer::FinishedRound;
use querist_core::record::need_names;
use querist_core::variant::VariantFacts;
use querist_core::{
    Array, Dataset, Outcome, RoundRecord, Settled, Split, StrategyIdentity, StrategyKind, Synthetic, Values,
};
use querist_data::arrays::write_safetensors;
use querist_files::{Links, open_or_create, shown, sync_folder};
use querist_protocol::Shown;
use serde::{Deserialize, Serialize};

use crate::exit::Usage;
use crate::own_learner::LearnerFacts;
use crate::plugins::Ready;
use crate::reveal_log::RevealLog;
use crate::round_files::{
    CONFUSION, DIGESTS, EPOCHS, FEATURES, MODEL, OPTIMISER, PICKS, PICTURES, RECORD, REVEALED, STATE, SYNTHETIC,
    WATCHED, check_length, digest_of_written, read_optional, write_durably,
};
use crate::stored_run::{StoredRound, StoredRun, read_config, read_header, refuse_linked};
use crate::{confusion_file, epoch_file, outcome_file, thumbnails, watched_file};

/// Version of the folder's layout and of what its numbers mean.
///
/// Since 2 samples are numbered and random streams are named otherwise: the same config gives other runs.
pub const LAYOUT: u32 = 2;
/// The oldest layout that can be read; a run of an older one than [`LAYOUT`] cannot go on.
pub const OLDEST_READABLE: u32 = 1;

/// Facts about a run that do not change from round to round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the folder's layout.
    pub layout: u32,
    /// Version of the program that made the folder.
    pub querist: String,
    /// The dataset.
    pub dataset: DatasetFacts,
    /// The strategy's implementation.
    pub strategy: StrategyIdentity,
    /// Its parameters with every default.
    pub params: serde_json::Value,
    /// What it was handed.
    pub needs: Vec<String>,
    /// Powers beyond arrays that it used for that.
    pub capabilities: Vec<querist_protocol::Capability>,
    /// SHA-256 of the files that arrays come from which are not the task model's, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arrays: BTreeMap<String, String>,
    /// SHA-256 of the file of weights that models start from, where the run names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The learner, where it is a program of the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learner: Option<LearnerFacts>,
    /// Device and libraries.
    pub backend: String,
    /// Threads of training and kernels.
    pub threads: usize,
}

/// Facts about a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetFacts {
    /// Name as users write it.
    pub name: String,
    /// SHA-256 over images, labels and class names.
    pub digest: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Samples that may be labelled, at the start.
    pub pool: usize,
    /// Samples held out for validation.
    pub validation: usize,
    /// Samples of the test.
    pub test: usize,
    /// Samples that left the pool for the upper baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<usize>,
    /// What `dataset.variant` changed of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantFacts>,
}

impl Header {
    /// Samples that a round was tested on: the test set, or where there is none, what was held out so far.
    pub fn tested(&self, record: &RoundRecord) -> usize {
        if self.dataset.test > 0 { self.dataset.test } else { record.held_out }
    }

    /// The header of a new run.
    pub fn new(
        dataset: &Dataset,
        split: &Split,
        (ready, settled): (&Ready, &Settled),
        backend: String,
        threads: usize,
    ) -> Self {
        Self {
            layout: LAYOUT,
            querist: env!("CARGO_PKG_VERSION").to_owned(),
            dataset: DatasetFacts {
                name: dataset.name().to_owned(),
                digest: dataset.digest().to_owned(),
                classes: dataset.class_names().to_vec(),
                pool: split.pool.len(),
                validation: split.validation.len(),
                test: split.test.len(),
                reserve: Some(split.reserve.len()).filter(|&count| count > 0),
                variant: None,
            },
            strategy: ready.strategy.identity().clone(),
            params: ready.params.clone(),
            needs: need_names(settled.needs()),
            capabilities: settled.capabilities().to_vec(),
            arrays: BTreeMap::new(),
            weights: None,
            learner: None,
            backend,
            threads,
        }
    }
}

/// A run folder that this process alone may change.
pub struct RunFolder {
    folder: PathBuf,
    keep: KeepConfig,
    classes: Vec<String>,
    /// Held open and locked for as long as the process works on the folder.
    _lock: File,
}

impl RunFolder {
    /// Makes the folder of a new run.
    ///
    /// The folder appears under its name only when everything about the run's start is written, but for an initial set
    /// that people have yet to label: that is `None`.
    pub fn create(
        folder: &Path,
        config: &RunConfig,
        header: &Header,
        split: &Split,
        initial: Option<&[(SampleId, Outcome)]>,
        dataset: &Dataset,
    ) -> Result<Self> {
        refuse_occupied(folder)?;
        let parent = parent_of(folder);
        fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", shown(&parent)))?;
        let prefix = new_prefix(folder);
        remove_unborn(&parent, &prefix)?;
        let temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .rand_bytes(NEW_SUFFIX)
            .tempdir_in(&parent)
            .with_context(|| format!("cannot write in {}", shown(&parent)))?;
        let new = temporary.path();
        write_durably(&new.join("run.toml"), toml::to_string(config)?.as_bytes())?;
        write_durably(&new.join("header.json"), &serde_json::to_vec_pretty(header)?)?;
        write_durably(&new.join("split.json"), &serde_json::to_vec(split)?)?;
        if let Some(initial) = initial {
            let file = |sample| dataset.file(sample).unwrap_or_default();
            let rows = initial.iter().map(|&(sample, outcome)| (sample, file(sample), outcome));
            write_durably(&new.join(INITIAL), &outcome_file::initial_csv(rows)?)?;
        }
        write_durably(&new.join("rounds.jsonl"), b"")?;
        write_durably(&new.join("lock"), b"")?;
        fs::create_dir(new.join("rounds"))?;
        sync_folder(new)?;
        fs::rename(new, folder).with_context(|| format!("cannot make {}", shown(folder)))?;
        // It is renamed away: nothing is left to clean up.
        let _ = temporary.keep();
        sync_folder(&parent)?;
        Self::lock(folder, config, header)
    }

    /// Opens the folder of a run to go on with it: removes what an interrupted commit left and rebuilds derived files.
    pub fn resume(folder: &Path) -> Result<(Self, StoredRun)> {
        let no_run = || format!("{} holds no run to resume", shown(folder));
        let header = read_header(folder).with_context(no_run)?;
        refuse_old(folder, &header)?;
        let config = read_config(folder).with_context(no_run)?;
        let rounds = folder.join("rounds");
        refuse_linked(&rounds)?;
        let this = Self::lock(folder, &config, &header)?;
        remove_half_written(&rounds)?;
        let stored = StoredRun::read(folder)?;
        this.rebuild_lines(&stored.rounds)?;
        // The process may have ended before the newest round took over from the one before.
        for round in &stored.rounds {
            this.drop_reveals(round.record.round)?;
            this.drop_older(round.record.round)?;
        }
        Ok((this, stored))
    }

    fn lock(folder: &Path, config: &RunConfig, header: &Header) -> Result<Self> {
        let lock = lock(&folder.join("lock"), "run", folder)?;
        let mut keep = config.experiment.keep.clone();
        if goes_on_from_models(header, config) && keep.model == KeepRounds::None {
            keep.model = KeepRounds::Last;
        }
        Ok(Self { folder: folder.to_owned(), keep, classes: header.dataset.classes.clone(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Commits a finished round: from here on it is never lost.
    pub fn commit(&self, round: &FinishedRound<'_>, dataset: &Dataset) -> Result<()> {
        self.put(round.record, |folder| self.write_round(folder, round, dataset))
    }

    /// Commits a round whose files `write` writes into a folder.
    pub fn put(&self, record: &RoundRecord, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let name = round_name(record.round);
        let rounds = self.folder.join("rounds");
        let temporary = rounds.join(format!("{name}.tmp"));
        let committed = (|| {
            fs::create_dir(&temporary)?;
            write(&temporary)?;
            sync_folder(&temporary)?;
            fs::rename(&temporary, rounds.join(&name))?;
            Ok::<_, anyhow::Error>(sync_folder(&rounds)?)
        })();
        if let Err(error) = committed {
            // Best effort: what stays behind is removed on resume.
            let _ = fs::remove_dir_all(&temporary);
            return Err(error).with_context(|| {
                format!("round {} cannot be saved in {}; rounds before it are safe", record.round, shown(&rounds))
            });
        }
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let lines = self.folder.join("rounds.jsonl");
        append(&lines, &line)
            .with_context(|| format!("cannot append to {} (it is rebuilt on resume)", shown(&lines)))?;
        self.drop_reveals(record.round)?;
        self.drop_older(record.round)
    }

    /// Where labels are written down that are asked for inside the batch of this round.
    pub fn reveal_log(&self, round: Round) -> Result<RevealLog> {
        RevealLog::open(&self.reveal_path(round))
    }

    fn reveal_path(&self, round: Round) -> PathBuf {
        self.folder.join(format!("revealed-{}.csv", round_name(round)))
    }

    /// Removes the log of labels of a round that is committed, which holds it.
    fn drop_reveals(&self, round: Round) -> Result<()> {
        let path = self.reveal_path(round);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", shown(&path)))
            }
            _ => Ok(()),
        }
    }

    /// Writes the files of a round; those of one whose batch waits say nothing of its labels.
    pub fn write_round(&self, folder: &Path, round: &FinishedRound<'_>, dataset: &Dataset) -> Result<()> {
        let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        files.insert(RECORD, serde_json::to_vec_pretty(round.record)?);
        // A learner of the user's own tells of none.
        if self.keep.epochs && !round.epochs.is_empty() {
            files.insert(EPOCHS, epoch_file::csv(round.epochs)?);
        }
        if round.picks.is_none() && !round.confusion.0.is_empty() {
            files.insert(CONFUSION, confusion_file::csv(round.confusion)?);
        }
        if !round.watched.is_empty() {
            files.insert(WATCHED, watched_file::csv(round.watched)?);
        }
        if let Some((acquired, outcomes)) = round.picks {
            let rows = outcome_file::asked(acquired.ids(), acquired.scores(), dataset);
            let picks = match outcomes.is_empty() {
                true => outcome_file::asked_csv(&rows)?,
                false => outcome_file::picks_csv(&rows, outcomes, &self.classes)?,
            };
            files.insert(PICKS, picks);
            if dataset.has_images() {
                files.insert(PICTURES, thumbnails::strip(acquired.ids(), dataset)?);
            }
        }
        if let Some(revealed) = read_optional(&self.reveal_path(round.record.round))? {
            files.insert(REVEALED, revealed);
        }
        if let Some(state) = round.state {
            files.insert(STATE, state.to_vec());
        }
        if self.keep.model != KeepRounds::None {
            files.insert(MODEL, round.learner.model()?);
        }
        if let Some(state) = round.learner.optimiser()? {
            files.insert(OPTIMISER, state);
        }
        for (name, bytes) in &files {
            check_length(name, bytes.len() as u64)?;
            write_durably(&folder.join(name), bytes)?;
        }
        let mut digests: BTreeMap<&str, String> = files.iter().map(|(name, bytes)| (*name, sha256(bytes))).collect();
        if self.keep.features != KeepRounds::None && !round.features.is_empty() {
            let path = folder.join(FEATURES);
            write_safetensors(&path, round.features)?;
            digests.insert(FEATURES, digest_of_written(FEATURES, &path)?);
        }
        if !round.synthetic.is_empty() {
            let path = folder.join(SYNTHETIC);
            write_synthetic(&path, round.synthetic)?;
            digests.insert(SYNTHETIC, digest_of_written(SYNTHETIC, &path)?);
        }
        write_durably(&folder.join(DIGESTS), &serde_json::to_vec_pretty(&digests)?)
    }

    /// Removes what only the newest round keeps from the round before.
    fn drop_older(&self, round: Round) -> Result<()> {
        let Some(before) = round.0.checked_sub(1) else { return Ok(()) };
        let folder = self.folder.join("rounds").join(round_name(Round(before)));
        let kept = [(self.keep.model, MODEL), (KeepRounds::Last, OPTIMISER), (self.keep.features, FEATURES)];
        for (keep, name) in kept {
            if keep == KeepRounds::Last {
                match fs::remove_file(folder.join(name)) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Writes `rounds.jsonl` anew where it is not what the rounds say.
    fn rebuild_lines(&self, rounds: &[StoredRound]) -> Result<()> {
        let mut lines = Vec::new();
        for round in rounds {
            serde_json::to_writer(&mut lines, &round.record)?;
            lines.push(b'\n');
        }
        let path = self.folder.join("rounds.jsonl");
        // Whatever else lies there is replaced, not written to.
        let found = querist_files::read(&path, Links::Refuse, lines.len() as u64);
        if found.ok().as_deref() != Some(&lines) {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(&lines)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            sync_folder(&self.folder)?;
        }
        Ok(())
    }
}

/// Locks a run or a study for this process, as long as the file is open.
pub fn lock(path: &Path, what: &str, folder: &Path) -> Result<File> {
    let lock = open_or_create(path).with_context(|| format!("cannot work on {}", shown(folder)))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another process works on the {what} {}: wait for it, or choose another `--out`", shown(folder))
        }
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", shown(path))),
    }
}

/// Whether another process works on a run at this moment.
pub fn is_held(folder: &Path) -> bool {
    StoredRun::is_run(folder)
        && open_or_create(&folder.join("lock"))
            .is_ok_and(|lock| matches!(lock.try_lock(), Err(fs::TryLockError::WouldBlock)))
}

/// Whether the strategy may look at the model of the round before or train from it.
pub fn takes_part_in_training(header: &Header) -> bool {
    header.strategy.kind == StrategyKind::NativeTorch
}

/// Whether a round may start from the model of the round before.
pub fn goes_on_from_models(header: &Header, config: &RunConfig) -> bool {
    takes_part_in_training(header) || config.experiment.recipe.init.goes_on()
}

/// The labelled set before round 0.
pub const INITIAL: &str = "initial.csv";
/// Random characters at the end of the name under which a run folder is made.
const NEW_SUFFIX: usize = 6;

/// Refuses to start a run in a folder that holds something.
pub fn refuse_occupied(folder: &Path) -> Result<()> {
    if folder.exists() && fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let goes_on = if StoredRun::is_run(folder) { "`--resume` goes on with the run in it; " } else { "" };
        let message = format!("{} exists already\nhint: {goes_on}`--out DIR` starts a run elsewhere", shown(folder));
        return Err(Usage(message).into());
    }
    Ok(())
}

/// What the name of a run folder that is being made begins with.
fn new_prefix(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!(".querist-new-{name}.")
}

/// Removes what processes left that were killed while they made the same run folder.
fn remove_unborn(parent: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(parent).with_context(|| format!("cannot read {}", shown(parent)))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        // The length tells `r` from a run that is called `r.` and something.
        if is_folder && name.starts_with(prefix) && name.len() == prefix.len() + NEW_SUFFIX {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", shown(&path)))?;
        }
    }
    Ok(())
}

/// Refuses to go on with a run whose next rounds would not mean what its rounds mean.
fn refuse_old(folder: &Path, header: &Header) -> Result<()> {
    ensure!(
        header.layout == LAYOUT,
        "{}: begun by querist {} with layout {}, which cannot go on in layout {LAYOUT}: samples are numbered and \
         random numbers are drawn otherwise since\nhint: `querist report` still reads it; start the run anew with \
         another `--out`, or go on with the version that began it",
        shown(folder),
        Shown::name(&header.querist),
        header.layout
    );
    Ok(())
}

/// Removes what an interrupted commit left. `rounds` is a folder and no link.
fn remove_half_written(rounds: &Path) -> Result<()> {
    for entry in fs::read_dir(rounds).with_context(|| shown(rounds).into_string())? {
        let entry = entry.with_context(|| shown(rounds).into_string())?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".tmp")).and_then(|number| number.parse().ok());
        let is_ours = number.is_some_and(|number| format!("{}.tmp", round_name(Round(number))).as_str() == name);
        if is_ours && entry.file_type().is_ok_and(|found| found.is_dir()) {
            let path = entry.path();
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", shown(&path)))?;
        }
    }
    Ok(())
}

/// The name of a round's folder.
pub fn round_name(round: Round) -> String {
    format!("{:04}", round.0)
}

/// The samples that images were made of, and the images, a row each.
fn write_synthetic(path: &Path, synthetic: &[Synthetic]) -> Result<()> {
    let ids: Vec<u64> = synthetic.iter().map(|image| image.sample.0).collect();
    let values: Vec<f32> = synthetic.iter().flat_map(|image| image.values.iter().copied()).collect();
    let images = Array::f32(vec![ids.len(), values.len() / ids.len().max(1)], values)?;
    let ids = Array::new(vec![ids.len()], Values::U64(ids.into()))?;
    let arrays = BTreeMap::from([("ids".to_owned(), ids), ("images".to_owned(), images)]);
    Ok(write_safetensors(path, &arrays)?)
}

/// Appends to a file of ours.
fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = open_or_create(path)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

fn parent_of(folder: &Path) -> PathBuf {
    match folder.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
