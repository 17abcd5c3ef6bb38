//! What was taken for what on the test set, as a file of the last round.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use querist_core::metric::Confusion;
use querist_files::shown;
use querist_protocol::Shown;
use serde::{Deserialize, Serialize};

use crate::round_files::CONFUSION;
use crate::run_folder::Header;
use crate::stored_run::StoredRound;

#[derive(Serialize, Deserialize)]
struct Row {
    label: usize,
    predicted: usize,
    count: usize,
}

/// As CSV: a line for each class that samples of a class were taken for.
pub fn csv(confusion: &Confusion) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for (&(label, predicted), &count) in &confusion.0 {
        csv.serialize(Row { label, predicted, count })?;
    }
    Ok(csv.into_inner()?)
}

/// That of a round; `None` where it has none, as all rounds but the last, and those of older programs.
pub fn read(round: &StoredRound, header: &Header) -> Result<Option<Confusion>> {
    let Some(bytes) = round.files.bytes(CONFUSION)? else { return Ok(None) };
    let path = shown(&round.files.folder().join(CONFUSION));
    let confusion = parse(&bytes, header.dataset.classes.len()).with_context(|| path.to_string())?;
    let right = confusion.0.iter().filter(|((label, predicted), _)| label == predicted).map(|(_, count)| count);
    let test = header.tested(&round.record);
    let (right, all) = (right.sum::<usize>(), confusion.0.values().sum::<usize>());
    ensure!(all == test, "{path}: {all} samples, but {test} are of the test set");
    let (found, said) = (right as f64 / all as f64, round.record.metrics.accuracy);
    ensure!(found == said, "{path}: an accuracy of {found}, but record.json has {said}");
    Ok(Some(confusion))
}

fn parse(bytes: &[u8], classes: usize) -> Result<Confusion> {
    let mut counts = BTreeMap::new();
    for (at, row) in csv::Reader::from_reader(bytes).deserialize().enumerate() {
        let Row { label, predicted, count } = row.map_err(|error| anyhow!(Shown::sentence(&error.to_string())))?;
        let is_class = label < classes && predicted < classes;
        ensure!(is_class, "row {at}: {label} taken for {predicted}, but there are {classes} classes");
        ensure!(
            (1..=u32::MAX as usize).contains(&count),
            "row {at}: a count of {count}, expected 1 or more, below 2 to the 32"
        );
        let before = counts.insert((label, predicted), count);
        ensure!(before.is_none(), "row {at}: {label} taken for {predicted} stands twice");
    }
    Ok(Confusion(counts))
}
