//! Products and inverses of dense matrices in `f64`: terms in order, each with one rounding on every CPU.

use std::ops::{Deref, Range};

use querist_protocol::{Fault, FaultCode};

use crate::control::Pacer;
use crate::memory::Charged;
use crate::simd::for_each_cpu;
use crate::workers::Workers;

/// Rows of a product that are computed side by side.
pub(crate) const SIDE: usize = 8;
/// Columns of a product that are computed side by side.
pub(crate) const LANES: usize = 16;
/// Terms of a product that are summed before the next ones are turned to, and lines of a target that one task fills.
pub(crate) const PANEL: usize = 64;
/// Lines that one task multiplies with a whole matrix, and rows that it multiplies with its blocks: the more they are,
/// the fewer times these are read.
pub(crate) const MULTIPLIED: usize = 128;
/// Side of a tile of a matrix that is copied or transposed.
const TILE: usize = 16;

/// Some columns of some rows as the left side of [`add_products`]: value k of each [`SIDE`] of them next to each other.
pub(crate) fn side_by_side(
    rows: impl ExactSizeIterator<Item: Deref<Target = [f32]>>,
    columns: Range<usize>,
) -> Vec<[f64; SIDE]> {
    let width = columns.len();
    let mut left = vec![[0.0; SIDE]; rows.len().div_ceil(SIDE) * width];
    for (at, row) in rows.enumerate() {
        for (left, &value) in left[at / SIDE * width..].iter_mut().zip(&row[columns.clone()]) {
            left[at % SIDE] = f64::from(value);
        }
    }
    left
}
/// Factors `of(line, k)` as the left side of [`add_products`].
pub(crate) fn beside(lines: usize, terms: usize, of: impl Fn(usize, usize) -> f64) -> Vec<[f64; SIDE]> {
    let mut left = vec![[0.0; SIDE]; lines.div_ceil(SIDE) * terms];
    for line in 0..lines {
        for (k, left) in left[line / SIDE * terms..].iter_mut().enumerate().take(terms) {
            left[line % SIDE] = of(line, k);
        }
    }
    left
}
/// Product of two small square matrices.
pub(crate) fn product(left: &[f64], right: &[f64], side: usize) -> Vec<f64> {
    let mut out = vec![0.0; side * side];
    for (out, left) in out.chunks_exact_mut(side).zip(left.chunks_exact(side)) {
        for (&left, right) in left.iter().zip(right.chunks_exact(side)) {
            for (out, &right) in out.iter_mut().zip(right) {
                *out += left * right;
            }
        }
    }
    out
}

/// Inverts a small positive definite matrix in place (Gauss and Jordan); answers its smallest pivot.
pub(crate) fn invert(matrix: &mut [f64], side: usize) -> f64 {
    let mut smallest = f64::INFINITY;
    for k in 0..side {
        let pivot = matrix[k * side + k];
        smallest = smallest.min(pivot);
        for j in 0..side {
            matrix[k * side + j] /= pivot;
        }
        matrix[k * side + k] = 1.0 / pivot;
        for i in (0..side).filter(|&i| i != k) {
            let factor = matrix[i * side + k];
            for j in (0..side).filter(|&j| j != k) {
                matrix[i * side + j] -= factor * matrix[k * side + j];
            }
            matrix[i * side + k] = -factor / pivot;
        }
    }
    smallest
}

/// Inverts a positive definite matrix in place, [`PANEL`] columns at a time (Gauss and Jordan by blocks).
pub(crate) fn invert_in_blocks(workers: &Workers, matrix: &mut [f64], order: usize) -> Result<(), Fault> {
    for from in (0..order).step_by(PANEL) {
        let side = PANEL.min(order - from);
        let mut pivot = vec![0.0; side * side];
        for (i, pivot) in pivot.chunks_exact_mut(side).enumerate() {
            pivot.copy_from_slice(&matrix[(from + i) * order + from..][..side]);
        }
        if invert(&mut pivot, side) <= 0.0 {
            let message = "the information matrix is singular; raise the ridge";
            return Err(Fault::new(FaultCode::BadArgument, message));
        }
        // The pivot's lines times its inverse, with the inverse itself in the pivot's place.
        let mut lines = Charged::filled(workers.control(), side * order, 0.0)?;
        {
            let pivot_lines = &matrix[from * order..(from + side) * order];
            workers.fill(&mut lines, 4 * SIDE * order, |start, out| {
                let (first, count) = (start / order, out.len() / order);
                let left = beside(count, side, |line, k| pivot[(first + line) * side + k]);
                add_products((out, order, 0, count), &left, side, (pivot_lines, order), order);
                for line in 0..count {
                    out[line * order + from..][..side].copy_from_slice(&pivot[(first + line) * side..][..side]);
                }
                Ok(())
            })?;
        }
        workers.fill(matrix, MULTIPLIED * order, |start, out| {
            let (first, count) = (start / order, out.len() / order);
            let is_pivot = |line: usize| (from..from + side).contains(&(first + line));
            let left = beside(count, side, |line, k| match is_pivot(line) {
                true => 0.0,
                false => -out[line * order + from + k],
            });
            for (line, here) in out.chunks_exact_mut(order).enumerate() {
                if is_pivot(line) {
                    here.copy_from_slice(&lines[(first + line - from) * order..][..order]);
                } else {
                    here[from..from + side].fill(0.0);
                }
            }
            add_products((out, order, 0, count), &left, side, (&lines, order), order);
            Ok(())
        })?;
    }
    Ok(())
}

