//! The verdict as one page that needs nothing else, no script either.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::forest::forest;
use super::words::{Mark, bytes, contrast, points, seconds, worthy};
use super::{Contrast, Facts, Finding, InSetting, Judged, Outcome, QueryCost, Said, Verdict};
use crate::page::STYLE;

const OWN_STYLE: &str = include_str!("verdict.css");

/// Nothing is loaded and no script runs, whatever stands in the texts of a plugin.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// The verdict as one HTML file: no network, light or dark as the reader's system is.
pub fn verdict_html(verdict: &Verdict) -> String {
    let names: Vec<&str> = verdict.plugins.iter().map(|judged| judged.facts.label.as_str()).collect();
    let title = format!("Verdict on {}", names.join(" and "));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(OWN_STYLE)) }
            }
            body.verdict {
                main {
                    @for judged in &verdict.plugins { (plugin(judged, verdict)) }
                    (between(verdict))
                    (made_by(verdict))
                }
            }
        }
    };
    page.into_string()
}

fn plugin(judged: &Judged, verdict: &Verdict) -> Markup {
    let facts = &judged.facts;
    html! {
        article {
            header.hero.(tone(judged.verdict)) {
                p.kicker {
                    (facts.label) span.soft { " · " (facts.package) " " (facts.version) " · " (facts.signature) }
                }
                h1 { (marked(&judged.headline)) }
                p.soft { (facts.summary) }
            }
            dl.says {
                @for said in &judged.says { (answer(said)) }
            }
            @if let Some(forest) = forest(judged) {
                h2 { "Where it is better and worse" }
                (legend(judged))
                figure.forest { (forest) }
            }
            (details(judged, verdict))
        }
    }
}

/// Colour of a verdict.
fn tone(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Better => "good",
        Outcome::Worse | Outcome::Fails | Outcome::BreaksRules => "bad",
        Outcome::Alike => "plain",
        Outcome::NotKnown => "open",
    }
}

fn answer(said: &Said) -> Markup {
    let (class, sign, word) = match said.mark {
        Mark::Good => ("good", "✓", "good"),
        Mark::Bad => ("bad", "✗", "bad"),
        Mark::Open => ("open", "?", "not known"),
        Mark::Plain => ("plain", "·", "neither good nor bad"),
    };
    html! {
        div.(class) {
            dt { span.mark role="img" aria-label=(word) { (sign) } span { (marked(&said.question)) } }
            dd { (marked(&said.answer)) }
        }
    }
}

/// Text in which names stand between backticks.
fn marked(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn legend(judged: &Judged) -> Markup {
    html! {
        ul.legend.keys {
            @if let Some(random) = &judged.random {
                li { svg viewBox="0 0 16 16" aria-hidden="true" { circle cx="8" cy="8" r="5" {} }
                    "against " (random.against) }
            }
            @if let Some(nearest) = judged.nearest.first() {
                li { svg viewBox="0 0 16 16" aria-hidden="true" {
                        rect x="4" y="4" width="8" height="8" transform="rotate(45 8 8)" {} }
                    "against " (nearest.against) ", most like it" }
            }
            li.soft { "lines are 95 % intervals over seeds; what is filled is shown, what is hollow is not" }
        }
    }
}

fn details(judged: &Judged, verdict: &Verdict) -> Markup {
    let facts = &judged.facts;
    html! {
        @if judged.settings.len() > 1 {
            details { summary { "Every setting" } (settings(judged)) }
        }
        @if !judged.costs.is_empty() {
            details { summary { "What queries cost" } (costs(&judged.costs)) }
        }
        @if !facts.rules.is_empty() {
            details { summary { "The rules" } (rules(facts)) }
        }
        @if !facts.failed.is_empty() {
            details open { summary { "Runs that did not finish" }
                ul { @for failed in &facts.failed { li { code { (failed.run) } ": " (failed.reason) } } } }
        }
        details { summary { "The package and the suite" } (origin(judged, verdict)) }
    }
}

fn cell(contrast: Option<&Contrast>) -> Markup {
    let Some(contrast) = contrast else { return html! { td { "-" } } };
    let shown = matches!(contrast.finding, Finding::Better | Finding::Worse);
    let range = contrast.interval.map(|(low, high)| format!(" ({} to {})", points(low), points(high)));
    html! { td.best[shown] { (points(contrast.difference.mean)) span.soft { (range.unwrap_or_default()) } } }
}

fn settings(judged: &Judged) -> Markup {
    let against: Vec<&str> = judged.nearest.iter().map(|nearest| nearest.against.as_str()).collect();
    let has_attained = judged.settings.iter().any(|setting| setting.attained.is_some());
    let row = |setting: &InSetting| {
        html! {
            tr {
                th scope="row" { (setting.name) }
                (cell(setting.random.as_ref()))
                td { @match setting.labels_needed { Some((share, _)) => { (format!("{share:.2}")) }, None => { "-" } } }
                @for other in &against { (cell(setting.nearest.iter().find(|one| one.against == *other))) }
                @if has_attained {
                    td { @match &setting.attained {
                        Some(one) => { (format!("{:.0} %", one.share * 100.0)) }, None => { "-" } } }
                }
            }
        }
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="every setting" {
            table {
                thead { tr {
                    th scope="col" { "setting" } th scope="col" { "against random, points" }
                    th scope="col" { "labels needed" }
                    @for other in &against { th scope="col" { "against " (other) ", points" } }
                    @if has_attained { th scope="col" { "of what could be had" } }
                } }
                tbody { @for setting in &judged.settings { (row(setting)) } }
            }
        }
        p.note {
            "Differences of the area over labels, which is the mean accuracy over the budget, paired by seed, with \
             Student's 95 % intervals. What is bold is shown against random by a paired t test with Holm's correction \
             over all settings; against others there is no correction in single settings. Labels needed: the factor by \
             which random's label axis is scaled to give the plugin's curve."
        }
    }
}

fn costs(costs: &[QueryCost]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="what queries cost" {
            table {
                thead { tr {
                    th scope="col" { "strategy" } th scope="col" { "queries" } th scope="col" { "mean time" }
                    th scope="col" { "longest" } th scope="col" { "most memory" }
                    th scope="col" { "most instructions" } th scope="col" { "its arrays" }
                } }
                tbody { @for cost in costs { tr {
                    th scope="row" { (cost.label) }
                    td { (cost.queries) } td { (seconds(cost.seconds)) } td { (seconds(cost.most_seconds)) }
                    td { (cost.most_bytes.map_or_else(|| "-".to_owned(), bytes)) }
                    td { (cost.most_fuel.map_or_else(|| "-".to_owned(), |fuel| format!("{:.1} M", fuel as f64 / 1e6))) }
                    td { (seconds(cost.feature_seconds)) }
                } } }
            }
        }
        p.note {
            "Wall-clock time of the strategy itself; memory is that of the plugin and of the objects made for it, \
             inputs not counted. Instructions are those of the plugin's own code in the sandbox, without what the \
             program did for it. Its arrays: mean time in which the model computed what the strategy asked for."
        }
    }
}

