//! Charts: drawn without a script, and the numbers from which the script draws live ones.

use maud::{Markup, html};
use serde::Serialize;

use super::plain;
use super::tables::heading;
use crate::analysis::{BASELINE, Point, SettingFigures};
use crate::chart::{Frame, Line, NARROW, WIDE, chart, style};
use crate::cost::Cost;
use crate::report::{Report, ReportError, setting_name};
use crate::statistics::Spread;

/// All charts of the page, as the script reads them.
#[derive(Default, Serialize)]
pub(super) struct Figures {
    charts: Vec<Chart>,
}

/// One chart. Percentages where the axis says so.
#[derive(Serialize)]
struct Chart {
    x_label: &'static str,
    y_label: &'static str,
    /// Whether a line is drawn at 0.
    zero: bool,
    x: Vec<f64>,
    series: Vec<Series>,
}

/// One curve; `None` where it has no point.
#[derive(Serialize)]
struct Series {
    label: String,
    hue: String,
    dash: Vec<f64>,
    mean: Vec<Option<f64>>,
    n: Vec<Option<usize>>,
    bands: Bands,
}

/// Lower and upper edge at each point, in three kinds.
#[derive(Default, Serialize)]
struct Bands {
    t: Vec<Option<(f64, f64)>>,
    bootstrap: Vec<Option<(f64, f64)>>,
    deviation: Vec<Option<(f64, f64)>>,
}

/// What a chart is of.
pub(super) struct Axes {
    pub(super) title: &'static str,
    pub(super) x: &'static str,
    pub(super) y: &'static str,
    /// What values are multiplied by to be shown.
    pub(super) unit: f64,
}

const CURVES: Axes = Axes { title: "Curves", x: "labelled samples", y: "accuracy, %", unit: 100.0 };
const AGAINST: Axes =
    Axes { title: "Against random", x: "labelled samples", y: "accuracy above random, points", unit: 100.0 };
const SECONDS: Axes =
    Axes { title: "Cost", x: "seconds of training, features and queries", y: "accuracy, %", unit: 100.0 };
const LOSSES: Axes = Axes { title: "Loss by epoch", x: "epoch of the last round", y: "training loss", unit: 1.0 };
const TRAINING: Axes = Axes {
    title: "Accuracy on the training samples by epoch",
    x: "epoch of the last round",
    y: "training accuracy, %",
    unit: 100.0,
};

/// Numbers of one curve.
pub(super) struct Drawn<'a> {
    /// Position of its group, which decides its looks; 0 is the baseline's.
    pub(super) at: usize,
    pub(super) label: &'a str,
    /// Places on the horizontal axis.
    pub(super) x: Vec<f64>,
    pub(super) points: Vec<Point>,
}

impl Figures {
    /// As text that can stand in a script element, whatever the names are.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(super) fn json(&self) -> Result<String, ReportError> {
        let text = serde_json::to_string(self).map_err(|error| ReportError::Write(error.to_string()))?;
        Ok(text.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"))
    }

    /// Accuracy against labels.
    pub(super) fn curves(&mut self, setting: &SettingFigures) -> Markup {
        self.add(over_labels(setting), &CURVES, &setting_name(&setting.setting))
    }

    /// Accuracy above the baseline against labels.
    pub(super) fn against(&mut self, setting: &SettingFigures) -> Markup {
        self.add(above_baseline(setting), &AGAINST, &setting_name(&setting.setting))
    }

    /// Accuracy against the seconds that training, features and queries took until then.
    pub(super) fn seconds(&mut self, report: &Report, setting: &SettingFigures) -> Markup {
        let line = |(at, group): (usize, &'_ crate::Group)| {
            let over_time = &report.cost(&setting.setting, &group.label)?.over_time;
            let points = over_time.iter().enumerate().map(|(round, &(_, accuracy))| single(round, accuracy)).collect();
            Some((at, over_time.iter().map(|point| point.0).collect::<Vec<f64>>(), points))
        };
        let drawn = setting.groups.iter().enumerate().filter_map(|(at, group)| {
            let (at, x, points) = line((at, group))?;
            Some(Drawn { at, label: &group.label, x, points })
        });
        self.add(drawn.collect(), &SECONDS, &setting_name(&setting.setting))
    }

