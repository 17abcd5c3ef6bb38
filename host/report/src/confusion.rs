//! Which classes are hard, and what they are taken for.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::run::RunSummary;

/// The classes in the last round of some runs, mean over runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Classes {
    /// Names, by class.
    pub names: Vec<String>,
    /// Accuracy of each class; `None` for one without test samples.
    pub accuracy: Vec<Option<f64>>,
    /// Runs that recorded what was taken for what.
    pub runs: usize,
    /// Test samples of a class that were taken for one: (class, predicted class, mean number over those runs), by
    /// class. What never happened is left out.
    pub confusion: Vec<(usize, usize, f64)>,
}

/// One class taken for another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mistake {
    pub class: usize,
    pub predicted: usize,
    /// Share of the class.
    pub share: f64,
}

impl Classes {
    /// Of some finished runs.
    pub(crate) fn of(runs: &[&RunSummary]) -> Self {
        let names = runs.iter().map(|run| &run.classes).max_by_key(|names| names.len());
        let names: Vec<String> =
            names.map(|names| names.iter().map(|name| name.to_string()).collect()).unwrap_or_default();
        let last: Vec<&[Option<f64>]> =
            runs.iter().filter_map(|run| Some(&run.rounds.last()?.metrics.per_class[..])).collect();
        let accuracy = |class: usize| {
            let found: Vec<f64> = last.iter().filter_map(|shares| *shares.get(class)?).collect();
            (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
        };
        let mut sums: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let recorded = || runs.iter().filter_map(|run| run.confusion.as_ref());
        for (&pair, &count) in recorded().flat_map(|confusion| &confusion.0) {
            *sums.entry(pair).or_default() += count;
        }
        let count = recorded().count();
        let classes = last.iter().map(|shares| shares.len()).max().unwrap_or(0);
        Self {
            names,
            accuracy: (0..classes).map(accuracy).collect(),
            runs: count,
            confusion: sums.into_iter().map(|((a, b), sum)| (a, b, sum as f64 / count as f64)).collect(),
        }
    }

    /// Name of a class; its number where it has none.
    pub(crate) fn name(&self, class: usize) -> String {
        self.names.get(class).cloned().unwrap_or_else(|| class.to_string())
    }

    /// The class with the least accuracy, the first of several.
    pub(crate) fn worst(&self) -> Option<(usize, f64)> {
        let known = self.accuracy.iter().enumerate().filter_map(|(class, accuracy)| Some((class, (*accuracy)?)));
        known.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Share of each class's samples that were taken for each class.
    pub(crate) fn shares(&self) -> BTreeMap<(usize, usize), f64> {
        let mut samples: BTreeMap<usize, f64> = BTreeMap::new();
        for &(class, _, count) in &self.confusion {
            *samples.entry(class).or_default() += count;
        }
        self.confusion.iter().map(|&(class, predicted, n)| ((class, predicted), n / samples[&class])).collect()
    }

    /// The mistakes that concern the largest share of their class, at most `most`, the largest first.
    pub(crate) fn mistakes(&self, most: usize) -> Vec<Mistake> {
        let mistake = |((class, predicted), share)| Mistake { class, predicted, share };
        let mut found: Vec<Mistake> =
            self.shares().into_iter().map(mistake).filter(|found| found.class != found.predicted).collect();
        found.sort_by(|a, b| b.share.total_cmp(&a.share));
        found.truncate(most);
        found
    }
}
