//! Runs or curves to everything that is reported of them.

use std::collections::{BTreeMap, BTreeSet};

use querist_core::config::{Adversarial, Evaluate};
use querist_core::fitted::EnsembleRecord;

use crate::analysis::{Analysis, BASELINE, SettingFigures};
use crate::cost::Cost;
use crate::curve::{Curve, Seed, Setting, common_counts};
use crate::curves_file::MOST_LABELLED;
use crate::people::warn_of_held_out;
use crate::run::{RunState, RunSummary};
use crate::settings::{Placed, curve, place, short};
use crate::upper::warn_of_several;

/// Runs or curves with everything computed from them.
#[derive(Debug)]
pub struct Report {
    pub(crate) runs: Vec<RunSummary>,
    /// The label of each run's curve.
    labels: Vec<String>,
    /// The setting of each run, and what pairs it.
    places: Vec<(String, Seed)>,
    /// Costs by setting and label.
    costs: BTreeMap<(Setting, String), Cost>,
    analysis: Analysis,
    warnings: Vec<String>,
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
    /// A key that curves were to be told apart by.
    #[error(
        "no run has the key `{key}`, which curves were to be told apart by; expected `strategy`, a key of run files \
         that has a value of its own, such as `recipe.optimiser`, or an axis of a study"
    )]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A thumbnail cannot be encoded.
    #[error("a queried picture cannot be shown: {0}")]
    Picture(String),
    /// Output could not be written.
    #[error("the report cannot be written: {0}")]
    Write(String),
}

impl Report {
    /// Checks the runs, groups them by setting and label (the baseline first, then by name) and compares the groups.
    ///
    /// A label is the strategy's, or the values of the config's keys in `curves_by`, such as `recipe.preset`, with the
    /// strategy's where `strategy` is among them.
    ///
    /// # Errors
    /// If there are no runs, none has a key of `curves_by`, or a record has an accuracy outside 0 to 1 or labelled
    /// counts that do not grow or cannot be.
    pub fn new(mut runs: Vec<RunSummary>, curves_by: &[String]) -> Result<Self, ReportError> {
        if runs.is_empty() {
            return Err(ReportError::Empty);
        }
        runs.iter().try_for_each(check)?;
        let placed = place(&runs, curves_by)?;
        let mut placed: Vec<(Placed, RunSummary)> = placed.into_iter().zip(runs.drain(..)).collect();
        placed.sort_by(|(a, run), (b, other)| key(a, run).cmp(&key(b, other)));
        let mut warnings = Vec::new();
        drop_repeats(&mut placed, &mut warnings);
        let mut curves: Vec<Curve> = placed.iter().filter_map(|(place, run)| curve(run, place)).collect();
        let costs = costs(&placed);
        let places = placed.iter().map(|(place, _)| (setting_name(&place.setting), place.seed.clone())).collect();
        let (labels, runs): (Vec<String>, Vec<RunSummary>) =
            placed.into_iter().map(|(place, run)| (place.label, run)).unzip();
        warn_of_builds(&runs, &mut warnings);
        warn_of_ensembles(&runs, &mut warnings);
        warn_of_synthetic(&runs, &mut warnings);
        let analysis = Analysis::new(&mut curves);
        warn_of_curves(&curves, &analysis, &mut warnings);
        warn_of_several(&curves, &mut warnings);
        warn_of_reserve(&runs, &mut warnings);
        warn_of_held_out(&runs, &mut warnings);
        Ok(Self { runs, labels, places, costs, analysis, warnings })
    }

    /// The same of curves that were made elsewhere; nothing is known of what they cost.
    ///
    /// # Errors
    /// If there are none.
    pub fn of_curves(mut curves: Vec<Curve>) -> Result<Self, ReportError> {
        if curves.is_empty() {
            return Err(ReportError::Empty);
        }
        let analysis = Analysis::new(&mut curves);
        let mut warnings = Vec::new();
        warn_of_curves(&curves, &analysis, &mut warnings);
        let costs = BTreeMap::new();
        Ok(Self { runs: Vec::new(), labels: Vec::new(), places: Vec::new(), costs, analysis, warnings })
    }

    /// The runs, by setting, label and seed; none where the report is of curves.
    pub fn runs(&self) -> &[RunSummary] {
        &self.runs
    }

    /// The label of each run's curve.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The setting of each run, in words, and what pairs it.
    pub(crate) fn places(&self) -> &[(String, Seed)] {
        &self.places
    }

    /// Everything that is computed of curves.
    pub fn analysis(&self) -> &Analysis {
        &self.analysis
    }

    /// What the finished runs of a label cost in a setting.
    pub fn cost(&self, setting: &Setting, label: &str) -> Option<&Cost> {
        self.costs.get(&(setting.clone(), label.to_owned()))
    }

    /// What a reader must know before believing the figures.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn key<'a>(place: &'a Placed, run: &'a RunSummary) -> impl Ord + use<'a> {
    (&place.setting, place.label != BASELINE, &place.label, &place.seed, run.state != RunState::Finished)
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
        // Where nothing was there to test on, no accuracy is known.
        let is_untested = round.metrics.accuracy.is_nan() && round.metrics.per_class.iter().all(Option::is_none);
        if !is_untested && !(0.0..=1.0).contains(&round.metrics.accuracy) {
            return error(at, format!("accuracy {} is not between 0 and 1", round.metrics.accuracy));
        }
        let Some(before) = at.checked_sub(1).map(|before| &run.rounds[before]) else { continue };
        // A batch of which nobody could tell, of none of the classes or held out adds no label to train on.
        let may_stay = before.rejected + before.unsure > 0 || round.held_out > 0;
        if round.labelled < before.labelled || (round.labelled == before.labelled && !may_stay) {
            let before = before.labelled;
            return error(at, format!("{} labelled samples after {before}; expected more", round.labelled));
        }
    }
    Ok(())
}

