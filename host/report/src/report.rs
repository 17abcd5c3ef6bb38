//! Runs to groups, and groups to comparisons.

use std::collections::{BTreeMap, BTreeSet};

use querist_core::config::{Adversarial, Evaluate};
use querist_core::fitted::EnsembleRecord;
use querist_protocol::Shown;
use serde::Serialize;

use crate::run::{RunState, RunSummary};
use crate::statistics::{Spread, area_over_labels, area_over_rounds};

/// Label of the strategy that every other is measured against.
pub(crate) const BASELINE: &str = "random";
/// Confidence of every interval.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// Labelled samples at most, so that curves are exact in floating point.
const MOST_LABELLED: usize = u32::MAX as usize;

/// A figure of a curve of (labelled samples, accuracy).
type Figure = dyn Fn(&[(usize, f64)]) -> Option<f64>;

/// Runs with everything computed from them.
#[derive(Debug)]
pub struct Report {
    pub(crate) runs: Vec<RunSummary>,
    groups: Vec<Group>,
    comparisons: Vec<Comparison>,
    warnings: Vec<String>,
    best: Option<usize>,
}

/// A point of a group's curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Labelled samples.
    pub labelled: usize,
    /// Accuracy on the test set over the seeds, or a difference of two, as a fraction.
    pub accuracy: Spread,
}

/// The runs of one label. Figures are over its finished runs; `None` where there are none.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// The label.
    pub label: String,
    /// Seeds of the finished runs, ascending.
    pub seeds: Vec<u64>,
    /// Runs that are not finished.
    pub incomplete: usize,
    /// Accuracy at the labelled counts that all its finished runs share.
    pub curve: Vec<Point>,
    /// Accuracy at the last of these counts.
    pub final_accuracy: Option<Spread>,
    /// Area under the curve over labels.
    pub area_over_labels: Option<Spread>,
    /// Area under the curve over rounds.
    pub area_over_rounds: Option<Spread>,
    /// Seconds of all training of a run.
    pub fit_seconds: Option<Spread>,
    /// Seconds of all feature computation of a run.
    pub features_seconds: Option<Spread>,
    /// Seconds that the strategy itself took in a run.
    pub query_seconds: Option<Spread>,
    /// Most bytes that a query held, over all rounds and runs, where it was measured.
    pub query_peak_bytes: Option<u64>,
}

/// A group against the baseline on the seeds and labelled counts they share.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Label of the group.
    pub label: String,
    /// Label it is measured against.
    pub against: String,
    /// Labelled counts that both share.
    pub labelled: Vec<usize>,
    /// Difference of the accuracies at each of them, seed by seed.
    pub curve: Vec<Point>,
    /// Difference of the areas over labels, seed by seed; above 0 is better than the baseline.
    pub area_difference: Spread,
    /// Half the width of the 95 % t interval of its mean; `None` for one seed.
    pub area_half_width: Option<f64>,
    /// Difference of the accuracies at the last shared count.
    pub final_difference: Spread,
    /// Half the width of its interval.
    pub final_half_width: Option<f64>,
}

/// Runs that make no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Nothing was given.
    #[error("there are no runs to report; give at least one run folder")]
    Empty,
    /// A record cannot be what a run wrote.
    #[error("run `{label}`, seed {seed}, round {round}: {message}")]
    Record {
        /// The run's label.
        label: String,
        /// Its seed.
        seed: u64,
        /// Place of the record in the run.
        round: usize,
        /// What is wrong.
        message: String,
    },
    /// A thumbnail cannot be encoded.
    #[error("a queried picture cannot be shown: {0}")]
    Picture(String),
    /// Output could not be written.
    #[error("the report cannot be written: {0}")]
    Write(String),
}