/// What is wanted of a square matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    /// What lies on and above the diagonal; the rest is left as anything.
    Upper,
}

/// `left = left * right`, square matrices.
pub(crate) fn times(workers: &Workers, left: &mut [f64], right: &[f64], order: usize, part: Part) -> Result<(), Fault> {
    workers.fill(left, MULTIPLIED * order, |start, out| {
        let mut pacer = Pacer::new(workers.control());
        let source = Charged::copied(workers.control(), out)?;
        out.fill(0.0);
        let lines = out.len() / order;
        let first = if part == Part::Upper { start / order } else { 0 };
        for from in (0..order).step_by(PANEL) {
            let terms = PANEL.min(order - from);
            pacer.spend(terms * (order - first) * lines / SIDE)?;
            let left = beside(lines, terms, |line, k| source[line * order + from + k]);
            let right = (&right[from * order + first..], order);
            add_products((&mut *out, order, first, lines), &left, terms, right, order - first);
        }
        Ok(())
    })
}

/// Calls `f(line, column)` for what is below the diagonal, tile by tile: a walk along columns would miss every cache.
pub(crate) fn for_each_below(order: usize, mut f: impl FnMut(usize, usize)) {
    for (top, left) in (0..order).step_by(TILE).flat_map(|top| (0..=top).step_by(TILE).map(move |left| (top, left))) {
        for i in top..order.min(top + TILE) {
            (left..i.min(left + TILE)).for_each(|j| f(i, j));
        }
    }
}

pub(crate) fn transpose(matrix: &mut [f64], order: usize) {
    for_each_below(order, |i, j| matrix.swap(i * order + j, j * order + i));
}

for_each_cpu! {
    /// Σ x y in sixteen lanes.
    pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
        let mut lanes = [0.0; LANES];
        let (x_blocks, x_rest) = x.as_chunks::<LANES>();
        let (y_blocks, y_rest) = y.as_chunks::<LANES>();
        for (a, b) in x_blocks.iter().zip(y_blocks) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        for (lane, (a, b)) in x_rest.iter().zip(y_rest).enumerate() {
            lanes[lane] += a * b;
        }
        crate::simd::join(lanes)
    }
}

for_each_cpu! {
    /// Σ x y in sixteen lanes, of an embedding and a column.
    pub(crate) fn dot_with(x: &[f32], y: &[f64]) -> f64 {
        let mut lanes = [0.0; LANES];
        let (x_blocks, x_rest) = x.as_chunks::<LANES>();
        let (y_blocks, y_rest) = y.as_chunks::<LANES>();
        for (a, b) in x_blocks.iter().zip(y_blocks) {
            for lane in 0..LANES {
                lanes[lane] += f64::from(a[lane]) * b[lane];
            }
        }
        for (lane, (&a, b)) in x_rest.iter().zip(y_rest).enumerate() {
            lanes[lane] += f64::from(a) * b;
        }
        crate::simd::join(lanes)
    }
}

/// Lines to add to: values, values of a line, first column, number of lines.
pub(crate) type Lines<'a> = (&'a mut [f64], usize, usize, usize);

/// Some columns of a line, placed so that no vector of them lies across two cache lines.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Columns([f64; LANES]);

/// Adds to some columns of some lines.
type AddTile = fn([&mut [f64; LANES]; SIDE], &[[f64; SIDE]], &[Columns]);

