//! Distances of rows to centres, reduced as they are made.

use std::sync::Arc;

use querist_protocol::{Fault, FaultCode, Metric, Reduction};

use crate::accelerator::{RowTerms, Wanted};
use crate::control::Pacer;
use crate::dots::{self, Dots};
use crate::filter::{Filter, TILE_ROWS, Tile};
use crate::memory::Charged;
use crate::points::{Points, cosine_distance, finish};
use crate::simd::for_each_cpu;
use crate::workers::Workers;

/// Distances of `rows` to `centres`, reduced row by row. The two fit each other.
pub(crate) fn reduce(
    workers: &Workers,
    rows: &Points,
    centres: &Points,
    metric: Metric,
    reduction: Reduction,
) -> Result<Charged<f64>, Fault> {
    rows.check_fit(centres, metric)?;
    if matches!(reduction, Reduction::Min | Reduction::Argmin) {
        crate::check::argument(centres.len() > 0, || "there is no nearest of no centres".to_owned())?;
    }
    let mut out = Charged::filled(workers.control(), rows.len(), 0.0)?;
    match reduction {
        Reduction::Min | Reduction::Argmin => {
            let (distances, numbers) = nearest(workers, rows, centres, metric)?;
            for (row, out) in out.iter_mut().enumerate() {
                *out = if reduction == Reduction::Min { distances[row] } else { f64::from(numbers[row]) };
            }
        }
        Reduction::Sum => sum(workers, rows, centres, metric, &mut out)?,
        Reduction::CountWithin(radius) => {
            crate::check::argument(!radius.is_nan(), || "the radius is NaN".to_owned())?;
            count_within(workers, rows, centres, metric, radius, &mut out)?;
        }
    }
    Ok(out)
}

/// Of a pair whose squared distance is a smaller share of both squared norms than this, differences are summed: in
/// norms and product that much would cancel.
const NEAR: f64 = 1.0 / 1024.0;

/// The sums are of all distances in the order of centres. A squared distance is `|x|² + |y|² - 2 x y` in them unless
/// the two are [`NEAR`], so that nothing but products of whole blocks grows with rows times centres times columns.
fn sum(workers: &Workers, rows: &Points, centres: &Points, metric: Metric, out: &mut [f64]) -> Result<(), Fault> {
    let plain = rows.as_plain().zip(centres.as_plain());
    let (x, y) = plain.ok_or_else(|| Fault::new(FaultCode::BadShape, "distances to outer products are not summed"))?;
    workers.fill(out, dots::left_block(rows.len(), rows.width()), |start, out| {
        let mut pacer = Pacer::new(workers.control());
        let mut dots = Dots::new(workers.control(), x, y)?;
        for some in dots::blocks(centres.len()) {
            let lines = dots.multiply(start..start + out.len(), some.clone(), &mut pacer)?;
            let norms = &centres.sq_norms()[some.clone()];
            for (row, line) in (start..).zip(&mut *lines) {
                let norm = rows.sq_norms()[row];
                match metric {
                    Metric::Cosine => to_cosine_distances(line, norms, norm),
                    _ if are_apart(line, norms, norm) => to_distances(line, norms, norm, metric),
                    _ => {
                        for ((dot, centre_norm), centre) in line.iter_mut().zip(norms).zip(some.clone()) {
                            let norms = norm + centre_norm;
                            let apart = Some(norms - 2.0 * *dot).filter(|&raw| raw >= NEAR * norms);
                            let near = || rows.raw_distance(metric, row, centres, centre);
                            *dot = finish(metric, apart.unwrap_or_else(near));
                        }
                    }
                }
            }
            add_lines(out, lines, some.len());
        }
        Ok(())
    })
}

for_each_cpu! {
    /// Whether a row is [`NEAR`] none of some centres.
    fn are_apart(dots: &[f64], centre_norms: &[f64], norm: f64) -> bool {
        dots.iter().zip(centre_norms).fold(true, |apart, (dot, centre)| {
            let norms = norm + centre;
            apart & (norms - 2.0 * dot >= NEAR * norms)
        })
    }
}

for_each_cpu! {
    /// Turns a row's products with centres that it is [`NEAR`] none of into distances.
    fn to_distances(dots: &mut [f64], centre_norms: &[f64], norm: f64, metric: Metric) {
        for (dot, centre) in dots.iter_mut().zip(centre_norms) {
            *dot = finish(metric, (norm + centre) - 2.0 * *dot);
        }
    }
}

for_each_cpu! {
    /// Turns a row's products with centres into cosine distances.
    fn to_cosine_distances(dots: &mut [f64], centre_norms: &[f64], norm: f64) {
        for (dot, &centre) in dots.iter_mut().zip(centre_norms) {
            *dot = cosine_distance(*dot, (norm, centre));
        }
    }
}

