//! Differences with their intervals, a line a setting, as inline SVG.

use maud::{Markup, html};

use super::words::points;
use super::{Contrast, Finding, InSetting, Judged};
use crate::chart::{px, tick_text, ticks};

/// A drawing for some width of the screen.
struct Frame {
    class: &'static str,
    width: f64,
    /// Pixels for names, beside the lines; above them where there are none.
    names: f64,
    row: f64,
}

const WIDE: Frame = Frame { class: "wide", width: 900.0, names: 230.0, row: 34.0 };
const NARROW: Frame = Frame { class: "narrow", width: 380.0, names: 0.0, row: 52.0 };

const TOP: f64 = 26.0;
const BOTTOM: f64 = 44.0;
const PAD: f64 = 16.0;

/// One line: what it is of, and its contrasts.
struct Row<'a> {
    name: &'a str,
    random: Option<&'a Contrast>,
    nearest: Option<&'a Contrast>,
    /// Whether it is of all settings.
    is_all: bool,
}

/// The differences of a plugin, of all settings first; nothing where there is none.
pub(super) fn forest(judged: &Judged) -> Option<Markup> {
    let mut rows = vec![Row {
        name: "all settings",
        random: judged.random.as_ref(),
        nearest: judged.nearest.first(),
        is_all: true,
    }];
    let row = |setting: &'_ InSetting| setting.random.is_some() || !setting.nearest.is_empty();
    if judged.settings.len() > 1 {
        rows.extend(judged.settings.iter().filter(|setting| row(setting)).map(|setting| Row {
            name: &setting.name,
            random: setting.random.as_ref(),
            nearest: setting.nearest.first(),
            is_all: false,
        }));
    }
    let range = range(&rows)?;
    Some(html! { @for frame in [WIDE, NARROW] { (drawing(&rows, &frame, range)) } })
}

/// Points from the least to the most that is shown, 0 among them. A few wide intervals are cut, so that the others can
/// be read.
fn range(rows: &[Row<'_>]) -> Option<(f64, f64)> {
    let all = || rows.iter().flat_map(|row| [row.random, row.nearest]).flatten();
    let most = all().map(|contrast| contrast.difference.mean.abs()).reduce(f64::max)?;
    let mut ends: Vec<f64> = all().filter_map(|one| one.interval).map(|(low, high)| (high - low) / 2.0).collect();
    ends.sort_by(f64::total_cmp);
    let usual = ends.get(ends.len() * 3 / 4).copied().unwrap_or(0.0);
    let edge = (most + 1.2 * usual).max(0.005) * 100.0;
    let reach = |sign: f64| {
        let end = all().map(|one| {
            let (low, high) = one.interval.unwrap_or((one.difference.mean, one.difference.mean));
            if sign < 0.0 { -low } else { high }
        });
        end.map(|end| end * 100.0).fold(0.3, f64::max).min(edge)
    };
    Some((-1.08 * reach(-1.0), 1.08 * reach(1.0)))
}

fn drawing(rows: &[Row<'_>], frame: &Frame, range: (f64, f64)) -> Markup {
    let (left, right) = (frame.names + PAD, frame.width - PAD);
    let bottom = TOP + frame.row * rows.len() as f64;
    let x = |points: f64| left + (points - range.0) / (range.1 - range.0) * (right - left);
    let has_nearest = rows.iter().any(|row| row.nearest.is_some());
    html! {
        svg.chart.(frame.class) viewBox=(format!("0 0 {} {}", frame.width, px(bottom + BOTTOM))) role="img"
            aria-label="differences of mean accuracy over the budget, in points, with 95 % intervals" {
            @for tick in ticks(range.0, range.1, if frame.names > 0.0 { 8 } else { 5 }) {
                line.grid x1=(px(x(tick))) x2=(px(x(tick))) y1=(TOP) y2=(px(bottom)) {}
                text.tick x=(px(x(tick))) y=(px(bottom + 18.0)) text-anchor="middle" { (tick_text(tick)) }
            }
            line.zero x1=(px(x(0.0))) x2=(px(x(0.0))) y1=(TOP - 8.0) y2=(px(bottom)) {}
            text.tick x=(px(x(0.0) - 8.0)) y="12" text-anchor="end" { "← worse" }
            text.tick x=(px(x(0.0) + 8.0)) y="12" { "better →" }
            text.axis x=(px(f64::midpoint(left, right))) y=(px(bottom + 38.0)) text-anchor="middle" {
                "difference of mean accuracy over the budget, points"
            }
            @for (at, row) in rows.iter().enumerate() {
                @let top = TOP + frame.row * at as f64;
                @let middle = if frame.names > 0.0 { top + frame.row / 2.0 } else { top + frame.row * 0.68 };
                @if frame.names > 0.0 {
                    text.place.all[row.is_all] x=(px(frame.names)) y=(px(middle + 4.5)) text-anchor="end" { (row.name) }
                } @else {
                    text.place.all[row.is_all] x=(px(left)) y=(px(top + 17.0)) { (row.name) }
                }
                @if row.is_all && rows.len() > 1 {
                    line.rule x1="0" x2=(frame.width) y1=(px(top + frame.row)) y2=(px(top + frame.row)) {}
                }
                @let apart = if has_nearest { 5.5 } else { 0.0 };
                @if let Some(random) = row.random { (bar(random, middle - apart, &x, (left, right), "random-bar")) }
                @if let Some(nearest) = row.nearest { (bar(nearest, middle + apart, &x, (left, right), "nearest-bar")) }
            }
        }
    }
}

/// An interval with its mean, cut at the edges.
fn bar(contrast: &Contrast, y: f64, x: &impl Fn(f64) -> f64, edges: (f64, f64), class: &'static str) -> Markup {
    let finding = match contrast.finding {
        Finding::Better => "above",
        Finding::Worse => "below",
        Finding::Alike | Finding::Same => "alike",
        Finding::NotKnown => "open",
    };
    let place = |difference: f64| x(difference * 100.0).clamp(edges.0, edges.1);
    let mean = place(contrast.difference.mean);
    html! {
        g.bar.(class).(finding) {
            title { "against " (contrast.against) ": " (told(contrast)) }
            @if let Some((low, high)) = contrast.interval {
                line x1=(px(place(low))) x2=(px(place(high))) y1=(px(y)) y2=(px(y)) {}
            }
            @if class == "random-bar" {
                circle cx=(px(mean)) cy=(px(y)) r="5" {}
            } @else {
                rect x=(px(mean - 4.0)) y=(px(y - 4.0)) width="8" height="8"
                    transform=(format!("rotate(45 {} {})", px(mean), px(y))) {}
            }
        }
    }
}

/// The difference with its interval, in points.
fn told(contrast: &Contrast) -> String {
    let mean = points(contrast.difference.mean);
    match contrast.interval {
        None => mean,
        Some((low, high)) => format!("{mean} ({} to {})", points(low), points(high)),
    }
}
