//! The pairs of a row and a reference that facility location can still gain from, with their similarities.
//!
//! With s labelled or picked rows about a share 1 / (s + 1) of all pairs is left, because a row counts for a reference
//! only if it is nearer than all of these. A cover only grows, so no pair ever joins. What is left out adds exactly 0
//! to a gain, so sums over pairs have the bits of sums over all references.

use crate::accelerator::Wanted;
use crate::control::Pacer;
use crate::filter::{Filter, TILE_ROWS};
use crate::memory::Charged;
use crate::rank::SUM_BLOCK;
use crate::simd::for_each_cpu;
use crate::workers::Workers;

use querist_protocol::Fault;

/// For each row the references that it is more similar to than the set was when they were looked for.
#[derive(Debug)]
pub(crate) struct Pairs {
    blocks: Vec<Block>,
    /// Rows of a block.
    block_rows: usize,
}

#[derive(Debug)]
struct Block {
    /// Where the pairs of each row end.
    ends: Vec<usize>,
    /// References of each row, ascending.
    references: Charged<u32>,
    similarities: Charged<f64>,
}

impl Pairs {
    /// Bytes that one pair takes, and a little for the lists.
    pub(crate) const BYTES: f64 = 12.5;

    /// All pairs within the limits whose similarity is above the cover.
    pub(crate) fn find(
        workers: &Workers,
        filter: &Filter<'_>,
        limits: &[f64],
        cover: &[f64],
        similar: impl Fn(f64) -> f64 + Sync,
    ) -> Result<Self, Fault> {
        let rows = filter.rows.len();
        let block_rows = filter.block_rows();
        let blocks = workers.map(rows.div_ceil(block_rows), |block| {
            let block = block * block_rows..((block + 1) * block_rows).min(rows);
            let mut pacer = Pacer::new(workers.control());
            let mut lists: Vec<Vec<(u32, f64)>> = vec![Vec::new(); block.len()];
            each_near(workers, filter, limits, block.clone(), |i, reference| {
                pacer.spend(filter.rows.width() + 1)?;
                let raw = filter.rows.raw_distance(filter.metric, block.start + i, filter.centres, reference);
                let similarity = similar(raw);
                if similarity > cover[reference] {
                    lists[i].push((reference as u32, similarity));
                }
                Ok(())
            })?;
            Block::of(workers, &lists)
        })?;
        Ok(Self { blocks, block_rows })
    }

    /// The sum of gains over the references of a row: blocks of [`SUM_BLOCK`] references, added in order.
    pub(crate) fn gain(&self, row: usize, cover: &[f64], weights: Option<&[f64]>) -> f64 {
        let (mut total, mut sum, mut block) = (0.0, 0.0, 0);
        for (&reference, &similarity) in self.of(row) {
            let reference = reference as usize;
            if reference / SUM_BLOCK != block {
                total += sum;
                (sum, block) = (0.0, reference / SUM_BLOCK);
            }
            let gain = (similarity - cover[reference]).max(0.0);
            sum += weights.map_or(gain, |weights| weights[reference] * gain);
        }
        total + sum
    }

    /// Raises the cover of the references of a row to their similarity to it. Where no row can gain, it stays.
    pub(crate) fn raise(&self, row: usize, cover: &mut [f64]) {
        for (&reference, &similarity) in self.of(row) {
            let cover = &mut cover[reference as usize];
            *cover = cover.max(similarity);
        }
    }

    fn of(&self, row: usize) -> impl Iterator<Item = (&u32, &f64)> {
        let block = &self.blocks[row / self.block_rows];
        let at = row % self.block_rows;
        let range = if at == 0 { 0 } else { block.ends[at - 1] }..block.ends[at];
        block.references[range.clone()].iter().zip(&block.similarities[range])
    }
}

impl Block {
    fn of(workers: &Workers, lists: &[Vec<(u32, f64)>]) -> Result<Self, Fault> {
        let count = lists.iter().map(Vec::len).sum();
        let mut references = Charged::filled(workers.control(), count, 0)?;
        let mut similarities = Charged::filled(workers.control(), count, 0.0)?;
        let places = references.iter_mut().zip(similarities.iter_mut());
        for ((reference, similarity), pair) in places.zip(lists.iter().flatten()) {
            (*reference, *similarity) = *pair;
        }
        let ends = lists.iter().scan(0, |end, list| {
            *end += list.len();
            Some(*end)
        });
        Ok(Self { ends: ends.collect(), references, similarities })
    }
}

