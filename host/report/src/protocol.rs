//! What a credible comparison must do, and whether these runs did.
//!
//! The 26 lines are drawn from published criticism of active-learning experiments, above all Munjal et al. 2022, Lüth
//! et al. 2023, Zhan et al. 2022 and Gonsior et al. 2025.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::analysis::BASELINE;
use crate::curve::Seed;
use crate::report::Report;
use crate::run::RunSummary;

/// Pairs of seeds below which nothing should be claimed.
const ENOUGH_SEEDS: usize = 5;

/// How a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LineStanding {
    /// The records show it, or the program allows nothing else.
    Pass,
    /// The records show that it is not so.
    NotMet,
    /// It cannot be judged from records; what was chosen is said.
    Declared,
}

impl LineStanding {
    /// As readers see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::NotMet => "not met",
            Self::Declared => "declared",
        }
    }
}

/// A line of the checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its part: splits, regimes, training, ...
    pub part: &'static str,
    /// What is demanded.
    pub demand: &'static str,
    /// How it stands.
    pub standing: LineStanding,
    /// What was found.
    pub found: String,
}

/// The checklist of a report of runs, 26 lines; none where it is of curves, of which too little is known.
pub fn checklist(report: &Report) -> Vec<Line> {
    if report.runs().is_empty() {
        return Vec::new();
    }
    let facts = Facts { report };
    [facts.splits(), facts.regimes(), facts.training(), facts.statistics(), facts.costs_and_record()].concat()
}

struct Facts<'a> {
    report: &'a Report,
}

fn line(part: &'static str, demand: &'static str, standing: LineStanding, found: impl Into<String>) -> Line {
    Line { part, demand, standing, found: found.into() }
}

fn met(is: bool) -> LineStanding {
    if is { LineStanding::Pass } else { LineStanding::NotMet }
}

