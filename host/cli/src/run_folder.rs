//! The run folder: the source of truth of a run, changed by whole rounds only.
//!
//! ```text
//! run.toml       the config with every default written out     header.json  versions, digests, device
//! split.json     pool, validation and test                     initial.csv  the labelled set before round 0
//! rounds/0003/   one finished round                            rounds.jsonl one record a line, derived from rounds/
//! ```
//! A round is written to `rounds/0003.tmp/`, made durable, and renamed: it is there whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use querist_core::config::{KeepConfig, KeepRounds, RunConfig};
use querist_core::ids::{Label, Round, SampleId};
use querist_core::record::{EpochRecord, FinishedRound, need_names};
use querist_core::{
    Array, Dataset, Partition, Position, RoundRecord, Settled, Split, StrategyIdentity, StrategyKind, Synthetic, Values,
};
use querist_data::arrays::{Kind, read_array, write_safetensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::plugins::Ready;
use crate::reveal_log::RevealLog;
use crate::thumbnails;

/// The file of images that the strategy made in a round.
const SYNTHETIC: &str = "synthetic.safetensors";

/// Version of the folder's layout.
const LAYOUT: u32 = 1;

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
    /// SHA-256 of the files that fixed embeddings come from, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_embeddings: Option<String>,
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
}

impl Header {
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
            },
            strategy: ready.strategy.identity().clone(),
            params: ready.params.clone(),
            needs: need_names(settled.needs()),
            capabilities: settled.capabilities().to_vec(),
            fixed_embeddings: None,
            backend,
            threads,
        }
    }
}

/// One finished round, read back.
#[derive(Debug, Clone)]
pub struct StoredRound {
    /// Its folder.
    pub folder: PathBuf,
    /// Its record.
    pub record: RoundRecord,
    /// What was labelled at its end.
    pub labels: Vec<(SampleId, Label)>,
}

impl StoredRound {
    /// The images that the strategy made in it, with the labels of its picks.
    fn synthetic(&self) -> Result<Vec<Synthetic>> {
        let path = self.folder.join(SYNTHETIC);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let array = |name, kind| read_array(&path, Some(name), kind);
        let (ids, images) = (array("ids", Kind::U64)?, array("images", Kind::F32)?);
        let (Values::U64(ids), Some(images), [count, floats]) = (ids.values(), images.as_f32(), images.shape()) else {
            bail!("{}: expected ids `[n]` and images `[n, values]`", path.display());
        };
        ensure!(ids.len() == *count, "{}: {} ids of {count} images", path.display(), ids.len());
        let label = |id: u64| self.labels.iter().find(|(sample, _)| sample.0 == id).map(|&(_, label)| label);
        let image = |(&id, values): (&u64, &[f32])| match label(id) {
            Some(label) => Ok(Synthetic { sample: SampleId(id), label, values: values.into() }),
            None => {
                bail!("{}: an image of sample {id}, which round {} did not pick", path.display(), self.record.round)
            }
        };
        ids.iter().zip(images.chunks((*floats).max(1))).map(image).collect()
    }
}

/// A run folder, read.
#[derive(Debug, Clone)]
pub struct StoredRun {
    /// The folder.
    pub folder: PathBuf,
    /// The config with every default.
    pub config: RunConfig,
    /// The header.
    pub header: Header,
    /// Finished rounds, from 0 on.
    pub rounds: Vec<StoredRound>,
}

impl StoredRun {
    /// Whether a folder holds a run.
    pub fn is_run(folder: &Path) -> bool {
        folder.join("header.json").is_file()
    }

    /// Reads a run folder; checks that every finished round is as it was written.
    pub fn read(folder: &Path) -> Result<Self> {
        let config = read_toml(&folder.join("run.toml"))?;
        let header: Header = read_json(&folder.join("header.json"))?;
        ensure!(
            header.layout == LAYOUT,
            "{}: made by querist {} with layout {}; this is layout {LAYOUT}",
            folder.display(),
            header.querist,
            header.layout
        );
        Ok(Self { rounds: read_rounds(folder)?, config, header, folder: folder.to_owned() })
    }

