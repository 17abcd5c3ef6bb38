//! What samples turned out to be, as tables: `initial.csv` and the `picks.csv` of a round.
//!
//! Where all have labels, that is all that stands there; a column `outcome` is added where some have none to train on.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use querist_core::{Dataset, Label, Outcome, SampleId};
use querist_files::shown;
use querist_protocol::Shown;
use serde::Deserialize;

/// What is known of a pick before it is labelled: rank, id, file and score.
pub type AskedRow = [String; 4];

const ASKED: [&str; 4] = ["rank", "id", "file", "score"];

/// The table of an initial set, of samples with their files.
pub fn initial_csv<'a>(initial: impl Iterator<Item = (SampleId, &'a str, Outcome)> + Clone) -> Result<Vec<u8>> {
    let plain = initial.clone().all(|(.., outcome)| outcome.label().is_some());
    let mut csv = csv::Writer::from_writer(Vec::new());
    let of_outcome = |name| Some(name).filter(|_| !plain);
    csv.write_record(["id", "file", "label"].into_iter().chain(of_outcome("outcome")))?;
    for (sample, file, outcome) in initial {
        let (sample, label) = (sample.to_string(), label_of(outcome));
        csv.write_record([&sample, file, &label].into_iter().chain(of_outcome(outcome.name())))?;
    }
    Ok(csv.into_inner()?)
}

/// What is known of picks before they are labelled.
pub fn asked(ids: &[SampleId], scores: &[f64], dataset: &Dataset) -> Vec<AskedRow> {
    let row = |(rank, id): (usize, &SampleId)| {
        let score = scores.get(rank).map(|score| crate::output::shortest(*score)).unwrap_or_default();
        [rank.to_string(), id.to_string(), dataset.file(*id).unwrap_or_default().to_owned(), score]
    };
    ids.iter().enumerate().map(row).collect()
}

/// The table of picks that wait for their labels.
pub fn asked_csv(rows: &[AskedRow]) -> Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(ASKED)?;
    for row in rows {
        csv.write_record(row)?;
    }
    Ok(csv.into_inner()?)
}

/// Reads what [`asked_csv`] wrote.
pub fn read_asked(path: &Path, bytes: &[u8]) -> Result<Vec<AskedRow>> {
    let rows = csv::Reader::from_reader(bytes).into_deserialize();
    rows.map(|row| row.map_err(|error| said(path, &error))).collect()
}

/// The table of picks with what they turned out to be.
pub fn picks_csv(rows: &[AskedRow], outcomes: &[(SampleId, Outcome)], classes: &[String]) -> Result<Vec<u8>> {
    let plain = outcomes.iter().all(|(_, outcome)| outcome.label().is_some());
    let of_outcome = |name| Some(name).filter(|_| !plain);
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(ASKED.into_iter().chain(["label", "class"]).chain(of_outcome("outcome")))?;
    for (row, (_, outcome)) in rows.iter().zip(outcomes) {
        let class = match outcome.class() {
            Some(label) => classes.get(label.index()).context("a label has no class")?,
            None => "",
        };
        let label = label_of(*outcome);
        let known = row.iter().map(String::as_str).chain([label.as_str(), class]);
        csv.write_record(known.chain(of_outcome(outcome.name())))?;
    }
    Ok(csv.into_inner()?)
}

fn label_of(outcome: Outcome) -> String {
    outcome.class().map(|label| label.to_string()).unwrap_or_default()
}

#[derive(Deserialize)]
struct Row {
    id: u64,
    label: Option<u32>,
    outcome: Option<String>,
}

/// Reads either table.
pub fn parse(path: &Path, bytes: &[u8], classes: usize) -> Result<Vec<(SampleId, Outcome)>> {
    let mut outcomes = Vec::new();
    for (at, parsed) in csv::Reader::from_reader(bytes).deserialize().enumerate() {
        let Row { id, label, outcome } = parsed.map_err(|error| said(path, &error))?;
        if let Some(label) = label {
            ensure!(
                (label as usize) < classes,
                "{}, row {at}: sample {id} has label {label}, but there are {classes} classes",
                shown(path)
            );
        }
        let name = outcome.as_deref().unwrap_or("label");
        let outcome = Outcome::of(name, label.map(Label)).with_context(|| {
            let (path, label) = (shown(path), label.map_or_else(|| "no label".to_owned(), |label| label.to_string()));
            format!("{path}, row {at}: sample {id} is `{}` with {label}, which no run writes", Shown::name(name))
        })?;
        outcomes.push((SampleId(id), outcome));
    }
    Ok(outcomes)
}

fn said(path: &Path, error: &csv::Error) -> anyhow::Error {
    anyhow!("{}: {}", shown(path), Shown::sentence(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(outcomes: &[Outcome]) -> String {
        let rows: Vec<AskedRow> = (0..outcomes.len())
            .map(|rank| [rank.to_string(), format!("{rank}0"), String::new(), "0.5".into()])
            .collect();
        let outcomes: Vec<_> = (0..).map(|rank| SampleId(10 * rank)).zip(outcomes.iter().copied()).collect();
        let bytes = picks_csv(&rows, &outcomes, &["cat".to_owned(), "dog".to_owned()]).unwrap();
        assert_eq!(parse(Path::new("picks.csv"), &bytes, 2).unwrap(), outcomes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_column_of_outcomes_is_there_where_it_says_something() {
        let (cat, dog) = (Outcome::Label(Label(0)), Outcome::Label(Label(1)));
        assert_eq!(picks(&[dog, cat]), "rank,id,file,score,label,class\n0,00,,0.5,1,dog\n1,10,,0.5,0,cat\n");
        assert_eq!(
            picks(&[dog, Outcome::Rejected, Outcome::Unsure, Outcome::HeldOut(Label(0))]),
            "rank,id,file,score,label,class,outcome\n0,00,,0.5,1,dog,label\n1,10,,0.5,,,rejected\n\
             2,20,,0.5,,,unsure\n3,30,,0.5,0,cat,held-out\n"
        );
    }

    #[test]
    fn what_no_run_writes_is_refused() {
        let read = |text: &str| parse(Path::new("picks.csv"), text.as_bytes(), 2).unwrap_err().to_string();
        assert!(read("id,label\n3,\n").contains("row 0: sample 3 is `label` with no label"));
        assert!(read("id,label,outcome\n3,1,rejected\n").contains("`rejected` with 1"));
        assert!(read("id,label,outcome\n3,,perhaps\n").contains("`perhaps` with no label"));
        assert!(read("id,label\n3,2\n").contains("label 2, but there are 2 classes"));
    }
}
