//! Rows that are read a block at a time, because all of them together are too large for memory.
//!
//! Each thread keeps the few blocks that it read last. Rows that are asked for in order are read a block at a time, and
//! those in any other order one by one. Whatever fails while a row is read stops the query by its control: kernels go
//! on with zeros until they look at it, and no result of such a query leaves the host.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use querist_core::RowSource;
use querist_protocol::{Fault, FaultCode};

use crate::control::Control;
use crate::matrix::Matrix;
use crate::simd;

/// Values of a block, about.
const BLOCK_VALUES: usize = 1 << 17;
/// Rows of a block, at least and at most: powers of two, which blocks of kernels begin at.
const BLOCK_ROWS: (usize, usize) = (128, 4096);
/// Blocks that a thread keeps.
const KEPT: usize = 4;
/// Rows that may be left out by those who read in order.
const STEP: usize = 16;

/// Where rows come from.
#[derive(Debug)]
enum Origin {
    Source(Arc<dyn RowSource>),
    /// Rows of one matrix, then those of another.
    Stack(Matrix, Matrix),
    /// Rows divided by their norms.
    Normalised(Matrix),
}

/// Rows that are read when they are needed.
#[derive(Debug)]
pub(crate) struct Far {
    from: Origin,
    /// What threads know its blocks by.
    id: u64,
    columns: usize,
    control: Arc<Control>,
}

/// A block of a thread, and the row of its matrix that was asked for last.
struct Kept {
    id: u64,
    rows: Range<usize>,
    values: Arc<Vec<f32>>,
    last: usize,
}

thread_local! {
    static BLOCKS: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// Some values of a block, which live as long as they are looked at.
#[derive(Debug)]
pub(crate) struct Part {
    values: Arc<Vec<f32>>,
    range: Range<usize>,
}

impl std::ops::Deref for Part {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        &self.values[self.range.clone()]
    }
}

impl Far {
    pub(crate) fn of_source(control: &Arc<Control>, source: Arc<dyn RowSource>) -> Self {
        Self::new(control, source.width(), Origin::Source(source))
    }

    /// The rows of two matrices of as many columns.
    pub(crate) fn stack(control: &Arc<Control>, top: Matrix, bottom: Matrix) -> Self {
        Self::new(control, top.columns(), Origin::Stack(top, bottom))
    }

    pub(crate) fn normalised(control: &Arc<Control>, rows: Matrix) -> Self {
        Self::new(control, rows.columns(), Origin::Normalised(rows))
    }

    fn new(control: &Arc<Control>, columns: usize, from: Origin) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { from, id: NEXT.fetch_add(1, Ordering::Relaxed), columns, control: Arc::clone(control) }
    }

    /// Whether these are the rows of `source`.
    pub(crate) fn is_of(&self, source: &Arc<dyn RowSource>) -> bool {
        matches!(&self.from, Origin::Source(own) if Arc::ptr_eq(own, source))
    }

    /// Reads whole rows, from row `first` on, without keeping a block.
    pub(crate) fn read(&self, first: usize, out: &mut [f32]) -> Result<(), Fault> {
        let columns = self.columns.max(1);
        match &self.from {
            Origin::Source(source) => source
                .read(first, out)
                .map_err(|message| self.control.fail(Fault::new(FaultCode::BadArgument, message))),
            Origin::Stack(top, bottom) => {
                let of_top = top.rows().saturating_sub(first).min(out.len() / columns);
                let (above, below) = out.split_at_mut(of_top * columns);
                if !above.is_empty() {
                    top.read(first, above)?;
                }
                if below.is_empty() { Ok(()) } else { bottom.read(first + of_top - top.rows(), below) }
            }
            Origin::Normalised(rows) => {
                rows.read(first, out)?;
                out.chunks_exact_mut(columns).for_each(normalise);
                Ok(())
            }
        }
    }

    /// One row of those up to `end`; blocks begin at multiples of their size from `start` on.
    pub(crate) fn row(&self, row: usize, (start, end): (usize, usize)) -> Part {
        self.with_kept(|far, kept| {
            if !kept.rows.contains(&row) {
                let block = far.block_rows();
                let at = (row - start) % block;
                let is_next = row > kept.last && row - kept.last <= STEP;
                let until = if at == 0 || is_next { (row - at + block).min(end) } else { row + 1 };
                far.fill(kept, row..until);
            }
            kept.last = row;
            far.part(kept, row..row + 1)
        })
    }

    /// Rows that follow one another. What is read beyond them lies before `end`.
    pub(crate) fn rows(&self, rows: Range<usize>, end: usize) -> Part {
        self.with_kept(|far, kept| {
            if rows.start < kept.rows.start || rows.end > kept.rows.end {
                let until = (rows.start + far.block_rows()).min(end).max(rows.end);
                far.fill(kept, rows.start..until);
            }
            kept.last = rows.end.saturating_sub(1);
            far.part(kept, rows)
        })
    }

    fn block_rows(&self) -> usize {
        let (least, most) = BLOCK_ROWS;
        (BLOCK_VALUES / self.columns.max(1)).max(1).next_power_of_two().clamp(least, most)
    }

    fn part(&self, kept: &Kept, rows: Range<usize>) -> Part {
        let first = kept.rows.start;
        let range = (rows.start - first) * self.columns..(rows.end - first) * self.columns;
        Part { values: Arc::clone(&kept.values), range }
    }

    /// Reads a block in the place of the one that is kept; zeros where that fails.
    fn fill(&self, kept: &mut Kept, rows: Range<usize>) {
        let length = rows.len() * self.columns;
        // Whoever still looks at the old block keeps it.
        if Arc::get_mut(&mut kept.values).is_none() {
            kept.values = Arc::default();
        }
        if let Some(values) = Arc::get_mut(&mut kept.values) {
            values.resize(length, 0.0);
            if self.read(rows.start, values).is_err() {
                values.fill(0.0);
            }
        }
        kept.rows = rows;
    }

    /// Calls `f` with what this thread keeps of these rows.
    fn with_kept<R>(&self, f: impl FnOnce(&Self, &mut Kept) -> R) -> R {
        BLOCKS.with_borrow_mut(|blocks| {
            let at = blocks.iter().position(|kept| kept.id == self.id).unwrap_or_else(|| {
                if blocks.len() == KEPT {
                    blocks.remove(0);
                }
                blocks.push(Kept { id: self.id, rows: 0..0, values: Arc::default(), last: usize::MAX });
                blocks.len() - 1
            });
            f(self, &mut blocks[at])
        })
    }
}

/// Divides a row by its norm; a row of norm 0 becomes 0.
pub(crate) fn normalise(row: &mut [f32]) {
    let norm = simd::dot(row, row).sqrt();
    if norm > 0.0 {
        simd::divide(row, norm);
    } else {
        row.fill(0.0);
    }
}
