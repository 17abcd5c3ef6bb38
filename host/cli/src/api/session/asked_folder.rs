//! A batch that was asked for and is not labelled yet, on the disk: written whole or not at all.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use querist_core::digest::sha256;
use querist_core::{Asked, Round, SampleId, Usage as Used};
use querist_data::arrays::write_safetensors;
use querist_files::{Links, shown};
use serde::{Deserialize, Serialize};

use crate::commands::replay::features::named;
use crate::round_files::{FEATURES, MOST_TEXT, STATE, digest_of_written, most_bytes, parse_json, write_durably};
use crate::whole_folder::WholeFolder;

/// The batch.
const BATCH: &str = "batch.json";
/// The folder.
const FOLDER: &str = "asked";

/// `asked/` of a run folder.
pub struct AskedFolder {
    folder: WholeFolder,
}

/// The batch as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    round: Round,
    ids: Vec<SampleId>,
    /// Bits of the scores.
    scores: Vec<u64>,
    rows: usize,
    #[serde(deserialize_with = "querist_core::record::distinct")]
    figures: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(deserialize_with = "querist_core::record::distinct")]
    terms: BTreeMap<String, Vec<f64>>,
    usage: Used,
    seconds: f64,
    /// SHA-256 of the files beside it.
    #[serde(deserialize_with = "querist_core::record::distinct")]
    files: BTreeMap<String, String>,
}

/// What was read.
pub struct Found {
    batch: Batch,
    state: Option<Vec<u8>>,
    features: Option<Vec<u8>>,
}

impl AskedFolder {
    /// That of a run folder.
    pub fn of(run: &Path) -> Self {
        Self { folder: WholeFolder::at(run.join(FOLDER)) }
    }

    /// Writes a batch; it is there once this returns, and stays until the round is committed.
    pub fn write(&self, round: Round, asked: &Asked) -> Result<()> {
        let write = |temporary: &Path| {
            let mut files = BTreeMap::new();
            if let Some(state) = &asked.state {
                write_durably(&temporary.join(STATE), state)?;
                files.insert(STATE.to_owned(), sha256(state));
            }
            if !asked.arrays.is_empty() {
                let path = temporary.join(FEATURES);
                write_safetensors(&path, &asked.arrays)?;
                files.insert(FEATURES.to_owned(), digest_of_written(FEATURES, &path)?);
            }
            let batch = Batch {
                round,
                ids: asked.acquisition.ids().to_vec(),
                scores: asked.acquisition.scores().iter().map(|score| score.to_bits()).collect(),
                rows: asked.rows,
                figures: asked.figures.clone(),
                terms: asked.terms.clone(),
                usage: asked.usage,
                seconds: asked.seconds,
                files,
            };
            write_durably(&temporary.join(BATCH), &serde_json::to_vec(&batch)?)
        };
        let written = self.folder.write(write);
        written.with_context(|| format!("the batch cannot be written down in {}", shown(self.folder.path())))
    }

    /// Removes it, once its round is committed.
    pub fn remove(&self) -> Result<()> {
        self.folder.remove()
    }

    /// Reads what was asked for in this round; what is of another round was committed, and is removed.
    pub fn read(&self, round: Round) -> Result<Option<Found>> {
        if !self.folder.tidied()? {
            return Ok(None);
        }
        let path = self.folder.path().join(BATCH);
        let batch: Batch = parse_json(&path, &querist_files::read(&path, Links::Refuse, MOST_TEXT)?)?;
        if batch.round != round {
            self.remove()?;
            return Ok(None);
        }
        let read = |name: &str| -> Result<Option<Vec<u8>>> {
            let Some(digest) = batch.files.get(name) else { return Ok(None) };
            let path = self.folder.path().join(name);
            let bytes = querist_files::read(&path, Links::Refuse, most_bytes(name).unwrap_or(0))?;
            ensure!(sha256(&bytes) == *digest, "{} was changed after it was written", shown(&path));
            Ok(Some(bytes))
        };
        let (state, features) = (read(STATE)?, read(FEATURES)?);
        Ok(Some(Found { batch, state, features }))
    }
}

impl Found {
    /// The batch, once it is known to be one that this round may ask for.
    pub fn asked(self, rows: &[SampleId], batch: usize, folder: &Path) -> Result<Asked> {
        let Self { batch: found, state, features } = self;
        let scores = found.scores.iter().map(|&bits| f64::from_bits(bits)).collect();
        let path = shown(&folder.join(FOLDER).join(BATCH));
        let acquisition = Asked::again(rows, (&found.ids, scores), batch).with_context(|| path.to_string())?;
        ensure!(found.rows == rows.len(), "{path}: `rows` is {}, expected {}", found.rows, rows.len());
        let arrays = match features {
            Some(bytes) => named(&bytes).with_context(|| path.to_string())?,
            None => BTreeMap::new(),
        };
        let Batch { figures, terms, usage, seconds, .. } = found;
        Ok(Asked { acquisition, rows: rows.len(), state, figures, terms, usage, seconds, arrays })
    }
}
