//! Runs in the forms of programs that track experiments. Nothing here changes a run, or needs an account.

pub mod mlflow;
pub mod tensorboard;

use clap::ValueEnum;
use querist_core::RoundRecord;

/// What follows a run while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tracker {
    /// TensorBoard's event file, in `tensorboard` of the run folder.
    Tensorboard,
}

/// The figures of a round, by name; those that are no numbers are left out.
pub fn figures(record: &RoundRecord) -> Vec<(String, f64)> {
    let mut figures: Vec<(String, f64)> = Vec::new();
    let sets = std::iter::once(("test", &record.metrics));
    for (of, metrics) in sets.chain(record.validation.iter().map(|metrics| ("validation", metrics))) {
        let worst = metrics.per_class.iter().flatten().copied().reduce(f64::min);
        figures.extend([
            (format!("{of}/accuracy"), metrics.accuracy),
            (format!("{of}/loss"), metrics.loss),
            (format!("{of}/calibration_error"), metrics.ece),
        ]);
        figures.extend(worst.map(|worst| (format!("{of}/worst_class"), worst)));
    }
    let seconds = record.seconds;
    let parts = [("fit", seconds.fit), ("evaluate", seconds.evaluate), ("features", seconds.features)];
    figures.extend(parts.into_iter().chain([("query", seconds.query)]).map(|(of, s)| (format!("seconds/{of}"), s)));
    figures.push(("labels/labelled".to_owned(), record.labelled as f64));
    figures.extend(record.diagnostics.iter().map(|(name, value)| (format!("strategy/{name}"), *value)));
    figures.retain(|(_, value)| value.is_finite());
    figures
}
