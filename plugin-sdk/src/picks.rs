//! An answer in the making.

use querist_protocol::{Selection, StreamScope};

use crate::objects::{Mask, Vector};
use crate::query::Query;
use crate::strategy::Result;

/// The rows picked so far, in pick order, and what is still there. [`Query::picks`] makes it.
///
/// ```
/// # use querist_sdk::prelude::*;
/// fn farthest_first(query: &Query, nearest: &Nearest) -> Result<Selection> {
///     let mut picks = query.picks()?;
///     while picks.missing() > 0 {
///         let Some((row, distance)) = nearest.farthest(Some(picks.taken()))? else { break };
///         picks.take(row, distance)?;
///         nearest.add(&[row])?;
///     }
///     picks.fill_at_random()
/// }
/// ```
pub struct Picks<'a> {
    query: &'a Query,
    taken: Mask,
    selection: Selection,
}

impl Query {
    /// An answer without picks yet.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn picks(&self) -> Result<Picks<'_>> {
        Ok(Picks { query: self, taken: self.mask(self.rows())?, selection: Selection::default() })
    }
}

impl Picks<'_> {
    /// How many rows are still to be picked.
    pub fn missing(&self) -> u32 {
        self.query.wanted() - self.len()
    }

    /// How many rows are picked.
    pub fn len(&self) -> u32 {
        self.selection.rows.len() as u32
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.selection.rows.is_empty()
    }

    /// The picked rows, in pick order.
    pub fn rows(&self) -> &[u32] {
        &self.selection.rows
    }

    /// A mask that excludes the picked rows.
    pub fn taken(&self) -> &Mask {
        &self.taken
    }

    /// Picks a row, with its score where picks have scores (`None` otherwise), and reports progress.
    ///
    /// # Errors
    /// If there is no such row; once the user has cancelled or time is up.
    pub fn take(&mut self, row: u32, score: impl Into<Option<f64>>) -> Result<()> {
        self.taken.exclude(&[row])?;
        self.selection.rows.push(row);
        self.selection.scores.extend(score.into());
        self.query.progress(u64::from(self.len()), u64::from(self.query.wanted()))
    }

    /// Picks several rows, which have no scores.
    ///
    /// # Errors
    /// As [`Picks::take`].
    pub fn take_all(&mut self, rows: impl IntoIterator<Item = u32>) -> Result<()> {
        let before = self.selection.rows.len();
        self.selection.rows.extend(rows);
        self.taken.exclude(&self.selection.rows[before..])?;
        self.query.progress(u64::from(self.len()), u64::from(self.query.wanted()))
    }

    /// Records a named figure beside the answer.
    pub fn note(&mut self, name: &str, value: impl Into<f64>) {
        self.selection.diagnostics.push((name.to_owned(), value.into()));
    }

    /// Keeps a state for the next round.
    pub fn keep(&mut self, state: Option<Vec<u8>>) {
        self.selection.state = state;
    }

    /// The answer as it is.
    pub fn done(self) -> Selection {
        self.selection
    }

    /// The answer, with random rows for those that are missing. They score 0 where the others have scores, and
    /// `fallback_count` says how many they are.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn fill_at_random(self) -> Result<Selection> {
        if self.missing() == 0 {
            return self.filled_with(Vec::new());
        }
        let keys = self.query.stream("refill", StreamScope::Round)?.by_row(0)?;
        self.fill_by(&keys, None)
    }

    /// The answer, with the rows of the largest `values` for those that are missing; `second` breaks ties. They score 0
    /// where the others have scores, and `fallback_count` says how many they are.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn fill_by(self, values: &Vector, second: Option<&Vector>) -> Result<Selection> {
        let rows = values.top(second, self.missing(), Some(&self.taken))?;
        self.filled_with(rows)
    }

    fn filled_with(mut self, rows: Vec<u32>) -> Result<Selection> {
        let count = rows.len() as u32;
        self.selection.rows.extend(rows);
        if !self.selection.scores.is_empty() {
            self.selection.scores.resize(self.selection.rows.len(), 0.0);
        }
        self.note("fallback_count", count);
        Ok(self.selection)
    }
}
