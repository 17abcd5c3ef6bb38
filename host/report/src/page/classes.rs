//! Which classes are hard, what they are taken for, and how what was queried is spread over them.

use maud::{Markup, html};

use super::tables::sheet;
use crate::analysis::SettingFigures;
use crate::confusion::Classes;
use crate::cost::Cost;
use crate::report::{Report, setting_name};
use crate::sheet::hardest;

/// Classes beyond which what is taken for what is told in words.
const MOST_SQUARE: usize = 20;
/// Classes beyond which the table of queried classes is left out.
const MOST_QUERIED: usize = 50;
/// Mistakes that are named of a strategy at most.
const MOST_MISTAKES: usize = 20;

/// Everything about the classes of a setting.
pub(super) fn classes(report: &Report, setting: &SettingFigures) -> Markup {
    let name = setting_name(&setting.setting);
    let costs: Vec<(&String, &Cost)> = setting
        .groups
        .iter()
        .filter_map(|group| Some((&group.label, report.cost(&setting.setting, &group.label)?)))
        .collect();
    html! {
        @if let Some(hardest) = hardest(report, setting) { (sheet(&hardest)) }
        @for (label, cost) in &costs { (confusion(&name, label, &cost.final_classes)) }
        (queried(&name, &costs))
    }
}

fn confusion(setting: &str, label: &str, classes: &Classes) -> Markup {
    let count = classes.accuracy.len();
    html! {
        @if classes.runs > 0 {
            details data-key=(format!("confusion {setting} {label}")) {
                summary { "What " (label) " takes for what" }
                @if count <= MOST_SQUARE { (square(label, classes, count)) } @else { (words(classes)) }
                p.note {
                    "Last round, mean over " (classes.runs) @if classes.runs == 1 { " run." } @else { " runs." }
                    " Percent of the test samples of a class (row) that were taken for a class (column)."
                }
            }
        }
    }
}

/// Colour says again what the numbers say: the share of its row, on the diagonal in one hue, beside it in the other.
fn square(label: &str, classes: &Classes, count: usize) -> Markup {
    let shares = classes.shares();
    let most = shares.iter().filter(|((a, b), _)| a != b).map(|(_, share)| *share).fold(0.0, f64::max);
    let share = |row: usize, column: usize| shares.get(&(row, column)).copied().unwrap_or(0.0);
    let tint = |row: usize, column: usize| {
        let (hue, part) =
            if row == column { ("--above", share(row, column)) } else { ("--below", share(row, column) / most) };
        let part = Some(part).filter(|part| part.is_finite() && *part > 0.0)?;
        Some(format!("background: color-mix(in srgb, var({hue}) {:.0}%, transparent)", part * 45.0))
    };
    let text = |share: f64| if share > 0.0 { format!("{:.1}", share * 100.0) } else { String::new() };
    html! {
        div.scroll tabindex="0" role="region" aria-label=(format!("confusion of {label}")) {
            table.square {
                thead { tr {
                    th scope="col" { "class, taken for" }
                    @for column in 0..count { th scope="col" { span { (classes.name(column)) } } }
                } }
                tbody {
                    @for row in 0..count {
                        tr {
                            th scope="row" { (classes.name(row)) }
                            @for column in 0..count {
                                td.best[row == column] style=[tint(row, column)] { (text(share(row, column))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn words(classes: &Classes) -> Markup {
    html! {
        ol {
            @for mistake in classes.mistakes(MOST_MISTAKES) {
                li {
                    (classes.name(mistake.class)) " taken for " (classes.name(mistake.predicted)) ": "
                    (format!("{:.1} %", mistake.share * 100.0))
                }
            }
        }
    }
}

/// How what was queried is spread over the classes.
fn queried(setting: &str, costs: &[(&String, &Cost)]) -> Markup {
    let count = costs.iter().map(|(_, cost)| cost.queried_classes.len()).max().unwrap_or(0);
    let name = |class: usize| costs.first().map_or_else(String::new, |(_, cost)| cost.final_classes.name(class));
    html! {
        @if (2..=MOST_QUERIED).contains(&count) {
            details data-key=(format!("queried {setting}")) {
                summary { "Classes of the queried samples" }
                div.scroll tabindex="0" role="region" aria-label="Classes of the queried samples" {
                    table {
                        thead { tr {
                            th scope="col" { "strategy" }
                            @for class in 0..count { th scope="col" { (name(class)) } }
                        } }
                        tbody {
                            @for (label, cost) in costs {
                                tr {
                                    th scope="row" { (label) }
                                    @for share in &cost.queried_classes { td { (format!("{:.1}", share * 100.0)) } }
                                }
                            }
                        }
                    }
                }
                p.note { "Percent of all labels bought after the initial set, over the finished runs, by class." }
            }
        }
    }
}

/// How many of a round's samples turned out to be of each class, the most frequent first.
pub(super) fn balance(names: &[querist_protocol::Shown], histogram: &[usize]) -> String {
    let mut counts: Vec<(usize, usize)> =
        histogram.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
    counts.sort_by_key(|&(class, count)| (std::cmp::Reverse(count), class));
    let name = |class: usize| names.get(class).map_or_else(|| class.to_string(), ToString::to_string);
    let named: Vec<String> =
        counts.iter().take(MOST_SQUARE).map(|&(class, count)| format!("{} {count}", name(class))).collect();
    let more = counts.len().saturating_sub(MOST_SQUARE);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}
