//! One run of the real program: what it leaves, that it repeats, and what it refuses to go on with.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use querist_tests::cli::{Place, RUN, assert_same, json, lasting, records};
use serde_json::{Value, json};

/// Every strategy that is installed, by id.
const STRATEGIES: [&str; 8] =
    ["random", "least-confidence", "margin", "bvsb", "entropy", "k-center-greedy", "kmeans", "badge"];

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn column(path: &Path, name: &str) -> Vec<u64> {
    let mut csv = csv::Reader::from_path(path).unwrap();
    let at = csv.headers().unwrap().iter().position(|header| header == name).unwrap();
    csv.records().map(|row| row.unwrap()[at].parse().unwrap()).collect()
}

#[test]
fn the_folder_of_a_finished_run() {
    let place = Place::with_run(RUN);
    place.good(&["run", "run.toml", "--out", "r", "--set", "keep.features=all", "--set", "dataset.validation=100"]);
    let run = place.at("r");
    assert_eq!(names(&run), ["header.json", "initial.csv", "lock", "rounds", "rounds.jsonl", "run.toml", "split.json"]);
    assert_eq!(names(&run.join("rounds")), ["0000", "0001", "0002", "0003"]);
    let queried = ["digests.json", "epochs.csv", "features.safetensors", "picks.csv", "picks.png", "record.json"];
    assert_eq!(names(&run.join("rounds/0000")), queried);
    assert_eq!(names(&run.join("rounds/0002")), queried);
    // The last round only evaluates, and alone keeps its model.
    let last = ["confusion.csv", "digests.json", "epochs.csv", "model.safetensors", "record.json"];
    assert_eq!(names(&run.join("rounds/0003")), last);

    // Every default is written out, so that a later release reads the run the same way.
    let config: toml::Table = fs::read_to_string(run.join("run.toml")).unwrap().parse().unwrap();
    assert_eq!(config["recipe"]["momentum"].as_float(), Some(0.9));
    assert_eq!(config["keep"]["model"].as_str(), Some("last"));
    assert_eq!(config["seeds"]["root"].as_integer(), Some(0));
    let header = json(&run.join("header.json"));
    assert_eq!(header["params"], json!({"first": "max-norm", "include_bias": false}));
    assert_eq!(header["needs"], json!(["logits", "penultimate"]));
    assert_eq!((&header["dataset"]["pool"], &header["dataset"]["validation"]), (&json!(1300), &json!(100)));
    assert_eq!(header["strategy"]["digest"].as_str().map(str::len), Some(64));

    let split = json(&run.join("split.json"));
    let ids = |name: &str| -> BTreeSet<u64> {
        split[name].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
    };
    let (pool, validation, test) = (ids("pool"), ids("validation"), ids("test"));
    assert_eq!((pool.len(), validation.len(), test.len()), (1300, 100, 397));
    assert!(pool.is_disjoint(&test) && pool.is_disjoint(&validation) && validation.is_disjoint(&test));

    let mut labelled: BTreeSet<u64> = column(&run.join("initial.csv"), "id").into_iter().collect();
    assert_eq!(labelled.len(), 20);
    let lines = records(&run);
    assert_eq!(lines.len(), 4);
    for (round, line) in lines.iter().enumerate() {
        let folder = run.join(format!("rounds/{round:04}"));
        assert_eq!(*line, json(&folder.join("record.json")), "the line is the record");
        assert_eq!((&line["round"], &line["labelled"]), (&json!(round), &json!(20 + 10 * round)));
        assert_eq!(line["pool"], json!(1300 - 20 - 10 * round));
        assert!(line["validation"]["accuracy"].is_f64());
        let digests = json(&folder.join("digests.json"));
        assert!(digests.as_object().unwrap().len() >= 3);
        if round == 3 {
            assert_eq!(line["acquired"], json!([]));
            continue;
        }
        let picks = column(&folder.join("picks.csv"), "id");
        assert_eq!(line["acquired"], json!(picks));
        assert_eq!(column(&folder.join("picks.csv"), "rank"), (0..10).collect::<Vec<_>>());
        let mut histogram = [0u64; 10];
        for label in column(&folder.join("picks.csv"), "label") {
            histogram[label as usize] += 1;
        }
        assert_eq!(line["query_class_histogram"], json!(histogram));
        for id in picks {
            assert!(pool.contains(&id), "{id} is not in the pool");
            assert!(labelled.insert(id), "{id} was labelled before");
        }
    }
}

