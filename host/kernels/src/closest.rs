//! The k nearest rows of others for each row.

use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use querist_protocol::{Fault, FaultCode, Metric};

use crate::accelerator::{RowTerms, Wanted};
use crate::check;
use crate::codes::Codes;
use crate::control::{Control, Pacer};
use crate::distance::{block_rows, device_filter};
use crate::filter::{Filter, TILE_ROWS};
use crate::memory::{Charge, Charged};
use crate::points::{Points, finish};
use crate::shortlist::Shortlist;
use crate::workers::Workers;

/// Mean distance of each row to its `neighbours` nearest other rows, added from the nearest on.
pub(crate) fn neighbour_distance(
    workers: &Workers,
    points: &Points,
    neighbours: usize,
    metric: Metric,
) -> Result<Charged<f64>, Fault> {
    points.check_metric(metric)?;
    check::argument((1..points.len()).contains(&neighbours), || {
        format!(
            "asked for {neighbours} nearest other rows of {} rows; at least 1 and fewer than the rows",
            points.len()
        )
    })?;
    let search = Search::new(workers, points, points, neighbours, metric, true)?;
    let mut out = Charged::filled(workers.control(), points.len(), 0.0)?;
    let mut nothing = vec![(); points.len()];
    search.each((&mut out, &mut nothing), 1, |out, _, nearest| {
        out[0] = nearest.iter().fold(0.0, |sum, near| sum + near.distance) / neighbours as f64;
    })?;
    Ok(out)
}

/// Numbers and distances of the `neighbours` nearest of `others` for each row, both `[rows * neighbours]`: the nearest
/// first, the lower row among equals.
pub(crate) fn nearest_rows(
    workers: &Workers,
    rows: &Points,
    others: &Points,
    neighbours: usize,
    metric: Metric,
) -> Result<(Charged<f64>, Charged<f64>), Fault> {
    others.check_fit(rows, metric)?;
    check::argument((1..=others.len()).contains(&neighbours), || {
        format!("asked for {neighbours} nearest rows of {}; at least 1 and no more than there are", others.len())
    })?;
    let search = Search::new(workers, rows, others, neighbours, metric, false)?;
    let values = check::product(rows.len(), neighbours)?;
    let mut numbers = Charged::filled(workers.control(), values, 0.0)?;
    let mut distances = Charged::filled(workers.control(), values, 0.0)?;
    search.each((&mut numbers, &mut distances), neighbours, |numbers, distances, nearest| {
        for ((number, distance), near) in numbers.iter_mut().zip(distances).zip(nearest) {
            (*number, *distance) = (f64::from(near.row), near.distance);
        }
    })?;
    Ok((numbers, distances))
}

/// Blocks of rows of one task with a shortlist, which share its memory.
const BLOCKS: usize = 4;
/// Rows of the trial: so many short blocks, from everywhere.
const TRIAL: (usize, usize) = (8, 8);
/// Others that a trial may leave on the shortlist, as a share of all: each costs as much as some ten products.
const LONGEST: f64 = 0.1;
/// Columns that the codes are worth it for.
const FEWEST_COLUMNS: usize = 64;
/// Squared norms within which nothing overflows or underflows in single precision.
const NORMS: Range<f64> = 1e-16..1e16;

/// A search for the nearest rows of some points.
pub(crate) struct Search<'a> {
    pub(crate) workers: &'a Workers,
    pub(crate) rows: &'a Points,
    pub(crate) others: &'a Points,
    pub(crate) neighbours: usize,
    pub(crate) metric: Metric,
    /// Whether both are the same points, whose rows are no neighbours of themselves.
    pub(crate) is_own: bool,
    filter: Option<Filter<'a>>,
    /// Codes of the others, where a shortlist by them pays.
    codes: Option<Codes>,
}

impl<'a> Search<'a> {
    fn new(
        workers: &'a Workers,
        rows: &'a Points,
        others: &'a Points,
        neighbours: usize,
        metric: Metric,
        is_own: bool,
    ) -> Result<Self, Fault> {
        let filter = device_filter(workers, rows, others, metric)?;
        let mut search = Self { workers, rows, others, neighbours, metric, is_own, filter, codes: None };
        if search.filter.as_ref().is_some_and(|filter| !filter.has_device()) {
            search.codes = match search.worthwhile_codes() {
                // Without room for them the search is slower and otherwise the same.
                Err(fault) if fault.code == FaultCode::Quota => None,
                codes => codes?,
            };
        }
        Ok(search)
    }