/// Adds the first `count` values of each line in order, of several lines at once: one sum waits for its last addition.
fn add_lines(sums: &mut [f64], lines: &[[f64; dots::SIDE]], count: usize) {
    let (sums, rest) = sums.as_chunks_mut::<4>();
    let (lines, rest_lines) = lines.as_chunks::<4>();
    for (sums, [a, b, c, d]) in sums.iter_mut().zip(lines) {
        for column in 0..count {
            *sums = [sums[0] + a[column], sums[1] + b[column], sums[2] + c[column], sums[3] + d[column]];
        }
    }
    for (sum, line) in rest.iter_mut().zip(rest_lines) {
        line[..count].iter().for_each(|value| *sum += value);
    }
}

/// A filter that finds candidates on the query's device, if it has one.
pub(crate) fn device_filter<'a>(
    workers: &Workers,
    rows: &'a Points,
    centres: &'a Points,
    metric: Metric,
) -> Result<Option<Filter<'a>>, Fault> {
    Filter::new(workers, rows, centres, metric)?.map(|filter| filter.on_device(workers)).transpose()
}

/// Rows that are looked at together, with a filter or without.
pub(crate) fn block_rows(filter: Option<&Filter<'_>>) -> usize {
    filter.map_or(TILE_ROWS, Filter::block_rows)
}

/// Distance to, and number of, the nearest centre of each row; the lowest among equals. There is a centre.
pub(crate) fn nearest(
    workers: &Workers,
    rows: &Points,
    centres: &Points,
    metric: Metric,
) -> Result<(Charged<f64>, Charged<u32>), Fault> {
    let control = workers.control();
    let mut distances = Charged::filled(control, rows.len(), f64::INFINITY)?;
    let mut numbers = Charged::filled(control, rows.len(), 0u32)?;
    let filter = device_filter(workers, rows, centres, metric)?;
    workers.fill_two((&mut distances, &mut numbers), block_rows(filter.as_ref()), |start, distances, numbers| {
        let mut pacer = Pacer::new(control);
        let mut best: Vec<Best> = (0..distances.len()).map(|_| Best::new()).collect();
        match &filter {
            Some(filter) => nearest_filtered(filter, start, &mut best, &mut pacer, control)?,
            None => {
                for (i, best) in best.iter_mut().enumerate() {
                    for centre in 0..centres.len() {
                        pacer.spend(rows.width() + 1)?;
                        best.offer(rows.raw_distance(metric, start + i, centres, centre), centre, metric);
                    }
                }
            }
        }
        for (i, best) in best.iter().enumerate() {
            (distances[i], numbers[i]) = (best.distance, best.centre);
        }
        Ok(())
    })?;
    Ok((distances, numbers))
}

/// The nearest centre of a row so far.
struct Best {
    distance: f64,
    centre: u32,
    /// No centre that matters has a raw distance above this.
    high: f64,
    /// Centres that may be nearer, ascending, with their lower bounds.
    open: Vec<(f64, u32)>,
}

impl Best {
    /// Open centres that are kept before they are settled.
    const MOST_OPEN: usize = 64;

    fn new() -> Self {
        Self { distance: f64::INFINITY, centre: 0, high: f64::INFINITY, open: Vec::new() }
    }

    /// Takes the exact raw distance of a centre above all that were offered before.
    fn offer(&mut self, raw: f64, centre: usize, metric: Metric) {
        let distance = finish(metric, raw);
        if distance < self.distance {
            (self.distance, self.centre) = (distance, centre as u32);
        }
        self.high = self.high.min(raw);
    }

    /// Computes what is still open.
    fn settle(&mut self, filter: &Filter<'_>, row: usize, pacer: &mut Pacer<'_>) -> Result<(), Fault> {
        for (low, centre) in std::mem::take(&mut self.open) {
            if low <= self.high {
                pacer.spend(filter.rows.width() + 1)?;
                let raw = filter.rows.raw_distance(filter.metric, row, filter.centres, centre as usize);
                self.offer(raw, centre as usize, filter.metric);
            }
        }
        Ok(())
    }
}