#[test]
fn the_figures_in_every_form() {
    let place = Place::with_run(RUN);
    let csv = place.good(&["run", "run.toml", "--out", "r", "--format", "csv"]);
    let lines = records(&place.at("r"));
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), lines.len());
    for (row, line) in rows.iter().zip(&lines) {
        let cell = |name: &str| &row[header.iter().position(|h| h == name).unwrap()];
        assert_eq!((cell("strategy"), cell("state"), cell("seed")), ("badge", "finished", "0"));
        assert_eq!(cell("accuracy").parse().ok(), line["metrics"]["accuracy"].as_f64());
        assert_eq!(cell("loss").parse().ok(), line["metrics"]["loss"].as_f64());
        assert_eq!(cell("labelled"), line["labelled"].to_string());
    }
    let report = place.good(&["report", "r", "--format", "json"]);
    let value: Value = serde_json::from_str(&report).unwrap();
    assert!(value.is_object(), "{value}");
    let table = place.good(&["report", "r"]);
    let last = lines[3]["metrics"]["accuracy"].as_f64().unwrap() * 100.0;
    assert!(table.contains(" badge ") && table.contains(&format!("{last:.2}")), "{last} is missing in\n{table}");
}

#[test]
fn a_run_repeats_to_the_bit_and_another_seed_differs() {
    let place = Place::with_run(RUN);
    for model in ["mlp", "cnn"] {
        let set = format!("model.name={model}");
        for (out, seed) in [("first", "seeds.root=5"), ("again", "seeds.root=5"), ("other", "seeds.root=6")] {
            let out = format!("{model}-{out}");
            place.good(&["run", "run.toml", "--out", &out, "--set", &set, "--set", seed, "--set", "keep.model=all"]);
        }
        let of = |name: &str| lasting(&place.at(&format!("{model}-{name}")));
        let (first, again, other) = (of("first"), of("again"), of("other"));
        assert!(first.contains_key("rounds/0001/model.safetensors"));
        assert_same(&first, &again);
        for file in ["split.json", "initial.csv", "rounds/0000/picks.csv", "rounds/0000/model.safetensors"] {
            assert_ne!(first[file], other[file], "{file} does not depend on the seed");
        }
    }
}

#[test]
fn all_strategies_of_a_seed_start_alike() {
    let place = Place::with_run(RUN);
    let mut starts = Vec::new();
    for id in STRATEGIES {
        let set = format!("strategy.id={id}");
        place.good(&["run", "run.toml", "--out", id, "--set", &set, "--set", "budget.rounds=1"]);
        let files = lasting(&place.at(id));
        let first = &records(&place.at(id))[0];
        starts.push((
            files["split.json"].clone(),
            files["initial.csv"].clone(),
            files["rounds/0000/epochs.csv"].clone(),
            first["metrics"].clone(),
        ));
    }
    assert!(starts.iter().all(|start| *start == starts[0]), "the strategies did not start from the same model");
}

