//! The loop.

use std::collections::BTreeMap;
use std::time::Instant;

use querist_protocol::{Need, names};

use crate::acquisition::{Acquisition, ContractError};
use crate::array::{Array, ArrayError, Arrays, Buffer};
use crate::config::{Plan, TargetSet};
use crate::dataset::Dataset;
use crate::fixed::{FixedEmbeddings, FixedError};
use crate::ids::{Label, Round, SampleId};
use crate::learner::{FeatureTask, FitTask, LearnError, Learner};
use crate::metric::Metrics;
use crate::observer::{Observer, Progress};
use crate::oracle::{Oracle, OracleError};
use crate::partition::{Partition, PartitionError};
use crate::record::{EpochRecord, FinishedRound, RoundRecord};
use crate::rights::{Granted, Settled};
use crate::seed::Seeds;
use crate::split::Split;
use crate::strategy::{Query, QueryError, Strategy};
use crate::subset::subset;
use crate::synthetic::{self, Synthetic, SyntheticError};
use crate::training::ServiceScope;

/// Everything a run is made of.
pub struct Parts<'a> {
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
    /// Embeddings that do not change; the task model's own where it is left out.
    pub fixed: Option<&'a FixedEmbeddings>,
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

/// Runs from `position` to the last round of the plan, or until the pool is empty.
///
/// Round r trains on all labels so far, evaluates, and, unless it is the last, asks the strategy for the r-th batch.
///
/// # Errors
/// The first failure; rounds that the observer took stay done.
pub fn run(parts: &mut Parts<'_>, mut position: Position) -> Result<(), RunError> {
    let settled = check(parts.learner, parts.strategy, parts.split, parts.plan, parts.options)?;
    let needs = settled.needs();
    while position.round.index() <= parts.plan.rounds() {
        let labelled = position.partition.labelled();
        let pool = position.partition.pool();
        let batch = parts.plan.batch(position.round).filter(|_| !pool.is_empty());
        let scope = ServiceScope {
            round: position.round,
            pool: &pool,
            labelled: &labelled,
            initial: position.partition.initial_len(),
            batch: batch.unwrap_or(0),
            streams: parts.seeds.strategy(&parts.strategy.identity().id),
        };
        let clock = Instant::now();
        let hooks = parts.strategy.hooks().map(|hooks| (hooks, position.state.as_deref()));
        let fitted = parts
            .learner
            .fit(FitTask { scope, hooks, needs, synthetic: &position.synthetic }, parts.observer.progress())?;
        let cost = (clock.elapsed().as_secs_f64(), parts.learner.take_peak_memory());
        let mut record = evaluate(parts, &position, cost)?;
        record.overrides.clone_from(&fitted.overrides);
        record.diagnostics.clone_from(&fitted.metrics);
        record.ensemble.clone_from(&fitted.ensemble);
        record.synthetic = position.synthetic.len();

        let Some(batch) = batch else {
            return finish(parts, &record, &fitted.epochs, Picked::none(), &BTreeMap::new());
        };
        let rows = query_rows(parts, &pool, position.round);
        record.subset = Some(rows.len()).filter(|&rows| rows < pool.len());
        record.short = batch >= rows.len();
        let arrays = features(parts, needs, &position, &rows, &mut record)?;
        let granted = Granted::to(parts.strategy, &arrays)?;
        let services = parts.learner.services(ServiceScope { pool: &rows, ..scope });
        let query = Query {
            arrays: &granted,
            batch,
            round: position.round,
            seeds: parts.seeds,
            state: position.state.as_deref(),
            services: services.as_deref(),
            progress: parts.observer.progress(),
        };
        let answer = parts.strategy.query(&query)?;
        let handed = services.as_ref().map(|services| services.take_synthetic()).unwrap_or_default();
        let figures = services.map(|services| services.metrics()).unwrap_or_default();
        let figures = figures.into_iter().chain(answer.selection.diagnostics.iter().cloned());
        record
            .add_diagnostics(figures)
            .map_err(|source| RunError::Contract { strategy: parts.strategy.identity().to_string(), source })?;
        let acquired = Acquisition::check(&answer.selection, arrays.ids(), batch)
            .map_err(|source| RunError::Contract { strategy: parts.strategy.identity().to_string(), source })?;
        let images = synthetic::of_picks(handed, needs, &rows, &acquired)
            .map_err(|source| RunError::Synthetic { strategy: parts.strategy.identity().to_string(), source })?;
        let labels = parts.oracle.label(&acquired)?;
        let made = synthetic::labelled(images, &labels);
        record.add_query(&answer.usage, &labels, parts.dataset.classes());

        position.round = Round(position.round.0 + 1);
        position.partition.acquire(position.round, &labels)?;
        position.state = answer.selection.state;
        let picks = Some((&acquired, &labels[..]));
        let picked = Picked { picks, synthetic: &made, state: position.state.as_deref() };
        finish(parts, &record, &fitted.epochs, picked, arrays.named())?;
        position.synthetic.extend(made);
    }
    Ok(())
}

