//! How many labels are bought, and when.

mod initial;
mod named;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::Round;

pub use initial::{Classes, EachClass, IndexFile, Initial, InitialSet};
pub use named::NamedBudget;

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
    /// A published system's, such as `{ named = "exp1k" }`; `initial` is then its first size.
    Named(Named),
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

/// A published system's budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name.
    pub named: NamedBudget,
}

/// How many labels are bought, and when. The model is trained and evaluated once more after the last query: `rounds =
/// 8` gives rounds 0 to 8. Initial set and batches must fit into the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetConfig {
    /// Samples labelled before the first round: a number, a share of the pool such as `"10%"`, `{ each_class = 5 }`, or
    /// `{ file = "initial.txt" }`. It may be left out where `batch` is a named budget, which says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Initial>,
    /// Whether the initial set holds as many samples of each class as of any other.
    #[serde(default)]
    pub per_class: bool,
    /// Samples selected in a round: a number, a list of numbers, `{ totals = [...] }`, `{ named = "exp1k" }` or a share
    /// such as `"5%"`.
    pub batch: Batch,
    /// Number of queries; may be left out where `batch` is a list, totals or named, whose length it then is. With 0 the
    /// model is trained on the initial set and evaluated, and nothing is asked; `initial = "100%"` then trains on all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100000))]
    pub rounds: Option<usize>,
    /// Whether a batch takes the place of the one before instead of joining it, as in low-budget's k-means: each query
    /// chooses from all of the pool but the initial set, and the record counts every label that was ever bought.
    /// Batches then grow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// Rounds without a better accuracy on the validation set after which the run ends. The labels of the validation
    /// set then take part, and each round's record counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub patience: Option<u32>,
}

/// What a plan is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Samples of the pool, initial set included.
    pub pool: usize,
    /// Classes.
    pub classes: usize,
    /// Samples of the initial set where a file lists it.
    pub listed: Option<usize>,
}

/// The batches of a run, with nothing left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    initial: InitialSet,
    batches: Vec<usize>,
    replaces: bool,
    patience: Option<u32>,
}

impl Plan {
    /// Samples labelled before the first round.
    pub fn initial(&self) -> usize {
        self.initial.len()
    }

    /// How they are found.
    pub fn initial_set(&self) -> &InitialSet {
        &self.initial
    }

    /// Number of queries. The model is trained and evaluated once more after the last.
    pub fn rounds(&self) -> usize {
        self.batches.len()
    }

    /// Samples to ask for in a round; `None` in the last, which only evaluates.
    pub fn batch(&self, round: Round) -> Option<usize> {
        self.batches.get(round.index()).copied()
    }

    /// Labels in use at most: all that are bought, unless batches take the place of those before.
    pub fn total(&self) -> usize {
        let batches = self.batches.iter();
        self.initial() + if self.replaces { batches.max().copied().unwrap_or(0) } else { batches.sum() }
    }

    /// Whether a batch takes the place of the one before.
    pub fn replaces(&self) -> bool {
        self.replaces
    }

    /// Rounds without a better validation accuracy after which the run ends.
    pub fn patience(&self) -> Option<u32> {
        self.patience
    }

    /// Whether a run ends with a round, by the validation accuracies of all rounds up to it.
    pub fn is_over(&self, accuracies: &[f64]) -> bool {
        let mut best = (0, f64::NEG_INFINITY);
        for (round, &accuracy) in accuracies.iter().enumerate() {
            if accuracy > best.1 {
                best = (round, accuracy);
            }
        }
        self.patience.is_some_and(|patience| accuracies.len() > best.0 + patience as usize)
    }
}

impl BudgetConfig {
    /// The file that lists the initial set, if one does.
    pub fn initial_file(&self) -> Option<&IndexFile> {
        match &self.initial {
            Some(Initial::File(file)) => Some(file),
            _ => None,
        }
    }

    /// Whether the initial set is neither counted nor drawn: a file lists it, or it is what is known already.
    pub fn is_listed(&self) -> bool {
        let is_named = matches!(self.batch, Batch::Named(_));
        self.initial_file().is_some() || (self.initial.is_none() && !is_named)
    }