fn rules(facts: &Facts) -> Markup {
    let class = |outcome: &str| match outcome {
        "holds" => ("pass", "✓"),
        "broken" => ("not-met", "✗"),
        _ => ("declared", "·"),
    };
    html! {
        ul.protocol {
            @for rule in &facts.rules {
                @let (class, mark) = class(&rule.outcome);
                li.(class) {
                    span.mark aria-hidden="true" { (mark) }
                    span { strong { (rule.outcome.replace('-', " ")) } ": " (rule.says) ". "
                        span.soft { (rule.message) } }
                }
            }
        }
    }
}

fn origin(judged: &Judged, verdict: &Verdict) -> Markup {
    let (facts, suite) = (&judged.facts, &verdict.suite);
    let codes = |names: &[String]| {
        html! {
            @if names.is_empty() { "none" }
            @for (at, name) in names.iter().enumerate() { @if at > 0 { ", " } code { (name) } }
        }
    };
    html! {
        dl {
            dt { "strategy" }
            dd { code { (facts.id) } " of package " code { (facts.package) } " " (facts.version) ", " (facts.kind) }
            dt { "artifact sha256" } dd { code { (facts.digest) } }
            dt { "signature" } dd { (facts.signature) }
            @if let Some(params) = &facts.params { dt { "parameters" } dd { code { (params) } } }
            dt { "imports" } dd { (codes(&facts.imports)) }
            dt { "arrays" } dd { (codes(&facts.needs)) }
            dt { "rights" } dd { (codes(&facts.rights)) }
            dt { "limits of a query" } dd { (bytes(facts.limits.memory)) ", " (seconds(facts.limits.seconds)) }
            dt { "most like it" }
            dd {
                @if facts.nearest.is_empty() { "nothing was compared" }
                @for (at, like) in facts.nearest.iter().enumerate() {
                    @if at > 0 { "; " }
                    code { (like.label) }
                    @match like.picks {
                        Some(picks) => { (format!(", {:.0} % of picks beyond chance", picks * 100.0)) },
                        None => { (format!(", {:.0} % of needs", like.needs * 100.0)) },
                    }
                }
            }
            dt { "suite" } dd { (suite.name) ", " (suite.seeds) " seeds, sha256 " code { (suite.digest) } }
            dt { "runs" }
            dd { (facts.planned - facts.failed.len().min(facts.planned)) " of " (facts.planned) " finished" }
        }
    }
}

fn between(verdict: &Verdict) -> Markup {
    html! {
        @if !verdict.between.is_empty() {
            h2 { "Side by side" }
            @for pair in &verdict.between {
                p { strong { (pair.label) " beside " (pair.against) ": " }
                    (marked(&contrast(pair, verdict.suite.worth))) }
            }
        }
    }
}

fn made_by(verdict: &Verdict) -> Markup {
    let suite = &verdict.suite;
    html! {
        footer {
            @if !verdict.warnings.is_empty() {
                details { summary { "Warnings of the report (" (verdict.warnings.len()) ")" }
                    ul { @for warning in &verdict.warnings { li { (marked(warning)) } } } }
            }
            p.note {
                "Mean accuracy over the budget: the area under the curve of test accuracy over labels, divided by \
                 their range. Over all settings, each seed counts once, with the mean of its differences; the test is \
                 Student's, paired by seed, two-sided at 5 %. A difference below " (worthy(suite.worth)) " is not \
                 worth knowing here. "
                @if let Some(report) = &suite.report {
                    a href=(report) { "The full report" } " has every curve, table and run. "
                }
            }
            @if let Some(again) = &suite.again { pre { (again) } }
            p.note { "querist " (verdict.querist) ", suite " (suite.name) }
        }
    }
}
