//! Embeddings in the place of pictures, and those of frozen bodies that are kept, through the program.

use std::fs;
use std::path::PathBuf;

use querist_tests::cli::{Place, json, records};
use serde_json::Value;

const RUN: &str = r#"version = 1
dataset = { name = "digits", test = 397 }
model = { name = "cnn", weights = "body.safetensors" }
recipe = { train = "head", optimiser = "adam", lr = 0.01, epochs = 10, minibatch = 16 }
budget = { initial = 23, batch = 10, rounds = 2 }
strategy = { id = "badge" }
compute = { threads = 1 }
"#;

/// The same on rows.
const ROWS: &str = r#"version = 1
dataset = { name = "embeddings", path = "rows", test = 397 }
model = { name = "head" }
recipe = { train = "head", optimiser = "adam", lr = 0.01, epochs = 10, minibatch = 16 }
budget = { initial = 23, batch = 10, rounds = 2 }
strategy = { id = "badge" }
compute = { threads = 1 }
"#;

const NO_STRATEGY: &str = "strategy = { id = \"badge\" }\n";

/// A folder with a body that knows digits a little, in `body.safetensors`, and a run file that uses it.
fn place() -> Place {
    let place = Place::with_run(RUN);
    let plain = "version = 1\ndataset = { name = \"digits\", test = 397 }\nmodel = { name = \"cnn\" }\n\
                 recipe = { epochs = 3 }\nbudget = { initial = 200, batch = 1, rounds = 0 }\n\
                 strategy = { id = \"random\" }\ncompute = { threads = 1 }\n";
    place.write("body.toml", plain);
    place.good(&["run", "body.toml", "--out", "body", "--set", "keep.model=last"]);
    fs::copy(place.at("body/rounds/0000/model.safetensors"), place.at("body.safetensors")).unwrap();
    place.write("rows.toml", ROWS);
    place
}

fn picks(place: &Place, run: &str) -> Vec<String> {
    let text = |round: u32| fs::read_to_string(place.at(&format!("{run}/rounds/000{round}/picks.csv"))).unwrap();
    let samples = |text: String| -> Vec<String> {
        let mut cells = csv::Reader::from_reader(text.as_bytes());
        let at = cells.headers().unwrap().iter().position(|name| name == "file").unwrap();
        let kept = |row: csv::StringRecord| {
            let cells: Vec<&str> = row.iter().enumerate().filter(|&(i, _)| i != at).map(|(_, cell)| cell).collect();
            cells.join(",")
        };
        cells.records().map(|row| kept(row.unwrap())).collect()
    };
    (0..2).flat_map(|round| samples(text(round))).collect()
}

#[test]
fn a_run_on_embeddings_is_the_run_on_pictures() {
    let place = place();
    place.good(&["run", "run.toml", "--out", "pictures"]);
    for shard in ["1/3", "2/3", "3/3"] {
        place.good(&["embed", "run.toml", "--out", "rows", "--shard", shard, "--threads", "1", "--exact"]);
    }
    let said = place.good(&["data", "check", "embeddings", "--path", "rows"]);
    assert!(said.contains("embeddings: 128 values") && said.contains("readable"), "{said}");
    place.good(&["run", "rows.toml", "--out", "on-rows"]);
    assert_eq!(picks(&place, "pictures"), picks(&place, "on-rows"), "the same samples with the same scores");
    let accuracies =
        |run: &str| records(&place.at(run)).iter().map(|r| r["metrics"]["accuracy"].clone()).collect::<Vec<_>>();
    assert_eq!(accuracies("pictures"), accuracies("on-rows"));
    assert!(!place.at("on-rows/rounds/0000/picks.png").exists(), "there is nothing to show");
    let page = place.good(&["report", "on-rows", "--html", "page.html"]);
    assert!(!page.is_empty() && place.at("page.html").exists());
}

