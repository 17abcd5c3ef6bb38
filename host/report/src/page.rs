//! The page: one file that needs nothing else.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use querist_protocol::Shown;

use crate::chart::{Line, NARROW, WIDE, chart, style};
use crate::formats::{percent, points, seconds};
use crate::report::{BASELINE, Group, Report, ReportError};
use crate::run::{RunState, RunSummary, Thumbnail};
use crate::thumbnail::address;

/// Bytes that are shown of a config at most.
const MOST_CONFIG: usize = 64 << 10;

const STYLE: &str = include_str!("style.css");

/// What the page shows beyond the figures.
#[derive(Debug, Clone)]
pub struct PageOptions {
    /// Heading.
    pub title: String,
    /// Most queried pictures shown of a round; the page says how many more there are.
    pub pictures_per_round: usize,
}

impl Default for PageOptions {
    fn default() -> Self {
        Self { title: "Active-learning report".to_owned(), pictures_per_round: 24 }
    }
}

/// The report as one HTML file: no script, no network, light or dark as the reader's system is.
///
/// # Errors
/// If a thumbnail is neither a PNG file nor pixels of its stated shape.
pub fn html(report: &Report, options: &PageOptions) -> Result<String, ReportError> {
    let pictures = pictures(report, options.pictures_per_round)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (options.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (options.title) }
                (overview(report))
                (warnings(report))
                (curves(report))
                (results(report))
                (comparisons(report))
                (costs(report))
                (pictures)
                (facts(report))
            }
        }
    };
    Ok(page.into_string())
}

fn overview(report: &Report) -> Markup {
    let distinct = |of: &dyn Fn(&RunSummary) -> String| {
        let mut names: Vec<String> = report.runs().iter().map(of).collect();
        names.sort();
        names.dedup();
        names.join(", ")
    };
    let finished = report.runs().iter().filter(|run| run.state == RunState::Finished).count();
    html! {
        p.soft {
            (distinct(&|run| run.dataset.to_string())) " · " (distinct(&|run| run.model.to_string())) " · "
            (report.groups().len()) " strategies · " (finished) " finished runs of " (report.runs().len())
        }
    }
}

fn warnings(report: &Report) -> Markup {
    let incomplete = report.runs().iter().filter(|run| run.state != RunState::Finished);
    let incomplete: Vec<String> =
        incomplete.map(|run| format!("`{}`, seed {}, is {}: not counted", run.label, run.seed, run.state)).collect();
    html! {
        @if !report.warnings().is_empty() || !incomplete.is_empty() {
            ul.warnings aria-label="warnings" {
                @for warning in report.warnings().iter().chain(&incomplete) { li { (warning) } }
            }
        }
    }
}

fn curves(report: &Report) -> Markup {
    let groups = report.groups();
    let lines: Vec<Line<'_>> =
        groups.iter().enumerate().map(|(at, group)| Line { at, label: &group.label, points: &group.curve }).collect();
    html! {
        h2 { "Accuracy against labels" }
        @match both_sizes(&lines, "accuracy, %") {
            Some(charts) => {
                (charts)
                ul.legend {
                    @for (at, group) in groups.iter().enumerate().filter(|(_, group)| !group.curve.is_empty()) {
                        @let (hue, dash) = style(at);
                        li {
                            svg.(hue) viewBox="0 0 40 12" aria-hidden="true" {
                                line.curve x1="0" x2="40" y1="6" y2="6"
                                    stroke-dasharray=[Some(dash).filter(|dash| !dash.is_empty())] {}
                            }
                            (group.label)
                        }
                    }
                }
                p.note {
                    "Mean over the finished seeds on the test set; the band is one sample standard deviation to each \
                     side. "
                    "Where a strategy has one seed there is no band. Point at a dot for its figures."
                }
            }
            None => p { "No run is finished yet." }
        }
    }
}

fn results(report: &Report) -> Markup {
    let is_best = |group: &Group| report.best().is_some_and(|best| best.label == group.label);
    html! {
        h2 { "Results" }
        div.scroll {
            table {
                thead { tr {
                    th { "strategy" } th { "final accuracy, %" }
                    th { "area over labels, %" } th { "area over rounds, %" }
                    th { "seeds" } th { "labels" }
                } }
                tbody {
                    @for group in report.groups() {
                        tr {
                            td { (group.label) }
                            td { (percent(group.final_accuracy)) }
                            td.best[is_best(group)] { (percent(group.area_over_labels)) }
                            td { (percent(group.area_over_rounds)) }
                            td { (group.seeds.len()) }
                            td { (labels_of(group)) }
                        }
                    }
                }
            }
        }
        p.note {
            "Mean ± sample standard deviation over seeds. Area over labels: trapezia over the number of labels, \
             divided by "
            "its range, so the mean accuracy over the budget; area over rounds: the same with rounds in place of \
             labels. "
            @match report.best() {
                Some(best) => {
                    "Bold: the area of " (best.label) " is above that of every other strategy with 95 % confidence \
                     (paired t "
                    "over common seeds, Bonferroni)."
                }
                None => "No area is bold: no strategy is above every other with 95 % confidence (paired t over common \
                    seeds, Bonferroni).",
            }
        }
    }
}

fn labels_of(group: &Group) -> String {
    match (group.curve.first(), group.curve.last()) {
        (Some(first), Some(last)) => format!("{} to {}", first.labelled, last.labelled),
        _ => "-".to_owned(),
    }
}

