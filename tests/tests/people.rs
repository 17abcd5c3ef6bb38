//! People as the oracle: runs that stop with a batch of pictures, and go on once it is answered.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_core::config::DatasetConfig;
use querist_core::{DatasetOracle, Oracle as _, SampleId};
use querist_data::Search;
use querist_people::{Answer, Batch, Journal, NewAnswer, Recorded, Stage};
use querist_protocol::philox::Stream;
use querist_tests::cli::{Place, lasting, records};
use serde_json::Value;

const NAMES: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// Two batches after an initial set, all of them labelled by people.
const RUN: &str = r#"version = 1
oracle = "people"
dataset = { name = "pictures", path = "pool", classes = "classes.txt" }
model = { name = "mlp" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 20, minibatch = 16 }
budget = { initial = 40, batch = 20, rounds = 2 }
strategy = { id = "margin" }
compute = { threads = 1 }
keep = { features = "all" }
"#;

/// What is behind a picture: its digit, which the names of the pool do not tell.
type Truth = BTreeMap<String, u32>;

/// The built-in digits from `from` on as PNG files: `folder/a/17.png`, in sub-folders that are no classes.
fn write_digits(place: &Place, folder: &str, range: std::ops::Range<u64>) -> Truth {
    let digits = querist_data::load(&DatasetConfig::named("digits"), &Search::from_env()).unwrap();
    let ids: Vec<SampleId> = range.map(SampleId).collect();
    let labels = DatasetOracle::new(&digits).reveal(&ids).unwrap();
    let one = |(id, label): (&SampleId, &querist_core::Label)| {
        let name = format!("{}/{}.png", ["a", "b", "b/c"][id.index() % 3], id.0);
        let path = place.at(folder).join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let picture = image::GrayImage::from_raw(8, 8, digits.images().image(*id).to_vec()).unwrap();
        picture.save(&path).unwrap();
        (name, label.0)
    };
    ids.iter().zip(&labels).map(one).collect()
}

/// A place with pictures, the list of classes and a run file.
fn place_with(run: &str) -> (Place, Truth) {
    let place = Place::with_run(run);
    let truth = write_digits(&place, "pool", 0..300);
    place.write("classes.txt", NAMES.join("\n"));
    (place, truth)
}

/// What a person says of a picture: every eleventh is of none of the classes, every thirteenth nobody can tell.
fn said(id: u64, name: &str, truth: &Truth) -> Answer {
    match id {
        id if id % 11 == 5 => Answer::NoneOfThese,
        id if id % 13 == 6 => Answer::Unsure,
        _ => Answer::Class(truth[name]),
    }
}

