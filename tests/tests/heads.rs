//! Models whose head has a hidden layer, in runs of the real program.

use std::path::Path;

use querist_data::arrays::{Kind, read_array, write_npy};
use querist_tests::cli::{Place, assert_same, kill_and_resume, lasting, misbehaving, records};
use querist_tests::target;
use serde_json::json;

const HIDDEN: usize = 24;

/// A small run on the built-in digits.
fn run_of(strategy: &str) -> String {
    format!(
        r#"version = 1
dataset = {{ name = "digits", test = 397 }}
model = {{ name = "mlp", head_hidden = {HIDDEN}, dropout = 0.1 }}
recipe = {{ optimiser = "adam", lr = 0.002, epochs = 40, minibatch = 32 }}
budget = {{ initial = 20, per_class = true, batch = 10, rounds = 2 }}
strategy = {strategy}
compute = {{ threads = 1 }}
keep = {{ model = "all", features = "all" }}
"#
    )
}

fn figure(record: &serde_json::Value, name: &str) -> f64 {
    record["diagnostics"][name].as_f64().unwrap()
}

#[test]
fn strategies_that_ask_the_head_finish_and_repeat() {
    for (strategy, name) in [
        (r#"{ id = "alfa-mix" }"#, "closed"),
        (r#"{ id = "alfa-mix", params = { variant = "random", max_cap = 0.125 } }"#, "random"),
        (r#"{ id = "alfa-mix", params = { variant = "optimised", max_cap = 0.125, iters = 3 } }"#, "optimised"),
        (r#"{ id = "drop-query", params = { oversample = 2 } }"#, "drop"),
    ] {
        let place = Place::with_run(&run_of(strategy));
        place.good(&["run", "run.toml", "--out", "r"]);
        let rounds = records(&place.at("r"));
        assert_eq!(rounds.len(), 3, "{name}");
        for record in &rounds[..2] {
            assert_eq!(record["acquired"].as_array().unwrap().len(), 10, "{name}");
            assert!(figure(record, "candidates") > 0.0, "{name}: {record}");
        }
        if name != "random" {
            place.good(&["run", "run.toml", "--out", "again"]);
            assert_same(&lasting(&place.at("r")), &lasting(&place.at("again")));
        }
    }
}

/// Two layers in f64, read from a model file.
struct ByHand {
    layers: [(Vec<f64>, Vec<f64>); 2],
}

fn floats(path: &Path, name: &str) -> Vec<f64> {
    let array = read_array(path, Some(name), Kind::F32).unwrap();
    array.as_f32().unwrap().iter().map(|&value| f64::from(value)).collect()
}

fn argmax(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}

impl ByHand {
    fn read(model: &Path) -> Self {
        let layer = |name: &str| (floats(model, &format!("{name}.weight")), floats(model, &format!("{name}.bias")));
        Self { layers: [layer("head.hidden"), layer("head.last")] }
    }

    fn through((weights, biases): &(Vec<f64>, Vec<f64>), x: &[f64]) -> Vec<f64> {
        let row = |(w, b): (&[f64], &f64)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b;
        weights.chunks(x.len()).zip(biases).map(row).collect()
    }

    fn hidden(&self, z: &[f64]) -> Vec<f64> {
        Self::through(&self.layers[0], z).into_iter().map(|x| x.max(0.0)).collect()
    }

    fn logits(&self, z: &[f64]) -> Vec<f64> {
        Self::through(&self.layers[1], &self.hidden(z))
    }

    /// Gradient of the predicted class's loss, by the chain rule.
    fn gradient(&self, z: &[f64]) -> Vec<f64> {
        let (hidden, logits) = (self.hidden(z), self.logits(z));
        let own = argmax(&logits);
        let total: f64 = logits.iter().map(|l| (l - logits[own]).exp()).sum();
        let back = |(weights, _): &(Vec<f64>, Vec<f64>), from: &[f64], width: usize| -> Vec<f64> {
            (0..width).map(|d| from.iter().enumerate().map(|(at, g)| g * weights[at * width + d]).sum()).collect()
        };
        let residual: Vec<f64> = logits
            .iter()
            .enumerate()
            .map(|(c, l)| (l - logits[own]).exp() / total - f64::from(u8::from(c == own)))
            .collect();
        let mut at_hidden = back(&self.layers[1], &residual, hidden.len());
        at_hidden.iter_mut().zip(&hidden).filter(|(_, h)| **h == 0.0).for_each(|(g, _)| *g = 0.0);
        back(&self.layers[0], &at_hidden, z.len())
    }

    /// Whether mixing the anchor in along the gradient, at this cap, flips the prediction.
    fn flips(&self, z: &[f64], anchor: &[f64], cap: f64) -> bool {
        let gradient = self.gradient(z);
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let reach = anchor.iter().zip(z).map(|(a, z)| (a - z) * (a - z)).sum::<f64>().sqrt();
        let length = cap / (z.len() as f64).sqrt() * reach / norm;
        let moved = z.iter().zip(anchor).zip(&gradient).map(|((z, a), g)| if a == z { *z } else { z + length * g });
        argmax(&self.logits(&moved.collect::<Vec<_>>())) != argmax(&self.logits(z))
    }
}

#[test]
fn candidates_of_a_run_are_those_of_mixing_by_hand() {
    let place = Place::with_run(&run_of(r#"{ id = "alfa-mix", params = { alpha_cap = 0.05 } }"#));
    place.good(&["run", "run.toml", "--out", "r"]);
    let round = place.at("r/rounds/0000");
    let features = round.join("features.safetensors");
    let head = ByHand::read(&round.join("model.safetensors"));
    let pool = floats(&features, "embeddings");
    let width = pool.len() / 1380;
    let labelled = floats(&features, "labelled.embeddings");
    let labels = read_array(&features, Some("labelled.labels"), Kind::U32).unwrap().as_u32().unwrap().to_vec();
    let anchors: Vec<Vec<f64>> = (0..10)
        .map(|class| {
            let rows: Vec<&[f64]> =
                labelled.chunks(width).zip(&labels).filter(|(_, label)| **label == class).map(|(row, _)| row).collect();
            (0..width)
                .map(|d| f64::from((rows.iter().map(|row| row[d]).sum::<f64>() / rows.len() as f64) as f32))
                .collect()
        })
        .collect();
    let first = &records(&place.at("r"))[0];
    let cap = figure(first, "cap");
    let flips = |cap: f64| {
        let flip = |z: &&[f64]| anchors.iter().any(|anchor| head.flips(z, anchor, cap));
        pool.chunks(width).filter(flip).count()
    };
    // Rows that flip at a cap may turn back at a larger one, so those of all caps count.
    let caps: Vec<f64> = (1..).map(|step| f64::from(step) * 0.05).take_while(|at| *at < cap + 0.01).collect();
    let flip = |z: &&[f64]| caps.iter().any(|&cap| anchors.iter().any(|anchor| head.flips(z, anchor, cap)));
    let expected = pool.chunks(width).filter(flip).count() as f64;
    // One row may lie where f32 and f64 disagree.
    assert!((figure(first, "candidates") - expected).abs() <= 1.0, "{expected} by hand: {first}");
    assert!(expected > 10.0 && (caps.len() == 1 || flips(caps[caps.len() - 2]) <= 11), "{caps:?}: {expected}");
}

/// The head is not part of what a round keeps beside the model: a resumed run asks the one that it trains again.
#[test]
fn a_killed_run_that_asks_the_head_ends_like_one_never_killed() {
    kill_and_resume(&run_of(r#"{ id = "alfa-mix" }"#), 5);
}

#[test]
fn strategies_of_the_last_layer_see_its_inputs() {
    for (id, name) in [("badge", "penultimate"), ("gradnorm-entropy", "penultimate"), ("bait", "labelled.penultimate")]
    {
        let place = Place::with_run(&run_of(&format!(r#"{{ id = "{id}" }}"#)));
        place.good(&["run", "run.toml", "--out", "r"]);
        let inputs = read_array(&place.at("r/rounds/0000/features.safetensors"), Some(name), Kind::F32).unwrap();
        assert_eq!(inputs.shape()[1], HIDDEN, "{id}");
    }
}

/// What a head cannot give is refused before anything is trained or written, with the option that would help.
#[test]
fn needs_of_a_linear_head_are_refused_before_training() {
    let plugins = misbehaving().display().to_string();
    let run = |way: &str, more: &[&str]| {
        let place = Place::with_run(&run_of(&format!(r#"{{ id = "misbehaving", params = {{ way = "{way}" }} }}"#)));
        let said = place.call(&[&["run", "run.toml", "--out", "r", "--plugin-dir", &plugins], more].concat());
        (said, place.at("r").exists())
    };
    let (said, is_there) = run("weights", &[]);
    said.fails(1, &["the strategy needs `head.w`", "model.head_hidden = 24", "leave `model.head_hidden` out"]);
    assert!(!is_there);
    let (said, _) = run("weights", &["--set", "model={name=\"mlp\"}"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for (way, part) in [
        ("head-shape", "columns of the embeddings: found 7, expected 128"),
        ("head-class", "class 10 in row 0, but there are 10"),
    ] {
        let (said, _) = run(way, &[]);
        said.fails(1, &["misbehaving 0.1.0", part]);
    }
}

#[test]
fn select_has_a_head_where_weights_and_biases_are_given() {
    let place = Place::new();
    let logits: Vec<f32> = (0..300).map(|i| (i % 17) as f32).collect();
    write_npy(&place.at("logits.npy"), &[100, 3], &logits).unwrap();
    write_npy(&place.at("w.npy"), &[3, 3], &[1.0f32, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]).unwrap();
    write_npy(&place.at("b.npy"), &[3], &[0.25f32, 0.0, 0.0]).unwrap();
    let plugins = misbehaving().display().to_string();
    let mut args = vec!["select", "--strategy", "misbehaving", "--plugin-dir", &plugins, "--param", "way=head"];
    args.extend(["--budget", "5", "--format", "json", "--input", "logits=logits.npy", "--input", "head.w=w.npy"]);
    let message = "the strategy needs head: give a linear one with `--input head.w=FILE` and `--input head.b=FILE`";
    place.call(&args).fails(2, &[message]);
    let out = place.good(&[&args[..], &["--input", "head.b=b.npy"]].concat());
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["diagnostics"]["first"], json!(0.75));
}

/// A native package asks through the tables and picks the same rows; one in a worker has no head.
#[test]
fn native_packages_ask_the_head_unless_they_are_isolated() {
    let place = Place::with_run(&run_of(r#"{ id = "native-fixture/alfa-mix" }"#));
    let library = target().join("libnative_fixture.so").display().to_string();
    place.good(&["plugin", "pack", "--allow-native", &library, "--out", "packed"]);
    place.good(&["plugin", "lock", "native-fixture", "--plugin-dir", "packed"]);
    place.good(&["run", "run.toml", "--out", "native", "--plugin-dir", "packed", "--allow-native"]);
    place.good(&["run", "run.toml", "--out", "wasm", "--set", "strategy.id=alfa-mix/alfa-mix"]);
    let picks = |run: &str| {
        let of = |record: &serde_json::Value| (record["acquired"].clone(), record["diagnostics"].clone());
        records(&place.at(run)).iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(picks("native"), picks("wasm"));
    let isolated = ["run", "run.toml", "--out", "isolated", "--plugin-dir", "packed", "--isolate"];
    place.call(&isolated).fails(1, &["the strategy needs `head.w`", "leave `model.head_hidden` out"]);
    assert!(!place.at("isolated").exists());
    place.good(&[&isolated[..], &["--set", "model={name=\"mlp\"}"]].concat());
}
