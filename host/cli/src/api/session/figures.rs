//! What is known of a model that somebody else trained.

use anyhow::Result;
use querist_core::metric::{Confusion, Metrics};
use querist_core::{Dataset, Evaluation, Split};

use crate::exit::Usage;

/// What is known of a model that somebody else trained.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Accuracy on the test set, a share.
    pub accuracy: Option<f64>,
    /// Logits of the test set, row-major `[test, classes]`, with their number of columns.
    pub test_logits: Option<(Vec<f32>, usize)>,
    /// Wall-clock seconds of its training.
    pub fit_seconds: Option<f64>,
}

impl Figures {
    /// What the model came to, in the terms of records.
    pub(super) fn evaluation(&self, dataset: &Dataset, split: &Split) -> Result<Evaluation> {
        let wrong = |message: String| -> anyhow::Error { Usage(message).into() };
        let fit_seconds = self.fit_seconds.unwrap_or(0.0);
        if !(0.0..=1e12).contains(&fit_seconds) {
            return Err(wrong(format!("`fit_seconds` is {fit_seconds}; expected 0 or more")));
        }
        let classes = dataset.classes();
        let said = self.accuracy;
        if let Some(accuracy) = said.filter(|accuracy| !(0.0..=1.0).contains(accuracy)) {
            return Err(wrong(format!("the accuracy is {accuracy}; expected a share from 0 to 1")));
        }
        let Some((logits, columns)) = &self.test_logits else {
            let accuracy = said.ok_or_else(|| wrong("`metrics` has no `accuracy`".to_owned()))?;
            let (test, confusion) = (Metrics::of_accuracy(accuracy, classes), Confusion::default());
            return Ok(Evaluation { test, confusion, fit_seconds });
        };
        let labels = split.test_labels(dataset);
        if labels.is_empty() {
            return Err(wrong("`test_logits` need labels: the session has no `test_labels`".to_owned()));
        }
        if *columns != classes || logits.len() != labels.len() * classes {
            let (rows, tests) = (logits.len() / (*columns).max(1), labels.len());
            return Err(wrong(format!("`test_logits` is [{rows}, {columns}]; expected [{tests}, {classes}]")));
        }
        let test = Metrics::of(logits, &labels, classes);
        if let Some(said) = said.filter(|said| (said - test.accuracy).abs() > 1e-6) {
            let found = test.accuracy;
            return Err(wrong(format!("`metrics` says an accuracy of {said}, but `test_logits` come to {found}")));
        }
        Ok(Evaluation { test, confusion: Confusion::of(logits, &labels, classes), fit_seconds })
    }
}