/// Answers up to `most` pictures of the batch that waits; says how many were new.
fn answer(run: &Path, truth: &Truth, most: usize) -> usize {
    let Some(batch) = Batch::read(run).unwrap() else { return 0 };
    let stage = batch.stage;
    let answers = batch.pictures.iter().take(most).map(|picture| NewAnswer {
        key: format!("{stage} {}", picture.id),
        id: picture.id,
        annotator: "ada".to_owned(),
        answer: said(picture.id, &picture.name, truth),
        seconds: Some(3.0),
        guess_shown: false,
        third_look: false,
        source: "test".to_owned(),
        seen: None,
    });
    let answers: Vec<NewAnswer> = answers.collect();
    let recorded = Journal::open(run, batch).unwrap().record(answers).unwrap();
    recorded.iter().filter(|recorded| matches!(recorded, Recorded::New(_))).count()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn status(place: &Place, run: &str) -> Value {
    json(&place.good(&["status", run, "--format", "json"]))
}

#[test]
fn from_a_folder_of_unlabelled_pictures_to_a_report() {
    let (place, truth) = place_with(RUN);
    let run = place.at("r");
    let resume = ["run", "run.toml", "--out", "r", "--resume"];
    let first = place.call(&["run", "run.toml", "--out", "r"]);
    assert_eq!((first.code, first.out.as_str()), (Some(0), ""), "{}", first.err);
    for part in [
        "awaiting labels: 40 of 40 pictures of the initial set have none yet",
        "querist label r ",
        "querist label export r ",
        "run.toml --out r --resume",
    ] {
        assert!(first.err.contains(part), "`{part}` is missing in:\n{}", first.err);
    }
    let batch = Batch::read(&run).unwrap().unwrap();
    assert_eq!(
        (batch.stage, batch.pictures.len(), &batch.classes[..2]),
        (Stage::Initial, 40, &["zero", "one"].map(String::from)[..])
    );
    assert!(batch.pictures.iter().all(|picture| batch.path(picture).is_file() && picture.guess.is_none()));

    // Some answers are not all.
    assert_eq!(answer(&run, &truth, 30), 30);
    let still = place.call(&resume);
    assert_eq!((still.code, still.out.as_str()), (Some(0), ""), "{}", still.err);
    assert!(still.err.contains("10 of 40 pictures of the initial set"), "{}", still.err);
    let found = status(&place, "r");
    assert_eq!((found["stage"].as_str(), found["waiting"]["open"].as_u64()), (Some("initial"), Some(10)), "{found}");
    assert_eq!(found["waiting"]["annotators"]["ada"], 30);
    assert_eq!(found["next_batch"]["minutes"], 2.0, "40 answers of 3 s: {found}");
    assert_eq!(answer(&run, &truth, 40), 10);
    assert_eq!(answer(&run, &truth, 40), 0, "saying it twice counts once");

    // Round 0 is trained, and asks.
    let asked = place.call(&resume);
    assert!(asked.code == Some(0) && asked.err.contains("20 of 20 pictures of round 0"), "{}", asked.err);
    assert!(records(&run).is_empty(), "a round counts once its labels are there");
    let batch = Batch::read(&run).unwrap().unwrap();
    assert_eq!((batch.stage, batch.pictures.len()), (Stage::Round(0), 20));
    assert!(batch.pictures.iter().all(|picture| picture.guess.is_some() && picture.score.is_some()));
    let half = json(&fs::read_to_string(run.join("waiting/record.json")).unwrap());
    answer(&run, &truth, 20);
    let next = place.call(&resume);
    assert!(next.err.contains("20 of 20 pictures of round 1"), "{}", next.err);
    // What was trained while it waited is not trained again.
    let whole = json(&fs::read_to_string(run.join("rounds/0000/record.json")).unwrap());
    assert_eq!((&whole["seconds"], &whole["metrics"]), (&half["seconds"], &half["metrics"]));
    let initial = fs::read_to_string(run.join("initial.csv")).unwrap();
    let count = |table: &str, word: &str| table.lines().filter(|line| line.ends_with(word)).count();
    let of_label = count(&initial, ",label");
    assert_eq!(whole["labelled"].as_u64(), Some(of_label as u64), "{initial}");
    assert_eq!(whole["held_out"].as_u64(), Some(count(&initial, ",held-out") as u64));
    assert!(count(&initial, ",rejected") > 0 && count(&initial, ",held-out") > 0, "{initial}");
    assert_eq!(count(&initial, ""), 41);
    let picks = fs::read_to_string(run.join("rounds/0000/picks.csv")).unwrap();
    assert!(picks.starts_with("rank,id,file,score,label,class,outcome\n"), "{picks}");
    let histogram: u64 = whole["query_class_histogram"].as_array().unwrap().iter().filter_map(Value::as_u64).sum();
    let none = whole["rejected"].as_u64().unwrap_or(0) + whole["unsure"].as_u64().unwrap_or(0);
    assert_eq!(histogram + none, 20);

    // The last round only evaluates.
    answer(&run, &truth, 20);
    let table = place.good(&resume);
    assert!(table.contains("margin"), "{table}");
    assert!(!run.join("waiting").exists());
    let rounds = records(&run);
    assert_eq!(rounds.len(), 3);
    for round in &rounds {
        let tested = round["held_out"].as_u64().unwrap();
        let hits = round["metrics"]["accuracy"].as_f64().unwrap() * tested as f64;
        assert!((hits - hits.round()).abs() < 1e-9, "an accuracy of the samples that are held out: {round}");
        let (bought, labelled) = (round["bought"].as_u64().unwrap(), round["labelled"].as_u64().unwrap());
        assert!(bought > labelled + tested, "rejects cost labels: {round}");
    }
    let found = status(&place, "r");
    assert_eq!((found["stage"].as_str(), found["curve"].as_array().map(Vec::len)), (Some("finished"), Some(3)));
    for point in found["curve"].as_array().unwrap() {
        let number = |name: &str| point[name].as_u64().unwrap();
        assert_eq!(number("bought"), number("labelled") + number("tested") + number("rejected"), "{point}");
    }
    assert!(found["curve"][2]["accuracy"]["low"].as_f64() < found["curve"][2]["accuracy"]["high"].as_f64());
    assert_eq!(found["advice"][1]["advice"], "too-early", "three rounds are too few for a curve: {found}");
    place.good(&["status", "r"]);
    // The strategy picks the same again from what it saw; from scratch people would be asked.
    assert!(place.good(&["replay", "r"]).contains("same"));
    place.call(&["replay", "r", "--from", "scratch"]).fails(2, &["people labelled it"]);
    let report = json(&place.good(&["report", "r", "--format", "json"]));
    assert!(report.to_string().contains("held out"), "the report says what it is tested on");
    assert!(place.call(&resume).err.contains("finished already"));
}

/// Calls the program until the run is finished, and answers what it waits for in between.
fn to_the_end(place: &Place, out: &str, truth: &Truth) {
    for _ in 0..8 {
        place.good(&["run", "run.toml", "--out", out, "--resume"]);
        let run = place.at(out);
        if answer(&run, truth, usize::MAX) == 0 {
            return;
        }
    }
    panic!("it does not end");
}

/// Files that are the same whenever the run is done again; answers have the time of day.
fn files(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = lasting(run);
    files.retain(|name, _| !name.starts_with("answers.jsonl"));
    files
}

#[test]
fn a_killed_run_of_people_ends_like_one_never_killed() {
    let (place, truth) = place_with(RUN);
    to_the_end(&place, "whole/r", &truth);
    let whole = files(&place.at("whole/r"));
    let mut stream = Stream::new(19, 0);
    let (mut kills, mut calls) = (0, 0);
    let run = place.at("killed/r");
    let length = Duration::from_millis(700);
    loop {
        let mut child = place
            .command(&["run", "run.toml", "--out", "killed/r", "--resume"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        calls += 1;
        let (clock, instant) = (Instant::now(), length.mul_f64(stream.next_uniform()));
        let ended = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if kills < 30 && clock.elapsed() >= instant => break None,
                None => sleep(Duration::from_micros(200)),
            }
        };
        if ended.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        } else {
            assert!(ended.is_some_and(|status| status.success()));
        }
        // People answer while the program is not there, a few pictures at a time.
        let new =
            if run.join("header.json").exists() { answer(&run, &truth, 1 + stream.next_below(60) as usize) } else { 0 };
        let is_over = ended.is_some() && new == 0 && Batch::read(&run).unwrap().is_none();
        if is_over && records(&run).len() == 3 {
            break;
        }
        assert!(calls < 400, "it does not end");
    }
    assert_eq!(files(&run).keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    for (name, bytes) in files(&run) {
        assert!(whole[&name] == bytes, "{name} differs after {kills} kills");
    }
    eprintln!("{kills} kills in {calls} calls");
}

#[test]
fn watching_goes_on_by_itself_when_a_batch_is_complete() {
    let (place, truth) = place_with(RUN);
    let run = place.at("r");
    let mut child = place.command(&["run", "run.toml", "--out", "r", "--watch"]).stderr(Stdio::null()).spawn().unwrap();
    let clock = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if run.join("header.json").exists() {
            answer(&run, &truth, usize::MAX);
        }
        assert!(clock.elapsed() < Duration::from_secs(120), "it waits for ever");
        sleep(Duration::from_millis(50));
    };
    assert!(status.success());
    assert_eq!(records(&run).len(), 3);
}

