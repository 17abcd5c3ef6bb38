//! The training curve of a round, as a file.

use anyhow::{Context, Result, anyhow, ensure};
use querist_core::fitted::EpochRecord;
use querist_files::shown;
use querist_protocol::Shown;

use crate::round_files::EPOCHS;
use crate::stored_run::StoredRound;

/// As CSV: a line an epoch.
pub fn csv(epochs: &[EpochRecord]) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for epoch in epochs {
        csv.serialize(epoch)?;
    }
    Ok(csv.into_inner()?)
}

/// That of a round; nothing where it was not kept.
pub fn read(round: &StoredRound) -> Result<Vec<EpochRecord>> {
    let Some(bytes) = round.files.bytes(EPOCHS)? else { return Ok(Vec::new()) };
    let path = round.files.folder().join(EPOCHS);
    let epoch = |row: csv::Result<EpochRecord>| {
        let row = row.map_err(|error| anyhow!(Shown::sentence(&error.to_string())))?;
        ensure!((0.0..=1.0).contains(&row.accuracy), "an accuracy is {}, expected 0 to 1", row.accuracy);
        Ok(row)
    };
    let read: Result<_> = csv::Reader::from_reader(&bytes[..]).deserialize().map(epoch).collect();
    read.with_context(|| shown(&path).into_string())
}