    /// Codes of the others, if a trial says that they leave short lists.
    fn worthwhile_codes(&self) -> Result<Option<Codes>, Fault> {
        let (blocks, length) = TRIAL;
        let (Some(_), Some(others)) = (self.rows.as_plain(), self.others.as_plain()) else { return Ok(None) };
        let (largest, largest_other) = (self.rows.largest_norms().whole, self.others.largest_norms().whole);
        // The codes and the trial should be lost in the whole.
        let many = self.rows.len() >= 16 * blocks * length && self.others.len() >= 32 * self.neighbours.max(16);
        let in_range = NORMS.contains(&largest_other) && largest < NORMS.end;
        let fit = in_range && self.metric != Metric::Cosine && !self.others.are_far();
        if !many || !fit || others.columns() < FEWEST_COLUMNS || !Codes::are_fast(others.columns()) {
            return Ok(None);
        }
        let codes = Codes::new(self.workers, others)?;
        let looked_at = self.workers.map(blocks, |at| {
            let first = at * (self.rows.len() - length) / blocks;
            let mut shortlist = Shortlist::new(self, &codes)?;
            shortlist.nearest(first..first + length)?;
            Ok(shortlist.looked_at)
        })?;
        let looked_at: usize = looked_at.iter().sum();
        let pairs = blocks * length * self.others.len();
        Ok((looked_at as f64 <= LONGEST * pairs as f64).then_some(codes))
    }

    /// Calls `write(places, other places, nearest)`, the nearest first, for each row; so many places are a row's.
    fn each<A: Send, B: Send>(
        &self,
        out: (&mut [A], &mut [B]),
        places: usize,
        write: impl Fn(&mut [A], &mut [B], &[Near]) + Sync,
    ) -> Result<(), Fault> {
        let write_all = |a: &mut [A], b: &mut [B], found: Vec<Vec<Near>>| {
            for ((a, b), nearest) in a.chunks_exact_mut(places).zip(b.chunks_exact_mut(places)).zip(found) {
                write(a, b, &nearest);
            }
        };
        let Some(codes) = &self.codes else {
            return self.workers.fill_two(out, block_rows(self.filter.as_ref()) * places, |start, a, b| {
                write_all(a, b, self.of_block(start / places..(start + a.len()) / places)?);
                Ok(())
            });
        };
        self.workers.fill_two(out, BLOCKS * TILE_ROWS * places, |start, a, b| {
            let mut shortlist = Shortlist::new(self, codes)?;
            let parts = a.chunks_mut(TILE_ROWS * places).zip(b.chunks_mut(TILE_ROWS * places));
            for ((a, b), first) in parts.zip((start / places..).step_by(TILE_ROWS)) {
                write_all(a, b, shortlist.nearest(first..first + a.len() / places)?);
            }
            Ok(())
        })
    }

    /// The nearest of each row of a block, the nearest first.
    fn of_block(&self, block: Range<usize>) -> Result<Vec<Vec<Near>>, Fault> {
        let mut nearest: Vec<Closest> = block.clone().map(|_| Closest::new(self.neighbours)).collect();
        // Two heaps of this length a row, and open rows of twice the length and a tile, at two words each.
        let words = self.neighbours.saturating_mul(8).saturating_add(2048);
        let _room = Charge::of::<f64>(self.workers.control(), block.len().saturating_mul(words))?;
        match &self.filter {
            Some(filter) => closest_filtered(filter, self.is_own, block, &mut nearest, self.workers.control())?,
            None => {
                let mut pacer = Pacer::new(self.workers.control());
                for (row, nearest) in block.zip(&mut nearest) {
                    for other in (0..self.others.len()).filter(|&other| !self.is_own || other != row) {
                        nearest.look_at(self, row, other, &mut pacer)?;
                    }
                }
            }
        }
        Ok(nearest.into_iter().map(|nearest| nearest.exact.into_sorted_vec()).collect())
    }
}

/// A row and its distance, which is never NaN; farther ones are larger, and higher rows among equals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Near {
    pub(crate) distance: f64,
    pub(crate) row: u32,
}

impl Eq for Near {}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.row.cmp(&other.row))
    }
}

/// A number that is never NaN.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// The k nearest of a row.
pub(crate) struct Closest {
    pub(crate) count: usize,
    pub(crate) exact: BinaryHeap<Near>,
    /// The k smallest upper bounds, in raw distance.
    highs: BinaryHeap<Ordered>,
    /// Rows that may be among the k nearest, with their lower bounds.
    open: Vec<(f64, u32)>,
}

