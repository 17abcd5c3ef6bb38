//! Text, CSV and JSON.

use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use querist_protocol::{Shown, is_showable};
use serde_json::{Value, json};

use crate::report::{Comparison, Report, ReportError};
use crate::run::RunState;
use crate::statistics::Spread;

/// Version of the JSON form; a change that breaks readers raises it.
const JSON_VERSION: u32 = 1;

/// A fraction as percent, with its spread where there is one.
pub(crate) fn percent(spread: Option<Spread>) -> String {
    match spread {
        None => "-".to_owned(),
        Some(Spread { mean, std: None, .. }) => format!("{:.2}", mean * 100.0),
        Some(Spread { mean, std: Some(std), .. }) => format!("{:.2} ± {:.2}", mean * 100.0, std * 100.0),
    }
}

/// A difference of fractions in points, with half the width of its interval.
pub(crate) fn points(mean: f64, half_width: Option<f64>) -> String {
    match half_width {
        None => format!("{:+.2}", mean * 100.0),
        Some(half) => format!("{:+.2} ± {:.2}", mean * 100.0, half * 100.0),
    }
}

/// Seconds, with as many digits as matter.
pub(crate) fn seconds(spread: Option<Spread>) -> String {
    match spread.map(|spread| spread.mean) {
        None => "-".to_owned(),
        Some(s) if s < 10.0 => format!("{s:.2}"),
        Some(s) => format!("{s:.0}"),
    }
}

/// The sentence of a comparison.
pub(crate) fn sentence(comparison: &Comparison) -> String {
    let Comparison { area_difference: area, area_half_width, .. } = comparison;
    format!("{} points, n={}", points(area.mean, *area_half_width), area.n)
}

/// The results as an aligned table, then comparisons, incomplete runs and warnings, one a line.
pub fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["strategy", "n", "final %", "area %", "area by round %", "vs random", "fit s", "query s"]);
    for group in report.groups() {
        let star = if report.best().is_some_and(|best| best.label == group.label) { " *" } else { "" };
        let comparison = report.comparisons().iter().find(|comparison| comparison.label == group.label);
        table.add_row([
            group.label.clone(),
            group.seeds.len().to_string(),
            percent(group.final_accuracy),
            format!("{}{star}", percent(group.area_over_labels)),
            percent(group.area_over_rounds),
            comparison.map_or_else(|| "-".to_owned(), sentence),
            seconds(group.fit_seconds),
            seconds(group.query_seconds),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    if let Some(best) = report.best() {
        lines.push(format!("* `{}` is above every other with 95 % confidence (paired t, Bonferroni)", best.label));
    }
    for run in report.runs().iter().filter(|run| run.state != RunState::Finished) {
        lines.push(format!("not counted: `{}`, seed {}: {}", run.label, run.seed, run.state));
    }
    lines.extend(report.warnings().iter().map(|warning| format!("warning: {warning}")));
    lines.push(String::new());
    lines.join("\n")
}

/// One row a run and round, RFC 4180, with a header.
///
/// # Errors
/// If `to` cannot be written.
pub fn csv(report: &Report, to: impl Write) -> Result<(), ReportError> {
    let error = |error: csv::Error| ReportError::Write(error.to_string());
    let mut csv = csv::Writer::from_writer(to);
    csv.write_record([
        "label",
        "strategy",
        "package",
        "version",
        "digest",
        "dataset",
        "dataset_digest",
        "model",
        "seed",
        "state",
        "round",
        "labelled",
        "pool",
        "accuracy",
        "loss",
        "ece",
        "acquired",
        "fit_seconds",
        "evaluate_seconds",
        "features_seconds",
        "query_seconds",
        "query_peak_bytes",
        "fuel",
        "backend",
    ])
    .map_err(error)?;
    // 1e-300, not three hundred zeros; it reads back as the same number.
    let shortest = |number: f64| format!("{number:?}");
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    for run in report.runs() {
        let state = if run.state == RunState::Finished { "finished" } else { "incomplete" };
        for round in &run.rounds {
            csv.write_record([
                &cell(run.label.as_str()),
                &cell(&run.strategy.id),
                &cell(&run.strategy.package),
                &cell(&run.strategy.version),
                &cell(&run.strategy.digest),
                &cell(run.dataset.as_str()),
                &cell(run.dataset_digest.as_str()),
                &cell(run.model.as_str()),
                &run.seed.to_string(),
                state,
                &round.round.to_string(),
                &round.labelled.to_string(),
                &round.pool.to_string(),
                &shortest(round.metrics.accuracy),
                &shortest(round.metrics.loss),
                &shortest(round.metrics.ece),
                &round.acquired.len().to_string(),
                &shortest(round.seconds.fit),
                &shortest(round.seconds.evaluate),
                &shortest(round.seconds.features),
                &shortest(round.seconds.query),
                &number(round.peak_memory.query),
                &number(round.fuel),
                &cell(&round.backend),
            ])
            .map_err(error)?;
        }
    }
    csv.flush().map_err(|error| ReportError::Write(error.to_string()))
}

/// Text of a run folder in a cell: no spreadsheet takes it for a formula.
fn cell(text: &str) -> String {
    let text = Shown::name(text).into_string();
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

/// [`json()`] as text, in which every character that cannot be seen is written as its number.
///
/// # Errors
/// If there is no room for it.
pub fn json_text(report: &Report) -> Result<String, ReportError> {
    let text = serde_json::to_string_pretty(&json(report)).map_err(|error| ReportError::Write(error.to_string()))?;
    let mut escaped = String::with_capacity(text.len());
    let mut units = [0; 2];
    for c in text.chars() {
        // JSON itself has no such characters outside strings, and what it escapes has none inside.
        if c == '\n' || is_showable(c.encode_utf8(&mut [0; 4])) {
            escaped.push(c);
        } else {
            c.encode_utf16(&mut units).iter().for_each(|unit| escaped += &format!("\\u{unit:04x}"));
        }
    }
    Ok(escaped)
}

/// Everything as JSON: `version` (1), `groups`, `best`, `comparisons`, `runs` with their records, `warnings`.
///
/// Accuracies are fractions, times seconds, memory bytes.
pub fn json(report: &Report) -> Value {
    let run = |run: &crate::RunSummary| {
        json!({
            "label": run.label.as_str(),
            "strategy": run.strategy,
            "seed": run.seed,
            "dataset": run.dataset.as_str(),
            "dataset_digest": run.dataset_digest.as_str(),
            "model": run.model.as_str(),
            "layout": run.layout,
            "finished": run.state == RunState::Finished,
            "config": run.config,
            "rounds": run.rounds,
        })
    };
    json!({
        "version": JSON_VERSION,
        "groups": report.groups(),
        "best": report.best().map(|group| &group.label),
        "comparisons": report.comparisons(),
        "runs": report.runs().iter().map(run).collect::<Vec<_>>(),
        "warnings": report.warnings(),
    })
}