impl Facts<'_> {
    fn runs(&self) -> &[RunSummary] {
        self.report.runs()
    }

    /// The distinct values of a key of the configs, as text.
    fn values(&self, path: &str) -> BTreeSet<String> {
        let at = |config: &Value| {
            let found = path.split('.').try_fold(config, |value, key| value.get(key));
            match found {
                None | Some(Value::Null) => "default".to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            }
        };
        self.runs().iter().map(|run| querist_protocol::Shown::name(&at(&run.config)).into_string()).collect()
    }

    fn said(&self, path: &str) -> String {
        self.values(path).into_iter().collect::<Vec<_>>().join(", ")
    }

    fn differs(&self, path: &str) -> bool {
        self.values(path).len() > 1
    }

    fn splits(&self) -> Vec<Line> {
        const PART: &str = "Splits and starting point";
        let mut starts: std::collections::BTreeMap<_, BTreeSet<&str>> = Default::default();
        for run in self.runs() {
            let setting = (run.seed, run.dataset_digest.as_str(), run.config.get("budget").map(Value::to_string));
            starts.entry(setting).or_default().insert(run.start.as_str());
        }
        let differ = starts.values().filter(|digests| digests.len() > 1).count();
        let apart = self.differs("seeds.initial") && self.differs("seeds.model");
        vec![
            line(
                PART,
                "splits and initial set are files with digests; all strategies of a seed start alike",
                met(differ == 0),
                match differ {
                    0 => format!("{} starts, each the same for all strategies", starts.len()),
                    differ => format!("{differ} of {} starts differ between strategies", starts.len()),
                },
            ),
            line(
                PART,
                "several initial sets and, apart from them, several model seeds",
                met(apart),
                if apart { "both are varied" } else { "one seed moves both; their spreads cannot be told apart" },
            ),
            line(
                PART,
                "a random stream of its own for each purpose, from one root by name",
                LineStanding::Pass,
                "the program has no other",
            ),
            line(
                PART,
                "the policy of the initial set is declared",
                LineStanding::Declared,
                format!("budget.initial: {}", self.said("budget.initial")),
            ),
        ]
    }

    fn regimes(&self) -> Vec<Line> {
        const PART: &str = "Regimes";
        let last: BTreeSet<usize> =
            self.runs().iter().filter_map(|run| run.rounds.last()).map(|round| round.labelled).collect();
        let batches = self.values("budget.batch");
        let variants = self.values("dataset.variant");
        let datasets: BTreeSet<&str> = self.runs().iter().map(|run| run.dataset.as_str()).collect();
        let list = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
        vec![
            line(
                PART,
                "a low, a medium and a high label regime",
                met(last.len() >= 3),
                format!("runs end at {} labels", last.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
            ),
            line(
                PART,
                "two query sizes at least",
                met(batches.len() >= 2),
                format!("budget.batch: {}", self.said("budget.batch")),
            ),
            line(
                PART,
                "more than one distribution of data: balanced, long-tailed, repeated, noisy, foreign",
                met(variants.len() >= 2),
                format!("{} kinds of pool", variants.len()),
            ),
            line(
                PART,
                "claims across domains only with data across domains",
                met(datasets.len() >= 2),
                format!("datasets: {}", list(&datasets)),
            ),
        ]
    }

    fn training(&self) -> Vec<Line> {
        const PART: &str = "Training and validation";
        let of = |keys: &[&str]| {
            let said = keys.iter().map(|key| format!("{key}: {}", self.said(&format!("recipe.{key}"))));
            said.collect::<Vec<_>>().join("; ")
        };
        let changes = self.said("recipe.augment");
        let averages = self.values("recipe.average").iter().any(|value| !["default", "none"].contains(&value.as_str()));
        let strong = averages || ["rand-augment", "mixup"].iter().any(|change| changes.contains(change));
        let has_weights = self.values("model.weights").iter().any(|value| value != "default");
        let records = || self.runs().iter().flat_map(|run| &run.rounds);
        let validation = records().map(|round| round.validation_labels).max().unwrap_or(0);
        let reads = records().count();
        vec![
            line(
                PART,
                "the classifier is tuned with the labels of the start, with the same effort for every strategy",
                LineStanding::Declared,
                format!("all strategies of a setting share it; {}", of(&["optimiser", "lr", "weight_decay"])),
            ),
            line(
                PART,
                "an arm with strong regularisation",
                met(strong),
                if strong { "mixup, RandAugment or averaged weights" } else { "none" },
            ),
            line(
                PART,
                "an arm with self-supervised features or semi-supervised training",
                met(has_weights),
                if has_weights { "weights from elsewhere" } else { "all models start from nothing" },
            ),
            line(
                PART,
                "weights reset each round, or the warm start declared",
                LineStanding::Declared,
                format!("recipe.init: {}", self.said("recipe.init")),
            ),
            line(
                PART,
                "the pool is scored with the test transform",
                LineStanding::Pass,
                "the program has no other way",
            ),
            line(
                PART,
                "the training budget is declared, and how it grows with the labels",
                LineStanding::Declared,
                of(&["epochs", "epoch_length", "minibatch"]),
            ),
            line(
                PART,
                "validation labels are counted or declared beside the budget",
                LineStanding::Declared,
                format!(
                    "dataset.validation: {}; {validation} validation labels took part in training",
                    self.said("dataset.validation")
                ),
            ),
            line(
                PART,
                "the test set is never read in the loop, and its readings are counted",
                LineStanding::Pass,
                format!("read {reads} times, once a round, for its figures alone{}", self.held_out()),
            ),
        ]
    }

    /// What the test set is where nobody drew one.
    fn held_out(&self) -> String {
        let most = self.runs().iter().flat_map(|run| &run.rounds).map(|round| round.held_out).max();
        match most.filter(|&most| most > 0) {
            None => String::new(),
            Some(most) => format!("; up to {most} of the labels bought, chosen by the strategy, are that set"),
        }
    }

    fn statistics(&self) -> Vec<Line> {
        const PART: &str = "Repetition and statistics";
        let analysis = self.report.analysis();
        let comparisons = || analysis.settings.iter().flat_map(|setting| &setting.comparisons);
        let fewest = comparisons().map(|comparison| comparison.area.difference.n).min();
        let seeds: BTreeSet<&Seed> =
            analysis.settings.iter().flat_map(|setting| &setting.groups).flat_map(|group| &group.seeds).collect();
        let has_baseline = comparisons().next().is_some();
        let pairs = analysis.settings.iter().map(|setting| setting.pairs.len()).sum::<usize>();
        vec![
            line(
                PART,
                "five paired seeds at least, and a note of what they could not show",
                met(fewest.is_some_and(|pairs| pairs >= ENOUGH_SEEDS)),
                match fewest {
                    Some(pairs) => {
                        format!("{pairs} pairs at least in each comparison; what they cannot show is in its table")
                    }
                    None => format!("no pairs: nothing is compared with {BASELINE}"),
                },
            ),
            line(
                PART,
                "whole curves with bands, both areas, final accuracy, cost of fixed accuracies, data utilisation",
                met(seeds.len() > 1),
                if seeds.len() > 1 { "in this report" } else { "one seed has no band" },
            ),
            line(PART, "the area is defined exactly", LineStanding::Pass, "both definitions, under their tables"),
            line(
                PART,
                "strategies are compared on paired seeds by a stated test, corrected, with a saturation rule",
                met(pairs > 0 && seeds.len() > 1),
                "paired t with Holm's correction; wins up to 99 % of random's final accuracy",
            ),
            line(
                PART,
                "the effect against random comes first, with the share of settings that are not worse",
                met(has_baseline),
                if has_baseline { "in this report" } else { "random was not run" },
            ),
            line(
                PART,
                "calibration, class balance of what was queried and the worst class beside accuracy",
                LineStanding::Pass,
                "in this report",
            ),
        ]
    }

    fn costs_and_record(&self) -> Vec<Line> {
        const PART: &str = "Cost and record";
        let devices: BTreeSet<String> = self
            .runs()
            .iter()
            .filter_map(|run| run.rounds.last())
            .map(|round| querist_protocol::Shown::name(&round.backend).into_string())
            .collect();
        let builds: BTreeSet<&str> = self.runs().iter().map(|run| run.strategy.digest.as_str()).collect();
        vec![
            line(
                PART,
                "times and peak memory of selection and training on named hardware, with a limit on selection",
                LineStanding::Pass,
                format!(
                    "{}; limits.seconds: {}",
                    devices.into_iter().collect::<Vec<_>>().join(" | "),
                    self.said("limits.seconds")
                ),
            ),
            line(
                PART,
                "compared at equal time as well as at equal labels",
                LineStanding::Pass,
                "the chart of accuracy against seconds",
            ),
            line(
                PART,
                "config, versions, seeds, order of queries, figures and times in one record",
                LineStanding::Pass,
                format!("{} run folders", self.runs().len()),
            ),
            line(
                PART,
                "the strategy's implementation is named by its digest",
                LineStanding::Pass,
                format!("{} builds, below", builds.len()),
            ),
        ]
    }
}