impl Closest {
    pub(crate) fn new(count: usize) -> Self {
        Self { count, exact: BinaryHeap::new(), highs: BinaryHeap::new(), open: Vec::new() }
    }

    /// Offers a row by its distance; whether it is among the nearest so far.
    pub(crate) fn look_at(
        &mut self,
        search: &Search<'_>,
        row: usize,
        other: usize,
        pacer: &mut Pacer<'_>,
    ) -> Result<bool, Fault> {
        pacer.spend(search.rows.width() + 1)?;
        let raw = search.rows.raw_distance(search.metric, row, search.others, other);
        Ok(self.offer(finish(search.metric, raw), other as u32))
    }

    fn offer(&mut self, distance: f64, row: u32) -> bool {
        keep_smallest(&mut self.exact, Near { distance, row }, self.count)
    }

    /// The raw distance beyond which no row is among the nearest.
    pub(crate) fn raw_limit(&self, metric: Metric) -> f64 {
        let farthest = self.exact.peek().filter(|_| self.exact.len() == self.count);
        farthest.map_or(f64::INFINITY, |near| match metric {
            Metric::Euclidean => near.distance * near.distance,
            _ => near.distance,
        })
    }

    /// No row whose lower bound is above this is among the nearest.
    fn limit(&self) -> f64 {
        if self.highs.len() < self.count { f64::INFINITY } else { self.highs.peek().map_or(f64::INFINITY, |top| top.0) }
    }

    fn drop_far(&mut self) {
        let limit = self.limit();
        self.open.retain(|&(low, _)| low <= limit);
    }

    fn settle(&mut self, filter: &Filter<'_>, row: usize, pacer: &mut Pacer<'_>) -> Result<(), Fault> {
        self.drop_far();
        for (_, other) in std::mem::take(&mut self.open) {
            pacer.spend(filter.rows.width() + 1)?;
            let raw = filter.rows.raw_distance(filter.metric, row, filter.centres, other as usize);
            self.offer(finish(filter.metric, raw), other);
        }
        Ok(())
    }
}

/// Whether the value is among the smallest.
pub(crate) fn keep_smallest<T: Ord>(heap: &mut BinaryHeap<T>, value: T, count: usize) -> bool {
    if heap.len() < count {
        heap.push(value);
        return true;
    }
    let Some(mut top) = heap.peek_mut().filter(|top| value < **top) else { return false };
    *top = value;
    true
}

fn closest_filtered(
    filter: &Filter<'_>,
    is_own: bool,
    block: Range<usize>,
    nearest: &mut [Closest],
    control: &Arc<Control>,
) -> Result<(), Fault> {
    let mut pacer = Pacer::new(control);
    let terms: Vec<RowTerms> = block.clone().map(|row| filter.row_terms(row)).collect();
    // Of its own points, a row is the nearest to itself.
    let wanted = Wanted::Nearest(nearest.first().map_or(1, |nearest| nearest.count + usize::from(is_own)));
    if let Some(found) = filter.candidates(block.clone(), &terms, wanted, control)? {
        for (i, other, low, high) in found.iter(&terms).filter(|&(i, other, ..)| !is_own || other != block.start + i) {
            let count = nearest[i].count;
            keep_smallest(&mut nearest[i].highs, Ordered(high), count);
            nearest[i].open.push((low, other as u32));
        }
        let settle = |(i, nearest): (usize, &mut Closest)| nearest.settle(filter, block.start + i, &mut pacer);
        return nearest.iter_mut().enumerate().try_for_each(settle);
    }
    let mut tile = filter.tile();
    for centres in filter.centre_blocks() {
        filter.multiply(&mut tile, block.clone(), centres, control)?;
        for (i, nearest) in nearest.iter_mut().enumerate() {
            let row = block.start + i;
            filter.each_low_up_to(&tile, i, &terms[i], nearest.limit(), |other, low, high| {
                if !is_own || other != row {
                    keep_smallest(&mut nearest.highs, Ordered(high), nearest.count);
                    nearest.open.push((low, other as u32));
                }
                Ok(())
            })?;
            // Rows that tie by the thousand are settled before their list outgrows its room.
            nearest.drop_far();
            if nearest.open.len() > 2 * nearest.count + 256 {
                nearest.settle(filter, row, &mut pacer)?;
            }
        }
    }
    for (i, nearest) in nearest.iter_mut().enumerate() {
        nearest.settle(filter, block.start + i, &mut pacer)?;
    }
    Ok(())
}