impl Report {
    /// Checks the runs, groups them by label (the baseline first, then by name) and compares the groups.
    ///
    /// # Errors
    /// If there are no runs, or a record has an accuracy outside 0 to 1 or labelled counts that do not grow or cannot
    /// be.
    pub fn new(mut runs: Vec<RunSummary>) -> Result<Self, ReportError> {
        if runs.is_empty() {
            return Err(ReportError::Empty);
        }
        runs.iter().try_for_each(check)?;
        let order = |run: &RunSummary| (run.label.as_str() != BASELINE, run.label.clone(), run.seed);
        runs.sort_by_key(order);
        let mut warnings = Vec::new();
        drop_repeats(&mut runs, &mut warnings);
        let comparable = warn_of_mixtures(&runs, &mut warnings);
        let labels: Vec<&str> = runs.chunk_by(|a, b| a.label == b.label).map(|runs| runs[0].label.as_str()).collect();
        let groups: Vec<Group> =
            runs.chunk_by(|a, b| a.label == b.label).map(|runs| group(runs, &mut warnings)).collect();
        warn_of_grids(&groups, &mut warnings);
        warn_of_ensembles(&runs, &mut warnings);
        warn_of_synthetic(&runs, &mut warnings);
        let (mut comparisons, mut best) = (Vec::new(), None);
        if comparable {
            for label in labels.iter().filter(|&&label| label != BASELINE) {
                comparisons.extend(compare(&runs, label, BASELINE, CONFIDENCE));
            }
            best = clear_best(&runs, &groups);
        }
        Ok(Self { runs, groups, comparisons, warnings, best })
    }

    /// The runs, by label and seed.
    pub fn runs(&self) -> &[RunSummary] {
        &self.runs
    }

    /// The groups, the baseline first.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Each group against `random`, where both have finished runs with common seeds and counts.
    pub fn comparisons(&self) -> &[Comparison] {
        &self.comparisons
    }

    /// What a reader must know before believing the figures.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The group whose area is above that of each other group with 95 % confidence (paired over seeds, Bonferroni).
    pub fn best(&self) -> Option<&Group> {
        self.best.map(|at| &self.groups[at])
    }
}

fn check(run: &RunSummary) -> Result<(), ReportError> {
    let error = |round: usize, message: String| {
        Err(ReportError::Record { label: run.label.to_string(), seed: run.seed, round, message })
    };
    if run.state == RunState::Finished && run.rounds.is_empty() {
        return error(0, "the run is finished but has no rounds".to_owned());
    }
    for (at, round) in run.rounds.iter().enumerate() {
        if round.labelled > MOST_LABELLED {
            return error(at, format!("{} labelled samples, expected at most {MOST_LABELLED}", round.labelled));
        }
        if !(0.0..=1.0).contains(&round.metrics.accuracy) {
            return error(at, format!("accuracy {} is not between 0 and 1", round.metrics.accuracy));
        }
        if at > 0 && round.labelled <= run.rounds[at - 1].labelled {
            let before = run.rounds[at - 1].labelled;
            return error(at, format!("{} labelled samples after {before}; expected more", round.labelled));
        }
    }
    Ok(())
}

/// Keeps the first run of a label and seed, a finished one before others.
fn drop_repeats(runs: &mut Vec<RunSummary>, warnings: &mut Vec<String>) {
    runs.sort_by_key(|run| {
        (run.label.as_str() != BASELINE, run.label.clone(), run.seed, run.state != RunState::Finished)
    });
    runs.dedup_by(|later, first| {
        let same = later.label == first.label && later.seed == first.seed;
        if same {
            warnings.push(format!(
                "`{}` has more than one run of seed {}; only one, {}, is counted",
                first.label, first.seed, first.state
            ));
        }
        same
    });
}

/// Warns of what must not be compared; false where no comparison makes sense.
fn warn_of_mixtures(runs: &[RunSummary], warnings: &mut Vec<String>) -> bool {
    let distinct = |what: &dyn Fn(&RunSummary) -> String| runs.iter().map(what).collect::<BTreeSet<_>>();
    let datasets = distinct(&|run| format!("{} ({})", run.dataset, short(run.dataset_digest.as_str())));
    let models = distinct(&|run| run.model.to_string());
    let layouts = distinct(&|run| run.layout.to_string());
    let mut comparable = true;
    for (what, found) in [("datasets", datasets), ("models", models), ("layouts of run folders", layouts)] {
        if found.len() > 1 {
            comparable = false;
            let list = found.into_iter().collect::<Vec<_>>().join(", ");
            warnings.push(format!("the runs use different {what}: {list}; nothing is compared"));
        }
    }
    let settings = distinct(&|run| settings(run).to_string());
    if settings.len() > 1 {
        warnings.push(format!(
            "the runs differ in more than strategy and seed ({} different configurations); differences may come from \
             there",
            settings.len()
        ));
    }
    for runs in runs.chunk_by(|a, b| a.label == b.label) {
        let digests: BTreeSet<_> = runs.iter().map(|run| short(&run.strategy.digest)).collect();
        if digests.len() > 1 {
            let list = digests.into_iter().collect::<Vec<_>>().join(", ");
            warnings.push(format!("`{}` mixes different builds of its plugin: {list}", runs[0].label));
        }
    }
    comparable
}

