//! The loop.

mod error;
mod settle;
mod steps;

pub use error::RunError;
pub use settle::check;

use querist_protocol::{Giver, Need};

use crate::config::{Plan, TargetSet};
use crate::dataset::Dataset;
use crate::fixed::{FixedArray, FixedArrays};
use crate::ids::Round;
use crate::learner::Learner;
use crate::observer::Observer;
use crate::oracle::Oracle;
use crate::partition::Partition;
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
}

/// Runs from `at` to the last round of the plan, or until the pool is empty.
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
        let fitted = run.fit(&at, &samples, needs)?;
        let evaluated = run.evaluate()?;
        let queried = match samples.batch {
            None => None,
            Some(batch) => {
                let features = run.features(&at, &samples, needs)?;
                let answered = run.ask(&at, &samples, &features, &fitted, batch)?;
                Some(run.label(features, answered, needs)?)
            }
        };
        let record = run.record(&at, &samples, &fitted, evaluated, queried.as_ref());
        let next = queried.as_ref().map(|queried| at.after(queried)).transpose()?;
        run.commit(&record, &fitted, queried.as_ref())?;
        let Some(next) = next else { break };
        at = next;
    }
    Ok(())
}