#[test]
fn a_cold_start_asks_a_strategy_that_needs_no_model() {
    let run = RUN.replace("initial = 40", "initial = 0").replace("margin", "random");
    let (place, truth) = place_with(&run);
    let first = place.call(&["run", "run.toml", "--out", "r"]);
    assert!(first.err.contains("20 of 20 pictures of round 0"), "{}", first.err);
    // Nobody has a test set yet, and no figure is made up.
    assert!(first.out.contains("ROUND") || first.out.is_empty(), "{}", first.out);
    answer(&place.at("r"), &truth, usize::MAX);
    to_the_end(&place, "r", &truth);
    let rounds = records(&place.at("r"));
    assert_eq!((rounds[0]["metrics"]["accuracy"].is_null(), rounds[0]["labelled"].as_u64()), (true, Some(0)));
    assert!(rounds[1]["metrics"]["accuracy"].is_f64(), "{}", rounds[1]);
    for form in ["table", "json", "csv"] {
        let said = place.good(&["report", "r", "--format", form]);
        assert!(!said.contains("NaN"), "{form}: {said}");
    }
    place.write("margin.toml", run.replace("random", "margin"));
    place
        .call(&["run", "margin.toml", "--out", "m"])
        .fails(1, &["`logits`", "nothing is labelled before the first query"]);
}