/// The configuration without what may differ in a study.
fn settings(run: &RunSummary) -> serde_json::Value {
    let mut config = run.config.clone();
    if let Some(config) = config.as_object_mut() {
        for free in ["strategy", "seeds", "compute", "limits", "keep"] {
            config.remove(free);
        }
    }
    config
}

/// The start of a digest, enough to tell builds apart.
pub(crate) fn short(digest: &str) -> String {
    Shown::name(&digest.chars().take(12).collect::<String>()).into_string()
}

fn finished(runs: &[RunSummary]) -> impl Iterator<Item = &RunSummary> {
    runs.iter().filter(|run| run.state == RunState::Finished)
}

/// Labelled counts that all these runs have.
fn common_counts<'a>(runs: impl Iterator<Item = &'a RunSummary>) -> BTreeSet<usize> {
    let counts = runs.map(|run| run.rounds.iter().map(|round| round.labelled).collect::<BTreeSet<_>>());
    counts.reduce(|common, counts| &common & &counts).unwrap_or_default()
}

/// The points of a run at these counts.
fn curve(run: &RunSummary, counts: &BTreeSet<usize>) -> Vec<(usize, f64)> {
    let points = run.rounds.iter().map(|round| (round.labelled, round.metrics.accuracy));
    points.filter(|(labelled, _)| counts.contains(labelled)).collect()
}

fn group(runs: &[RunSummary], warnings: &mut Vec<String>) -> Group {
    let label = runs[0].label.to_string();
    let counts = common_counts(finished(runs));
    if finished(runs).any(|run| run.rounds.len() != counts.len()) {
        warnings.push(format!(
            "the runs of `{label}` were measured at different labelled counts; only the {} common ones are used",
            counts.len()
        ));
    }
    let curves: Vec<Vec<(usize, f64)>> = finished(runs).map(|run| curve(run, &counts)).collect();
    if curves.len() == 1 {
        warnings.push(format!("`{label}` has one finished seed; its differences cannot be told from chance"));
    }
    let over = |figure: &Figure| Spread::of(&curves.iter().filter_map(|curve| figure(curve)).collect::<Vec<_>>());
    let seconds = |of: &dyn Fn(&querist_core::record::Seconds) -> f64| {
        let totals = finished(runs).map(|run| run.rounds.iter().map(|round| of(&round.seconds)).sum());
        Spread::of(&totals.collect::<Vec<f64>>())
    };
    let point = |(at, &labelled): (usize, &usize)| {
        let accuracy = Spread::of(&curves.iter().map(|curve| curve[at].1).collect::<Vec<_>>())?;
        Some(Point { labelled, accuracy })
    };
    Group {
        seeds: finished(runs).map(|run| run.seed).collect(),
        incomplete: runs.len() - curves.len(),
        curve: counts.iter().enumerate().filter_map(point).collect(),
        final_accuracy: over(&|curve| curve.last().map(|point| point.1)),
        area_over_labels: over(&area_over_labels),
        area_over_rounds: over(&area_over_rounds),
        fit_seconds: seconds(&|seconds| seconds.fit),
        features_seconds: seconds(&|seconds| seconds.features),
        query_seconds: seconds(&|seconds| seconds.query),
        query_peak_bytes: finished(runs).flat_map(|run| &run.rounds).filter_map(|round| round.peak_memory.query).max(),
        label,
    }
}

fn warn_of_grids(groups: &[Group], warnings: &mut Vec<String>) {
    let grid = |group: &Group| group.curve.iter().map(|point| point.labelled).collect::<Vec<_>>();
    let mut grids: BTreeMap<Vec<usize>, Vec<&str>> = BTreeMap::new();
    for group in groups.iter().filter(|group| !group.curve.is_empty()) {
        grids.entry(grid(group)).or_default().push(&group.label);
    }
    if grids.len() > 1 {
        let of = |labels: &Vec<&str>| labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let list = grids.values().map(of).collect::<Vec<_>>().join(" | ");
        warnings.push(format!(
            "not all groups were measured at the same labelled counts ({list}); each area is over its own counts, and \
             two groups are compared only at those they share"
        ));
    }
}

