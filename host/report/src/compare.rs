//! Two strategies of one setting, on the seeds and labelled counts that both have.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::analysis::{BASELINE, CONFIDENCE, Labelled, Point, mean_of};
use crate::curve::{Curve, common_counts, mean_curve};
use crate::statistics::{
    CurvePoint, Interval, PairedTest, Penalties, SpeedUp, SpeedUps, Spread, area_over_labels, checkpoints,
    data_utilisation, detectable, holm, mean_interval, over_resamples,
};

/// A figure of one strategy minus that of another, paired by seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The differences; above 0, the first is better.
    pub difference: Spread,
    /// Half the width of Student's 95 % interval of the mean; `None` for one seed.
    pub half_width: Option<f64>,
    /// The interval by drawing seeds with replacement.
    pub bootstrap: Option<Interval>,
    /// p of the two-sided paired t test; `None` for one seed.
    pub p: Option<f64>,
    /// p with Holm's correction for all the tests of its table.
    pub p_corrected: Option<f64>,
    /// Smallest true difference that this many seeds, spread as they are, show with a chance of .8.
    pub detectable: Option<f64>,
    /// Whether the differences do not vary over seeds, so that p says nothing about other seeds.
    pub constant: bool,
}

impl Difference {
    fn of(values: &[f64]) -> Option<Self> {
        let difference = Spread::of(values)?;
        let test = PairedTest::of(values);
        Some(Self {
            difference,
            half_width: difference.half_width(CONFIDENCE),
            bootstrap: mean_interval(values),
            p: test.map(|test| test.p),
            p_corrected: None,
            detectable: difference.std.and_then(|std| detectable(std, difference.n)),
            constant: test.is_some_and(|test| test.is_constant()),
        })
    }

    /// The difference the other way round.
    fn mean_and_p(&self) -> (f64, f64) {
        (self.difference.mean, self.p.unwrap_or(1.0))
    }
}

/// A strategy against the baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Label of the strategy.
    pub label: String,
    /// Label that it is measured against.
    pub against: String,
    /// Labelled counts that both share.
    pub labelled: Vec<usize>,
    /// Difference of the accuracies at each of them, seed by seed.
    pub curve: Vec<Point>,
    /// Difference of the areas over labels.
    pub area: Difference,
    /// Difference of the accuracies at the last shared count.
    pub last: Difference,
    /// Labels with which the strategy's mean curve first reaches the baseline's final accuracy, as a share of those
    /// with which the baseline's does; `None` where it never does.
    pub data_utilisation: Option<f64>,
    /// How many labels it needs beside the baseline, over all rounds.
    pub speed_up: Option<SpeedUp>,
    /// Interval of `speed_up.labels_needed` by drawing seeds with replacement.
    pub labels_needed_interval: Option<Interval>,
}

/// Two strategies by their areas over labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// Label of the first.
    pub a: String,
    /// Label of the second.
    pub b: String,
    /// Area of the first minus that of the second.
    pub area: Difference,
}

impl Pair {
    /// Mean difference and p, seen from one of the two; `None` where these are not the two.
    pub fn from(&self, one: &str, other: &str) -> Option<(f64, f64)> {
        let (mean, p) = self.area.mean_and_p();
        if self.a == one && self.b == other {
            Some((mean, p))
        } else {
            (self.a == other && self.b == one).then_some((-mean, p))
        }
    }
}

/// Curves of two strategies, seed by seed, at the counts that all of them have.
pub(crate) struct Paired {
    counts: Vec<usize>,
    ours: Vec<Vec<CurvePoint>>,
    theirs: Vec<Vec<CurvePoint>>,
}

impl Paired {
    pub(crate) fn of(a: &Labelled<'_>, b: &Labelled<'_>) -> Self {
        let pair = |ours: &'_ Curve| {
            let at = b.curves.binary_search_by(|theirs| theirs.seed.cmp(&ours.seed)).ok()?;
            Some((ours.clone(), b.curves[at].clone()))
        };
        let (ours, theirs): (Vec<Curve>, Vec<Curve>) = a.curves.iter().filter_map(pair).unzip();
        let counts = common_counts(ours.iter().chain(&theirs));
        let at = |curves: &[Curve]| curves.iter().map(|curve| curve.at(&counts)).collect();
        Self { ours: at(&ours), theirs: at(&theirs), counts }
    }

    /// A figure of each pair, one minus the other; `None` where it is not defined.
    fn differences(&self, figure: impl Fn(&[CurvePoint]) -> Option<f64>) -> Option<Vec<f64>> {
        self.ours.iter().zip(&self.theirs).map(|(a, b)| Some(figure(a)? - figure(b)?)).collect()
    }

    pub(crate) fn difference(&self, figure: impl Fn(&[CurvePoint]) -> Option<f64>) -> Option<Difference> {
        Difference::of(&self.differences(figure)?)
    }

    fn at_place(&self, at: usize) -> Vec<f64> {
        self.ours.iter().zip(&self.theirs).map(|(a, b)| a[at].1 - b[at].1).collect()
    }

    /// How labels scale, by the labels bought after the first count.
    fn speed_ups(&self) -> Option<SpeedUps> {
        let first = *self.counts.first()?;
        SpeedUps::new(self.counts.iter().map(|&count| (count - first) as f64).collect())
    }

    /// The speed-up over some of the pairs, by their places.
    fn speed_up(&self, finder: &SpeedUps, seeds: &[usize]) -> Option<SpeedUp> {
        let mean = |curves: &[Vec<CurvePoint>]| -> Vec<f64> {
            let at = |at: usize| seeds.iter().map(|&seed| curves[seed][at].1).sum::<f64>() / seeds.len() as f64;
            (0..self.counts.len()).map(at).collect()
        };
        finder.of(&mean(&self.ours), &mean(&self.theirs))
    }
}