    /// The position after the last finished round, rebuilt by replaying all of them.
    pub fn position(&self) -> Result<Position> {
        let split: Split = read_json(&self.folder.join("split.json"))?;
        let mut partition = Partition::new(&split.pool);
        let replayed = |error| format!("{}: the rounds do not fit each other: {error}", self.folder.display());
        let initial = read_labels(&self.folder.join("initial.csv"))?;
        partition.acquire(Round(0), &initial).map_err(|e| anyhow::anyhow!(replayed(e)))?;
        for (round, stored) in (1..).zip(&self.rounds) {
            partition.acquire(Round(round), &stored.labels).map_err(|e| anyhow::anyhow!(replayed(e)))?;
        }
        let state = match self.rounds.last() {
            Some(last) => read_optional(&last.folder.join("state.bin"))?,
            None => None,
        };
        let made = self.rounds.iter().map(StoredRound::synthetic).collect::<Result<Vec<_>>>()?;
        let synthetic = made.into_iter().flatten().collect();
        Ok(Position { round: Round(self.rounds.len() as u32), partition, state, synthetic })
    }

    /// The model of the last finished round, where the strategy takes part in training and so may go on from it.
    pub fn model_to_go_on_with(&self) -> Result<Option<Vec<u8>>> {
        let Some(last) = self.rounds.last().filter(|_| takes_part_in_training(&self.header)) else { return Ok(None) };
        let path = last.folder.join("model.safetensors");
        let read = fs::read(&path).with_context(|| {
            format!("{}: the strategy may train from this model, so the run cannot go on without it", path.display())
        });
        read.map(Some)
    }

    /// The split that the run was started with.
    pub fn split(&self) -> Result<Split> {
        read_json(&self.folder.join("split.json"))
    }

