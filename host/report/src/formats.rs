//! Text, CSV, JSON, Markdown and LaTeX.

use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use querist_protocol::{Shown, is_showable};
use serde_json::{Value, json};

use crate::analysis::{Group, SettingFigures};
use crate::people::{batches, purities};
use crate::report::{Report, ReportError};
use crate::run::RunState;
use crate::sheet::{Cell, Sheet, WINS, against, attained, costs, hardest, heading, matrix, results, standings, wins};

/// Version of the JSON form; a change that breaks readers raises it.
const JSON_VERSION: u32 = 2;

/// The results as aligned tables, then what stands out, incomplete runs and warnings, one a line.
pub fn table(report: &Report) -> String {
    let mut lines = Vec::new();
    for setting in &report.analysis().settings {
        lines.extend(heading(setting).map(|heading| format!("== {heading}")));
        lines.extend(aligned(&short_sheet(report, setting)));
        if let Some(best) = &setting.best {
            lines.push(format!("* `{best}` is above every other with 95 % confidence (paired t, Bonferroni)"));
        }
        lines.extend(unseen(setting));
        if let Some(sheet) = attained(setting) {
            lines.push(format!("-- {}", sheet.title));
            lines.extend(if sheet.rows.is_empty() { Vec::new() } else { aligned(&sheet) });
        }
    }
    if let Some(sheet) = standings(report.analysis()) {
        lines.push(format!("== {}", sheet.title.to_lowercase()));
        lines.extend(aligned(&sheet));
    }
    if let Some(sheet) = purities(report) {
        lines.push(format!("== {}", sheet.title.to_lowercase()));
        lines.extend(aligned(&sheet));
    }
    for run in report.runs().iter().filter(|run| run.state != RunState::Finished) {
        lines.push(format!("not counted: `{}`, seed {}: {}", run.label, run.seed, run.state));
    }
    lines.extend(report.warnings().iter().map(|warning| format!("warning: {warning}")));
    lines.push(String::new());
    lines.join("\n")
}

/// What fits a terminal: accuracy, area, difference from the baseline, cost.
fn short_sheet(report: &Report, setting: &SettingFigures) -> Sheet {
    let Sheet { title, rows: accuracy, note, .. } = results(setting);
    let (against, costs) = (against(setting), costs(report, setting));
    let find = |sheet: &Option<Sheet>, label: &str| {
        sheet.as_ref().and_then(|sheet| sheet.rows.iter().find(|row| row[0].text == label).cloned())
    };
    let row = |row: Vec<Cell>| {
        let label = row[0].text.clone();
        let (difference, cost) = (find(&against, &label), find(&costs, &label));
        let pick =
            |row: &Option<Vec<Cell>>, at: usize| row.as_ref().map_or_else(|| Cell::text("-"), |row| row[at].clone());
        let [label, last, area, _, seeds, _] = <[Cell; 6]>::try_from(row).ok()?;
        Some(vec![
            label,
            seeds,
            last,
            area,
            pick(&difference, 1),
            pick(&difference, 2),
            pick(&difference, 5),
            pick(&cost, 3),
            pick(&cost, 1),
        ])
    };
    let columns = vec!["strategy", "n", "final %", "area %", "vs random", "p", "labels needed", "fit s", "query s"];
    Sheet { title, columns, rows: accuracy.into_iter().filter_map(row).collect(), note }
}

/// What the seeds of a setting could not have shown.
fn unseen(setting: &SettingFigures) -> Option<String> {
    let largest = setting.comparisons.iter().filter_map(|comparison| Some((comparison.area.detectable?, comparison)));
    let (points, comparison) = largest.max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!(
        "with {} seeds a difference of areas under {:.2} points could not be seen (power .8, `{}`)",
        comparison.area.difference.n,
        points * 100.0,
        comparison.label
    ))
}

