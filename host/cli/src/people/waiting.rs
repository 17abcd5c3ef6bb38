//! The half round that waits for its labels: `waiting/` of a run folder, there whole or not at all.
//!
//! It has every file of the round but for what hangs on the labels, so that nothing is computed twice: the round is
//! committed out of it once the labels are there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use querist_core::digest::sha256;
use querist_core::{Outcome, RoundRecord, SampleId};
use querist_files::{Links, shown, sync_folder};
use querist_people::{Batch, Stage, WAITING};

use crate::outcome_file;
use crate::round_files::{DIGESTS, Length, PICKS, RECORD, RoundFiles, parse_json, write_durably};
use crate::run_folder::{INITIAL, RunFolder};
use crate::stored_run::StoredRun;
use crate::whole_folder::WholeFolder;

/// `waiting/` of a run folder.
pub struct Waiting {
    folder: WholeFolder,
}

impl Waiting {
    /// That of a run folder.
    pub fn of(run: &Path) -> Self {
        Self { folder: WholeFolder::at(run.join(WAITING)) }
    }

    /// Writes a batch with the files of its round, which `write` writes; it is there once this returns.
    pub fn write(&self, batch: &Batch, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let written = self.folder.write(|folder| {
            write(folder)?;
            Ok(batch.write(folder)?)
        });
        written.with_context(|| format!("the batch cannot be written down in {}", shown(self.folder.path())))
    }

    /// The batch that waits; what was committed before the process ended is removed.
    pub fn batch(&self, stored: &StoredRun) -> Result<Option<Batch>> {
        if !self.folder.tidied()? {
            return Ok(None);
        }
        let batch = self.looked_at(stored)?;
        if batch.is_none() {
            self.folder.remove()?;
        }
        Ok(batch)
    }

    /// The batch that waits, by whoever changes nothing here; one that is committed does not wait.
    pub fn looked_at(&self, stored: &StoredRun) -> Result<Option<Batch>> {
        let path = shown(self.folder.path());
        let Some(batch) = Batch::read(&stored.folder)? else { return Ok(None) };
        let (done, round) = (stored.rounds.len(), |round: u32| round as usize);
        let (is_committed, fits) = match batch.stage {
            Stage::Initial => (!stored.awaits_initial, true),
            Stage::Round(at) => (round(at) < done, round(at) == done && !stored.awaits_initial),
        };
        if is_committed {
            return Ok(None);
        }
        ensure!(fits, "{path}: a batch of stage `{}`, but {done} rounds are finished", batch.stage);
        ensure!(
            batch.classes == stored.header.dataset.classes,
            "{path}: its classes are not those of the run: it was changed after it was written"
        );
        Ok(Some(batch))
    }

    /// The record of the round that waits, which counts no labels yet, and its files.
    pub fn half_round(&self) -> Result<(RoundRecord, RoundFiles)> {
        let files = RoundFiles::open(self.folder.path())?;
        let bytes = files.bytes(RECORD)?.context("every round has a record")?;
        Ok((parse_json(&self.folder.path().join(RECORD), &bytes)?, files))
    }

    /// Commits what waits, now that all of it has an outcome.
    pub fn commit(&self, run: &RunFolder, batch: &Batch, outcomes: &[(SampleId, Outcome)]) -> Result<()> {
        match batch.stage {
            Stage::Initial => self.commit_initial(run, batch, outcomes)?,
            Stage::Round(_) => self.commit_round(run, batch, outcomes)?,
        }
        self.folder.remove()
    }

    fn commit_initial(&self, run: &RunFolder, batch: &Batch, outcomes: &[(SampleId, Outcome)]) -> Result<()> {
        let files = batch.pictures.iter().map(|picture| picture.name.as_str());
        let rows = outcomes.iter().zip(files).map(|(&(sample, outcome), file)| (sample, file, outcome));
        let bytes = outcome_file::initial_csv(rows)?;
        let path = run.path().join(INITIAL);
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(run.path())?;
            std::io::Write::write_all(&mut file, &bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok::<_, anyhow::Error>(sync_folder(run.path())?)
        };
        write().with_context(|| format!("cannot write {}", shown(&path)))
    }

    fn commit_round(&self, run: &RunFolder, batch: &Batch, outcomes: &[(SampleId, Outcome)]) -> Result<()> {
        let folder = self.folder.path();
        let (mut record, files) = self.half_round()?;
        let is_round = batch.stage == Stage::Round(record.round.0);
        let ids = batch.pictures.iter().map(|picture| SampleId(picture.id));
        ensure!(
            is_round && ids.eq(record.acquired.iter().copied()) && outcomes.len() == record.acquired.len(),
            "{}: batch.json and record.json disagree: one was changed after it was written",
            shown(folder)
        );
        record.count(outcomes, run.classes().len());
        let picks = files.bytes(PICKS)?.context("a batch that waits has picks")?;
        let rows = outcome_file::read_asked(&folder.join(PICKS), &picks)?;
        ensure!(rows.len() == outcomes.len(), "{}: {} rows, expected {}", shown(folder), rows.len(), outcomes.len());
        files.check_others(&[RECORD, PICKS], &mut Length::default())?;
        let written = [
            (RECORD, serde_json::to_vec_pretty(&record)?),
            (PICKS, outcome_file::picks_csv(&rows, outcomes, run.classes())?),
        ];
        run.put(&record, |to| {
            let mut digests: BTreeMap<&str, String> =
                files.digests().iter().map(|(name, digest)| (name.as_str(), digest.clone())).collect();
            for (name, bytes) in &written {
                write_durably(&to.join(name), bytes)?;
                digests.insert(name, sha256(bytes));
            }
            let others = files.digests().keys().filter(|name| ![RECORD, PICKS].contains(&name.as_str()));
            others.into_iter().try_for_each(|name| take_over(&folder.join(name), &to.join(name)))?;
            write_durably(&to.join(DIGESTS), &serde_json::to_vec_pretty(&digests)?)
        })
    }
}

/// Has a durable file lie in another folder, too; a copy where the file system knows no links.
fn take_over(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let copy = || {
        fs::copy(from, to)?;
        Ok::<_, anyhow::Error>(querist_files::open(to, Links::Refuse)?.sync_all()?)
    };
    copy().with_context(|| format!("cannot write {}", shown(to)))
}