#[test]
fn labels_that_are_known_are_the_initial_set_and_a_test_set_is_used() {
    let (place, truth) = place_with(
        &RUN.replace(
            "classes = \"classes.txt\"",
            "classes = \"classes.txt\", labels = \"labels.csv\", test_path = \"tests\"",
        )
        .replace("initial = 40, ", ""),
    );
    let known: Vec<(&String, &u32)> = truth.iter().take(50).collect();
    let line = |(path, label): &(&String, &u32)| format!("{path},{}\n", NAMES[**label as usize]);
    place.write("labels.csv", format!("path,label\n{}", known.iter().map(line).collect::<String>()));
    for (name, label) in write_digits(&place, "unsorted", 400..500) {
        let (from, file) = (place.at("unsorted").join(&name), name.replace('/', "-"));
        let to = place.at("tests").join(NAMES[label as usize]).join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(from, to).unwrap();
    }
    to_the_end(&place, "r", &truth);
    let rounds = records(&place.at("r"));
    assert_eq!(rounds[0]["labelled"], 50, "none of them is held out where there is a test set");
    assert!(
        rounds[2]["held_out"].is_null() && rounds[2]["metrics"]["accuracy"].as_f64().unwrap() > 0.3,
        "{}",
        rounds[2]
    );
    let header = json(&fs::read_to_string(place.at("r/header.json")).unwrap());
    assert_eq!((&header["dataset"]["pool"], &header["dataset"]["test"]), (&Value::from(300), &Value::from(100)));
}

