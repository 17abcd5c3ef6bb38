//! What a batch is worth: how well a fresh last layer does on a slice once it has learned from the batch, too.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::logistic::{Matrix, Weights, fit};
use crate::dataset::Dataset;
use crate::fixed::{FixedArray, FixedError};
use crate::ids::SampleId;

/// Judges batches by a slice that no run buys from, on features that no training changes.
#[derive(Debug)]
pub struct Judge {
    features: FixedArray,
    /// True labels of all samples.
    labels: Vec<u32>,
    classes: usize,
    /// Means of the features, and what they are divided by: those of the slice.
    means: Vec<f64>,
    scale: f64,
    slice: Matrix,
    slice_labels: Vec<u32>,
}

/// What a last layer comes to on the slice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Worth {
    pub accuracy: f64,
    /// Mean log-probability of the true class.
    pub likelihood: f64,
}

impl Judge {
    /// A judge by the samples of `slice`.
    ///
    /// # Errors
    /// If one of them has no features.
    pub fn new(dataset: &Dataset, slice: &[SampleId], features: FixedArray) -> Result<Self, FixedError> {
        // Programs refuse this baseline where labels are not known.
        let label = |id| dataset.hidden_label(SampleId(id)).map_or(0, |label| label.0);
        let labels: Vec<u32> = (0..dataset.len() as u64).map(label).collect();
        let array = features.of(slice)?;
        let values: Vec<f64> =
            array.as_f32().map(|values| values.iter().map(|&v| v.into()).collect()).unwrap_or_default();
        let width = features.width();
        let count = slice.len().max(1) as f64;
        let mut means = vec![0.0; width];
        for row in values.chunks_exact(width) {
            means.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / count);
        }
        let squares = |row: &[f64]| row.iter().zip(&means).map(|(value, mean)| (value - mean).powi(2)).sum::<f64>();
        let variance = values.chunks_exact(width).map(squares).sum::<f64>() / (count * width as f64);
        let scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        let slice_labels = slice.iter().map(|sample| labels[sample.index()]).collect();
        let classes = dataset.classes();
        let mut judge = Self { features, labels, classes, means, scale, slice: Matrix::default(), slice_labels };
        judge.slice = judge.rows(slice)?;
        Ok(judge)
    }

    /// Features of samples with a constant behind them, centred, so that the penalty means the same for all features.
    fn rows(&self, samples: &[SampleId]) -> Result<Matrix, FixedError> {
        let array = self.features.of(samples)?;
        let width = self.means.len();
        let mut values = Vec::with_capacity(samples.len() * (width + 1));
        for row in array.as_f32().map(|values| values.chunks_exact(width)).into_iter().flatten() {
            values.extend(row.iter().zip(&self.means).map(|(&value, mean)| (f64::from(value) - mean) / self.scale));
            values.push(1.0);
        }
        Ok(Matrix { values, width: width + 1 })
    }

    fn labels(&self, samples: &[SampleId]) -> Vec<u32> {
        samples.iter().map(|sample| self.labels[sample.index()]).collect()
    }

    fn worth(&self, weights: &Weights) -> Worth {
        let mut logs = vec![0.0; self.classes];
        let (mut right, mut likelihood) = (0usize, 0.0);
        for (row, &label) in self.slice.rows().zip(&self.slice_labels) {
            weights.log_probabilities(row, &mut logs);
            right += usize::from(querist_protocol::math::argmax(&logs) == label as usize);
            likelihood += logs[label as usize];
        }
        let count = self.slice_labels.len().max(1) as f64;
        Worth { accuracy: right as f64 / count, likelihood: likelihood / count }
    }

    /// The worth of what is labelled alone, and of each batch beside it; on `threads` threads. `done` is told how many
    /// are valued and says whether to go on.
    ///
    /// # Errors
    /// If a sample has no features; `Ok(None)` where `done` said no.
    pub(super) fn values(
        &self,
        labelled: &[SampleId],
        batches: &[Vec<SampleId>],
        threads: usize,
        done: &(dyn Fn(usize) -> bool + Sync),
    ) -> Result<Option<(Worth, Vec<Worth>)>, FixedError> {
        let (rows, labels) = (self.rows(labelled)?, self.labels(labelled));
        let before = fit(&rows, &labels, self.classes, &Weights::zero(self.classes, self.means.len() + 1));
        let value = |batch: &Vec<SampleId>| {
            let rows = rows.and(&self.rows(batch)?);
            let labels = [&labels[..], &self.labels(batch)].concat();
            Ok::<_, FixedError>(self.worth(&fit(&rows, &labels, self.classes, &before)))
        };
        let next = AtomicUsize::new(0);
        let work = || {
            let mut found = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(batch) = batches.get(at).filter(|_| done(at)) else { return found };
                found.push((at, value(batch)));
            }
        };
        let found: Vec<Vec<(usize, Result<Worth, FixedError>)>> = std::thread::scope(|scope| {
            let started: Vec<_> = (1..threads.clamp(1, batches.len().max(1))).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = started.into_iter().map(|thread| match thread.join() {
                Ok(found) => found,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            std::iter::once(own).chain(others).collect()
        });
        let mut found: Vec<(usize, Result<Worth, FixedError>)> = found.into_iter().flatten().collect();
        found.sort_by_key(|(at, _)| *at);
        let worths = found.into_iter().map(|(_, worth)| worth).collect::<Result<Vec<_>, _>>()?;
        Ok((worths.len() == batches.len()).then(|| (self.worth(&before), worths)))
    }
}
