//! Native strategies that share libtorch with the host, through the program: real runs, kills, and broken rules.

use std::fs;
use std::path::PathBuf;

use querist_tests::cli::{Place, json, kill_and_resume, records};
use querist_tests::{target, workspace};

/// A small run on the built-in digits, whose model has stages.
fn run_of(strategy: &str, epochs: usize) -> String {
    format!(
        r#"version = 1
dataset = {{ name = "digits", test = 397, size = 16 }}
model = {{ name = "cnn" }}
recipe = {{ optimiser = "adam", lr = 0.002, epochs = {epochs}, minibatch = 32 }}
budget = {{ initial = 20, per_class = true, batch = 15, rounds = 2 }}
strategy = {strategy}
compute = {{ threads = 1 }}
"#
    )
}

const LEARNING_LOSS: &str = r#"{ id = "learning-loss", params = { lr = 0.01 } }"#;
const VAAL: &str = r#"{ id = "vaal", params = { latent_dim = 4, iterations = 2, batch_size = 8, subset_size = 64 } }"#;

const ASAL: &str = concat!(
    r#"{ id = "asal", params = { gan_iterations = 5, gan_size = 8, gan_channels = 8, batch_size = 8, z_steps = 5, "#,
    r#"match_features = "rgb" } }"#
);
const TWINS: &str = concat!(
    r#"{ id = "adversarial-deepfool", "#,
    r#"params = { add_twins = true, subset_size = 40, max_iter = 10, batch_size = 40 } }"#
);
const DISTILLED: &str = r#"{ id = "weight-decay-scheduling", params = { kd_alpha = 0.5 } }"#;

fn library(name: &str) -> PathBuf {
    let path = target().join(format!("lib{name}.so"));
    assert!(path.is_file(), "{} is missing: run `cargo build --workspace` first", path.display());
    path
}

/// A place with a locked native package in `packed`.
fn with_package(name: &str, package: &str, run: &str) -> Place {
    let place = Place::with_run(run);
    let library = library(name).display().to_string();
    place.good(&["plugin", "pack", "--allow-native", &library, "--out", "packed"]);
    place.good(&["plugin", "lock", package, "--plugin-dir", "packed"]);
    place
}

#[test]
fn a_killed_run_with_learning_loss_ends_like_one_never_killed() {
    kill_and_resume(&run_of(LEARNING_LOSS, 6), 4);
}

#[test]
fn a_killed_run_with_vaal_ends_like_one_never_killed() {
    kill_and_resume(&run_of(VAAL, 6), 2);
}

#[test]
fn a_killed_run_with_a_gan_that_lives_for_rounds_ends_like_one_never_killed() {
    kill_and_resume(&run_of(ASAL, 6), 3);
}

#[test]
fn a_killed_run_with_adversarial_twins_ends_like_one_never_killed() {
    kill_and_resume(&run_of(TWINS, 4), 4);
}

#[test]
fn twins_train_later_rounds_and_are_counted_apart() {
    let place = Place::with_run(&run_of(TWINS, 4));
    place.good(&["run", "run.toml", "--out", "r"]);
    let records = records(&place.at("r"));
    let (mut made, mut labelled) = (0.0, 20);
    for record in &records {
        assert_eq!(record["synthetic"].as_f64().unwrap_or(0.0), made, "{record}");
        assert_eq!(record["labelled"], labelled, "{record}");
        made += record["diagnostics"]["twins"].as_f64().unwrap_or(0.0);
        labelled += record["acquired"].as_array().map_or(0, Vec::len);
    }
    assert!(made > 0.0, "{records:?}");
    let file = place.at("r/rounds/0000/synthetic.safetensors");
    fs::remove_file(&file).unwrap();
    let said = place.call(&["report", "r"]);
    assert!(said.code.is_some_and(|code| code != 0) && said.err.contains("synthetic.safetensors"), "{}", said.err);
}

#[test]
fn a_killed_run_with_a_teacher_ends_like_one_never_killed() {
    kill_and_resume(&run_of(DISTILLED, 6), 3);
}

#[test]
fn the_record_says_that_the_strategy_looked_into_training() {
    let place = Place::with_run(&run_of(LEARNING_LOSS, 3));
    place.good(&["run", "run.toml", "--out", "r"]);
    let records = records(&place.at("r"));
    assert_eq!(records.len(), 3);
    assert_eq!(records[0]["overrides"]["stage_maps"], true);
    assert_eq!(records[0]["acquired"].as_array().map(Vec::len), Some(15));
    let header = json(&place.at("r/header.json"));
    assert_eq!(header["strategy"]["kind"], "native-torch");
}

