//! The only road from a strategy's answer to labels.

use querist_protocol::{Selection, Shown};

use crate::ids::SampleId;

/// A checked answer: exactly the samples that may now be labelled, in pick order.
#[derive(Debug, Clone, PartialEq)]
pub struct Acquisition {
    ids: Vec<SampleId>,
    scores: Vec<f64>,
}

impl Acquisition {
    /// Accepts exactly min(batch, pool) distinct rows of the pool with finite scores, and nothing else.
    ///
    /// `pool` are the global ids of the query's rows.
    ///
    /// # Errors
    /// The first rule that the selection breaks.
    pub fn check(selection: &Selection, pool: &[u64], batch: usize) -> Result<Self, ContractError> {
        let expected = batch.min(pool.len());
        if selection.rows.len() != expected {
            let found = selection.rows.len();
            return Err(ContractError::Count { found, expected, batch, pool: pool.len() });
        }
        if !selection.scores.is_empty() && selection.scores.len() != expected {
            return Err(ContractError::ScoreCount { found: selection.scores.len(), expected });
        }
        let mut seen = vec![false; pool.len()];
        for (rank, &row) in selection.rows.iter().enumerate() {
            match seen.get_mut(row as usize) {
                None => return Err(ContractError::OutOfRange { rank, row, pool: pool.len() }),
                Some(true) => return Err(ContractError::Twice { rank, row, sample: pool[row as usize] }),
                Some(seen) => *seen = true,
            }
        }
        if let Some(rank) = selection.scores.iter().position(|score| !score.is_finite()) {
            return Err(ContractError::Score { rank, row: selection.rows[rank], score: selection.scores[rank] });
        }
        let ids = selection.rows.iter().map(|&row| SampleId(pool[row as usize])).collect();
        Ok(Self { ids, scores: selection.scores.clone() })
    }

    /// The samples, in pick order.
    pub fn ids(&self) -> &[SampleId] {
        &self.ids
    }

    /// The strategy's score of each sample, or empty.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }
}

/// A rule of the contract that a selection broke.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum ContractError {
    #[error("selected {found} rows, expected exactly {expected} (batch {batch}, pool {pool})")]
    Count { found: usize, expected: usize, batch: usize, pool: usize },
    #[error("gave {found} scores for {expected} rows; give one a row or none")]
    ScoreCount { found: usize, expected: usize },
    #[error("pick {rank} is row {row}, but the pool has rows 0 to {}", *pool as i64 - 1)]
    OutOfRange { rank: usize, row: u32, pool: usize },
    #[error("pick {rank} is row {row} (sample {sample}), which was picked before")]
    Twice { rank: usize, row: u32, sample: u64 },
    #[error("pick {rank} (row {row}) has score {score}; scores must be finite")]
    Score { rank: usize, row: u32, score: f64 },
    #[error("two diagnostics are called `{name}`; training, query and answer of one round share their names")]
    DiagnosticTwice { name: Shown },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(rows: &[u32], scores: &[f64]) -> Selection {
        Selection { rows: rows.to_vec(), scores: scores.to_vec(), ..Selection::default() }
    }

    #[test]
    fn only_exact_answers_pass() {
        let pool = [3, 5, 8];
        let check = |rows: &[u32], scores: &[f64], batch| Acquisition::check(&selection(rows, scores), &pool, batch);
        let good = check(&[2, 0], &[0.5, 0.1], 2).unwrap();
        assert_eq!(good.ids(), [SampleId(8), SampleId(3)]);
        assert!(check(&[2, 0, 1], &[], 10).is_ok(), "a batch larger than the pool takes the pool");
        assert!(matches!(check(&[2], &[], 2), Err(ContractError::Count { found: 1, expected: 2, .. })));
        assert!(matches!(check(&[2, 2], &[], 2), Err(ContractError::Twice { rank: 1, row: 2, sample: 8 })));
        assert!(matches!(check(&[2, 3], &[], 2), Err(ContractError::OutOfRange { row: 3, .. })));
        assert!(matches!(check(&[2, 0], &[0.5], 2), Err(ContractError::ScoreCount { .. })));
        assert!(matches!(check(&[2, 0], &[0.5, f64::NAN], 2), Err(ContractError::Score { rank: 1, .. })));
    }
}