/// Adds `sum_k left[k][line] * right[k, column]` to the first `width` columns of some lines; terms in order, each with
/// one rounding. `left` holds `terms` factors for each [`SIDE`] lines.
pub(crate) fn add_products(
    (out, stride, offset, lines): Lines<'_>,
    left: &[[f64; SIDE]],
    terms: usize,
    (right, right_stride): (&[f64], usize),
    width: usize,
) {
    let add = add_tile();
    // Columns that are used together are copied together first: a step of many powers of two would drive them out of
    // the cache.
    let mut panel = vec![Columns([0.0; LANES]); terms];
    for column in (0..width).step_by(LANES) {
        let count = LANES.min(width - column);
        for (panel, right) in panel.iter_mut().zip(right.chunks(right_stride)) {
            match right[column..].first_chunk() {
                Some(right) => panel.0 = *right,
                None => panel.0[..count].copy_from_slice(&right[column..column + count]),
            }
        }
        for (left, first) in left.chunks_exact(terms).zip((0..lines).step_by(SIDE)) {
            let out = &mut out[first * stride + offset + column..];
            let within = SIDE.min(lines - first);
            if within == SIDE
                && count == LANES
                && let Some(sums) = tile(out, stride)
            {
                add(sums, left, &panel);
                continue;
            }
            let mut sums = [[0.0; LANES]; SIDE];
            for (sums, out) in sums.iter_mut().zip(out.chunks(stride)).take(within) {
                sums[..count].copy_from_slice(&out[..count]);
            }
            add(sums.each_mut(), left, &panel);
            for (sums, out) in sums.iter().zip(out.chunks_mut(stride)).take(within) {
                out[..count].copy_from_slice(&sums[..count]);
            }
        }
    }
}

/// The first columns of the first lines.
fn tile(out: &mut [f64], stride: usize) -> Option<[&mut [f64; LANES]; SIDE]> {
    let mut lines = out.chunks_mut(stride);
    let mut next = || lines.next()?.first_chunk_mut();
    Some([next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?])
}

/// The loop for this CPU.
fn add_tile() -> AddTile {
    #[cfg(target_arch = "x86_64")]
    match crate::simd::level() {
        // SAFETY: `level` saw the features that these functions need on this CPU.
        crate::simd::Level::Avx512 => return |sums, left, right| unsafe { avx512(sums, left, right) },
        crate::simd::Level::Avx2 if std::arch::is_x86_feature_detected!("fma") => {
            // SAFETY: `level` saw AVX2 on this CPU, and the line above FMA.
            return |sums, left, right| unsafe { avx2(sums, left, right) };
        }
        _ => {}
    }
    portable
}

fn portable(sums: [&mut [f64; LANES]; SIDE], left: &[[f64; SIDE]], right: &[Columns]) {
    for (line, sums) in sums.into_iter().enumerate() {
        for (x, y) in left.iter().zip(right) {
            for (sum, y) in sums.iter_mut().zip(y.0) {
                *sum = x[line].mul_add(y, *sum);
            }
        }
    }
}

/// Two vectors of `$lanes` columns of some lines at once, with all sums in registers, part by part of the tile. The
/// sums have names because the compiler would keep so many of an array in memory.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    ($name:ident, $features:literal, $lanes:literal, $load:ident, $set:ident, $fma:ident, $store:ident,
     $($column:literal: [$($line:literal $low:ident $high:ident),*])*) => {
        #[target_feature(enable = $features)]
        fn $name(sums: [&mut [f64; LANES]; SIDE], left: &[[f64; SIDE]], right: &[Columns]) {
            use std::arch::x86_64::{$fma, $load, $set, $store};
            const { assert!($($column + 2 * $lanes <= LANES)&&*) };
            $(
                // SAFETY: two vectors lie behind this column of a line, as asserted above.
                $(let (mut $low, mut $high) = unsafe {
                    let sums = sums[$line].as_ptr().add($column);
                    ($load(sums), $load(sums.add($lanes)))
                };)*
                for (x, y) in left.iter().zip(right) {
                    // SAFETY: as above.
                    let (low, high) = unsafe {
                        let y = y.0.as_ptr().add($column);
                        ($load(y), $load(y.add($lanes)))
                    };
                    $(
                        let x_line = $set(x[$line]);
                        $low = $fma(x_line, low, $low);
                        $high = $fma(x_line, high, $high);
                    )*
                }
                // SAFETY: as above.
                $(unsafe {
                    let sums = sums[$line].as_mut_ptr().add($column);
                    $store(sums, $low);
                    $store(sums.add($lanes), $high);
                })*
            )*
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel!(avx512, "avx512f", 8, _mm512_loadu_pd, _mm512_set1_pd, _mm512_fmadd_pd, _mm512_storeu_pd,
    0: [0 a b, 1 c d, 2 e f, 3 g h, 4 i j, 5 k l, 6 m n, 7 o p]);
#[cfg(target_arch = "x86_64")]
kernel!(avx2, "avx2,fma", 4, _mm256_loadu_pd, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_storeu_pd,
    0: [0 a b, 1 c d, 2 e f, 3 g h] 0: [4 i j, 5 k l, 6 m n, 7 o p]
    8: [0 a b, 1 c d, 2 e f, 3 g h] 8: [4 i j, 5 k l, 6 m n, 7 o p]);
