//! Tables, once for every form: on a terminal, in Markdown, in LaTeX, on the page.

use crate::analysis::{Analysis, BASELINE, Group, SettingFigures, Standing};
use crate::compare::{Comparison, Difference};
use crate::confusion::Mistake;
use crate::cost::Cost;
use crate::report::{Report, setting_name};
use crate::statistics::{Interval, Penalties, SpeedUp, Spread, Tail};
use crate::upper::Attained;

/// A table.
pub(crate) struct Sheet {
    /// What it shows.
    pub title: String,
    /// Names of its columns, with units.
    pub columns: Vec<&'static str>,
    /// Its rows; all are as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// What a reader must know to read it.
    pub note: &'static str,
}

/// A cell: what is read, and what is sorted by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    /// Its text.
    pub text: String,
    /// Its value, where it is a number.
    pub value: Option<f64>,
    /// Whether it stands out.
    pub strong: bool,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), value: None, strong: false }
    }

    pub(crate) fn number(value: Option<f64>, text: impl FnOnce(f64) -> String) -> Self {
        Self { text: value.map_or_else(|| "-".to_owned(), text), value, strong: false }
    }

    fn count(count: usize) -> Self {
        Self::number(Some(count as f64), |_| count.to_string())
    }

    fn percent(spread: Option<Spread>) -> Self {
        Self { text: percent(spread), value: spread.map(|spread| spread.mean), strong: false }
    }

    fn seconds(spread: Option<Spread>) -> Self {
        Self::number(spread.map(|spread| spread.mean), seconds)
    }

    fn share(share: Option<f64>) -> Self {
        Self::number(share, |share| format!("{:.0} %", share * 100.0))
    }

    fn strong_if(mut self, strong: bool) -> Self {
        self.strong = strong;
        self
    }
}

/// A fraction as percent, with its spread where there is one.
pub(crate) fn percent(spread: Option<Spread>) -> String {
    match spread {
        None => "-".to_owned(),
        Some(Spread { mean, std: None, .. }) => format!("{:.2}", mean * 100.0),
        Some(Spread { mean, std: Some(std), .. }) => format!("{:.2} ± {:.2}", mean * 100.0, std * 100.0),
    }
}

/// A difference of fractions in points, with half the width of its interval.
pub(crate) fn points(difference: &Difference) -> String {
    let mean = difference.difference.mean * 100.0;
    match difference.half_width {
        None => format!("{mean:+.2}"),
        Some(half) => format!("{mean:+.2} ± {:.2}", half * 100.0),
    }
}

/// Seconds, with as many digits as matter.
fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.2}") } else { format!("{seconds:.0}") }
}

/// A p value, with as many digits as matter.
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.001 { "< .001".to_owned() } else { format!("{p:.3}").replacen('0', "", usize::from(p < 1.0)) }
}

/// The share of the baseline's labels, with its bound and interval.
fn labels_needed(speed_up: &SpeedUp, interval: Option<Interval>) -> String {
    let bound = match speed_up.tail {
        Some(Tail::AtMost) => "≤ ",
        Some(Tail::AtLeast) => "≥ ",
        None => "",
    };
    let interval = interval.map(|Interval { low, high }| format!(" [{low:.2}, {high:.2}]")).unwrap_or_default();
    format!("{bound}{:.2}{interval}", speed_up.labels_needed)
}

/// Accuracy and areas of each strategy.
pub(crate) fn results(setting: &SettingFigures) -> Sheet {
    let row = |group: &Group| {
        let is_best = setting.best.as_ref() == Some(&group.label);
        vec![
            Cell::text(&group.label),
            Cell::percent(group.final_accuracy),
            Cell::percent(group.area_over_labels).strong_if(is_best),
            Cell::percent(group.area_over_rounds),
            Cell::count(group.seeds.len()),
            match (group.curve.first(), group.curve.last()) {
                (Some(first), Some(last)) => Cell::text(format!("{} to {}", first.labelled, last.labelled)),
                _ => Cell::text("-"),
            },
        ]
    };
    Sheet {
        title: "Results".to_owned(),
        columns: vec!["strategy", "final accuracy, %", "area over labels, %", "area over rounds, %", "seeds", "labels"],
        rows: setting.groups.iter().map(row).collect(),
        note: "Mean ± sample standard deviation over seeds. Area over labels: trapezia over the number of labels, \
               divided by its range, so the mean accuracy over the budget; area over rounds: the same with rounds in \
               place of labels. What stands out is above every other with 95 % confidence (paired t over common seeds, \
               Bonferroni).",
    }
}

