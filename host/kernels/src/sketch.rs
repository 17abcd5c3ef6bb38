//! Rows in eight bits a value, from which an inner product is known within a proven error at a quarter of the bytes.

use querist_protocol::Fault;

use crate::matrix::{Matrix, rows_per_task};
use crate::memory::Charged;
use crate::simd::{ROUGH_LANES, for_each_cpu, join_rough};
use crate::workers::Workers;

/// Each row as whole numbers times a scale.
#[derive(Debug)]
pub(crate) struct Sketch {
    codes: Charged<i8>,
    rows: Charged<Row>,
    columns: usize,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    scale: f64,
    /// Norm of what the codes leave out.
    error: f64,
}

impl Sketch {
    /// The sketch of a matrix that has columns.
    pub(crate) fn new(workers: &Workers, matrix: &Matrix) -> Result<Self, Fault> {
        let (count, columns) = (matrix.rows(), matrix.columns());
        // The larger one first: where it finds no room, nothing was filled in vain.
        let mut codes = Charged::filled(workers.control(), crate::check::product(count, columns)?, 0i8)?;
        let mut rows = Charged::filled(workers.control(), count, Row { scale: 0.0, error: 0.0 })?;
        let mut by_row: Vec<(&mut [i8], &mut Row)> = codes.chunks_mut(columns).zip(rows.iter_mut()).collect();
        workers.fill(&mut by_row, rows_per_task(columns), |start, part| {
            for (i, (codes, row)) in part.iter_mut().enumerate() {
                **row = encode(&matrix.row(start + i), codes);
            }
            Ok(())
        })?;
        drop(by_row);
        Ok(Self { codes, rows, columns })
    }

    /// The inner product of a row, whose norm is `row_norm`, with `other`, and how far that may be off; `None` where it
    /// overflows.
    #[inline]
    pub(crate) fn product(&self, row: usize, row_norm: f64, other: &[f32], other_norm: f64) -> Option<(f64, f64)> {
        let Row { scale, error } = self.rows[row];
        let sum = dot(&self.codes[row * self.columns..][..self.columns], other);
        if !sum.is_finite() {
            return None;
        }
        let columns = self.columns as f64 + 16.0;
        // Rounding of a single-precision sum, and underflow of its products.
        let rounding = columns * f64::from(f32::EPSILON) * (row_norm + error) * other_norm;
        let underflow = columns * 2f64.powi(-148) * scale;
        Some((scale * f64::from(sum), error * other_norm + rounding + underflow))
    }
}

for_each_cpu! {
    /// Fills in the codes of a row; the error is measured, so no rounding on the way here matters.
    fn encode(row: &[f32], codes: &mut [i8]) -> Row {
        let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let scale = f64::from(largest) / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let mut left_out = 0.0;
        for (&value, code) in row.iter().zip(codes) {
            *code = (f64::from(value) * inverse).round_ties_even() as i8;
            let rest = f64::from(value) - scale * f64::from(*code);
            left_out += rest * rest;
        }
        Row { scale, error: left_out.sqrt() * (1.0 + 1e-9) }
    }
}

for_each_cpu! {
    fn dot(codes: &[i8], other: &[f32]) -> f32 {
        let mut lanes = [0.0f32; ROUGH_LANES];
        let (blocks, rest) = codes.as_chunks::<ROUGH_LANES>();
        let (others, other_rest) = other.as_chunks::<ROUGH_LANES>();
        for (a, b) in blocks.iter().zip(others) {
            for lane in 0..ROUGH_LANES {
                lanes[lane] += f32::from(a[lane]) * b[lane];
            }
        }
        for (lane, (&a, &b)) in rest.iter().zip(other_rest).enumerate() {
            lanes[lane] += f32::from(a) * b;
        }
        join_rough(lanes)
    }
}
