//! Real pictures, where they are: `$QUERIST_TEST_DATA`, else `shared/data` beside the workspace.

use std::path::PathBuf;

use querist_tests::cli::{Place, records};
use querist_tests::workspace;

fn real(name: &str) -> Option<PathBuf> {
    let beside = || workspace().join("../shared/data");
    let path = std::env::var_os("QUERIST_TEST_DATA").map_or_else(beside, PathBuf::from).join(name);
    if path.exists() {
        return Some(path.canonicalize().expect("it exists"));
    }
    eprintln!("skipped: no {}; set QUERIST_TEST_DATA to the folder that holds `{name}`", path.display());
    None
}

/// Runs strategies for one query each and gives the last accuracies.
fn learn(place: &Place, strategies: &[&str]) -> Vec<f64> {
    let mut last = Vec::new();
    let mut first = Vec::new();
    for id in strategies {
        let set = format!("strategy.id={id}");
        place.good(&["run", "run.toml", "--out", id, "--set", &set]);
        let lines = records(&place.at(id));
        assert_eq!(lines.len(), 2, "{id}");
        assert_eq!(lines[0]["acquired"].as_array().map(Vec::len), Some(40), "{id}");
        first.push(lines[0]["metrics"].clone());
        last.push(lines[1]["metrics"]["accuracy"].as_f64().expect("a number"));
    }
    assert!(first.iter().all(|metrics| *metrics == first[0]), "the strategies did not start from the same model");
    eprintln!("{strategies:?}: {last:.3?}");
    last
}

const STRATEGIES: [&str; 3] = ["random", "badge", "k-center-greedy"];

#[test]
fn lenet_learns_mnist() {
    let Some(path) = real("mnist") else { return };
    let place = Place::with_run(&format!(
        r#"version = 1
dataset = {{ name = "mnist", path = {path:?} }}
model = {{ name = "lenet" }}
recipe = {{ optimiser = "adam", lr = 0.002, epochs = 40, minibatch = 16 }}
budget = {{ initial = 20, per_class = true, batch = 40, rounds = 1 }}
strategy = {{ id = "random" }}
compute = {{ threads = 2 }}
"#
    ));
    // Sixty labels tell ten digits apart far better than chance.
    for accuracy in learn(&place, &STRATEGIES) {
        assert!(accuracy > 0.5, "{accuracy}");
    }
}

fn cifar(path: &std::path::Path, model: &str, epochs: usize) -> String {
    format!(
        r#"version = 1
dataset = {{ name = "cifar10", path = {path:?} }}
model = {{ name = "{model}" }}
recipe = {{ optimiser = "adam", lr = 0.001, epochs = {epochs}, minibatch = 16, augment = ["flip"] }}
budget = {{ initial = 20, per_class = true, batch = 40, rounds = 1 }}
strategy = {{ id = "random" }}
compute = {{ threads = 2 }}
"#
    )
}

#[test]
fn cnn_learns_cifar10() {
    let Some(path) = real("cifar10-jpeg") else { return };
    let place = Place::with_run(&cifar(&path, "cnn", 30));
    // Sixty labels are few for ten kinds of things: better than one in ten, and no more is asked.
    for accuracy in learn(&place, &STRATEGIES) {
        assert!(accuracy > 0.12, "{accuracy}");
    }
}

#[test]
#[ignore = "takes minutes: a deep network that is evaluated twice on 10,000 pictures"]
fn resnet18_learns_cifar10() {
    let Some(path) = real("cifar10-jpeg") else { return };
    let small = cifar(&path, "resnet18", 20).replacen("path =", "variant = { subset = 2000 }, path =", 1);
    let place = Place::with_run(&small);
    for accuracy in learn(&place, &["badge"]) {
        assert!(accuracy > 0.12, "{accuracy}");
    }
}

/// Strategies that train something, with small caps.
const TRAINED: [(&str, &str); 10] = [
    ("learning-loss", "{ subset_size = 500, lr = 0.01 }"),
    ("vaal", "{ subset_size = 300, iterations = 2, batch_size = 16, latent_dim = 8 }"),
    ("weight-decay-scheduling", "{ kd_alpha = 0.5, sampling_type = \"sampled_descending\", sampled_size = 500 }"),
    ("uncertain-gcn", "{ subset_size = 500 }"),
    ("core-gcn", "{ subset_size = 500 }"),
    ("adversarial-deepfool", "{ subset_size = 300 }"),
    ("adversarial-bim", "{ subset_size = 300, max_iter = 50 }"),
    ("ta-vaal", "{ subset_size = 300, iterations = 2, batch_size = 16, latent_dim = 8, lr_ranker = 0.01 }"),
    ("waal", "{ epoch_length = \"labelled\" }"),
    ("asal", "{ gan = \"dcgan\", gan_iterations = 20, gan_channels = 32, batch_size = 16, z_steps = 20 }"),
];

/// Strategies that train networks of their own finish their rounds on real pictures, with small caps.
fn train_beside(dataset: &str, model: &str, strategies: &[(&str, &str)]) {
    let place = Place::with_run(&format!(
        r#"version = 1
dataset = {dataset}
model = {{ name = "{model}" }}
recipe = {{ optimiser = "adam", lr = 0.001, epochs = 4, minibatch = 32 }}
budget = {{ initial = 100, batch = 20, rounds = 3 }}
strategy = {{ id = "random" }}
compute = {{ threads = 2 }}
"#
    ));
    for (id, params) in strategies {
        let (id_set, params_set) = (format!("strategy.id={id}"), format!("strategy.params={params}"));
        place.good(&["run", "run.toml", "--out", id, "--set", &id_set, "--set", &params_set]);
        let lines = records(&place.at(id));
        assert_eq!(lines.len(), 4, "{id}");
        for line in &lines[..3] {
            assert_eq!(line["acquired"].as_array().map(Vec::len), Some(20), "{id}");
        }
        let accuracies: Vec<f64> = lines.iter().map(|l| l["metrics"]["accuracy"].as_f64().expect("a number")).collect();
        eprintln!("{dataset} {id}: {accuracies:.3?}");
    }
}

#[test]
fn strategies_that_train_run_on_mnist() {
    let Some(path) = real("mnist") else { return };
    train_beside(&format!("{{ name = \"mnist\", path = {path:?} }}"), "lenet", &TRAINED[..2]);
}

#[test]
fn strategies_that_train_run_on_cifar10() {
    let Some(path) = real("cifar10-jpeg") else { return };
    train_beside(&format!("{{ name = \"cifar10\", path = {path:?} }}"), "cnn", &TRAINED[..2]);
}

#[test]
#[ignore = "takes minutes: three rounds of each of ten strategies, on two datasets"]
fn every_strategy_that_trains_finishes_three_rounds() {
    let (Some(mnist), Some(cifar)) = (real("mnist"), real("cifar10-jpeg")) else { return };
    train_beside(&format!("{{ name = \"mnist\", path = {mnist:?} }}"), "lenet", &TRAINED);
    train_beside(&format!("{{ name = \"cifar10\", path = {cifar:?} }}"), "cnn", &TRAINED);
}
