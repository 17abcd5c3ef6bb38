//! The page: one file that needs nothing else.

mod classes;
mod figures;
mod live;
mod pictures;
mod plain;
mod tables;
mod wishes;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use querist_core::digest::sha256;
use querist_protocol::Shown;
use sha2::{Digest, Sha256};

use crate::analysis::{BASELINE, SettingFigures};
use crate::formats::{MATRIX, MATRIX_TITLE, WINS_TITLE};
use crate::people::purities;
use crate::protocol::{LineStanding, checklist};
use crate::report::{Report, ReportError, setting_name};
use crate::run::{RunState, RunSummary};
use crate::settings::short;
use crate::sheet::{WINS, against, attained, costs, matrix, results, standings, wins};
use figures::Figures;
pub use live::Live;

/// Bytes that are shown of a config at most.
const MOST_CONFIG: usize = 64 << 10;

pub(crate) const STYLE: &str = include_str!("style.css");
/// The chart library, uPlot 1.6.32 (MIT).
const CHARTS: &str = include_str!("../../vendor/uplot/uPlot.iife.min.js");
const CHARTS_STYLE: &str = include_str!("../../vendor/uplot/uPlot.min.css");
const SCRIPT: &str = include_str!("page.js");
const LIVE_SCRIPT: &str = include_str!("live.js");

/// Queried pictures of a round that a page shows at most, if nothing else is said.
pub const PICTURES_PER_ROUND: usize = 24;

/// What the page shows beyond the figures.
#[derive(Debug, Clone)]
pub struct PageOptions {
    /// Heading.
    pub title: String,
    /// Most queried pictures shown of a round; the page says how many more there are.
    pub pictures_per_round: usize,
    /// What a page says that is served while runs go on.
    pub live: Option<Live>,
}

impl Default for PageOptions {
    fn default() -> Self {
        Self { title: "Active-learning report".to_owned(), pictures_per_round: PICTURES_PER_ROUND, live: None }
    }
}

/// The report as one HTML file: no network, light or dark as the reader's system is, readable without its script, too.
///
/// # Errors
/// If a thumbnail is neither a PNG file nor pixels of its stated shape.
pub fn html(report: &Report, options: &PageOptions) -> Result<String, ReportError> {
    let pictures = pictures::pictures(report, options.pictures_per_round)?;
    let mut figures = Figures::default();
    let settings: Vec<Markup> =
        report.analysis().settings.iter().map(|setting| of_setting(report, setting, &mut figures)).collect();
    let wishes = wishes::wishes(report, &mut figures);
    let epochs = figures.epochs(report);
    let body = html! {
        (overview(report))
        (warnings(report, options.live.is_some()))
        (over_settings(report))
        @for setting in &settings { (setting) }
        (wishes)
        (epochs)
        (pictures)
        (protocol(report))
        (facts(report))
    };
    page(&body, &figures, options)
}

/// The page while no run has begun: what [`PageOptions`] say, and nothing else.
///
/// # Errors
/// If there is no room for it.
pub fn html_without_runs(options: &PageOptions) -> Result<String, ReportError> {
    page(&html! { p { "No run has begun yet." } }, &Figures::default(), options)
}

fn page(body: &Markup, figures: &Figures, options: &PageOptions) -> Result<String, ReportError> {
    let live = options.live.as_ref();
    let script = [CHARTS, SCRIPT, live.map_or("", |_| LIVE_SCRIPT)].join("\n");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy(&script, live.is_some()));
                title { (options.title) }
                // A browser asks each server for one.
                @if live.is_some() { link rel="icon" href="data:,"; }
                style { (PreEscaped(CHARTS_STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                @if live.is_some() { p #connection role="status" { "This page needs its script to stay up to date." } }
                main #report data-digest=[live.map(|live| &live.digest)] {
                    h1 { (options.title) }
                    @if let Some(live) = live { (live::progress(live)) }
                    (body)
                }
                script type="application/json" id="figures" { (PreEscaped(figures.json()?)) }
                script { (PreEscaped(&script)) }
            }
        }
    };
    Ok(page.into_string())
}

