//! The nearest rows of a block through a shortlist by codes of eight bits.
//!
//! The rows that are nearest by their codes set the limit of a row, and what may lie within it is looked at: in single
//! precision first, which leaves little more than the nearest themselves for the exact distance.

use std::collections::BinaryHeap;
use std::ops::Range;

use querist_protocol::Fault;

use crate::closest::{Closest, Near, Search, keep_smallest};
use crate::codes::{Block, Coded, Codes, TILE_OTHERS};
use crate::control::Pacer;
use crate::filter::TILE_ROWS;
use crate::memory::Charge;
use crate::points::Norms;

/// Tiles of products that are held at once.
const TILES: usize = 8;

/// The search of blocks of rows. Its memory serves one block after the other.
pub(crate) struct Shortlist<'a> {
    by: ByCodes<'a>,
    block: Block,
    tiles: Vec<Vec<f32>>,
    pacer: Pacer<'a>,
    /// Distances that were computed, in single precision or exactly.
    pub(crate) looked_at: usize,
    _room: Charge,
}

/// What is searched, and the codes of the others.
#[derive(Clone, Copy)]
struct ByCodes<'a> {
    search: &'a Search<'a>,
    codes: &'a Codes,
    /// Largest squared norm of the others.
    norms: Norms,
}

/// Products of a block of rows with the codes of some others.
struct Tile<'a> {
    products: &'a [f32],
    others: Range<usize>,
    error: f64,
}

/// A row whose nearest are looked for.
struct Row {
    row: usize,
    coded: Coded,
    nearest: Closest,
    /// The last of those that set its limit: these were looked at.
    last_seed: Option<Near>,
    /// The raw distance of the farthest of its nearest so far.
    reach: f64,
    /// How far raw distances may be wrong.
    rounding: f64,
}

impl<'a> Shortlist<'a> {
    pub(crate) fn new(search: &'a Search<'a>, codes: &'a Codes) -> Result<Self, Fault> {
        let control = search.workers.control();
        let tiles = search.others.len().div_ceil(TILE_OTHERS).min(TILES);
        let size = TILE_ROWS * TILE_OTHERS;
        let heaps = search.neighbours.saturating_mul(8 * TILE_ROWS);
        let room = Charge::of::<f32>(control, tiles * size + TILE_ROWS * search.rows.width() / 4 + heaps)?;
        Ok(Self {
            by: ByCodes { search, codes, norms: search.others.largest_norms() },
            block: Block::default(),
            tiles: vec![vec![0.0; size]; tiles],
            pacer: Pacer::new(control),
            looked_at: 0,
            _room: room,
        })
    }

    /// The nearest of each row of a block, at most [`TILE_ROWS`], the nearest first.
    pub(crate) fn nearest(&mut self, rows: Range<usize>) -> Result<Vec<Vec<Near>>, Fault> {
        let Self { by, block, tiles, pacer, looked_at, .. } = self;
        by.encode(rows.clone(), block);
        let mut open: Vec<Row> = rows.zip(&block.rows).map(|(row, &coded)| by.row(row, coded)).collect();
        let count = by.search.others.len();
        for first in (0..count).step_by(TILES * TILE_OTHERS) {
            let starts = (first..count).step_by(TILE_OTHERS);
            let mut here = Vec::with_capacity(TILES);
            for (products, start) in tiles.iter_mut().zip(starts) {
                by.search.workers.control().check()?;
                let others = start..count.min(start + TILE_OTHERS);
                by.codes.multiply(block, others.clone(), products);
                here.push(Tile { products, others, error: by.codes.errors[start / TILE_OTHERS] });
            }
            for (i, row) in open.iter_mut().enumerate() {
                *looked_at += by.seed(&here, i, row, pacer)?;
            }
            // Tile by tile, whose others stay in a cache while one row after the other looks at some of them.
            for tile in &here {
                for (i, row) in open.iter_mut().enumerate() {
                    *looked_at += by.look(tile, i, row, pacer)?;
                }
            }
        }
        Ok(open.into_iter().map(|row| row.nearest.exact.into_sorted_vec()).collect())
    }
}

