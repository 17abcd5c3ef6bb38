//! The pictures that were asked for.

use std::collections::BTreeMap;

use maud::{Markup, html};
use querist_protocol::Shown;
use rayon::prelude::*;

use super::classes::balance;
use super::tables::heading;
use super::wishes::of_pick;
use crate::curve::Seed;
use crate::report::{Report, ReportError};
use crate::run::{Picture, RunSummary, Thumbnail};
use crate::thumbnail::address;

/// The pictures of all runs of a setting and seed, round by round, strategies side by side.
pub(super) fn pictures(report: &Report, most: usize) -> Result<Markup, ReportError> {
    let mut seeds: BTreeMap<&(String, Seed), Vec<&RunSummary>> = BTreeMap::new();
    let has_pictures = |run: &RunSummary| run.thumbnails.iter().any(|round| !round.is_empty());
    for (run, place) in report.runs().iter().zip(report.places()).filter(|(run, _)| has_pictures(run)) {
        seeds.entry(place).or_default().push(run);
    }
    let part = |((setting, seed), runs): (&&(String, Seed), &Vec<&RunSummary>)| {
        let rounds = rounds(runs, most)?;
        Ok(html! {
            details data-key=(format!("pictures {setting} {seed}")) {
                summary { @if !setting.is_empty() { (setting) ", " } "seed " (seed) }
                @for round in &rounds { (round) }
            }
        })
    };
    let parts = seeds.par_iter().map(part).collect::<Result<Vec<Markup>, ReportError>>()?;
    Ok(html! {
        @if !parts.is_empty() {
            (heading("Queried pictures"))
            @for part in &parts { (part) }
        }
    })
}

fn rounds(runs: &[&RunSummary], most: usize) -> Result<Vec<Markup>, ReportError> {
    let count = runs.iter().map(|run| run.thumbnails.len()).max().unwrap_or(0);
    let round = |at: usize| {
        let asked =
            runs.iter().filter_map(|run| Some((*run, run.thumbnails.get(at).filter(|round| !round.is_empty())?)));
        let columns = asked.map(|(run, round)| column(run, at, round, most)).collect::<Result<Vec<_>, _>>()?;
        Ok(html! {
            @if !columns.is_empty() { h3 { "Round " (at) } div.beside { @for column in &columns { (column) } } }
        })
    };
    (0..count).into_par_iter().map(round).collect()
}

fn column(run: &RunSummary, at: usize, round: &[Thumbnail], most: usize) -> Result<Markup, ReportError> {
    let mut shown: Vec<&Thumbnail> = round.iter().collect();
    shown.sort_by_key(|thumbnail| thumbnail.rank);
    shown.truncate(most);
    let twins: Vec<Option<usize>> = shown.iter().enumerate().map(|(at, picture)| twin(picture, &shown[..at])).collect();
    let figures =
        shown.iter().zip(&twins).map(|(picture, twin)| figure(picture, *twin, &of_pick(run, at, picture.rank)));
    let figures = figures.collect::<Result<Vec<_>, _>>()?;
    let repeated = twins.iter().flatten().count();
    // Only a part of the pictures may have been handed over.
    let asked = run.rounds.get(at).map_or(round.len(), |record| record.acquired.len().max(round.len()));
    let histogram = run.rounds.get(at).map(|record| &record.query_class_histogram[..]).unwrap_or_default();
    let classes = histogram.iter().filter(|count| **count > 0).count();
    Ok(html! {
        div {
            h4 { (run.label) ", " (asked) " asked"
                @if classes > 0 { ", " (classes) @if classes == 1 { " class" } @else { " classes" } }
                @if repeated > 0 { ", " (repeated) " of those shown nearly repeated" } }
            @if classes > 0 { p.note { (balance(&run.classes, histogram)) } }
            div.pictures {
                @for figure in &figures { (figure) }
                @if asked > figures.len() { span.soft { "and " (asked - figures.len()) " more" } }
            }
        }
    })
}

/// The rank of an earlier picture that this one nearly repeats.
fn twin(picture: &Thumbnail, before: &[&Thumbnail]) -> Option<usize> {
    before.iter().find(|other| nearly_equal(&picture.picture, &other.picture)).map(|other| other.rank)
}

/// Whether two pictures of one shape differ by less than four of 255 levels in the mean.
fn nearly_equal(a: &Picture, b: &Picture) -> bool {
    let (
        Picture::Raw { height, width, channels, pixels },
        Picture::Raw { height: other_height, width: other_width, channels: other_channels, pixels: others },
    ) = (a, b)
    else {
        return false;
    };
    let one_shape = (height, width, channels) == (other_height, other_width, other_channels);
    let difference: u64 = pixels.iter().zip(others).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    one_shape && !pixels.is_empty() && difference < 4 * pixels.len() as u64
}

/// A picture, with what each wish added to it where there are some.
fn figure(thumbnail: &Thumbnail, twin: Option<usize>, wishes: &[(Shown, f64)]) -> Result<Markup, ReportError> {
    let address = address(&thumbnail.picture)?;
    let mut title = format!("rank {}", thumbnail.rank);
    wishes.iter().for_each(|(name, part)| title += &format!(", {name} {part:.3}"));
    Ok(html! {
        figure.twin[twin.is_some()] {
            img src=(address) alt=(thumbnail.class) title=(title) loading="lazy"
                decoding="async";
            figcaption { (thumbnail.class) @if let Some(rank) = twin { ", like rank " (rank) }
                @if let [(name, _), _, ..] = wishes { br; span.soft { "mostly " (name) } }
            }
        }
    })
}
