//! Curves to groups, groups to comparisons, settings to one table.

use std::collections::BTreeSet;

use rayon::prelude::*;
use serde::Serialize;

use crate::compare::{Comparison, Pair, comparisons, pairs, penalties};
use crate::curve::{Curve, Seed, Setting, common_counts, mean_curve};
use crate::statistics::{CurvePoint, Interval, Penalties, Spread, area_over_labels, area_over_rounds, mean_interval};
use crate::upper::Upper;

/// Label of the strategy that every other is measured against.
pub const BASELINE: &str = "random";
/// Confidence of every interval.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// Everything that is computed of curves.
#[derive(Debug, Clone, Serialize)]
pub struct Analysis {
    /// Each setting by itself, by name.
    pub settings: Vec<SettingFigures>,
    /// Who beats whom, over all settings that have a baseline; `None` where none has.
    pub penalties: Option<Penalties>,
    /// Each strategy but the baseline, over all settings that have one.
    pub standings: Vec<Standing>,
}

/// What was found in one setting.
#[derive(Debug, Clone, Serialize)]
pub struct SettingFigures {
    /// The setting; empty where there is only one.
    pub setting: Setting,
    /// Strategies, the baseline first, then by name.
    pub groups: Vec<Group>,
    /// Each of them against the baseline, on the seeds and counts that both have.
    pub comparisons: Vec<Comparison>,
    /// Each two of them.
    pub pairs: Vec<Pair>,
    /// The strategy whose area is above that of each other with 95 % confidence (paired t over common seeds,
    /// Bonferroni).
    pub best: Option<String>,
    /// The upper baseline, where one was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upper: Option<Upper>,
}

/// A point of a group's curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Labelled samples.
    pub labelled: usize,
    /// Accuracy on the test set over the seeds, or a difference of two, as a fraction.
    pub accuracy: Spread,
    /// Half the width of Student's 95 % interval of the mean; `None` for one seed.
    pub half_width: Option<f64>,
    /// The interval by drawing seeds with replacement; `None` for one seed.
    pub bootstrap: Option<Interval>,
}

impl Point {
    pub(crate) fn of(labelled: usize, values: &[f64]) -> Option<Self> {
        let accuracy = Spread::of(values)?;
        let (half_width, bootstrap) = (accuracy.half_width(CONFIDENCE), mean_interval(values));
        Some(Self { labelled, accuracy, half_width, bootstrap })
    }
}

/// The curves of one label in one setting; figures are `None` where they are not defined.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// The label.
    pub label: String,
    /// Seeds of its curves, ascending.
    pub seeds: Vec<Seed>,
    /// Accuracy at the labelled counts that all its curves share.
    pub curve: Vec<Point>,
    /// Accuracy at the last of these counts.
    pub final_accuracy: Option<Spread>,
    /// Area under the curve over labels.
    pub area_over_labels: Option<Spread>,
    /// Area under the curve over rounds.
    pub area_over_rounds: Option<Spread>,
}

/// One strategy beside the baseline, over settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// The label.
    pub label: String,
    /// Settings in which it was compared with the baseline.
    pub settings: usize,
    /// Share of these in which its mean area is not below the baseline's.
    pub not_below: f64,
    /// Share in which it is not below with 95 % confidence: nothing shows that it is worse.
    pub not_shown_below: f64,
    /// Share in which it is above with 95 % confidence.
    pub shown_above: f64,
    /// Mean over settings of the mean difference of areas.
    pub mean_difference: f64,
    /// How often others beat it, from 0 to 1, lower is better.
    pub beaten: Option<f64>,
}

/// The curves of one label.
#[derive(Clone, Copy)]
pub(crate) struct Labelled<'a> {
    pub label: &'a str,
    pub curves: &'a [Curve],
}

impl Analysis {
    /// Groups curves by setting and label, and compares the groups. No two curves of a setting may have label and seed
    /// in common; `curves` are sorted in place.
    pub fn new(curves: &mut [Curve]) -> Self {
        curves.sort_by(|a, b| order(a).cmp(&order(b)));
        let parts: Vec<&[Curve]> = curves.chunk_by(|a, b| a.setting == b.setting).collect();
        // The upper baseline is no strategy: the last curves of a setting, and in none of its groups.
        let strategies = |part: &[Curve]| part.iter().take_while(|curve| !curve.is_upper).count();
        let settings: Vec<Vec<Labelled<'_>>> = parts.iter().map(|part| labels(&part[..strategies(part)])).collect();
        let figures: Vec<SettingFigures> = settings
            .par_iter()
            .zip(&parts)
            .map(|(groups, part)| figures(&part[0].setting, groups, &part[strategies(part)..]))
            .collect();
        let penalties = penalties(&settings);
        let standings = standings(&figures, penalties.as_ref());
        Self { settings: figures, penalties, standings }
    }
}

