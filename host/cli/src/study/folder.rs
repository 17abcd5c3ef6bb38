//! The folder of a study.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use querist_core::config::{Cell, RunConfig};
use querist_files::{Links, shown};
use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, State};
use crate::exit::Usage;
use crate::run_folder::lock;
use crate::stored_run::{StoredRun, refuse_linked};

/// Version of `plan.json`.
const VERSION: u32 = 1;
/// Bytes of `plan.json` at most.
const MOST_PLAN: u64 = 256 << 20;
/// Bytes of a run file at most, as of any config file.
const MOST_RUN_FILE: u64 = 4 << 20;
/// Hex digits of a digest in the names of a cell's files.
const DIGITS: usize = 10;

/// A cell, as the plan keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Run folder, within the study's.
    pub folder: String,
    /// SHA-256 of what its result depends on, in hex.
    pub digest: String,
    /// Label of its strategy.
    pub label: String,
    /// Root seed.
    pub seed: u64,
    /// What it has of each axis.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub point: BTreeMap<String, String>,
}

impl Planned {
    /// A name for people: `margin/seed-0`, and what it has of each axis.
    pub fn name(&self) -> String {
        let point = self.point.iter().map(|(key, value)| format!(" {key}={value}")).collect::<String>();
        format!("{}/seed-{}{point}", self.label, self.seed)
    }
}

#[derive(Serialize, Deserialize)]
struct Plan {
    version: u32,
    cells: Vec<Planned>,
}

/// The folder of a study, laid out.
#[derive(Debug, Clone)]
pub struct StudyFolder {
    root: PathBuf,
    /// Its cells, in the order in which they are run.
    pub cells: Vec<Planned>,
}

impl StudyFolder {
    /// Writes the plan and the run files. The folder's cells are this process's to start as long as it holds the lock.
    pub fn lay_out(root: &Path, cells: &[Cell]) -> Result<(Self, File)> {
        let files = root.join("cells");
        fs::create_dir_all(&files).with_context(|| format!("cannot make {}", shown(&files)))?;
        refuse_linked(&files)?;
        let lock = lock(&files.join("lock"), "study", root)?;
        let of_before = runs_of_before(root);
        let planned = cells.iter().map(|cell| Planned {
            folder: of_before
                .iter()
                .find(|(config, _)| *config == cell.config)
                .map_or_else(|| cell.folder(), |(_, folder)| folder.clone()),
            digest: cell.digest.clone(),
            label: cell.config.strategy.label().to_owned(),
            seed: cell.config.seeds.root,
            point: cell.point.clone(),
        });
        let study = Self { root: root.to_owned(), cells: planned.collect() };
        for (planned, cell) in study.cells.iter().zip(cells) {
            let (path, text) = (study.file(planned, "toml"), toml::to_string(&cell.config)?);
            let before = querist_files::read_text(&path, Links::Refuse, MOST_RUN_FILE);
            if before.map_or(true, |before| before != text) {
                replace(&path, text.as_bytes()).with_context(|| format!("cannot write {}", shown(&path)))?;
            }
        }
        let plan = serde_json::to_vec(&Plan { version: VERSION, cells: study.cells.clone() })?;
        let path = root.join("plan.json");
        replace(&path, &plan).with_context(|| format!("cannot write {}", shown(&path)))?;
        Ok((study, lock))
    }

    /// Reads the plan of a study that was laid out.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("plan.json");
        if fs::symlink_metadata(&path).is_err() {
            let message = format!("{} is no study's folder: it has no plan.json", shown(root));
            return Err(Usage(message).into());
        }
        let bytes = querist_files::read(&path, Links::Refuse, MOST_PLAN)?;
        let plan: Plan = serde_json::from_slice(&bytes).with_context(|| {
            format!("{}: expected a study's plan; `querist study run` writes it anew", shown(&path))
        })?;
        ensure!(plan.version == VERSION, "{}: version {}, this program reads {VERSION}", shown(&path), plan.version);
        for cell in &plan.cells {
            let fits = cell.digest.len() == 64 && cell.digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_name = !cell.label.is_empty() && !cell.label.contains('/');
            let inside =
                Path::new(&cell.folder).components().all(|part| matches!(part, std::path::Component::Normal(_)));
            ensure!(fits && inside && is_name, "{}: a cell has no digest or a folder elsewhere", shown(&path));
        }
        Ok(Self { root: root.to_owned(), cells: plan.cells })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run folder of a cell.
    pub fn run(&self, cell: &Planned) -> PathBuf {
        self.root.join(&cell.folder)
    }

    /// A file of a cell: `toml`, `log` or `json`.
    pub fn file(&self, cell: &Planned, ending: &str) -> PathBuf {
        let Planned { label, seed, digest, .. } = cell;
        self.root.join("cells").join(format!("{label}-s{seed}-{}.{ending}", &digest[..DIGITS]))
    }

    /// The ledger of a cell.
    pub fn ledger(&self, cell: &Planned) -> Result<Ledger> {
        Ledger::read(&self.file(cell, "json"))
    }

    /// Begins a new ledger for a cell whose own is none, and says so.
    pub fn mend(&self, cell: &Planned) {
        let path = self.file(cell, "json");
        if self.ledger(cell).is_err() {
            // Where it cannot be written now it cannot be written later either, which is told then.
            let _ = Ledger::read_or_begin(&path).write(&path);
        }
    }

    /// How far a cell is. What the ledger calls done must be there, and what is there is done, whatever the ledger
    /// says.
    pub fn state(&self, cell: &Planned) -> Result<(State, Ledger)> {
        let ledger = self.ledger(cell)?;
        let is_run = StoredRun::is_run(&self.run(cell));
        let state = match ledger.state() {
            State::Done if is_run => State::Done,
            State::Done => State::Queued,
            _ if is_run && StoredRun::read(&self.run(cell)).is_ok_and(|run| run.is_finished()) => State::Done,
            // Whoever did it is gone; the next call goes on with it.
            State::Running if ledger.attempts.last().is_some_and(super::ledger::Attempt::is_gone) => State::Stopped,
            state => state,
        };
        Ok((state, ledger))
    }
}

/// Runs of a study that was laid out before digests were part of its folders' names: their configs and folders.
fn runs_of_before(root: &Path) -> Vec<(RunConfig, String)> {
    let Ok(entries) = fs::read_dir(root.join("files")) else { return Vec::new() };
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let text = querist_files::read_text(&entry.ok()?.path(), Links::Refuse, MOST_RUN_FILE).ok()?;
        let config = toml::from_str::<RunConfig>(&text).ok()?.resolved();
        let folder = format!("{}/seed-{}", config.strategy.label(), config.seeds.root);
        StoredRun::is_run(&root.join(&folder)).then_some((config, folder))
    };
    entries.filter_map(read).collect()
}

/// Writes a file in place of whatever has its name; a link is replaced, not followed.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<File> {
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(path.parent().context("it has no folder")?)?;
    file.write_all(bytes)?;
    Ok(file.persist(path)?)
}