    /// The batches for a task.
    ///
    /// # Errors
    /// If the budget is contradictory or does not fit the pool.
    pub fn plan(&self, task: Task) -> Result<Plan, BudgetError> {
        let error = |message: String| Err(BudgetError(message));
        let initial = self.initial_for(task)?;
        let batches = match (&self.batch, self.rounds) {
            (Batch::Samples(n), Some(rounds)) => vec![*n; rounds],
            (Batch::Share(share), Some(rounds)) => vec![share_of(share, task.pool)?; rounds],
            (Batch::Samples(_) | Batch::Share(_), None) => {
                return error("`rounds` is missing; only a list of batches can do without it".to_owned());
            }
            (Batch::List(list), rounds) => check_rounds(list.clone(), rounds)?,
            (Batch::Totals(Totals { totals }), rounds) => check_rounds(self.steps(initial.len(), totals)?, rounds)?,
            (Batch::Named(Named { named }), rounds) => {
                let totals = named.totals();
                if initial.len() != totals[0] {
                    let (found, wanted) = (initial.len(), totals[0]);
                    return error(format!(
                        "`initial` comes to {found} samples, but the named budget begins with {wanted}; leave \
                         `initial` out, or name other totals"
                    ));
                }
                check_rounds(self.steps(totals[0], &totals[1..])?, rounds)?
            }
        };
        if batches.contains(&0) {
            return error("a batch of 0 samples asks for nothing".to_owned());
        }
        if self.replace && !batches.is_sorted_by(|before, after| before < after) {
            return error("with `replace` each batch is larger than the one whose place it takes".to_owned());
        }
        let all = batches.iter().try_fold(initial.len(), |sum, &n| sum.checked_add(n));
        let plan = Plan { initial, batches, replaces: self.replace, patience: self.patience };
        match all {
            Some(all) if all.min(plan.total()) <= task.pool => Ok(plan),
            _ => error(format!(
                "initial set and batches add up to {}, but the pool holds {} samples",
                all.map_or("too many".to_owned(), |all| all.min(plan.total()).to_string()),
                task.pool
            )),
        }
    }

    fn initial_for(&self, Task { pool, classes, listed }: Task) -> Result<InitialSet, BudgetError> {
        let error = |message: String| Err(BudgetError(message));
        let drawn = |count| if self.per_class { InitialSet::Balanced(count) } else { InitialSet::Random(count) };
        let set = match &self.initial {
            None => match &self.batch {
                Batch::Named(Named { named }) => drawn(named.totals()[0]),
                // Labels that are known already are the set.
                _ if listed.is_some() => InitialSet::Listed(listed.unwrap_or(0)),
                _ => return error("`initial` is missing; only a named budget can do without it".to_owned()),
            },
            Some(Initial::Samples(count)) => drawn(*count),
            Some(Initial::Share(share)) => drawn(share_of(share, pool)?),
            Some(Initial::Classes(_) | Initial::File(_)) if self.per_class => {
                return error("`per_class` is for an `initial` that counts samples; leave it out".to_owned());
            }
            Some(Initial::Classes(Classes { each_class: EachClass::Same(count) })) => {
                InitialSet::Classes(vec![*count; classes])
            }
            Some(Initial::Classes(Classes { each_class: EachClass::List(counts) })) => {
                if counts.len() != classes {
                    let found = counts.len();
                    return error(format!("`each_class` lists {found} numbers, but there are {classes} classes"));
                }
                InitialSet::Classes(counts.clone())
            }
            Some(Initial::File(_)) => InitialSet::Listed(listed.unwrap_or(0)),
        };
        let is_wanted = self.initial == Some(Initial::Samples(0));
        match set.len() {
            0 if !is_wanted => error("`initial` comes to no sample; write `initial = 0` if that is meant".to_owned()),
            0 if self.rounds == Some(0) => error("`initial` and `rounds` are 0: nothing is ever labelled".to_owned()),
            _ => Ok(set),
        }
    }

    /// Batches by which the labelled set comes to these sizes.
    fn steps(&self, initial: usize, totals: &[usize]) -> Result<Vec<usize>, BudgetError> {
        let mut before = initial;
        let mut batches = Vec::with_capacity(totals.len());
        for &total in totals {
            if total <= before {
                let message = format!("total {total} follows {before}; totals must grow from `initial` on");
                return Err(BudgetError(message));
            }
            batches.push(total - if self.replace { initial } else { before });
            before = total;
        }
        Ok(batches)
    }
}

