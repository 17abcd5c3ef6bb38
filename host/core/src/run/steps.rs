//! The steps of a round. Each gives what it found and what that cost.

use std::collections::BTreeMap;
use std::time::Instant;

use querist_protocol::{Need, Rows, Selection, names};

use super::settle::{is_over, target_of};
use super::{Position, Run, RunError};
use crate::acquisition::Acquisition;
use crate::array::{Array, Buffer};
use crate::config::Plan;
use crate::fitted::Fitted;
use crate::ids::{Label, Round, SampleId};
use crate::learner::{FeatureTask, FitTask, LearnError, Learner};
use crate::metric::{Confusion, Metrics};
use crate::observer::{AskedRound, FinishedRound, Guess};
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::question::{Arrays, Question, candidates, subset};
use crate::record::{PeakMemory, RoundRecord, Seconds, joined};
use crate::seed::Streams;
use crate::strategy::Usage;
use crate::synthetic::{self, Handed, Synthetic};
use crate::training::ServiceScope;

/// What took so long, and so much memory of the device where that can tell.
pub(super) struct Measured<T> {
    pub value: T,
    pub seconds: f64,
    pub peak_memory: Option<u64>,
}

/// The samples of a round.
pub(super) struct Samples {
    /// Unlabelled, ascending.
    pub pool: Vec<SampleId>,
    /// Labelled, ascending.
    pub labelled: Vec<(SampleId, Label)>,
    /// Of none of the classes, ascending.
    pub rejected: Vec<SampleId>,
    /// How many were labelled at the start.
    pub initial: usize,
    /// How many to label at the end of the round; `None` where nothing is queried.
    pub batch: Option<usize>,
}

impl Samples {
    /// Labelled samples as a strategy sees them, ascending: one that asks who was rejected sees those, too, with the
    /// number of classes as their label.
    fn with_rejected(&self, needs: &[Need], classes: usize) -> Vec<(SampleId, Label)> {
        let mut labelled = self.labelled.clone();
        if needs.iter().any(|need| need.name() == names::LABELLED_REJECTED) {
            labelled.extend(self.rejected.iter().map(|&sample| (sample, Label(classes as u32))));
            labelled.sort_unstable_by_key(|&(sample, _)| sample);
        }
        labelled
    }

    fn scope<'a>(&'a self, round: Round, pool: &'a [SampleId], streams: Streams) -> ServiceScope<'a> {
        let batch = self.batch.unwrap_or(0);
        ServiceScope { round, pool, labelled: &self.labelled, initial: self.initial, batch, streams }
    }
}

/// The figures of a model.
pub(super) struct Evaluated {
    pub test: Metrics,
    pub confusion: Confusion,
    pub validation: Option<Metrics>,
    /// Classes that the model predicts for samples that are watched.
    pub watched: Vec<(SampleId, Label)>,
    pub backend: String,
    pub seconds: f64,
}

/// What a query is about: the samples that it may choose from, ascending, and the arrays.
pub(super) struct Features {
    pub rows: Vec<SampleId>,
    pub arrays: Arrays,
}

/// An answer that keeps the contract.
pub(super) struct Answered {
    pub acquisition: Acquisition,
    pub selection: Selection,
    images: Vec<Handed>,
    pub figures: BTreeMap<String, f64>,
    /// What each term of a sum added to each pick.
    pub terms: BTreeMap<String, Vec<f64>>,
    pub usage: Usage,
}

/// What a query leaves behind.
pub(super) struct Queried {
    /// Samples that could be chosen.
    pub rows: usize,
    /// What the strategy saw of them, with what it cost to compute.
    pub arrays: Measured<BTreeMap<String, Array>>,
    pub acquisition: Acquisition,
    /// What the samples turned out to be, in pick order; empty while that is not known.
    pub outcomes: Vec<(SampleId, Outcome)>,
    pub synthetic: Vec<Synthetic>,
    pub state: Option<Vec<u8>>,
    /// Of training and query.
    pub figures: BTreeMap<String, f64>,
    /// What each term of a sum added to each pick.
    pub terms: BTreeMap<String, Vec<f64>>,
    pub usage: Usage,
}

impl Evaluated {
    /// Accuracy on the validation set, where there is one.
    pub(super) fn validated(&self) -> Option<f64> {
        self.validation.as_ref().map(|metrics| metrics.accuracy)
    }

