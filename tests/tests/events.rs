//! What is told as JSON while work goes on.

use std::fs;

use querist_tests::cli::{Place, RUN, lasting, records, study};
use serde_json::{Value, json};

/// Every line of standard error, which must be an object with a name and a time.
#[track_caller]
fn events(said: &str) -> Vec<Value> {
    let read = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(event["event"].is_string() && event["time"].as_f64().unwrap() > 1e9, "{line}");
        event
    };
    said.lines().map(read).collect()
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn a_run_tells_each_round_and_is_the_same_run() {
    let place = Place::with_run(RUN);
    let said = place.call(&["run", "run.toml", "--out", "r", "--log", "json"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let told = events(&said.err);
    let rounds = of(&told, "round");
    let records = records(&place.at("r"));
    assert_eq!(rounds.len(), records.len());
    for (event, record) in rounds.iter().zip(&records) {
        assert_eq!((&event["round"], &event["labelled"]), (&record["round"], &record["labelled"]));
        assert_eq!((&event["accuracy"], &event["of"]), (&record["metrics"]["accuracy"], &json!(3)));
    }
    place.good(&["run", "run.toml", "--out", "plain"]);
    querist_tests::cli::assert_same(&lasting(&place.at("plain")), &lasting(&place.at("r")));
    // A warning is an event, too, and the table is still on standard output.
    let threads = format!("compute.threads={}", 4 * std::thread::available_parallelism().unwrap().get());
    let said =
        place.call(&["run", "run.toml", "--out", "w", "--log=json", "--set", &threads, "--set", "budget.rounds=1"]);
    let told = events(&said.err);
    let warned = of(&told, "note").into_iter().find(|note| note["level"] == "warning").unwrap();
    assert!(warned["message"].as_str().unwrap().contains("this is slower than fewer threads"), "{warned}");
    assert!(said.out.contains("badge"), "{}", said.out);
}

#[test]
fn errors_of_every_kind_are_events() {
    let place = Place::with_run(RUN);
    let error = |args: &[&str], code: i32| {
        let said = place.call(&[args, &["--log", "json"]].concat());
        assert_eq!(said.code, Some(code), "{}", said.err);
        let told = events(&said.err);
        let error = of(&told, "error").last().copied().unwrap_or_else(|| panic!("{}", said.err)).clone();
        assert_eq!(error["code"], json!(code));
        error
    };
    let wrong = error(&["run", "run.toml", "--set", "recipe.lr=-1.0", "--set", "budget.batch=0"], 2);
    let causes = wrong["causes"].as_array().unwrap();
    assert!(wrong["message"].as_str().unwrap().contains("2 problems") && causes.len() == 2, "{wrong}");
    assert!(causes.iter().any(|cause| cause.as_str().unwrap().starts_with("recipe.lr: ")), "{wrong}");
    let gone = error(&["run", "gone.toml"], 2);
    assert!(gone["message"].as_str().unwrap().contains("gone.toml"), "{gone}");
    let arguments = error(&["run", "run.toml", "--no-such-flag"], 2);
    assert!(arguments["message"].as_str().unwrap().contains("--no-such-flag"), "{arguments}");
    place.good(&["run", "run.toml", "--out", "r"]);
    let there = error(&["run", "run.toml", "--out", "r"], 2);
    assert!(there["message"].as_str().unwrap().contains("exists already"), "{there}");
    // Names that would steer a terminal stay what can be seen.
    place.write("\u{1b}[31m.toml", "strategies = 3");
    error(&["study", "run", "\u{1b}[31m.toml"], 2);
}

#[test]
fn a_study_tells_each_cell_and_how_long_is_left() {
    let place = Place::new();
    place.write("study.toml", study("0, 1", "{ id = \"random\" }, { id = \"margin\" }", ""));
    let blocked = place.planned(&["study.toml"]).remove(1);
    place.write(&format!("s/{blocked}/mine.txt"), "mine");
    let said = place.call(&["study", "run", "study.toml", "--out", "s", "--log", "json"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let told = events(&said.err);
    let begun = of(&told, "study");
    assert_eq!((begun.len(), &begun[0]["runs"], &begun[0]["finished"]), (1, &json!(4), &json!(0)));
    let cells = of(&told, "cell");
    assert_eq!(cells.len(), 4);
    for (at, cell) in cells.iter().enumerate() {
        assert_eq!((&cell["ended"], &cell["of"]), (&json!(at + 1), &json!(4)));
        assert!(cell["left_seconds"].as_f64().unwrap() >= 0.0 && cell["seconds"].as_f64().unwrap() > 0.0, "{cell}");
        match cell["state"].as_str().unwrap() {
            "done" => assert!(cell["accuracy"].as_f64().unwrap() > 0.1, "{cell}"),
            _ => assert!(cell["reason"].as_str().unwrap().contains("exists already"), "{cell}"),
        }
    }
    assert_eq!(cells.iter().filter(|cell| cell["state"] == "failed").count(), 1);
    // One of `random` is done, none of `margin` yet: that much is not known.
    assert_eq!((&cells[0]["left_unknown"], &cells[3]["left_unknown"]), (&json!(2), &json!(0)), "{cells:?}");
    assert_eq!(cells[3]["left_seconds"], json!(0.0));
    let error = of(&told, "error");
    assert!(error[0]["message"].as_str().unwrap().contains("1 of 4 runs did not finish"), "{error:?}");
    // For people, it is said in words: at least so long, while something is not known.
    fs::remove_dir_all(place.at("s")).unwrap();
    let said = place.call(&["study", "run", "study.toml", "--out", "s"]);
    let lines: Vec<&str> = said.err.lines().filter(|line| line.starts_with('[')).collect();
    assert!(lines[0].contains("left, and 2 of kinds not seen yet)"), "{}", said.err);
    assert!(lines[2].contains("(about ") && !lines[3].contains("left"), "{}", said.err);
}
