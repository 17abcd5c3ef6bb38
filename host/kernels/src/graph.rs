//! Neighbours among rows, tile by tile: no object of rows x rows is made.

use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;

use querist_protocol::{Fault, Metric};

use crate::accelerator::{RowTerms, Wanted};
use crate::check;
use crate::control::{Control, Pacer};
use crate::distance::{Radius, block_rows, device_filter, each_within};
use crate::filter::Filter;
use crate::memory::{Charge, Charged, Growing};
use crate::points::{Points, finish};
use crate::workers::Workers;

/// Which rows are near each other.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Neighbours of the rows of each block of rows.
    blocks: Vec<Block>,
    block_rows: usize,
    rows: usize,
}

#[derive(Debug)]
struct Block {
    /// Where the neighbours of each row end.
    ends: Vec<usize>,
    neighbours: Growing<u32>,
}

impl Graph {
    /// Rows nearer than `radius`, strictly; each row is its own neighbour.
    pub(crate) fn within(workers: &Workers, points: &Points, radius: f64, metric: Metric) -> Result<Self, Fault> {
        points.check_metric(metric)?;
        check::argument(radius > 0.0, || {
            format!("the radius is {radius}, but it must be above 0: every row is its own neighbour")
        })?;
        let filter = device_filter(workers, points, points, metric)?;
        let block_rows = block_rows(filter.as_ref());
        let radius = Radius::new(metric, radius);
        let rows = points.len();
        let blocks = workers.map(rows.div_ceil(block_rows), |block| {
            let range = block * block_rows..((block + 1) * block_rows).min(rows);
            let mut lists = Vec::with_capacity(range.len());
            for _ in range.clone() {
                lists.push(Growing::new(workers.control())?);
            }
            each_within((filter.as_ref(), points, points), radius, range, workers.control(), |i, other| {
                lists[i].push(other as u32)
            })?;
            Block::joined(&lists, workers)
        })?;
        Ok(Self { blocks, block_rows, rows })
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The neighbours of a row, ascending. The caller has checked the row.
    pub(crate) fn neighbours(&self, row: usize) -> &[u32] {
        let block = &self.blocks[row / self.block_rows];
        let at = row % self.block_rows;
        let start = if at == 0 { 0 } else { block.ends[at - 1] };
        &block.neighbours[start..block.ends[at]]
    }
}

impl Block {
    fn joined(lists: &[Growing<u32>], workers: &Workers) -> Result<Self, Fault> {
        let mut neighbours = Growing::new(workers.control())?;
        neighbours.reserve(lists.iter().map(|list| list.len()).sum())?;
        let mut ends = Vec::with_capacity(lists.len());
        for list in lists {
            for &row in list.iter() {
                neighbours.push(row)?;
            }
            ends.push(neighbours.len());
        }
        Ok(Self { ends, neighbours })
    }
}

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
    workers.fill(&mut out, search.block_rows(), |start, out| {
        let nearest = search.of_block(start..start + out.len())?;
        for (out, nearest) in out.iter_mut().zip(nearest) {
            *out = nearest.iter().fold(0.0, |sum, near| sum + near.distance) / neighbours as f64;
        }
        Ok(())
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
    let mut found = Charged::filled(workers.control(), values, Near { distance: 0.0, row: 0 })?;
    workers.fill(&mut found, search.block_rows() * neighbours, |start, out| {
        let block = start / neighbours..(start + out.len()) / neighbours;
        for (place, near) in out.iter_mut().zip(search.of_block(block)?.into_iter().flatten()) {
            *place = near;
        }
        Ok(())
    })?;
    let mut numbers = Charged::filled(workers.control(), values, 0.0)?;
    let mut distances = Charged::filled(workers.control(), values, 0.0)?;
    for (at, near) in found.iter().enumerate() {
        (numbers[at], distances[at]) = (f64::from(near.row), near.distance);
    }
    Ok((numbers, distances))
}

/// A search for the nearest rows of some points, for blocks of others.
struct Search<'a> {
    workers: &'a Workers,
    rows: &'a Points,
    others: &'a Points,
    neighbours: usize,
    metric: Metric,
    /// Whether both are the same points, whose rows are no neighbours of themselves.
    is_own: bool,
    filter: Option<Filter<'a>>,
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
        Ok(Self { workers, rows, others, neighbours, metric, is_own, filter })
    }

    fn block_rows(&self) -> usize {
        block_rows(self.filter.as_ref())
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
                        pacer.spend(self.rows.width() + 1)?;
                        let raw = self.rows.raw_distance(self.metric, row, self.others, other);
                        nearest.offer(finish(self.metric, raw), other as u32);
                    }
                }
            }
        }
        Ok(nearest.into_iter().map(|nearest| nearest.exact.into_sorted_vec()).collect())
    }
}

/// A row and its distance, which is never NaN; farther ones are larger, and higher rows among equals.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Near {
    distance: f64,
    row: u32,
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
struct Closest {
    count: usize,
    exact: BinaryHeap<Near>,
    /// The k smallest upper bounds, in raw distance.
    highs: BinaryHeap<Ordered>,
    /// Rows that may be among the k nearest, with their lower bounds.
    open: Vec<(f64, u32)>,
}

impl Closest {
    fn new(count: usize) -> Self {
        Self { count, exact: BinaryHeap::new(), highs: BinaryHeap::new(), open: Vec::new() }
    }

    fn offer(&mut self, distance: f64, row: u32) {
        keep_smallest(&mut self.exact, Near { distance, row }, self.count);
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

fn keep_smallest<T: Ord>(heap: &mut BinaryHeap<T>, value: T, count: usize) {
    if heap.len() < count {
        heap.push(value);
    } else if let Some(mut top) = heap.peek_mut()
        && value < *top
    {
        *top = value;
    }
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
