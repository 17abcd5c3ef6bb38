//! Where a run stands that people label: what is missing, what it came to so far, and whether to go on.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use querist_core::{Outcome as Known, Round, RoundRecord};
use querist_files::shown;
use querist_people::{ANSWERS, Batch, Journal, Outcome, Stage};
use querist_report::stopping::{Advice, Gain, LEAST_GAIN, STABLE, Share, Stability, WINDOW};
use serde::Serialize;

use super::Waiting;
use crate::exit::Usage;
use crate::round_files::RoundFiles;
use crate::stored_run::StoredRun;
use crate::watched_file;

/// Where a run stands that people label.
#[derive(Debug, Serialize)]
pub struct Standing {
    /// The strategy, as the run calls it.
    pub strategy: String,
    /// What people are asked for, `initial` or `round-N`; `going-on` where nothing waits and rounds are missing,
    /// `finished` at the end.
    pub stage: String,
    /// The batch that waits.
    pub waiting: Option<Answered>,
    /// Rounds so far, the one that waits included.
    pub curve: Vec<Point>,
    /// Median seconds of an answer, where some are known.
    pub seconds_an_answer: Option<f64>,
    /// What answering the batch that waits, or else the next one, takes altogether.
    pub next_batch: Option<Cost>,
    /// What the rules say of going on after this.
    pub advice: Vec<Told>,
    /// Whether a rule advises to stop.
    pub stop: bool,
}

/// How far a batch is answered.
#[derive(Debug, Default, Serialize)]
pub struct Answered {
    /// Pictures of it.
    pub pictures: usize,
    /// Those with an outcome.
    pub answered: usize,
    /// Those of them with a label.
    pub labelled: usize,
    /// Those of them that are of none of the classes.
    pub rejected: usize,
    /// Those of them of which nobody could tell.
    pub unsure: usize,
    /// Those that lack answers.
    pub open: usize,
    /// Those that people disagree about.
    pub disputed: usize,
    /// Answers that count, by who gave them.
    pub annotators: BTreeMap<String, usize>,
}

/// A round of the curve.
#[derive(Debug, Serialize)]
pub struct Point {
    /// The round.
    pub round: Round,
    /// Labels that its model was trained on.
    pub labelled: usize,
    /// Labels that were bought by then: those held out and those rejected, too.
    pub bought: usize,
    /// Samples that it was tested on.
    pub tested: usize,
    /// Its accuracy with Wilson's interval; nothing where there was nothing to test on.
    pub accuracy: Option<Share>,
    /// Samples that had turned out to be of none of the classes by then.
    pub rejected: usize,
    /// Likewise those of which nobody could tell.
    pub unsure: usize,
}

/// What answering a batch takes.
#[derive(Debug, Serialize)]
pub struct Cost {
    /// Pictures of it.
    pub pictures: usize,
    /// Answers that they need.
    pub answers: usize,
    /// Minutes of work, of all people together, where seconds of answers are known.
    pub minutes: Option<f64>,
}

/// What a rule says.
#[derive(Debug, Serialize)]
pub struct Told {
    /// The rule.
    pub rule: &'static str,
    /// Its advice.
    pub advice: Advice,
    /// By what.
    pub why: String,
}

/// Looks where a run stands; changes nothing in it.
///
/// # Errors
/// If the folder holds no run that people label, or what lies there cannot be read.
pub fn standing(run: &Path) -> Result<Standing> {
    if !StoredRun::is_run(run) {
        return Err(Usage(format!("{} holds no run", shown(run))).into());
    }
    let stored = StoredRun::read(run)?;
    let Some(people) = stored.config.oracle.people() else {
        let message =
            format!("{}: its labels come from its dataset; `querist report` says where it stands", shown(run));
        return Err(Usage(message).into());
    };
    let batch = Waiting::of(run).looked_at(&stored)?;
    let journal = match &batch {
        Some(batch) => Some(Journal::open(run, batch.clone())?),
        None if run.join(ANSWERS).exists() => Some(Journal::history(run, &stored.header.dataset.classes)?),
        None => None,
    };
    let half = match batch.as_ref().map(|batch| batch.stage) {
        Some(Stage::Round(_)) => Some(Waiting::of(run).half_round()?),
        _ => None,
    };
    let waiting = batch.as_ref().zip(journal.as_ref()).map(|(batch, journal)| Answered::of(batch, journal));
    let rounds = stored.rounds.iter().map(|round| (&round.record, &round.files));
    let rounds: Vec<(&RoundRecord, &RoundFiles)> =
        rounds.chain(half.as_ref().map(|(record, files)| (record, files))).collect();
    let curve = curve(&stored, &rounds)?;
    let seconds_an_answer = journal.as_ref().and_then(|journal| median(journal.seconds()));
    let asked = match &batch {
        Some(batch) => Some(batch.pictures.len()),
        None => stored.batch(Round(stored.rounds.len() as u32)).filter(|_| !stored.is_finished()),
    };
    let cost = |pictures: usize| {
        let answers = pictures * usize::from(people.looks);
        Cost { pictures, answers, minutes: seconds_an_answer.map(|seconds| seconds * answers as f64 / 60.0) }
    };
    let held_out = if stored.header.dataset.test > 0 { 0.0 } else { people.hold_out };
    let batch_size = asked.or_else(|| stored.batch(Round(0))).unwrap_or(1);
    let trained = ((batch_size as f64 * (1.0 - held_out)).round() as usize).max(1);
    let advice = advice(&rounds, trained, stored.header.dataset.classes.len())?;
    Ok(Standing {
        strategy: stored.config.strategy.label().to_owned(),
        stage: match &batch {
            Some(batch) => batch.stage.to_string(),
            None if stored.is_finished() => "finished".to_owned(),
            None => "going-on".to_owned(),
        },
        waiting,
        curve,
        seconds_an_answer,
        next_batch: asked.map(cost),
        stop: advice.iter().any(|told| told.advice == Advice::Stop),
        advice,
    })
}