/// The charts of the report as SVG files of their own: name without ending, and text.
pub fn svg_figures(report: &Report) -> Vec<(String, String)> {
    let settings = &report.analysis().settings;
    let name = |what: &str, at: usize| if settings.len() > 1 { format!("{what}-{}", at + 1) } else { what.to_owned() };
    let of = |(at, setting): (usize, &SettingFigures)| {
        figures::files(setting, STYLE).into_iter().map(move |(what, svg)| (name(what, at), svg))
    };
    settings.iter().enumerate().flat_map(of).collect()
}

/// Nothing is loaded, but a live page from its own server, and only this script runs, whatever stands in the texts of a
/// run.
fn policy(script: &str, is_live: bool) -> String {
    use base64::Engine;
    let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(script.as_bytes()));
    let connect = if is_live { "; connect-src 'self'" } else { "" };
    format!("default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'{connect}")
}

fn overview(report: &Report) -> Markup {
    let distinct = |of: &dyn Fn(&RunSummary) -> String| {
        let mut names: Vec<String> = report.runs().iter().map(of).collect();
        names.sort();
        names.dedup();
        names.join(", ")
    };
    let finished = report.runs().iter().filter(|run| run.state == RunState::Finished).count();
    let settings = &report.analysis().settings;
    let strategies: std::collections::BTreeSet<&String> =
        settings.iter().flat_map(|setting| &setting.groups).map(|group| &group.label).collect();
    let curves: usize = settings.iter().flat_map(|setting| &setting.groups).map(|group| group.seeds.len()).sum();
    html! {
        p.soft {
            @if report.runs().is_empty() {
                (strategies.len()) " strategies · " (curves) " curves"
            } @else {
                (distinct(&|run| run.dataset.to_string())) " · " (distinct(&|run| run.model.to_string())) " · "
                (strategies.len()) " strategies · " (finished) " finished runs of " (report.runs().len())
            }
            @if settings.len() > 1 { " · " (settings.len()) " settings" }
        }
        @if settings.len() > 1 {
            nav aria-label="settings" { ul.settings {
                @for setting in settings {
                    li { a href=(format!("#{}", anchor(setting))) { (setting_name(&setting.setting)) } }
                }
            } }
        }
    }
}

/// The id of a setting's part of the page.
fn anchor(setting: &SettingFigures) -> String {
    let name = setting_name(&setting.setting);
    format!("setting-{}", short(&sha256(name.as_bytes())))
}

fn warnings(report: &Report, is_live: bool) -> Markup {
    let incomplete = report.runs().iter().filter(|run| run.state != RunState::Finished);
    let incomplete: Vec<String> =
        incomplete.map(|run| format!("`{}`, seed {}, is {}: not counted", run.label, run.seed, run.state)).collect();
    let (shown, under_way) = if is_live { (Vec::new(), incomplete) } else { (incomplete, Vec::new()) };
    html! {
        @if !report.warnings().is_empty() || !shown.is_empty() {
            ul.warnings aria-label="warnings" {
                @for warning in report.warnings().iter().chain(&shown) { li { (warning) } }
            }
        }
        @if !under_way.is_empty() {
            details data-key="under way" {
                summary { (under_way.len()) @if under_way.len() == 1 { " run is" } @else { " runs are" } " under way" }
                ul { @for run in &under_way { li { (run) } } }
            }
        }
    }
}

fn over_settings(report: &Report) -> Markup {
    let analysis = report.analysis();
    let penalties =
        analysis.penalties.as_ref().filter(|table| table.strategies.len() > 1 && analysis.settings.len() > 1);
    html! {
        @if let Some(sheet) = standings(analysis) { (tables::sheet(&sheet)) }
        @if let Some(sheet) = purities(report) { (tables::sheet(&sheet)) }
        @if let Some(penalties) = penalties {
            (tables::square(WINS_TITLE, &wins(penalties), penalties.strategies.len(), WINS))
        }
    }
}

