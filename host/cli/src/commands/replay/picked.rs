//! What was picked in a round, and where two of them part.

use anyhow::{Context, Result, ensure};
use querist_core::digest::sha256;
use querist_files::shown;

use crate::round_files::PICKS;
use crate::stored_run::{StoredRound, StoredRun};

/// The selection of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Picked {
    /// The round.
    pub round: u32,
    /// Samples, in pick order.
    pub ids: Vec<u64>,
    /// Their scores; none where the strategy gives none.
    pub scores: Vec<f64>,
    /// Accuracy of the model that was asked with, where it was trained for this.
    pub accuracy: Option<f64>,
}

impl Picked {
    /// SHA-256 over samples and the bits of their scores, in hex.
    pub fn digest(&self) -> String {
        let scores = self.scores.iter().map(|score| score.to_bits());
        let words: Vec<u64> = self.ids.iter().copied().chain(scores).collect();
        sha256(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>())
    }
}

/// The selections of a run, round by round.
pub fn of_run(run: &StoredRun) -> Result<Vec<Picked>> {
    run.rounds.iter().filter(|round| !round.outcomes.is_empty()).map(of_round).collect()
}

fn of_round(round: &StoredRound) -> Result<Picked> {
    let path = round.files.folder().join(PICKS);
    let bytes = round.files.bytes(PICKS)?.with_context(|| format!("{} is missing", shown(&path)))?;
    let mut rows = csv::Reader::from_reader(&bytes[..]);
    let column = rows.headers()?.iter().position(|name| name == "score");
    let column = column.with_context(|| format!("{}: no column `score`", shown(&path)))?;
    let mut scores = Vec::new();
    for (at, row) in rows.records().enumerate() {
        let row = row.with_context(|| shown(&path).into_string())?;
        let text = row.get(column).unwrap_or_default();
        if !text.is_empty() {
            let wrong = || format!("{}: row {at}: `score` is no number", shown(&path));
            scores.push(text.parse().with_context(wrong)?);
        }
    }
    let ids: Vec<u64> = round.outcomes.iter().map(|(sample, _)| sample.0).collect();
    let fits = scores.is_empty() || scores.len() == ids.len();
    ensure!(fits, "{}: {} picks, {} of them with a score", shown(&path), ids.len(), scores.len());
    let (round, accuracy) = (round.record.round.0, Some(round.record.metrics.accuracy));
    Ok(Picked { round, ids, scores, accuracy })
}

/// The first difference, in words; `None` where there is none.
pub fn difference(recorded: &[Picked], replayed: &[Picked]) -> Option<String> {
    for (at, one) in recorded.iter().enumerate() {
        let Some(again) = replayed.get(at) else {
            return Some(format!("round {}: the replay ended before it", one.round));
        };
        if let Some(what) = apart(one, again) {
            return Some(format!("round {}{what}{}", one.round, whose(one, again)));
        }
    }
    None
}

fn apart(one: &Picked, again: &Picked) -> Option<String> {
    if let Some(rank) = one.ids.iter().zip(&again.ids).position(|(a, b)| a != b) {
        let (recorded, replayed) = (one.ids[rank], again.ids[rank]);
        return Some(format!(", pick {rank}: the record has sample {recorded}, the replay sample {replayed}"));
    }
    if one.ids.len() != again.ids.len() {
        return Some(format!(": the record has {} picks, the replay {}", one.ids.len(), again.ids.len()));
    }
    if one.scores.len() != again.scores.len() {
        return Some(format!(": the record has {} scores, the replay {}", one.scores.len(), again.scores.len()));
    }
    let bits = |(a, b): (&f64, &f64)| a.to_bits() != b.to_bits();
    let rank = one.scores.iter().zip(&again.scores).position(bits)?;
    let (id, recorded, replayed) = (one.ids[rank], one.scores[rank], again.scores[rank]);
    Some(format!(
        ", pick {rank}: the score of sample {id} is {recorded:?} in the record and {replayed:?} in the replay"
    ))
}

/// Whether the model had become another one before the strategy was asked.
fn whose(one: &Picked, again: &Picked) -> String {
    match (one.accuracy, again.accuracy) {
        (Some(recorded), Some(replayed)) if recorded.to_bits() != replayed.to_bits() => format!(
            "; the model was another one already, with an accuracy of {:.2} % and {:.2} %: the training differs, not \
             the strategy alone",
            recorded * 100.0,
            replayed * 100.0
        ),
        (Some(_), Some(_)) => "; the model's accuracy is the same".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(ids: &[u64], scores: &[f64], accuracy: Option<f64>) -> Picked {
        Picked { round: 4, ids: ids.to_vec(), scores: scores.to_vec(), accuracy }
    }

    #[test]
    fn the_first_difference_is_told() {
        let one = picked(&[7, 8, 9], &[3.0, 2.0, 1.0], Some(0.5));
        let told = |again: Picked| difference(std::slice::from_ref(&one), &[again]);
        assert_eq!(told(one.clone()), None);
        let other = told(picked(&[7, 5, 9], &[3.0, 2.0, 1.0], None)).unwrap();
        assert_eq!(other, "round 4, pick 1: the record has sample 8, the replay sample 5");
        let score = told(picked(&[7, 8, 9], &[3.0, 2.0, 1.5], Some(0.5))).unwrap();
        assert!(score.contains("pick 2: the score of sample 9 is 1.0 in the record and 1.5 in the replay"), "{score}");
        assert!(score.ends_with("the model's accuracy is the same"), "{score}");
        let model = told(picked(&[8, 7, 9], &[3.0, 2.0, 1.0], Some(0.25))).unwrap();
        assert!(model.contains("50.00 % and 25.00 %: the training differs"), "{model}");
        assert!(told(picked(&[7, 8], &[3.0, 2.0], None)).unwrap().contains("the record has 3 picks, the replay 2"));
        assert!(difference(&[one], &[]).unwrap().contains("the replay ended before it"));
    }

    #[test]
    fn a_digest_is_of_samples_and_bits() {
        let one = picked(&[1, 2], &[0.0, 1.0], None);
        assert_eq!(one.digest(), picked(&[1, 2], &[0.0, 1.0], Some(1.0)).digest());
        assert_ne!(one.digest(), picked(&[1, 2], &[-0.0, 1.0], None).digest());
        assert_ne!(one.digest(), picked(&[2, 1], &[0.0, 1.0], None).digest());
    }
}
