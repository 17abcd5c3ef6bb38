//! Dot products of many rows with many others, each with the bits of [`simd::dot`].
//!
//! A product of two `f32` is exact in `f64`, so fusing it with the addition changes no bit: only the order of sums
//! does. That order is kept (column c is added to lane c modulo 16, the lanes are joined by halves); what is saved is
//! turning the same values into `f64` again and again and waiting for one sum's last addition, because a tile of
//! several rows by several others keeps its lanes in registers, half or a quarter of each at a time.

use std::ops::Range;
use std::sync::Arc;

use querist_protocol::Fault;

use crate::control::{Control, Pacer};
use crate::matrix::Matrix;
use crate::memory::Charged;
use crate::simd::{self, LANES, for_each_cpu, join};

/// Right rows of a block at most: a multiple of the sides of all tiles, as the next one is.
pub(crate) const SIDE: usize = 96;
/// Left rows of a block at most; half as many where their columns are added in several steps. The more they are, the
/// fewer times all right rows are read.
const MOST_LEFT: usize = 192;
/// A common multiple of the sides of all tiles.
const TILES: usize = 12;
/// So few right rows are multiplied pair by pair: no tile would be full.
const FEW: usize = 4;
/// Vectors of lanes that are added at once: so many of the rows of a tile fit the first cache.
const STEP: usize = 32;

/// Blocks of right rows.
pub(crate) fn blocks(rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(SIDE).map(move |from| from..rows.min(from + SIDE))
}

/// Left rows of a block: fewer of few rows, so that every thread has some.
pub(crate) fn left_block(rows: usize, columns: usize) -> usize {
    let most = if columns > STEP * LANES { MOST_LEFT / 2 } else { MOST_LEFT };
    rows.div_ceil(16).next_multiple_of(TILES).clamp(TILES, most)
}

/// Sixteen columns of a row, or the sixteen sums of a pair; placed so that no vector lies across two cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Lanes([f64; LANES]);

const ZERO: Lanes = Lanes([0.0; LANES]);

/// Products of the rows of two matrices, a block of pairs at a time. Its memory serves one block after the other.
pub(crate) struct Dots<'a> {
    left: &'a Matrix,
    right: &'a Matrix,
    /// Vectors of lanes from one row to the next: one more than needed, so that rows do not meet in one line of a
    /// cache.
    stride: usize,
    /// A block of left rows as `f64`, which lie in the second cache, and which rows and vectors of lanes they are.
    block: Charged<Lanes>,
    here: Option<(Range<usize>, Range<usize>)>,
    /// A tile's right rows as `f64`, which lie in the first.
    tile: Charged<Lanes>,
    /// The sums of all tiles between two steps, where there are several.
    sums: Charged<Lanes>,
    dots: Charged<[f64; SIDE]>,
}

impl<'a> Dots<'a> {
    /// For two matrices of as many columns.
    pub(crate) fn new(control: &Arc<Control>, left: &'a Matrix, right: &'a Matrix) -> Result<Self, Fault> {
        let (lines, width) = (left_block(left.rows(), left.columns()), right.rows().min(SIDE).next_multiple_of(TILES));
        let sums = if left.columns() > STEP * LANES { lines * width } else { 0 };
        let stride = left.columns().div_ceil(LANES).min(STEP) + 1;
        Ok(Self {
            left,
            right,
            stride,
            block: Charged::filled(control, if right.rows() > FEW { lines * stride } else { 0 }, ZERO)?,
            here: None,
            tile: Charged::filled(control, TILES * stride, ZERO)?,
            sums: Charged::filled(control, sums, ZERO)?,
            dots: Charged::filled(control, lines, [0.0; SIDE])?,
        })
    }