fn order(curve: &Curve) -> (&Setting, bool, bool, &str, &Seed) {
    (&curve.setting, curve.is_upper, curve.label != BASELINE, &curve.label, &curve.seed)
}

fn labels(curves: &[Curve]) -> Vec<Labelled<'_>> {
    curves.chunk_by(|a, b| a.label == b.label).map(|curves| Labelled { label: &curves[0].label, curves }).collect()
}

fn figures(setting: &Setting, groups: &[Labelled<'_>], uppers: &[Curve]) -> SettingFigures {
    let pairs = pairs(groups);
    let figures: Vec<Group> = groups.iter().map(group).collect();
    SettingFigures {
        setting: setting.clone(),
        upper: Upper::of(uppers, groups),
        comparisons: comparisons(groups),
        best: clear_best(&figures, &pairs),
        groups: figures,
        pairs,
    }
}

pub(crate) fn group(group: &Labelled<'_>) -> Group {
    let counts = common_counts(group.curves);
    let curves: Vec<Vec<CurvePoint>> = group.curves.iter().map(|curve| curve.at(&counts)).collect();
    let over = |figure: &dyn Fn(&[CurvePoint]) -> Option<f64>| {
        Spread::of(&curves.iter().filter_map(|curve| figure(curve)).collect::<Vec<_>>())
    };
    let at = |(at, &labelled): (usize, &usize)| {
        Point::of(labelled, &curves.iter().map(|curve| curve[at].1).collect::<Vec<_>>())
    };
    Group {
        label: group.label.to_owned(),
        seeds: group.curves.iter().map(|curve| curve.seed.clone()).collect(),
        curve: counts.iter().enumerate().filter_map(at).collect(),
        final_accuracy: over(&|curve| curve.last().map(|point| point.1)),
        area_over_labels: over(&area_over_labels),
        area_over_rounds: over(&area_over_rounds),
    }
}

/// The group of the largest area, if each other, measured at the same counts, is clearly below.
fn clear_best(groups: &[Group], pairs: &[Pair]) -> Option<String> {
    let area = |group: &Group| group.area_over_labels.map(|area| area.mean);
    let ranked: Vec<(&Group, f64)> = groups.iter().filter_map(|group| Some((group, area(group)?))).collect();
    let (best, _) = ranked.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let grid = |group: &Group| group.curve.iter().map(|point| point.labelled).collect::<BTreeSet<_>>();
    let level = (1.0 - CONFIDENCE) / (ranked.len() - 1).max(1) as f64;
    let beats = |other: &Group| {
        let pair = pairs.iter().find_map(|pair| pair.from(&best.label, &other.label));
        grid(other) == grid(best) && pair.is_some_and(|(mean, p)| mean > 0.0 && p < level)
    };
    let mut others = ranked.iter().filter(|(group, _)| group.label != best.label).peekable();
    (others.peek().is_some() && others.all(|(group, _)| beats(group))).then(|| best.label.clone())
}

fn standings(settings: &[SettingFigures], penalties: Option<&Penalties>) -> Vec<Standing> {
    let labels: BTreeSet<&str> =
        settings.iter().flat_map(|setting| &setting.comparisons).map(|comparison| comparison.label.as_str()).collect();
    let standing = |label: &str| {
        let of = |setting: &'_ SettingFigures| {
            setting.comparisons.iter().find(|comparison| comparison.label == label).cloned()
        };
        let found: Vec<Comparison> = settings.iter().filter_map(of).collect();
        let share = |is: &dyn Fn(&Comparison) -> bool| {
            found.iter().filter(|comparison| is(comparison)).count() as f64 / found.len() as f64
        };
        let mean = |comparison: &Comparison| comparison.area.difference.mean;
        let is_clear = |comparison: &Comparison| comparison.area.p.is_some_and(|p| p < 1.0 - CONFIDENCE);
        let at = penalties.and_then(|table| table.strategies.iter().position(|strategy| strategy == label));
        Standing {
            label: label.to_owned(),
            settings: found.len(),
            not_below: share(&|comparison| mean(comparison) >= 0.0),
            not_shown_below: share(&|comparison| !(is_clear(comparison) && mean(comparison) < 0.0)),
            shown_above: share(&|comparison| is_clear(comparison) && mean(comparison) > 0.0),
            mean_difference: found.iter().map(mean).sum::<f64>() / found.len() as f64,
            beaten: at.and_then(|at| penalties?.beaten(at)),
        }
    };
    labels.into_iter().map(standing).collect()
}

/// The mean curve of a group, for what is judged by it.
pub(crate) fn mean_of(group: &Labelled<'_>) -> Vec<CurvePoint> {
    let counts = common_counts(group.curves);
    mean_curve(&group.curves.iter().map(|curve| curve.at(&counts)).collect::<Vec<_>>())
}
