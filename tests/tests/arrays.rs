//! Arrays that take more than a forward pass, in runs of the real program.

use std::process::Stdio;
use std::thread::sleep;
use std::time::Instant;

use querist_protocol::philox::Stream;
use querist_tests::cli::{Place, assert_same, lasting, records};
use serde_json::{Value, json};

/// A small run on the built-in digits.
fn run_of(strategy: &str, rest: &str) -> String {
    format!(
        r#"version = 1
dataset = {{ name = "digits", test = 397, validation = 50 }}
recipe = {{ optimiser = "adam", lr = 0.002, epochs = 3, minibatch = 32 }}
budget = {{ initial = 20, per_class = true, batch = 10, rounds = 2 }}
strategy = {strategy}
compute = {{ threads = 1 }}
{rest}
"#
    )
}

const MLP: &str = r#"model = { name = "mlp" }"#;

#[test]
fn every_strategy_on_an_ensemble_finishes() {
    for measure in ["least-confidence", "margin", "entropy", "variation-ratio", "bald", "mean-std"] {
        let strategy = format!(r#"{{ id = "ensemble-{measure}", params = {{ members = 3 }} }}"#);
        let place = Place::with_run(&run_of(&strategy, MLP));
        let table = place.good(&["run", "run.toml", "--out", "r"]);
        assert!(table.contains("trained 3 models a round; its accuracy is that of their mean prediction"), "{table}");
        let records = records(&place.at("r"));
        assert_eq!(records.len(), 3, "{measure}");
        for record in &records {
            let ensemble = &record["ensemble"];
            assert_eq!((&ensemble["adversarial"], &ensemble["evaluate"]), (&json!("none"), &json!("mean")));
            let seconds: Vec<f64> =
                ensemble["seconds"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
            assert!(seconds[0] == 0.0 && seconds[1] > 0.0 && seconds[2] > 0.0, "{seconds:?}");
        }
    }
}

#[test]
fn an_ensemble_that_learned_from_unlabelled_images_says_so() {
    let rest = format!("{MLP}\nensemble = {{ adversarial = \"vat\", evaluate = \"task\" }}");
    let place = Place::with_run(&run_of(r#"{ id = "ensemble-bald", params = { members = 2 } }"#, &rest));
    let table = place.good(&["run", "run.toml", "--out", "r"]);
    let line = "trained 2 models a round with virtual adversarial images; its accuracy is that of the task model alone; \
                they learned from unlabelled images of the pool, too";
    assert!(table.contains(line), "{table}");
    let records = records(&place.at("r"));
    assert_eq!(records[0]["ensemble"]["unlabelled"], records[0]["pool"]);
    assert_eq!(records[2]["ensemble"], Value::Null, "no query follows the last round, and the task model is evaluated");
}

/// Members are part of a round: a killed run trains them again.
#[test]
fn a_killed_run_with_an_ensemble_ends_like_one_never_killed() {
    let place = Place::with_run(&run_of(r#"{ id = "ensemble-entropy", params = { members = 3 } }"#, MLP));
    let clock = Instant::now();
    place.good(&["run", "run.toml", "--out", "whole/r"]);
    let length = clock.elapsed();
    let mut stream = Stream::new(5, 0);
    for _ in 0..6 {
        let mut child = place
            .command(&["run", "run.toml", "--out", "killed/r", "--resume"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(length.mul_f64(stream.next_uniform()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    place.good(&["run", "run.toml", "--out", "killed/r", "--resume"]);
    assert_same(&lasting(&place.at("whole/r")), &lasting(&place.at("killed/r")));
}

#[test]
fn a_query_chooses_from_a_subset_of_its_own() {
    let strategy = r#"{ id = "margin", subset_size = 40 }"#;
    let place = Place::with_run(&run_of(strategy, &format!("{MLP}\nkeep = {{ features = \"all\" }}")));
    place.good(&["run", "run.toml", "--out", "r"]);
    let run = place.at("r");
    let rounds = records(&run);
    assert_eq!((&rounds[0]["subset"], &rounds[1]["subset"]), (&json!(40), &json!(40)));
    assert_eq!((&rounds[0]["pool"], &rounds[0]["short"]), (&json!(1330), &Value::Null));
    // The whole pool would give other picks, and batches beyond the subset have no answer.
    place.good(&["run", "run.toml", "--out", "whole", "--set", "strategy.subset_size=1330"]);
    let whole = records(&place.at("whole"));
    assert_ne!(whole[0]["acquired"], rounds[0]["acquired"]);
    assert_eq!(whole[0]["subset"], Value::Null);
    let message = "strategy.subset_size is 9, but round 0 asks for 10 samples; set it to 10 or more";
    place.call(&["run", "run.toml", "--out", "small", "--set", "strategy.subset_size=9"]).fails(1, &[message]);
    // A batch that takes the whole subset has nothing to choose.
    place.good(&["run", "run.toml", "--out", "short", "--set", "strategy.subset_size=10"]);
    assert_eq!(records(&place.at("short"))[0]["short"], json!(true));
}