#[test]
fn a_strategy_that_asks_for_rejects_sees_them() {
    let (place, truth) = place_with(&RUN.replace("\"margin\"", "\"lfosa\""));
    to_the_end(&place, "r", &truth);
    let bytes = fs::read(place.at("r/rounds/0000/features.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let numbers = |name: &str| -> Vec<u32> {
        let place = |at: usize| 8 + length + header[name]["data_offsets"][at].as_u64().unwrap() as usize;
        bytes[place(0)..place(1)].chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    };
    let (labels, rejected) = (numbers("labelled.labels"), numbers("labelled.rejected"));
    let initial = fs::read_to_string(place.at("r/initial.csv")).unwrap();
    let count = |word: &str| initial.lines().filter(|line| line.ends_with(word)).count();
    assert_eq!(rejected.iter().sum::<u32>() as usize, count(",rejected"));
    assert_eq!(labels.len(), count(",rejected") + count(",label"));
    assert!(labels.iter().zip(&rejected).all(|(&label, &rejected)| (label == 10) == (rejected == 1)), "{labels:?}");
}

#[test]
fn a_batch_of_which_everything_was_rejected_is_fine() {
    let (place, truth) = place_with(RUN);
    let run = place.at("r");
    place.good(&["run", "run.toml", "--out", "r"]);
    answer(&run, &truth, usize::MAX);
    place.good(&["run", "run.toml", "--out", "r", "--resume"]);
    let batch = Batch::read(&run).unwrap().unwrap();
    let reject = |picture: &querist_people::Picture| NewAnswer {
        key: format!("none {}", picture.id),
        id: picture.id,
        annotator: "ada".to_owned(),
        answer: Answer::NoneOfThese,
        seconds: None,
        guess_shown: false,
        third_look: false,
        source: "test".to_owned(),
        seen: None,
    };
    let answers = batch.pictures.iter().map(reject).collect();
    Journal::open(&run, batch).unwrap().record(answers).unwrap();
    to_the_end(&place, "r", &truth);
    let rounds = records(&run);
    assert_eq!((&rounds[0]["rejected"], &rounds[1]["labelled"]), (&Value::from(20), &rounds[0]["labelled"]));
    let report = place.good(&["report", "r", "--format", "json"]);
    assert!(!report.contains("NaN"));
}

#[test]
fn bad_input_is_refused_with_words() {
    let (place, truth) = place_with(RUN);
    place.good(&["run", "run.toml", "--out", "r"]);
    answer(&place.at("r"), &truth, usize::MAX);
    let resume = ["run", "run.toml", "--out", "r", "--resume"];
    // Another list of classes.
    place.write("classes.txt", [&NAMES[..9], &["ten"]].concat().join("\n"));
    place.call(&resume).fails(1, &["the classes are not those that the run was started with"]);
    place.write("classes.txt", NAMES.join("\n"));
    place.good(&resume);
    // A picture that is gone, and one that is none.
    let batch = Batch::read(&place.at("r")).unwrap().unwrap();
    let path = batch.path(&batch.pictures[0]);
    let bytes = fs::read(&path).unwrap();
    answer(&place.at("r"), &truth, usize::MAX);
    fs::remove_file(&path).unwrap();
    place.call(&resume).fails(1, &["started with 300 pictures, and there are 299 now", "hint:"]);
    fs::write(&path, "<svg onload='alert(1)'/>").unwrap();
    place.call(&resume).fails(2, &[&batch.pictures[0].name, "cannot be decoded"]);
    fs::write(&path, bytes).unwrap();
    place.good(&resume);
    // An answer of a class that is none, written by somebody else.
    let answers = place.at("r/answers.jsonl");
    let text = fs::read_to_string(&answers).unwrap();
    fs::write(&answers, text.replacen("\"two\"", "\"dragon\"", 1)).unwrap();
    place.call(&resume).fails(1, &["class `dragon` is none of the run's"]);
    fs::write(&answers, text).unwrap();
    // What waits was changed.
    let batch = place.at("r/waiting/batch.json");
    let text = fs::read_to_string(&batch).unwrap();
    fs::write(&batch, text.replacen("\"zero\"", "\"none\"", 1)).unwrap();
    place.call(&resume).fails(1, &["its classes are not those of the run"]);
    fs::write(&batch, text).unwrap();
    place.good(&resume);

    place.write("plain.toml", querist_tests::cli::RUN);
    place.good(&["run", "plain.toml", "--out", "plain"]);
    place.call(&["status", "plain"]).fails(2, &["its labels come from its dataset"]);
    place.call(&["status", "pool"]).fails(2, &["holds no run"]);
    place.call(&["run", "plain.toml", "--out", "x", "--watch"]).fails(2, &["--watch waits for the answers of people"]);
    for (key, part) in [
        ("dataset.name=folder", "is for pictures whose labels are not known"),
        ("oracle=dataset", "set `oracle = \"people\"`"),
        ("dataset.classes=[\"a\"]", "dataset.classes"),
        ("dataset.classes=[\"a\", \"a\"]", "`a` twice"),
        ("dataset.validation=10", "not known, so nothing can be held out class by class"),
        ("budget.per_class=true", "cannot be balanced"),
        ("budget.replace=true", "the same pictures again"),
        ("strategy.id=\"querist/upper\"", "hidden labels, which nobody knows here"),
        ("oracle={by=\"people\",looks=3}", "oracle.looks is 3; expected 1 or 2"),
        ("oracle={by=\"people\",hold_out=1.5}", "oracle.hold_out is 1.5; expected a share from 0 to 0.9"),
        ("dataset.test_path=pool/a", "inside that of `dataset.path`"),
    ] {
        let said = place.call(&["run", "run.toml", "--out", "bad", "--set", key]);
        assert!(said.code == Some(2) || said.code == Some(1), "{key}: {}", said.err);
        assert!(said.err.contains(part), "{key}: `{part}` is missing in:\n{}", said.err);
    }
}
