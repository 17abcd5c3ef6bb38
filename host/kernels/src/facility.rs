//! The engine of greedy facility location: which row covers most of what is not covered yet.
//!
//! Gains only fall as the set grows, to the last bit: every operation on the way from a cover to a gain is monotone. So
//! a gain that was computed once bounds all later ones, and rows wait in a queue by such bounds. A stale row at its top
//! is first bounded anew, together with those behind it, from single-precision products; a row is computed by the
//! definition only when it still stands at the top. Picks are those of computing every gain at every step.
//!
//! A reference matters to a row only if the row is more similar to it than the set is. Once few such pairs are left
//! (with a large labelled set from the start, else after some additions) they are found in one pass over all rows and
//! kept with their similarities, and from then on no distance is computed any more: see [`Pairs`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use querist_protocol::{Fault, FaultCode, Metric, Similarity, SimilarityKind, math};

use crate::accelerator::{Cover, RowTerms};
use crate::check;
use crate::control::Pacer;
use crate::distance::{self, device_filter};
use crate::filter::{self, Filter, TILE_ROWS};
use crate::matrix::{Matrix, Rows};
use crate::memory::{Charge, Charged};
use crate::pairs::{self, Pairs};
use crate::points::Points;
use crate::rank::{self, SUM_BLOCK};
use crate::simd::for_each_cpu;
use crate::workers::Workers;

const METRIC: Metric = Metric::SqEuclidean;

/// What is known of a row's gain.
#[derive(Debug, Clone, Copy)]
struct State {
    /// The gain is at most this.
    bound: f64,
    /// Size of the set when that was found.
    at: u32,
    /// Whether the bound was the gain itself then.
    is_exact: bool,
}

/// Places in the queue: the larger bound first, then the lower row. Bounds are not negative, so their bits order.
type Place = (u64, Reverse<u32>);

/// Rows, references and how well these are covered.
#[derive(Debug)]
pub(crate) struct Facility {
    rows: Rows,
    references: Points,
    similarity: Similarity,
    weights: Option<Arc<Charged<f64>>>,
    /// The similarity of each reference to the set.
    cover: Charged<f64>,
    /// Additions so far.
    version: u32,
    states: Charged<State>,
    /// Every row once.
    queue: BinaryHeap<Place>,
    _queue_room: Charge,
    /// What can still gain, once that is little, in parts of [`PART_ROWS`] rows.
    pairs: Option<Vec<Pairs>>,
    /// Additions from which on it is worth asking whether that is little.
    next_count: u32,
}

impl Facility {
    /// An engine with an empty set. References count by `weights`, one each.
    pub(crate) fn new(
        workers: &Workers,
        rows: Rows,
        references: Matrix,
        weights: Option<Arc<Charged<f64>>>,
        similarity: Similarity,
    ) -> Result<Self, Fault> {
        check::same(references.columns(), rows.matrix.columns(), "columns of the references")?;
        check::argument(references.rows() > 0, || "without references nothing can be covered".to_owned())?;
        check::argument((1e-100..=1e100).contains(&similarity.width), || {
            format!("the width is {}, but it must lie between 1e-100 and 1e100", similarity.width)
        })?;
        if let Some(weights) = &weights {
            check::same(weights.len(), references.rows(), "length of the weights")?;
            check::weights(weights)?;
        }
        let control = workers.control();
        let count = rows.matrix.rows();
        // Building the queue and setting rows aside may hold each place twice.
        let queue_room = Charge::of::<[Place; 2]>(control, count)?;
        Ok(Self {
            rows,
            cover: Charged::filled(control, references.rows(), 0.0)?,
            references: Points::plain(workers, references)?,
            similarity,
            weights,
            version: 0,
            states: Charged::filled(control, count, State { bound: f64::INFINITY, at: u32::MAX, is_exact: false })?,
            queue: (0..count as u32).map(|row| place(f64::INFINITY, row)).collect(),
            _queue_room: queue_room,
            pairs: None,
            next_count: 1,
        })
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.matrix.rows()
    }

