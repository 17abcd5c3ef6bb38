//! Learners in Python, with `querist.learner`: the module, and the examples with their packages from PyPI.

use std::fs;

use querist_tests::cli::{Place, assert_same, json, lasting, records};
use querist_tests::python::{environment, learner_module, python_with};
use querist_tests::workspace;
use serde_json::{Value, json};

fn example(name: &str) -> String {
    workspace().join("examples/learners").join(name).canonicalize().unwrap().display().to_string()
}

/// Runs with a learner that finds `querist.learner` and whatever its interpreter has.
fn good(place: &Place, out: &str, text: &str) {
    let module = learner_module(place);
    place.write("run.toml", text);
    let output = place.command(&["run", "run.toml", "--out", out]).env("PYTHONPATH", module).output().unwrap();
    let said = place.said(&output);
    assert_eq!(said.code, Some(0), "{}", said.err);
}

fn run_of(python: &str, script: &str, strategy: &str, more: &str) -> String {
    format!(
        "version = 1\ndataset = {{ name = \"digits\", test = 397 }}\ncompute = {{ threads = 1 }}\n\
         budget = {{ initial = 20, per_class = true, batch = 10, rounds = 1 }}\nstrategy = {{ id = \"{strategy}\" }}\n\
         [learner]\ncommand = [\"{python}\", \"{script}\"]\n{more}\n"
    )
}

fn accuracy(place: &Place, out: &str) -> f64 {
    records(&place.at(out)).last().unwrap()["metrics"]["accuracy"].as_f64().unwrap()
}

#[test]
fn each_array_goes_from_a_method_to_a_strategy() {
    let Some(python) = python_with("numpy") else { return };
    let script = format!("{}/learners/everything.py", env!("CARGO_MANIFEST_DIR"));
    let place = Place::new();
    // Draws, coherent draws, members, gradients, the head, labelled embeddings, fixed embeddings.
    let all = ["bald", "batchbald", "vote-entropy", "drop-query", "alfa-mix", "k-center-greedy", "typiclust", "bait"];
    for strategy in all.into_iter().chain(["gradnorm-egl"]) {
        let text = run_of(&python, &script, strategy, "options = { noise = 0.5 }");
        good(&place, strategy, &text.replace("\"gradnorm-egl\"", "\"gradnorm-egl\", params = { scope = \"full\" }"));
        assert!(accuracy(&place, strategy) > 0.6, "{strategy}: {}", accuracy(&place, strategy));
    }
    let header = json(&place.at("bald/header.json"));
    let version = header["learner"]["version"].as_str().unwrap();
    assert!(version.starts_with("7, python 3.") && version.contains(", numpy "), "{version}");
    let log = fs::read_to_string(place.at("bald/learner.log")).unwrap();
    assert_eq!(log, "this goes to standard error\n");
    // Its generators are seeded: what it draws is the same in another process, and another in another round.
    good(&place, "again", &run_of(&python, &script, "bald", "options = { noise = 0.5 }"));
    assert_same(&lasting(&place.at("bald")), &lasting(&place.at("again")));
    let figure = |name: &str| records(&place.at("bald")).iter().map(|r| r["diagnostics"][name].clone()).collect();
    let (draws, seeds): (Vec<Value>, Vec<Value>) = (figure("learner.draw"), figure("learner.seed"));
    assert!(draws[0] != draws[1] && seeds[0] != seeds[1] && draws[0].is_f64(), "{draws:?}");
    // Before anything is labelled.
    let text = run_of(&python, &script, "margin", "").replace("initial = 20, per_class = true", "initial = 0");
    good(&place, "cold", &text);
    assert_eq!(records(&place.at("cold"))[0]["labelled"], json!(0));
}