fn aligned(sheet: &Sheet) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(&sheet.columns);
    for row in &sheet.rows {
        table.add_row(row.iter().map(|cell| format!("{}{}", cell.text, if cell.strong { " *" } else { "" })));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Every table in Markdown, each setting under its heading.
pub fn markdown(report: &Report) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace('|', "\\|").replace('*', "\\*").replace('<', "&lt;");
    let rows = |columns: &[String], rows: &[Vec<Cell>]| {
        let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        let cell = |cell: &Cell| if cell.strong { format!("**{}**", escape(&cell.text)) } else { escape(&cell.text) };
        let rule = columns.iter().enumerate().map(|(at, _)| if at == 0 { "---" } else { "---:" }.to_owned()).collect();
        let mut lines = vec![line(columns.iter().map(|name| escape(name)).collect()), line(rule)];
        lines.extend(rows.iter().map(|row| line(row.iter().map(cell).collect())));
        lines.join("\n")
    };
    let part = |title: &str, columns: &[String], body: &[Vec<Cell>], note: &str| {
        format!("### {}\n\n{}\n\n{}\n", escape(title), rows(columns, body), escape(note))
    };
    forms(report, part, |heading| format!("## {}\n", escape(heading))).join("\n")
}

/// Every table in LaTeX, for `booktabs`, each with its caption.
pub fn latex(report: &Report) -> String {
    let part = |title: &str, columns: &[String], body: &[Vec<Cell>], note: &str| {
        let line = |cells: Vec<String>| format!("{} \\\\", cells.join(" & "));
        let cell = |cell: &Cell| {
            let text = in_latex(&cell.text);
            if cell.strong { format!("\\textbf{{{text}}}") } else { text }
        };
        let mut lines = vec![
            "\\begin{table}".to_owned(),
            format!("\\caption{{{}. {}}}", in_latex(title), in_latex(note)),
            format!("\\begin{{tabular}}{{l{}}}", "r".repeat(columns.len().saturating_sub(1))),
            "\\toprule".to_owned(),
            line(columns.iter().map(|name| in_latex(name)).collect()),
            "\\midrule".to_owned(),
        ];
        lines.extend(body.iter().map(|row| line(row.iter().map(cell).collect())));
        lines.extend(["\\bottomrule", "\\end{tabular}", "\\end{table}", ""].map(str::to_owned));
        lines.join("\n")
    };
    forms(report, part, |heading| format!("% {}\n", heading.replace('\n', " "))).join("\n")
}