    /// Adds rows to the set.
    pub(crate) fn add(&mut self, workers: &Workers, rows: &[u32]) -> Result<(), Fault> {
        check::rows(rows, self.len())?;
        for &row in rows {
            if let Some((pairs, at)) = pairs_of(&self.pairs, row) {
                pairs.raise(at, &mut self.cover);
                self.grow();
                continue;
            }
            let point = self.points(workers, &[row])?;
            let (references, similarity) = (&self.references, self.similarity);
            workers.fill(&mut self.cover, SUM_BLOCK, |start, cover| {
                let mut pacer = Pacer::new(workers.control());
                for (i, cover) in cover.iter_mut().enumerate() {
                    pacer.spend(point.width() + 8)?;
                    let raw = point.raw_distance(METRIC, 0, references, start + i);
                    *cover = cover.max(similar(similarity, raw));
                }
                Ok(())
            })?;
            self.grow();
        }
        Ok(())
    }

    /// Adds other rows to the set. Each reference looks at the nearest of them.
    pub(crate) fn add_others(&mut self, workers: &Workers, others: Matrix) -> Result<(), Fault> {
        check::same(others.columns(), self.rows.matrix.columns(), "columns of the other rows")?;
        if others.rows() == 0 {
            return Ok(());
        }
        let others = Points::plain(workers, others)?;
        let (distances, _) = distance::nearest(workers, &self.references, &others, METRIC)?;
        for (cover, &raw) in self.cover.iter_mut().zip(distances.iter()) {
            *cover = cover.max(similar(self.similarity, raw));
        }
        self.grow();
        Ok(())
    }

    /// Some rows as points.
    fn points(&self, workers: &Workers, rows: &[u32]) -> Result<Points, Fault> {
        Points::plain(workers, self.rows.gather(workers, rows)?)
    }

    fn grow(&mut self) {
        // A set that outgrows its counter makes every state stale, which is always right.
        self.version = (self.version + 1) % u32::MAX;
    }

    /// The row with the largest gain, the lowest among equals, and its gain.
    pub(crate) fn best(&mut self, workers: &Workers, excluded: Option<&[bool]>) -> Result<Option<(u32, f64)>, Fault> {
        // A call that ended early may have kept rows.
        if self.queue.len() != self.len() {
            self.queue = (0..self.len() as u32).map(|row| place(self.states[row as usize].bound, row)).collect();
        }
        if self.pairs.is_none() && self.version >= self.next_count {
            self.find_pairs(workers)?;
        }
        let mut aside = Vec::new();
        let found = self.search(workers, excluded, &mut aside);
        self.queue.extend(aside);
        found
    }

    /// Looks at the top of the queue until it stays there. Excluded rows are set aside.
    fn search(
        &mut self,
        workers: &Workers,
        excluded: Option<&[bool]>,
        aside: &mut Vec<Place>,
    ) -> Result<Option<(u32, f64)>, Fault> {
        let is_excluded = |row: u32| excluded.is_some_and(|excluded| excluded[row as usize]);
        let mut pacer = Pacer::new(workers.control());
        let mut singly = FEW;
        let together = self.bounded_together(workers);
        while let Some(top) = self.queue.pop() {
            pacer.spend(64)?;
            let Reverse(row) = top.1;
            if is_excluded(row) {
                aside.push(top);
                continue;
            }
            let state = self.states[row as usize];
            let is_current = state.at == self.version;
            if is_current && state.is_exact {
                self.queue.push(top);
                return Ok(Some((row, state.bound)));
            }
            if is_current || singly > 0 || self.pairs.is_some() {
                singly = singly.saturating_sub(1);
                self.compute(workers, row)?;
                self.queue.push(place(self.states[row as usize].bound, row));
                continue;
            }
            let mut stale = vec![row];
            while stale.len() < together
                && let Some(&next) = self.queue.peek()
                && self.states[next.1.0 as usize].at != self.version
            {
                self.queue.pop();
                if is_excluded(next.1.0) { aside.push(next) } else { stale.push(next.1.0) }
            }
            self.bound(workers, &stale)?;
            self.queue.extend(stale.iter().map(|&row| place(self.states[row as usize].bound, row)));
        }
        Ok(None)
    }