/// The chart for screens and the one for telephones; the style sheet shows one of them.
fn both_sizes(lines: &[Line<'_>], what: &str) -> Option<Markup> {
    let (wide, narrow) = (chart(lines, &WIDE, what)?, chart(lines, &NARROW, what)?);
    Some(html! { (wide) (narrow) })
}

fn comparisons(report: &Report) -> Markup {
    let place = |label: &str| report.groups().iter().position(|group| group.label == label);
    let lines: Vec<Line<'_>> = report
        .comparisons()
        .iter()
        .filter_map(|c| Some(Line { at: place(&c.label)?, label: &c.label, points: &c.curve }))
        .collect();
    html! {
        @if !report.comparisons().is_empty() {
            h2 { "Against " (BASELINE) }
            @if let Some(charts) = both_sizes(&lines, "accuracy above random, points") { (charts) }
            div.scroll {
                table {
                    thead { tr {
                        th { "strategy" } th { "area over labels, points" } th { "final accuracy, points" } th { "n" }
                        th { "labels" }
                    } }
                    tbody {
                        @for c in report.comparisons() {
                            tr {
                                td { (c.label) }
                                td { (points(c.area_difference.mean, c.area_half_width)) }
                                td { (points(c.final_difference.mean, c.final_half_width)) }
                                td { (c.area_difference.n) }
                                td { (c.labelled.len()) " counts" }
                            }
                        }
                    }
                }
            }
            p.note {
                "Mean difference of paired seeds ± half of its 95 % t interval, in percentage points; above 0 is \
                 better than "
                (BASELINE) ". An interval that holds 0 shows no difference. One seed gives no interval."
            }
        }
    }
}

fn costs(report: &Report) -> Markup {
    let memory =
        |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |b| format!("{:.1}", b as f64 / 1_048_576.0));
    html! {
        h2 { "Cost" }
        div.scroll {
            table {
                thead { tr {
                    th { "strategy" } th { "query, s" } th { "features, s" }
                    th { "training, s" } th { "query memory, MiB" }
                } }
                tbody {
                    @for group in report.groups() {
                        tr {
                            td { (group.label) }
                            td { (seconds(group.query_seconds)) }
                            td { (seconds(group.features_seconds)) }
                            td { (seconds(group.fit_seconds)) }
                            td { (memory(group.query_peak_bytes)) }
                        }
                    }
                }
            }
        }
        p.note { "Wall-clock seconds of a whole run, mean over seeds; memory is the largest peak of any query." }
    }
}

fn pictures(report: &Report, most: usize) -> Result<Markup, ReportError> {
    let with_pictures = report.runs().iter().filter(|run| run.thumbnails.iter().any(|round| !round.is_empty()));
    let runs = with_pictures.map(|run| pictures_of(run, most)).collect::<Result<Vec<_>, _>>()?;
    Ok(html! {
        @if !runs.is_empty() {
            h2 { "Queried pictures" }
            @for run in &runs { (run) }
        }
    })
}

fn pictures_of(run: &RunSummary, most: usize) -> Result<Markup, ReportError> {
    let rounds = run.thumbnails.iter().enumerate().filter(|(_, round)| !round.is_empty());
    let round = |(at, round): (usize, &Vec<Thumbnail>)| {
        let mut shown: Vec<&Thumbnail> = round.iter().collect();
        shown.sort_by_key(|thumbnail| thumbnail.rank);
        shown.truncate(most);
        let figures = shown.iter().map(|thumbnail| figure(thumbnail)).collect::<Result<Vec<_>, _>>()?;
        // Only a part of the pictures may have been handed over.
        let asked = run.rounds.get(at).map_or(round.len(), |record| record.acquired.len().max(round.len()));
        Ok(html! {
            h3 { "Round " (at) ", " (asked) " asked" }
            div.pictures {
                @for figure in &figures { (figure) }
                @if asked > figures.len() { span.soft { "and " (asked - figures.len()) " more" } }
            }
        })
    };
    let rounds = rounds.map(round).collect::<Result<Vec<_>, ReportError>>()?;
    Ok(html! {
        details {
            summary { (run.label) ", seed " (run.seed) }
            @for round in &rounds { (round) }
        }
    })
}

fn figure(thumbnail: &Thumbnail) -> Result<Markup, ReportError> {
    let address = address(&thumbnail.picture)?;
    Ok(html! {
        figure {
            img src=(address) alt=(thumbnail.class) title=(format!("rank {}", thumbnail.rank)) loading="lazy"
                decoding="async";
            figcaption { (thumbnail.class) }
        }
    })
}

fn facts(report: &Report) -> Markup {
    html! {
        h2 { "Runs" }
        @for run in report.runs() {
            details {
                summary { (run.label) ", seed " (run.seed) ", " (run.state) }
                dl {
                    dt { "strategy" }
                    dd { (Shown::name(&run.strategy.id)) ", package " (Shown::name(&run.strategy.package)) " "
                        (Shown::name(&run.strategy.version)) ", " (run.strategy.kind) }
                    dt { "plugin sha256" } dd { code { (Shown::name(&run.strategy.digest)) } }
                    dt { "dataset" } dd { (run.dataset) ", sha256 " code { (run.dataset_digest) } }
                    dt { "model" } dd { (run.model) }
                    dt { "device" } dd { (Shown::name(run.rounds.last().map_or("-", |round| &round.backend))) }
                }
                pre { (Shown::lines(&serde_json::to_string_pretty(&run.config).unwrap_or_default(), MOST_CONFIG)) }
            }
        }
    }
}