    /// A line for each of some left rows, with its product with each of some right ones; at most a block of
    /// both.
    pub(crate) fn multiply(
        &mut self,
        left: Range<usize>,
        right: Range<usize>,
        pacer: &mut Pacer<'_>,
    ) -> Result<&mut [[f64; SIDE]], Fault> {
        let lines = left.len();
        if right.len() <= FEW {
            for (line, row) in self.dots.iter_mut().zip(left) {
                for (dot, other) in line.iter_mut().zip(right.clone()) {
                    pacer.spend(self.left.columns() + 1)?;
                    *dot = simd::dot(&self.left.row(row), &self.right.row(other));
                }
            }
            return Ok(&mut self.dots[..lines]);
        }
        let vectors = self.left.columns().div_ceil(LANES);
        for from in (0..vectors.max(1)).step_by(STEP) {
            let step = from..vectors.min(from + STEP);
            pacer.spend((step.len() + 1) * LANES * lines * right.len())?;
            let wanted = Some((left.clone(), step.clone()));
            if self.here != wanted {
                widen_rows((&mut self.block, self.stride), self.left, left.clone(), &step);
                self.here = wanted;
            }
            self.add(lines, right.clone(), step, vectors);
        }
        Ok(&mut self.dots[..lines])
    }

    fn add(&mut self, left: usize, right: Range<usize>, step: Range<usize>, vectors: usize) {
        #[cfg(target_arch = "x86_64")]
        match simd::level() {
            // SAFETY: `level` saw the features that these functions need on this CPU.
            simd::Level::Avx512 => return self.add_with(left, right, step, vectors, |tile| unsafe { avx512(tile) }),
            simd::Level::Avx2 if std::arch::is_x86_feature_detected!("fma") => {
                // SAFETY: `level` saw AVX2 on this CPU, and the line above FMA.
                return self.add_with(left, right, step, vectors, |tile| unsafe { avx2(tile) });
            }
            _ => {}
        }
        self.add_with(left, right, step, vectors, portable);
    }

    /// `add` adds some columns to the sums of a tile, or to zeros if they are the first ones.
    fn add_with<const R: usize, const C: usize>(
        &mut self,
        left: usize,
        right: Range<usize>,
        step: Range<usize>,
        vectors: usize,
        add: impl Fn(Tile<'_, R, C>),
    ) {
        const { assert!(TILES.is_multiple_of(R) && TILES.is_multiple_of(C)) };
        let (is_first, is_last) = (step.start == 0, step.end == vectors);
        let mut kept = self.sums.as_chunks_mut::<C>().0.as_chunks_mut::<R>().0.iter_mut();
        let (mut one, mut dots) = ([[ZERO; C]; R], [[0.0; C]; R]);
        for column in (0..right.len()).step_by(C) {
            let others = right.start + column..right.end.min(right.start + column + C);
            widen_rows((&mut self.tile, self.stride), self.right, others, &step);
            for row in (0..left).step_by(R) {
                let sums = kept.next().unwrap_or(&mut one);
                let x = rows_of(&self.block[row * self.stride..], self.stride, step.len());
                let y = rows_of(&self.tile, self.stride, step.len());
                add(Tile { x, y, sums, is_first, is_last, dots: &mut dots });
                if is_last {
                    for (line, dots) in self.dots[row..].iter_mut().zip(&dots) {
                        line[column..column + C].copy_from_slice(dots);
                    }
                }
            }
        }
    }
}

/// Turns some columns of some rows, named by their vectors of lanes, into `f64`.
fn widen_rows((lanes, stride): (&mut [Lanes], usize), matrix: &Matrix, rows: Range<usize>, step: &Range<usize>) {
    let columns = step.start * LANES..matrix.columns().min(step.end * LANES);
    for (lanes, row) in lanes.chunks_exact_mut(stride).zip(rows) {
        widen(lanes, &matrix.row(row)[columns.clone()]);
    }
}

/// `count` vectors of lanes of each of the first rows. Rows beyond a block hold anything; nobody looks at their sums.
fn rows_of<const N: usize>(lanes: &[Lanes], stride: usize, count: usize) -> [&[Lanes]; N] {
    std::array::from_fn(|i| &lanes[i * stride..][..count])
}

for_each_cpu! {
    /// Turns columns into `f64` and fills the last vector of lanes up with zeros, which change no sum.
    fn widen(lanes: &mut [Lanes], columns: &[f32]) {
        let (whole, rest) = columns.as_chunks::<LANES>();
        for (lanes, columns) in lanes.iter_mut().zip(whole) {
            for (lane, &value) in lanes.0.iter_mut().zip(columns) {
                *lane = f64::from(value);
            }
        }
        if !rest.is_empty() {
            let lanes = &mut lanes[whole.len()];
            *lanes = ZERO;
            for (lane, &value) in lanes.0.iter_mut().zip(rest) {
                *lane = f64::from(value);
            }
        }
    }
}

/// [`join`] of the lanes of some pairs, side by side.
#[inline(always)]
fn join_each<const N: usize>(sums: &[Lanes; N]) -> [f64; N] {
    let fours: [[f64; 4]; N] = std::array::from_fn(|pair| {
        let lanes = &sums[pair].0;
        std::array::from_fn(|i| (lanes[i] + lanes[i + 8]) + (lanes[i + 4] + lanes[i + 12]))
    });
    fours.map(|four| (four[0] + four[2]) + (four[1] + four[3]))
}

/// Some columns of some rows and of some others, and what is known of their pairs.
struct Tile<'a, const R: usize, const C: usize> {
    x: [&'a [Lanes]; R],
    y: [&'a [Lanes]; C],
    sums: &'a mut [[Lanes; C]; R],
    /// Nothing was added to the sums before.
    is_first: bool,
    /// Nothing will be: they are joined.
    is_last: bool,
    dots: &'a mut [[f64; C]; R],
}

fn portable(tile: Tile<'_, 1, 1>) {
    let ([x], [y], [[sums]], [[dot]]) = (tile.x, tile.y, tile.sums, tile.dots);
    let mut lanes = if tile.is_first { ZERO.0 } else { sums.0 };
    for (x, y) in x.iter().zip(y) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.0.iter().zip(&y.0)) {
            *lane += x * y;
        }
    }
    (sums.0, *dot) = (lanes, join(lanes));
}

