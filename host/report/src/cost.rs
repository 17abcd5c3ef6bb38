//! What runs cost, and how far their probabilities and classes may be trusted.

use querist_core::fitted::EpochRecord;
use querist_core::record::{RoundRecord, Seconds};
use serde::Serialize;

use crate::confusion::Classes;
use crate::run::RunSummary;
use crate::statistics::Spread;

/// The finished runs of one label in one setting; `None` where there are none.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Cost {
    /// Seconds of all training of a run.
    pub fit_seconds: Option<Spread>,
    /// Seconds of all feature computation of a run.
    pub features_seconds: Option<Spread>,
    /// Seconds that the strategy itself took in a run.
    pub query_seconds: Option<Spread>,
    /// Most bytes that a query held, over all rounds and runs, where it was measured.
    pub query_peak_bytes: Option<u64>,
    /// Expected calibration error of the last round.
    pub final_ece: Option<Spread>,
    /// Accuracy of the class with the least, in the last round.
    pub final_worst_class: Option<Spread>,
    /// Labels bought after the initial set, by class, as a share of all, mean over runs.
    pub queried_classes: Vec<f64>,
    /// Round by round: mean seconds of training, features and queries until the test, and mean accuracy.
    pub over_time: Vec<(f64, f64)>,
    /// Mean training loss of each epoch of the last round.
    pub final_losses: Vec<f64>,
    /// Mean accuracy on the training samples in each epoch of the last round, as trained.
    pub final_training_accuracies: Vec<f64>,
    /// The classes in the last round.
    pub final_classes: Classes,
}

impl Cost {
    /// Of some finished runs.
    pub(crate) fn of(runs: &[&RunSummary]) -> Self {
        let seconds = |of: &dyn Fn(&Seconds) -> f64| {
            let totals = runs.iter().map(|run| run.rounds.iter().map(|round| of(&round.seconds)).sum());
            Spread::of(&totals.collect::<Vec<f64>>())
        };
        let last = |of: &dyn Fn(&RoundRecord) -> Option<f64>| {
            Spread::of(&runs.iter().filter_map(|run| of(run.rounds.last()?)).collect::<Vec<_>>())
        };
        let epochs = |of: &dyn Fn(&EpochRecord) -> f64| {
            let kept = runs.iter().filter(|run| !run.epochs.is_empty());
            mean_over(kept.map(|run| run.epochs.iter().map(of).collect()).collect())
        };
        Self {
            fit_seconds: seconds(&|seconds| seconds.fit),
            features_seconds: seconds(&|seconds| seconds.features),
            query_seconds: seconds(&|seconds| seconds.query),
            query_peak_bytes: runs.iter().flat_map(|run| &run.rounds).filter_map(|r| r.peak_memory.query).max(),
            final_ece: last(&|round| Some(round.metrics.ece).filter(|ece| !ece.is_nan())),
            final_worst_class: last(&|round| round.metrics.per_class.iter().flatten().copied().reduce(f64::min)),
            queried_classes: queried_classes(runs),
            over_time: over_time(runs),
            final_losses: epochs(&|epoch| epoch.loss),
            final_training_accuracies: epochs(&|epoch| epoch.accuracy),
            final_classes: Classes::of(runs),
        }
    }
}

fn queried_classes(runs: &[&RunSummary]) -> Vec<f64> {
    let histograms = || runs.iter().flat_map(|run| &run.rounds).map(|round| &round.query_class_histogram);
    let classes = histograms().map(Vec::len).max().unwrap_or(0);
    let of = |class: usize| histograms().filter_map(|counts| counts.get(class)).sum::<usize>() as f64;
    let total: f64 = (0..classes).map(of).sum();
    (0..classes).map(|class| if total > 0.0 { of(class) / total } else { 0.0 }).collect()
}

fn over_time(runs: &[&RunSummary]) -> Vec<(f64, f64)> {
    let seconds = |run: &&RunSummary| {
        let mut until = 0.0;
        let mut asked = 0.0;
        let points = run.rounds.iter().map(|round| {
            until += asked + round.seconds.fit;
            asked = round.seconds.features + round.seconds.query;
            until
        });
        points.collect()
    };
    let accuracy = |run: &&RunSummary| run.rounds.iter().map(|round| round.metrics.accuracy).collect();
    let mean = |of: &dyn Fn(&&RunSummary) -> Vec<f64>| mean_over(runs.iter().map(of).collect());
    mean(&seconds).into_iter().zip(mean(&accuracy)).collect()
}

/// Means, place by place, as far as all lists go.
fn mean_over(lists: Vec<Vec<f64>>) -> Vec<f64> {
    let shortest = lists.iter().map(Vec::len).min().unwrap_or(0);
    (0..shortest).map(|at| lists.iter().map(|list| list[at]).sum::<f64>() / lists.len() as f64).collect()
}
