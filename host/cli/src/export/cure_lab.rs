//! `result.csv`: one row a run and round but the first, without a header, in the order of the system's own.
//!
//! Shares are percent of the pool. The gain is over round 0. Its accuracies are the best on the test set over epochs;
//! ours are those of the last epoch.

use anyhow::Result;

use super::{File, Trial, cells, csv_text, groups};

/// All rows in one file, as the system appends to one.
pub fn cure_lab(trials: &[Trial]) -> Result<Vec<File>> {
    let rows = groups(trials).into_values().flatten().flat_map(rows);
    Ok(vec![File::new("result.csv", csv_text(rows)?)])
}

fn rows(trial: &Trial) -> Vec<Vec<String>> {
    let percent = |samples: usize| samples as f64 * 100.0 / trial.pool.max(1) as f64;
    let Some(first) = trial.rounds.first() else { return Vec::new() };
    let end = trial.rounds.last().map_or(0, |last| last.record.labelled);
    let accuracy = |record: &querist_core::RoundRecord| record.metrics.accuracy;
    let pairs = trial.rounds.iter().zip(&trial.rounds[1..]);
    let row = |(before, now): (&super::Cycle, &super::Cycle)| {
        let query = before.record.seconds.features + before.record.seconds.query;
        let round = query + now.record.seconds.fit + now.record.seconds.evaluate;
        cells([
            &trial.label as &dyn std::fmt::Display,
            &trial.seed,
            &"budget",
            &percent(end),
            &"nStart",
            &percent(first.record.labelled),
            &"nQuery",
            &percent(before.bought.len()),
            &"labeled",
            &percent(now.record.labelled),
            &"accCompare",
            &accuracy(&first.record),
            &accuracy(&now.record),
            &(accuracy(&now.record) - accuracy(&first.record)),
            &"t_query",
            &query,
            &"t_iter",
            &round,
        ])
    };
    pairs.map(row).collect()
}