/// A strategy whose figures are of several models, or that learned from unlabelled images, is no equal of the others.
fn warn_of_ensembles(runs: &[RunSummary], warnings: &mut Vec<String>) {
    for runs in runs.chunk_by(|a, b| a.label == b.label) {
        let mut trained = runs.iter().flat_map(|run| &run.rounds).filter_map(|record| record.ensemble.as_ref());
        let Some(EnsembleRecord { adversarial, evaluate, unlabelled, seconds }) = trained.next() else { continue };
        let how = match adversarial {
            Adversarial::None => "",
            Adversarial::Fgsm => " with adversarial images",
            Adversarial::Vat => " with virtual adversarial images",
        };
        let of = match evaluate {
            Evaluate::Mean => "its accuracy is that of their mean prediction",
            Evaluate::Task => "its accuracy is that of the task model alone",
        };
        let from = if *unlabelled > 0 { "; they learned from unlabelled images of the pool, too" } else { "" };
        let (label, members) = (&runs[0].label, seconds.len());
        warnings.push(format!("`{label}` trained {members} models a round{how}; {of}{from}"));
    }
}

/// Nor is one whose models saw more images than were labelled.
fn warn_of_synthetic(runs: &[RunSummary], warnings: &mut Vec<String>) {
    for runs in runs.chunk_by(|a, b| a.label == b.label) {
        let most = runs.iter().flat_map(|run| &run.rounds).map(|record| record.synthetic).max();
        if let Some(most) = most.filter(|&most| most > 0) {
            let label = &runs[0].label;
            warnings.push(format!(
                "`{label}` trained on images that it made of its picks beside the labelled samples, up to {most} in a \
                 round; they count for no figure"
            ));
        }
    }
}

/// `label` minus `against`, paired by seed over their shared counts.
fn compare(runs: &[RunSummary], label: &str, against: &str, confidence: f64) -> Option<Comparison> {
    let of = |label: &str| finished(runs).filter(|run| run.label.as_str() == label).collect::<Vec<_>>();
    let (ours, theirs) = (of(label), of(against));
    let pairs: Vec<(&RunSummary, &RunSummary)> =
        ours.iter().filter_map(|run| Some((*run, *theirs.iter().find(|other| other.seed == run.seed)?))).collect();
    let counts = common_counts(pairs.iter().flat_map(|&(a, b)| [a, b]));
    let difference = |figure: &Figure| {
        let values = pairs.iter().map(|(a, b)| Some(figure(&curve(a, &counts))? - figure(&curve(b, &counts))?));
        Spread::of(&values.collect::<Option<Vec<_>>>()?)
    };
    let area_difference = difference(&area_over_labels)?;
    let final_difference = difference(&|curve| curve.last().map(|point| point.1))?;
    let at_count = |(at, &labelled): (usize, &usize)| {
        let accuracy = difference(&move |curve| curve.get(at).map(|point| point.1))?;
        Some(Point { labelled, accuracy })
    };
    Some(Comparison {
        label: label.to_owned(),
        curve: counts.iter().enumerate().filter_map(at_count).collect(),
        against: against.to_owned(),
        labelled: counts.into_iter().collect(),
        area_half_width: area_difference.half_width(confidence),
        final_half_width: final_difference.half_width(confidence),
        area_difference,
        final_difference,
    })
}

/// The group of the largest area, if its interval against each other group lies above 0.
fn clear_best(runs: &[RunSummary], groups: &[Group]) -> Option<usize> {
    let area = |group: &Group| group.area_over_labels.map(|area| area.mean);
    let ranked = groups.iter().enumerate().filter_map(|(at, group)| Some((at, area(group)?)));
    let (best, _) = ranked.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let others: Vec<&Group> = groups
        .iter()
        .enumerate()
        .filter(|&(at, group)| at != best && area(group).is_some())
        .map(|(_, group)| group)
        .collect();
    let grid = |group: &Group| group.curve.iter().map(|point| point.labelled).collect::<Vec<_>>();
    let confidence = 1.0 - (1.0 - CONFIDENCE) / others.len().max(1) as f64;
    let beats = |other: &&Group| {
        grid(other) == grid(&groups[best])
            && compare(runs, &groups[best].label, &other.label, confidence)
                .is_some_and(|c| c.area_half_width.is_some_and(|half| c.area_difference.mean - half > 0.0))
    };
    (!others.is_empty() && others.iter().all(beats)).then_some(best)
}
