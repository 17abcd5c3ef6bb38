//! The two halves of a round, for a loop that is somebody else's: it trains, evaluates and labels between them, and may
//! have ended and come back in another process.

use std::collections::BTreeMap;

use querist_protocol::{Need, Selection};

use super::steps::{Evaluated, Measured, Queried};
use super::{Position, Run, RunError};
use crate::acquisition::{Acquisition, ContractError};
use crate::array::Array;
use crate::fitted::Fitted;
use crate::ids::SampleId;
use crate::metric::{Confusion, Metrics};
use crate::question::candidates;
use crate::strategy::Usage;

/// A batch that was asked for and is not labelled yet.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The samples, in pick order, with their scores.
    pub acquisition: Acquisition,
    /// Samples that they were chosen from.
    pub rows: usize,
    /// What the strategy keeps for the next round.
    pub state: Option<Vec<u8>>,
    /// Named figures that the strategy reported.
    pub figures: BTreeMap<String, f64>,
    /// What each term of a sum added to each pick.
    pub terms: BTreeMap<String, Vec<f64>>,
    /// What the query cost.
    pub usage: Usage,
    /// Wall-clock seconds that its arrays took.
    pub seconds: f64,
    /// The arrays that the strategy saw, where they are kept.
    pub arrays: BTreeMap<String, Array>,
}

/// What a model came to that somebody else trained.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Figures on the test set.
    pub test: Metrics,
    /// What was taken for what there, where that is known.
    pub confusion: Confusion,
    /// Wall-clock seconds of the training, where they are known.
    pub fit_seconds: f64,
}

impl Asked {
    /// Samples that a query of this round chooses from, ascending.
    pub fn candidates(run: &Run<'_>, at: &Position) -> Vec<SampleId> {
        let samples = at.asked(run.plan).unwrap_or_else(|| at.samples(run.plan));
        candidates(&samples.pool, run.options.subset, run.seeds, &run.strategy.identity().id, at.round)
    }

    /// Whether samples and scores that were written down are an answer to the question of this round.
    ///
    /// # Errors
    /// The first rule that they break.
    pub fn again(
        rows: &[SampleId],
        (ids, scores): (&[SampleId], Vec<f64>),
        batch: usize,
    ) -> Result<Acquisition, ContractError> {
        let pool: Vec<u64> = rows.iter().map(|sample| sample.0).collect();
        // What is no row is one beyond all others, which the check refuses.
        let row = |id: &SampleId| pool.binary_search(&id.0).map_or(u32::MAX, |row| row as u32);
        let selection = Selection { rows: ids.iter().map(row).collect(), scores, ..Selection::default() };
        Acquisition::check(&selection, &pool, batch)
    }
}

/// The first half: asks the strategy for the batch of this round; `None` where the plan has none, or the pool is empty.
///
/// # Errors
/// If the arrays are not what the strategy needs, or it gives no answer that keeps the contract.
pub fn ask(run: &mut Run<'_>, at: &Position, needs: &[Need]) -> Result<Option<Asked>, RunError> {
    let samples = at.asked(run.plan).unwrap_or_else(|| at.samples(run.plan));
    let Some(batch) = samples.batch else { return Ok(None) };
    let features = run.features(at, &samples, needs)?;
    let answered = run.ask(at, &samples, &features, &untrained(0.0), batch)?;
    Ok(Some(Asked {
        acquisition: answered.acquisition,
        rows: features.value.rows.len(),
        state: answered.selection.state,
        figures: answered.figures,
        terms: answered.terms,
        usage: answered.usage,
        seconds: features.seconds,
        arrays: features.value.arrays.named().clone(),
    }))
}

/// The second half: has the batch labelled by the oracle, and commits the round; gives where the run stands then, or
/// `None` after its last round, for which nothing is asked.
///
/// # Errors
/// If the labels do not fit, or the round cannot be made durable.
pub fn tell(
    run: &mut Run<'_>,
    at: &Position,
    asked: Option<Asked>,
    evaluation: Evaluation,
) -> Result<Option<Position>, RunError> {
    let Evaluation { test, confusion, fit_seconds } = evaluation;
    let samples = at.samples(run.plan);
    let of_query = at.asked(run.plan);
    let queried = match asked {
        None => None,
        Some(asked) => Some(Queried {
            rows: asked.rows,
            arrays: Measured { value: asked.arrays, seconds: asked.seconds, peak_memory: None },
            outcomes: run.oracle.label(&asked.acquisition)?,
            acquisition: asked.acquisition,
            synthetic: Vec::new(),
            state: asked.state,
            figures: asked.figures,
            terms: asked.terms,
            usage: asked.usage,
        }),
    };
    let backend = run.learner.backend();
    let (confusion_of_test, confusion) = (confusion, Confusion::default());
    let evaluated = Evaluated { test, confusion, validation: None, watched: Vec::new(), backend, seconds: 0.0 };
    let fitted = untrained(fit_seconds);
    let of_query = of_query.as_ref().unwrap_or(&samples);
    let record = run.record(at, (&samples, of_query), &fitted, evaluated, queried.as_ref());
    let next = queried.as_ref().map(|queried| at.clone().after(queried, run.plan.replaces())).transpose()?;
    run.commit(&record, (&confusion_of_test, &[]), &fitted, queried.as_ref())?;
    Ok(next)
}

/// What is known of a training that somebody else did.
fn untrained(seconds: f64) -> Measured<Fitted> {
    Measured { value: Fitted::default(), seconds, peak_memory: None }
}
