//! The rules, each as a test that names the smallest case that broke it.

use querist_core::observer::Silent;
use querist_core::{Acquisition, Arrays, Query, Round, Schema, Seeds, Strategy};
use querist_protocol::{Need, Selection, StrategyDescription, TILE_BYTES};
use serde_json::{Value, json};

use crate::cases::{Pool, Shape};

/// Makes the strategy under test, with parameters, threads and tiles of the tests' choice.
pub trait Make {
    /// What the package says of the strategy.
    fn description(&self) -> StrategyDescription;

    /// The strategy, ready to be asked.
    ///
    /// # Errors
    /// If it refuses the parameters.
    fn make(&self, params: &Value, threads: usize, tile_bytes: usize) -> Result<Box<dyn Strategy>, String>;
}

/// Checks every rule.
///
/// # Panics
/// With the rule and the case, if one does not hold.
pub fn conforms(make: &dyn Make) {
    schema_is_strict_and_complete(make);
    answers_are_exact(make);
    answers_repeat(make);
    answers_do_not_depend_on_threads_or_tiles(make);
    degenerate_pools_are_answered(make);
    scores_are_in_order(make);
}

/// The parameters to test under: the schema's first example, for strategies with required parameters or with defaults
/// that take long, or none.
fn least_params(make: &dyn Make) -> Value {
    let schema = make.description().schema;
    let example = schema.pointer("/examples/0").cloned();
    assert!(example.is_some() || required(&schema).is_empty(), "a schema with required parameters needs an example");
    example.unwrap_or_else(|| json!({}))
}