fn in_latex(text: &str) -> String {
    let escaped = |c: char| match c {
        '\\' => "\\textbackslash{}".to_owned(),
        '&' | '%' | '$' | '#' | '_' | '{' | '}' => format!("\\{c}"),
        '~' => "\\textasciitilde{}".to_owned(),
        '^' => "\\textasciicircum{}".to_owned(),
        '±' => "$\\pm$".to_owned(),
        '≤' => "$\\leq$".to_owned(),
        '≥' => "$\\geq$".to_owned(),
        '<' => "$<$".to_owned(),
        '>' => "$>$".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// All tables in one form.
fn forms(
    report: &Report,
    part: impl Fn(&str, &[String], &[Vec<Cell>], &str) -> String,
    head: impl Fn(&str) -> String,
) -> Vec<String> {
    let sheet = |sheet: &Sheet| {
        let columns: Vec<String> = sheet.columns.iter().map(|&name| name.to_owned()).collect();
        part(&sheet.title, &columns, &sheet.rows, sheet.note)
    };
    let square = |title: &str, rows: Vec<(String, Vec<Cell>)>, width: usize, note: &str| {
        let names = rows.iter().take(width).map(|(name, _)| name.clone());
        let columns: Vec<String> = std::iter::once(String::new()).chain(names).collect();
        let rows: Vec<Vec<Cell>> =
            rows.into_iter().map(|(name, cells)| std::iter::once(Cell::text(name)).chain(cells).collect()).collect();
        part(title, &columns, &rows, note)
    };
    let mut out = Vec::new();
    for setting in &report.analysis().settings {
        out.extend(heading(setting).map(|heading| head(&heading)));
        let sheets = [
            against(setting),
            Some(results(setting)),
            attained(setting),
            costs(report, setting),
            hardest(report, setting),
        ];
        out.extend(sheets.iter().flatten().map(sheet));
        if setting.groups.len() > 1 {
            out.push(square(MATRIX_TITLE, matrix(setting), setting.groups.len(), MATRIX));
        }
    }
    out.extend(standings(report.analysis()).as_ref().map(sheet));
    out.extend(purities(report).as_ref().map(sheet));
    if let Some(penalties) = report.analysis().penalties.as_ref().filter(|table| table.strategies.len() > 1) {
        out.push(square(WINS_TITLE, wins(penalties), penalties.strategies.len(), WINS));
    }
    out
}

pub(crate) const MATRIX_TITLE: &str = "Each against each";
pub(crate) const WINS_TITLE: &str = "Wins over all settings";
/// What the matrix of a setting means.
pub(crate) const MATRIX: &str = "Area over labels of the row minus that of the column, in percentage points, mean over \
     paired seeds; what stands out \
     differs with p < .05 after Holm's correction for all pairs.";

/// The groups of a setting, and the upper baseline's.
fn groups(setting: &SettingFigures) -> impl Iterator<Item = &Group> {
    setting.groups.iter().chain(setting.upper.iter().map(|upper| &upper.group))
}

/// One row a setting, label and labelled count of the curves, RFC 4180, with a header: mean, deviation, both intervals.
///
/// # Errors
/// If `to` cannot be written.
pub fn curves_csv(report: &Report, to: impl Write) -> Result<(), ReportError> {
    let error = |error: csv::Error| ReportError::Write(error.to_string());
    let mut csv = csv::Writer::from_writer(to);
    let columns =
        ["setting", "label", "labelled", "accuracy", "std", "seeds", "t_half_width", "bootstrap_low", "bootstrap_high"];
    csv.write_record(columns).map_err(error)?;
    let number = |number: Option<f64>| number.map(|n| format!("{n:?}")).unwrap_or_default();
    for setting in &report.analysis().settings {
        let name = heading(setting).unwrap_or_default();
        for (group, point) in groups(setting).flat_map(|group| group.curve.iter().map(move |point| (group, point))) {
            csv.write_record([
                cell(&name),
                cell(&group.label),
                point.labelled.to_string(),
                number(Some(point.accuracy.mean)),
                number(point.accuracy.std),
                point.accuracy.n.to_string(),
                number(point.half_width),
                number(point.bootstrap.map(|interval| interval.low)),
                number(point.bootstrap.map(|interval| interval.high)),
            ])
            .map_err(error)?;
        }
    }
    csv.flush().map_err(|error| ReportError::Write(error.to_string()))
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
    // What nobody knows is left empty.
    let known = |number: f64| if number.is_nan() { String::new() } else { shortest(number) };
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
                &known(round.metrics.accuracy),
                &known(round.metrics.loss),
                &known(round.metrics.ece),
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

/// Everything as JSON: `version` (2), `settings` with every number of their tables, `penalties`, `standings`, `runs`
/// with their records (and `batches`, where not all that was asked for turned out to be of a class), `warnings`.
///
/// Accuracies are fractions, times seconds, memory bytes.
pub fn json(report: &Report) -> Value {
    let run = |(run, label): (&crate::RunSummary, &String)| {
        let mut value = json!({
            "label": run.label.as_str(),
            "curve": label,
            "strategy": run.strategy,
            "seed": run.seed,
            "dataset": run.dataset.as_str(),
            "dataset_digest": run.dataset_digest.as_str(),
            "model": run.model.as_str(),
            "layout": run.layout,
            "finished": run.state == RunState::Finished,
            "config": run.config,
            "rounds": run.rounds,
        });
        let batches = batches(run);
        if !batches.is_empty() {
            value["batches"] = json!(batches);
        }
        value
    };
    let setting = |setting: &SettingFigures| {
        let cost = |label: &String| report.cost(&setting.setting, label).map(|cost| (label.clone(), json!(cost)));
        let mut value = json!(setting);
        value["costs"] = setting.groups.iter().filter_map(|group| cost(&group.label)).collect();
        value
    };
    json!({
        "version": JSON_VERSION,
        "settings": report.analysis().settings.iter().map(setting).collect::<Vec<_>>(),
        "penalties": report.analysis().penalties,
        "standings": report.analysis().standings,
        "runs": report.runs().iter().zip(report.labels()).map(run).collect::<Vec<_>>(),
        "warnings": report.warnings(),
    })
}
