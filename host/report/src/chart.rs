//! Curves as inline SVG, which needs no script and can be printed.

use maud::{Markup, html};

use crate::analysis::Point;

/// Hues of the style sheet for groups after the first, which is grey.
const HUES: usize = 7;
/// Dash patterns, so that the chart reads without colour; with the hues they tell 56 groups apart.
const DASHES: [&str; 8] = ["", "8 4", "2 4", "10 4 2 4", "5 2", "1 3", "12 3 2 3 2 3", "4 6"];

/// The class and dash of the group at a position.
pub(crate) fn style(at: usize) -> (String, &'static str) {
    let hue = if at == 0 { 0 } else { 1 + (at - 1) % HUES };
    (format!("hue{hue}"), DASHES[at % DASHES.len()])
}

/// One curve of a chart.
pub(crate) struct Line<'a> {
    /// Position of its group, which decides its looks.
    pub at: usize,
    pub label: &'a str,
    /// Places on the horizontal axis, one a point, ascending.
    pub x: &'a [f64],
    pub points: &'a [Point],
}

impl Line<'_> {
    fn places(&self) -> impl DoubleEndedIterator<Item = (f64, &Point)> {
        self.x.iter().copied().zip(self.points)
    }
}

/// Size of a chart and whether names stand at the ends of the curves.
pub(crate) struct Frame {
    pub width: f64,
    pub height: f64,
    pub names: bool,
    /// Class that the style sheet shows or hides by the width of the screen.
    pub class: &'static str,
}

/// A chart for screens, with names at the curves.
pub(crate) const WIDE: Frame = Frame { width: 900.0, height: 440.0, names: true, class: "wide" };
/// A chart for telephones.
pub(crate) const NARROW: Frame = Frame { width: 380.0, height: 300.0, names: false, class: "narrow" };

const LEFT: f64 = 52.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 44.0;
/// Pixels between names at the ends of curves.
const NAME_STEP: f64 = 17.0;

/// Maps data to pixels.
struct Scale {
    x: (f64, f64),
    y: (f64, f64),
    right: f64,
    bottom: f64,
}

