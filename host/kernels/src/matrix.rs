//! Row-major `f32` matrices: views of inputs, or objects of the query.

use std::sync::Arc;

use querist_core::Buffer;
use querist_protocol::{Fault, FaultCode};

use crate::check;
use crate::control::Pacer;
use crate::memory::{Charge, Charged};
use crate::simd;
use crate::workers::Workers;

/// Rows that one task handles at a time where rows are cheap.
pub(crate) const ROW_BLOCK: usize = 1024;

#[derive(Debug, Clone)]
enum Store {
    Input(Buffer<f32>),
    Owned(Arc<Charged<f32>>),
}

/// A matrix of finite values; cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    store: Store,
    start: usize,
    rows: usize,
    columns: usize,
}

/// Rows of a matrix, divided by their norms or not, of which no whole copy is made.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) matrix: Matrix,
    pub(crate) normalised: bool,
}

impl Rows {
    /// The named rows in order; the caller has checked them.
    pub(crate) fn gather(&self, workers: &Workers, rows: &[u32]) -> Result<Matrix, Fault> {
        let gathered = self.matrix.gather(workers, rows)?;
        if self.normalised { gathered.normalise(workers) } else { Ok(gathered) }
    }
}

impl Matrix {
    /// `rows` rows of `columns` values of an input, from value `start` on. The caller knows that they lie inside.
    pub(crate) fn of_input(values: Buffer<f32>, start: usize, rows: usize, columns: usize) -> Self {
        Self { store: Store::Input(values), start, rows, columns }
    }

    /// A matrix over `values`, which hold `rows * columns` finite numbers.
    pub(crate) fn of_values(values: Charged<f32>, rows: usize, columns: usize) -> Self {
        Self { store: Store::Owned(Arc::new(values)), start: 0, rows, columns }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// All values.
    pub(crate) fn values(&self) -> &[f32] {
        let all: &[f32] = match &self.store {
            Store::Input(values) => values,
            Store::Owned(values) => values,
        };
        &all[self.start..self.start + self.rows * self.columns]
    }

    /// All values, unless they are an input's or shared.
    pub(crate) fn values_mut(&mut self) -> Option<&mut [f32]> {
        let Store::Owned(values) = &mut self.store else { return None };
        Some(&mut Arc::get_mut(values)?[self.start..self.start + self.rows * self.columns])
    }

    /// One row.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values()[row * self.columns..][..self.columns]
    }

