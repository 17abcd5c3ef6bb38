//! A plugin beside another strategy: one number a seed, over all settings or in one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::analysis::CONFIDENCE;
use crate::curve::{Curve, Seed, Setting, common_counts};
use crate::report::{Report, setting_name};
use crate::run::RunState;
use crate::statistics::{PairedTest, Spread, area_over_labels, holm, pairs_needed};

/// What is known of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// It is above 0 with 95 % confidence.
    Better,
    /// It is below 0 with 95 % confidence.
    Worse,
    /// It is smaller than what is worth knowing with 95 % confidence.
    Alike,
    /// There is none: every accuracy is the same.
    Same,
    /// It may be either.
    NotKnown,
}

/// A plugin's area over labels minus another strategy's, paired by seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contrast {
    /// Label of the plugin.
    pub label: String,
    /// Label that it is measured against.
    pub against: String,
    /// Settings that each seed's difference is the mean of.
    pub settings: usize,
    /// The differences, as fractions of accuracy; above 0, the plugin is better.
    pub difference: Spread,
    /// Student's 95 % interval of their mean; `None` for one seed.
    pub interval: Option<(f64, f64)>,
    /// p of the two-sided paired t test; `None` for one seed.
    pub p: Option<f64>,
    /// p with Holm's correction for the tests that are told together.
    pub p_corrected: Option<f64>,
    /// Whether the differences do not vary over seeds, so that p says nothing about other seeds.
    pub constant: bool,
    /// What is known.
    pub finding: Finding,
    /// Seeds that show a difference as large as is worth knowing, with a chance of .8.
    pub seeds_for_worth: Option<usize>,
    /// Seeds that show a difference as large as was seen, with a chance of .8.
    pub seeds_for_seen: Option<usize>,
}

impl Contrast {
    fn of(label: &str, against: &str, settings: usize, values: &[f64], worth: f64) -> Option<Self> {
        let difference = Spread::of(values)?;
        let test = PairedTest::of(values);
        let half = difference.half_width(CONFIDENCE);
        let needed = |wanted: f64| pairs_needed(wanted, difference.std?);
        let mut contrast = Self {
            label: label.to_owned(),
            against: against.to_owned(),
            settings,
            difference,
            interval: half.map(|half| (difference.mean - half, difference.mean + half)),
            p: test.map(|test| test.p),
            p_corrected: test.map(|test| test.p),
            constant: test.is_some_and(|test| test.is_constant()),
            finding: Finding::NotKnown,
            seeds_for_worth: needed(worth),
            seeds_for_seen: needed(difference.mean),
        };
        contrast.find(worth);
        Some(contrast)
    }

    fn find(&mut self, worth: f64) {
        let mean = self.difference.mean;
        let is_clear = !self.constant && self.p_corrected.is_some_and(|p| p < 1.0 - CONFIDENCE);
        let is_small = self.interval.is_some_and(|(low, high)| low > -worth && high < worth);
        let is_none = mean == 0.0 && self.difference.std.is_none_or(|std| std == 0.0);
        self.finding = match (is_none, is_clear) {
            (true, _) => Finding::Same,
            (_, true) if mean > 0.0 => Finding::Better,
            (_, true) => Finding::Worse,
            _ if is_small && !self.constant => Finding::Alike,
            _ => Finding::NotKnown,
        };
    }
}

/// Corrects what is told together, and finds anew.
pub(super) fn correct(contrasts: &mut [&mut Contrast], worth: f64) {
    let (places, p): (Vec<usize>, Vec<f64>) =
        contrasts.iter().enumerate().filter_map(|(at, contrast)| Some((at, contrast.p?))).unzip();
    for (place, corrected) in places.into_iter().zip(holm(&p)) {
        contrasts[place].p_corrected = Some(corrected);
        contrasts[place].find(worth);
    }
}

/// The curves of a report, by setting, label and seed.
pub(super) struct Curves {
    /// The settings, in the order of the report.
    pub settings: Vec<Setting>,
    by_label: BTreeMap<(usize, String), BTreeMap<Seed, Curve>>,
}

