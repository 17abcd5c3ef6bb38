//! The loop.

use std::collections::BTreeMap;
use std::time::Instant;

use querist_protocol::names;

use crate::acquisition::{Acquisition, ContractError};
use crate::array::{Array, ArrayError, Arrays, Buffer};
use crate::config::Plan;
use crate::dataset::Dataset;
use crate::ids::{Label, Round, SampleId};
use crate::learner::{LearnError, Learner};
use crate::metric::Metrics;
use crate::observer::{Observer, Progress};
use crate::oracle::{Oracle, OracleError};
use crate::partition::{Partition, PartitionError};
use crate::record::{EpochRecord, FinishedRound, RoundRecord};
use crate::seed::Seeds;
use crate::split::Split;
use crate::strategy::{Query, QueryError, Strategy};

/// Everything a run is made of.
pub struct Parts<'a> {
    /// Images and hidden labels.
    pub dataset: &'a Dataset,
    /// Pool, validation and test.
    pub split: &'a Split,
    /// How many samples to ask for, round by round.
    pub plan: &'a Plan,
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

/// Where a run stands: at its start, or after some finished rounds.
#[derive(Debug, Clone)]
pub struct Position {
    /// The next round to do.
    pub round: Round,
    /// What is labelled so far.
    pub partition: Partition,
    /// What the strategy kept.
    pub state: Option<Vec<u8>>,
}

/// Runs from `position` to the last round of the plan, or until the pool is empty.
///
/// Round r trains on all labels so far, evaluates, and, unless it is the last, asks the strategy for the r-th batch.
///
/// # Errors
/// The first failure; rounds that the observer took stay done.
pub fn run(parts: &mut Parts<'_>, mut position: Position) -> Result<(), RunError> {
    parts.learner.check_needs(parts.strategy.needs())?;
    while position.round.index() <= parts.plan.rounds() {
        let labelled = position.partition.labelled();
        let clock = Instant::now();
        let epochs = parts.learner.fit(position.round, &labelled, parts.observer.progress())?;
        let fitted = (clock.elapsed().as_secs_f64(), parts.learner.take_peak_memory());
        let mut record = evaluate(parts, &position, fitted)?;

        let batch = parts.plan.batch(position.round).filter(|_| position.partition.pool_len() > 0);
        let Some(batch) = batch else {
            return finish(parts, &record, &epochs, None, None, &BTreeMap::new());
        };
        let arrays = features(parts, &position, &mut record)?;
        let query = Query {
            arrays: &arrays,
            batch,
            round: position.round,
            seeds: parts.seeds,
            state: position.state.as_deref(),
            progress: parts.observer.progress(),
        };
        let answer = parts.strategy.query(&query)?;
        let acquired = Acquisition::check(&answer.selection, arrays.ids(), batch)
            .map_err(|source| RunError::Contract { strategy: parts.strategy.identity().to_string(), source })?;
        let labels = parts.oracle.label(&acquired)?;
        record.add_query(&answer.usage, &labels, parts.dataset.classes());
        record.diagnostics = answer.selection.diagnostics.into_iter().collect();

        position.round = Round(position.round.0 + 1);
        position.partition.acquire(position.round, &labels)?;
        position.state = answer.selection.state;
        finish(parts, &record, &epochs, Some((&acquired, &labels)), position.state.as_deref(), arrays.named())?;
    }
    Ok(())
}

fn evaluate(parts: &mut Parts<'_>, position: &Position, fitted: (f64, Option<u64>)) -> Result<RoundRecord, RunError> {
    let clock = Instant::now();
    let classes = parts.dataset.classes();
    let mut measure = |samples: &[SampleId], labels: &[Label], progress: &dyn Progress| {
        Ok::<_, LearnError>(Metrics::of(&parts.learner.logits(samples, progress)?, labels, classes))
    };
    let (split, progress) = (parts.split, parts.observer.progress());
    let metrics = measure(&split.test, &split.test_labels(parts.dataset), progress)?;
    let validation = match split.validation.as_slice() {
        [] => None,
        samples => Some(measure(samples, &split.validation_labels(parts.dataset), progress)?),
    };
    let partition = &position.partition;
    let (labelled, pool) = (partition.labelled_len(), partition.pool_len());
    let mut record = RoundRecord::new(position.round, labelled, pool, metrics, parts.learner.backend());
    record.validation = validation;
    record.seconds.fit = fitted.0;
    record.peak_memory.fit = fitted.1;
    record.seconds.evaluate = clock.elapsed().as_secs_f64();
    Ok(record)
}

fn features(parts: &mut Parts<'_>, position: &Position, record: &mut RoundRecord) -> Result<Arrays, RunError> {
    let clock = Instant::now();
    let pool = position.partition.pool();
    let labelled = position.partition.labelled();
    let labelled_ids: Vec<SampleId> = labelled.iter().map(|&(sample, _)| sample).collect();
    // Labels are the partition's and the oracle's to give; a learner never sees a need for them.
    let (label_needs, needs): (Vec<_>, Vec<_>) = parts
        .strategy
        .needs()
        .iter()
        .cloned()
        .partition(|need| matches!(need.name(), names::LABELLED_LABELS | names::ORACLE_LABELS));
    let mut named = parts.learner.features(&needs, &pool, &labelled_ids, parts.observer.progress())?;
    for need in label_needs {
        let labels: Vec<u32> = match need.name() {
            names::ORACLE_LABELS => parts.oracle.reveal(&pool)?.iter().map(|label| label.0).collect(),
            _ => labelled.iter().map(|&(_, label)| label.0).collect(),
        };
        named.insert(need.name().to_owned(), Array::labels(labels));
    }
    let numbers = |ids: &[SampleId]| Buffer::from(ids.iter().map(|id| id.0).collect::<Vec<_>>());
    let arrays = Arrays::new(numbers(&pool), numbers(&labelled_ids), parts.dataset.classes(), named)?;
    record.seconds.features = clock.elapsed().as_secs_f64();
    record.peak_memory.features = parts.learner.take_peak_memory();
    Ok(arrays)
}

fn finish(
    parts: &mut Parts<'_>,
    record: &RoundRecord,
    epochs: &[EpochRecord],
    picks: Option<(&Acquisition, &[(SampleId, Label)])>,
    state: Option<&[u8]>,
    features: &BTreeMap<String, Array>,
) -> Result<(), RunError> {
    let round = FinishedRound { record, epochs, picks, state, features, learner: &*parts.learner };
    parts.observer.round_done(&round).map_err(RunError::Observer)
}

/// Why a run stopped before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Training, evaluation or features failed.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// The learner's arrays do not fit the contract.
    #[error("features: {0}")]
    Arrays(#[from] ArrayError),
    /// The strategy gave no answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The strategy's answer breaks the contract.
    #[error("{strategy} broke its contract: {source}")]
    Contract {
        /// Which strategy.
        strategy: String,
        /// The rule.
        source: ContractError,
    },
    /// The oracle failed.
    #[error(transparent)]
    Oracle(#[from] OracleError),
    /// Labels do not fit the partition.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// A round could not be made durable.
    #[error("the round could not be saved: {0}")]
    Observer(Box<dyn std::error::Error + Send + Sync>),
}
