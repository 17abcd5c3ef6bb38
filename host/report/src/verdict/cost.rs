//! What queries of a strategy cost.

use serde::Serialize;

use crate::report::Report;
use crate::run::RunSummary;

/// Queries of all runs of a strategy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QueryCost {
    /// Label of the strategy.
    pub label: String,
    /// How many there were.
    pub queries: usize,
    /// Mean wall-clock seconds of one.
    pub seconds: f64,
    /// Seconds of the longest.
    pub most_seconds: f64,
    /// Most bytes that one held, its inputs not counted, where that was measured.
    pub most_bytes: Option<u64>,
    /// Most WebAssembly fuel that one used, where it was counted: instructions of the plugin's own code.
    pub most_fuel: Option<u64>,
    /// Mean seconds in which the arrays were computed that it asked for.
    pub feature_seconds: f64,
    /// Most samples that one chose from.
    pub pool: usize,
}

impl QueryCost {
    /// Of the runs that a report has of a label, finished or not; `None` where nothing was asked.
    pub(super) fn of(report: &Report, label: &str) -> Option<Self> {
        let runs: Vec<&RunSummary> = report
            .runs()
            .iter()
            .zip(report.labels())
            .filter(|(_, other)| *other == label)
            .map(|(run, _)| run)
            .collect();
        let rounds = || runs.iter().flat_map(|run| &run.rounds).filter(|round| !round.acquired.is_empty());
        let queries = rounds().count();
        let mean = |sum: f64| sum / queries as f64;
        (queries > 0).then(|| Self {
            label: label.to_owned(),
            queries,
            seconds: mean(rounds().map(|round| round.seconds.query).sum()),
            most_seconds: rounds().map(|round| round.seconds.query).fold(0.0, f64::max),
            most_bytes: rounds().filter_map(|round| round.peak_memory.query).max(),
            most_fuel: rounds().filter_map(|round| round.fuel).max(),
            feature_seconds: mean(rounds().map(|round| round.seconds.features).sum()),
            pool: rounds().map(|round| round.subset.unwrap_or(round.pool)).max().unwrap_or(0),
        })
    }
}