/// Effect against the baseline first, then what it is made of.
fn of_setting(report: &Report, setting: &SettingFigures, figures: &mut Figures) -> Markup {
    let name = setting_name(&setting.setting);
    html! {
        section id=(anchor(setting)) {
            @if !name.is_empty() { h2.setting { (name) } }
            @if let Some(sheet) = against(setting) {
                (tables::heading(&sheet.title))
                (figures.against(setting))
                (tables::body(&sheet))
            }
            (tables::heading("Accuracy against labels"))
            (figures.curves(setting))
            (tables::sheet(&results(setting)))
            @if let Some(sheet) = attained(setting) { (tables::sheet(&sheet)) }
            @if setting.groups.len() > 2 {
                (tables::square(MATRIX_TITLE, &matrix(setting), setting.groups.len(), MATRIX))
            }
            @if let Some(sheet) = costs(report, setting) {
                (tables::heading(&sheet.title))
                (figures.seconds(report, setting))
                (tables::body(&sheet))
                (classes::classes(report, setting))
            }
        }
    }
}

fn protocol(report: &Report) -> Markup {
    let lines = checklist(report);
    let count = |standing: LineStanding| lines.iter().filter(|line| line.standing == standing).count();
    let mark = |standing: LineStanding| match standing {
        LineStanding::Pass => "✓",
        LineStanding::NotMet => "✗",
        LineStanding::Declared => "·",
    };
    html! {
        @if !lines.is_empty() {
            (tables::heading("Protocol"))
            p {
                (count(LineStanding::Pass)) " of " (lines.len()) " lines pass, " (count(LineStanding::NotMet))
                " are not met, " (count(LineStanding::Declared)) " are declared."
            }
            @for part in lines.chunk_by(|a, b| a.part == b.part) {
                h3 { (part[0].part) }
                ul.protocol {
                    @for line in part {
                        li.(line.standing.name().replace(' ', "-")) {
                            span.mark aria-hidden="true" { (mark(line.standing)) }
                            span {
                                strong { (line.standing.name()) } ": " (line.demand) ". "
                                span.soft { (line.found) }
                            }
                        }
                    }
                }
            }
            p.note {
                "What a comparison must do to be believed, from published criticism of the field. “Declared” is what \
                 records cannot judge: read it. " (BASELINE) " is the baseline of every line that names one."
            }
        }
    }
}

fn facts(report: &Report) -> Markup {
    html! {
        @if !report.runs().is_empty() { (tables::heading("Runs")) }
        @for run in report.runs() {
            @let config = sha256(run.config.to_string().as_bytes());
            details data-key=(format!("run {config}")) {
                summary { (run.label) ", seed " (run.seed) ", " (run.state) }
                dl {
                    dt { "strategy" }
                    dd { (Shown::name(&run.strategy.id)) ", package " (Shown::name(&run.strategy.package)) " "
                        (Shown::name(&run.strategy.version)) ", " (run.strategy.kind) }
                    dt { "plugin sha256" } dd { code { (Shown::name(&run.strategy.digest)) } }
                    dt { "dataset" } dd { (run.dataset) ", sha256 " code { (run.dataset_digest) } }
                    dt { "model" } dd { (run.model) }
                    dt { "config sha256" } dd { code { (config) } }
                    dt { "initial set sha256" } dd { code { (run.start) } }
                    dt { "device" } dd { (Shown::name(run.rounds.last().map_or("-", |round| &round.backend))) }
                }
                pre { (Shown::lines(&serde_json::to_string_pretty(&run.config).unwrap_or_default(), MOST_CONFIG)) }
            }
        }
    }
}
