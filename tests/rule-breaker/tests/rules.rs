//! Every rule that is broken is noticed, or does no harm.

use querist_core::config::{ModelName, Recipe};
use querist_core::progress::Silent;
use querist_torch_testkit::{Bench, InProcess, bars};
use rule_breaker::PACKAGE;
use serde_json::json;

fn bench() -> Bench {
    // Dropout and batch-norm each would show a generator or a mode that was left changed.
    let recipe = Recipe { epochs: 2, minibatch: 8, ..Recipe::default() };
    Bench::new(&bars(48, 16, 1), 20, 4, ModelName::Lenet, &recipe)
}

const HARMLESS: [&str; 6] = ["well", "grad-off", "draws", "threads", "dtype", "gradients"];

const ERRORS: [(&str, &[&str]); 12] = [
    ("steps", &["changed the task's model in place", "`conv1.weight`", "more"]),
    ("panics", &["on purpose, in step 0"]),
    ("panics-without-grad", &["on purpose, without gradients"]),
    ("torch-error", &["libtorch: ", "(8x2 and 8x2)"]),
    ("torch-panic", &["libtorch: ", "(8x2 and 8x2)"]),
    ("nan-loss", &["extra loss is NaN", "epoch 0, minibatch 0"]),
    ("off-graph", &["on no graph", "return none instead"]),
    ("shape", &["shape [8]", "expected a scalar"]),
    ("loss-type", &["Double"]),
    ("scale", &["by 2, expected 0 to 1"]),
    ("backward", &["must not run backward itself"]),
    ("writes", &["nor write into the minibatch's tensors"]),
];

#[test]
fn every_strategy_has_its_test() {
    let ids: Vec<String> = PACKAGE.describe().strategies.into_iter().map(|strategy| strategy.id).collect();
    let mut tested: Vec<&str> = HARMLESS.into_iter().chain(ERRORS.map(|(id, _)| id)).collect();
    let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    tested.sort_unstable();
    ids.sort_unstable();
    assert_eq!(ids, tested);
}

#[test]
fn what_is_put_back_does_no_harm() {
    let mut alone = bench();
    alone.fit(None).unwrap();
    for id in HARMLESS {
        let (mut bench, mut strategy) = (bench(), InProcess::new(&PACKAGE, id, &json!({})).unwrap());
        bench.fit(Some(&mut strategy)).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert!(bench.model() == alone.model(), "{id} changed the training");
        assert_eq!(bench.query(&mut strategy, &Silent).unwrap().rows, [0, 1, 2, 3], "{id}");
    }
}

#[test]
fn the_others_end_in_errors_of_their_own() {
    let mut alone = bench();
    alone.fit(None).unwrap();
    for (id, parts) in ERRORS {
        let (mut bench, mut strategy) = (bench(), InProcess::new(&PACKAGE, id, &json!({})).unwrap());
        // The C tables catch panics; here the test does.
        let fit = std::panic::AssertUnwindSafe(|| bench.fit(Some(&mut strategy)).map(|_| ()));
        let message = match std::panic::catch_unwind(fit) {
            Ok(result) => result.expect_err(id).to_string(),
            Err(payload) => match payload.downcast_ref::<String>() {
                Some(text) => text.clone(),
                None => (*payload.downcast_ref::<&str>().expect("a text")).to_owned(),
            },
        };
        for part in parts {
            assert!(message.contains(part), "{id}: `{part}` is not in: {message}");
        }
        // The next training is as if nothing had happened.
        bench.fit(None).unwrap();
        assert!(bench.model() == alone.model(), "{id} left something behind");
    }
}