/// All pairs of `$rows` by `$others` rows, a vector of `$lanes` lanes of each at a time, with all sums in registers.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    ($name:ident, $features:literal, $rows:literal, $others:literal, $lanes:literal, $vector:ident, $zero:ident,
     $load:ident, $fma:ident, $store:ident) => {
        #[target_feature(enable = $features)]
        fn $name(tile: Tile<'_, $rows, $others>) {
            use std::arch::x86_64::{$fma, $load, $store, $vector, $zero};
            let Tile { x, y, sums, is_first, is_last, dots } = tile;
            let count = x[0].len();
            assert!(x.iter().chain(&y).all(|row| row.len() == count));
            for part in (0..LANES).step_by($lanes) {
                // SAFETY: a vector lies behind this part of the lanes.
                let of = |lanes: &Lanes| -> $vector { unsafe { $load(lanes.0.as_ptr().add(part)) } };
                let before = |sums| if is_first { $zero() } else { of(sums) };
                let mut here: [[$vector; $others]; $rows] =
                    std::array::from_fn(|i| std::array::from_fn(|j| before(&sums[i][j])));
                for k in 0..count {
                    // SAFETY: every row has `count` vectors of lanes.
                    let rows: [$vector; $rows] = std::array::from_fn(|i| of(unsafe { x[i].get_unchecked(k) }));
                    for j in 0..$others {
                        // SAFETY: as above.
                        let other = of(unsafe { y[j].get_unchecked(k) });
                        for i in 0..$rows {
                            here[i][j] = $fma(rows[i], other, here[i][j]);
                        }
                    }
                }
                for (sums, here) in sums.iter_mut().flatten().zip(here.as_flattened()) {
                    // SAFETY: as at the first load.
                    unsafe { $store(sums.0.as_mut_ptr().add(part), *here) };
                }
            }
            if is_last {
                for (dots, sums) in dots.iter_mut().zip(sums) {
                    *dots = join_each(sums);
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel!(avx512, "avx512f", 4, 6, 8, __m512d, _mm512_setzero_pd, _mm512_load_pd, _mm512_fmadd_pd, _mm512_store_pd);
#[cfg(target_arch = "x86_64")]
kernel!(avx2, "avx2,fma", 3, 4, 4, __m256d, _mm256_setzero_pd, _mm256_load_pd, _mm256_fmadd_pd, _mm256_store_pd);
