//! What the model of a round predicts for the samples that are watched, as a file of the round.

use anyhow::{Result, anyhow, ensure};
use querist_core::{Label, SampleId};
use querist_files::shown;
use querist_protocol::Shown;
use serde::{Deserialize, Serialize};

use crate::round_files::{RoundFiles, WATCHED};

#[derive(Serialize, Deserialize)]
struct Row {
    id: u64,
    class: u32,
}

/// As CSV: a line a sample.
pub fn csv(watched: &[(SampleId, Label)]) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for (sample, label) in watched {
        csv.serialize(Row { id: sample.0, class: label.0 })?;
    }
    Ok(csv.into_inner()?)
}

/// Those of a round; nothing where it has none.
pub fn read(files: &RoundFiles, classes: usize) -> Result<Vec<(SampleId, Label)>> {
    let Some(bytes) = files.bytes(WATCHED)? else { return Ok(Vec::new()) };
    let path = shown(&files.folder().join(WATCHED));
    let mut watched = Vec::new();
    for row in csv::Reader::from_reader(&bytes[..]).deserialize() {
        let Row { id, class } = row.map_err(|error| anyhow!("{path}: {}", Shown::sentence(&error.to_string())))?;
        ensure!((class as usize) < classes, "{path}: sample {id} has class {class}, but there are {classes}");
        watched.push((SampleId(id), Label(class)));
    }
    Ok(watched)
}