    /// Finds the pairs that can still gain if they fit into the memory that is left; if not, asks again later.
    fn find_pairs(&mut self, workers: &Workers) -> Result<(), Fault> {
        self.next_count = self.version + self.version / 2 + 1;
        let limits = pairs::limits(
            workers,
            &self.cover,
            self.weights.as_ref().map(|w| &***w),
            |raw| similar(self.similarity, raw),
            |cover| farthest(self.similarity, cover),
        )?;
        let control = workers.control();
        let room = control.limits().memory.saturating_sub(control.memory()) / 4 * 3;
        let Some(count) = self.estimate_pairs(workers, &limits)? else { return Ok(()) };
        if count * Pairs::BYTES > room as f64 {
            return Ok(());
        }
        let all: Vec<u32> = (0..self.len() as u32).collect();
        let parts = all.chunks(PART_ROWS).map(|part| {
            let points = self.points(workers, part)?;
            match device_filter(workers, &points, &self.references, METRIC)? {
                Some(filter) => {
                    Pairs::find(workers, &filter, &limits, &self.cover, |raw| similar(self.similarity, raw)).map(Some)
                }
                None => Ok(None),
            }
        });
        self.pairs = match parts.collect::<Result<Option<Vec<Pairs>>, Fault>>() {
            Ok(pairs) => pairs,
            // There were more than the estimate said: without them gains take longer and are the same.
            Err(fault) if fault.code == FaultCode::Quota => None,
            Err(fault) => return Err(fault),
        };
        Ok(())
    }

    /// About how many pairs there are, judged by rows from everywhere; `None` where bounds are of no use.
    fn estimate_pairs(&self, workers: &Workers, limits: &[f64]) -> Result<Option<f64>, Fault> {
        let step = self.len().div_ceil(SAMPLED_ROWS).max(1);
        let sample: Vec<u32> = (0..self.len() as u32).step_by(step).collect();
        let points = self.points(workers, &sample)?;
        let Some(filter) = device_filter(workers, &points, &self.references, METRIC)? else { return Ok(None) };
        Ok(Some(pairs::estimate(workers, &filter, limits)? * (self.len() as f64 / sample.len().max(1) as f64)))
    }

    /// The gain of a row by its definition.
    fn compute(&mut self, workers: &Workers, row: u32) -> Result<(), Fault> {
        if let Some((pairs, at)) = pairs_of(&self.pairs, row) {
            let sum = pairs.gain(at, &self.cover, self.weights.as_ref().map(|weights| &***weights));
            let bound = sum / self.cover.len() as f64;
            self.states[row as usize] = State { bound, at: self.version, is_exact: true };
            return Ok(());
        }
        let point = self.points(workers, &[row])?;
        let blocks = self.cover.len().div_ceil(SUM_BLOCK);
        let gain = |reference: usize| {
            let raw = point.raw_distance(METRIC, 0, &self.references, reference);
            let gain = (similar(self.similarity, raw) - self.cover[reference]).max(0.0);
            self.weights.as_ref().map_or(gain, |weights| weights[reference] * gain)
        };
        let sums = workers.map(blocks, |block| Ok(rank::block_sum(block, self.cover.len(), gain)))?;
        let sum = sums.iter().fold(0.0, |total, sum| total + sum);
        self.states[row as usize] = State { bound: sum / self.cover.len() as f64, at: self.version, is_exact: true };
        Ok(())
    }

