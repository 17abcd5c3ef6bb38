//! A question to a strategy: what it is about, and what of that the strategy may see.
//!
//! Loop, `select`, conformance and testkit all write a [`Question`] and hand it to
//! [`Strategy::answer`](crate::Strategy::answer).

mod arrays;
mod given;
mod probabilities;
pub mod rights;
mod subset;
mod tally;

pub use arrays::{Arrays, Reveals};
pub use given::{Given, GivenError, Sorted};
pub use rights::{Granted, RightsError, Settled};
pub use subset::{candidates, subset};
pub use tally::{Pairs, Tally};

use querist_protocol::Selection;

use crate::acquisition::{Acquisition, ContractError};
use crate::ids::Round;
use crate::progress::{Progress, Silent};
use crate::seed::Seeds;
use crate::training::HostServices;

/// A question: the arrays of the pool and how many of its rows are wanted. Everything else is at its default until it
/// is said: the first round of seed 0, no state, no services, nobody who is told of progress.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    arrays: &'a Arrays,
    batch: usize,
    round: Round,
    seeds: Seeds,
    state: Option<&'a [u8]>,
    services: Option<&'a dyn HostServices>,
    progress: &'a dyn Progress,
}

impl<'a> Question<'a> {
    /// Which `batch` rows of these; the whole pool where it has no more.
    pub fn new(arrays: &'a Arrays, batch: usize) -> Self {
        let (round, seeds) = (Round(0), Seeds::new(0));
        Self { arrays, batch, round, seeds, state: None, services: None, progress: &Silent }
    }

    /// In this round.
    #[must_use]
    pub fn in_round(self, round: Round) -> Self {
        Self { round, ..self }
    }

    /// With random numbers of these seeds.
    #[must_use]
    pub fn with_seeds(self, seeds: Seeds) -> Self {
        Self { seeds, ..self }
    }

    /// With what the strategy kept in the round before.
    #[must_use]
    pub fn with_state(self, state: Option<&'a [u8]>) -> Self {
        Self { state, ..self }
    }

    /// With what may be asked about images and model.
    #[must_use]
    pub fn with_services(self, services: Option<&'a dyn HostServices>) -> Self {
        Self { services, ..self }
    }

    /// With somebody who is told of progress, and may stop the strategy.
    #[must_use]
    pub fn with_progress(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }

    /// Rows that are wanted; more than the pool has means the whole pool.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// All its arrays, those included that a strategy may not see.
    pub fn arrays(&self) -> &'a Arrays {
        self.arrays
    }

    /// What a strategy sees of it that was granted these arrays.
    pub fn seen<'b>(&self, granted: &'b Granted) -> Query<'b>
    where
        'a: 'b,
    {
        let Self { batch, round, seeds, state, services, progress, .. } = *self;
        Query { arrays: granted, batch, round, seeds, state, services, progress }
    }

    /// The samples that were selected, once they are known to be an answer to this question.
    ///
    /// # Errors
    /// As for [`Acquisition::check`].
    pub fn check(&self, selection: &Selection) -> Result<Acquisition, ContractError> {
        Acquisition::check(selection, self.arrays.ids(), self.batch)
    }
}

/// A question as one strategy sees it.
pub struct Query<'a> {
    /// The arrays that it may see, and the ids.
    pub arrays: &'a Granted,
    /// Samples to ask for; more than the pool means the whole pool.
    pub batch: usize,
    /// The round.
    pub round: Round,
    /// Source of its random streams; its own code never sees a seed, only streams.
    pub seeds: Seeds,
    /// What it kept in the last round.
    pub state: Option<&'a [u8]>,
    /// What may be asked about images and model, where the learner has such services.
    pub services: Option<&'a dyn HostServices>,
    /// Where progress and log lines go.
    pub progress: &'a dyn Progress,
}

impl Query<'_> {
    /// Rows that must be selected: the batch, or the whole pool where that is smaller.
    pub fn wanted(&self) -> usize {
        self.batch.min(self.arrays.ids().len())
    }
}
