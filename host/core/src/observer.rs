//! Who is told what happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use querist_protocol::math;

use crate::acquisition::Acquisition;
use crate::array::Array;
use crate::fitted::EpochRecord;
use crate::ids::{Label, Round, SampleId};
use crate::learner::Learner;
use crate::metric::Confusion;
use crate::outcome::Outcome;
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

    /// Keeps a round whose batch waits for its labels; the run then ends, and goes on once they are there.
    ///
    /// # Errors
    /// If the round could not be made durable, or nobody here can wait.
    fn round_asked(&mut self, round: &AskedRound<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("nobody waits for the labels of round {}", round.round.record.round).into())
    }
}

/// What a model takes a sample for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guess {
    /// Its most likely class.
    pub class: Label,
    /// How likely it is by the model.
    pub probability: f64,
}

impl Guess {
    /// By the logits of a sample, one a class.
    pub(crate) fn of(logits: &[f32]) -> Self {
        let class = math::argmax(logits);
        let top = f64::from(logits[class]);
        let sum: f64 = logits.iter().map(|&logit| math::exp(f64::from(logit) - top)).sum();
        Self { class: Label(class as u32), probability: 1.0 / sum }
    }
}

/// A round that is finished but for the labels of its batch.
pub struct AskedRound<'a> {
    /// Everything else. The record counts no labels yet, and nothing is known of the picks.
    pub round: FinishedRound<'a>,
    /// What the model takes each sample of the batch for, in pick order; empty where no model was trained.
    pub guesses: &'a [Guess],
}

/// A finished round, as handed to the observer to be made durable.
pub struct FinishedRound<'a> {
    /// The record.
    pub record: &'a RoundRecord,
    /// What was taken for what on the test set.
    pub confusion: &'a Confusion,
    /// Training curve of this round.
    pub epochs: &'a [EpochRecord],
    /// What was acquired and what that turned out to be, in pick order; `None` in the last round.
    pub picks: Option<(&'a Acquisition, &'a [(SampleId, Outcome)])>,
    /// Classes that the model predicts for the samples that are watched, where some are.
    pub watched: &'a [(SampleId, Label)],
    /// Images that the strategy made in this round, in pick order.
    pub synthetic: &'a [Synthetic],
    /// What the strategy wants back next round.
    pub state: Option<&'a [u8]>,
    /// Arrays that the strategy saw; empty in the last round.
    pub features: &'a BTreeMap<String, Array>,
    /// Holder of the fitted model, to be saved on demand.
    pub learner: &'a dyn Learner,
}
