//! Labelled sets judged on embeddings that nobody trains, through the program.

use std::fs;

use querist_tests::cli::Place;
use serde_json::Value;

const RUN: &str = "
version = 1
dataset = { name = \"digits\", test = 400 }
model = { name = \"cnn\" }
recipe = { epochs = 40, lr = 0.05 }
budget = { initial = 300, per_class = true, batch = 1, rounds = 1 }
strategy = { id = \"random\" }
compute = { threads = 1 }
";

const PROBE: &str = "
version = 1
dataset = { name = \"digits\", test = 400 }
model = { name = \"cnn\", weights = \"body.safetensors\" }
compute = { threads = 1 }
";

/// A body that knows digits, and two labelled sets: one of every class, one of a single sample a class at most.
fn place() -> Place {
    let place = Place::with_run(RUN);
    place.good(&["run", "run.toml", "--out", "r"]);
    fs::copy(place.at("r/rounds/0001/model.safetensors"), place.at("body.safetensors")).unwrap();
    place.write("probe.toml", PROBE);
    let initial = fs::read_to_string(place.at("r/initial.csv")).unwrap();
    let rows: Vec<(u64, u32)> = initial
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            (cells[0].parse().unwrap(), cells[cells.len() - 1].parse().unwrap())
        })
        .collect();
    let list = |samples: &[u64]| samples.iter().map(|sample| format!("{sample}\n")).collect::<String>();
    let all: Vec<u64> = rows.iter().map(|&(sample, _)| sample).collect();
    place.write("many.txt", list(&all));
    let three: Vec<u64> = (0..3).map(|class| rows.iter().find(|&&(_, label)| label == class).unwrap().0).collect();
    place.write("three.txt", list(&three));
    place
}

fn judged(place: &Place, args: &[&str]) -> Vec<Value> {
    serde_json::from_str(&place.good(&[&["probe"], args, &["--format", "json"]].concat())).unwrap()
}

#[test]
fn more_labels_are_worth_more_in_every_probe() {
    let place = place();
    for (kind, set) in [("linear", "recipe.epochs=30"), ("knn", "seeds.root=0"), ("finetune", "recipe.epochs=5")] {
        let mut args = vec![kind, "probe.toml", "--indices", "three.txt", "many.txt", "--set", set];
        if kind != "knn" {
            args.extend(["--set", "recipe.augment=[]"]);
        }
        let found = judged(&place, &args);
        let accuracy = |at: usize| found[at]["accuracy"].as_f64().unwrap();
        assert_eq!((&found[0]["labelled"], &found[0]["classes"]), (&3.into(), &3.into()), "{kind}");
        assert_eq!((&found[1]["labelled"], &found[1]["classes"]), (&300.into(), &10.into()), "{kind}");
        assert!(accuracy(0) < 0.4, "{kind}: three classes cannot be more, {}", accuracy(0));
        assert!(accuracy(1) > 0.7 && accuracy(1) > accuracy(0), "{kind}: {}", accuracy(1));
    }
    let table = place.good(&["probe", "knn", "probe.toml", "--indices", "many.txt", "--neighbours", "5"]);
    assert!(table.starts_with("LABELLED") && table.contains("many.txt"), "{table}");
}

#[test]
fn what_a_probe_cannot_use_is_told_before_it_trains() {
    let place = place();
    let call = |args: &[&str]| place.call(&[&["probe"], args].concat());
    let too_many = ["knn", "probe.toml", "--indices", "three.txt", "--neighbours", "4"];
    call(&too_many).fails(2, &["3 samples", "--neighbours"]);
    call(&["knn", "run.toml", "--indices", "three.txt"]).fails(2, &["`model.weights`"]);
    call(&["linear", "run.toml", "--indices", "three.txt", "--set", "recipe.preset=low-budget-linear"])
        .fails(2, &["model.weights"]);
    call(&["scratch", "probe.toml", "--indices", "three.txt"]).fails(2, &["`model.weights`", "finetune"]);
    place.write("wrong.txt", "5\n5\n99999\n");
    call(&["linear", "probe.toml", "--indices", "many.txt", "wrong.txt"])
        .fails(2, &["wrong.txt", "more than once", "99999"]);
}

#[test]
fn shards_of_embeddings_are_the_whole() {
    let place = place();
    place.good(&["embed", "probe.toml", "--out", "whole"]);
    let rows = |name: &str| {
        let bytes = fs::read(place.at(name)).unwrap();
        let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        bytes[header..].to_vec()
    };
    let mut parts = (Vec::new(), Vec::new());
    for shard in 1..=3 {
        place.good(&["embed", "probe.toml", "--out", "parts", "--shard", &format!("{shard}/3")]);
        parts.0.extend(rows(&format!("parts/embeddings-{shard}-of-3.npy")));
        parts.1.extend(rows(&format!("parts/ids-{shard}-of-3.npy")));
    }
    assert_eq!(parts.1, rows("whole/ids.npy"));
    let floats =
        |bytes: &[u8]| -> Vec<f32> { bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect() };
    let (apart, whole) = (floats(&parts.0), floats(&rows("whole/embeddings.npy")));
    assert_eq!(whole.len(), 1797 * 128);
    let worst = apart.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(apart.len() == whole.len() && worst < 1e-4, "{worst}");
    // A run takes them as its fixed embeddings.
    let fixed = "fixed_embeddings={ file = \"whole/embeddings.npy\", ids = \"whole/ids.npy\" }";
    place.good(&["run", "run.toml", "--out", "f", "--set", fixed, "--set", "strategy.id=typiclust"]);
    place.call(&["embed", "probe.toml", "--out", "whole"]).fails(2, &["nothing is replaced"]);
}
