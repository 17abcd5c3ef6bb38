//! Who is told what happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::acquisition::Acquisition;
use crate::array::Array;
use crate::fitted::EpochRecord;
use crate::ids::{Label, Round, SampleId};
use crate::learner::Learner;
use crate::metric::Confusion;
use crate::progress::Progress;
use crate::question::Reveals;
use crate::record::RoundRecord;
use crate::synthetic::Synthetic;

/// Takes finished rounds; a round counts as done only once this returns.
pub trait Observer {
    /// Where progress goes.
    fn progress(&self) -> &dyn Progress;

    /// Who is told of each hidden label that the strategy asks for in this round, for strategies that ask for labels
    /// one by one inside their batch.
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

/// A finished round, as handed to the observer to be made durable.
pub struct FinishedRound<'a> {
    /// The record.
    pub record: &'a RoundRecord,
    /// What was taken for what on the test set.
    pub confusion: &'a Confusion,
    /// Training curve of this round.
    pub epochs: &'a [EpochRecord],
    /// What was acquired and its labels, in pick order; `None` in the last round.
    pub picks: Option<(&'a Acquisition, &'a [(SampleId, Label)])>,
    /// Images that the strategy made in this round, in pick order.
    pub synthetic: &'a [Synthetic],
    /// What the strategy wants back next round.
    pub state: Option<&'a [u8]>,
    /// Arrays that the strategy saw; empty in the last round.
    pub features: &'a BTreeMap<String, Array>,
    /// Holder of the fitted model, to be saved on demand.
    pub learner: &'a dyn Learner,
}