fn evaluate(parts: &mut Parts<'_>, position: &Position, fit: (f64, Option<u64>)) -> Result<RoundRecord, RunError> {
    let clock = Instant::now();
    let classes = parts.dataset.classes();
    let mut measure = |samples: &[SampleId], labels: &[Label], progress: &dyn Progress| {
        Ok::<_, LearnError>(Metrics::of(&parts.learner.evaluated(samples, progress)?, labels, classes))
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
    record.seconds.fit = fit.0;
    record.peak_memory.fit = fit.1;
    record.seconds.evaluate = clock.elapsed().as_secs_f64();
    Ok(record)
}

/// The samples that a query may choose from, ascending.
fn query_rows(parts: &Parts<'_>, pool: &[SampleId], round: Round) -> Vec<SampleId> {
    match parts.options.subset {
        None => pool.to_vec(),
        Some(size) => subset(pool, size, parts.seeds.query_stream(&parts.strategy.identity().id, "subset", round)),
    }
}

fn features(
    parts: &mut Parts<'_>,
    needs: &[Need],
    position: &Position,
    pool: &[SampleId],
    record: &mut RoundRecord,
) -> Result<Arrays, RunError> {
    let clock = Instant::now();
    let labelled = position.partition.labelled();
    let labelled_ids: Vec<SampleId> = labelled.iter().map(|&(sample, _)| sample).collect();
    let fixed = parts.options.fixed;
    let is_own = |need: &Need| is_of_the_loop(need) || (fixed.is_some() && is_fixed(need));
    let target = target_samples(parts, needs, position.round);
    let has_head = needs.iter().any(|need| need.name() == names::HEAD);
    let (own, needs): (Vec<_>, Vec<_>) = needs.iter().cloned().partition(is_own);
    let task = FeatureTask { needs: &needs, pool, labelled: &labelled_ids, target: &target };
    let mut named = parts.learner.features(task, parts.observer.progress())?;
    let numbers_of = |labels: &[Label]| Array::labels(labels.iter().map(|label| label.0).collect::<Vec<_>>());
    for need in own {
        let array = match need.name() {
            names::FIXED_EMBEDDINGS | LABELLED_FIXED => {
                let samples = if need.split_labelled().1 { &labelled_ids } else { pool };
                fixed
                    .map(|fixed| fixed.of(samples))
                    .transpose()?
                    .ok_or(FixedError::Shape { found: "none".to_owned() })?
            }
            names::ORACLE_LABELS => numbers_of(&parts.oracle.reveal(pool)?),
            names::CALIBRATION_LABELS => numbers_of(&parts.split.validation_labels(parts.dataset)),
            names::CALIBRATION_LOGITS => {
                let samples = &parts.split.validation;
                let logits = parts.learner.logits(samples, parts.observer.progress())?;
                Array::f32(vec![samples.len(), parts.dataset.classes()], logits)?
            }
            _ => numbers_of(&labelled.iter().map(|&(_, label)| label).collect::<Vec<_>>()),
        };
        named.insert(need.name().to_owned(), array);
    }
    let numbers = |ids: &[SampleId]| Buffer::from(ids.iter().map(|id| id.0).collect::<Vec<_>>());
    let mut arrays = Arrays::new(numbers(pool), numbers(&labelled_ids), parts.dataset.classes(), named)?;
    if arrays.get(names::ORACLE_LABELS).is_some()
        && let Some(reveals) = parts.observer.reveals(position.round).map_err(RunError::Observer)?
    {
        arrays = arrays.with_reveals(reveals);
    }
    if has_head {
        let nobody = || LearnError::Config("the learner has no head that can be asked".to_owned());
        arrays = arrays.with_head(parts.learner.head().ok_or_else(nobody)?);
    }
    record.seconds.features = clock.elapsed().as_secs_f64();
    record.peak_memory.features = parts.learner.take_peak_memory();
    Ok(arrays)
}

const LABELLED_FIXED: &str = "labelled.fixed_embeddings";

fn is_fixed(need: &Need) -> bool {
    need.split_labelled().0 == names::FIXED_EMBEDDINGS
}

/// The samples that the strategy aims at, ascending: as many as its need says, drawn anew in each round.
fn target_samples(parts: &Parts<'_>, needs: &[Need], round: Round) -> Vec<SampleId> {
    let need = needs.iter().find(|need| need.name() == names::TARGET_MC_LOG_PROBS);
    let (Some(need), Some(target)) = (need, parts.options.target) else { return Vec::new() };
    let samples = held_out(parts.split, target);
    match need.arg("n").and_then(|text| text.parse().ok()) {
        None => samples.to_vec(),
        Some(count) => subset(samples, count, parts.seeds.query_stream(&parts.strategy.identity().id, "target", round)),
    }
}

fn held_out(split: &Split, target: TargetSet) -> &[SampleId] {
    match target {
        TargetSet::Validation => &split.validation,
        TargetSet::Test => &split.test,
    }
}

/// Whether an array is the loop's to give: labels, and what belongs to held-out samples. A learner never sees them.
fn is_of_the_loop(need: &Need) -> bool {
    let own = [names::LABELLED_LABELS, names::ORACLE_LABELS, names::CALIBRATION_LABELS, names::CALIBRATION_LOGITS];
    own.contains(&need.name())
}

/// Whether a run can be done at all, and what its strategy is handed: asked before anything is trained or written.
///
/// # Errors
/// The first need that cannot be met, with the setting that would help, one for which the strategy has no right, or a
/// subset smaller than a batch.
pub fn check(
    learner: &dyn Learner,
    strategy: &dyn Strategy,
    split: &Split,
    plan: &Plan,
    options: QueryOptions<'_>,
) -> Result<Settled, RunError> {
    let can = |need: &Need| learner.check_needs(std::slice::from_ref(need)).is_ok();
    let settled = Settled::new(strategy.needs(), strategy.capabilities(), can).map_err(|error| error.of(strategy))?;
    learner.check_needs(settled.needs())?;
    check_calibration(settled.needs(), split)?;
    check_target(settled.needs(), split, options.target)?;
    check_subset(options.subset, plan)?;
    Ok(settled)
}

/// A target set must be named and not empty.
fn check_target(needs: &[Need], split: &Split, target: Option<TargetSet>) -> Result<(), LearnError> {
    let Some(need) = needs.iter().find(|need| need.name() == names::TARGET_MC_LOG_PROBS) else { return Ok(()) };
    let reason = match target {
        Some(target) if !held_out(split, target).is_empty() => return Ok(()),
        Some(_) => "the target set is empty; set `dataset.validation` or `dataset.test`, or aim at the other one",
        None => "no target set is named; set `strategy.target` to `validation` or `test`",
    };
    Err(LearnError::Need { need: need.to_string(), reason: reason.to_owned() })
}

/// Calibration takes held-out samples: the validation set.
fn check_calibration(needs: &[Need], split: &Split) -> Result<(), LearnError> {
    let asks = |need: &&Need| matches!(need.name(), names::CALIBRATION_LABELS | names::CALIBRATION_LOGITS);
    match needs.iter().find(asks) {
        Some(need) if split.validation.is_empty() => Err(LearnError::Need {
            need: need.to_string(),
            reason: "no samples are held out to calibrate on; set `dataset.validation`".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// A subset must hold every batch.
fn check_subset(subset: Option<usize>, plan: &Plan) -> Result<(), RunError> {
    let Some(subset) = subset else { return Ok(()) };
    let mut rounds = (0..plan.rounds()).map(|round| Round(round as u32));
    match rounds.find_map(|round| plan.batch(round).filter(|&batch| batch > subset).map(|batch| (round, batch))) {
        None => Ok(()),
        Some((round, batch)) => Err(RunError::Subset { subset, round, batch }),
    }
}

/// What a query leaves behind.
struct Picked<'a> {
    picks: Option<(&'a Acquisition, &'a [(SampleId, Label)])>,
    synthetic: &'a [Synthetic],
    state: Option<&'a [u8]>,
}

impl Picked<'_> {
    fn none() -> Self {
        Self { picks: None, synthetic: &[], state: None }
    }
}

fn finish(
    parts: &mut Parts<'_>,
    record: &RoundRecord,
    epochs: &[EpochRecord],
    picked: Picked<'_>,
    features: &BTreeMap<String, Array>,
) -> Result<(), RunError> {
    let Picked { picks, synthetic, state } = picked;
    let round = FinishedRound { record, epochs, picks, synthetic, state, features, learner: &*parts.learner };
    parts.observer.round_done(&round).map_err(RunError::Observer)
}

/// Why a run stopped before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Training, evaluation or features failed.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// Fixed embeddings do not fit the dataset.
    #[error(transparent)]
    Fixed(#[from] FixedError),
    /// The learner's arrays do not fit the contract.
    #[error("features: {0}")]
    Arrays(#[from] ArrayError),
    /// The subset that a query chooses from is smaller than a batch.
    #[error(
        "strategy.subset_size is {subset}, but round {round} asks for {batch} samples; set it to {batch} or more, or leave \
         it out"
    )]
    Subset {
        /// Its size.
        subset: usize,
        /// The first round that asks for more.
        round: Round,
        /// Its batch.
        batch: usize,
    },
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
    /// Images that the strategy handed in cannot be trained on.
    #[error("{strategy} broke its contract: {source}")]
    Synthetic {
        /// Which strategy.
        strategy: String,
        /// The rule.
        source: SyntheticError,
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
