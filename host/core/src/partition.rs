//! What is labelled, since when, and with what.

use std::collections::BTreeSet;

use crate::ids::{Label, Round, SampleId};

/// Per sample of the pool, the round it was labelled in and its label. Replaying the rounds rebuilds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    samples: Vec<SampleId>,
    labelled: Vec<Option<(Round, Label)>>,
    /// Whether the label was ever bought.
    bought: Vec<bool>,
}

impl Partition {
    /// Nothing labelled yet. `pool` ascends.
    pub fn new(pool: &[SampleId]) -> Self {
        Self { samples: pool.to_vec(), labelled: vec![None; pool.len()], bought: vec![false; pool.len()] }
    }

    /// Records labels that count from `round` on; the initial set counts from round 0.
    ///
    /// # Errors
    /// If a sample is not in the pool or is labelled already; then nothing is recorded.
    pub fn acquire(&mut self, round: Round, labels: &[(SampleId, Label)]) -> Result<(), PartitionError> {
        let mut positions = BTreeSet::new();
        let mut order = Vec::with_capacity(labels.len());
        for &(sample, _) in labels {
            let position =
                self.samples.binary_search(&sample).map_err(|_| PartitionError::NotInPool { sample: sample.0 })?;
            if self.labelled[position].is_some() || !positions.insert(position) {
                return Err(PartitionError::Again { sample: sample.0 });
            }
            order.push(position);
        }
        for (position, &(_, label)) in order.into_iter().zip(labels) {
            self.labelled[position] = Some((round, label));
            self.bought[position] = true;
        }
        Ok(())
    }

    /// The same with nothing but the initial set labelled.
    #[must_use]
    pub fn started_over(&self) -> Self {
        let mut over = self.clone();
        for labelled in &mut over.labelled {
            *labelled = labelled.filter(|(round, _)| round.0 == 0);
        }
        over
    }

    /// Number of samples whose labels were ever bought, those of the initial set included.
    pub fn bought_len(&self) -> usize {
        self.bought.iter().filter(|&&bought| bought).count()
    }

    /// Unlabelled samples, ascending.
    pub fn pool(&self) -> Vec<SampleId> {
        self.samples.iter().zip(&self.labelled).filter(|(_, l)| l.is_none()).map(|(&s, _)| s).collect()
    }

    /// Labelled samples with their labels, ascending.
    pub fn labelled(&self) -> Vec<(SampleId, Label)> {
        self.samples.iter().zip(&self.labelled).filter_map(|(&s, l)| l.map(|(_, label)| (s, label))).collect()
    }

    /// Round in which a sample was labelled, if it was.
    pub fn labelled_in(&self, sample: SampleId) -> Option<Round> {
        self.labelled[self.samples.binary_search(&sample).ok()?].map(|(round, _)| round)
    }

    /// Number of labelled samples.
    pub fn labelled_len(&self) -> usize {
        self.labelled.iter().flatten().count()
    }

    /// Number of samples that were labelled at the start.
    pub fn initial_len(&self) -> usize {
        self.labelled.iter().flatten().filter(|(round, _)| round.0 == 0).count()
    }

    /// Number of unlabelled samples.
    pub fn pool_len(&self) -> usize {
        self.samples.len() - self.labelled_len()
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
