//! The question, as a strategy sees it.

use querist_protocol::{LogLevel, QueryInfo, Selection, StreamScope, math, names};

use crate::host::Host;
use crate::objects::{Matrix, Stream, Vector};
use crate::strategy::Result;

/// Scores of rows: the highest is selected first; `second` breaks ties, then the lower row wins.
pub struct Scores {
    /// One score a row.
    pub primary: Vector,
    /// One tie-breaker a row.
    pub second: Option<Vector>,
}

impl From<(Vector, Vector)> for Scores {
    /// Scores, and what breaks their ties.
    fn from((primary, second): (Vector, Vector)) -> Self {
        Self { primary, second: Some(second) }
    }
}

impl From<Vector> for Scores {
    fn from(primary: Vector) -> Self {
        Self { primary, second: None }
    }
}

/// One query over the pool, or over one tile of it for a scorer.
pub struct Query {
    host: Host,
    info: QueryInfo,
    state: Option<Vec<u8>>,
}

impl Query {
    /// A query that `host` answers.
    #[doc(hidden)]
    pub fn new(host: Host, state: Option<Vec<u8>>) -> Self {
        let info = host.calls().info();
        Self { host, info, state }
    }

    /// The host, with every call as it is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Visible rows.
    pub fn rows(&self) -> u32 {
        self.info.rows
    }

    /// Pool row of the first visible row; 0 unless this is a tile.
    pub fn first_row(&self) -> u32 {
        self.info.first_row
    }

    /// Samples in the labelled set.
    pub fn labelled_rows(&self) -> u32 {
        self.info.labelled_rows
    }

    /// Classes of the task, whether or not labels of each were seen.
    pub fn classes(&self) -> u32 {
        self.info.classes
    }

    /// Samples that the user wants.
    pub fn batch(&self) -> u32 {
        self.info.batch
    }

    /// Rows that must be selected: the batch, or the whole pool where that is smaller.
    pub fn wanted(&self) -> u32 {
        self.info.batch.min(self.info.rows)
    }

    /// Round of the run, from 0.
    pub fn round(&self) -> u32 {
        self.info.round
    }

    /// What this strategy kept in the round before.
    pub fn state(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    /// Global ids of the visible rows, ascending.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn ids(&self) -> Result<Vec<u64>> {
        self.host.ids(0, self.info.rows)
    }