    /// Stale rows that are bounded at once.
    fn bounded_together(&self, workers: &Workers) -> usize {
        let (references, width) = (self.references.len(), self.references.width());
        let device = workers.device_for(TILE_ROWS, references, width);
        device.map_or(TILE_ROWS, |_| filter::device_rows(references))
    }

    /// Bounds of the gains of some rows, of at most [`Self::bounded_together`], from products with all references at
    /// once.
    fn bound(&mut self, workers: &Workers, rows: &[u32]) -> Result<(), Fault> {
        let points = self.points(workers, rows)?;
        let Some(filter) = device_filter(workers, &points, &self.references, METRIC)? else {
            return rows.iter().try_for_each(|&row| self.compute(workers, row));
        };
        let terms: Vec<_> = (0..rows.len()).map(|i| filter.row_terms(i)).collect();
        let weights = self.weights.as_ref().map(|weights| &***weights);
        let cover = Cover { cover: &self.cover, weights, similarity: self.similarity };
        let sums = match filter.gains(&terms, cover, workers.control())? {
            Some(sums) => sums,
            None => sums_of_bounds(workers, &filter, &terms, cover)?,
        };
        for (&row, sum) in rows.iter().zip(sums) {
            let state = &mut self.states[row as usize];
            // A hair more, because the definition adds in another order.
            let bound = sum * (1.0 + 1e-8) / self.cover.len() as f64;
            *state = State { bound: bound.min(state.bound), at: self.version, is_exact: false };
        }
        Ok(())
    }
}

/// What the rows of a filter could add to the cover at most.
fn sums_of_bounds(
    workers: &Workers,
    filter: &Filter<'_>,
    terms: &[RowTerms],
    cover: Cover<'_>,
) -> Result<Vec<f64>, Fault> {
    let mut sums = Vec::with_capacity(terms.len());
    for (block, terms) in terms.chunks(TILE_ROWS).enumerate() {
        let rows = block * TILE_ROWS..block * TILE_ROWS + terms.len();
        let blocks: Vec<_> = filter.centre_blocks().collect();
        let parts = workers.map(blocks.len(), |block| {
            let range = blocks[block].clone();
            let mut tile = filter.tile();
            filter.multiply(&mut tile, rows.clone(), range.clone(), workers.control())?;
            let mut lows = vec![0.0; range.len()];
            let weights = cover.weights.map(|weights| &weights[range.clone()]);
            let of_row = |(i, terms)| {
                filter.lows(&tile, i, terms, &mut lows);
                sum_of_bounds(&lows, &cover.cover[range.clone()], weights, cover.similarity)
            };
            Ok(terms.iter().enumerate().map(of_row).collect::<Vec<f64>>())
        })?;
        sums.extend((0..terms.len()).map(|i| parts.iter().map(|part| part[i]).sum::<f64>()));
    }
    Ok(sums)
}

/// Stale rows that are computed one by one before many are bounded at once: mostly these are enough.
const FEW: usize = 8;

/// Rows whose pairs are looked for together.
const PART_ROWS: usize = 1 << 13;
/// Rows from which their number is estimated, about.
const SAMPLED_ROWS: usize = 2048;

/// The part that a row's pairs are in, and its place there.
fn pairs_of(parts: &Option<Vec<Pairs>>, row: u32) -> Option<(&Pairs, usize)> {
    Some((&parts.as_ref()?[row as usize / PART_ROWS], row as usize % PART_ROWS))
}

fn place(bound: f64, row: u32) -> Place {
    (bound.to_bits(), Reverse(row))
}

/// Similarity of two rows at a squared distance.
fn similar(similarity: Similarity, raw: f64) -> f64 {
    let Similarity { kind, width } = similarity;
    match kind {
        SimilarityKind::Rbf => rbf(width, raw),
        SimilarityKind::Laplace => laplace(width, raw),
        SimilarityKind::Student => student(width, raw),
        SimilarityKind::Cauchy => cauchy(width, raw),
        SimilarityKind::TopHat => top_hat(width, raw),
    }
}

