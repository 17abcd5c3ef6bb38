//! `results/DATASET/METHOD/METHOD_querist/`: accuracies and settings of all trials, and what each of them queried.
//!
//! The system puts the time of its start where ours says `querist`, so that the same runs give the same files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::Result;
use serde_json::Value;

use super::{File, Trial, cells, csv_text, groups, mean_and_std};

/// A strategy with its trials.
type Row<'a> = (&'a str, Vec<&'a Trial>);

/// Files of every dataset and strategy, and a table of accuracies over labels for each dataset.
pub fn al_baselines(trials: &[Trial]) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut tables: BTreeMap<&str, Vec<Row<'_>>> = BTreeMap::new();
    for ((dataset, label), trials) in groups(trials) {
        let folder = format!("results/{dataset}/{label}/{label}_querist");
        let name = |kind: &str| format!("{folder}/{kind}_{dataset}_{label}_querist.txt");
        files.push(File::new(name("TestAcc"), accuracies(&trials)?));
        files.push(File::new(name("Setting"), settings(trials[0])?));
        for (at, trial) in (1..).zip(&trials) {
            let queried = trial.rounds.iter().flat_map(|cycle| &cycle.bought);
            let lines: String = queried.map(|(sample, _)| format!("{}\n", sample.0)).collect();
            files.push(File::new(format!("{folder}/Idx/TIdx{at:02}.txt"), lines));
        }
        tables.entry(dataset).or_default().push((label, trials));
    }
    for (dataset, rows) in tables {
        files.push(File::new(format!("results/{dataset}/table.md"), table(dataset, &rows)));
    }
    Ok(files)
}

fn accuracies(trials: &[&Trial]) -> Result<Vec<u8>> {
    let header = cells([&"Trial", &"Cycle", &"nLabeled", &"TestAcc"]);
    let rows = (1..).zip(trials).flat_map(|(at, trial)| {
        (1..).zip(&trial.rounds).map(move |(cycle, round): (usize, _)| {
            let accuracy = format!("{:.4}", round.record.metrics.accuracy);
            cells([&at as &dyn std::fmt::Display, &cycle, &round.record.labelled, &accuracy])
        })
    });
    csv_text(std::iter::once(header).chain(rows.collect::<Vec<_>>()))
}

/// The settings as `key = value`, keys of tables joined by dots.
fn settings(trial: &Trial) -> Result<String> {
    let mut lines = String::new();
    lines_of("", &serde_json::to_value(&trial.experiment)?, &mut lines);
    let rule = "=".repeat(30);
    Ok(format!("{rule}\n{lines}{rule}\n"))
}

fn lines_of(key: &str, value: &Value, lines: &mut String) {
    let Value::Object(map) = value else {
        // Writing to a string does not fail.
        let _ = writeln!(lines, " {key} = {value}");
        return;
    };
    for (name, value) in map {
        lines_of(&if key.is_empty() { name.clone() } else { format!("{key}.{name}") }, value, lines);
    }
}

/// Accuracy in percent at each number of labels: mean and standard deviation over trials.
fn table(dataset: &str, rows: &[Row<'_>]) -> String {
    let rounds = |trials: &[&Trial]| trials.iter().flat_map(|trial| &trial.rounds).map(|r| r.record.labelled).collect();
    let counts: BTreeSet<usize> = rows.iter().flat_map(|(_, trials)| -> Vec<usize> { rounds(trials) }).collect();
    let mut text = format!("### Image classification on {dataset}\n\n| Model name \\ Accuracy over labeled set |");
    text += &counts.iter().map(|count| format!(" {count} |")).collect::<String>();
    text += &format!("\n| --- |{}\n", " --- |".repeat(counts.len()));
    for (label, trials) in rows {
        text += &format!("| {label} |");
        for &count in &counts {
            let rounds = trials.iter().flat_map(|trial| &trial.rounds).filter(|round| round.record.labelled == count);
            let found: Vec<f64> = rounds.map(|round| round.record.metrics.accuracy * 100.0).collect();
            let (mean, std) = mean_and_std(&found);
            text += &if found.is_empty() { " |".to_owned() } else { format!(" {mean:.2} ± {std:.2} |") };
        }
        text.push('\n');
    }
    text += "\nMean ± standard deviation over trials, which divides by their number n, as this system's tables do; \
             `querist report`\ndivides by n - 1.\n";
    text
}
