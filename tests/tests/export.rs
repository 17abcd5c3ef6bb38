//! Runs in the files of other systems: what they hold is what the runs' own records say.

use std::fs;

use querist_tests::cli::{Place, json, records};
use serde_json::Value;

const STUDY: &str = "
version = 1
seeds = [3, 8]
strategies = [{ id = \"random\" }, { id = \"margin\" }]
dataset = { name = \"digits\", test = 300, validation = 200 }
recipe = { epochs = 2 }
budget = { initial = 20, per_class = true, batch = 10, rounds = 2 }
";

fn exported(format: &str) -> Place {
    let place = Place::new();
    place.write("study.toml", STUDY);
    place.good(&["study", "run", "study.toml", "--out", "runs"]);
    place.good(&["export", "runs", "--format", format, "--out", "out"]);
    place
}

fn text(place: &Place, name: &str) -> String {
    fs::read_to_string(place.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn accuracies(place: &Place, label: &str, seed: u32) -> Vec<f64> {
    let records = records(&place.run_of("runs", &format!("{label}/seed-{seed}")));
    records.iter().map(|record| record["metrics"]["accuracy"].as_f64().unwrap()).collect()
}

fn acquired(place: &Place, label: &str, seed: u32, round: usize) -> Vec<u64> {
    let record = &records(&place.run_of("runs", &format!("{label}/seed-{seed}")))[round];
    record["acquired"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}

fn column(place: &Place, label: &str, seed: u32) -> Vec<u64> {
    let text = fs::read_to_string(place.run_of("runs", &format!("{label}/seed-{seed}")).join("initial.csv")).unwrap();
    text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn al_baselines_accuracies_indices_and_settings() {
    let place = exported("al-baselines");
    let folder = "out/results/digits/margin/margin_querist";
    let expected: String = [3, 8]
        .into_iter()
        .enumerate()
        .flat_map(|(trial, seed)| {
            let accuracies = accuracies(&place, "margin", seed).into_iter().enumerate();
            accuracies.map(move |(cycle, a)| format!("{},{},{},{a:.4}\n", trial + 1, cycle + 1, 20 + 10 * cycle))
        })
        .collect();
    let name = |kind: &str| format!("{folder}/{kind}_digits_margin_querist.txt");
    assert_eq!(text(&place, &name("TestAcc")), format!("Trial,Cycle,nLabeled,TestAcc\n{expected}"));
    let indices: Vec<u64> = [0, 1].into_iter().flat_map(|round| acquired(&place, "margin", 8, round)).collect();
    let lines: Vec<u64> =
        text(&place, &format!("{folder}/Idx/TIdx02.txt")).lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(lines, indices);
    assert!(text(&place, &name("Setting")).contains("\n recipe.epochs = 2\n"));
    let finals = [3, 8].map(|seed| accuracies(&place, "margin", seed)[2] * 100.0);
    let mean = (finals[0] + finals[1]) / 2.0;
    let last = format!("{mean:.2} ± {:.2} |\n", (finals[0] - mean).abs());
    let table = text(&place, "out/results/digits/table.md");
    assert!(table.contains("| 20 | 30 | 40 |"), "{table}");
    assert!(table.lines().any(|line| format!("{line}\n").ends_with(&last) && line.starts_with("| margin")), "{table}");
    assert!(table.contains("divides by their number n") && table.contains("n - 1"), "{table}");
    // Nothing is replaced.
    let again = place.call(&["export", "runs", "--format", "al-baselines", "--out", "out"]);
    again.fails(2, &["nothing is replaced", "--out"]);
}

#[test]
fn cure_lab_rows_compare_with_round_0() {
    let place = exported("cure-lab");
    let text = text(&place, "out/result.csv");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 2 * 2 * 2);
    let row = rows.iter().rfind(|row| row[0] == "random" && row[1] == "8").unwrap();
    let names: Vec<&str> = [2, 4, 6, 8, 10, 14, 16].iter().map(|&at| row[at]).collect();
    assert_eq!(names, ["budget", "nStart", "nQuery", "labeled", "accCompare", "t_query", "t_iter"]);
    let number = |at: usize| row[at].parse::<f64>().unwrap();
    let accuracies = accuracies(&place, "random", 8);
    assert_eq!((number(11), number(12)), (accuracies[0], accuracies[2]));
    assert_eq!(number(13), accuracies[2] - accuracies[0]);
    let pool = 1797.0 - 500.0;
    assert_eq!((number(3), number(5), number(7)), (4000.0 / pool, 2000.0 / pool, 1000.0 / pool));
}

#[test]
fn low_budget_indices_are_all_that_is_labelled() {
    let place = exported("low-budget");
    let bytes = fs::read(place.at("out/indices/seed-3/margin_digits_30.npy")).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let description = String::from_utf8_lossy(&bytes[10..10 + header]).into_owned();
    assert!(description.contains("'<i8'") && description.contains("(30, )"), "{description}");
    assert_eq!((10 + header) % 64, 0);
    let ids = bytes[10 + header..].chunks(8).map(|b| u64::from_le_bytes(b.try_into().unwrap()));
    let expected = [column(&place, "margin", 3), acquired(&place, "margin", 3, 0)].concat();
    assert_eq!(ids.collect::<Vec<_>>(), expected);
}

/// With batches that take the place of those before, each round's own set is the list, and no sample comes twice.
#[test]
fn low_budget_indices_of_batches_that_replace() {
    let place = Place::new();
    place.write("study.toml", STUDY.replace("batch = 10, rounds = 2", "batch = [10, 20], replace = true"));
    place.good(&["study", "run", "study.toml", "--out", "runs", "--set", "seeds=[3]"]);
    place.good(&["export", "runs", "--format", "low-budget", "--out", "out"]);
    let names: Vec<String> = fs::read_dir(place.at("out/indices/seed-3"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("margin"))
        .collect();
    let trained: Vec<Value> =
        records(&place.run_of("runs", "margin/seed-3")).into_iter().map(|record| record["labelled"].clone()).collect();
    for size in trained {
        assert!(names.contains(&format!("margin_digits_{size}.npy")), "{size}: {names:?}");
    }
}

#[test]
fn ift780_records_show_the_validation_set() {
    let place = exported("ift780");
    let found = json(&place.at("out/digits_margin_s8/records.json"));
    let records = records(&place.run_of("runs", "margin/seed-8"));
    let validation: Vec<&Value> = records.iter().map(|record| &record["validation"]["accuracy"]).collect();
    assert_eq!(found["Validation-2 Accuracy"].as_array().unwrap().iter().collect::<Vec<_>>(), validation);
    assert_eq!(found["Query Instances"], serde_json::json!([0, 10, 20]));
    assert_eq!(found["Loops Progress"]["Training Loss"].as_array().unwrap().len(), 3 * 2);
    assert_eq!(found["Final Test Score"], records[2]["metrics"]["accuracy"]);
    assert_eq!(found["Initialization"]["n_start"], 2);
    assert_eq!(found["Premature Stop"], false);
    let last = found["Label History"].as_object().unwrap().values().map(|counts| counts[2].as_u64().unwrap());
    assert_eq!(last.sum::<u64>(), 40);

    // Without a validation set there is nothing to show.
    place.write("study.toml", STUDY.replace(", validation = 200", ""));
    place.good(&["study", "run", "study.toml", "--out", "bare"]);
    let refused = place.call(&["export", "bare", "--format", "ift780", "--out", "other"]);
    refused.fails(1, &["dataset.validation"]);
    assert!(!place.at("other").exists());

    // Two runs that would be one file: neither is lost in silence.
    let same = ["export", "runs", "again", "--format", "ift780", "--out", "other"];
    place.write("study.toml", STUDY);
    place.good(&["study", "run", "study.toml", "--out", "again"]);
    place.call(&same).fails(2, &["same strategy, dataset and seed", "apart"]);
    assert!(!place.at("other").exists());
}

#[test]
fn uwe_cycles_queries_and_spread_over_seeds() {
    let place = exported("uwe");
    let folder = "out/results/digits/random";
    let id = "digits_al_modcnn_s3_ne2_bidquerist_mrandom";
    let cycles = text(&place, &format!("{folder}/al_cycle_result/{id}_al_cycle_result.csv"));
    let second: Vec<f64> =
        cycles.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(second, accuracies(&place, "random", 3));
    let query = text(&place, &format!("{folder}/query/{id}_cycle2_query.csv"));
    let ids: Vec<u64> = query.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(ids, acquired(&place, "random", 3, 1));
    let initial = text(&place, "out/results/digits/initialize/random/digits_bidquerist_s3_init_lb.csv");
    let ids: Vec<u64> = initial.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    assert_eq!(ids, column(&place, "random", 3));
    let last = [3, 8].map(|seed| accuracies(&place, "random", seed)[2] * 100.0);
    let spread = text(&place, &format!("{folder}/digits_random_mean_std.csv"));
    let row: Vec<f64> = spread.lines().last().unwrap().split(',').map(|cell| cell.parse().unwrap()).collect();
    assert_eq!((row[0], row[1]), (40.0, 2.0));
    assert!((row[2] - (last[0] + last[1]) / 2.0).abs() < 1e-9);
    assert!((row[3] - (last[0] - last[1]).abs() / 2.0).abs() < 1e-9);
}

#[test]
fn unfinished_runs_and_forged_names_are_refused() {
    let place = Place::new();
    place.write("study.toml", STUDY);
    place.good(&["study", "run", "study.toml", "--out", "runs", "--set", "seeds=[3]"]);
    let last = place.run_of("runs", "random/seed-3").join("rounds/0002");
    fs::rename(&last, place.at("elsewhere")).unwrap();
    let call = ["export", "runs/random", "--format", "uwe", "--out", "out"];
    place.call(&call).fails(2, &["is not finished", "--resume"]);
    fs::rename(place.at("elsewhere"), &last).unwrap();
    let header = place.run_of("runs", "random/seed-3").join("header.json");
    let forged = fs::read_to_string(&header).unwrap().replace("\"name\": \"digits\"", "\"name\": \"../../digits\"");
    fs::write(&header, forged).unwrap();
    place.call(&call).fails(1, &["no plain name"]);
    assert!(!place.at("out").exists());
}