/// Each strategy against the baseline.
pub(crate) fn against(setting: &SettingFigures) -> Option<Sheet> {
    let p = |difference: &Difference| {
        Cell::number(difference.p_corrected, |p| {
            let constant = if difference.constant { " (no variance)" } else { "" };
            format!("{}{constant}", p_value(p))
        })
    };
    let row = |comparison: &Comparison| {
        let Comparison { area, last, speed_up, .. } = comparison;
        vec![
            Cell::text(&comparison.label),
            Cell { text: points(area), value: Some(area.difference.mean), strong: false },
            p(area),
            Cell { text: points(last), value: Some(last.difference.mean), strong: false },
            p(last),
            Cell {
                text: speed_up
                    .as_ref()
                    .map_or_else(|| "-".to_owned(), |found| labels_needed(found, comparison.labels_needed_interval)),
                value: speed_up.as_ref().map(|found| found.labels_needed),
                strong: false,
            },
            Cell::number(comparison.data_utilisation, |rate| format!("{rate:.2}")),
            Cell::count(area.difference.n),
            Cell::number(area.detectable, |points| format!("{:.2}", points * 100.0)),
        ]
    };
    (!setting.comparisons.is_empty()).then(|| Sheet {
        title: format!("Against {BASELINE}"),
        columns: vec![
            "strategy",
            "area, points",
            "p, Holm",
            "final accuracy, points",
            "p, Holm, final",
            "labels needed, share",
            "labels to random's final, share",
            "pairs",
            "unseen below, points",
        ],
        rows: setting.comparisons.iter().map(row).collect(),
        note: "Differences of paired seeds, mean ± half of its 95 % t interval, in percentage points; \
               above 0 is better \
               than random. p: two-sided paired t test, with Holm's correction for the rows of its column. Labels \
               needed: the constant by which random's label axis is scaled to give the strategy's curve, over all \
               rounds, with a bootstrap interval; below 1 saves labels (a formula of our own, after Kath et al. 2026). \
               Labels to random's final: where the mean curve first reaches random's final accuracy, as a share of \
               where random's does (data utilisation rate). Unseen below: with these seeds a true difference smaller \
               than this would more often than one time in five not be seen.",
    })
}

/// What each strategy had of the gain that could be had.
pub(crate) fn attained(setting: &SettingFigures) -> Option<Sheet> {
    let upper = setting.upper.as_ref()?;
    let range = |Interval { low, high }| format!("{:.0} to {:.0}", low * 100.0, high * 100.0);
    let row = |found: &Attained| {
        vec![
            Cell::text(&found.label),
            Cell::number(Some(found.share), |share| format!("{:.0}", share * 100.0)),
            Cell { text: found.interval.map_or_else(|| "-".to_owned(), range), value: None, strong: false },
            Cell::count(found.seeds),
        ]
    };
    let gain = match (&upper.gain, &upper.group.area_over_labels) {
        (Some(gain), area) => format!("area {} %, {} points above {BASELINE}", percent(*area), points(gain)),
        (None, area) => format!("area {} %, and no {BASELINE} to compare it with", percent(*area)),
    };
    Some(Sheet {
        title: format!("The best possible (`{}`: {gain})", upper.group.label),
        columns: vec!["strategy", "share of attainable gain, %", "95 % interval", "seeds"],
        rows: upper.attained.iter().map(row).collect(),
        note: "Share of attainable gain: area over labels minus random's, as a share of the upper baseline's minus \
               random's, over paired seeds, with a bootstrap interval; not defined unless the upper baseline is above \
               random with 95 % confidence (t), so for two seeds or more. In each round the upper baseline buys the \
               best of many batches that strategies propose, tried with their true labels on samples that no run may \
               buy. It looks one round ahead, so a share may be above 100: a reference, no bound, and no strategy.",
    })
}

/// Each two strategies: the row's area minus the column's.
pub(crate) fn matrix(setting: &SettingFigures) -> Vec<(String, Vec<Cell>)> {
    let of = |row: &Group, column: &Group| {
        if row.label == column.label {
            return Cell::text("");
        }
        let found = setting.pairs.iter().find_map(|pair| {
            let forward = pair.a == row.label && pair.b == column.label;
            let backward = pair.b == row.label && pair.a == column.label;
            (forward || backward).then(|| (if forward { 1.0 } else { -1.0 }, &pair.area))
        });
        let Some((sign, area)) = found else { return Cell::text("-") };
        let mean = sign * area.difference.mean;
        let clear = area.p_corrected.is_some_and(|p| p < 0.05);
        Cell {
            text: format!("{:+.2}{}", mean * 100.0, if clear { " *" } else { "" }),
            value: Some(mean),
            strong: clear,
        }
    };
    let row = |row: &Group| (row.label.clone(), setting.groups.iter().map(|column| of(row, column)).collect());
    setting.groups.iter().map(row).collect()
}