    /// Global ids of the labelled set, ascending: those of the rows of every labelled array.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn labelled_ids(&self) -> Result<Vec<u64>> {
        self.host.labelled_ids(0, self.info.labelled_rows)
    }

    /// An array of floats that the strategy declared, `[rows, rest]`.
    ///
    /// # Errors
    /// If it was not declared.
    pub fn matrix(&self, name: &str) -> Result<Matrix> {
        self.host.input(name)
    }

    /// Whether this query has a need that the strategy declared: of two choices (`head.w(or=head)`) it has one.
    ///
    /// # Errors
    /// If it was not declared.
    pub fn has(&self, name: &str) -> Result<bool> {
        self.host.has(name)
    }

    /// Labels of the labelled set, `[labelled]`; declare `labelled.labels` for them.
    ///
    /// # Errors
    /// If they were not declared.
    pub fn labelled_labels(&self) -> Result<Vec<u32>> {
        self.host.labels(names::LABELLED_LABELS, 0, self.info.labelled_rows)
    }

    /// Hidden labels of the visible pool, `[rows]`; declare `oracle.labels` and the capability `oracle-labels` for
    /// them.
    ///
    /// # Errors
    /// If they were not declared.
    pub fn oracle_labels(&self) -> Result<Vec<u32>> {
        self.host.labels(names::ORACLE_LABELS, self.info.first_row, self.info.rows)
    }

    /// The first `count` labels of a `u32` array that the strategy declared, such as `calibration.labels`.
    ///
    /// # Errors
    /// If it was not declared, or has fewer.
    pub fn labels(&self, name: &str, count: u32) -> Result<Vec<u32>> {
        self.host.labels(name, 0, count)
    }

    /// Opens the random stream named `tag`. Opening it again gives the same numbers from the start.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn stream(&self, tag: &str, scope: StreamScope) -> Result<Stream> {
        self.host.stream(tag, scope)
    }

    /// The label of one visible row, which the oracle gives as soon as it is asked; declare `oracle.labels` and the
    /// capability `oracle-stream` for it, and ask only for rows that the selection will hold.
    ///
    /// # Errors
    /// If the labels were not declared, or there is no such row.
    pub fn reveal(&self, row: u32) -> Result<u32> {
        let row = self.info.first_row.saturating_add(row);
        Ok(self.host.labels(names::ORACLE_LABELS, row, 1)?[0])
    }

    /// Makes a vector of the host from values.
    ///
    /// # Errors
    /// If a value is NaN or a limit is passed.
    pub fn vector(&self, values: &[f64]) -> Result<Vector> {
        self.host.vector(values)
    }

    /// A mask over `rows` rows that excludes none.
    ///
    /// # Errors
    /// If a limit is passed.
    pub fn mask(&self, rows: u32) -> Result<crate::Mask> {
        self.host.mask(rows)
    }

    /// Makes a matrix of the host from values, `[rows, columns]`.
    ///
    /// # Errors
    /// If the sizes do not fit, a value is not finite, or a limit is passed.
    pub fn new_matrix(&self, rows: u32, columns: u32, values: &[f32]) -> Result<Matrix> {
        self.host.matrix(rows, columns, values)
    }

    /// Writes a line to the run's log.
    ///
    /// # Errors
    /// If the log is full.
    pub fn log(&self, level: LogLevel, message: &str) -> Result<()> {
        self.host.log(level, message)
    }

    /// Reports progress; fails once the user has cancelled or time is up.
    ///
    /// # Errors
    /// On cancellation or timeout; pass it on.
    pub fn progress(&self, done: u64, total: u64) -> Result<()> {
        self.host.progress(done, total)
    }

    /// A standard Gumbel number of each visible row, from the random numbers of this round that are named `tag`: the
    /// rows with the largest sums of a logarithmic weight and their numbers are a draw in proportion to the weights,
    /// without replacement.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn gumbels(&self, tag: &str) -> Result<Vec<f64>> {
        let numbers = self.stream(tag, StreamScope::Round)?.by_row(0)?.to_vec()?;
        Ok(numbers.into_iter().map(|u| -math::ln(-math::ln(u))).collect())
    }

    /// The wanted rows with the largest `keys` (one a visible row), the lower row first among equals, with their
    /// `scores`.
    ///
    /// # Errors
    /// If a key is NaN, or lengths disagree.
    pub fn largest(&self, keys: &[f64], scores: &[f64]) -> Result<Selection> {
        let rows = self.vector(keys)?.top(None, self.wanted(), None)?;
        let scores = rows.iter().map(|&row| scores[row as usize]).collect();
        Ok(Selection { rows, scores, ..Selection::default() })
    }

    /// A random part of pool and labelled set, `most` samples or all, from the random numbers of the run that are named
    /// `tag`: as long as samples stay in the pool, later rounds draw the same ones. Rows of the pool, then, counted on
    /// from [`Query::rows`], those of the labelled set; ascending.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn part_of_dataset(&self, tag: &str, most: u32) -> Result<Vec<u32>> {
        let all = self.rows().saturating_add(self.labelled_rows());
        if all <= most {
            return Ok((0..all).collect());
        }
        let numbers = self.stream(tag, StreamScope::Run)?;
        let mut keys = numbers.by_row(0)?.to_vec()?;
        keys.extend(numbers.uniforms(self.labelled_rows())?);
        let mut chosen = self.vector(&keys)?.top(None, most, None)?;
        chosen.sort_unstable();
        Ok(chosen)
    }
}