impl Answered {
    fn of(batch: &Batch, journal: &Journal) -> Self {
        let mut found = Self { pictures: batch.pictures.len(), ..Self::default() };
        for said in journal.outcomes() {
            found.answered += usize::from(said.is_final());
            *match said {
                Outcome::Label(_) => &mut found.labelled,
                Outcome::Rejected => &mut found.rejected,
                Outcome::Unsure => &mut found.unsure,
                Outcome::Open => &mut found.open,
                Outcome::Disputed => &mut found.disputed,
            } += 1;
        }
        for answer in batch.pictures.iter().flat_map(|picture| journal.effective(picture.id)) {
            *found.annotators.entry(answer.annotator.clone()).or_default() += 1;
        }
        found
    }
}

fn curve(stored: &StoredRun, rounds: &[(&RoundRecord, &RoundFiles)]) -> Result<Vec<Point>> {
    let initial = if rounds.is_empty() { Vec::new() } else { stored.initial()? };
    let count = |what| initial.iter().filter(|(_, outcome)| *outcome == what).count();
    let (mut rejected, mut unsure) = (count(Known::Rejected), count(Known::Unsure));
    let mut curve = Vec::with_capacity(rounds.len());
    for (record, _) in rounds {
        let tested = stored.header.tested(record);
        curve.push(Point {
            round: record.round,
            labelled: record.labelled,
            bought: record.bought.unwrap_or(record.labelled),
            tested,
            accuracy: Share::wilson(record.metrics.accuracy, tested),
            rejected,
            unsure,
        });
        // What the batch of a round came to counts from the next one on, as its labels do.
        (rejected, unsure) = (rejected + record.rejected, unsure + record.unsure);
    }
    Ok(curve)
}

/// The middle of values, or the mean of the two in the middle; `None` of none.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[half]),
        _ => Some((sorted[half - 1] + sorted[half]) / 2.0),
    }
}

/// What both rules say, after these rounds, of a batch of which so many would be trained on.
fn advice(rounds: &[(&RoundRecord, &RoundFiles)], trained: usize, classes: usize) -> Result<Vec<Told>> {
    let predicted = |(_, files): &(&RoundRecord, &RoundFiles)| {
        Ok(watched_file::read(files, classes)?.into_iter().map(|(_, class)| class.0).collect::<Vec<u32>>())
    };
    let stability = Stability::of(&rounds.iter().map(predicted).collect::<Result<Vec<_>>>()?);
    let why = match stability.mean {
        None => format!(
            "predictions are compared over {} rounds with models, {} have one so far",
            WINDOW + 1,
            if stability.kappas.is_empty() { rounds.len().min(1) } else { stability.kappas.len() + 1 }
        ),
        Some(mean) => format!("mean kappa of the last {WINDOW} pairs of models is {mean:.3}, the bound {STABLE}"),
    };
    let stable = Told { rule: "stabilising-predictions", advice: stability.advice, why };
    let points: Vec<(usize, f64)> =
        rounds.iter().map(|(record, _)| (record.labelled, record.metrics.accuracy)).collect();
    let gain = Gain::of(&points, trained);
    let why = match gain.expected {
        None => "no curve can be fitted yet: it takes four rounds with an accuracy".to_owned(),
        Some(Share { value, low, high }) => format!(
            "{trained} more labels to train on add {:.2} points ({:.2} to {:.2}) by a power law through {} rounds, the \
             bound is {:.1}",
            value * 100.0,
            low * 100.0,
            high * 100.0,
            points.len(),
            LEAST_GAIN * 100.0
        ),
    };
    Ok(vec![stable, Told { rule: "expected-gain", advice: gain.advice, why }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_few() {
        assert_eq!((median(&[]), median(&[4.0]), median(&[9.0, 1.0, 2.0])), (None, Some(4.0), Some(2.0)));
        assert_eq!(median(&[1.0, 9.0, 2.0, 4.0]), Some(3.0));
    }
}
