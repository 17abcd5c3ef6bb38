//! How many labels are bought, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::Round;

/// How many samples a query selects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Batch {
    /// The same number every round, such as `20`.
    Samples(#[schemars(range(min = 1))] usize),
    /// One number a round, such as `[20, 20, 40]`.
    List(#[schemars(length(min = 1, max = 100000))] Vec<usize>),
    /// The labelled set's size after each round, such as `{ totals = [100, 200] }`.
    Totals(Totals),
    /// A share of the pool at the start, such as `"5%"`, every round.
    Share(#[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?%$"), extend("examples" = ["5%"]))] String),
}

/// Sizes of the labelled set after each round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Ascending sizes, each above the one before.
    #[schemars(length(min = 1, max = 100000))]
    pub totals: Vec<usize>,
}

/// How many labels are bought, and when. The model is trained and evaluated once more after the last query: `rounds =
/// 8` gives rounds 0 to 8. Initial set and batches must fit into the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// Samples labelled before the first round.
    #[schemars(range(min = 1))]
    pub initial: usize,
    /// Whether the initial set holds as many samples of each class as of any other.
    #[serde(default)]
    pub per_class: bool,
    /// Samples selected in a round: a number, a list of numbers, `{ totals = [...] }` or a share such as `"5%"`.
    pub batch: Batch,
    /// Number of queries; may be left out where `batch` is a list or totals, whose length it then is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub rounds: Option<usize>,
}

/// The batches of a run, with nothing left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    initial: usize,
    batches: Vec<usize>,
}

impl Plan {
    /// Samples labelled before the first round.
    pub fn initial(&self) -> usize {
        self.initial
    }

    /// Number of queries. The model is trained and evaluated once more after the last.
    pub fn rounds(&self) -> usize {
        self.batches.len()
    }

    /// Samples to ask for in a round; `None` in the last, which only evaluates.
    pub fn batch(&self, round: Round) -> Option<usize> {
        self.batches.get(round.index()).copied()
    }

    /// Labels bought in all.
    pub fn total(&self) -> usize {
        self.initial + self.batches.iter().sum::<usize>()
    }
}

impl BudgetConfig {
    /// The batches for a pool of `pool` samples, initial set included.
    ///
    /// # Errors
    /// If the budget is contradictory or does not fit the pool.
    pub fn plan(&self, pool: usize) -> Result<Plan, BudgetError> {
        let error = |message: String| Err(BudgetError(message));
        let batches = match (&self.batch, self.rounds) {
            (Batch::Samples(n), Some(rounds)) => vec![*n; rounds],
            (Batch::Share(share), Some(rounds)) => {
                let percent: f64 = share.trim_end_matches('%').parse().map_err(|_| BudgetError(share.clone()))?;
                if percent <= 0.0 {
                    return error(format!("a share of `{share}` asks for nothing"));
                }
                vec![((percent / 100.0 * pool as f64).round() as usize).max(1); rounds]
            }
            (Batch::Samples(_) | Batch::Share(_), None) => {
                return error("`rounds` is missing; only a list of batches can do without it".to_owned());
            }
            (Batch::List(list), rounds) => check_rounds(list.clone(), rounds)?,
            (Batch::Totals(Totals { totals }), rounds) => {
                let mut before = self.initial;
                let mut batches = Vec::with_capacity(totals.len());
                for &total in totals {
                    if total <= before {
                        return error(format!("total {total} follows {before}; totals must grow from `initial` on"));
                    }
                    batches.push(total - before);
                    before = total;
                }
                check_rounds(batches, rounds)?
            }
        };
        if batches.contains(&0) {
            return error("a batch of 0 samples asks for nothing".to_owned());
        }
        let total = batches.iter().try_fold(self.initial, |sum, &n| sum.checked_add(n));
        match total {
            Some(total) if total <= pool => Ok(Plan { initial: self.initial, batches }),
            _ => error(format!(
                "initial set and batches add up to {}, but the pool holds {pool} samples",
                total.map_or("too many".to_owned(), |total| total.to_string())
            )),
        }
    }
}

fn check_rounds(batches: Vec<usize>, rounds: Option<usize>) -> Result<Vec<usize>, BudgetError> {
    match rounds {
        Some(rounds) if rounds != batches.len() => {
            Err(BudgetError(format!("`rounds` is {rounds}, but `batch` lists {} rounds", batches.len())))
        }
        _ => Ok(batches),
    }
}

/// A budget that makes no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("budget: {0}")]
pub struct BudgetError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(batch: Batch, rounds: Option<usize>) -> BudgetConfig {
        BudgetConfig { initial: 20, per_class: false, batch, rounds }
    }

    #[test]
    fn batches_of_every_form() {
        let batches = |batch, rounds| budget(batch, rounds).plan(1000).map(|plan| plan.batches);
        assert_eq!(batches(Batch::Samples(10), Some(3)), Ok(vec![10; 3]));
        assert_eq!(batches(Batch::List(vec![5, 7]), None), Ok(vec![5, 7]));
        assert_eq!(batches(Batch::Totals(Totals { totals: vec![50, 100] }), None), Ok(vec![30, 50]));
        assert_eq!(batches(Batch::Share("5%".to_owned()), Some(2)), Ok(vec![50; 2]));
        for (batch, rounds) in [
            (Batch::Samples(10), None),
            (Batch::Samples(500), Some(2)),
            (Batch::List(vec![5, 0]), None),
            (Batch::List(vec![5]), Some(2)),
            (Batch::Totals(Totals { totals: vec![20] }), None),
        ] {
            assert!(batches(batch, rounds).is_err());
        }
    }
}