#[test]
fn an_extra_loss_of_zero_and_random_draws_leave_the_models_as_they_are() {
    let place = with_package("rule_breaker", "rule-breaker", &run_of(r#"{ id = "well" }"#, 3));
    let model = |id: &str| {
        let set = format!("strategy.id={id}");
        // Its dropout draws from libtorch's generator at every step, so a plugin that moved it would show.
        let run = ["run", "run.toml", "--out", id, "--set", &set, "--set", "model.name=lenet"];
        place.good(&[&run[..], &["--plugin-dir", "packed", "--allow-native"]].concat());
        // Before any query, so that the labelled sets are the same.
        records(&place.at(id))[0]["metrics"].clone()
    };
    let plain = model("random");
    for id in ["well", "draws", "grad-off", "threads", "dtype"] {
        assert_eq!(model(id), plain, "{id}");
    }
}

#[test]
fn broken_rules_end_in_errors_that_name_the_strategy_and_leave_a_run_to_go_on_with() {
    let place = with_package("rule_breaker", "rule-breaker", &run_of(r#"{ id = "well" }"#, 3));
    for (id, words) in [
        ("steps", &["changed"][..]),
        ("panics", &["the plugin panicked", "on purpose, in step 0"]),
        ("panics-without-grad", &["the plugin panicked", "on purpose, without gradients"]),
        ("torch-error", &["libtorch", "mat1 and mat2"]),
        ("torch-panic", &["libtorch", "mat1 and mat2"]),
        ("nan-loss", &["NaN"]),
        ("off-graph", &["graph"]),
        ("shape", &["scalar"]),
        ("scale", &["2"]),
    ] {
        let set = format!("strategy.id={id}");
        let args = ["run", "run.toml", "--out", id, "--set", &set, "--plugin-dir", "packed", "--allow-native"];
        let said = place.call(&args);
        assert_eq!(said.code, Some(1), "{id}: {}", said.err);
        for word in [&["rule-breaker 0.1.0", "--resume"], words].concat() {
            assert!(said.err.contains(word), "{id}: expected `{word}` in: {}", said.err);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_before_training() {
    let place = Place::with_run(&run_of(LEARNING_LOSS, 3));
    let refused = |args: &[&str], words: &[&str]| {
        let said = place.call(&[&["run", "run.toml", "--out", "r"], args].concat());
        assert!(said.code.is_some_and(|code| code != 0), "{args:?}: {}", said.err);
        for word in words {
            assert!(said.err.contains(word), "{args:?}: expected `{word}` in: {}", said.err);
        }
        assert!(!place.at("r/rounds/0000").exists(), "{args:?} trained");
    };
    refused(&["--set", "model.name=mlp"], &["stage_maps", "`cnn`, `lenet`, `resnet18`"]);
    refused(&["--set", "model.name=mlp", "--set", "strategy={id=\"ta-vaal\"}"], &["stage_maps", "`cnn`"]);
    refused(&["--set", "dataset.size=8", "--set", "strategy={id=\"ta-vaal\"}"], &["16x16", "dataset.size"]);
    refused(&["--set", "strategy={id=\"asal\", params={gan_size=24}}"], &["gan_size", "24"]);
    refused(&["--set", "strategy={id=\"waal\", params={critic_dropout=1}}"], &["critic_dropout", "1"]);
    refused(&["--isolate"], &["cannot be isolated", "--allow-native"]);
    refused(&["--set", "strategy.params.margin=-1"], &["margin", "-1"]);
    refused(&["--device", "cuda:0"], &["cuda"]);
    refused(&["--locked"], &["is not in querist.lock"]);
}

#[test]
fn a_library_for_another_libtorch_is_not_loaded() {
    let place = with_package("rule_breaker", "rule-breaker", &run_of(r#"{ id = "well" }"#, 1));
    let library = place.at("packed/rule-breaker/rule-breaker.so");
    let mut bytes = fs::read(&library).unwrap();
    let identity = bytes.windows(8).position(|window| window == b"QUERIST\0").unwrap();
    let version = bytes[identity..].windows(6).position(|window| window == b"2.11.0").unwrap();
    bytes[identity + version + 3] = b'9';
    fs::write(&library, bytes).unwrap();
    place.good(&["plugin", "lock", "rule-breaker", "--plugin-dir", "packed"]);
    let said = place.call(&["run", "run.toml", "--out", "r", "--plugin-dir", "packed", "--allow-native"]);
    for word in ["built for libtorch 2.1", "this host runs 2.", "querist doctor"] {
        assert!(said.err.contains(word), "expected `{word}` in: {}", said.err);
    }
    // Neither do arrays alone feed it.
    let said =
        place.call(&["select", "--strategy", "well", "--plugin-dir", "packed", "--budget", "1", "--allow-native"]);
    assert!(said.code.is_some_and(|code| code != 0), "{}", said.err);
}

#[test]
fn the_native_example_of_the_authors_page_runs() {
    let source = fs::read_to_string(workspace().join("examples/native-plugin/src/lib.rs")).unwrap();
    let page = fs::read_to_string(workspace().join("docs/native-plugins.md")).unwrap();
    assert!(page.contains(&format!("```rust\n{source}```")), "docs/native-plugins.md shows another example");
    let run = run_of(r#"{ id = "discriminative", params = { steps = 40 } }"#, 3);
    let place = with_package("strategy_discriminative", "discriminative", &run);
    place.good(&["run", "run.toml", "--out", "r", "--plugin-dir", "packed", "--allow-native"]);
    assert_eq!(records(&place.at("r")).len(), 3);
}
