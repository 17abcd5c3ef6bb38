//! Strategies that train networks of their own, on arrays of one's own.

use std::fs;

use querist_data::arrays::{Kind, read_array, write_npy};
use querist_tests::cli::Place;
use serde_json::Value;

const RUN: &str = r#"version = 1
dataset = { name = "digits", test = 1597 }
model = { name = "cnn" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 4, minibatch = 16 }
budget = { initial = 20, batch = 10, rounds = 1 }
strategy = { id = "core-gcn", params = { epochs = 30 } }
compute = { threads = 1 }
seeds = { root = 5 }
keep = { model = "all" }
"#;

/// Arrays of the first query of the run in `r`, as `select` takes them.
fn arrays_of_run(place: &Place) {
    let weights = "model.weights=r/rounds/0000/model.safetensors";
    place.good(&["embed", "run.toml", "--pool", "--out", "f", "--set", weights]);
    let ids = read_array(&place.at("f/ids.npy"), None, Kind::U64).unwrap();
    let rows = read_array(&place.at("f/embeddings.npy"), None, Kind::F32).unwrap();
    let (ids, width) = (u64s(&ids), rows.shape()[1]);
    let rows = rows.as_f32().unwrap();
    let initial = first_column(&fs::read_to_string(place.at("r/initial.csv")).unwrap());
    for (name, is_labelled) in [("pool", false), ("labelled", true)] {
        let at: Vec<usize> = (0..ids.len()).filter(|&at| initial.contains(&ids[at]) == is_labelled).collect();
        let values: Vec<f32> = at.iter().flat_map(|&at| rows[at * width..(at + 1) * width].to_vec()).collect();
        let numbers: Vec<u64> = at.iter().map(|&at| ids[at]).collect();
        write_npy(&place.at(&format!("{name}.npy")), &[at.len(), width], &values).unwrap();
        write_npy(&place.at(&format!("{name}.ids.npy")), &[at.len()], &numbers).unwrap();
    }
}

fn u64s(array: &querist_core::Array) -> Vec<u64> {
    match array.values() {
        querist_core::Values::U64(ids) => ids.to_vec(),
        _ => panic!("ids are numbers"),
    }
}

fn first_column(csv: &str) -> Vec<u64> {
    csv.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
}

const ARRAYS: [&str; 8] = [
    "--input",
    "embeddings=pool.npy",
    "--ids",
    "pool.ids.npy",
    "--input",
    "labelled.embeddings=labelled.npy",
    "--input",
    "labelled.ids=labelled.ids.npy",
];

#[test]
fn graph_networks_pick_from_embeddings_as_they_do_in_a_run() {
    let place = Place::with_run(RUN);
    for strategy in ["core-gcn", "uncertain-gcn"] {
        let _ = fs::remove_dir_all(place.at("f"));
        let _ = fs::remove_dir_all(place.at("r"));
        let id = format!("strategy.id={strategy}");
        place.good(&["run", "run.toml", "--out", "r", "--set", &id]);
        arrays_of_run(&place);
        let select = ["select", "--strategy", strategy, "--budget", "10", "--seed", "5", "--param", "epochs=30"];
        let args = [&select[..], &["--threads", "1", "--format", "json"], &ARRAYS].concat();
        let found: Value = serde_json::from_str(&place.good(&args)).unwrap();
        let ids: Vec<u64> = found["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        let picks = fs::read_to_string(place.at("r/rounds/0000/picks.csv")).unwrap();
        let header: Vec<&str> = picks.lines().next().unwrap().split(',').collect();
        let column = header.iter().position(|name| *name == "id").unwrap();
        let of_run: Vec<u64> =
            picks.lines().skip(1).map(|line| line.split(',').nth(column).unwrap().parse().unwrap()).collect();
        assert_eq!(ids, of_run, "{strategy}");
        assert!(found["diagnostics"]["gcn_loss"].as_f64().unwrap() > 0.0, "{found}");
        assert_eq!(found["kind"], "native-torch");
        // Another seed gives another network.
        let other = [&args[..], &["--seed", "6"]].concat();
        let other: Vec<&str> = other.iter().copied().filter(|word| *word != "5").collect();
        let at = other.iter().position(|word| *word == "--seed").unwrap();
        let other = [&other[..at], &other[at + 1..]].concat();
        let other: Value = serde_json::from_str(&place.good(&other)).unwrap();
        assert_ne!(found["scores"], other["scores"], "{strategy}");
    }
    let without = |skip: &str| {
        let args: Vec<&str> =
            ARRAYS.chunks(2).filter(|pair| !pair[1].starts_with(skip)).flat_map(|pair| pair.to_vec()).collect();
        place.call(&[&["select", "--strategy", "core-gcn", "--budget", "5"][..], &args].concat())
    };
    without("embeddings").fails(2, &["needs embeddings", "--input embeddings=FILE"]);
    let nothing_labelled = without("labelled");
    assert_ne!(nothing_labelled.code, Some(0));
    assert!(nothing_labelled.err.contains("no sample is labelled"), "{}", nothing_labelled.err);
    write_npy(&place.at("labelled.npy"), &[20, 3], &[0.5f32; 60]).unwrap();
    let args = [&["select", "--strategy", "core-gcn", "--budget", "5"][..], &ARRAYS].concat();
    let said = place.call(&args);
    assert_ne!(said.code, Some(0));
    assert!(said.err.contains("columns") || said.err.contains("width"), "{}", said.err);
}

#[test]
fn what_needs_pictures_or_the_model_says_so() {
    let place = Place::new();
    write_npy(&place.at("embeddings.npy"), &[20, 4], &[0.5f32; 80]).unwrap();
    for strategy in ["vaal", "waal", "learning-loss", "asal", "adversarial-deepfool", "ta-vaal"] {
        let said =
            place.call(&["select", "--strategy", strategy, "--budget", "5", "--input", "embeddings=embeddings.npy"]);
        said.fails(2, &["with pictures or with the model itself", "querist run"]);
    }
}
