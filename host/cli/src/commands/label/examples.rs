//! Pictures that were labelled in rounds before, as examples of their classes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use querist_files::Links;
use querist_people::Batch;
use serde::Deserialize;

use super::desk::MOST_EXAMPLES;
use crate::round_files::{MOST_TEXT, PICKS};
use crate::run_folder::INITIAL;
use crate::stored_run::StoredRun;

/// Samples and files of pictures, by the names of classes.
pub(super) type Examples = HashMap<String, Vec<(u64, PathBuf)>>;

/// A row of `picks.csv` or `initial.csv`.
#[derive(Deserialize)]
struct Row {
    id: u64,
    file: String,
    label: Option<u32>,
}

/// Some of each class, those of the last rounds first. Examples are a help: of a run that cannot be read there are
/// none, and it says what is wrong with it where it goes on.
pub(super) fn of_rounds(run: &Path, batch: &Batch) -> Examples {
    let mut found = Examples::new();
    if StoredRun::is_run(run) {
        let _ = fill(run, batch, &mut found);
    }
    found
}

fn fill(run: &Path, batch: &Batch, found: &mut Examples) -> Result<()> {
    let stored = StoredRun::read(run)?;
    for round in stored.rounds.iter().rev() {
        if let Some(bytes) = round.files.bytes(PICKS)? {
            take(&bytes, batch, found)?;
        }
    }
    if stored.awaits_initial {
        return Ok(());
    }
    take(&querist_files::read(&run.join(INITIAL), Links::Refuse, MOST_TEXT)?, batch, found)
}

fn take(table: &[u8], batch: &Batch, found: &mut Examples) -> Result<()> {
    for row in csv::Reader::from_reader(table).into_deserialize() {
        let Row { id, file, label } = row?;
        let class = label.and_then(|label| batch.classes.get(label as usize));
        if let Some((class, path)) = class.zip(batch.inside(&file)) {
            let files = found.entry(class.clone()).or_default();
            if files.len() < MOST_EXAMPLES {
                files.push((id, path));
            }
        }
    }
    Ok(())
}
