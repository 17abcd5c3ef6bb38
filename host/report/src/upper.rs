//! How much of what could be had a strategy had: its gain over the baseline, as a share of the upper baseline's.

use serde::Serialize;

use crate::analysis::{BASELINE, Group, Labelled, group};
use crate::compare::{Difference, Paired};
use crate::curve::{Curve, Setting};
use crate::statistics::{Interval, area_over_labels, over_resamples};

/// The upper baseline of a setting, which is in no ranking.
#[derive(Debug, Clone, Serialize)]
pub struct Upper {
    /// Its curves.
    pub group: Group,
    /// Its area over labels minus the baseline's, on the seeds that both have; `None` where there is no baseline.
    pub gain: Option<Difference>,
    /// What each strategy had of that gain; none where it is not above 0 with 95 % confidence.
    pub attained: Vec<Attained>,
}

/// What a strategy had of the attainable gain.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attained {
    /// Label of the strategy.
    pub label: String,
    /// Its area minus the baseline's, as a share of the upper baseline's area minus the baseline's. It may be above 1:
    /// the upper baseline looks one round ahead, and is no bound.
    pub share: f64,
    /// The share's interval by drawing seeds with replacement.
    pub interval: Option<Interval>,
    /// Seeds that all three have.
    pub seeds: usize,
}

impl Upper {
    /// Of the curves of a setting; the first label's where there are several.
    pub(crate) fn of(curves: &[Curve], groups: &[Labelled<'_>]) -> Option<Self> {
        let label = &curves.first()?.label;
        let count = curves.iter().take_while(|curve| curve.label == *label).count();
        let upper = Labelled { label, curves: &curves[..count] };
        let baseline = groups.iter().find(|group| group.label == BASELINE);
        let gain = baseline.and_then(|baseline| Paired::of(&upper, baseline).difference(area_over_labels));
        let is_clear =
            gain.as_ref().is_some_and(|gain| gain.half_width.is_some_and(|half| gain.difference.mean - half > 0.0));
        let others = groups.iter().filter(|group| is_clear && group.label != BASELINE);
        let attained = others.filter_map(|other| attained(other, &upper, baseline?)).collect();
        Some(Self { group: group(&upper), gain, attained })
    }
}

/// Areas of one seed: the strategy's, the baseline's, the upper baseline's.
type Areas = [f64; 3];

fn attained(strategy: &Labelled<'_>, upper: &Labelled<'_>, baseline: &Labelled<'_>) -> Option<Attained> {
    let areas: Vec<Areas> = strategy
        .curves
        .iter()
        .filter_map(|ours| {
            let of_seed = |group: &'_ Labelled<'_>| group.curves.iter().find(|curve| curve.seed == ours.seed).cloned();
            three_areas([ours.clone(), of_seed(baseline)?, of_seed(upper)?])
        })
        .collect();
    let share = |seeds: &[usize]| {
        let sum = |of: &dyn Fn(&Areas) -> f64| seeds.iter().map(|&seed| of(&areas[seed])).sum::<f64>();
        let attainable = sum(&|areas| areas[2] - areas[1]);
        (attainable > 0.0).then(|| sum(&|areas| areas[0] - areas[1]) / attainable)
    };
    let all: Vec<usize> = (0..areas.len()).collect();
    Some(Attained {
        label: strategy.label.to_owned(),
        share: share(&all)?,
        interval: over_resamples(areas.len(), share),
        seeds: areas.len(),
    })
}

/// The areas of three curves over the counts that all have.
fn three_areas(curves: [Curve; 3]) -> Option<Areas> {
    let counts = crate::curve::common_counts(&curves);
    let [strategy, baseline, upper] = curves.map(|curve| area_over_labels(&curve.at(&counts)));
    Some([strategy?, baseline?, upper?])
}

/// What must be known of settings with several upper baselines.
pub(crate) fn warn_of_several(curves: &[Curve], warnings: &mut Vec<String>) {
    let uppers: Vec<(&Setting, &str)> =
        curves.iter().filter(|curve| curve.is_upper).map(|curve| (&curve.setting, curve.label.as_str())).collect();
    for labels in uppers.chunk_by(|a, b| a.0 == b.0) {
        let (first, last) = (labels[0].1, labels[labels.len() - 1].1);
        if first != last {
            warnings.push(format!(
                "a setting has several upper baselines; shares of attainable gain are those of `{first}`"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Analysis;
    use crate::curve::Seed;
    use crate::statistics::CurvePoint;

    /// A curve that rises by `gain` in each round.
    fn curve(label: &str, seed: u64, gain: f64) -> Curve {
        let noise = 0.001 * (seed % 3) as f64;
        let points: Vec<CurvePoint> =
            (0..5).map(|round| (100 + 50 * round, 0.5 + noise + gain * round as f64)).collect();
        let (setting, label, seed) = (Setting::new(), label.to_owned(), Seed::Number(seed));
        Curve { setting, is_upper: label == "best", label, seed, points }
    }

    /// Of each label curves that differ a little from seed to seed, but for the baseline's.
    fn analysis(seeds: u64, gains: &[(&str, f64)]) -> Analysis {
        let more = |label: &str, seed: u64| if label == "random" { 0.0 } else { 1e-4 * seed as f64 };
        let of = |(label, gain): &(&str, f64)| {
            (0..seeds).map(|seed| curve(label, seed, gain + more(label, seed))).collect::<Vec<_>>()
        };
        Analysis::new(&mut gains.iter().flat_map(of).collect::<Vec<_>>())
    }

    #[test]
    fn a_share_is_of_the_gain_and_the_upper_baseline_is_in_no_table() {
        let found = analysis(5, &[("random", 0.02), ("a", 0.04), ("b", 0.10), ("best", 0.06)]);
        let setting = &found.settings[0];
        let labels: Vec<&str> = setting.groups.iter().map(|group| group.label.as_str()).collect();
        assert_eq!(labels, ["random", "a", "b"]);
        assert!(found.penalties.unwrap().strategies.iter().all(|label| label != "best"));
        assert!(setting.best.as_deref() == Some("b") && setting.pairs.len() == 3);
        let upper = setting.upper.as_ref().unwrap();
        assert_eq!((upper.group.label.as_str(), upper.group.seeds.len()), ("best", 5));
        let [a, b] = &upper.attained[..] else { panic!("{:?}", upper.attained) };
        // (.0202 - .0200 + .02) over (.0402): half a point of both.
        assert!((a.share - 0.0202 / 0.0402).abs() < 1e-9 && a.seeds == 5, "{a:?}");
        assert!(a.interval.unwrap().low <= a.share && a.share <= a.interval.unwrap().high);
        assert!(b.share > 1.9, "it may be above 1: {b:?}");
    }

    #[test]
    fn without_a_clear_gain_there_is_no_share() {
        for (seeds, best) in [(1, 0.06), (5, 0.02 - 2e-4), (5, 0.01)] {
            let found = analysis(seeds, &[("random", 0.02), ("a", 0.04), ("best", best)]);
            let upper = found.settings[0].upper.as_ref().unwrap();
            assert!(upper.gain.is_some() && upper.attained.is_empty(), "{seeds} {best}: {upper:?}");
        }
        let alone = analysis(3, &[("best", 0.06)]);
        assert!(alone.settings[0].groups.is_empty() && alone.settings[0].upper.as_ref().unwrap().gain.is_none());
        assert!(analysis(3, &[("random", 0.02), ("a", 0.04)]).settings[0].upper.is_none());
    }
}
