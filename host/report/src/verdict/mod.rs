//! What came of evaluating a plugin: in words, in numbers, and as one page.

mod contrast;
mod cost;
mod facts;
mod forest;
mod page;
mod text;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::analysis::BASELINE;
use crate::curve::Setting;
use crate::report::{Report, setting_name};
use crate::statistics::Interval;
use crate::upper::Attained;
pub use contrast::{Contrast, Finding};
use contrast::{Curves, correct};
pub use cost::QueryCost;
pub use facts::{Facts, Failed, Likeness, Limits, RuleLine, SuiteFacts};
pub use page::verdict_html;
pub use text::verdict_text;
use words::Says;
pub use words::{Mark, Said};

/// Version of the JSON form.
const VERSION: u32 = 1;

/// What an evaluation came to.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Version of this form.
    pub version: u32,
    /// Version of the program.
    pub querist: String,
    /// What was run.
    pub suite: SuiteFacts,
    /// Each plugin that was evaluated.
    pub plugins: Vec<Judged>,
    /// Each two of them.
    pub between: Vec<Contrast>,
    /// What else must be known of the runs.
    pub warnings: Vec<String>,
}

/// The word for a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A run of it did not finish.
    Fails,
    /// It breaks a rule that every strategy keeps.
    BreaksRules,
    /// Better than random.
    Better,
    /// Worse than random.
    Worse,
    /// As good as random.
    Alike,
    /// Better or worse: the seeds do not tell.
    NotKnown,
}

impl Outcome {
    /// Whether the plugin does what every plugin must.
    pub fn works(self) -> bool {
        !matches!(self, Self::Fails | Self::BreaksRules)
    }
}

/// A plugin with what is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// What it is.
    pub facts: Facts,
    /// The word for it.
    pub verdict: Outcome,
    /// The same as a sentence.
    pub headline: String,
    /// Everything that is known, as questions and answers.
    pub says: Vec<Said>,
    /// Against random, over all settings.
    pub random: Option<Contrast>,
    /// Against the built-in strategies that are most like it.
    pub nearest: Vec<Contrast>,
    /// In each setting.
    pub settings: Vec<InSetting>,
    /// Its labels as a share of random's.
    pub labels_needed: Option<Needed>,
    /// What its queries cost, and those of the others.
    pub costs: Vec<QueryCost>,
    /// Seeds that it was run with.
    pub seeds: usize,
}

/// A plugin in one setting.
#[derive(Debug, Clone, Serialize)]
pub struct InSetting {
    /// The setting; empty where there is only one.
    pub setting: Setting,
    /// The same in a few words.
    pub name: String,
    /// Against random, corrected over all settings.
    pub random: Option<Contrast>,
    /// Against those that are most like it, without correction.
    pub nearest: Vec<Contrast>,
    /// Its labels as a share of random's, with the interval over seeds.
    pub labels_needed: Option<(f64, Option<Interval>)>,
    /// Its share of the attainable gain, where the upper baseline was run.
    pub attained: Option<Attained>,
}

/// Labels as a share of random's, over settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Needed {
    /// Geometric mean.
    pub mean: f64,
    /// The least of a setting.
    pub least: f64,
    /// The most of a setting.
    pub most: f64,
    /// Settings that have such a share.
    pub settings: usize,
}

impl Needed {
    fn of(shares: &[f64]) -> Option<Self> {
        let (least, most) = (shares.iter().copied().reduce(f64::min)?, shares.iter().copied().reduce(f64::max)?);
        let mean = (shares.iter().map(|share| share.ln()).sum::<f64>() / shares.len() as f64).exp();
        Some(Self { mean, least, most, settings: shares.len() })
    }
}

impl Verdict {
    /// What the runs of a study say of plugins; no report where no run has begun. The label of each plugin's curves is
    /// that of its facts.
    pub fn new(report: Option<&Report>, suite: SuiteFacts, plugins: Vec<Facts>, querist: &str) -> Self {
        let curves = report.map(Curves::of);
        let labels: Vec<String> = plugins.iter().map(|facts| facts.label.clone()).collect();
        let worth = suite.worth / 100.0;
        let judged = plugins.into_iter().map(|facts| judge(report, curves.as_ref(), facts, worth, &suite)).collect();
        let pairs = labels.iter().enumerate().flat_map(|(at, a)| labels[at + 1..].iter().map(move |b| (a, b)));
        let between = pairs.filter_map(|(a, b)| curves.as_ref()?.contrast(a, b, worth));
        let mut between: Vec<Contrast> = between.collect();
        correct(&mut between.iter_mut().collect::<Vec<_>>(), worth);
        let warnings = report.map(|report| report.warnings().to_vec()).unwrap_or_default();
        Self { version: VERSION, querist: querist.to_owned(), suite, plugins: judged, between, warnings }
    }
}

