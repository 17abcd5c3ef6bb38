//! How far long work is, and whether to go on with it.

use querist_protocol::LogLevel;

/// Parts of a round, as shown to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Training the task model.
    Fit,
    /// Predicting the test set.
    Evaluate,
    /// Computing the arrays that the strategy needs.
    Features,
    /// Choosing samples.
    Query,
}

/// The user stopped the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Receives progress while something long runs, and says whether to go on. Called from worker threads too.
pub trait Progress: Sync {
    /// `done` of `total` steps of `phase` are over.
    ///
    /// # Errors
    /// [`Cancelled`] once the user wants to stop.
    fn report(&self, phase: Phase, done: u64, total: u64) -> Result<(), Cancelled>;

    /// A line from a strategy.
    fn log(&self, _level: LogLevel, _message: &str) {}
}

/// Reports to nobody and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: Phase, _: u64, _: u64) -> Result<(), Cancelled> {
        Ok(())
    }
}
