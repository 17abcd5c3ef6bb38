//! Whether a run can be done, asked before anything is trained.

use querist_protocol::{Giver, Need, Rows, names};

use super::steps::Samples;
use super::{QueryOptions, RunError};
use crate::config::{Plan, TargetSet};
use crate::ids::{Round, SampleId};
use crate::learner::{LearnError, Learner};
use crate::question::Settled;
use crate::split::Split;
use crate::strategy::Strategy;

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
    let is_given = |need: &Need| options.fixed(need).is_some();
    let can = |need: &Need| is_given(need) || learner.check_needs(std::slice::from_ref(need)).is_ok();
    let settled =
        Settled::new(strategy.needs(), strategy.capabilities(), can).map_err(|error| error.of(strategy.identity()))?;
    let others: Vec<Need> = settled.needs().iter().filter(|need| !is_given(need)).cloned().collect();
    check_givers(&others)?;
    learner.check_needs(&others)?;
    check_untrained(learner, &others, plan)?;
    check_calibration(settled.needs(), split)?;
    check_target(settled.needs(), split, options.target)?;
    check_subset(options.subset, plan)?;
    check_patience(split, plan)?;
    Ok(settled)
}

/// Where nothing is labelled, the first batch is chosen without a trained model.
fn check_untrained(learner: &dyn Learner, needs: &[Need], plan: &Plan) -> Result<(), LearnError> {
    if plan.initial() > 0 { Ok(()) } else { untrained(learner, needs) }
}

/// The same where what was asked for turned out to be of no class, or is held out.
pub(super) fn check_labelled(
    learner: &dyn Learner,
    samples: &Samples,
    needs: &[Need],
    options: QueryOptions<'_>,
) -> Result<(), LearnError> {
    if !samples.labelled.is_empty() || samples.batch.is_none() {
        return Ok(());
    }
    let others: Vec<Need> = needs.iter().filter(|need| options.fixed(need).is_none()).cloned().collect();
    untrained(learner, &others)
}

fn untrained(learner: &dyn Learner, needs: &[Need]) -> Result<(), LearnError> {
    let of_learner = |need: &&Need| {
        let is_of_loop = need.array().is_some_and(|kind| kind.giver == Giver::Loop);
        !is_of_loop || matches!(need.name(), names::CALIBRATION_LOGITS | names::CALIBRATION_PENULTIMATE)
    };
    learner.check_untrained(&needs.iter().filter(of_learner).cloned().collect::<Vec<_>>())
}

/// What users alone have, they must give.
fn check_givers(needs: &[Need]) -> Result<(), LearnError> {
    let of_user = |need: &&Need| need.array().is_some_and(|kind| kind.giver == Giver::User);
    match needs.iter().find(of_user) {
        None => Ok(()),
        Some(need) => Err(LearnError::Need {
            need: need.to_string(),
            reason: format!(
                "no model gives it; name a file of it in the run file: `arrays.\"{}\" = {{ file = \"FILE\" }}`",
                need.split_labelled().0
            ),
        }),
    }
}

/// Patience looks at the validation set.
fn check_patience(split: &Split, plan: &Plan) -> Result<(), LearnError> {
    if plan.patience().is_none() || !split.validation.is_empty() {
        return Ok(());
    }
    Err(LearnError::Config(
        "budget.patience looks at a validation set, and there is none; set `dataset.validation`".to_owned(),
    ))
}

/// A target set must be named and not empty.
fn check_target(needs: &[Need], split: &Split, target: Option<TargetSet>) -> Result<(), LearnError> {
    let Some(need) = needs.iter().find(|need| is_over(need, Rows::Targets)) else { return Ok(()) };
    let reason = match target {
        Some(target) if !target_of(split, target).is_empty() => return Ok(()),
        Some(_) => "the target set is empty; set `dataset.validation` or `dataset.test`, or aim at the other one",
        None => "no target set is named; set `strategy.target` to `validation` or `test`",
    };
    Err(LearnError::Need { need: need.to_string(), reason: reason.to_owned() })
}

/// Calibration takes held-out samples: the validation set.
fn check_calibration(needs: &[Need], split: &Split) -> Result<(), LearnError> {
    match needs.iter().find(|need| is_over(need, Rows::Calibration)) {
        Some(need) if split.validation.is_empty() => Err(LearnError::Need {
            need: need.to_string(),
            reason: "no samples are held out to calibrate on; set `dataset.validation`".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Whether a need asks for an array over these samples.
pub(super) fn is_over(need: &Need, rows: Rows) -> bool {
    need.array().is_some_and(|kind| kind.rows == rows)
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

/// The samples of a target set.
pub(super) fn target_of(split: &Split, target: TargetSet) -> &[SampleId] {
    match target {
        TargetSet::Validation => &split.validation,
        TargetSet::Test => &split.test,
    }
}