/// About the largest squared distance of rows that are more similar than this.
fn farthest(Similarity { kind, width }: Similarity, similarity: f64) -> f64 {
    let similarity = similarity.max(f64::from_bits(1));
    match kind {
        SimilarityKind::Rbf => -math::ln(similarity) * width * width,
        SimilarityKind::Laplace => (math::ln(similarity) * width).powi(2),
        SimilarityKind::Student => math::expm1(math::ln(similarity) / -0.75) / 2.0 * width * width,
        SimilarityKind::Cauchy => 1.0 / similarity - 1.0,
        SimilarityKind::TopHat => {
            if similarity < 1.0 {
                width * width
            } else {
                0.0
            }
        }
    }
}

#[inline(always)]
fn rbf(width: f64, raw: f64) -> f64 {
    math::exp(-(raw / (width * width)))
}

#[inline(always)]
fn laplace(width: f64, raw: f64) -> f64 {
    math::exp(-(raw.sqrt() / width))
}

#[inline(always)]
fn student(width: f64, raw: f64) -> f64 {
    math::exp(-0.75 * math::ln_1p(2.0 * (raw / (width * width))))
}

#[inline(always)]
fn cauchy(_width: f64, raw: f64) -> f64 {
    1.0 / (1.0 + raw)
}

#[inline(always)]
fn top_hat(width: f64, raw: f64) -> f64 {
    if raw.sqrt() < width { 1.0 } else { 0.0 }
}

for_each_cpu! {
    /// What rows at these least squared distances could add to the cover at most.
    fn sum_of_bounds(lows: &[f64], cover: &[f64], weights: Option<&[f64]>, similarity: Similarity) -> f64 {
        let width = similarity.width;
        match similarity.kind {
            SimilarityKind::Rbf => sum_with(lows, cover, weights, |raw| rbf(width, raw)),
            SimilarityKind::Laplace => sum_with(lows, cover, weights, |raw| laplace(width, raw)),
            SimilarityKind::Student => sum_with(lows, cover, weights, |raw| student(width, raw)),
            SimilarityKind::Cauchy => sum_with(lows, cover, weights, |raw| cauchy(width, raw)),
            SimilarityKind::TopHat => sum_with(lows, cover, weights, |raw| top_hat(width, raw)),
        }
    }
}

#[inline(always)]
fn sum_with(lows: &[f64], cover: &[f64], weights: Option<&[f64]>, similarity: impl Fn(f64) -> f64) -> f64 {
    const LANES: usize = 8;
    // Similarities may be wrong in their last places.
    let gain = |low: f64, cover: f64| {
        let gain = similarity(if low > 0.0 { low } else { 0.0 }) * (1.0 + 1e-12) - cover;
        if gain > 0.0 { gain } else { 0.0 }
    };
    let mut lanes = [0.0f64; LANES];
    let (low_blocks, low_rest) = lows.as_chunks::<LANES>();
    let (cover_blocks, cover_rest) = cover.as_chunks::<LANES>();
    match weights {
        None => {
            for (low, cover) in low_blocks.iter().zip(cover_blocks) {
                for lane in 0..LANES {
                    lanes[lane] += gain(low[lane], cover[lane]);
                }
            }
            for (lane, (&low, &cover)) in low_rest.iter().zip(cover_rest).enumerate() {
                lanes[lane] += gain(low, cover);
            }
        }
        Some(weights) => {
            let (weight_blocks, weight_rest) = weights.as_chunks::<LANES>();
            for ((low, cover), weight) in low_blocks.iter().zip(cover_blocks).zip(weight_blocks) {
                for lane in 0..LANES {
                    lanes[lane] += weight[lane] * gain(low[lane], cover[lane]);
                }
            }
            for (lane, ((&low, &cover), &weight)) in low_rest.iter().zip(cover_rest).zip(weight_rest).enumerate() {
                lanes[lane] += weight * gain(low, cover);
            }
        }
    }
    lanes.iter().sum()
}
