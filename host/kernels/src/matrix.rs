//! Row-major `f32` matrices: views of inputs, or objects of the query.

use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use querist_core::{Buffer, RowSource};
use querist_protocol::{Fault, FaultCode};

use crate::check;
use crate::control::{Control, Pacer};
use crate::dots::{self, Dots};
use crate::far::{self, Far};
use crate::memory::{Charge, Charged};
use crate::simd;
use crate::workers::Workers;

/// Rows that one task handles at a time where rows are cheap.
pub(crate) const ROW_BLOCK: usize = 1024;

#[derive(Debug, Clone)]
enum Store {
    Input(Buffer<f32>),
    Owned(Arc<Charged<f32>>),
    Far(Arc<Far>),
}

/// Some values of a matrix: lent by it, or read from where its rows are.
#[derive(Debug)]
pub(crate) enum Values<'a> {
    Lent(&'a [f32]),
    Read(far::Part),
}

impl Deref for Values<'_> {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        match self {
            Self::Lent(values) => values,
            Self::Read(part) => part,
        }
    }
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

    /// A matrix without rows.
    pub(crate) fn none() -> Self {
        Self::of_input(Vec::new().into(), 0, 0, 0)
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

    /// Some rows of a source. The caller knows that it has them.
    pub(crate) fn of_source(control: &Arc<Control>, source: &Arc<dyn RowSource>, rows: Range<usize>) -> Self {
        let far = Arc::new(Far::of_source(control, Arc::clone(source)));
        Self { start: rows.start * source.width(), rows: rows.len(), columns: source.width(), store: Store::Far(far) }
    }

    fn of_far(far: Far, rows: usize, columns: usize) -> Self {
        Self { store: Store::Far(Arc::new(far)), start: 0, rows, columns }
    }

    /// Whether its rows are read in blocks.
    pub(crate) fn is_far(&self) -> bool {
        matches!(self.store, Store::Far(_))
    }

    /// Whether these are all rows of a buffer or of a source.
    pub(crate) fn is_all_of(&self, buffer: Option<&Buffer<f32>>, source: Option<&Arc<dyn RowSource>>) -> bool {
        match &self.store {
            Store::Input(values) => buffer.is_some_and(|buffer| {
                std::ptr::eq(&raw const **buffer, &raw const **values) && self.rows * self.columns == buffer.len()
            }),
            Store::Far(far) => source.is_some_and(|source| far.is_of(source) && source.rows() == self.rows),
            Store::Owned(_) => false,
        }
    }

    /// All values. Of rows that are read in blocks that is a copy: for small ones.
    pub(crate) fn values(&self) -> Values<'_> {
        self.block(0..self.rows)
    }

    /// The values of rows that follow one another.
    #[inline]
    pub(crate) fn block(&self, rows: Range<usize>) -> Values<'_> {
        let all: &[f32] = match &self.store {
            Store::Input(values) => values,
            Store::Owned(values) => values,
            Store::Far(far) => {
                let first = self.first();
                return Values::Read(far.rows(first + rows.start..first + rows.end, first + self.rows));
            }
        };
        Values::Lent(&all[self.start + rows.start * self.columns..self.start + rows.end * self.columns])
    }

    /// The first of its rows among those of the store.
    fn first(&self) -> usize {
        self.start / self.columns.max(1)
    }

    /// Copies whole rows, from row `first` on.
    pub(crate) fn read(&self, first: usize, out: &mut [f32]) -> Result<(), Fault> {
        match &self.store {
            Store::Far(far) => far.read(self.first() + first, out),
            _ => {
                let rows = first..first + out.len() / self.columns.max(1);
                out.copy_from_slice(&self.block(rows));
                Ok(())
            }
        }
    }

    /// The same matrix in memory, on the query's account.
    pub(crate) fn near(&self, workers: &Workers) -> Result<Self, Fault> {
        if !self.is_far() {
            return Ok(self.clone());
        }
        let whole = || Self::from_rows(workers, self.rows, self.columns, |i, out| out.copy_from_slice(&self.row(i)));
        whole().and_then(|whole| workers.control().check().map(|()| whole)).map_err(|fault| match fault.code {
            FaultCode::Quota => too_large(self, &fault),
            _ => fault,
        })
    }

    /// All values, unless they are an input's or shared.
    pub(crate) fn values_mut(&mut self) -> Option<&mut [f32]> {
        let Store::Owned(values) = &mut self.store else { return None };
        Some(&mut Arc::get_mut(values)?[self.start..self.start + self.rows * self.columns])
    }

    /// One row.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> Values<'_> {
        let all: &[f32] = match &self.store {
            Store::Input(values) => values,
            Store::Owned(values) => values,
            Store::Far(far) => {
                let first = self.first();
                return Values::Read(far.row(first + row, (first, first + self.rows)));
            }
        };
        Values::Lent(&all[self.start + row * self.columns..][..self.columns])
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
        Self::from_rows(workers, rows.len(), self.columns, |i, out| out.copy_from_slice(&self.row(rows[i] as usize)))
    }

    /// These rows, then those of `bottom`; the caller has checked the columns.
    pub(crate) fn stack(&self, workers: &Workers, bottom: &Self) -> Result<Self, Fault> {
        let rows = self.rows + bottom.rows;
        if self.is_far() || bottom.is_far() {
            return Ok(Self::of_far(Far::stack(workers.control(), self.clone(), bottom.clone()), rows, self.columns));
        }
        Self::from_rows(workers, rows, self.columns, |i, out| {
            out.copy_from_slice(&if i < self.rows { self.row(i) } else { bottom.row(i - self.rows) });
        })
    }

    /// Each row divided by its norm; rows of norm 0 stay 0. Where nobody else holds them, that happens in place.
    pub(crate) fn normalise(mut self, workers: &Workers) -> Result<Self, Fault> {
        let (rows, columns) = (self.rows, self.columns);
        if self.is_far() {
            return Ok(Self::of_far(Far::normalised(workers.control(), self), rows, columns));
        }
        if let Some(values) = self.values_mut() {
            workers.fill(values, rows_per_task(columns) * columns.max(1), |_, part| {
                part.chunks_exact_mut(columns).for_each(far::normalise);
                Ok(())
            })?;
            return Ok(self);
        }
        Self::from_rows(workers, rows, columns, |i, out| {
            out.copy_from_slice(&self.row(i));
            far::normalise(out);
        })
    }

    /// Squared norm of each row.
    pub(crate) fn sq_norms(&self, workers: &Workers) -> Result<Charged<f64>, Fault> {
        let mut norms = Charged::filled(workers.control(), self.rows, 0.0)?;
        workers.fill(&mut norms, rows_per_task(self.columns), |start, out| {
            for (i, out) in out.iter_mut().enumerate() {
                let row = self.row(start + i);
                *out = simd::dot(&row, &row);
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
                    simd::add_scaled(&mut sums, &self.row(row), 1.0);
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
        let overflows = AtomicBool::new(false);
        if outer > 0 {
            workers.fill(&mut values, dots::left_block(self.rows, self.columns) * outer, |start, out| {
                let mut pacer = Pacer::new(workers.control());
                let mut dots = Dots::new(workers.control(), self, &right)?;
                let rows = start / outer..(start + out.len()) / outer;
                for others in dots::blocks(outer) {
                    let lines = dots.multiply(rows.clone(), others.clone(), &mut pacer)?;
                    for (out, line) in out.chunks_exact_mut(outer).zip(&*lines) {
                        let out = &mut out[others.clone()];
                        out.iter_mut().zip(line).for_each(|(out, &dot)| *out = dot as f32);
                        if !out.iter().fold(true, |finite, value| finite & value.is_finite()) {
                            overflows.store(true, Ordering::Relaxed);
                        }
                    }
                }
                Ok(())
            })?;
        }
        if overflows.into_inner()
            && let Some(at) = values.iter().position(|value| !value.is_finite())
        {
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

fn too_large(matrix: &Matrix, fault: &Fault) -> Fault {
    let message = format!(
        "this strategy needs all {} x {} values of the shards in memory at once: {}; raise the memory limit (of \
         `select`: `--memory`), or use a strategy that reads shards in blocks: docs/large-pools.md lists them",
        matrix.rows, matrix.columns, fault.message
    );
    Fault::new(FaultCode::Quota, message)
}