/// Each strategy of a setting against its baseline.
pub(crate) fn comparisons(groups: &[Labelled<'_>]) -> Vec<Comparison> {
    let Some(baseline) = groups.iter().find(|group| group.label == BASELINE) else { return Vec::new() };
    let others = groups.iter().filter(|group| group.label != BASELINE);
    let mut found: Vec<Comparison> = others.filter_map(|group| compare(group, baseline)).collect();
    correct(&mut found, |comparison| &mut comparison.area);
    correct(&mut found, |comparison| &mut comparison.last);
    found
}

fn compare(group: &Labelled<'_>, baseline: &Labelled<'_>) -> Option<Comparison> {
    let paired = Paired::of(group, baseline);
    let area = paired.difference(area_over_labels)?;
    let last = paired.difference(|curve| curve.last().map(|point| point.1))?;
    let at = |(at, &labelled): (usize, &usize)| Point::of(labelled, &paired.at_place(at));
    let seeds: Vec<usize> = (0..paired.ours.len()).collect();
    let finder = paired.speed_ups();
    Some(Comparison {
        label: group.label.to_owned(),
        against: baseline.label.to_owned(),
        curve: paired.counts.iter().enumerate().filter_map(at).collect(),
        area,
        last,
        data_utilisation: data_utilisation(&mean_curve(&paired.ours), &mean_curve(&paired.theirs)),
        speed_up: finder.as_ref().and_then(|finder| paired.speed_up(finder, &seeds)),
        labels_needed_interval: over_resamples(seeds.len(), |seeds| {
            Some(paired.speed_up(finder.as_ref()?, seeds)?.labels_needed)
        }),
        labelled: paired.counts,
    })
}

/// Each two strategies of a setting.
pub(crate) fn pairs(groups: &[Labelled<'_>]) -> Vec<Pair> {
    let two = |(at, a): (usize, &Labelled<'_>)| {
        let pair = |b: &Labelled<'_>| {
            let area = Paired::of(a, b).difference(area_over_labels)?;
            Some(Pair { a: a.label.to_owned(), b: b.label.to_owned(), area })
        };
        groups[at + 1..].iter().filter_map(pair).collect::<Vec<_>>()
    };
    let mut found: Vec<Pair> = groups.iter().enumerate().flat_map(two).collect();
    correct(&mut found, |pair| &mut pair.area);
    found
}

/// Holm's correction over all tests of a table.
fn correct<T>(rows: &mut [T], of: impl Fn(&mut T) -> &mut Difference) {
    let (places, p): (Vec<usize>, Vec<f64>) =
        rows.iter_mut().enumerate().filter_map(|(at, row)| Some((at, of(row).p?))).unzip();
    for (place, corrected) in places.into_iter().zip(holm(&p)) {
        of(&mut rows[place]).p_corrected = Some(corrected);
    }
}

/// Who beats whom, over all settings that have a baseline.
pub(crate) fn penalties(settings: &[Vec<Labelled<'_>>]) -> Option<Penalties> {
    let is_baseline = |group: &Labelled<'_>| group.label == BASELINE;
    let judged = || settings.iter().filter(|groups| groups.iter().any(is_baseline));
    let labels: BTreeSet<(bool, &str)> = judged().flatten().map(|group| (!is_baseline(group), group.label)).collect();
    let strategies: Vec<String> = labels.into_iter().map(|(_, label)| label.to_owned()).collect();
    if strategies.is_empty() {
        return None;
    }
    let place = |label: &str| strategies.iter().position(|strategy| strategy == label);
    let mut table = Penalties::new(strategies.clone());
    for groups in judged() {
        let counts = groups.iter().find(|group| is_baseline(group)).map(|group| checkpoints(&mean_of(group)))?;
        for (at, a) in groups.iter().enumerate() {
            for b in &groups[at + 1..] {
                let paired = Paired::of(a, b);
                let shared = paired.counts.iter().enumerate().filter(|(_, count)| counts.contains(count));
                let differences: Vec<Vec<f64>> = shared.map(|(at, _)| paired.at_place(at)).collect();
                table.add(place(a.label)?, place(b.label)?, &differences);
            }
        }
    }
    Some(table)
}
