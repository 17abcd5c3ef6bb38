//! What people said who labelled: how many of a strategy's picks were of the classes at all.

use querist_core::RoundRecord;
use serde::Serialize;

use crate::report::Report;
use crate::run::RunSummary;
use crate::sheet::{Cell, Sheet};

/// What the batch of a round turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Batch {
    /// The round.
    pub round: u32,
    /// Samples that were asked for.
    pub asked: usize,
    /// Those of them that are of none of the classes.
    pub rejected: usize,
    /// Those of which nobody could tell.
    pub unsure: usize,
    /// Share of them that are of a class: Ning et al., "Active learning for open-set annotation", CVPR 2022, call it
    /// precision.
    pub purity: f64,
}

impl Batch {
    fn of(record: &RoundRecord) -> Option<Self> {
        let asked = record.acquired.len();
        let (rejected, unsure) = (record.rejected, record.unsure);
        let purity = asked.checked_sub(rejected + unsure)? as f64 / asked as f64;
        (asked > 0).then_some(Self { round: record.round.0, asked, rejected, unsure, purity })
    }
}

/// The batches of a run; none where every answer was a label.
pub(crate) fn batches(run: &RunSummary) -> Vec<Batch> {
    let has_others = run.rounds.iter().any(|record| record.rejected + record.unsure > 0);
    if has_others { run.rounds.iter().filter_map(Batch::of).collect() } else { Vec::new() }
}

/// What batches turned out to be, by run; `None` where every answer was a label.
pub(crate) fn purities(report: &Report) -> Option<Sheet> {
    let mut rows = Vec::new();
    for (run, label) in report.runs().iter().zip(report.labels()) {
        let batches = batches(run);
        if batches.is_empty() {
            continue;
        }
        let sum = |of: fn(&Batch) -> usize| batches.iter().map(of).sum::<usize>();
        let (asked, rejected, unsure) =
            (sum(|batch| batch.asked), sum(|batch| batch.rejected), sum(|batch| batch.unsure));
        let labels = asked.saturating_sub(rejected + unsure);
        let percent = |share: f64| format!("{:.0}", share * 100.0);
        let by_round = batches.iter().map(|batch| percent(batch.purity)).collect::<Vec<_>>().join(" ");
        let count = |count: usize| Cell::number(Some(count as f64), |_| count.to_string());
        rows.push(vec![
            Cell::text(label.clone()),
            count(asked),
            count(labels),
            count(rejected),
            count(unsure),
            Cell::number(Some(labels as f64 / asked as f64), percent),
            Cell::text(by_round),
        ]);
    }
    (!rows.is_empty()).then(|| Sheet {
        title: "What was asked for".to_owned(),
        columns: vec!["strategy", "asked", "labels", "of no class", "unsure", "purity %", "purity % by round"],
        rows,
        note: "Purity is the share of the samples asked for that are of one of the classes. Those of none cost a label \
               as others do; no model is trained on them, nor on those of which nobody could tell.",
    })
}

/// Figures of a test set that a strategy chose are none of the pool.
pub(crate) fn warn_of_held_out(runs: &[RunSummary], warnings: &mut Vec<String>) {
    for runs in runs.chunk_by(|a, b| a.label == b.label) {
        let most = runs.iter().flat_map(|run| &run.rounds).map(|record| record.held_out).max();
        if let Some(most) = most.filter(|&most| most > 0) {
            let label = &runs[0].label;
            warnings.push(format!(
                "`{label}` is tested on up to {most} labels that were held out of those bought, and chosen by the \
                 strategy: accuracies are of those samples, not of the pool"
            ));
        }
    }
}
