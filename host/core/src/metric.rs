//! How good a model's predictions are.

use std::collections::BTreeMap;

use querist_protocol::math;
use serde::{Deserialize, Serialize};

use crate::ids::Label;

/// Bins of the expected calibration error.
pub const ECE_BINS: usize = 15;

/// Figures over a labelled set of predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Share of right predictions; NaN where nothing was there to test on.
    #[serde(with = "unknown")]
    pub accuracy: f64,
    /// Mean negative log-likelihood, in nats; NaN where somebody else evaluated and did not say.
    #[serde(with = "unknown")]
    pub loss: f64,
    /// Expected calibration error over [`ECE_BINS`] equal bins of confidence; NaN as for the loss.
    #[serde(with = "unknown")]
    pub ece: f64,
    /// Share of right predictions within each class; `None` for a class without samples.
    pub per_class: Vec<Option<f64>>,
}

/// A number that may not be known, which JSON has `null` for.
mod unknown {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        if value.is_nan() { to.serialize_none() } else { to.serialize_f64(*value) }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
    }
}

impl Metrics {
    /// Those of nothing: no figure is known.
    pub fn unknown(classes: usize) -> Self {
        Self::of_accuracy(f64::NAN, classes)
    }

    /// Figures of which somebody else knows the accuracy alone.
    pub fn of_accuracy(accuracy: f64, classes: usize) -> Self {
        Self { accuracy, loss: f64::NAN, ece: f64::NAN, per_class: vec![None; classes] }
    }

    /// Compares logits, row-major `[labels, classes]`, with labels.
    ///
    /// # Panics
    /// If the sizes do not fit or there are no labels.
    pub fn of(logits: &[f32], labels: &[Label], classes: usize) -> Self {
        assert!(!labels.is_empty() && logits.len() == labels.len() * classes, "logits do not fit the labels");
        let mut loss = 0.0;
        let mut right = vec![0usize; classes];
        let mut seen = vec![0usize; classes];
        let mut bins = [(0usize, 0usize, 0.0f64); ECE_BINS];
        for (row, label) in logits.chunks_exact(classes).zip(labels) {
            let predicted = math::argmax(row);
            let top = f64::from(row[predicted]);
            let sum: f64 = row.iter().map(|&l| math::exp(f64::from(l) - top)).sum();
            loss += math::ln(sum) - (f64::from(row[label.index()]) - top);
            let hit = predicted == label.index();
            seen[label.index()] += 1;
            right[label.index()] += usize::from(hit);
            let confidence = 1.0 / sum;
            // Bins are open below and closed above, so a confidence of exactly 1 is in the last.
            let bin = ((confidence * ECE_BINS as f64).ceil() as usize).clamp(1, ECE_BINS) - 1;
            bins[bin].0 += 1;
            bins[bin].1 += usize::from(hit);
            bins[bin].2 += confidence;
        }
        let n = labels.len() as f64;
        Self {
            accuracy: right.iter().sum::<usize>() as f64 / n,
            loss: loss / n,
            ece: bins.iter().map(|&(_, hits, confidence)| (hits as f64 - confidence).abs()).sum::<f64>() / n,
            per_class: right.iter().zip(&seen).map(|(&r, &s)| (s > 0).then(|| r as f64 / s as f64)).collect(),
        }
    }
}

/// How often samples of one class were taken for one, by (class, predicted class); what never happened is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confusion(pub BTreeMap<(usize, usize), usize>);

impl Confusion {
    /// Counts the predictions of logits, row-major `[labels, classes]`, as [`Metrics::of`] does.
    pub fn of(logits: &[f32], labels: &[Label], classes: usize) -> Self {
        let mut counts = BTreeMap::new();
        for (row, label) in logits.chunks_exact(classes).zip(labels) {
            *counts.entry((label.index(), math::argmax(row))).or_default() += 1;
        }
        Self(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_small_case() {
        let ln = |p: f32| p.ln();
        // Confidences .8 (right), .6 (wrong).
        let logits = [ln(0.8), ln(0.2), ln(0.6), ln(0.4)];
        let m = Metrics::of(&logits, &[Label(0), Label(1)], 2);
        assert_eq!(m.accuracy, 0.5);
        assert!((m.loss - (-(0.8f64.ln()) - 0.4f64.ln()) / 2.0).abs() < 1e-6);
        assert!((m.ece - (0.2 + 0.6) / 2.0).abs() < 1e-6);
        assert_eq!(m.per_class, [Some(1.0), Some(0.0)]);
        let confusion = Confusion::of(&logits, &[Label(0), Label(1)], 2);
        assert_eq!(confusion.0, BTreeMap::from([((0, 0), 1), ((1, 0), 1)]));
    }
}