#[test]
fn everything_that_needs_no_pictures_works_on_rows() {
    let place = place();
    place.good(&["embed", "run.toml", "--out", "rows"]);
    let study = ROWS.replace(NO_STRATEGY, "")
        + "seeds = [0]\n[[strategies]]\nid = \"random\"\n[[strategies]]\nid = \"typiclust\"\n";
    let study = study.replace("compute = { threads = 1 }\n", "");
    let (top, rest) = study.split_once("seeds").unwrap();
    place.write("study.toml", format!("{top}compute = {{ threads = 1 }}\nseeds{rest}"));
    let table = place.good(&["study", "run", "study.toml", "--out", "study", "--device", "cpu", "--threads", "1"]);
    assert!(table.contains("typiclust") && table.contains("random"), "{table}");
    place.write("many.txt", (0..200).map(|sample| format!("{sample}\n")).collect::<String>());
    let listed = "dataset.variant.subset=1000";
    let error = place.call(&["probe", "knn", "rows.toml", "--indices", "many.txt", "--set", listed]);
    assert!(error.err.contains("`dataset.variant` took out of the pool"), "{}", error.err);
    place.write("initial.txt", {
        let initial = fs::read_to_string(place.run_of("study", "random/seed-0").join("initial.csv")).unwrap();
        initial.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned() + "\n").collect::<String>()
    });
    for kind in ["knn", "linear"] {
        let args = ["probe", kind, "rows.toml", "--indices", "initial.txt", "--format", "json", "--threads", "1"];
        let mut args = args.to_vec();
        if kind == "linear" {
            args.extend([
                "--set",
                "recipe.augment=[]",
                "--set",
                "recipe.epochs=200",
                "--set",
                "recipe.schedule=constant",
            ]);
        }
        let found: Value = serde_json::from_str(&place.good(&args)).unwrap();
        assert!(found[0]["accuracy"].as_f64().unwrap() > 0.3, "{kind}: {found}");
    }
    // A head of several layers, and lengths of 1.
    let hidden = ["--set", "model.head_hidden=32", "--set", "model.normalise=true", "--set", "model.dropout=0.2"];
    place.good(&[&["run", "rows.toml", "--out", "hidden"][..], &hidden].concat());
    for (id, part) in [("learning-loss", "embeddings and no pictures"), ("vaal", "embeddings and no pictures")] {
        let set = format!("strategy.id={id}");
        place.call(&["run", "rows.toml", "--out", id, "--set", &set, "--allow-native"]).fails(1, &[part]);
    }
    place
        .call(&["run", "rows.toml", "--out", "x", "--set", "model.name=cnn"])
        .fails(2, &["no pictures", "model.name = \"head\""]);
}

/// A cache of its own.
fn with_cache(place: &Place, args: &[&str]) -> String {
    let output = place.command(args).env("QUERIST_CACHE", place.at("cache")).output().unwrap();
    let said = place.said(&output);
    assert_eq!(said.code, Some(0), "{}", said.err);
    said.err
}