impl Curves {
    pub fn of(report: &Report) -> Self {
        let settings: Vec<Setting> = report.analysis().settings.iter().map(|s| s.setting.clone()).collect();
        let names: Vec<String> = settings.iter().map(setting_name).collect();
        let mut by_label: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for ((run, label), (name, seed)) in report.runs().iter().zip(report.labels()).zip(report.places()) {
            let Some(at) = names.iter().position(|known| known == name) else { continue };
            if run.state != RunState::Finished {
                continue;
            }
            let points = run.rounds.iter().map(|round| (round.labelled, round.metrics.accuracy)).collect();
            let (setting, label, seed) = (settings[at].clone(), label.clone(), seed.clone());
            let curve = Curve { setting, label: label.clone(), seed: seed.clone(), points, is_upper: false };
            by_label.entry((at, label)).or_default().insert(seed, curve);
        }
        Self { settings, by_label }
    }

    /// Seeds of a label over all settings.
    pub fn seeds(&self, label: &str) -> usize {
        let of_label = self.by_label.iter().filter(|((_, other), _)| other == label);
        of_label.flat_map(|(_, curves)| curves.keys()).collect::<BTreeSet<_>>().len()
    }

    /// Differences of areas in one setting, by seed, at the counts that both have.
    fn differences(&self, setting: usize, label: &str, against: &str) -> BTreeMap<Seed, f64> {
        let curves = |label: &str| self.by_label.get(&(setting, label.to_owned()));
        let (Some(ours), Some(theirs)) = (curves(label), curves(against)) else { return BTreeMap::new() };
        let difference = |(seed, ours): (&Seed, &Curve)| {
            let theirs = theirs.get(seed)?;
            let counts = common_counts([ours, theirs]);
            let area = |curve: &Curve| area_over_labels(&curve.at(&counts));
            Some((seed.clone(), area(ours)? - area(theirs)?))
        };
        ours.iter().filter_map(difference).collect()
    }

    /// The contrast in one setting.
    pub fn contrast_in(&self, setting: usize, label: &str, against: &str, worth: f64) -> Option<Contrast> {
        let values: Vec<f64> = self.differences(setting, label, against).into_values().collect();
        Contrast::of(label, against, 1, &values, worth)
    }

    /// The contrast over all settings in which both have runs: of each seed that has all of these, the mean.
    pub fn contrast(&self, label: &str, against: &str, worth: f64) -> Option<Contrast> {
        let all: Vec<BTreeMap<Seed, f64>> = (0..self.settings.len())
            .map(|setting| self.differences(setting, label, against))
            .filter(|differences| !differences.is_empty())
            .collect();
        let of_seed = |seed: &Seed| {
            let values: Option<Vec<f64>> = all.iter().map(|differences| differences.get(seed).copied()).collect();
            let values = values?;
            // Differences of nothing at all stay nothing, whatever is rounded.
            Some(values.iter().sum::<f64>() / values.len() as f64)
        };
        let values: Vec<f64> = all.first()?.keys().filter_map(of_seed).collect();
        Contrast::of(label, against, all.len(), &values, worth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Contrast {
        Contrast::of("mine", "random", 1, values, 0.01).unwrap()
    }

    #[test]
    fn what_is_known_is_by_interval_and_test() {
        assert_eq!(of(&[0.05, 0.06, 0.04, 0.05, 0.055]).finding, Finding::Better);
        assert_eq!(of(&[-0.05, -0.06, -0.04, -0.05, -0.055]).finding, Finding::Worse);
        assert_eq!(of(&[0.001, -0.001, 0.002, 0.0, -0.001]).finding, Finding::Alike);
        assert_eq!(of(&[0.0, 0.0, 0.0]).finding, Finding::Same);
        let wide = of(&[0.1, -0.2, 0.05, -0.1, 0.12]);
        assert_eq!(wide.finding, Finding::NotKnown);
        assert!(wide.seeds_for_worth.unwrap() > 1000 && wide.seeds_for_seen.unwrap() > 5, "{wide:?}");
    }

    #[test]
    fn one_seed_and_seeds_that_do_not_vary_show_nothing() {
        let one = of(&[0.3]);
        assert_eq!((one.finding, one.interval, one.seeds_for_worth), (Finding::NotKnown, None, None));
        let constant = of(&[0.25; 4]);
        assert!(constant.constant && constant.finding == Finding::NotKnown, "{constant:?}");
    }

    #[test]
    fn what_is_told_together_is_corrected_together() {
        // p about .037 alone; of four such tests none is below .05.
        let mut all: Vec<Contrast> = (0..4).map(|_| of(&[0.02, 0.05, 0.01, 0.06, 0.015])).collect();
        assert!(all[0].finding == Finding::Better, "{:?}", all[0]);
        correct(&mut all.iter_mut().collect::<Vec<_>>(), 0.01);
        assert!(all.iter().all(|contrast| contrast.finding == Finding::NotKnown), "{:?}", all[0]);
    }
}