    /// A new matrix whose row i is written by `f(i, row)`.
    pub(crate) fn from_rows(
        workers: &Workers,
        rows: usize,
        columns: usize,
        f: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Result<Self, Fault> {
        let mut values = Charged::filled(workers.control(), check::product(rows, columns)?, 0.0f32)?;
        if columns > 0 {
            let block = rows_per_task(columns);
            workers.fill(&mut values, block * columns, |start, out| {
                for (i, out) in out.chunks_exact_mut(columns).enumerate() {
                    f(start / columns + i, out);
                }
                Ok(())
            })?;
        }
        Ok(Self::of_values(values, rows, columns))
    }

    /// The named rows in order; the caller has checked them.
    pub(crate) fn gather(&self, workers: &Workers, rows: &[u32]) -> Result<Self, Fault> {
        Self::from_rows(workers, rows.len(), self.columns, |i, out| out.copy_from_slice(self.row(rows[i] as usize)))
    }

    /// These rows, then those of `bottom`; the caller has checked the columns.
    pub(crate) fn stack(&self, workers: &Workers, bottom: &Self) -> Result<Self, Fault> {
        Self::from_rows(workers, self.rows + bottom.rows, self.columns, |i, out| {
            out.copy_from_slice(if i < self.rows { self.row(i) } else { bottom.row(i - self.rows) });
        })
    }

    /// Each row divided by its norm; rows of norm 0 stay 0.
    pub(crate) fn normalise(&self, workers: &Workers) -> Result<Self, Fault> {
        Self::from_rows(workers, self.rows, self.columns, |i, out| {
            let row = self.row(i);
            let norm = simd::dot(row, row).sqrt();
            if norm > 0.0 {
                simd::divide(out, row, norm);
            }
        })
    }

    /// Squared norm of each row.
    pub(crate) fn sq_norms(&self, workers: &Workers) -> Result<Charged<f64>, Fault> {
        let mut norms = Charged::filled(workers.control(), self.rows, 0.0)?;
        workers.fill(&mut norms, rows_per_task(self.columns), |start, out| {
            for (i, out) in out.iter_mut().enumerate() {
                let row = self.row(start + i);
                *out = simd::dot(row, row);
            }
            Ok(())
        })?;
        Ok(norms)
    }

    /// Mean of the rows: sums of blocks of 1024 rows, added in order, over the number of rows.
    pub(crate) fn mean(&self, workers: &Workers) -> Result<Vec<f64>, Fault> {
        if self.rows == 0 {
            return Err(Fault::new(FaultCode::BadShape, "a matrix without rows has no mean"));
        }
        // A few blocks at a time keep the partial sums small.
        const AT_ONCE: usize = 16;
        let _sums = Charge::of::<f64>(workers.control(), self.columns.saturating_mul(AT_ONCE + 1))?;
        let mut mean = vec![0.0f64; self.columns];
        let blocks = self.rows.div_ceil(ROW_BLOCK);
        for first in (0..blocks).step_by(AT_ONCE) {
            let sums = workers.map(AT_ONCE.min(blocks - first), |i| {
                let start = (first + i) * ROW_BLOCK;
                let mut pacer = Pacer::new(workers.control());
                let mut sums = vec![0.0f64; self.columns];
                for row in start..(start + ROW_BLOCK).min(self.rows) {
                    pacer.spend(self.columns)?;
                    simd::add_scaled(&mut sums, self.row(row), 1.0);
                }
                Ok(sums)
            })?;
            for sums in &sums {
                for (mean, sum) in mean.iter_mut().zip(sums) {
                    *mean += sum;
                }
            }
        }
        for mean in &mut mean {
            *mean /= self.rows as f64;
        }
        Ok(mean)
    }

    /// The transpose.
    fn transposed(&self, workers: &Workers) -> Result<Self, Fault> {
        Self::from_rows(workers, self.columns, self.rows, |column, out| {
            for (row, out) in out.iter_mut().enumerate() {
                *out = self.row(row)[column];
            }
        })
    }

    /// Product with `right`, or with its transpose; sums run over columns of the left factor.
    pub(crate) fn product(&self, workers: &Workers, right: &Self, transpose_right: bool) -> Result<Self, Fault> {
        let (inner, outer) = if transpose_right { (right.columns, right.rows) } else { (right.rows, right.columns) };
        if inner != self.columns {
            let message = format!(
                "the left matrix has {} columns, but the right one offers {inner} to multiply them with",
                self.columns
            );
            return Err(Fault::new(FaultCode::BadShape, message));
        }
        let right = if transpose_right { right.clone() } else { right.transposed(workers)? };
        let mut values = Charged::filled(workers.control(), check::product(self.rows, outer)?, 0.0f32)?;
        if outer > 0 {
            let block = rows_per_task(self.columns.saturating_mul(outer));
            workers.fill(&mut values, block * outer, |start, out| {
                let mut pacer = Pacer::new(workers.control());
                for (i, out) in out.chunks_exact_mut(outer).enumerate() {
                    let left = self.row(start / outer + i);
                    for (j, out) in out.iter_mut().enumerate() {
                        pacer.spend(self.columns + 1)?;
                        *out = simd::dot(left, right.row(j)) as f32;
                    }
                }
                Ok(())
            })?;
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let message = format!("the product overflows f32 in row {}, column {}", at / outer, at % outer);
            return Err(Fault::new(FaultCode::NonFinite, message));
        }
        Ok(Self::of_values(values, self.rows, outer))
    }
}

/// Rows that make a task of about half a million values.
pub(crate) fn rows_per_task(columns: usize) -> usize {
    ((1 << 19) / columns.max(1)).clamp(1, ROW_BLOCK)
}