#[test]
fn what_is_wrong_in_a_learner_is_told_by_its_own_words() {
    let Some(python) = python_with("numpy") else { return };
    let place = Place::new();
    let module = learner_module(&place);
    let script = |body: &str| {
        format!(
            "import numpy as np\nfrom querist.learner import Learner, serve\nclass Mine(Learner):\n    \
             reads = ('images',)\n    def fit(self, samples, labels): pass\n    \
             def logits(self, samples): return np.zeros((len(samples), 10))\n    {body}\nserve(Mine)\n"
        )
    };
    for (body, parts) in [
        (
            "def logits(self, samples): return np.zeros((len(samples), 9))",
            "logits has shape [397, 9], expected [397, 10]",
        ),
        ("def logits(self, samples): return np.full((len(samples), 10), np.nan)", "NaN in row 0, expected numbers"),
        ("def fit(self, samples, labels): raise KeyError('weights')", "said that it failed: KeyError: 'weights'"),
        ("def fit(self, samples, labels): return {'loss': float('nan')}", "Out of range float values"),
        ("def __init__(self, lr): pass", "missing 1 required positional argument: 'lr'"),
        ("packages = ('no-such-thing',)", "No package metadata was found for no-such-thing"),
        ("def begin(self): import os; os._exit(7)", "taking over the data, ended (exit status: 7)"),
    ] {
        place.write("mine.py", script(body));
        place.write("run.toml", run_of(&python, "mine.py", "margin", ""));
        let output = place.command(&["run", "run.toml", "--out", "r"]).env("PYTHONPATH", &module).output().unwrap();
        place.said(&output).fails(1, &[parts]);
        let _ = fs::remove_dir_all(place.at("r"));
    }
}

#[test]
#[ignore = "fetches scikit-learn from PyPI"]
fn scikit_learn_learns() {
    let python = environment("sklearn", &["scikit-learn==1.7.2"]);
    let place = Place::new();
    let script = example("sklearn_digits.py");
    for strategy in ["badge", "bait"] {
        good(&place, strategy, &run_of(&python, &script, strategy, "options = { C = 10.0 }"));
        assert!(accuracy(&place, strategy) > 0.75, "{strategy}: {}", accuracy(&place, strategy));
    }
    good(&place, "again", &run_of(&python, &script, "badge", "options = { C = 10.0 }"));
    assert_same(&lasting(&place.at("badge")), &lasting(&place.at("again")));
}

/// Of one release, as `Cargo.toml` has libtorch's.
const TORCH: [&str; 3] = ["torch==2.11.0", "torchvision==0.26.0", "lightning==2.6.1"];

/// Pictures of two kinds in a folder, with a table of them.
fn pictures(place: &Place) {
    let mut table = "id,label,split\n".to_owned();
    for at in 0..40u32 {
        let kind = at % 2;
        let pixel = |x: u32, y: u32| {
            let along = if kind == 0 { x } else { y };
            let lit = (along / 4).is_multiple_of(2);
            image::Rgb([if lit { 200 } else { 40 }, (at * 5 % 256) as u8, (x * 3 + y + at) as u8])
        };
        let picture = image::RgbImage::from_fn(32, 32, pixel);
        let path = place.at(&format!("pictures/{at}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(path).unwrap();
        table +=
            &format!("{at}.png,{},{}\n", ["columns", "rows"][kind as usize], if at < 30 { "train" } else { "test" });
    }
    place.write("labels.csv", table);
}

#[test]
#[ignore = "fetches three gigabytes from PyPI"]
fn a_backbone_of_torchvision_learns_from_pictures_of_its_own() {
    let python = environment("torch", &TORCH);
    let place = Place::new();
    pictures(&place);
    let options = "options = { root = \"pictures\", weights = \"none\", size = 64, epochs = 50 }";
    for strategy in ["bald", "badge"] {
        let text = run_of(&python, &example("backbone.py"), strategy, options)
            .replace("name = \"digits\", test = 397", "name = \"ids\", path = \"labels.csv\"")
            .replace("initial = 20, per_class = true, batch = 10", "initial = 10, per_class = true, batch = 5");
        good(&place, strategy, &text);
        assert!(accuracy(&place, strategy) >= 0.8, "{strategy}: {}", accuracy(&place, strategy));
        good(&place, &format!("{strategy}-again"), &text);
        assert_same(&lasting(&place.at(strategy)), &lasting(&place.at(&format!("{strategy}-again"))));
    }
}

#[test]
#[ignore = "fetches three gigabytes from PyPI"]
fn lightning_learns() {
    let python = environment("torch", &TORCH);
    let place = Place::new();
    let text = run_of(&python, &example("lightning_digits.py"), "badge", "options = { epochs = 60 }");
    good(&place, "r", &text);
    assert!(accuracy(&place, "r") > 0.6, "{}", accuracy(&place, "r"));
    good(&place, "again", &text);
    assert_same(&lasting(&place.at("r")), &lasting(&place.at("again")));
}
