//! Every component keeps every rule, and gives the same rows with the same score bits as its native twin. That the
//! twins keep the rules is tested beside each of them.

use querist_core::{Question, Round, Seeds, Strategy};
use querist_protocol::TILE_BYTES;
use querist_testkit::cases::{Pool, Shape};
use querist_testkit::{Make, NativeMaker, conforms};
use querist_tests::{WasmMaker, strategies};
use serde_json::{Value, json};

#[test]
fn components_conform() {
    for (_, id) in strategies() {
        conforms(&WasmMaker(id));
    }
}

/// Parameters that lead through every branch of a strategy: the examples in its schema.
fn variants(maker: &dyn Make) -> Vec<Value> {
    match maker.description().schema.get("examples") {
        Some(examples) => examples.as_array().expect("examples are a list").clone(),
        None => vec![json!({})],
    }
}

fn answer(maker: &dyn Make, params: &Value, pool: &Pool, batch: usize) -> (Vec<u32>, Vec<u64>, Vec<(String, f64)>) {
    let mut strategy: Box<dyn Strategy> = maker.make(params, 2, TILE_BYTES).unwrap();
    let arrays = pool.arrays(strategy.needs());
    let question = Question::new(&arrays, batch).in_round(Round(2)).with_seeds(Seeds::new(11));
    let selection = strategy.answer(&question).unwrap().selection;
    let bits = selection.scores.iter().map(|score| score.to_bits()).collect();
    (selection.rows, bits, selection.diagnostics)
}

/// Whether one of two arrays does for some need.
fn leaves_a_choice(maker: &dyn Make, params: &Value) -> bool {
    let strategy = maker.make(params, 1, TILE_BYTES).unwrap();
    strategy.needs().iter().any(|need| need.second_choice().is_some())
}

#[test]
fn component_and_native_twin_agree_to_the_bit() {
    for (package, id) in strategies() {
        let (native, wasm) = (NativeMaker::new(package, &id), WasmMaker(id.clone()));
        for params in variants(&native) {
            for values in [Shape::Clustered, Shape::Random, Shape::Duplicates, Shape::Extreme] {
                for (labelled, second_choice) in [(0, false), (40, false), (40, true)] {
                    if second_choice && !leaves_a_choice(&native, &params) {
                        continue;
                    }
                    let pool = Pool { rows: 1200, labelled, values, width: 37, second_choice, ..Pool::default() };
                    assert_eq!(
                        answer(&native, &params, &pool, 50),
                        answer(&wasm, &params, &pool, 50),
                        "{id} {params} {values:?}, {labelled} labelled, second choice: {second_choice}"
                    );
                }
            }
        }
    }
}