fn judge(report: Option<&Report>, curves: Option<&Curves>, facts: Facts, worth: f64, suite: &SuiteFacts) -> Judged {
    let (label, others) = (facts.label.clone(), facts.nearest.iter().map(|like| like.label.clone()));
    let others: Vec<String> = others.filter(|other| *other != BASELINE).collect();
    let random = curves.and_then(|curves| curves.contrast(&label, BASELINE, worth));
    let of = |curves: &Curves| others.iter().filter_map(|other| curves.contrast(&label, other, worth)).collect();
    let mut nearest: Vec<Contrast> = curves.map(of).unwrap_or_default();
    correct(&mut nearest.iter_mut().collect::<Vec<_>>(), worth);
    let mut settings = match (report, curves) {
        (Some(report), Some(curves)) => in_settings(report, curves, &label, &others, worth),
        _ => Vec::new(),
    };
    correct(&mut settings.iter_mut().filter_map(|setting| setting.random.as_mut()).collect::<Vec<_>>(), worth);
    let shares: Vec<f64> = settings.iter().filter_map(|setting| Some(setting.labels_needed?.0)).collect();
    let beside = std::iter::once(label.as_str()).chain([BASELINE]).chain(others.iter().map(String::as_str));
    let costs = report.map(|report| beside.filter_map(|label| QueryCost::of(report, label)).collect());
    let verdict = match (&random, facts.rules.iter().any(RuleLine::is_broken)) {
        _ if !facts.failed.is_empty() => Outcome::Fails,
        (_, true) => Outcome::BreaksRules,
        (Some(random), _) => match random.finding {
            Finding::Better => Outcome::Better,
            Finding::Worse => Outcome::Worse,
            Finding::Alike | Finding::Same => Outcome::Alike,
            Finding::NotKnown => Outcome::NotKnown,
        },
        (None, _) => Outcome::NotKnown,
    };
    let mut judged = Judged {
        seeds: curves.map_or(0, |curves| curves.seeds(&label)),
        facts,
        verdict,
        headline: String::new(),
        says: Vec::new(),
        random,
        nearest,
        settings,
        labels_needed: Needed::of(&shares),
        costs: costs.unwrap_or_default(),
    };
    judged.headline = words::headline(&judged);
    judged.says = Says { judged: &judged, suite }.all();
    judged
}

fn in_settings(report: &Report, curves: &Curves, label: &str, others: &[String], worth: f64) -> Vec<InSetting> {
    let of = |(at, setting): (usize, &Setting)| {
        let figures = &report.analysis().settings[at];
        let needed = figures.comparisons.iter().find(|comparison| comparison.label == label);
        let labels_needed =
            needed.and_then(|found| Some((found.speed_up.as_ref()?.labels_needed, found.labels_needed_interval)));
        let attained = figures.upper.iter().flat_map(|upper| &upper.attained).find(|one| one.label == label);
        InSetting {
            setting: setting.clone(),
            name: short_name(setting),
            random: curves.contrast_in(at, label, BASELINE, worth),
            nearest: others.iter().filter_map(|other| curves.contrast_in(at, label, other, worth)).collect(),
            labels_needed,
            attained: attained.cloned(),
        }
    };
    curves.settings.iter().enumerate().map(of).collect()
}

/// A setting by its values alone where axes name them: `long tail, perceptron`.
fn short_name(setting: &Setting) -> String {
    let is_named = |(key, value): (&String, &String)| !key.contains('.') && value.parse::<f64>().is_err();
    match setting.iter().all(is_named) {
        true if !setting.is_empty() => values_last(setting).join(", "),
        true => "the one setting".to_owned(),
        false => setting_name(setting),
    }
}

/// Values, those of the axis `learner` last: what is learned from stands before who learns.
fn values_last(setting: &BTreeMap<String, String>) -> Vec<&str> {
    let (last, first): (Vec<_>, Vec<_>) = setting.iter().partition(|(key, _)| *key == "learner");
    first.into_iter().chain(last).map(|(_, value)| value.as_str()).collect()
}