    /// Whether the last round of the plan is done.
    pub fn is_finished(&self) -> Result<bool> {
        let plan = self.config.budget.plan(self.header.dataset.pool)?;
        let exhausted = self.rounds.last().is_some_and(|last| last.record.acquired.is_empty());
        Ok(exhausted || self.rounds.len() > plan.rounds())
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
    /// The folder appears under its name only when everything about the run's start is written.
    pub fn create(
        folder: &Path,
        config: &RunConfig,
        header: &Header,
        split: &Split,
        initial: &[(SampleId, Label)],
        dataset: &Dataset,
    ) -> Result<Self> {
        refuse_occupied(folder)?;
        let parent = parent_of(folder);
        fs::create_dir_all(&parent).with_context(|| format!("cannot make {}", parent.display()))?;
        let prefix = new_prefix(folder);
        remove_unborn(&parent, &prefix)?;
        let temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .rand_bytes(NEW_SUFFIX)
            .tempdir_in(&parent)
            .with_context(|| format!("cannot write in {}", parent.display()))?;
        let new = temporary.path();
        write_durably(&new.join("run.toml"), toml::to_string(config)?.as_bytes())?;
        write_durably(&new.join("header.json"), &serde_json::to_vec_pretty(header)?)?;
        write_durably(&new.join("split.json"), &serde_json::to_vec(split)?)?;
        write_durably(&new.join("initial.csv"), &labels_csv(initial, dataset)?)?;
        write_durably(&new.join("rounds.jsonl"), b"")?;
        write_durably(&new.join("lock"), b"")?;
        fs::create_dir(new.join("rounds"))?;
        sync_folder(new)?;
        fs::rename(new, folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // It is renamed away: nothing is left to clean up.
        let _ = temporary.keep();
        sync_folder(&parent)?;
        Self::lock(folder, config, header)
    }

    /// Opens the folder of a run to go on with it: removes what an interrupted commit left and rebuilds derived files.
    pub fn resume(folder: &Path) -> Result<(Self, StoredRun)> {
        let header: Header = read_json(&folder.join("header.json"))
            .with_context(|| format!("{} holds no run to resume", folder.display()))?;
        let config: RunConfig = read_toml(&folder.join("run.toml"))?;
        let this = Self::lock(folder, &config, &header)?;
        for entry in fs::read_dir(folder.join("rounds"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "tmp") {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
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
        let path = folder.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                bail!("another process works on {}: wait for it, or choose another `--out`", folder.display())
            }
            Err(fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let mut keep = config.keep.clone();
        if takes_part_in_training(header) && keep.model == KeepRounds::None {
            keep.model = KeepRounds::Last;
        }
        Ok(Self { folder: folder.to_owned(), keep, classes: header.dataset.classes.clone(), _lock: lock })
    }

    /// Commits a finished round: from here on it is never lost.
    pub fn commit(&self, round: &FinishedRound<'_>, dataset: &Dataset) -> Result<()> {
        let name = round_name(round.record.round);
        let rounds = self.folder.join("rounds");
        let temporary = rounds.join(format!("{name}.tmp"));
        let committed = (|| {
            fs::create_dir(&temporary)?;
            self.write_round(&temporary, round, dataset)?;
            sync_folder(&temporary)?;
            fs::rename(&temporary, rounds.join(&name))?;
            sync_folder(&rounds)
        })();
        if let Err(error) = committed {
            // Best effort: what stays behind is removed on resume.
            let _ = fs::remove_dir_all(&temporary);
            return Err(error).with_context(|| {
                format!(
                    "round {} cannot be saved in {}; rounds before it are safe",
                    round.record.round,
                    rounds.display()
                )
            });
        }
        let mut line = serde_json::to_vec(round.record)?;
        line.push(b'\n');
        let lines = self.folder.join("rounds.jsonl");
        let appended = OpenOptions::new()
            .append(true)
            .open(&lines)
            .and_then(|mut file| file.write_all(&line).and_then(|()| file.sync_all()));
        appended.with_context(|| format!("cannot append to {} (it is rebuilt on resume)", lines.display()))?;
        self.drop_reveals(round.record.round)?;
        self.drop_older(round.record.round)
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
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn write_round(&self, folder: &Path, round: &FinishedRound<'_>, dataset: &Dataset) -> Result<()> {
        let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        files.insert("record.json", serde_json::to_vec_pretty(round.record)?);
        if self.keep.epochs {
            files.insert("epochs.csv", epochs_csv(round.epochs)?);
        }
        if let Some((acquired, labels)) = round.picks {
            files.insert("picks.csv", self.picks_csv(acquired.scores(), labels, dataset)?);
            files.insert("picks.png", thumbnails::strip(acquired.ids(), dataset)?);
        }
        if let Some(revealed) = read_optional(&self.reveal_path(round.record.round))? {
            files.insert("revealed.csv", revealed);
        }
        if let Some(state) = round.state {
            files.insert("state.bin", state.to_vec());
        }
        if self.keep.model != KeepRounds::None {
            files.insert("model.safetensors", round.learner.model()?);
        }
        for (name, bytes) in &files {
            write_durably(&folder.join(name), bytes)?;
        }
        let mut digests: BTreeMap<&str, String> = files.iter().map(|(name, bytes)| (*name, sha256(bytes))).collect();
        if self.keep.features != KeepRounds::None && !round.features.is_empty() {
            let name = "features.safetensors";
            let path = folder.join(name);
            write_safetensors(&path, round.features)?;
            File::open(&path)?.sync_all()?;
            digests.insert(name, sha256(&fs::read(&path)?));
        }
        if !round.synthetic.is_empty() {
            let path = folder.join(SYNTHETIC);
            write_synthetic(&path, round.synthetic)?;
            digests.insert(SYNTHETIC, sha256(&fs::read(&path)?));
        }
        write_durably(&folder.join(DIGESTS), &serde_json::to_vec_pretty(&digests)?)
    }

    fn picks_csv(&self, scores: &[f64], labels: &[(SampleId, Label)], dataset: &Dataset) -> Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(["rank", "id", "file", "score", "label", "class"])?;
        for (rank, (sample, label)) in labels.iter().enumerate() {
            csv.write_record([
                rank.to_string(),
                sample.to_string(),
                dataset.file(*sample).unwrap_or_default().to_owned(),
                scores.get(rank).map(ToString::to_string).unwrap_or_default(),
                label.to_string(),
                self.classes[label.index()].clone(),
            ])?;
        }
        Ok(csv.into_inner()?)
    }

    /// Removes what only the newest round keeps from the round before.
    fn drop_older(&self, round: Round) -> Result<()> {
        let Some(before) = round.0.checked_sub(1) else { return Ok(()) };
        let folder = self.folder.join("rounds").join(round_name(Round(before)));
        for (keep, name) in [(self.keep.model, "model.safetensors"), (self.keep.features, "features.safetensors")] {
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
        if fs::read(&path).ok().as_deref() != Some(&lines) {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(&lines)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            sync_folder(&self.folder)?;
        }
        Ok(())
    }
}

/// Whether the strategy may look at the model of the round before or train from it.
fn takes_part_in_training(header: &Header) -> bool {
    header.strategy.kind == StrategyKind::NativeTorch
}

const DIGESTS: &str = "digests.json";

/// Random characters at the end of the name under which a run folder is made.
const NEW_SUFFIX: usize = 6;

/// Refuses to start a run in a folder that holds something.
pub fn refuse_occupied(folder: &Path) -> Result<()> {
    if folder.exists() && fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!(
            "{} exists already\nhint: `--resume` goes on with the run in it; `--out DIR` starts one elsewhere",
            folder.display()
        );
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
    for entry in fs::read_dir(parent).with_context(|| format!("cannot read {}", parent.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The length tells `r` from a run that is called `r.` and something.
        if name.starts_with(prefix) && name.len() == prefix.len() + NEW_SUFFIX {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn round_name(round: Round) -> String {
    format!("{:04}", round.0)
}

fn read_rounds(folder: &Path) -> Result<Vec<StoredRound>> {
    let mut rounds = Vec::new();
    loop {
        let folder = folder.join("rounds").join(round_name(Round(rounds.len() as u32)));
        if !folder.is_dir() {
            return Ok(rounds);
        }
        rounds.push(read_round(folder, rounds.len())?);
    }
}

/// Files that older rounds may have given up.
const GIVEN_UP: [&str; 2] = ["model.safetensors", "features.safetensors"];

fn read_round(folder: PathBuf, number: usize) -> Result<StoredRound> {
    let digests: BTreeMap<String, String> = read_json(&folder.join(DIGESTS))?;
    for (name, digest) in &digests {
        let path = folder.join(name);
        match fs::read(&path) {
            Ok(bytes) if sha256(&bytes) == *digest => {}
            Ok(_) => bail!("{} was changed after it was written: its SHA-256 is not that in {DIGESTS}", path.display()),
            // Older rounds give up their models and features.
            Err(error) if error.kind() == ErrorKind::NotFound && GIVEN_UP.contains(&name.as_str()) => {}
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        }
    }
    let record: RoundRecord = read_json(&folder.join("record.json"))?;
    ensure!(record.round.index() == number, "{} holds the record of round {}", folder.display(), record.round);
    let picks = folder.join("picks.csv");
    let labels = if picks.exists() { read_labels(&picks)? } else { Vec::new() };
    let ids: Vec<SampleId> = labels.iter().map(|&(sample, _)| sample).collect();
    ensure!(ids == record.acquired, "{}: picks.csv and record.json disagree", folder.display());
    Ok(StoredRound { folder, record, labels })
}

#[derive(Deserialize)]
struct LabelRow {
    id: u64,
    label: u32,
}

fn read_labels(path: &Path) -> Result<Vec<(SampleId, Label)>> {
    let mut reader = csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
    let rows = reader.deserialize().map(|row| row.map(|LabelRow { id, label }| (SampleId(id), Label(label))));
    rows.collect::<Result<_, _>>().with_context(|| path.display().to_string())
}

fn labels_csv(labels: &[(SampleId, Label)], dataset: &Dataset) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["id", "file", "label"])?;
    for (sample, label) in labels {
        let file = dataset.file(*sample).unwrap_or_default();
        csv.write_record([&sample.to_string(), file, &label.to_string()])?;
    }
    Ok(csv.into_inner()?)
}

/// The samples that images were made of, and the images, a row each.
fn write_synthetic(path: &Path, synthetic: &[Synthetic]) -> Result<()> {
    let ids: Vec<u64> = synthetic.iter().map(|image| image.sample.0).collect();
    let values: Vec<f32> = synthetic.iter().flat_map(|image| image.values.iter().copied()).collect();
    let images = Array::f32(vec![ids.len(), values.len() / ids.len().max(1)], values)?;
    let ids = Array::new(vec![ids.len()], Values::U64(ids.into()))?;
    let arrays = BTreeMap::from([("ids".to_owned(), ids), ("images".to_owned(), images)]);
    write_safetensors(path, &arrays)?;
    Ok(File::open(path)?.sync_all()?)
}

fn epochs_csv(epochs: &[EpochRecord]) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for epoch in epochs {
        csv.serialize(epoch)?;
    }
    Ok(csv.into_inner()?)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parent_of(folder: &Path) -> PathBuf {
    match folder.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|file| file.sync_all()).with_context(|| folder.display().to_string())
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
}

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    toml::from_str(&text).with_context(|| path.display().to_string())
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}
