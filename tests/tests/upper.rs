//! The best possible: an upper baseline beside the strategies of a study, through the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use querist_tests::cli::{Place, assert_same, json, kill_and_resume_in, lasting, records};
use serde_json::{Value, json};

/// Digits as rows of 64 pixels: features that no training changes.
fn digits() -> Place {
    let place = Place::new();
    let listed: Value = serde_json::from_str(&place.good(&["data", "files", "digits", "--format", "json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1797);
    place.write("pixels.toml", PIXELS);
    place.good(&["run", "pixels.toml", "--out", "pixels"]);
    fs::copy(place.at("pixels/rounds/0000/model.safetensors"), place.at("body.safetensors")).unwrap();
    place.write("body.toml", PIXELS.replace("name = \"cnn\"", "name = \"cnn\", weights = \"body.safetensors\""));
    place.good(&["embed", "body.toml", "--out", "rows"]);
    place
}

/// A network that knows digits a little, of a few samples, whose body makes features.
const PIXELS: &str = r#"version = 1
dataset = { name = "digits", test = 397 }
model = { name = "cnn" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 10, minibatch = 32 }
budget = { initial = 300, batch = 1, rounds = 0 }
strategy = { id = "random" }
compute = { threads = 1 }
"#;

const STUDY: &str = r#"version = 1
seeds = [0, 1, 2, 3, 4]
dataset = { name = "embeddings", path = "rows", test = 397 }
model = { name = "head" }
recipe = { train = "head", optimiser = "adam", lr = 0.01, epochs = 60, minibatch = 16 }
budget = { initial = 20, batch = 10, rounds = 3 }
compute = { threads = 1 }
strategies = [{ id = "random" }, { id = "margin" }]
upper = { proposals = 24, members = ["random", "margin", "k-center-greedy"] }
"#;

const RUN: &str = r#"version = 1
dataset = { name = "embeddings", path = "rows", test = 397, reserve = 0.2 }
model = { name = "head" }
recipe = { train = "head", optimiser = "adam", lr = 0.01, epochs = 60, minibatch = 16 }
budget = { initial = 20, batch = 10, rounds = 3 }
compute = { threads = 1 }
strategy = { id = "querist/upper", params = { proposals = 24, members = ["random", "margin", "k-center-greedy"] } }
"#;

fn ids(split: &Value, part: &str) -> BTreeSet<u64> {
    split[part].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

/// The gains of the batches that were tried in a round.
fn gains(record: &Value) -> Vec<f64> {
    let all = record["diagnostics"].as_object().unwrap().iter();
    all.filter(|(name, _)| name.starts_with("upper.gain.")).map(|(_, gain)| gain.as_f64().unwrap()).collect()
}

/// The slice is of no other part, and what is bought has the largest gain on it.
fn check_run(run: &Path, proposals: usize) {
    let split = json(&run.join("split.json"));
    let parts = ["pool", "test", "reserve"].map(|part| ids(&split, part));
    let all: BTreeSet<u64> = parts.iter().flatten().copied().collect();
    assert_eq!(all.len(), parts.iter().map(BTreeSet::len).sum::<usize>(), "parts overlap");
    assert_eq!((parts[0].len(), parts[2].len()), (1400 - parts[2].len(), 280), "a fifth of 1400");
    let records = records(run);
    for record in &records[..records.len() - 1] {
        let (gains, bought) = (gains(record), &record["diagnostics"]["upper.bought"]);
        assert_eq!(gains.len(), proposals);
        let most = gains.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(record["diagnostics"]["upper.gain"].as_f64(), Some(most));
        assert_eq!(gains[bought.as_f64().unwrap() as usize], most);
        assert_eq!(record["reserve_labels"], json!(280), "what the slice costs is said");
        let picked = record["acquired"].as_array().unwrap();
        assert!(picked.iter().all(|id| parts[0].contains(&id.as_u64().unwrap())), "bought outside the pool");
    }
}

#[test]
fn a_study_with_an_upper_baseline_reports_the_share_of_what_could_be_had() {
    let place = digits();
    place.write("study.toml", STUDY);
    let plan = place.good(&["study", "plan", "study.toml"]);
    assert!(plan.contains("15 runs, 15 to do") && plan.contains("upper"), "{plan}");
    let table = place.good(&["study", "run", "study.toml", "--out", "s"]);
    for seed in 0..5 {
        check_run(&place.run_of("s", &format!("upper/seed-{seed}")), 24);
        // All runs of a seed leave the same slice, and start alike.
        let part =
            |strategy: &str, file: &str| fs::read(place.run_of("s", &format!("{strategy}/seed-{seed}")).join(file));
        assert_eq!(part("upper", "split.json").unwrap(), part("random", "split.json").unwrap());
        assert_eq!(part("upper", "initial.csv").unwrap(), part("margin", "initial.csv").unwrap());
        let random = records(&place.run_of("s", &format!("random/seed-{seed}")));
        assert!(random.iter().all(|record| record.get("reserve_labels").is_none()), "only one run reads the slice");
    }
    // On the slice, by the last layer that judges, what it buys is worth at least what chance buys.
    let found: Value = serde_json::from_str(&place.good(&["report", "s", "--format", "json"])).unwrap();
    let setting = &found["settings"][0];
    let labels: Vec<&str> =
        setting["groups"].as_array().unwrap().iter().map(|group| group["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["random", "margin"], "it is ranked among strategies");
    assert!(!found["penalties"]["strategies"].as_array().unwrap().contains(&json!("upper")));
    let upper = &setting["upper"];
    assert_eq!((&upper["group"]["label"], &upper["group"]["seeds"]), (&json!("upper"), &json!([0, 1, 2, 3, 4])));
    let gain = upper["gain"]["difference"]["mean"].as_f64().unwrap();
    assert!(gain > 0.0, "the best of 24 batches is worse than chance: {gain}");
    let attained = upper["attained"].as_array().unwrap();
    let is_clear = gain > upper["gain"]["half_width"].as_f64().unwrap();
    assert_eq!(attained.len(), usize::from(is_clear), "{upper}");
    assert!(table.contains("-- The best possible (`upper`: area"), "{table}");
    let note =
        "the upper baseline knows the labels of the whole pool, and judged batches by up to 280 labelled samples";
    assert!(table.contains(note), "{table}");
    // Every form has it.
    place.good(&["report", "s", "--html", "page.html"]);
    let page = fs::read_to_string(place.at("page.html")).unwrap();
    assert!(page.contains("The best possible") && page.contains("share of attainable gain"), "the page lacks it");
    for form in ["markdown", "latex"] {
        assert!(place.good(&["report", "s", "--format", form]).contains("share of attainable gain"), "{form}");
    }
    assert!(place.good(&["report", "s", "--format", "curves-csv"]).contains(",upper,"));
    // It is no strategy elsewhere either.
    let run = place.run_of("s", "upper/seed-0").display().to_string();
    place.call(&["export", &run, "--format", "cure-lab", "--out", "x"]).fails(2, &["it is not exported as one"]);
    let select = ["select", "--strategy", "querist/upper", "--budget", "1", "--input", "embeddings=rows/x.npy"];
    place.call(&select).fails(2, &["no strategy is called `querist/upper`"]);
    assert!(!place.good(&["plugin", "list"]).contains("upper"));
}

#[test]
fn an_upper_baseline_ends_alike_however_often_it_is_killed() {
    let place = digits();
    place.write("run.toml", RUN);
    kill_and_resume_in(&place, 4);
    check_run(&place.at("whole/r"), 24);
    // Neither threads of the judge nor the noise of the test set's labels enter: another process gives the same.
    place.good(&["run", "run.toml", "--out", "again/r"]);
    assert_same(&lasting(&place.at("whole/r")), &lasting(&place.at("again/r")));
}

#[test]
fn without_members_the_usual_ones_take_part_that_can() {
    let place = digits();
    place.write("run.toml", RUN.replace(", members = [\"random\", \"margin\", \"k-center-greedy\"]", ""));
    let said = place.call(&["run", "run.toml", "--out", "r", "--set", "budget.rounds=1"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let header = json(&place.at("r/header.json"));
    let members: Vec<&str> =
        header["params"]["members"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!(members.contains(&"random") && members.contains(&"badge") && members.len() >= 5, "{members:?}");
    assert_eq!(header["strategy"]["id"], json!("querist/upper"));
    check_run(&place.at("r"), 24);
}

#[test]
fn it_is_refused_where_it_would_mean_nothing() {
    let place = digits();
    place.write("study.toml", STUDY);
    place.write("run.toml", RUN);
    let study = |sets: &[&str], parts: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        place.call(&[&["study", "run", "study.toml", "--out", "no"][..], &sets].concat()).fails(2, parts);
        assert!(!place.at("no").exists());
    };
    let pictures = ["dataset={name=\"digits\", test=397}", "model={name=\"mlp\"}", "recipe={epochs=2}"];
    study(&pictures, &["study.toml:9:9", "features that no training changes", "`querist embed`"]);
    study(&["upper={proposals=0}"], &["upper: 0 is less than the minimum of 1"]);
    study(&["upper={slice=0.9}"], &["upper: 0.9 is greater than the maximum of 0.5"]);
    study(&["dataset.variant={subset=90}"], &["takes 10 samples of class"]);
    study(&["dataset.variant={repeat=2}"], &["dataset.variant.repeat would put copies"]);
    study(&["strategies=[{id=\"random\", label=\"upper\"}]"], &["the upper baseline is labelled `upper`"]);
    study(&["strategies=[{id=\"querist/upper\"}]"], &["it is no strategy, and is not ranked among them"]);
    let run = |sets: &[&str], parts: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        place.call(&[&["run", "run.toml", "--out", "no"][..], &sets].concat()).fails(2, parts);
        assert!(!place.at("no").exists());
    };
    run(&["strategy.params={proposals=4, members=[\"nobody\"]}"], &["strategy.params.members: ", "nobody"]);
    run(&["strategy.params={tries=4}"], &["strategy.params: unknown field `tries`"]);
    run(&["strategy.subset_size=100"], &["strategy.subset_size and strategy.target are for strategies"]);
    let text = fs::read_to_string(place.at("run.toml")).unwrap().replace(", reserve = 0.2", "");
    place.write("bare.toml", text);
    place.call(&["run", "bare.toml", "--out", "no"]).fails(2, &["set `dataset.reserve = 0.2`"]);
}