impl Scale {
    fn x(&self, labelled: f64) -> f64 {
        LEFT + (labelled - self.x.0) / (self.x.1 - self.x.0) * (self.right - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom - (value - self.y.0) / (self.y.1 - self.y.0) * (self.bottom - TOP)
    }
}

/// The curves with the bands of their t intervals; nothing where there is no point. Values are multiplied by `unit`,
/// such as 100 for percentages.
pub(crate) fn chart(lines: &[Line<'_>], frame: &Frame, x_label: &str, y_label: &str, unit: f64) -> Option<Markup> {
    let longest = lines.iter().map(|line| line.label.chars().count()).max()?.min(24);
    let margin = if frame.names { 16.0 + 9.0 * longest as f64 } else { 14.0 };
    let (x, y) = ranges(lines)?;
    let scale = Scale { x, y, right: frame.width - margin, bottom: frame.height - BOTTOM };
    let middle = (LEFT + scale.right) / 2.0;
    Some(html! {
        svg.chart.(frame.class) viewBox=(format!("0 0 {} {}", frame.width, frame.height)) role="img"
            aria-label=(format!("{y_label}, against {x_label}")) {
            @for tick in ticks(scale.y.0, scale.y.1, 6) {
                line.grid x1=(LEFT) x2=(px(scale.right)) y1=(px(scale.y(tick))) y2=(px(scale.y(tick))) {}
                text.tick x=(LEFT - 8.0) y=(px(scale.y(tick) + 4.0)) text-anchor="end" { (tick_text(tick * unit)) }
            }
            @for tick in ticks(scale.x.0, scale.x.1, if frame.names { 8 } else { 4 }) {
                line.grid x1=(px(scale.x(tick))) x2=(px(scale.x(tick))) y1=(TOP) y2=(px(scale.bottom)) {}
                text.tick x=(px(scale.x(tick))) y=(px(scale.bottom + 18.0)) text-anchor="middle" { (tick_text(tick)) }
            }
            text.axis x=(px(middle)) y=(px(frame.height - 6.0)) text-anchor="middle" { (x_label) }
            text.axis x="0" y="0" text-anchor="middle"
                transform=(format!("translate(12 {}) rotate(-90)", px((TOP + scale.bottom) / 2.0))) { (y_label) }
            @if scale.y.0 < 0.0 && scale.y.1 > 0.0 {
                line.zero x1=(LEFT) x2=(px(scale.right)) y1=(px(scale.y(0.0))) y2=(px(scale.y(0.0))) {}
            }
            // A drawing inside the drawing shows nothing beyond its edges, where wide intervals go.
            @let (width, height) = (px(scale.right - LEFT), px(scale.bottom - TOP));
            svg x=(LEFT) y=(TOP) width=(width) height=(height) viewBox=(format!("{LEFT} {TOP} {width} {height}")) {
                @for line in lines { (band(line, &scale)) }
            }
            @for line in lines { (curve(line, &scale, unit)) }
            @if frame.names { (names(lines, &scale)) }
        }
    })
}

fn band(line: &Line<'_>, scale: &Scale) -> Markup {
    let edge = |sign: f64| {
        move |(x, point): (f64, &Point)| {
            let value = point.accuracy.mean + sign * point.half_width?;
            Some(format!("{},{}", px(scale.x(x)), px(scale.y(value))))
        }
    };
    let upper: Vec<String> = line.places().filter_map(edge(1.0)).collect();
    let lower: Vec<String> = line.places().rev().filter_map(edge(-1.0)).collect();
    html! {
        @if upper.len() > 1 {
            polygon.band.(style(line.at).0) points=(format!("{} {}", upper.join(" "), lower.join(" "))) {}
        }
    }
}

fn curve(line: &Line<'_>, scale: &Scale, unit: f64) -> Markup {
    let (hue, dash) = style(line.at);
    let place = |(x, point): (f64, &Point)| (px(scale.x(x)), px(scale.y(point.accuracy.mean)));
    let path: Vec<String> = line.places().map(place).map(|(x, y)| format!("{x},{y}")).collect();
    html! {
        g.(hue) {
            polyline.curve points=(path.join(" ")) stroke-dasharray=[Some(dash).filter(|dash| !dash.is_empty())] {
                title { (line.label) }
            }
            @for (at, point) in line.places() {
                @let (x, y) = place((at, point));
                circle.dot cx=(x) cy=(y) r="3" {
                    title { (line.label) ", " (tick_text(at)) ": " (value_text(point, unit)) }
                }
            }
        }
    }
}

/// A value with half of its interval, and over how many seeds.
fn value_text(point: &Point, unit: f64) -> String {
    let half = point.half_width.map(|half| format!(" ± {:.2}", half * unit)).unwrap_or_default();
    format!("{:.2}{half}, n={}", point.accuracy.mean * unit, point.accuracy.n)
}

/// Names at the ends of the curves, moved apart where ends are close.
fn names(lines: &[Line<'_>], scale: &Scale) -> Markup {
    let end = |line: &Line<'_>| {
        let (x, last) = line.places().next_back()?;
        Some((line.at, scale.x(x), scale.y(last.accuracy.mean), line.label.to_owned()))
    };
    let mut ends: Vec<_> = lines.iter().filter_map(end).collect();
    ends.sort_by(|a, b| a.2.total_cmp(&b.2));
    let places = spread_out(&ends.iter().map(|end| end.2).collect::<Vec<_>>(), scale.bottom);
    html! {
        @for ((at, x, y, label), place) in ends.into_iter().zip(places) {
            @let is_long = label.chars().count() > 24;
            @let text: String = if is_long { label.chars().take(23).chain(['…']).collect() } else { label };
            line.leader.(style(at).0) x1=(px(x + 4.0)) y1=(px(y)) x2=(px(scale.right + 8.0)) y2=(px(place)) {}
            text.name.(style(at).0) x=(px(scale.right + 12.0)) y=(px(place + 4.0)) { (text) }
        }
    }
}

/// Ascending places at least a step apart, near the wanted ones and above `bottom` where there is room.
fn spread_out(wanted: &[f64], bottom: f64) -> Vec<f64> {
    let mut places = wanted.to_vec();
    let mut lowest = f64::INFINITY.min(bottom);
    for place in places.iter_mut().rev() {
        *place = place.min(lowest);
        lowest = *place - NAME_STEP;
    }
    // Pushed out at the top: start there and go down.
    let mut highest = TOP;
    for place in &mut places {
        *place = place.max(highest);
        highest = *place + NAME_STEP;
    }
    places
}

type Range = (f64, f64);

/// Ranges of both axes, the vertical one widened a little.
fn ranges(lines: &[Line<'_>]) -> Option<(Range, Range)> {
    let points = || lines.iter().flat_map(|line| line.points);
    let places = || lines.iter().flat_map(|line| line.x.iter().copied());
    let half = |point: &Point| point.half_width.unwrap_or(0.0);
    let mean = |point: &Point| point.accuracy.mean;
    // Two seeds may have an interval of many times what is measured; it must not flatten the curves.
    let (lowest, highest) = (points().map(mean).reduce(f64::min)?, points().map(mean).reduce(f64::max)?);
    let room = (highest - lowest).max(0.02);
    let low = points().map(|point| mean(point) - half(point)).reduce(f64::min)?.max(lowest - room);
    let high = points().map(|point| mean(point) + half(point)).reduce(f64::max)?.min(highest + room);
    let (first, last) = (places().reduce(f64::min)?, places().reduce(f64::max)?);
    let pad = ((high - low) * 0.04).max(0.002);
    let last = if last > first { last } else { first + 1.0 };
    Some(((first, last), (if lowest < 0.0 { low - pad } else { (low - pad).max(0.0) }, high + pad)))
}

/// At most `count` round numbers within a range.
pub(crate) fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let rough = (high - low) / count as f64;
    if !(rough > 0.0 && rough.is_finite()) {
        return Vec::new();
    }
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|&step| step >= rough * 0.999);
    let step = step.unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    let ticks = (0..=2 * count as i64).map(|n| first.saturating_add(n) as f64 * step);
    ticks.take_while(|&tick| tick <= high + step * 1e-9).collect()
}

pub(crate) fn tick_text(value: f64) -> String {
    // The shortest text of a number that was made of tenths.
    format!("{}", (value * 100.0).round() / 100.0)
}

/// Pixels with a digit after the point.
pub(crate) fn px(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.0, 100.0, 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(20.0, 300.0, 8), [50.0, 100.0, 150.0, 200.0, 250.0, 300.0]);
        assert_eq!(
            (ticks(7.0, 7.0, 8), ticks(0.0, f64::INFINITY, 8), ticks(f64::NAN, 1.0, 8)),
            (vec![], vec![], vec![])
        );
        assert!(ticks(1e18, 1e18 + 1024.0, 8).len() <= 17 && ticks(-1e300, 1e300, 8).len() <= 17);
        assert_eq!(ticks(0.957, 0.981, 6).first().map(|t| tick_text(t * 100.0)), Some("96".to_owned()));
    }

    #[test]
    fn no_two_of_56_groups_look_alike() {
        let styles: std::collections::BTreeSet<_> = (0..56).map(style).collect();
        assert_eq!(styles.len(), 56);
    }

    #[test]
    fn names_do_not_overlap_and_keep_their_order() {
        let places = spread_out(&[20.0, 21.0, 22.0, 395.0, 396.0], 396.0);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= NAME_STEP - 1e-9), "{places:?}");
        assert!(places[0] >= TOP && places[4] <= 396.0, "{places:?}");
        assert_eq!(spread_out(&[50.0, 90.0], 396.0), [50.0, 90.0]);
    }
}