/// Keeps the first run of a setting, label and seed: a finished one before others.
fn drop_repeats(runs: &mut Vec<(Placed, RunSummary)>, warnings: &mut Vec<String>) {
    runs.dedup_by(|(later, _), (first, run)| {
        let same = later.setting == first.setting && later.label == first.label && later.seed == first.seed;
        if same {
            warnings.push(format!(
                "`{}` has more than one run of seed {}; only one, {}, is counted",
                first.label, first.seed, run.state
            ));
        }
        same
    });
}

fn costs(runs: &[(Placed, RunSummary)]) -> BTreeMap<(Setting, String), Cost> {
    let same =
        |a: &(Placed, RunSummary), b: &(Placed, RunSummary)| a.0.setting == b.0.setting && a.0.label == b.0.label;
    let of = |runs: &[(Placed, RunSummary)]| {
        let finished: Vec<&RunSummary> =
            runs.iter().map(|(_, run)| run).filter(|run| run.state == RunState::Finished).collect();
        ((runs[0].0.setting.clone(), runs[0].0.label.clone()), Cost::of(&finished))
    };
    runs.chunk_by(same).map(of).collect()
}

/// One name for two programs makes no fair row.
fn warn_of_builds(runs: &[RunSummary], warnings: &mut Vec<String>) {
    let mut builds: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for run in runs {
        builds.entry(run.label.as_str()).or_default().insert(short(&run.strategy.digest));
    }
    for (label, digests) in builds.into_iter().filter(|(_, digests)| digests.len() > 1) {
        let list = digests.into_iter().collect::<Vec<_>>().join(", ");
        warnings.push(format!("`{label}` mixes different builds of its plugin: {list}"));
    }
}

/// Curves that stand on too little, or on different counts.
fn warn_of_curves(curves: &[Curve], analysis: &Analysis, warnings: &mut Vec<String>) {
    for curves in curves.chunk_by(|a, b| a.setting == b.setting && a.label == b.label) {
        let (label, shared) = (&curves[0].label, common_counts(curves).len());
        if curves.iter().any(|curve| curve.points.len() != shared) {
            warnings.push(format!(
                "the runs of `{label}`{} were measured at different labelled counts; only the {shared} common ones are \
                 used",
                in_setting(&curves[0].setting)
            ));
        }
        if curves.len() == 1 {
            let place = in_setting(&curves[0].setting);
            warnings
                .push(format!("`{label}`{place} has one finished seed; its differences cannot be told from chance"));
        }
    }
    let has_baseline = |setting: &&SettingFigures| setting.groups.iter().any(|group| group.label == BASELINE);
    let lack: Vec<String> =
        analysis.settings.iter().filter(|setting| !has_baseline(setting)).map(|s| setting_name(&s.setting)).collect();
    if !lack.is_empty() && lack.len() < analysis.settings.len() {
        warnings.push(format!(
            "nothing is compared with `{BASELINE}` where it was not run: {}. What runs differ in, beside strategy and \
             seed, makes settings of their own",
            lack.join(" | ")
        ));
    }
    analysis.settings.iter().for_each(|setting| warn_of_grids(setting, warnings));
}

/// A setting as words: `budget.batch 100, dataset.name mnist`; empty where there is only one.
pub(crate) fn setting_name(setting: &Setting) -> String {
    setting.iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join(", ")
}

fn in_setting(setting: &Setting) -> String {
    if setting.is_empty() { String::new() } else { format!(" ({})", setting_name(setting)) }
}

fn warn_of_grids(setting: &SettingFigures, warnings: &mut Vec<String>) {
    let mut grids: BTreeMap<Vec<usize>, Vec<&str>> = BTreeMap::new();
    for group in setting.groups.iter().filter(|group| !group.curve.is_empty()) {
        grids.entry(group.curve.iter().map(|point| point.labelled).collect()).or_default().push(&group.label);
    }
    if grids.len() > 1 {
        let of = |labels: &Vec<&str>| labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let list = grids.values().map(of).collect::<Vec<_>>().join(" | ");
        warnings.push(format!(
            "not all groups{} were measured at the same labelled counts ({list}); each area is over its own \
             counts, and two groups are compared only at those they share",
            in_setting(&setting.setting)
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

/// The upper baseline knows more labels than it buys.
fn warn_of_reserve(runs: &[RunSummary], warnings: &mut Vec<String>) {
    let uppers = runs.iter().filter(|run| run.strategy.is_upper());
    let most = uppers.flat_map(|run| &run.rounds).map(|round| round.reserve_labels).max();
    if let Some(most) = most {
        warnings.push(format!(
            "the upper baseline knows the labels of the whole pool, and judged batches by up to {most} labelled \
             samples that no run may buy; they count for nobody's budget. It is a reference and no strategy"
        ));
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