    /// What was taken for what on the test set; nothing once it was taken.
    pub(super) fn take_confusion(&mut self) -> Confusion {
        std::mem::take(&mut self.confusion)
    }
}

impl Position {
    /// The samples of the next round.
    pub(super) fn samples(&self, plan: &Plan) -> Samples {
        let (pool, labelled) = (self.partition.pool(), self.partition.labelled());
        let rejected = self.partition.rejected();
        let batch = plan.batch(self.round).filter(|_| !pool.is_empty());
        Samples { pool, labelled, rejected, initial: self.partition.initial_len(), batch }
    }

    /// What the next query is about, where that is not what is trained on: batches that take the place of those before
    /// are chosen as if there were none.
    pub(super) fn asked(&self, plan: &Plan) -> Option<Samples> {
        let over = || Self { partition: self.partition.started_over(), ..self.clone() };
        plan.replaces().then(|| over().samples(plan))
    }

    /// Where the run stands once these samples are labelled.
    pub(super) fn after(mut self, queried: &Queried, replaces: bool) -> Result<Self, RunError> {
        self.advance(&queried.outcomes, replaces)?;
        self.state.clone_from(&queried.state);
        self.synthetic.extend_from_slice(&queried.synthetic);
        Ok(self)
    }
}

impl Run<'_> {
    fn streams(&self) -> Streams {
        self.seeds.strategy(&self.strategy.identity().id)
    }

    /// Trains on what is labelled.
    pub(super) fn fit(
        &mut self,
        at: &Position,
        samples: &Samples,
        needs: &[Need],
    ) -> Result<Measured<Fitted>, RunError> {
        let scope = samples.scope(at.round, &samples.pool, self.streams());
        let needs: Vec<Need> = needs.iter().filter(|need| !self.options.gives(need)).cloned().collect();
        let clock = Instant::now();
        // Where nothing is labelled, nothing is trained.
        let hooks = self.strategy.hooks().filter(|_| !samples.labelled.is_empty());
        let hooks = hooks.map(|hooks| (hooks, at.state.as_deref()));
        let labels = self.split.validation_labels(self.dataset);
        let validation: Vec<(SampleId, Label)> = self.split.validation.iter().copied().zip(labels).collect();
        let synthetic = &at.synthetic;
        let task = FitTask { scope, hooks, needs: &needs, synthetic, validation: &validation };
        let value = self.learner.fit(task, self.observer.progress())?;
        let seconds = clock.elapsed().as_secs_f64();
        Ok(Measured { value, seconds, peak_memory: self.learner.take_peak_memory() })
    }

    /// Compares the model's predictions with the labels that nobody trains on: those of the test set, or where there is
    /// none, those held out so far.
    pub(super) fn evaluate(&mut self, at: &Position) -> Result<Evaluated, RunError> {
        let clock = Instant::now();
        let classes = self.dataset.classes();
        let mut measure = |samples: &[SampleId], labels: &[Label], progress: &dyn Progress| {
            if samples.is_empty() {
                return Ok((Metrics::unknown(classes), Confusion::default()));
            }
            let logits = self.learner.evaluated(samples, progress)?;
            Ok::<_, LearnError>((Metrics::of(&logits, labels, classes), Confusion::of(&logits, labels, classes)))
        };
        let (split, progress) = (self.split, self.observer.progress());
        let (test, labels) = match split.test.is_empty() {
            true => at.partition.held_out().into_iter().unzip(),
            false => (split.test.clone(), split.test_labels(self.dataset)),
        };
        let (test, confusion) = measure(&test, &labels, progress)?;
        let validation = match split.validation.as_slice() {
            [] => None,
            samples => Some(measure(samples, &split.validation_labels(self.dataset), progress)?.0),
        };
        let watched = match at.partition.labelled_len() {
            0 => Vec::new(),
            _ => self.guesses(self.options.watched)?.iter().map(|guess| guess.class).collect(),
        };
        let watched = self.options.watched.iter().copied().zip(watched).collect();
        let backend = self.learner.backend();
        Ok(Evaluated { test, confusion, validation, watched, backend, seconds: clock.elapsed().as_secs_f64() })
    }

    /// What the model takes samples for.
    fn guesses(&mut self, samples: &[SampleId]) -> Result<Vec<Guess>, LearnError> {
        if samples.is_empty() {
            return Ok(Vec::new());
        }
        let logits = self.learner.evaluated(samples, self.observer.progress())?;
        Ok(logits.chunks_exact(self.dataset.classes()).map(Guess::of).collect())
    }

    /// The arrays that the strategy needs, of the samples that it may choose from.
    pub(super) fn features(
        &mut self,
        at: &Position,
        samples: &Samples,
        needs: &[Need],
    ) -> Result<Measured<Features>, RunError> {
        let (id, size) = (&self.strategy.identity().id, self.options.subset);
        let rows = candidates(&samples.pool, size, self.seeds, id, at.round);
        let clock = Instant::now();
        let classes = self.dataset.classes();
        let labelled = samples.with_rejected(needs, classes);
        let arrays = self.arrays(at.round, &rows, &labelled, needs)?;
        let seconds = clock.elapsed().as_secs_f64();
        let peak_memory = self.learner.take_peak_memory();
        Ok(Measured { value: Features { rows, arrays }, seconds, peak_memory })
    }

    fn arrays(
        &mut self,
        round: Round,
        pool: &[SampleId],
        labelled: &[(SampleId, Label)],
        needs: &[Need],
    ) -> Result<Arrays, RunError> {
        let labelled_ids: Vec<SampleId> = labelled.iter().map(|&(sample, _)| sample).collect();
        let target = self.target_samples(needs, round);
        let has_head = needs.iter().any(|need| need.name() == names::HEAD);
        let (own, needs): (Vec<_>, Vec<_>) = needs.iter().cloned().partition(|need| self.options.gives(need));
        let task = FeatureTask { needs: &needs, pool, labelled: &labelled_ids, target: &target };
        let mut named = self.learner.features(task, self.observer.progress())?;
        for need in own {
            let array = self.own_array(&need, pool, labelled, &labelled_ids)?;
            named.insert(need.name().to_owned(), array);
        }
        let numbers = |ids: &[SampleId]| Buffer::from(ids.iter().map(|id| id.0).collect::<Vec<_>>());
        let mut arrays = Arrays::new(numbers(pool), numbers(&labelled_ids), self.dataset.classes(), named)?;
        if arrays.get(names::ORACLE_LABELS).is_some()
            && let Some(reveals) = self.observer.reveals(round).map_err(RunError::Observer)?
        {
            arrays = arrays.with_reveals(reveals);
        }
        if has_head {
            let nobody = || LearnError::Config("the learner has no head that can be asked".to_owned());
            arrays = arrays.with_head(self.learner.head().ok_or_else(nobody)?);
        }
        Ok(arrays)
    }

    /// An array that the loop gives.
    fn own_array(
        &mut self,
        need: &Need,
        pool: &[SampleId],
        labelled: &[(SampleId, Label)],
        labelled_ids: &[SampleId],
    ) -> Result<Array, RunError> {
        if let Some(fixed) = self.options.fixed(need) {
            return Ok(fixed.of(if need.split_labelled().1 { labelled_ids } else { pool })?);
        }
        let numbers_of = |labels: &[Label]| Array::labels(labels.iter().map(|label| label.0).collect::<Vec<_>>());
        Ok(match need.name() {
            names::ORACLE_LABELS => numbers_of(&self.oracle.reveal(pool)?),
            names::LABELLED_REJECTED => {
                let classes = self.dataset.classes();
                let is_rejected = |&(_, label): &(SampleId, Label)| u32::from(label.index() >= classes);
                Array::labels(labelled.iter().map(is_rejected).collect::<Vec<_>>())
            }
            names::CALIBRATION_LABELS => numbers_of(&self.split.validation_labels(self.dataset)),
            names::CALIBRATION_LOGITS => {
                let samples = &self.split.validation;
                let logits = self.learner.logits(samples, self.observer.progress())?;
                Array::f32(vec![samples.len(), self.dataset.classes()], logits)?
            }
            names::CALIBRATION_PENULTIMATE => {
                let needs = [Need::new(names::PENULTIMATE)];
                let task = FeatureTask { needs: &needs, pool: &self.split.validation, ..FeatureTask::default() };
                let mut named = self.learner.features(task, self.observer.progress())?;
                let nothing = || LearnError::Config("the learner gave no input of its last layer".to_owned());
                named.remove(names::PENULTIMATE).ok_or_else(nothing)?
            }
            _ => numbers_of(&labelled.iter().map(|&(_, label)| label).collect::<Vec<_>>()),
        })
    }

    /// The samples that the strategy aims at, ascending: as many as its need says, drawn anew in each round.
    fn target_samples(&self, needs: &[Need], round: Round) -> Vec<SampleId> {
        let need = needs.iter().find(|need| is_over(need, Rows::Targets));
        let (Some(need), Some(target)) = (need, self.options.target) else { return Vec::new() };
        let samples = target_of(self.split, target);
        match need.arg("n").and_then(|text| text.parse().ok()) {
            None => samples.to_vec(),
            Some(count) => {
                subset(samples, count, self.seeds.query_stream(&self.strategy.identity().id, "target", round))
            }
        }
    }

    /// Asks the strategy, and checks its answer.
    pub(super) fn ask(
        &mut self,
        at: &Position,
        samples: &Samples,
        features: &Measured<Features>,
        fitted: &Measured<Fitted>,
        batch: usize,
    ) -> Result<Answered, RunError> {
        let Features { rows, arrays } = &features.value;
        let services = self.learner.services(samples.scope(at.round, rows, self.streams()));
        let question = Question::new(arrays, batch)
            .in_round(at.round)
            .with_seeds(self.seeds)
            .with_state(at.state.as_deref())
            .with_services(services.as_deref())
            .with_progress(self.observer.progress());
        let answer = self.strategy.answer(&question)?;
        let (images, figures) = match &services {
            Some(services) => (services.take_synthetic(), services.metrics()),
            None => Default::default(),
        };
        let broken = |source| RunError::Contract { strategy: self.strategy.identity().to_string(), source };
        let figures = figures.into_iter().chain(answer.selection.diagnostics.iter().cloned());
        let figures = joined(fitted.value.metrics.clone(), figures).map_err(broken)?;
        let acquisition = question.check(&answer.selection).map_err(broken)?;
        let terms = answer.beside.terms.into_iter().collect();
        Ok(Answered { acquisition, selection: answer.selection, images, figures, terms, usage: answer.usage })
    }

    /// Has the selected samples labelled.
    pub(super) fn label(
        &mut self,
        features: Measured<Features>,
        answered: Answered,
        needs: &[Need],
    ) -> Result<Queried, RunError> {
        let Answered { acquisition, selection, images, figures, terms, usage } = answered;
        let images = synthetic::of_picks(images, needs, &features.value.rows, &acquisition)
            .map_err(|source| RunError::Synthetic { strategy: self.strategy.identity().to_string(), source })?;
        let outcomes = self.oracle.label(&acquisition)?;
        let synthetic = synthetic::labelled(images, &outcomes);
        let Measured { value: Features { rows, arrays }, seconds, peak_memory } = features;
        let arrays = Measured { value: arrays.named().clone(), seconds, peak_memory };
        Ok(Queried {
            rows: rows.len(),
            arrays,
            acquisition,
            outcomes,
            synthetic,
            state: selection.state,
            figures,
            terms,
            usage,
        })
    }

    /// What is written down of the round.
    pub(super) fn record(
        &self,
        at: &Position,
        (samples, asked): (&Samples, &Samples),
        fitted: &Measured<Fitted>,
        evaluated: Evaluated,
        queried: Option<&Queried>,
    ) -> RoundRecord {
        let (labelled, pool) = (samples.labelled.len(), asked.pool.len());
        let by_patience = if self.plan.patience().is_some() { self.split.validation.len() } else { 0 };
        let Evaluated { test, validation, backend, seconds, confusion: _, watched: _ } = evaluated;
        let is_bought = self.plan.replaces() || at.partition.bought_len() != labelled;
        let mut record = RoundRecord {
            synthetic: at.synthetic.len(),
            validation_labels: fitted.value.validation_labels.max(by_patience),
            reserve_labels: if self.strategy.identity().is_upper() { self.split.reserve.len() } else { 0 },
            held_out: if self.split.test.is_empty() { at.partition.held_out().len() } else { 0 },
            bought: is_bought.then(|| at.partition.bought_len()),
            out_of_patience: asked.batch.is_some() && queried.is_none(),
            validation,
            seconds: Seconds { fit: fitted.seconds, evaluate: seconds, ..Seconds::default() },
            peak_memory: PeakMemory { fit: fitted.peak_memory, ..PeakMemory::default() },
            overrides: fitted.value.overrides.clone(),
            ensemble: fitted.value.ensemble.clone(),
            diagnostics: fitted.value.metrics.clone(),
            ..RoundRecord::new(at.round, labelled, pool, test, backend)
        };
        if let Some(queried) = queried {
            queried.describe(&mut record, asked, self.dataset.classes());
        }
        record
    }

    /// Hands the finished round over to be made durable.
    pub(super) fn commit(
        &mut self,
        record: &RoundRecord,
        (confusion, watched): (&Confusion, &[(SampleId, Label)]),
        fitted: &Measured<Fitted>,
        queried: Option<&Queried>,
    ) -> Result<(), RunError> {
        let round = finished(&*self.learner, record, (confusion, watched), fitted, queried);
        self.observer.round_done(&round).map_err(RunError::Observer)
    }

    /// Hands a round over that is finished but for the labels of its batch.
    pub(super) fn wait(
        &mut self,
        at: &Position,
        (samples, asked): (&Samples, &Samples),
        (fitted, evaluated, confusion): (&Measured<Fitted>, Evaluated, &Confusion),
        features: Measured<Features>,
        answered: Answered,
    ) -> Result<(), RunError> {
        let guesses = match samples.labelled.len() {
            0 => Vec::new(),
            _ => self.guesses(answered.acquisition.ids())?,
        };
        let watched = evaluated.watched.clone();
        let queried = answered.waiting(features);
        let record = self.record(at, (samples, asked), fitted, evaluated, Some(&queried));
        let round = finished(&*self.learner, &record, (confusion, &watched), fitted, Some(&queried));
        self.observer.round_asked(&AskedRound { round, guesses: &guesses }).map_err(RunError::Observer)
    }
}