impl Tile<'_> {
    fn products(&self, i: usize) -> &[f32] {
        &self.products[i * self.others.len()..][..self.others.len()]
    }
}

impl ByCodes<'_> {
    fn encode(&self, rows: Range<usize>, block: &mut Block) {
        if let Some(matrix) = self.search.rows.as_plain() {
            self.codes.encode(matrix, rows, block);
        }
    }

    fn row(&self, row: usize, coded: Coded) -> Row {
        let search = self.search;
        Row {
            row,
            coded,
            nearest: Closest::new(search.neighbours),
            last_seed: None,
            reach: f64::INFINITY,
            rounding: 2.0 * search.rows.largest_rounding(search.metric, row, &self.norms),
        }
    }

    /// No other of a tile whose squared distance by codes is above this is within reach of a row.
    fn limit(&self, tile: &Tile<'_>, row: &Row) -> f64 {
        let distance = (row.reach + row.rounding).sqrt() + row.coded.error + tile.error;
        distance * distance * (1.0 + 1e-12) + 2.0 * self.codes.rounding(&row.coded)
    }

    /// Looks at as many others as are wanted, those with the lowest bounds in some tiles, unless as many are known.
    fn seed(&self, tiles: &[Tile<'_>], i: usize, row: &mut Row, pacer: &mut Pacer<'_>) -> Result<usize, Fault> {
        row.last_seed = None;
        if row.nearest.exact.len() == row.nearest.count {
            return Ok(0);
        }
        let seeds = self.lowest(tiles, i, row)?;
        row.last_seed = seeds.peek().copied();
        for seed in &seeds {
            row.nearest.look_at(self.search, row.row, seed.row as usize, pacer)?;
        }
        row.reach = row.nearest.raw_limit(self.search.metric);
        Ok(seeds.len())
    }

    /// As many others as are wanted with the lowest bounds, the lower row among equals.
    fn lowest(&self, tiles: &[Tile<'_>], i: usize, row: &Row) -> Result<BinaryHeap<Near>, Fault> {
        let (search, mut lowest, mut limit) = (self.search, BinaryHeap::new(), f64::INFINITY);
        for tile in tiles {
            self.codes.each_up_to((&row.coded, tile.products(i)), tile.others.clone(), limit, |other, low| {
                if !search.is_own || other != row.row {
                    keep_smallest(&mut lowest, Near { distance: low, row: other as u32 }, search.neighbours);
                }
                if lowest.len() == search.neighbours {
                    limit = lowest.peek().map_or(limit, |last| last.distance);
                }
                Ok(limit)
            })?;
        }
        Ok(lowest)
    }

    /// Looks at what is within the limit of a row in a tile.
    fn look(&self, tile: &Tile<'_>, i: usize, row: &mut Row, pacer: &mut Pacer<'_>) -> Result<usize, Fault> {
        let (search, coded, mut looked_at) = (self.search, row.coded, 0);
        let mut limit = self.limit(tile, row);
        self.codes.each_up_to((&coded, tile.products(i)), tile.others.clone(), limit, |other, low| {
            let is_seed = row.last_seed.is_some_and(|last| Near { distance: low, row: other as u32 } <= last);
            if is_seed || (search.is_own && other == row.row) {
                return Ok(limit);
            }
            looked_at += 1;
            pacer.spend(search.rows.width() / 4 + 1)?;
            if search.rows.low_of_one(row.row, search.others, other) <= row.reach + row.rounding
                && row.nearest.look_at(search, row.row, other, pacer)?
            {
                row.reach = row.nearest.raw_limit(search.metric);
                limit = self.limit(tile, row);
            }
            Ok(limit)
        })?;
        Ok(looked_at)
    }
}
