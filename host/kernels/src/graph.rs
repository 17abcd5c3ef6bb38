//! Neighbours among rows, tile by tile: no object of rows x rows is made.

use querist_protocol::{Fault, Metric};

use crate::check;
use crate::distance::{Radius, block_rows, device_filter, each_within};
use crate::memory::Growing;
use crate::points::Points;
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