/// What runs of each strategy cost.
pub(crate) fn costs(report: &Report, setting: &SettingFigures) -> Option<Sheet> {
    let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
    let row = |group: &Group| {
        let Cost {
            query_seconds, features_seconds, fit_seconds, query_peak_bytes, final_ece, final_worst_class, ..
        } = report.cost(&setting.setting, &group.label)?;
        Some(vec![
            Cell::text(&group.label),
            Cell::seconds(*query_seconds),
            Cell::seconds(*features_seconds),
            Cell::seconds(*fit_seconds),
            Cell::number(query_peak_bytes.map(mebibytes), |size| format!("{size:.1}")),
            Cell::percent(*final_ece),
            Cell::percent(*final_worst_class),
        ])
    };
    let rows: Vec<Vec<Cell>> = setting.groups.iter().filter_map(row).collect();
    (!rows.is_empty()).then(|| Sheet {
        title: "Cost, calibration and the worst class".to_owned(),
        columns: vec![
            "strategy",
            "query, s",
            "features, s",
            "training, s",
            "query memory, MiB",
            "calibration error, %",
            "worst class, %",
        ],
        rows,
        note: "Wall-clock seconds of a whole run, mean over seeds; memory is the largest peak of any query. Expected \
               calibration error and the accuracy of the class with the least are of the last round.",
    })
}

/// The class that each strategy's models know least, and what is most often taken for another.
pub(crate) fn hardest(report: &Report, setting: &SettingFigures) -> Option<Sheet> {
    let row = |group: &Group| {
        let classes = &report.cost(&setting.setting, &group.label)?.final_classes;
        let (worst, accuracy) = classes.worst()?;
        let name = |mistake: &Mistake| {
            let (class, predicted) = (classes.name(mistake.class), classes.name(mistake.predicted));
            format!("{class} for {predicted} {:.1}", mistake.share * 100.0)
        };
        let mistakes: Vec<String> = classes.mistakes(NAMED_MISTAKES).iter().map(name).collect();
        Some(vec![
            Cell::text(&group.label),
            Cell::text(classes.name(worst)),
            Cell::number(Some(accuracy), |accuracy| format!("{:.2}", accuracy * 100.0)),
            Cell::text(if mistakes.is_empty() { "-".to_owned() } else { mistakes.join(", ") }),
        ])
    };
    let rows: Vec<Vec<Cell>> = setting.groups.iter().filter_map(row).collect();
    (!rows.is_empty()).then(|| Sheet {
        title: "Hardest classes".to_owned(),
        columns: vec!["strategy", "worst class", "its accuracy, %", "most often taken for another, % of its class"],
        rows,
        note: "Last round, mean over seeds. The worst class is that of the least mean accuracy; the table of costs has \
               the mean over seeds of each seed's own worst. “a for b” is a sample of class a that was taken for b.",
    })
}

/// Mistakes that are named of each strategy.
const NAMED_MISTAKES: usize = 3;

/// Each strategy over all settings.
pub(crate) fn standings(analysis: &Analysis) -> Option<Sheet> {
    let row = |standing: &Standing| {
        vec![
            Cell::text(&standing.label),
            Cell::count(standing.settings),
            Cell::share(Some(standing.not_below)),
            Cell::share(Some(standing.not_shown_below)),
            Cell::share(Some(standing.shown_above)),
            Cell::number(Some(standing.mean_difference), |mean| format!("{:+.2}", mean * 100.0)),
            Cell::number(standing.beaten, |beaten| format!("{beaten:.3}")),
        ]
    };
    (analysis.settings.len() > 1 && !analysis.standings.is_empty()).then(|| Sheet {
        title: "Over all settings".to_owned(),
        columns: vec![
            "strategy",
            "settings",
            "not below random",
            "not shown below",
            "shown above",
            "area, points",
            "beaten",
        ],
        rows: analysis.standings.iter().map(row).collect(),
        note: "Not below random: share of settings in which the mean area is at least random's. Not shown below, shown \
               above: with 95 % confidence in each setting by itself, without correction over settings. Beaten: mean \
               of the strategy's column of the table of wins, lower is better.",
    })
}

/// Wins of the row over the column, and how often a column is beaten.
pub(crate) fn wins(penalties: &Penalties) -> Vec<(String, Vec<Cell>)> {
    let n = penalties.strategies.len();
    let of = |row: usize, column: usize| match penalties.settings[row][column] {
        _ if row == column => Cell::text(""),
        0 => Cell::text("-"),
        _ => Cell::number(Some(penalties.wins[row][column]), |wins| format!("{wins:.2}")),
    };
    let mut rows: Vec<(String, Vec<Cell>)> =
        (0..n).map(|row| (penalties.strategies[row].clone(), (0..n).map(|column| of(row, column)).collect())).collect();
    let beaten = |at: usize| Cell::number(penalties.beaten(at), |beaten| format!("{beaten:.3}"));
    rows.push(("beaten, mean".to_owned(), (0..n).map(beaten).collect()));
    rows
}

/// What the table of wins means.
pub(crate) const WINS: &str = "Row i, column j: how much i beat j, summed over settings; in each, the share of \
     checkpoints (rounds 1, 2, 4, 8, ... until random has 99 % of its final accuracy) at which i is above j by a \
     paired two-sided t test at level .05, without correction (Ash et al. 2020). A row wins, a column is beaten.";

/// The heading of a setting; nothing where there is only one.
pub(crate) fn heading(setting: &SettingFigures) -> Option<String> {
    (!setting.setting.is_empty()).then(|| setting_name(&setting.setting))
}