#[test]
fn a_precision_belongs_to_its_run() {
    let place = Place::with_run(RUN);
    let bf16 = ["run", "run.toml", "--out", "r", "--set", "compute.precision=bf16"];
    place.good(&bf16);
    let header = json(&place.at("r/header.json"));
    assert!(header["backend"].as_str().unwrap().ends_with(", bf16"), "{}", header["backend"]);
    let said = place.call(&["run", "run.toml", "--out", "r", "--resume"]);
    said.fails(2, &["another config", r#"precision = "float32""#]);
    place.good(&["run", "run.toml", "--out", "again", "--set", "compute.precision=bf16"]);
    assert_same(&lasting(&place.at("r")), &lasting(&place.at("again")));
    place.good(&["run", "run.toml", "--out", "exact"]);
    assert_ne!(records(&place.at("r"))[0]["metrics"], records(&place.at("exact"))[0]["metrics"]);
    let said = place.call(&["run", "run.toml", "--out", "s", "--set", "compute.precision=tf32"]);
    said.fails(2, &["compute.precision is `tf32`, which only GPUs have", "`float32` or `bf16`"]);
}

#[test]
fn an_existing_folder_is_left_alone() {
    let place = Place::with_run(RUN);
    place.good(&["run", "run.toml", "--out", "r"]);
    let before = lasting(&place.at("r"));
    place
        .call(&["run", "run.toml", "--out", "r"])
        .fails(2, &["error: r exists already", "hint: `--resume` goes on with the run in it"]);
    let said = place.call(&["run", "run.toml", "--out", "r", "--resume"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.err, "r is finished already\n");
    assert!(said.out.contains(" badge "), "{}", said.out);
    assert_same(&before, &lasting(&place.at("r")));
    // What is no run is not written into either.
    place.write("mine/notes.txt", "keep me");
    place.call(&["run", "run.toml", "--out", "mine"]).fails(2, &["error: mine exists already"]);
    assert_eq!(names(&place.at("mine")), ["notes.txt"]);
}

/// A run of which only the first two rounds are done.
fn half_done(place: &Place) -> std::path::PathBuf {
    place.good(&["run", "run.toml", "--out", "whole"]);
    place.good(&["run", "run.toml", "--out", "r"]);
    let run = place.at("r");
    for round in ["0002", "0003"] {
        fs::remove_dir_all(run.join("rounds").join(round)).unwrap();
    }
    run
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from} is not in {}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

const RESUME: [&str; 5] = ["run", "run.toml", "--out", "r", "--resume"];

#[test]
fn lines_are_rebuilt_and_the_run_goes_on_to_the_same_end() {
    let place = Place::with_run(RUN);
    let run = half_done(&place);
    // One line is missing and one is cut off.
    let text = fs::read_to_string(run.join("rounds.jsonl")).unwrap();
    fs::write(run.join("rounds.jsonl"), &text[..text.find('\n').unwrap() / 2]).unwrap();
    fs::create_dir(run.join("rounds/0002.tmp")).unwrap();
    fs::write(run.join("rounds/0002.tmp/record.json"), "{").unwrap();
    place.good(&RESUME);
    assert_same(&lasting(&place.at("whole")), &lasting(&run));
}

#[test]
fn another_config_is_named() {
    let place = Place::with_run(RUN);
    half_done(&place);
    let mut args = RESUME.to_vec();
    args.extend(["--set", "budget.batch=11", "--set", "recipe.lr=0.5"]);
    place.call(&args).fails(2, &["r was started with another config; what differs now: ", "lr = 0.5", "batch = 11"]);
}

#[test]
fn another_dataset_strategy_or_device_is_refused() {
    let place = Place::with_run(RUN);
    let run = half_done(&place);
    let header = fs::read_to_string(run.join("header.json")).unwrap();
    let parsed = json(&run.join("header.json"));
    for (pointer, what) in [
        ("/dataset/digest", "the dataset is not the one that the run was started with"),
        ("/strategy/digest", "the strategy's artifact is not the one that the run was started with"),
        ("/backend", "the device is not the one that the run was started with"),
    ] {
        let value = parsed.pointer(pointer).unwrap().as_str().unwrap();
        replace(&run.join("header.json"), value, "something-else");
        place.call(&RESUME).fails(1, &[what, "(something-else, now "]);
        fs::write(run.join("header.json"), &header).unwrap();
    }
    place.good(&RESUME);
}

#[test]
fn a_changed_round_is_refused_by_name() {
    let place = Place::with_run(RUN);
    let run = half_done(&place);
    for (file, from, to) in [
        ("picks.csv", "\n0,", "\n9,"),
        ("record.json", "\"labelled\": 30", "\"labelled\": 31"),
        ("epochs.csv", "\n0,", "\n1,"),
    ] {
        let path = run.join("rounds/0001").join(file);
        let before = fs::read(&path).unwrap();
        replace(&path, from, to);
        let named = format!("r/rounds/0001/{file} was changed after it was written");
        place.call(&RESUME).fails(1, &[&named, "SHA-256"]);
        place.call(&["report", "r"]).fails(1, &[&named]);
        fs::write(&path, before).unwrap();
    }
    fs::remove_file(run.join("rounds/0001/picks.csv")).unwrap();
    place.call(&RESUME).fails(1, &["r/rounds/0001/picks.csv", "no such file"]);
}

/// What the system refuses is named, whatever it is: a folder in place of a file stands for a missing permission, which
/// does not hinder those who may do anything.
#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let place = Place::with_run(RUN);
    place.good(&["run", "run.toml", "--out", "r"]);
    for name in ["lock", "header.json", "run.toml"] {
        let (file, aside) = (place.at("r").join(name), place.at("aside"));
        fs::rename(&file, &aside).unwrap();
        fs::create_dir(&file).unwrap();
        place.call(&RESUME).fails(1, &[&format!("r/{name}: a folder, expected a regular file")]);
        fs::remove_dir(&file).unwrap();
        fs::rename(&aside, &file).unwrap();
    }
}

#[test]
fn a_run_that_was_told_to_stop_shows_its_rounds() {
    let place = Place::with_run(RUN);
    let stop = ["run", "run.toml", "--out", "r", "--stop-after", "cycle1"];
    let first = place.good(&stop);
    let shown: Vec<&str> = first.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(shown, ["ROUND", "0", "1"], "{first}");
    assert_eq!(place.good(&[&stop[..], &["--resume"]].concat()), first);
    assert!(place.good(&["run", "run.toml", "--out", "r", "--resume"]).contains("badge"));
}