    /// Training loss and accuracy over the epochs of the last round.
    pub(super) fn epochs(&mut self, report: &Report) -> Markup {
        let mut markup = Vec::new();
        for setting in &report.analysis().settings {
            let name = setting_name(&setting.setting);
            let losses: fn(&Cost) -> &[f64] = |cost| &cost.final_losses;
            let accuracies: fn(&Cost) -> &[f64] = |cost| &cost.final_training_accuracies;
            for (axes, of) in [(&LOSSES, losses), (&TRAINING, accuracies)] {
                let drawn = by_epoch(report, setting, of);
                if !drawn.is_empty() {
                    let figure = self.add(drawn, axes, &name);
                    markup.push(html! {
                        details data-key=(format!("epochs {} {name}", axes.y)) {
                            summary { (axes.title) @if !name.is_empty() { ", " (name) } }
                            (figure)
                        }
                    });
                }
            }
        }
        html! { @if !markup.is_empty() { (heading("Training")) @for part in &markup { (part) } } }
    }

    pub(super) fn add(&mut self, drawn: Vec<Drawn<'_>>, axes: &Axes, setting: &str) -> Markup {
        let (Some(wide), Some(narrow)) = (draw(&drawn, &WIDE, axes), draw(&drawn, &NARROW, axes)) else {
            return html! { p { "No run is finished yet." } };
        };
        let legend: Vec<(usize, &str)> = drawn.iter().map(|line| (line.at, line.label)).collect();
        let number = self.charts.len();
        let has_bands = drawn.iter().flat_map(|line| &line.points).any(|point| point.half_width.is_some());
        let markup = html! {
            div.figure data-chart=(number) data-key=(format!("chart {} {} {setting}", axes.x, axes.y)) {
                div.still { (wide) (narrow) }
                (keys(&legend))
            }
            @if has_bands {
                p.note.still-note { "The band is the 95 % t interval of the mean over seeds; one seed has none." }
            }
        };
        self.charts.push(Chart::new(&drawn, axes));
        markup
    }
}

fn over_labels(setting: &SettingFigures) -> Vec<Drawn<'_>> {
    // The upper baseline is drawn behind the strategies, of which it is none.
    let groups = setting.groups.iter().chain(setting.upper.iter().map(|upper| &upper.group)).enumerate();
    groups.map(|(at, group)| Drawn::over_labels(at, &group.label, &group.curve)).collect()
}

fn above_baseline(setting: &SettingFigures) -> Vec<Drawn<'_>> {
    let place = |label: &str| setting.groups.iter().position(|group| group.label == label);
    let drawn =
        setting.comparisons.iter().filter_map(|c| Some(Drawn::over_labels(place(&c.label)?, &c.label, &c.curve)));
    drawn.collect()
}

/// Training figures of each epoch of the last round, of the strategies that kept them.
fn by_epoch<'a>(report: &Report, setting: &'a SettingFigures, of: fn(&Cost) -> &[f64]) -> Vec<Drawn<'a>> {
    let line = |(at, group): (usize, &'a crate::Group)| {
        let values = of(report.cost(&setting.setting, &group.label)?);
        // A training that came to nothing has losses that are no numbers.
        let known = || values.iter().enumerate().filter(|(_, value)| value.is_finite());
        let points: Vec<Point> = known().map(|(epoch, &value)| single(epoch + 1, value)).collect();
        let x = points.iter().map(|point| point.labelled as f64).collect();
        (points.len() > 1).then_some(Drawn { at, label: &group.label, x, points })
    };
    setting.groups.iter().enumerate().filter_map(line).collect()
}

