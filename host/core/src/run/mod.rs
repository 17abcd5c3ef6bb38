//! The loop.

mod error;
mod halves;
mod settle;
mod steps;

pub use error::RunError;
pub use halves::{Asked, Evaluation, ask, tell};
pub use settle::check;

use querist_protocol::{Giver, Need};

use crate::config::{Plan, TargetSet};
use crate::dataset::Dataset;
use crate::fixed::{FixedArray, FixedArrays};
use crate::ids::{Round, SampleId};
use crate::learner::Learner;
use crate::observer::Observer;
use crate::oracle::Oracle;
use crate::outcome::Outcome;
use crate::partition::{Partition, PartitionError};
use crate::seed::Seeds;
use crate::split::Split;
use crate::strategy::Strategy;
use crate::synthetic::Synthetic;

/// Everything a run is made of.
pub struct Run<'a> {
    /// Images and hidden labels.
    pub dataset: &'a Dataset,
    /// Pool, validation and test.
    pub split: &'a Split,
    /// How many samples to ask for, round by round.
    pub plan: &'a Plan,
    /// What queries choose from and see.
    pub options: QueryOptions<'a>,
    /// Sources of randomness.
    pub seeds: Seeds,
    /// Trains and computes arrays.
    pub learner: &'a mut dyn Learner,
    /// Chooses.
    pub strategy: &'a mut dyn Strategy,
    /// Labels.
    pub oracle: &'a mut dyn Oracle,
    /// Makes rounds durable.
    pub observer: &'a mut dyn Observer,
    /// The round after which to stop, to go on another time.
    pub stop_after: Option<Round>,
}

/// What queries choose from and see beside the model.
#[derive(Debug, Clone, Copy, Default)]
pub struct QueryOptions<'a> {
    /// How many samples of the pool a query may choose from; all where it is left out.
    pub subset: Option<usize>,
    /// Held-out samples that the strategy may aim at.
    pub target: Option<TargetSet>,
    /// Arrays that do not come from the task model; embeddings among them take the place of the model's own.
    pub fixed: Option<&'a FixedArrays>,
    /// Samples whose predicted classes are recorded in each round.
    pub watched: &'a [SampleId],
}

impl<'a> QueryOptions<'a> {
    /// The array of a need that does not come from the task model, if there is one.
    fn fixed(&self, need: &Need) -> Option<&'a FixedArray> {
        self.fixed?.get(need.split_labelled().0)
    }

    /// Whether an array is not the learner's to give.
    fn gives(&self, need: &Need) -> bool {
        let is_of_the_loop = need.array().is_some_and(|kind| kind.giver == Giver::Loop);
        is_of_the_loop || self.fixed(need).is_some()
    }
}

/// Where a run stands: at its start, or after some finished rounds.
#[derive(Debug, Clone)]
pub struct Position {
    /// The next round to do.
    pub round: Round,
    /// What is labelled so far.
    pub partition: Partition,
    /// What the strategy kept.
    pub state: Option<Vec<u8>>,
    /// Images that the strategy made so far, by round and pick order.
    pub synthetic: Vec<Synthetic>,
    /// Accuracies on the validation set so far, by round, where there is one.
    pub validated: Vec<f64>,
}

impl Position {
    /// Before the first round, with the initial set labelled.
    ///
    /// # Errors
    /// If that is not of the pool.
    pub fn start<O: Into<Outcome> + Copy>(
        pool: &[SampleId],
        initial: &[(SampleId, O)],
    ) -> Result<Self, PartitionError> {
        let mut partition = Partition::new(pool);
        partition.acquire(Round(0), initial)?;
        Ok(Self { round: Round(0), partition, state: None, synthetic: Vec::new(), validated: Vec::new() })
    }

    /// Goes on to the next round, for which these samples are known: beside those before, or in their place.
    ///
    /// # Errors
    /// If they are not of the pool or labelled already.
    pub fn advance(&mut self, outcomes: &[(SampleId, Outcome)], replaces: bool) -> Result<(), PartitionError> {
        self.round = Round(self.round.0 + 1);
        if replaces {
            self.partition = self.partition.started_over();
        }
        self.partition.acquire(self.round, outcomes)
    }
}

/// Runs from `at` to the last round of the plan, or until the pool is empty, patience is over, or a batch waits for its
/// labels.
///
/// Round r trains on all labels so far, evaluates, and, unless it is the last, asks the strategy for the r-th batch.
///
/// # Errors
/// The first failure; rounds that the observer took stay done.
pub fn run(run: &mut Run<'_>, mut at: Position) -> Result<(), RunError> {
    let settled = check(run.learner, run.strategy, run.split, run.plan, run.options)?;
    let needs = settled.needs();
    while at.round.index() <= run.plan.rounds() {
        let samples = at.samples(run.plan);
        let asked = at.asked(run.plan);
        let asked = asked.as_ref().unwrap_or(&samples);
        settle::check_labelled(run.learner, &samples, needs, run.options)?;
        let fitted = run.fit(&at, &samples, needs)?;
        let mut evaluated = run.evaluate(&at)?;
        at.validated.extend(evaluated.validated());
        let (confusion, watched) = (evaluated.take_confusion(), evaluated.watched.clone());
        let queried = match asked.batch.filter(|_| !run.plan.is_over(&at.validated)) {
            None => None,
            Some(batch) => {
                let features = run.features(&at, asked, needs)?;
                let answered = run.ask(&at, asked, &features, &fitted, batch)?;
                if run.oracle.waits() {
                    return run.wait(&at, (&samples, asked), (&fitted, evaluated, &confusion), features, answered);
                }
                Some(run.label(features, answered, needs)?)
            }
        };
        let record = run.record(&at, (&samples, asked), &fitted, evaluated, queried.as_ref());
        let round = at.round;
        let next = queried.as_ref().map(|queried| at.after(queried, run.plan.replaces())).transpose()?;
        run.commit(&record, (&confusion, &watched), &fitted, queried.as_ref())?;
        let Some(next) = next.filter(|_| run.stop_after != Some(round)) else { break };
        at = next;
    }
    Ok(())
}