/// For each reference a squared distance that no row more similar than its cover lies beyond; negative where a
/// reference does not count. `farthest` is about the inverse of `similar`, which never rises.
pub(crate) fn limits(
    workers: &Workers,
    cover: &[f64],
    weights: Option<&[f64]>,
    similar: impl Fn(f64) -> f64,
    farthest: impl Fn(f64) -> f64,
) -> Result<Charged<f64>, Fault> {
    let mut limits = Charged::filled(workers.control(), cover.len(), -1.0)?;
    let scale = farthest(0.5);
    for (reference, limit) in limits.iter_mut().enumerate() {
        if weights.is_some_and(|weights| weights[reference] == 0.0) || similar(0.0) <= cover[reference] {
            continue;
        }
        let guess = farthest(cover[reference]);
        // Similarities may be wrong in their last places.
        let is_beyond = |raw: &f64| similar(*raw) * (1.0 + 1e-12) <= cover[reference];
        let hairs = [1e-12, 1e-9, 1e-6, 1e-3, 1e-1];
        let beyond = hairs.into_iter().map(|hair| guess + hair * (guess + scale)).find(is_beyond);
        *limit = beyond.unwrap_or(f64::INFINITY);
    }
    Ok(limits)
}

/// About how many pairs lie within the limits, from one tile of rows.
pub(crate) fn estimate(workers: &Workers, filter: &Filter<'_>, limits: &[f64]) -> Result<f64, Fault> {
    let rows = filter.rows.len();
    let blocks = rows.div_ceil(TILE_ROWS);
    // A few short blocks from everywhere.
    let sampled: Vec<usize> = (0..blocks).step_by(blocks.div_ceil(16)).collect();
    let counts = workers.map(sampled.len(), |at| {
        let start = sampled[at] * TILE_ROWS;
        let block = start..(start + 16).min(rows);
        let mut count = 0usize;
        each_near(workers, filter, limits, block.clone(), |_, _| {
            count += 1;
            Ok(())
        })?;
        Ok((count, block.len()))
    })?;
    let (found, seen) = counts.iter().fold((0, 0), |(a, b), &(found, seen)| (a + found, b + seen));
    Ok(found as f64 / seen.max(1) as f64 * rows as f64)
}

/// Calls `found(row in block, reference)` for each pair that may lie within its reference's limit, references
/// ascending.
fn each_near(
    workers: &Workers,
    filter: &Filter<'_>,
    limits: &[f64],
    block: std::ops::Range<usize>,
    mut found: impl FnMut(usize, usize) -> Result<(), Fault>,
) -> Result<(), Fault> {
    const AT_ONCE: usize = 64;
    let terms: Vec<_> = block.clone().map(|row| filter.row_terms(row)).collect();
    let wanted = Wanted::WithinCentres(limits);
    if let Some(pairs) = filter.candidates(block.clone(), &terms, wanted, workers.control())? {
        let mut near = pairs.iter(&terms).filter(|&(_, reference, low, _)| low <= limits[reference]);
        return near.try_for_each(|(i, reference, ..)| found(i, reference));
    }
    let mut tile = filter.tile();
    let mut lows = Vec::new();
    for centres in filter.centre_blocks() {
        filter.multiply(&mut tile, block.clone(), centres.clone(), workers.control())?;
        let limits = &limits[centres.clone()];
        lows.resize(centres.len(), 0.0);
        for (i, terms) in terms.iter().enumerate() {
            filter.lows(&tile, i, terms, &mut lows);
            for (at, (lows, limits)) in lows.chunks(AT_ONCE).zip(limits.chunks(AT_ONCE)).enumerate() {
                if !any_up_to(lows, limits) {
                    continue;
                }
                for (j, _) in lows.iter().zip(limits).enumerate().filter(|(_, (low, limit))| low <= limit) {
                    found(i, centres.start + at * AT_ONCE + j)?;
                }
            }
        }
    }
    Ok(())
}

for_each_cpu! {
    fn any_up_to(lows: &[f64], limits: &[f64]) -> bool {
        let mut any = false;
        for (low, limit) in lows.iter().zip(limits) {
            any |= low <= limit;
        }
        any
    }
}