fn kept(place: &Place) -> Vec<PathBuf> {
    let entries = fs::read_dir(place.at("cache/embeddings")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn embeddings_of_a_frozen_body_are_computed_once() {
    let place = place();
    let (computed, found) = ("computed, and kept in the cache", "from the cache");
    let first = with_cache(&place, &["run", "run.toml", "--out", "first"]);
    assert!(first.contains(computed) && !first.contains(found), "{first}");
    let second = with_cache(&place, &["run", "run.toml", "--out", "second"]);
    assert!(second.contains(found) && !second.contains(computed), "{second}");
    assert_eq!(picks(&place, "first"), picks(&place, "second"));
    // Damaged, it is made anew, with a word about it.
    let [file] = &kept(&place)[..] else { panic!("{:?}", kept(&place)) };
    let mut bytes = fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(file, &bytes).unwrap();
    let third = with_cache(&place, &["run", "run.toml", "--out", "third"]);
    assert!(third.contains("is damaged") && third.contains(computed), "{third}");
    assert_eq!(picks(&place, "first"), picks(&place, "third"));
    // Another transform, and other weights.
    let other = ["--set", "dataset.normalise=half"];
    let moved = with_cache(&place, &[&["run", "run.toml", "--out", "moved"][..], &other].concat());
    assert!(moved.contains(computed) && kept(&place).len() == 2, "{moved}");
    place.good(&["run", "body.toml", "--out", "body2", "--set", "keep.model=last", "--set", "seeds.root=9"]);
    fs::copy(place.at("body2/rounds/0000/model.safetensors"), place.at("body.safetensors")).unwrap();
    let changed = with_cache(&place, &["run", "run.toml", "--out", "changed"]);
    assert!(changed.contains(computed) && kept(&place).len() == 3, "{changed}");
    assert_ne!(picks(&place, "first"), picks(&place, "changed"));
}

#[test]
fn a_run_may_start_without_labels_or_end_without_queries() {
    let place = place();
    place.good(&["embed", "run.toml", "--out", "rows"]);
    let cold = ["--set", "budget.initial=0"];
    place.good(&[&["run", "rows.toml", "--out", "cold", "--set", "strategy.id=typiclust"][..], &cold].concat());
    let found = records(&place.at("cold"));
    let labelled: Vec<u64> = found.iter().map(|record| record["labelled"].as_u64().unwrap()).collect();
    assert_eq!(labelled, [0, 10, 20]);
    let table = place.good(&["report", "cold"]);
    assert!(table.contains("typiclust"), "{table}");
    // The first batch of typiclust on ten classes covers more of them than chance would need to.
    let first = fs::read_to_string(place.at("cold/rounds/0000/picks.csv")).unwrap();
    assert_eq!(first.lines().count(), 11);
    place
        .call(&[&["run", "rows.toml", "--out", "badge"][..], &cold].concat())
        .fails(1, &["`logits`", "`budget.initial = 0`"]);
    // On pictures, too, where embeddings come from a body that is not trained; and with nothing of a model at all.
    place.good(&[&["run", "run.toml", "--out", "cold2", "--set", "strategy.id=typiclust"][..], &cold].concat());
    let scratch =
        ["--set", "model={ name = \"mlp\" }", "--set", "recipe={ epochs = 2 }", "--set", "strategy.id=random"];
    place.good(&[&["run", "run.toml", "--out", "cold3"][..], &cold, &scratch].concat());
    place
        .call(
            &[&["run", "run.toml", "--out", "cold4"][..], &cold, &scratch[..4], &["--set", "strategy.id=typiclust"]]
                .concat(),
        )
        .fails(1, &["fixed_embeddings", "`budget.initial = 0`"]);
    // All labels at once.
    place.good(&["run", "rows.toml", "--out", "all", "--set", "budget={ initial = \"100%\", batch = 1, rounds = 0 }"]);
    let all = records(&place.at("all"));
    assert_eq!((all.len(), all[0]["labelled"].as_u64()), (1, Some(1400)));
    let table = place.good(&["report", "all"]);
    assert!(table.contains("badge") && !table.contains("NaN"), "{table}");
}

#[test]
fn index_files_are_a_schedule() {
    let place = place();
    place.good(&["embed", "run.toml", "--out", "rows"]);
    place.good(&["run", "rows.toml", "--out", "start", "--stop-after", "initialize"]);
    let pool: Vec<u64> = serde_json::from_value(json(&place.at("start/split.json"))["pool"].clone()).unwrap();
    let listed = [pool[9], pool[2], pool[700], pool[30], pool[29]];
    // As counted from 1.
    let text = |samples: &[u64]| samples.iter().map(|sample| format!("{}\n", sample + 1)).collect::<String>();
    place.write("first.txt", text(&listed[..3]));
    place.write("second.txt", text(&listed[3..]));
    let run = |out: &str, params: &str| {
        let strategy = format!("strategy={{ id = \"fixed\", params = {{ {params} }} }}");
        let budget = "budget={ initial = 0, batch = [3, 2] }";
        place.call(&["run", "rows.toml", "--out", out, "--set", budget, "--set", &strategy])
    };
    let order = "order = { file = [\"first.txt\", \"second.txt\"], base = 1 }";
    assert_eq!(run("s", order).code, Some(0));
    let picked = picks(&place, "s");
    let samples: Vec<u64> = picked.iter().map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(samples, listed);
    // A number that is nowhere: nothing is drawn in its place.
    place.write("second.txt", format!("{}\n100000\n", listed[3] + 1));
    run("t", &format!("{order}, fallback = \"random\"")).fails(1, &["99999", "neither in the pool nor labelled"]);
    run("u", "order = { file = \"nowhere.txt\" }").fails(2, &["`order`", "nowhere.txt"]);
}