/// The charts of a setting as files of their own: name, and SVG.
pub(super) fn files(setting: &SettingFigures, style: &str) -> Vec<(&'static str, String)> {
    let drawn = [("curves", over_labels(setting), CURVES), ("against-random", above_baseline(setting), AGAINST)];
    let file = |(name, drawn, axes): (&'static str, Vec<Drawn<'_>>, Axes)| {
        Some((name, plain::file(&draw(&drawn, &WIDE, &axes)?, style)))
    };
    drawn.into_iter().filter_map(file).collect()
}

fn draw(drawn: &[Drawn<'_>], frame: &Frame, axes: &Axes) -> Option<Markup> {
    let lines: Vec<Line<'_>> =
        drawn.iter().map(|line| Line { at: line.at, label: line.label, x: &line.x, points: &line.points }).collect();
    chart(&lines, frame, axes.x, axes.y, axes.unit)
}

/// Names of the curves, with how they are drawn.
fn keys(lines: &[(usize, &str)]) -> Markup {
    html! {
        ul.legend {
            @for &(at, label) in lines {
                @let (hue, dash) = style(at);
                li {
                    svg.(hue) viewBox="0 0 40 12" aria-hidden="true" {
                        line.curve x1="0" x2="40" y1="6" y2="6"
                            stroke-dasharray=[Some(dash).filter(|dash| !dash.is_empty())] {}
                    }
                    span { (label) @if at == 0 && label == BASELINE { " (baseline)" } }
                }
            }
        }
    }
}

/// A figure that has no spread.
pub(super) fn single(at: usize, value: f64) -> Point {
    Point { labelled: at, accuracy: Spread { mean: value, std: None, n: 1 }, half_width: None, bootstrap: None }
}

impl<'a> Drawn<'a> {
    fn over_labels(at: usize, label: &'a str, points: &[Point]) -> Self {
        Self { at, label, x: points.iter().map(|point| point.labelled as f64).collect(), points: points.to_vec() }
    }
}

impl Chart {
    fn new(drawn: &[Drawn<'_>], axes: &Axes) -> Self {
        let mut x: Vec<f64> = drawn.iter().flat_map(|line| line.x.iter().copied()).collect();
        x.sort_by(f64::total_cmp);
        x.dedup();
        let series = drawn.iter().map(|line| Series::new(line, &x, axes.unit)).collect();
        let zero = drawn.iter().flat_map(|line| &line.points).any(|point| point.accuracy.mean < 0.0);
        Self { x_label: axes.x, y_label: axes.y, zero, x, series }
    }
}

impl Series {
    fn new(line: &Drawn<'_>, x: &[f64], unit: f64) -> Self {
        let find = |x: &f64| line.x.iter().position(|ours| ours == x).map(|at| &line.points[at]);
        let points: Vec<Option<&Point>> = x.iter().map(find).collect();
        let around = |point: &Point, half: Option<f64>| {
            let (mean, half) = (point.accuracy.mean, half?);
            Some(((mean - half) * unit, (mean + half) * unit))
        };
        let band = |of: &dyn Fn(&Point) -> Option<(f64, f64)>| points.iter().map(|point| of((*point)?)).collect();
        let (hue, dash) = style(line.at);
        Self {
            label: line.label.to_owned(),
            hue: hue.replace("hue", "h"),
            dash: dash.split(' ').filter_map(|part| part.parse().ok()).collect(),
            mean: points.iter().map(|point| Some((*point)?.accuracy.mean * unit)).collect(),
            n: points.iter().map(|point| Some((*point)?.accuracy.n)).collect(),
            bands: Bands {
                t: band(&|point| around(point, point.half_width)),
                bootstrap: band(&|point| point.bootstrap.map(|found| (found.low * unit, found.high * unit))),
                deviation: band(&|point| around(point, point.accuracy.std)),
            },
        }
    }
}
