//! Products of many rows with many centres in single precision: the arithmetic of bounds.
//!
//! Sums run over columns in one accumulator a pair, fused where the CPU can: any order and any fusing stays within the
//! error that [`crate::filter`] allows for, so instruction sets may differ in the last bits here.
//!
//! Rows and centres are copied into panels of a few, column by column, so that the inner loop reads memory in order and
//! keeps its sums in registers. A panel of rows fits the first cache, one of centres the second.

use std::ops::Range;

use crate::matrix::Matrix;
#[cfg(target_arch = "x86_64")]
use crate::simd::{self, Level};

/// Panels that are made once and used for many products.
#[derive(Debug, Default)]
pub(crate) struct Panels {
    rows: Vec<f32>,
    centres: Vec<f32>,
    /// The rows that lie in `rows`.
    packed: Range<usize>,
}

impl Panels {
    /// `out[i, j] = x_i · y_j` for blocks of rows of two matrices; the first one is the same in every call.
    pub(crate) fn multiply(
        &mut self,
        out: &mut [f32],
        (x, x_rows): (&Matrix, Range<usize>),
        (y, y_rows): (&Matrix, Range<usize>),
    ) {
        if x_rows.is_empty() || y_rows.is_empty() {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        match simd::level() {
            Level::Avx512 => {
                // SAFETY: `level` saw the features that this function needs on this CPU.
                return self.multiply_with(out, (x, x_rows), (y, y_rows), |x, y, sums| unsafe { avx512(x, y, sums) });
            }
            Level::Avx2 if std::arch::is_x86_feature_detected!("fma") => {
                // SAFETY: `level` saw AVX2 on this CPU, and the line above FMA.
                return self.multiply_with(out, (x, x_rows), (y, y_rows), |x, y, sums| unsafe { avx2(x, y, sums) });
            }
            _ => {}
        }
        self.multiply_with(out, (x, x_rows), (y, y_rows), portable);
    }

    /// `multiply` writes every product of a panel of rows with a panel of centres.
    fn multiply_with<const ROWS: usize, const LANES: usize>(
        &mut self,
        out: &mut [f32],
        (x, x_rows): (&Matrix, Range<usize>),
        (y, y_rows): (&Matrix, Range<usize>),
        multiply: impl Fn(&[[f32; ROWS]], &[[f32; LANES]], &mut [[f32; LANES]; ROWS]),
    ) {
        let columns = x.columns();
        if self.packed != x_rows {
            pack::<ROWS>(&mut self.rows, x, &x_rows);
            self.packed = x_rows.clone();
        }
        let mut sums = [[0.0; LANES]; ROWS];
        let (x_panels, width) = (self.rows.as_chunks::<ROWS>().0, y_rows.len());
        for first in (0..width).step_by(LANES) {
            let count = LANES.min(width - first);
            pack::<LANES>(&mut self.centres, y, &(y_rows.start + first..y_rows.start + first + count));
            let y_panel = self.centres.as_chunks::<LANES>().0;
            for (panel, x_panel) in x_panels.chunks_exact(columns).enumerate() {
                multiply(x_panel, y_panel, &mut sums);
                let lines = out[panel * ROWS * width..].chunks_mut(width).take(x_rows.len() - panel * ROWS);
                for (line, sums) in lines.zip(&sums) {
                    line[first..first + count].copy_from_slice(&sums[..count]);
                }
            }
        }
    }
}

fn portable(rows: &[[f32; 4]], centres: &[[f32; 8]], out: &mut [[f32; 8]; 4]) {
    let mut sums = [[0.0f32; 8]; 4];
    for (x, y) in rows.iter().zip(centres) {
        for (sums, x) in sums.iter_mut().zip(x) {
            for (sum, y) in sums.iter_mut().zip(y) {
                *sum += x * y;
            }
        }
    }
    *out = sums;
}

/// A loop over `$rows` broadcast values and two vectors of `$lanes` centres, with all sums in registers. The compiler
/// does not find this by itself.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    ($name:ident, $features:literal, $rows:literal, $lanes:literal, $zero:ident, $load:ident, $set:ident, $fma:ident,
     $store:ident) => {
        #[target_feature(enable = $features)]
        fn $name(rows: &[[f32; $rows]], centres: &[[f32; 2 * $lanes]], out: &mut [[f32; 2 * $lanes]; $rows]) {
            use std::arch::x86_64::{$fma, $load, $set, $store, $zero};
            let mut sums = [[$zero(); 2]; $rows];
            for (x, y) in rows.iter().zip(centres) {
                // SAFETY: each half of `y` holds a vector.
                let y = unsafe { [$load(y.as_ptr()), $load(y[$lanes..].as_ptr())] };
                for (sums, &x) in sums.iter_mut().zip(x) {
                    let x = $set(x);
                    *sums = [$fma(x, y[0], sums[0]), $fma(x, y[1], sums[1])];
                }
            }
            for (out, sums) in out.iter_mut().zip(sums) {
                // SAFETY: each half of `out` holds a vector.
                unsafe {
                    $store(out.as_mut_ptr(), sums[0]);
                    $store(out[$lanes..].as_mut_ptr(), sums[1]);
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel!(
    avx512,
    "avx512f",
    8,
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_storeu_ps
);
#[cfg(target_arch = "x86_64")]
kernel!(avx2, "avx2,fma", 6, 8, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps);

/// Copies rows into panels of `SIDE`, column by column; the last one is filled up with zeros.
fn pack<const SIDE: usize>(panels: &mut Vec<f32>, matrix: &Matrix, rows: &Range<usize>) {
    let columns = matrix.columns();
    let values = matrix.block(rows.clone());
    panels.resize(rows.len().next_multiple_of(SIDE) * columns, 0.0);
    let blocks = panels.as_chunks_mut::<SIDE>().0.chunks_exact_mut(columns);
    for (panel, values) in blocks.zip(values.chunks(SIDE * columns)) {
        if values.len() < SIDE * columns {
            panel.as_flattened_mut().fill(0.0);
        }
        // A few columns at a time, so that they stay in the first cache.
        let (parts, rest) = panel.as_chunks_mut::<16>();
        let whole = 16 * parts.len();
        for (at, part) in parts.iter_mut().enumerate() {
            for (side, row) in values.chunks_exact(columns).enumerate() {
                let row = row[16 * at..].first_chunk::<16>().unwrap_or(&[0.0; 16]);
                for (column, &value) in part.iter_mut().zip(row) {
                    column[side] = value;
                }
            }
        }
        for (side, row) in values.chunks_exact(columns).enumerate() {
            for (column, &value) in rest.iter_mut().zip(&row[whole..]) {
                column[side] = value;
            }
        }
    }
}