impl Answered {
    /// What is known of it while it waits for its labels.
    fn waiting(self, features: Measured<Features>) -> Queried {
        let Self { acquisition, selection, images: _, figures, terms, usage } = self;
        let Measured { value: Features { rows, arrays }, seconds, peak_memory } = features;
        let arrays = Measured { value: arrays.named().clone(), seconds, peak_memory };
        let (rows, state) = (rows.len(), selection.state);
        let (outcomes, synthetic) = (Vec::new(), Vec::new());
        Queried { rows, arrays, acquisition, outcomes, synthetic, state, figures, terms, usage }
    }
}

impl Queried {
    /// Adds what the query cost and found.
    fn describe(&self, record: &mut RoundRecord, samples: &Samples, classes: usize) {
        let rows = self.rows;
        record.subset = Some(rows).filter(|&rows| rows < samples.pool.len());
        record.short = samples.batch.is_some_and(|batch| batch >= rows);
        record.seconds.features = self.arrays.seconds;
        record.peak_memory.features = self.arrays.peak_memory;
        record.seconds.query = self.usage.seconds;
        record.peak_memory.query = Some(self.usage.peak_memory);
        record.fuel = self.usage.fuel;
        record.diagnostics.clone_from(&self.figures);
        record.terms.clone_from(&self.terms);
        record.acquired = self.acquisition.ids().to_vec();
        record.count(&self.outcomes, classes);
    }
}

/// A round as observers see it.
fn finished<'a>(
    learner: &'a dyn Learner,
    record: &'a RoundRecord,
    (confusion, watched): (&'a Confusion, &'a [(SampleId, Label)]),
    fitted: &'a Measured<Fitted>,
    queried: Option<&'a Queried>,
) -> FinishedRound<'a> {
    static NO_ARRAYS: BTreeMap<String, Array> = BTreeMap::new();
    FinishedRound {
        record,
        confusion,
        epochs: &fitted.value.epochs,
        picks: queried.map(|queried| (&queried.acquisition, &queried.outcomes[..])),
        watched,
        synthetic: queried.map_or(&[], |queried| &queried.synthetic),
        state: queried.and_then(|queried| queried.state.as_deref()),
        features: queried.map_or(&NO_ARRAYS, |queried| &queried.arrays.value),
        learner,
    }
}
