//! What is known of the samples, and since when.

use std::collections::BTreeSet;

use crate::ids::{Label, Round, SampleId};
use crate::outcome::Outcome;

/// Per sample of the pool, the round in which it was asked for and what that came to. Replaying the rounds rebuilds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    samples: Vec<SampleId>,
    known: Vec<Option<(Round, Outcome)>>,
    /// Whether a label was ever bought.
    bought: Vec<bool>,
}

impl Partition {
    /// Nothing known yet. `pool` ascends.
    pub fn new(pool: &[SampleId]) -> Self {
        Self { samples: pool.to_vec(), known: vec![None; pool.len()], bought: vec![false; pool.len()] }
    }

    /// Records labels, or other outcomes, that count from `round` on; the initial set counts from round 0.
    ///
    /// # Errors
    /// If a sample is not in the pool or was asked for already; then nothing is recorded.
    pub fn acquire<O: Into<Outcome> + Copy>(
        &mut self,
        round: Round,
        outcomes: &[(SampleId, O)],
    ) -> Result<(), PartitionError> {
        let mut positions = BTreeSet::new();
        let mut order = Vec::with_capacity(outcomes.len());
        for &(sample, _) in outcomes {
            let position =
                self.samples.binary_search(&sample).map_err(|_| PartitionError::NotInPool { sample: sample.0 })?;
            if self.known[position].is_some() || !positions.insert(position) {
                return Err(PartitionError::Again { sample: sample.0 });
            }
            order.push(position);
        }
        for (position, &(_, outcome)) in order.into_iter().zip(outcomes) {
            let outcome = outcome.into();
            self.known[position] = Some((round, outcome));
            self.bought[position] = outcome.is_bought();
        }
        Ok(())
    }

    /// The same with nothing but the initial set known.
    #[must_use]
    pub fn started_over(&self) -> Self {
        let mut over = self.clone();
        for known in &mut over.known {
            *known = known.filter(|(round, _)| round.0 == 0);
        }
        over
    }

    /// Number of samples whose labels were ever bought, those of the initial set, those held out and those that turned
    /// out to be of no class included.
    pub fn bought_len(&self) -> usize {
        self.bought.iter().filter(|&&bought| bought).count()
    }

    /// Samples that were never asked for, ascending.
    pub fn pool(&self) -> Vec<SampleId> {
        self.samples.iter().zip(&self.known).filter(|(_, known)| known.is_none()).map(|(&s, _)| s).collect()
    }

    fn with<'a, T: 'a>(&'a self, pick: impl Fn(Outcome) -> Option<T> + 'a) -> impl Iterator<Item = (SampleId, T)> + 'a {
        self.samples.iter().zip(&self.known).filter_map(move |(&sample, known)| Some((sample, pick((*known)?.1)?)))
    }

    /// Labelled samples with their labels, ascending; those that are held out are not among them.
    pub fn labelled(&self) -> Vec<(SampleId, Label)> {
        self.with(Outcome::label).collect()
    }

    /// Samples that are of none of the classes, ascending.
    pub fn rejected(&self) -> Vec<SampleId> {
        self.with(|outcome| (outcome == Outcome::Rejected).then_some(())).map(|(sample, ())| sample).collect()
    }

    /// Samples whose labels were bought for the test, ascending, with these.
    pub fn held_out(&self) -> Vec<(SampleId, Label)> {
        let held_out = |outcome| match outcome {
            Outcome::HeldOut(label) => Some(label),
            _ => None,
        };
        self.with(held_out).collect()
    }

    /// Round in which a sample was asked for, if it was.
    pub fn labelled_in(&self, sample: SampleId) -> Option<Round> {
        self.known[self.samples.binary_search(&sample).ok()?].map(|(round, _)| round)
    }

    /// Number of labelled samples.
    pub fn labelled_len(&self) -> usize {
        self.with(Outcome::label).count()
    }

    /// Number of samples that were labelled at the start.
    pub fn initial_len(&self) -> usize {
        let is_initial = |&&(round, outcome): &&(Round, Outcome)| round.0 == 0 && outcome.label().is_some();
        self.known.iter().flatten().filter(is_initial).count()
    }

    /// Number of samples that were never asked for.
    pub fn pool_len(&self) -> usize {
        self.known.iter().filter(|known| known.is_none()).count()
    }
}

/// Labels that do not fit the partition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum PartitionError {
    #[error("sample {sample} is not in the pool")]
    NotInPool { sample: u64 },
    #[error("sample {sample} is labelled twice")]
    Again { sample: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_label_leaves_the_pool_and_is_not_trained_on() {
        let ids = |ids: &[u64]| ids.iter().copied().map(SampleId).collect::<Vec<_>>();
        let mut partition = Partition::new(&ids(&[1, 2, 3, 4, 5, 6]));
        partition.acquire(Round(0), &[(SampleId(4), Label(1))]).unwrap();
        let outcomes = [Outcome::Rejected, Outcome::Unsure, Outcome::HeldOut(Label(0)), Outcome::Label(Label(2))];
        let batch: Vec<_> = ids(&[6, 1, 3, 2]).into_iter().zip(outcomes).collect();
        partition.acquire(Round(1), &batch).unwrap();
        assert_eq!(partition.pool(), ids(&[5]));
        assert_eq!(partition.labelled(), [(SampleId(2), Label(2)), (SampleId(4), Label(1))]);
        assert_eq!((partition.rejected(), partition.held_out()), (ids(&[6]), vec![(SampleId(3), Label(0))]));
        assert_eq!((partition.labelled_len(), partition.initial_len(), partition.pool_len()), (2, 1, 1));
        assert_eq!(partition.bought_len(), 4, "a doubt costs a look, and no label");
        assert_eq!(partition.labelled_in(SampleId(1)), Some(Round(1)));
        assert_eq!(
            partition.acquire(Round(2), &[(SampleId(6), Label(0))]),
            Err(PartitionError::Again { sample: 6 }),
            "what was rejected is not asked for again"
        );
        assert_eq!(partition.started_over().pool(), ids(&[1, 2, 3, 5, 6]));
    }
}
