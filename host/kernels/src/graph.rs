//! Neighbours among rows, tile by tile: no object of rows x rows is made.

use std::collections::BinaryHeap;
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
    let filter = device_filter(workers, points, points, metric)?;
    let mut out = Charged::filled(workers.control(), points.len(), 0.0)?;
    workers.fill(&mut out, block_rows(filter.as_ref()), |start, out| {
        let block = start..start + out.len();
        let mut nearest = Vec::with_capacity(out.len());
        for _ in 0..out.len() {
            nearest.push(Closest::new(neighbours));
        }
        // Two heaps of this length a row, and open rows of twice the length and a tile, at two words each.
        let words = neighbours.saturating_mul(6).saturating_add(2048);
        let _room = Charge::of::<f64>(workers.control(), out.len().saturating_mul(words))?;
        match &filter {
            Some(filter) => closest_filtered(filter, block, &mut nearest, workers.control())?,
            None => {
                let mut pacer = Pacer::new(workers.control());
                for (row, nearest) in block.zip(&mut nearest) {
                    for other in (0..points.len()).filter(|&other| other != row) {
                        pacer.spend(points.width() + 1)?;
                        nearest.offer(finish(metric, points.raw_distance(metric, row, points, other)));
                    }
                }
            }
        }
        for (out, nearest) in out.iter_mut().zip(nearest) {
            *out = nearest.mean();
        }
        Ok(())
    })?;
    Ok(out)
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

/// The k smallest of a row's distances.
struct Closest {
    count: usize,
    exact: BinaryHeap<Ordered>,
    /// The k smallest upper bounds, in raw distance.
    highs: BinaryHeap<Ordered>,
    /// Rows that may be among the k nearest, with their lower bounds.
    open: Vec<(f64, u32)>,
}

impl Closest {
    fn new(count: usize) -> Self {
        Self { count, exact: BinaryHeap::new(), highs: BinaryHeap::new(), open: Vec::new() }
    }

    fn offer(&mut self, distance: f64) {
        keep_smallest(&mut self.exact, distance, self.count);
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
            self.offer(finish(filter.metric, raw));
        }
        Ok(())
    }

    fn mean(self) -> f64 {
        let count = self.count as f64;
        self.exact.into_sorted_vec().into_iter().fold(0.0, |sum, distance| sum + distance.0) / count
    }
}

fn keep_smallest(heap: &mut BinaryHeap<Ordered>, value: f64, count: usize) {
    if heap.len() < count {
        heap.push(Ordered(value));
    } else if let Some(mut top) = heap.peek_mut()
        && value < top.0
    {
        *top = Ordered(value);
    }
}

fn closest_filtered(
    filter: &Filter<'_>,
    block: std::ops::Range<usize>,
    nearest: &mut [Closest],
    control: &Arc<Control>,
) -> Result<(), Fault> {
    let mut pacer = Pacer::new(control);
    let terms: Vec<RowTerms> = block.clone().map(|row| filter.row_terms(row)).collect();
    // One more than are wanted, because a row is near itself.
    let wanted = Wanted::Nearest(nearest.first().map_or(1, |nearest| nearest.count + 1));
    if let Some(found) = filter.candidates(block.clone(), &terms, wanted, control)? {
        for (i, other, low, high) in found.iter(&terms).filter(|&(i, other, ..)| other != block.start + i) {
            keep_smallest(&mut nearest[i].highs, high, nearest[i].count);
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
                if other != row {
                    keep_smallest(&mut nearest.highs, high, nearest.count);
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
