//! No strategy reads a hidden label that it has no right to, whatever way it asks.

use querist_data::arrays::write_npy;
use querist_tests::cli::{Place, json, misbehaving};
use serde_json::Value;

/// A run whose model has no dropout, so that draws cannot be had and second choices are taken.
const RUN: &str = r#"version = 1
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
recipe = { epochs = 1 }
budget = { initial = 20, batch = 10, rounds = 1 }
strategy = { id = "STRATEGY" }
compute = { threads = 1 }
"#;

fn plugins() -> String {
    misbehaving().display().to_string()
}

#[test]
fn a_second_choice_gives_no_hidden_label() {
    let place = Place::with_run(&RUN.replace("STRATEGY", "misbehaving"));
    let run =
        ["run", "run.toml", "--out", "r", "--plugin-dir", &plugins(), "--set", "strategy.params.way=secret-choice"];
    let words = ["misbehaving 0.1.0", "hidden labels (`oracle.labels`)", "`oracle-labels`"];
    place.call(&run).fails(1, &words);
    assert!(!place.at("r").exists(), "nothing was begun");

    // The same where the labels lie in a file beside other arrays.
    write_npy(&place.at("draws.npy"), &[4, 1, 2], &[-0.7f32; 8]).unwrap();
    write_npy(&place.at("labels.npy"), &[4], &[0u32, 1, 0, 1]).unwrap();
    for inputs in [&["oracle.labels=labels.npy"][..], &["oracle.labels=labels.npy", "mc_log_probs=draws.npy"]] {
        let mut select = vec!["select", "--strategy", "misbehaving", "--param", "way=secret-choice", "--budget", "2"];
        let plugins = plugins();
        select.extend(["--plugin-dir", &plugins]);
        select.extend(inputs.iter().flat_map(|input| ["--input", input]));
        place.call(&select).fails(1, &words);
    }
}

#[test]
fn a_record_says_what_was_handed_over() {
    // One that declares the power and uses it, and one that has none.
    for (strategy, needs, powers) in [
        ("uniform", vec!["labelled.labels", "oracle.labels"], vec!["oracle-labels"]),
        ("margin", vec!["logits"], vec![]),
    ] {
        let place = Place::with_run(&RUN.replace("STRATEGY", strategy));
        place.good(&["run", "run.toml", "--out", "r"]);
        let header = json(&place.at("r/header.json"));
        let list = |name: &str| -> Vec<String> {
            header[name].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(list("capabilities"), powers, "{strategy}");
        assert_eq!(list("needs"), needs, "{strategy}");
    }
}

#[test]
fn a_query_holds_nothing_that_was_not_settled() {
    // `margin` is given more than it needs; only what it needs is kept as what it saw.
    let place = Place::with_run(&(RUN.replace("STRATEGY", "margin") + "keep = { features = \"all\" }\n"));
    place.good(&["run", "run.toml", "--out", "r"]);
    let bytes = std::fs::read(place.at("r/rounds/0000/features.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let names: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let names: Vec<&String> = names.as_object().unwrap().keys().filter(|name| *name != "__metadata__").collect();
    assert_eq!(names, ["logits"]);
}