fn required(schema: &Value) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.map(|names| names.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

fn made(make: &dyn Make, params: &Value) -> Box<dyn Strategy> {
    make.make(params, 1, TILE_BYTES).unwrap_or_else(|error| panic!("refuses the parameters {params}: {error}"))
}

/// Asks and checks the contract.
fn ask(strategy: &mut dyn Strategy, arrays: &Arrays, batch: usize, seed: u64, round: u32, case: &str) -> Selection {
    let query = Query {
        arrays,
        batch,
        round: Round(round),
        seeds: Seeds::new(seed),
        state: None,
        services: None,
        progress: &Silent,
    };
    let name = strategy.identity().id.clone();
    let answer = strategy.query(&query).unwrap_or_else(|error| panic!("`{name}` gives no answer ({case}): {error}"));
    if let Err(broken) = Acquisition::check(&answer.selection, arrays.ids(), batch) {
        panic!("`{name}` broke its contract ({case}): {broken}");
    }
    answer.selection
}

fn same_bits(a: &Selection, b: &Selection) -> bool {
    let bits = |scores: &[f64]| scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
    a.rows == b.rows && bits(&a.scores) == bits(&b.scores) && a.diagnostics == b.diagnostics && a.state == b.state
}

fn schema_is_strict_and_complete(make: &dyn Make) {
    let description = make.description();
    let schema = Schema::new(description.schema.clone()).unwrap_or_else(|error| panic!("{error}"));
    let least = least_params(make);
    let defaults = schema.with_defaults(&least);
    let problems = schema.problems(&defaults);
    assert!(problems.is_empty(), "the defaults break the schema: {problems:?}");
    let unknown = json!({"no-such-parameter": 1});
    assert!(!schema.problems(&unknown).is_empty(), "the schema allows unknown parameters");
    assert!(make.make(&unknown, 1, TILE_BYTES).is_err(), "the strategy takes unknown parameters");
    let properties = description.schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let required = required(&description.schema);
    for (name, property) in &properties {
        let documented = property.get("description").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        assert!(documented, "parameter `{name}` has no description");
        let stands = property.get("default").is_some() || required.contains(&name.as_str());
        assert!(stands, "parameter `{name}` has no default and is not required");
    }
    for need in &description.needs {
        need.parse::<Need>().unwrap_or_else(|error| panic!("{error}"));
    }
    let needs: Vec<String> = made(make, &least).needs().iter().map(Need::to_string).collect();
    assert_eq!(needs, description.needs, "needs under the default parameters are not those of the manifest");
    let (mut bare, mut filled) = (made(make, &least), made(make, &defaults));
    let arrays = Pool::default().arrays(bare.needs());
    let (a, b) = (ask(&mut *bare, &arrays, 7, 1, 0, "no parameters"), ask(&mut *filled, &arrays, 7, 1, 0, "defaults"));
    assert!(same_bits(&a, &b), "the schema's defaults are not the strategy's own");
}

fn answers_are_exact(make: &dyn Make) {
    let mut strategy = made(make, &least_params(make));
    for labelled in [0, 20] {
        let arrays = Pool { labelled, ..Pool::default() }.arrays(strategy.needs());
        for batch in [0, 1, 2, 17, 299, 300, 301, 100_000] {
            ask(&mut *strategy, &arrays, batch, 1, 0, &format!("batch {batch} of 300, {labelled} labelled"));
        }
    }
    for rows in [0, 1, 2, 3] {
        let arrays = Pool { rows, ..Pool::default() }.arrays(strategy.needs());
        for batch in [0, 1, 2, 5] {
            ask(&mut *strategy, &arrays, batch, 1, 0, &format!("batch {batch} of {rows}"));
        }
    }
}

fn answers_repeat(make: &dyn Make) {
    let (mut first, mut second) = (made(make, &least_params(make)), made(make, &least_params(make)));
    let arrays = Pool::default().arrays(first.needs());
    for round in [0, 3] {
        let a = ask(&mut *first, &arrays, 25, 9, round, "first time");
        let again = ask(&mut *first, &arrays, 25, 9, round, "second time");
        let other = ask(&mut *second, &arrays, 25, 9, round, "another instance");
        assert!(same_bits(&a, &again), "the same question has two answers (round {round})");
        assert!(same_bits(&a, &other), "two instances answer the same question differently (round {round})");
    }
}

fn answers_do_not_depend_on_threads_or_tiles(make: &dyn Make) {
    for shape in [Shape::Clustered, Shape::Duplicates] {
        let mut reference = made(make, &least_params(make));
        let arrays = Pool { rows: 2500, values: shape, ..Pool::default() }.arrays(reference.needs());
        let expected = ask(&mut *reference, &arrays, 40, 5, 1, "1 thread");
        for (threads, tile_bytes) in [(2, TILE_BYTES), (5, TILE_BYTES), (1, 1), (3, 1000), (2, 16 * 257)] {
            let mut other =
                make.make(&least_params(make), threads, tile_bytes).unwrap_or_else(|error| panic!("{error}"));
            let case = format!("{threads} threads, tiles of {tile_bytes} bytes, {shape:?}");
            let answer = ask(&mut *other, &arrays, 40, 5, 1, &case);
            assert!(same_bits(&expected, &answer), "the answer changes with {case}");
        }
    }
}

fn degenerate_pools_are_answered(make: &dyn Make) {
    for values in [Shape::Constant, Shape::Duplicates, Shape::Extreme, Shape::Random] {
        for (classes, labelled) in [(2, 0), (2, 5), (7, 0), (7, 30)] {
            let mut strategy = made(make, &least_params(make));
            let arrays = Pool { values, classes, labelled, rows: 60, ..Pool::default() }.arrays(strategy.needs());
            for batch in [1, 10, 60] {
                let case = format!("{values:?}, {classes} classes, {labelled} labelled, batch {batch}");
                ask(&mut *strategy, &arrays, batch, 2, 0, &case);
            }
        }
    }
}

/// A scorer's picks come with falling scores, and a larger batch begins with a smaller one.
fn scores_are_in_order(make: &dyn Make) {
    if !make.description().scorer {
        return;
    }
    let mut strategy = made(make, &least_params(make));
    let arrays = Pool::default().arrays(strategy.needs());
    let small = ask(&mut *strategy, &arrays, 20, 4, 0, "batch 20");
    let large = ask(&mut *strategy, &arrays, 50, 4, 0, "batch 50");
    assert!(large.scores.is_sorted_by(|a, b| a >= b), "scores do not fall: {:?}", large.scores);
    assert_eq!(small.rows, large.rows[..20], "a larger batch does not begin with the smaller one");
}
