//! What each wish of a query that sums up several added to each of its picks.

use std::collections::BTreeMap;

use maud::{Markup, html};
use querist_protocol::Shown;

use super::figures::{Axes, Drawn, Figures, single};
use super::tables::heading;
use crate::analysis::Point;
use crate::report::Report;
use crate::run::RunSummary;

/// Points of a curve that are drawn at most, or nearly: of more picks, the means of so many that follow each other.
const MOST_POINTS: usize = 128;

const WISHES: Axes = Axes { title: "What each wish added", x: "pick", y: "added to the sum of the pick", unit: 1.0 };

/// A chart for each strategy of a setting that sums up wishes: that of its run of the lowest seed.
pub(super) fn wishes(report: &Report, figures: &mut Figures) -> Markup {
    let mut first: BTreeMap<(&str, &str), &RunSummary> = BTreeMap::new();
    let runs = report.runs().iter().zip(report.places()).zip(report.labels());
    for ((run, (setting, _)), label) in runs.filter(|((run, _), _)| run.rounds.iter().any(|r| !r.terms.is_empty())) {
        let shown = first.entry((setting, label)).or_insert(run);
        if run.seed < shown.seed {
            *shown = run;
        }
    }
    let mut parts = Vec::new();
    for ((setting, label), run) in first {
        parts.push(html! {
            details data-key=(format!("wishes {setting} {label}")) {
                summary { @if !setting.is_empty() { (setting) ", " } (label) ", seed " (run.seed) }
                (chart(run, &format!("{setting} {label}"), figures))
            }
        });
    }
    html! {
        @if !parts.is_empty() {
            (heading(WISHES.title))
            @for part in &parts { (part) }
        }
    }
}

fn chart(run: &RunSummary, key: &str, figures: &mut Figures) -> Markup {
    let picks: usize = run.rounds.iter().map(|round| round.acquired.len()).sum();
    let step = picks.div_ceil(MOST_POINTS).max(1);
    let mut curves: BTreeMap<Shown, (Vec<f64>, Vec<Point>)> = BTreeMap::new();
    let mut before = 0;
    for round in &run.rounds {
        for (name, parts) in &round.terms {
            let (places, points) = curves.entry(Shown::name(name)).or_default();
            for (at, chunk) in parts.chunks(step).enumerate() {
                let pick = before + at * step + chunk.len();
                places.push(pick as f64);
                points.push(single(pick, chunk.iter().sum::<f64>() / chunk.len() as f64));
            }
        }
        before += round.acquired.len();
    }
    // Position 0 is the baseline's.
    let drawn = (1..).zip(&curves).map(|(at, (name, (x, points)))| {
        let (x, points) = (x.clone(), points.clone());
        Drawn { at, label: name.as_str(), x, points }
    });
    let drawn = drawn.collect();
    html! {
        (figures.add(drawn, &WISHES, key))
        p.note {
            "Picks of all rounds in the order in which they were made"
            @if step > 1 { ", each point the mean of " (step) }
            ". Where a curve falls within a round, its wish comes to be fulfilled."
        }
    }
}

/// What each wish added to a pick, the most first.
pub(super) fn of_pick(run: &RunSummary, round: usize, rank: usize) -> Vec<(Shown, f64)> {
    let Some(record) = run.rounds.get(round) else { return Vec::new() };
    let of_term = |(name, parts): (&String, &Vec<f64>)| Some((Shown::name(name), *parts.get(rank)?));
    let mut parts: Vec<_> = record.terms.iter().filter_map(of_term).collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    parts
}
