//! Who is told what happens.

use std::sync::Arc;

use querist_protocol::LogLevel;

use crate::array::Reveals;
use crate::ids::Round;
use crate::record::FinishedRound;

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

/// Takes finished rounds; a round counts as done only once this returns.
pub trait Observer {
    /// Where progress goes.
    fn progress(&self) -> &dyn Progress;

    /// Who is told of each hidden label that the strategy asks for in this round, for strategies that ask for labels one
    /// by one inside their batch.
    ///
    /// # Errors
    /// If what was told before cannot be read.
    fn reveals(&self, _round: Round) -> Result<Option<Arc<dyn Reveals>>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(None)
    }

    /// Commits a finished round.
    ///
    /// # Errors
    /// If the round could not be made durable; the run then stops.
    fn round_done(&mut self, round: &FinishedRound<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}