fn nearest_filtered(
    filter: &Filter<'_>,
    start: usize,
    best: &mut [Best],
    pacer: &mut Pacer<'_>,
    control: &Arc<crate::Control>,
) -> Result<(), Fault> {
    let terms: Vec<RowTerms> = (0..best.len()).map(|i| filter.row_terms(start + i)).collect();
    let block = start..start + best.len();
    if let Some(found) = filter.candidates(block.clone(), &terms, Wanted::Nearest(1), control)? {
        for (row, centre, low, high) in found.iter(&terms) {
            best[row].high = best[row].high.min(high);
            best[row].open.push((low, centre as u32));
        }
        return best.iter_mut().enumerate().try_for_each(|(i, best)| best.settle(filter, start + i, pacer));
    }
    let mut tile = filter.tile();
    for centres in filter.centre_blocks() {
        filter.multiply(&mut tile, block.clone(), centres, control)?;
        for (i, best) in best.iter_mut().enumerate() {
            best.high = best.high.min(terms[i].high + filter.smallest_high(&tile, i, &terms[i]));
            filter.each_low_up_to(&tile, i, &terms[i], best.high, |centre, low, _| {
                best.open.push((low, centre as u32));
                Ok(())
            })?;
            if best.open.len() > Best::MOST_OPEN {
                best.settle(filter, start + i, pacer)?;
            }
        }
    }
    for (i, best) in best.iter_mut().enumerate() {
        best.settle(filter, start + i, pacer)?;
    }
    Ok(())
}

/// Whether a pair is nearer than a radius.
pub(crate) enum Within {
    Yes,
    No,
    /// The bounds leave it open.
    Open,
}

/// A radius in raw distance, for bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Radius {
    pub(crate) metric: Metric,
    pub(crate) radius: f64,
    surely_within: f64,
    pub(crate) surely_outside: f64,
}

impl Radius {
    pub(crate) fn new(metric: Metric, radius: f64) -> Self {
        let raw = if metric == Metric::Euclidean { radius.max(0.0) * radius.max(0.0) } else { radius };
        let hair = if raw.is_finite() { raw.abs() * 1e-12 } else { 0.0 };
        Self { metric, radius, surely_within: raw - hair, surely_outside: raw + hair }
    }

    pub(crate) fn judge(&self, low: f64, high: f64) -> Within {
        if low > self.surely_outside {
            Within::No
        } else if high < self.surely_within {
            Within::Yes
        } else {
            Within::Open
        }
    }

    /// The definition.
    pub(crate) fn holds(&self, rows: &Points, row: usize, centres: &Points, centre: usize) -> bool {
        finish(self.metric, rows.raw_distance(self.metric, row, centres, centre)) < self.radius
    }
}

/// Calls `found(row in block, centre)` for each centre within the radius of each of a block of rows, centres ascending.
pub(crate) fn each_within(
    (filter, rows, centres): (Option<&Filter<'_>>, &Points, &Points),
    radius: Radius,
    block: std::ops::Range<usize>,
    control: &Arc<crate::Control>,
    mut found: impl FnMut(usize, usize) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut pacer = Pacer::new(control);
    let Some(filter) = filter else {
        for (i, row) in block.enumerate() {
            for centre in 0..centres.len() {
                pacer.spend(rows.width() + 1)?;
                if radius.holds(rows, row, centres, centre) {
                    found(i, centre)?;
                }
            }
        }
        return Ok(());
    };
    let terms: Vec<RowTerms> = block.clone().map(|row| filter.row_terms(row)).collect();
    let mut judge = |i: usize, centre: usize, low: f64, high: f64| {
        let within = match radius.judge(low, high) {
            Within::Yes => true,
            Within::No => false,
            Within::Open => {
                pacer.spend(rows.width() + 1)?;
                radius.holds(rows, block.start + i, centres, centre)
            }
        };
        if within { found(i, centre) } else { Ok(()) }
    };
    let wanted = Wanted::UpTo(radius.surely_outside);
    if let Some(found) = filter.candidates(block.clone(), &terms, wanted, control)? {
        return found.iter(&terms).try_for_each(|(i, centre, low, high)| judge(i, centre, low, high));
    }
    let mut tile: Tile = filter.tile();
    for centre_block in filter.centre_blocks() {
        filter.multiply(&mut tile, block.clone(), centre_block, control)?;
        for (i, terms) in terms.iter().enumerate() {
            filter.each_low_up_to(&tile, i, terms, radius.surely_outside, |centre, low, high| {
                judge(i, centre, low, high)
            })?;
        }
    }
    Ok(())
}

fn count_within(
    workers: &Workers,
    rows: &Points,
    centres: &Points,
    metric: Metric,
    radius: f64,
    out: &mut [f64],
) -> Result<(), Fault> {
    let filter = device_filter(workers, rows, centres, metric)?;
    let radius = Radius::new(metric, radius);
    workers.fill(out, block_rows(filter.as_ref()), |start, out| {
        let block = start..start + out.len();
        each_within((filter.as_ref(), rows, centres), radius, block, workers.control(), |i, _| {
            out[i] += 1.0;
            Ok(())
        })
    })
}
