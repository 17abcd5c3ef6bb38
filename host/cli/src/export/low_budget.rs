//! `indices/seed-S/NAME_DATASET_N.npy`: the labelled ids of each size, `i64 [N]`, the initial ones first.
//!
//! The system runs one seed; ours have a folder each.

use anyhow::Result;
use querist_data::arrays::npy_bytes;

use super::{File, Trial, groups};

/// One file a run and round.
pub fn low_budget(trials: &[Trial]) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for ((dataset, label), trials) in groups(trials) {
        for trial in trials {
            for round in 0..trial.rounds.len() {
                let ids: Vec<i64> = trial.labelled(round).map(|(sample, _)| sample.0 as i64).collect();
                let path = format!("indices/seed-{}/{label}_{dataset}_{}.npy", trial.seed, ids.len());
                let bytes = npy_bytes(&path, &[ids.len()], &ids)?;
                files.push(File::new(path, bytes));
            }
        }
    }
    Ok(files)
}