/// Samples of a share such as `5%`, one at least.
fn share_of(share: &str, pool: usize) -> Result<usize, BudgetError> {
    let percent: f64 = share.trim_end_matches('%').parse().map_err(|_| BudgetError(share.to_owned()))?;
    if percent <= 0.0 {
        return Err(BudgetError(format!("a share of `{share}` asks for nothing")));
    }
    Ok(((percent / 100.0 * pool as f64).round() as usize).max(1))
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
        let initial = Some(Initial::Samples(20));
        BudgetConfig { initial, per_class: false, batch, rounds, replace: false, patience: None }
    }

    const TASK: Task = Task { pool: 1000, classes: 4, listed: None };

    #[test]
    fn batches_of_every_form() {
        let batches = |batch, rounds| budget(batch, rounds).plan(TASK).map(|plan| plan.batches);
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

    #[test]
    fn initial_sets_of_every_form() {
        let set = |initial: &str| {
            let budget: BudgetConfig =
                serde_json::from_str(&format!(r#"{{"initial": {initial}, "batch": 1, "rounds": 1}}"#)).unwrap();
            budget.plan(Task { listed: Some(7), ..TASK }).map(|plan| plan.initial)
        };
        assert_eq!(set("20"), Ok(InitialSet::Random(20)));
        assert_eq!(set(r#""10%""#), Ok(InitialSet::Random(100)));
        assert_eq!(set(r#"{"each_class": 5}"#), Ok(InitialSet::Classes(vec![5; 4])));
        assert_eq!(set(r#"{"each_class": [1, 0, 2, 3]}"#), Ok(InitialSet::Classes(vec![1, 0, 2, 3])));
        assert_eq!(set(r#"{"file": "a.txt", "base": 1}"#), Ok(InitialSet::Listed(7)));
        for wrong in [r#"{"each_class": [1, 2]}"#, r#"{"each_class": [0, 0, 0, 0]}"#, r#""0%""#, r#""101%""#] {
            assert!(set(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn named_budgets_say_it_all() {
        let named = |initial: Option<Initial>, named| {
            let budget = BudgetConfig { initial, ..budget(Batch::Named(Named { named }), None) };
            budget.plan(Task { pool: 50_000, ..TASK })
        };
        let plan = named(None, NamedBudget::Exp1k).unwrap();
        assert_eq!((plan.initial(), plan.batches), (1000, vec![1000, 2000, 4000]));
        let plan = named(None, NamedBudget::AlBaselines).unwrap();
        assert_eq!((plan.rounds(), plan.total()), (16, 15_000));
        assert_eq!(plan.batches[..3], [200, 200, 1000]);
        let plan = named(None, NamedBudget::Vaal).unwrap();
        assert_eq!((plan.initial(), plan.rounds(), plan.total()), (5000, 6, 20_000));
        assert!(named(Some(Initial::Samples(1000)), NamedBudget::Exp1k).is_ok());
        let error = named(Some(Initial::Samples(20)), NamedBudget::Exp1k).unwrap_err().to_string();
        assert!(error.contains("begins with 1000"), "{error}");
    }

    #[test]
    fn batches_that_take_the_place_of_others() {
        let totals = Batch::Totals(Totals { totals: vec![500, 1000] });
        let plan = BudgetConfig { replace: true, ..budget(totals, None) }.plan(TASK).unwrap();
        assert_eq!((&plan.batches, plan.total()), (&vec![480, 980], 1000));
        let many = BudgetConfig { replace: true, ..budget(Batch::List(vec![500, 600]), None) };
        assert_eq!(many.plan(TASK).unwrap().total(), 620);
        let alike = BudgetConfig { batch: Batch::List(vec![500, 500]), ..many.clone() };
        assert!(alike.plan(TASK).unwrap_err().to_string().contains("larger"));
        assert!(BudgetConfig { replace: false, ..many }.plan(TASK).is_err());
    }

    #[test]
    fn patience_counts_rounds_since_the_best() {
        let with = |patience| BudgetConfig { patience, ..budget(Batch::Samples(1), Some(9)) }.plan(TASK).unwrap();
        let over = |patience, accuracies: &[f64]| with(patience).is_over(accuracies);
        assert!(!over(Some(2), &[0.5]) && !over(Some(2), &[0.5, 0.4]) && over(Some(2), &[0.5, 0.4, 0.5]));
        assert!(!over(Some(2), &[0.5, 0.4, 0.6, 0.6]) && over(Some(2), &[0.5, 0.4, 0.6, 0.6, 0.1]));
        assert!(!over(None, &[0.5; 50]));
    }
}
