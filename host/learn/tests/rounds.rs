//! Rounds of the loop with a real learner: when a run ends, and what batches do to those before.

mod common;

use common::{bars, learner, quick};
use querist_core::config::{BudgetConfig, ModelName, Task};
use querist_core::progress::{Progress, Silent};
use querist_core::{
    Answer, DatasetOracle, FinishedRound, Observer, Position, Query, QueryError, QueryOptions, Round, RoundRecord, Run,
    SampleId, Seeds, Split, Strategy, StrategyIdentity, StrategyKind, run,
};
use querist_protocol::{Capability, Need, Selection};

/// Takes the first rows of whatever it may choose from.
struct First {
    identity: StrategyIdentity,
    /// Rows of each query, and labelled samples.
    seen: Vec<Vec<u64>>,
}

impl First {
    fn new() -> Self {
        let text = || "first".to_owned();
        let identity = StrategyIdentity {
            id: text(),
            package: text(),
            version: text(),
            kind: StrategyKind::Native,
            digest: text(),
        };
        Self { identity, seen: Vec::new() }
    }
}

impl Strategy for First {
    fn identity(&self) -> &StrategyIdentity {
        &self.identity
    }

    fn needs(&self) -> &[Need] {
        &[]
    }

    fn capabilities(&self) -> &[Capability] {
        &[]
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        self.seen.push(query.arrays.ids().to_vec());
        let rows = (0..query.wanted() as u32).collect();
        Ok(Answer { selection: Selection { rows, ..Selection::default() }, ..Answer::default() })
    }
}

#[derive(Default)]
struct Records(Vec<RoundRecord>);

impl Observer for Records {
    fn progress(&self) -> &dyn Progress {
        &Silent
    }

    fn round_done(&mut self, round: &FinishedRound<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.push(round.record.clone());
        Ok(())
    }
}

/// The records of a run on 60 bars, 10 of them for validation and 10 for the test, and the rows of its queries.
fn records(budget: &str, stop_after: Option<Round>) -> (Vec<RoundRecord>, Vec<Vec<u64>>) {
    let data = bars(60, 8, 1);
    let budget: BudgetConfig = serde_json::from_str(budget).unwrap();
    let ids = |range: std::ops::Range<u64>| range.map(SampleId).collect::<Vec<_>>();
    let split = Split { pool: ids(0..40), validation: ids(40..50), test: ids(50..60), reserve: Vec::new() };
    let plan = budget.plan(Task { pool: 40, classes: 2, listed: Some(3) }).unwrap();
    let mut oracle = DatasetOracle::new(&data);
    let seeds = Seeds::new(0);
    let listed = ids(4..7);
    let initial = oracle.initial_set(&split, plan.initial_set(), &listed, seeds.initial_stream()).unwrap();
    let (mut learner, mut strategy) = (learner(&data, ModelName::Mlp, &quick()), First::new());
    let mut observer = Records::default();
    let mut parts = Run {
        dataset: &data,
        split: &split,
        plan: &plan,
        options: QueryOptions::default(),
        seeds,
        learner: &mut learner,
        strategy: &mut strategy,
        oracle: &mut oracle,
        observer: &mut observer,
        stop_after,
    };
    run(&mut parts, Position::start(&split.pool, &initial).unwrap()).unwrap();
    (observer.0, strategy.seen)
}

fn numbers(samples: &[SampleId]) -> Vec<u64> {
    samples.iter().map(|sample| sample.0).collect()
}

#[test]
fn batches_join_those_before_or_take_their_place() {
    let file = r#"{"initial": {"file": "listed"}, "batch": {"totals": [5, 8]}"#;
    let (joined, seen) = records(&format!("{file}}}"), None);
    assert_eq!(joined.iter().map(|round| round.labelled).collect::<Vec<_>>(), [3, 5, 8]);
    assert_eq!(numbers(&joined[1].acquired), [2, 3, 7]);
    assert_eq!((seen[1].len(), joined[1].bought), (35, None));
    let (replaced, seen) = records(&format!("{file}, \"replace\": true}}"), None);
    assert_eq!(replaced.iter().map(|round| round.labelled).collect::<Vec<_>>(), [3, 5, 8]);
    // As if nothing but the initial set, 4 to 6, were labelled.
    assert_eq!(numbers(&replaced[1].acquired), [0, 1, 2, 3, 7]);
    assert_eq!(seen[0], seen[1]);
    assert_eq!(replaced.iter().map(|round| round.pool).collect::<Vec<_>>(), [37, 37, 37]);
    // Two of the five are bought already.
    assert_eq!(replaced.iter().map(|round| round.bought.unwrap()).collect::<Vec<_>>(), [3, 5, 8]);
}

#[test]
fn a_run_ends_when_patience_is_over() {
    let (rounds, seen) = records(r#"{"initial": 4, "batch": 1, "rounds": 30, "patience": 2}"#, None);
    let accuracies: Vec<f64> = rounds.iter().map(|round| round.validation.as_ref().unwrap().accuracy).collect();
    let (last, before) = rounds.split_last().unwrap();
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    let first_best = accuracies.iter().position(|&accuracy| accuracy == best).unwrap();
    assert_eq!(rounds.len(), first_best + 3, "{accuracies:?}");
    assert!(last.out_of_patience && last.acquired.is_empty() && before.iter().all(|round| !round.out_of_patience));
    assert_eq!(seen.len(), before.len());
    assert!(rounds.iter().all(|round| round.validation_labels == 10), "labels that patience looks at are counted");
    let (plain, _) = records(r#"{"initial": 4, "batch": 1, "rounds": 3}"#, None);
    assert!(plain.iter().all(|round| round.validation_labels == 0 && !round.out_of_patience));
}

#[test]
fn a_run_stops_after_the_round_that_is_named() {
    let budget = r#"{"initial": 4, "batch": 1, "rounds": 3}"#;
    let (whole, _) = records(budget, None);
    let (part, _) = records(budget, Some(Round(1)));
    assert_eq!((whole.len(), part.len()), (4, 2));
    assert_eq!(numbers(&part[1].acquired), numbers(&whole[1].acquired), "its batch is bought");
}
