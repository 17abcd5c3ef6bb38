//! Rows that stay in files too large for memory, and are read a block at a time.

use std::fmt;
use std::sync::Arc;

/// Rows of floats that are read when they are needed.
pub trait RowSource: fmt::Debug + Send + Sync {
    /// Rows.
    fn rows(&self) -> usize;

    /// Values in one row.
    fn width(&self) -> usize;

    /// Fills `out` with whole rows, from row `first` on.
    ///
    /// # Errors
    /// A sentence with file and row, if they cannot be read.
    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), String>;

    /// Where a row lies, for messages.
    fn place(&self, row: usize) -> String;
}

/// Some rows of another source, in an order of their own.
#[derive(Debug)]
struct SomeRows {
    source: Arc<dyn RowSource>,
    rows: Vec<u32>,
}

/// These rows of a source; whether they exist is known when they are read.
pub(crate) fn some_rows(source: &Arc<dyn RowSource>, rows: &[u32]) -> Arc<dyn RowSource> {
    Arc::new(SomeRows { source: Arc::clone(source), rows: rows.to_vec() })
}

impl RowSource for SomeRows {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn width(&self) -> usize {
        self.source.width()
    }

    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), String> {
        let width = self.width().max(1);
        let (mut rows, mut out) = (&self.rows[first..first + out.len() / width], out);
        while let Some(&start) = rows.first() {
            // Those that follow one another are read together.
            let is_gap = |pair: &[u32]| pair[0].checked_add(1) != Some(pair[1]);
            let count = rows.windows(2).position(is_gap).map_or(rows.len(), |at| at + 1);
            let (here, rest) = out.split_at_mut(count * width);
            self.source.read(start as usize, here)?;
            (rows, out) = (&rows[count..], rest);
        }
        Ok(())
    }

    fn place(&self, row: usize) -> String {
        self.rows.get(row).map_or_else(String::new, |&row| self.source.place(row as usize))
    }
}

/// What is done with each block of rows before anybody sees it.
pub(crate) type Step = fn(&mut [f32], usize) -> Result<(), (usize, String)>;

/// Rows of another source after a step, all of them finite.
#[derive(Debug)]
struct Seen {
    source: Arc<dyn RowSource>,
    name: String,
    step: Option<Step>,
}

/// The rows of a source that is called `name`, of which every block passes a step. A step says in which of its rows
/// something is wrong, and what.
pub(crate) fn seen(source: Arc<dyn RowSource>, name: &str, step: Option<Step>) -> Arc<dyn RowSource> {
    Arc::new(Seen { source, name: name.to_owned(), step })
}

impl RowSource for Seen {
    fn rows(&self) -> usize {
        self.source.rows()
    }

    fn width(&self) -> usize {
        self.source.width()
    }

    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), String> {
        self.source.read(first, out)?;
        let width = self.width().max(1);
        let wrong = |row: usize, what: String| Err(format!("{}: `{}`: {what}", self.place(first + row), self.name));
        if let Some(step) = self.step
            && let Err((row, what)) = step(out, width)
        {
            return wrong(row, what);
        }
        match first_non_finite(out) {
            None => Ok(()),
            Some(at) => wrong(at / width, format!("the value {}; every value must be finite", out[at])),
        }
    }

    fn place(&self, row: usize) -> String {
        self.source.place(row)
    }
}

/// Position of the first NaN or infinity.
pub(crate) fn first_non_finite(values: &[f32]) -> Option<usize> {
    // Whole blocks are tested without a branch a value; the position is looked for only where one fails.
    const BLOCK: usize = 4096;
    values.chunks(BLOCK).enumerate().find_map(|(block, chunk)| {
        let bad = chunk.iter().fold(false, |bad, value| bad | !value.is_finite());
        bad.then(|| chunk.iter().position(|value| !value.is_finite()).map(|at| block * BLOCK + at)).flatten()
    })
}
