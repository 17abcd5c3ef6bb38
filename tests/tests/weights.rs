//! Weights from a file, in runs of the real program.

use querist_tests::cli::{Place, records};
use serde_json::{Value, json};

const RUN: &str = r#"version = 1
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 20, minibatch = 32 }
budget = { initial = 200, per_class = true, batch = 10, rounds = 1 }
strategy = { id = "random" }
compute = { threads = 1 }
keep = { model = "all" }
"#;

const TEACHER: &str = "teacher/rounds/0001/model.safetensors";

fn header(place: &Place, out: &str) -> Value {
    serde_json::from_slice(&std::fs::read(place.at(out).join("header.json")).unwrap()).unwrap()
}

#[test]
fn a_run_starts_from_a_file_and_goes_on_only_with_the_same() {
    let place = Place::with_run(RUN);
    place.good(&["run", "run.toml", "--out", "teacher"]);
    let weights = format!("model.weights={TEACHER}");
    let few = ["--set", "recipe.epochs=1", "--set", "budget.initial=20"];
    let run = |out: &str, more: &[&str]| place.call(&[&["run", "run.toml", "--out", out][..], &few, more].concat());
    let said = run("student", &["--set", &weights]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("4 of 4 tensors of the body loaded, read as"), "{}", said.err);
    assert!(said.err.contains("2 of its head left out"), "{}", said.err);
    assert_eq!(run("afresh", &[]).code, Some(0));
    let accuracy = |out: &str| records(&place.at(out))[0]["metrics"]["accuracy"].as_f64().unwrap();
    assert_ne!(accuracy("student"), accuracy("afresh"));
    let digest = header(&place, "student")["weights"].as_str().unwrap().to_owned();
    assert_eq!(digest.len(), 64);
    assert_eq!(header(&place, "afresh")["weights"], json!(null));
    // The same file again goes on; another does not, nor does none.
    assert_eq!(run("student", &["--set", &weights, "--resume"]).code, Some(0));
    let mut bytes = std::fs::read(place.at(TEACHER)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    place.write("other.safetensors", &bytes);
    std::fs::copy(place.at("other.safetensors"), place.at(TEACHER)).unwrap();
    run("student", &["--set", &weights, "--resume"]).fails(1, &["file of `model.weights` is not the one"]);
    run("cnn", &["--set", &weights, "--set", "model.name=cnn"])
        .fails(2, &["model.weights = teacher", " of 8 tensors", "conv1.weight", "it is of another model"]);
    run("none", &["--set", "model.weights=nothing.safetensors"]).fails(1, &["model.weights = nothing.safetensors"]);
    place.write("text.safetensors", "not weights at all, and long enough for a header");
    run("text", &["--set", "model.weights=text.safetensors"]).fails(2, &["text.safetensors", "neither a safetensors"]);
    assert!(!place.at("text").exists() && !place.at("cnn").exists());
}
