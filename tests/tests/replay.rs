//! `querist replay`: selections that come out the same, and where they do not.

use std::fs;
use std::path::Path;

use querist_core::digest::sha256;
use querist_tests::cli::{Place, RUN, json, misbehaving};
use serde_json::{Value, json};

/// A small run whose arrays are kept.
fn kept() -> String {
    format!("{RUN}keep = {{ features = \"all\", model = \"none\" }}\n")
}

fn ran(run: &str, more: &[&str]) -> Place {
    let place = Place::with_run(run);
    place.good(&[&["run", "run.toml", "--out", "r"], more].concat());
    place
}

/// Changes a file of a round, and its digest with it: a lie that is consistent.
fn tamper(round: &Path, file: &str, change: impl Fn(&str) -> String) {
    let path = round.join(file);
    let text = change(&fs::read_to_string(&path).unwrap());
    fs::write(&path, &text).unwrap();
    let digests = round.join("digests.json");
    let mut all = json(&digests);
    all[file] = json!(sha256(text.as_bytes()));
    fs::write(digests, serde_json::to_vec(&all).unwrap()).unwrap();
}

#[test]
fn a_run_is_replayed_from_features_and_from_scratch() {
    let place = ran(&kept(), &[]);
    for (args, from) in [(&[][..], "features"), (&["--from", "scratch"], "scratch")] {
        let said = place.call(&[&["replay", "r", "--format", "json"], args].concat());
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(said.err.contains(&format!("all 3 selections are the same, from {from}")), "{}", said.err);
        let answer: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(
            (&answer["from"], &answer["same"], &answer["difference"]),
            (&json!(from), &json!(true), &Value::Null)
        );
        let rounds = answer["rounds"].as_array().unwrap();
        assert_eq!(rounds.len(), 3);
        assert!(rounds.iter().all(|round| round["recorded"] == round["replayed"] && round["picks"] == 10), "{answer}");
    }
    let table = place.good(&["replay", "r"]);
    assert_eq!(table.matches("  same").count(), 3, "{table}");
}

#[test]
fn a_record_that_was_changed_is_found_out_at_its_place() {
    let place = ran(&kept().replace("badge", "margin"), &[]);
    let round = place.at("r/rounds/0001");
    // Who changes a file alone is found before anything is asked.
    let picks = fs::read_to_string(round.join("picks.csv")).unwrap();
    fs::write(round.join("picks.csv"), picks.replacen(',', ", ", 1)).unwrap();
    place.call(&["replay", "r"]).fails(1, &["rounds/0001/picks.csv was changed after it was written"]);
    fs::write(round.join("picks.csv"), &picks).unwrap();

    // Who changes its digest with it lies consistently, and is found by asking again.
    let line = picks.lines().nth(4).unwrap();
    let fields: Vec<&str> = line.split(',').collect();
    let (id, score) = (fields[1].to_owned(), fields[3].to_owned());
    assert!(!score.is_empty(), "{line}");
    let lie = line.replacen(&format!(",{score},"), ",0.125,", 1);
    tamper(&round, "picks.csv", |text| text.replacen(line, &lie, 1));
    for from in ["features", "scratch"] {
        let said = place.call(&["replay", "r", "--from", from]);
        assert_eq!(said.code, Some(1), "{}", said.err);
        let place =
            format!("round 1, pick 3: the score of sample {id} is 0.125 in the record and {score} in the replay");
        assert!(said.err.contains(&place), "{}", said.err);
        assert!(said.out.contains("DIFFERS") && said.out.matches("  same").count() >= 1, "{}", said.out);
    }
}

#[test]
fn what_is_not_the_same_any_more_is_told_before_anything_is_trained() {
    // A run without arrays, by a plugin that is gone.
    let plugins = misbehaving().display().to_string();
    let place = ran(&RUN.replace("badge", "misbehaving"), &["--plugin-dir", &plugins]);
    place.call(&["replay", "r", "--from", "features"]).fails(2, &["round 0 kept no arrays", "keep.features = \"all\""]);
    place.call(&["replay", "r"]).fails(1, &["no strategy is called"]);
    let said = place.call(&["replay", "r", "--plugin-dir", &plugins]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("training 4 models again") && said.err.contains("from scratch"), "{}", said.err);
    place.call(&["replay", "nowhere"]).fails(1, &["nowhere"]);
}

#[test]
fn a_run_that_was_stopped_is_replayed_as_far_as_it_went() {
    let place = ran(RUN, &["--stop-after", "cycle1"]);
    let said = place.call(&["replay", "r", "--out", "again"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("all 2 selections are the same, from scratch"), "{}", said.err);
    assert!(place.at("again/run/rounds/0001").is_dir(), "it was to be kept");
    place.call(&["replay", "r", "--out", "again"]).fails(2, &["again exists already"]);
}
