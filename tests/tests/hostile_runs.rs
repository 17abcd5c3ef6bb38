//! Run folders of somebody else: whatever lies in them is refused or reported, and nothing outside them is touched.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_protocol::is_showable;
use querist_tests::cli::{Place, RUN, Said, json};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use scraper::{Html, Selector};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const RESUME: [&str; 5] = ["run", "run.toml", "--out", "r", "--resume"];
const REPORT: [&str; 2] = ["report", "r"];
const PAGE: [&str; 4] = ["report", "r", "--html", "page.html"];

/// A finished run in `r`.
fn finished() -> Place {
    let place = Place::with_run(RUN);
    place.good(&["run", "run.toml", "--out", "r"]);
    place
}

/// A run in `r` of which only the first two rounds are done.
fn half_done() -> Place {
    let place = finished();
    for round in ["0002", "0003"] {
        fs::remove_dir_all(place.at("r/rounds").join(round)).unwrap();
    }
    place
}

/// Calls the program, which must end by itself.
fn call(place: &Place, args: &[&str]) -> Said {
    let mut child =
        place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be started");
    let clock = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if clock.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{args:?} hangs");
        }
        sleep(Duration::from_millis(5));
    }
    let said = place.said(&child.wait_with_output().unwrap());
    assert!(said.code.is_some() && !said.err.contains("panicked"), "{args:?} crashed: {}", said.err);
    assert!(said.err.lines().chain(said.out.lines()).all(is_showable), "{args:?} steers the terminal: {said:?}");
    said
}

#[track_caller]
fn refused(place: &Place, args: &[&str], parts: &[&str]) {
    let said = call(place, args);
    said.fails(1, parts);
    assert!(!said.err.contains("SECRET"), "a file from elsewhere is shown: {}", said.err);
    assert!(said.err.len() < 4000, "a message of {} bytes", said.err.len());
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = json(path);
    change(&mut value);
    fs::write(path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Replaces a file of a round, and its digest.
fn forge(round: &Path, name: &str, bytes: &[u8]) {
    fs::write(round.join(name), bytes).unwrap();
    edit(&round.join("digests.json"), |digests| digests[name] = json!(digest(bytes)));
}

fn forge_text(round: &Path, name: &str, from: &str, to: &str) {
    let text = fs::read_to_string(round.join(name)).unwrap();
    assert!(text.contains(from), "{from} is not in {name}");
    forge(round, name, text.replacen(from, to, 1).as_bytes());
}

fn forge_record(round: &Path, change: impl FnOnce(&mut Value)) {
    let mut record = json(&round.join("record.json"));
    change(&mut record);
    forge(round, "record.json", &serde_json::to_vec(&record).unwrap());
}

/// Does something to a file, expects refusals, and brings it back.
fn with_file(place: &Place, name: &str, change: impl FnOnce(&Path), calls: &[&[&str]], parts: &[&str]) {
    let path = place.at(name);
    let before = fs::read(&path).ok();
    change(&path);
    for args in calls {
        refused(place, args, parts);
    }
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir(&path).unwrap();
    } else if path.symlink_metadata().is_ok() {
        fs::remove_file(&path).unwrap();
    }
    if let Some(before) = before {
        fs::write(&path, before).unwrap();
    }
}

/// Both read a folder in the same way; going on with a run loads libtorch first, so it is asked once for each kind.
const BOTH: [&[&str]; 2] = [&REPORT, &RESUME];
const ONE: [&[&str]; 1] = [&REPORT];

#[test]
fn names_in_a_list_of_digests_stay_inside_the_round() {
    let place = half_done();
    let secret = place.write("secret.txt", "SECRET");
    let list = "r/rounds/0001/digests.json";
    for name in ["../../../secret.txt", secret.to_str().unwrap(), "./record.json", "notes.txt", "", "..", "a\u{202e}b"]
    {
        let change = |path: &Path| edit(path, |digests| digests[name] = json!(digest(b"SECRET")));
        with_file(&place, list, change, &ONE, &["r/rounds/0001/digests.json: `", "` is no file of a round"]);
    }
    for digest in ["", "0", &"z".repeat(64), &"AB".repeat(32), &"a".repeat(100_000)] {
        let change = |path: &Path| edit(path, |digests| digests["epochs.csv"] = json!(digest));
        with_file(&place, list, change, &ONE, &["r/rounds/0001/digests.json", "expected"]);
    }
    // Of two entries of one name a reader would take one and miss the other.
    let twice = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        fs::write(path, text.replacen('{', &format!("{{\"record.json\": \"{}\",", "ab".repeat(32)), 1)).unwrap();
    };
    with_file(&place, list, twice, &BOTH, &["r/rounds/0001/digests.json: `record.json` stands twice"]);
    place.good(&RESUME);
}

#[test]
fn every_file_of_a_round_has_a_digest_and_every_digest_a_file() {
    let place = half_done();
    let round = place.at("r/rounds/0001");
    let names: Vec<String> = json(&round.join("digests.json")).as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["epochs.csv", "model.safetensors", "picks.csv", "picks.png", "record.json"]);
    // The model has been given up, its digest stays.
    for name in names.into_iter().filter(|name| name != "model.safetensors") {
        let unlisted = format!("r/rounds/0001/{name} is not named in digests.json");
        let forget = |path: &Path| edit(path, |digests| drop(digests.as_object_mut().unwrap().remove(&name)));
        with_file(&place, "r/rounds/0001/digests.json", forget, &ONE, &[&unlisted]);
        let missing = format!("r/rounds/0001/{name}: no such file");
        with_file(&place, &format!("r/rounds/0001/{name}"), |path| fs::remove_file(path).unwrap(), &ONE, &[&missing]);
    }
    for name in ["state.bin", "synthetic.safetensors", "features.safetensors", "revealed.csv"] {
        let unlisted = format!("r/rounds/0001/{name} is not named in digests.json");
        let calls: &[&[&str]] = if name == "state.bin" { &BOTH } else { &ONE };
        with_file(&place, &format!("r/rounds/0001/{name}"), |path| fs::write(path, "x").unwrap(), calls, &[&unlisted]);
    }
    // What is never read may lie there.
    fs::write(round.join("notes.txt"), "mine").unwrap();
    place.good(&RESUME);
    assert!(round.join("notes.txt").is_file());
}

#[test]
fn models_that_were_given_up_are_no_loss_but_changed_ones_are() {
    let place = finished();
    let model = "r/rounds/0003/model.safetensors";
    with_file(&place, model, |path| fs::write(path, "x").unwrap(), &[&REPORT], &[model, "was changed"]);
    fs::remove_file(place.at(model)).unwrap();
    place.good(&REPORT);
}

/// What can lie in the place of a file, and how it is put there.
type Impostor = (&'static str, Box<dyn Fn(&Path)>);

/// Everything that can stand in the place of a file.
fn impostors(place: &Place) -> Vec<Impostor> {
    let secret = place.write("secret.txt", "SECRET = \"SECRET\"\n");
    let instead = |make: Box<dyn Fn(&Path)>| -> Box<dyn Fn(&Path)> {
        Box::new(move |path| {
            let _ = fs::remove_file(path);
            make(path);
        })
    };
    let pipe = |path: &Path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let to = |target: PathBuf| move |path: &Path| symlink(&target, path).unwrap();
    vec![
        ("a named pipe", instead(Box::new(pipe))),
        ("a folder", instead(Box::new(|path| fs::create_dir(path).unwrap()))),
        ("a link", instead(Box::new(to(secret)))),
        ("a link", instead(Box::new(to("/dev/zero".into())))),
        ("a link", instead(Box::new(to("/dev/stdin".into())))),
        ("a socket", instead(Box::new(|path| drop(UnixListener::bind(path).unwrap())))),
    ]
}

#[test]
fn only_regular_files_are_read() {
    let place = half_done();
    let read_by_both = ["r/header.json", "r/run.toml", "r/rounds/0001/digests.json", "r/rounds/0001/record.json"];
    let of_the_round = ["r/rounds/0001/picks.csv", "r/rounds/0001/picks.png", "r/rounds/0001/epochs.csv"];
    for (what, impostor) in impostors(&place) {
        for name in read_by_both.into_iter().chain(of_the_round) {
            with_file(&place, name, &impostor, if what == "a named pipe" { &BOTH } else { &ONE }, &[name, what]);
        }
        for name in ["r/split.json", "r/initial.csv", "r/lock"] {
            with_file(&place, name, &impostor, &[&RESUME], &[name, what]);
        }
    }
    place.good(&RESUME);
}

#[test]
fn a_run_that_goes_on_changes_nothing_outside_its_folder() {
    let place = half_done();
    let mine = |place: &Place| {
        place.write("mine/0009.tmp/notes.txt", "keep me");
        place.write("mine/0000/notes.txt", "keep me");
        place.write("mine/file.txt", "keep me");
    };
    mine(&place);
    let untouched = |place: &Place| {
        for name in ["mine/0009.tmp/notes.txt", "mine/0000/notes.txt", "mine/file.txt"] {
            assert_eq!(fs::read_to_string(place.at(name)).unwrap(), "keep me", "{name}");
        }
        assert_eq!(fs::read_dir(place.at("mine")).unwrap().count(), 3);
    };
    // The folder of rounds, and a round, as links.
    fs::rename(place.at("r/rounds"), place.at("rounds")).unwrap();
    symlink(place.at("mine"), place.at("r/rounds")).unwrap();
    refused(&place, &RESUME, &["r/rounds is a link or no folder"]);
    refused(&place, &REPORT, &["r/rounds is a link or no folder"]);
    fs::remove_file(place.at("r/rounds")).unwrap();
    fs::rename(place.at("rounds"), place.at("r/rounds")).unwrap();
    symlink(place.at("r/rounds/0001"), place.at("r/rounds/0002")).unwrap();
    refused(&place, &RESUME, &["r/rounds/0002 is a link or no folder"]);
    fs::remove_file(place.at("r/rounds/0002")).unwrap();
    // The lock as a link to nothing: following it would make a file.
    fs::remove_file(place.at("r/lock")).unwrap();
    symlink(place.at("mine/new.txt"), place.at("r/lock")).unwrap();
    refused(&place, &RESUME, &["r/lock", "a link"]);
    fs::remove_file(place.at("r/lock")).unwrap();
    untouched(&place);
    // What is derived, and what an interrupted commit left, as links.
    fs::remove_file(place.at("r/rounds.jsonl")).unwrap();
    symlink(place.at("mine/file.txt"), place.at("r/rounds.jsonl")).unwrap();
    symlink(place.at("mine/0009.tmp"), place.at("r/rounds/0009.tmp")).unwrap();
    symlink(place.at("mine/file.txt"), place.at("r/revealed-0000.csv")).unwrap();
    let said = call(&place, &RESUME);
    assert_eq!(said.code, Some(0), "{}", said.err);
    untouched(&place);
    assert_eq!(fs::read_to_string(place.at("r/rounds.jsonl")).unwrap().lines().count(), 4);
    assert!(!place.at("r/rounds.jsonl").is_symlink());
}

#[test]
fn files_that_claim_to_be_endless_are_not_read() {
    let place = finished();
    let sparse = |bytes: u64| move |path: &Path| File::create(path).unwrap().set_len(bytes).unwrap();
    for (name, bytes) in [
        ("r/header.json", 17 << 20),
        ("r/run.toml", 5 << 20),
        ("r/rounds/0001/digests.json", 65 << 10),
        ("r/rounds/0001/record.json", 65 << 20),
        ("r/rounds/0001/picks.csv", 257 << 20),
        ("r/rounds/0001/epochs.csv", 1 << 40),
        ("r/rounds/0001/picks.png", 5 << 20),
        ("r/rounds/0003/model.safetensors", 1 << 40),
    ] {
        with_file(&place, name, sparse(bytes), &[&REPORT], &[name, "expected at most"]);
    }
    let half = half_done();
    for name in ["r/split.json", "r/initial.csv"] {
        with_file(&half, name, sparse(257 << 20), &[&RESUME], &[name, "expected at most"]);
    }
    // Holes cost no disk, but as much time to read as bytes.
    let round = place.at("r/rounds/0001");
    edit(&round.join("digests.json"), |digests| digests["features.safetensors"] = json!("ab".repeat(32)));
    sparse(1 << 39)(&round.join("features.safetensors"));
    refused(&place, &REPORT, &["r/rounds/0001/features.safetensors is full of holes"]);
}

#[test]
fn numbers_that_no_run_writes_are_refused() {
    let place = finished();
    let record = "r/rounds/0001/record.json";
    let fields: [(&str, Value, &str); 13] = [
        ("/labelled", json!(u64::MAX), "`labelled` is"),
        ("/labelled", json!(31), "`labelled` is 31, expected 30"),
        ("/pool", json!(7), "`pool` is 7"),
        ("/round", json!(2), "`round` is 2, expected 1"),
        ("/metrics/accuracy", json!(1.5), "expected a share from 0 to 1"),
        ("/metrics/ece", json!(-1e300), "expected a share from 0 to 1"),
        ("/metrics/per_class/3", json!(1e300), "expected a share from 0 to 1"),
        ("/metrics/per_class", json!([]), "0 shares of 10 classes"),
        ("/metrics/loss", json!("low"), "invalid type: string"),
        ("/query_class_histogram/0", json!(99), "`query_class_histogram`"),
        ("/query_class_histogram", json!([]), "`query_class_histogram`"),
        ("/seconds/fit", json!(-1.0), "`seconds` holds -1"),
        ("/backend", json!("cpu\u{1b}[2J\u{202e}"), "`backend` is `cpu"),
    ];
    let round = place.at("r/rounds/0001");
    let before = fs::read(place.at(record)).unwrap();
    for (pointer, value, part) in fields {
        forge_record(&round, |record| *record.pointer_mut(pointer).unwrap() = value);
        refused(&place, &REPORT, &[record, part]);
        forge(&round, "record.json", &before);
    }
    for (from, to, part) in [
        ("\"round\"", "\"diagnostics\": {\"a\": 1, \"b\": 2, \"a\": 3}, \"round\"", "`a` stands twice"),
        ("\"round\"", "\"terms\": {\"a\": [1], \"a\": [1]}, \"round\"", "`a` stands twice"),
        ("\"round\"", "\"terms\": {\"a\\u001b\": [1]}, \"round\"", "`terms` has 1 values of `a�`, expected one"),
        ("\"round\"", "\"round\": 1, \"round\"", "duplicate field"),
        ("\"labelled\": 30", "\"labelled\": 3e400", "number out of range"),
        ("\"round\"", &format!("\"new\": {}, \"round\"", "[".repeat(200_000)), "expected value"),
        ("\"round\"", &format!("\"peak_memory\": \"{}\", \"round\"", "\u{9b}2J".repeat(100_000)), "invalid type"),
    ] {
        forge_text(&round, "record.json", from, to);
        refused(&place, &REPORT, &[record, part]);
        forge(&round, "record.json", &before);
    }
    place.good(&REPORT);
}

#[test]
fn labels_without_a_class_are_refused_at_their_row() {
    let place = half_done();
    let round = place.at("r/rounds/0001");
    let picks = fs::read_to_string(round.join("picks.csv")).unwrap();
    let third = picks.lines().nth(3).unwrap();
    let mut cells: Vec<&str> = third.split(',').collect();
    let (id, class) = (cells[1].to_owned(), cells[4].to_owned());
    cells[4] = "4294967295";
    forge(&round, "picks.csv", picks.replace(third, &cells.join(",")).as_bytes());
    let part = format!("r/rounds/0001/picks.csv, row 2: sample {id} has label 4294967295, but there are 10 classes");
    refused(&place, &REPORT, &[&part]);
    refused(&place, &RESUME, &[&part]);
    // Another class than the dataset's: only who has the dataset can tell.
    let other = if class == "0" { "1" } else { "0" };
    cells[4] = other;
    forge(&round, "picks.csv", picks.replace(third, &cells.join(",")).as_bytes());
    forge_record(&round, |record| {
        let histogram = record["query_class_histogram"].as_array_mut().unwrap();
        for (class, change) in [(class.as_str(), -1), (other, 1)] {
            let count = &mut histogram[class.parse::<usize>().unwrap()];
            *count = json!(count.as_i64().unwrap() + change);
        }
    });
    place.good(&REPORT);
    refused(&place, &RESUME, &[&format!("sample {id} has label {other} in picks.csv and {class} in the dataset")]);
    forge(&round, "picks.csv", picks.as_bytes());
    // Fewer classes than labels.
    edit(&place.at("r/header.json"), |header| header["dataset"]["classes"] = json!(["a", "b"]));
    refused(&place, &REPORT, &["but there are 2 classes"]);
}

#[test]
fn a_split_and_an_initial_set_that_were_not_drawn_are_refused() {
    let place = half_done();
    let change = |part: &'static str, at: usize, value: Value| {
        move |path: &Path| {
            edit(path, |split| {
                let samples = split[part].as_array_mut().unwrap();
                if at < samples.len() { samples[at] = value } else { samples.push(value) }
            });
        }
    };
    for (change, part) in [
        (change("pool", 3, json!(0)), "the samples of `pool` do not ascend"),
        (change("test", 9999, json!(u64::MAX)), "398 samples in `test`, but header.json counts 397"),
        (change("test", 396, json!(u64::MAX)), "split.json is not the split that run.toml asks for"),
    ] {
        with_file(&place, "r/split.json", change, &[&RESUME], &["r/split.json", part]);
    }
    let text = fs::read_to_string(place.at("r/initial.csv")).unwrap();
    let first = text.lines().nth(1).unwrap().to_owned();
    for (changed, part) in [
        (text.replacen(&first, "5000,,3", 1), "initial.csv is not the set that run.toml asks for"),
        (text.replacen(&first, "1,,10", 1), "row 0: sample 1 has label 10, but there are 10 classes"),
        (text.replacen(&format!("{first}\n"), "", 1), "19 samples, but run.toml asks for 20"),
        (text.replacen("id,", "name,", 1), "missing field `id`"),
    ] {
        let change = |path: &Path| fs::write(path, changed).unwrap();
        with_file(&place, "r/initial.csv", change, &[&RESUME], &["r/initial.csv", part]);
    }
    place.good(&RESUME);
}

#[test]
fn configs_and_headers_that_no_run_has_are_refused() {
    let place = half_done();
    let text = fs::read_to_string(place.at("r/run.toml")).unwrap();
    let deep = format!("[strategy.params]\nx = {}", "[".repeat(100_000));
    for (from, to, part) in [
        ("rounds = 3", "rounds = 4000000000", "/budget/rounds"),
        ("batch = 10", "batch = \"99999999999999999999%\"", "budget: initial set and batches add up to"),
        ("initial = 20", "initial = 9223372036854775807", "budget: initial set and batches add up to"),
        ("label = \"badge\"", "label = \"\\u001b[31m\\u202e\"", "/strategy/label"),
        ("version = 1", "version = 1\n\"\\u001b[31mx\" = 1", "/"),
        ("[strategy]", &format!("[strategy]\nid = \"{}\"\n[x]", "\\u009b2J".repeat(10_000)), ""),
        ("[seeds]", &format!("{deep}\n[seeds]"), ""),
    ] {
        assert!(text.contains(from), "{from} is not in\n{text}");
        let change = |path: &Path| fs::write(path, text.replacen(from, to, 1)).unwrap();
        with_file(&place, "r/run.toml", change, &ONE, &["r/run.toml", part]);
    }
    let deep = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        fs::write(
            path,
            text.replacen(
                "\"params\": {",
                &format!("\"params\": {{\"x\": {}{},", "[".repeat(200_000), "]".repeat(200_000)),
                1,
            ),
        )
        .unwrap();
    };
    with_file(&place, "r/header.json", deep, &BOTH, &["r/header.json", "recursion limit"]);
    let set = |pointer: &'static str, value: Value| {
        move |path: &Path| edit(path, |header| *header.pointer_mut(pointer).unwrap() = value)
    };
    for (pointer, value, part) in [
        ("/dataset/pool", json!(u64::MAX), "`dataset.pool` is 18446744073709551615"),
        ("/dataset/pool", json!(30), "the pool holds 30 samples"),
        ("/dataset/classes", json!([]), "`dataset.classes` has 0 names"),
        ("/dataset/name", json!("\u{1b}]0;title\u{7}"), "`dataset.name` is"),
        ("/strategy/version", json!("1.0\u{202e}"), "`strategy.version` is"),
        ("/strategy/id", json!("x".repeat(1 << 20)), "`strategy.id` is"),
        ("/strategy/kind", json!("\u{1b}[31m".repeat(10_000)), "unknown variant"),
        ("/querist", json!("\u{9b}31m"), "`querist` is"),
        ("/needs/0", json!("a\nerror: b"), "`needs` is"),
        ("/layout", json!(3), "layout 3"),
        ("/layout", json!(0), "layout 0"),
    ] {
        with_file(&place, "r/header.json", set(pointer, value), &ONE, &[part]);
    }
    place.good(&RESUME);
}

#[test]
fn rounds_that_are_missing_or_too_many_are_refused() {
    let place = finished();
    fs::rename(place.at("r/rounds/0001"), place.at("r/rounds/0004")).unwrap();
    refused(&place, &REPORT, &["r/rounds/0001 is missing"]);
    fs::rename(place.at("r/rounds/0004"), place.at("r/rounds/0001")).unwrap();
    let text = fs::read_to_string(place.at("r/run.toml")).unwrap();
    fs::write(place.at("r/run.toml"), text.replace("rounds = 3", "rounds = 2")).unwrap();
    refused(&place, &REPORT, &["r/rounds: 4 rounds, but run.toml plans 3"]);
}

#[test]
fn an_older_layout_can_be_read_but_not_gone_on_with() {
    let place = half_done();
    assert_eq!(json(&place.at("r/header.json"))["layout"], json!(2));
    edit(&place.at("r/header.json"), |header| header["layout"] = json!(1));
    let before = fs::read(place.at("r/rounds.jsonl")).unwrap();
    place.good(&REPORT);
    let words = [
        "r: begun by querist",
        "with layout 1, which cannot go on in layout 2: samples are numbered and random numbers are drawn otherwise",
        "hint: `querist report` still reads it; start the run anew with another `--out`",
    ];
    refused(&place, &RESUME, &words);
    assert_eq!(fs::read(place.at("r/rounds.jsonl")).unwrap(), before, "nothing was changed");
    // Runs of one seed no longer start alike, so they are no pairs.
    place.good(&["run", "run.toml", "--out", "new/r", "--set", "strategy.id=random"]);
    let out = place.good(&["report", "r", "new"]);
    assert!(out.contains("== run folder layout 2"), "{out}");
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

#[test]
fn pictures_that_claim_to_be_huge_or_are_no_strip_are_refused() {
    let place = finished();
    let round = place.at("r/rounds/0001");
    let png = fs::read(round.join("picks.png")).unwrap();
    let sized = |width: u32, height: u32| {
        let mut png = png.clone();
        png[16..20].copy_from_slice(&width.to_be_bytes());
        png[20..24].copy_from_slice(&height.to_be_bytes());
        let check = crc(&png[12..29]);
        png[29..33].copy_from_slice(&check.to_be_bytes());
        png
    };
    assert_eq!(sized(80, 8), png, "ten pictures of 8 x 8");
    for bytes in [sized(0x7fff_ffff, 0x7fff_ffff), sized(81, 8), sized(80, 65), b"no picture".to_vec(), Vec::new()] {
        forge(&round, "picks.png", &bytes);
        place.good(&REPORT);
        refused(&place, &PAGE, &["r/rounds/0001/picks.png"]);
    }
}

#[test]
fn counts_of_what_was_taken_for_what_are_checked() {
    let place = finished();
    let round = place.at("r/rounds/0003");
    let whole = fs::read_to_string(round.join("confusion.csv")).unwrap();
    let counts = whole.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse::<usize>().unwrap());
    assert_eq!(counts.sum::<usize>(), 397, "{whole}");
    for (lines, part) in [
        ("0,0,397\n", "an accuracy of 1, but record.json has"),
        ("0,10,397\n", "row 0: 0 taken for 10, but there are 10 classes"),
        ("0,0,1\n0,0,396\n", "row 1: 0 taken for 0 stands twice"),
        ("0,0,0\n", "row 0: a count of 0"),
        ("0,0,4294967296\n", "row 0: a count of 4294967296"),
        ("0,0,-1\n", "CSV"),
        ("0,0\n", "CSV"),
        ("", "0 samples, but header.json counts 397"),
        ("0,0,398\n", "398 samples, but header.json counts 397"),
    ] {
        forge(&round, "confusion.csv", format!("label,predicted,count\n{lines}").as_bytes());
        refused(&place, &REPORT, &["r/rounds/0003/confusion.csv", part]);
    }
    // Runs of older programs have none.
    fs::remove_file(round.join("confusion.csv")).unwrap();
    edit(&round.join("digests.json"), |digests| drop(digests.as_object_mut().unwrap().remove("confusion.csv")));
    place.good(&PAGE);
    assert!(!fs::read_to_string(place.at("page.html")).unwrap().contains("takes for what"));
}

#[test]
fn nothing_of_a_folder_becomes_markup_of_the_page() {
    let place = half_done();
    let evil = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>";
    edit(&place.at("r/header.json"), |header| {
        for (at, class) in header["dataset"]["classes"].as_array_mut().unwrap().iter_mut().enumerate() {
            *class = json!(format!("\"'onload=alert(1) {evil}\u{202e}\u{1b}[31m\u{0}{at}"));
        }
        for pointer in ["/dataset/name", "/dataset/digest", "/strategy/id", "/strategy/package", "/strategy/version"] {
            *header.pointer_mut(pointer).unwrap() = json!(format!("=1+1\"{evil}"));
        }
        header["strategy"]["digest"] = json!(evil);
    });
    for round in ["r/rounds/0000", "r/rounds/0001"] {
        forge_record(&place.at(round), |record| record["backend"] = json!(evil));
    }
    let config = fs::read_to_string(place.at("r/run.toml")).unwrap();
    let id = config.lines().find(|line| line.starts_with("id = ")).unwrap();
    let params = format!("id = '{evil}'\nparams = {{ x = \"{evil}\\u202e\\u009b\\u2028\", \"{evil}\\u0007\" = 1 }}");
    let config = config.replace(id, &params);
    let cut = config.find("[strategy.params]").map_or(config.len(), |at| at);
    let end = config[cut..].find("\n\n").map_or(config.len(), |at| cut + at);
    fs::write(place.at("r/run.toml"), format!("{}{}", &config[..cut], &config[end..])).unwrap();

    let said = call(&place, &PAGE);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let page = fs::read_to_string(place.at("page.html")).unwrap();
    assert!(page.contains("alert(1)"), "the page shows what it was given");
    let steering: Vec<char> = page.chars().filter(|c| *c != '\n' && !is_showable(&c.to_string())).collect();
    assert!(steering.is_empty(), "{steering:?}");
    let page = Html::parse_document(&page);
    for element in page.select(&Selector::parse("*").unwrap()).map(|node| node.value()) {
        assert!(!["iframe", "object", "embed", "link", "base", "form"].contains(&element.name()));
        for (name, value) in element.attrs() {
            assert!(!name.starts_with("on"), "{name}={value} on {}", element.name());
            assert!(!["src", "href"].contains(&name) || value.starts_with("data:image/png;base64,"), "{name}={value}");
        }
    }
    // Its own figures and its own program.
    assert_eq!(page.select(&Selector::parse("script").unwrap()).count(), 2);
    assert_eq!(page.select(&Selector::parse("img").unwrap()).count(), 20, "ten pictures a round");

    for (format, open) in [("csv", "=1+1"), ("json", "\u{202e}")] {
        let said = call(&place, &["report", "r", "--format", format]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        assert!(
            !said.out.split(['\n', ',']).any(|cell| cell.trim_start_matches('"').starts_with(open)),
            "{}",
            said.out
        );
    }
    let json: Value = serde_json::from_str(&call(&place, &["report", "r", "--format", "json"]).out).unwrap();
    let param = json["runs"][0]["config"]["strategy"]["params"]["x"].as_str().unwrap();
    assert_eq!(param, format!("{evil}\u{202e}\u{9b}\u{2028}"), "JSON loses nothing");
}

#[test]
fn names_of_folders_do_not_steer_the_terminal() {
    let place = half_done();
    let name = "x\u{1b}[31m\u{202e}\ny";
    fs::rename(place.at("r"), place.at(name)).unwrap();
    place.write("empty\u{9b}2J/notes.txt", "");
    assert_eq!(call(&place, &["report", name]).code, Some(0));
    assert_eq!(call(&place, &["report", "empty\u{9b}2J"]).code, Some(2));
    fs::write(place.at(name).join("rounds/0001/record.json"), "{}").unwrap();
    assert_eq!(call(&place, &["report", name]).code, Some(1));
    assert_eq!(call(&place, &["run", "run.toml", "--out", name, "--resume"]).code, Some(1));
    assert_eq!(call(&place, &["run", "run.toml", "--out", name]).code, Some(2));
}

#[test]
fn the_search_for_runs_ends_and_does_not_leave_the_folder() {
    let place = finished();
    place.write("study/notes.txt", "");
    fs::create_dir_all(place.at("study/a/b")).unwrap();
    for at in 0..40 {
        symlink(place.at("study"), place.at(&format!("study/loop-{at}"))).unwrap();
        symlink(place.at("study"), place.at(&format!("study/a/loop-{at}"))).unwrap();
        symlink(place.at("study"), place.at(&format!("study/a/b/loop-{at}"))).unwrap();
    }
    symlink(place.at("r"), place.at("study/a/elsewhere")).unwrap();
    let said = call(&place, &["report", "study"]);
    said.fails(2, &["note: links are not followed: 121 in study, such as study/", "study holds no runs"]);
    fs::rename(place.at("r"), place.at("study/a/b/r")).unwrap();
    assert_eq!(call(&place, &["report", "study"]).code, Some(0));
    // A link that the user names is followed.
    assert_eq!(call(&place, &["report", "study/a/b/loop-0/a/b/r"]).code, Some(0));
}

#[test]
fn a_study_writes_only_into_its_own_folder() {
    let place = Place::new();
    let study = RUN.replace("strategy = { id = \"badge\" }", "strategies = [{ id = \"random\" }]\nseeds = [0]");
    place.write("study.toml", study);
    let args = ["study", "run", "study.toml", "--out", "s"];
    place.write("mine/file.txt", "keep me");
    fs::create_dir(place.at("s")).unwrap();
    symlink(place.at("mine"), place.at("s/cells")).unwrap();
    refused(&place, &args, &["s/cells is a link or no folder"]);
    fs::remove_file(place.at("s/cells")).unwrap();
    fs::create_dir(place.at("s/cells")).unwrap();
    let name = place.planned(&["study.toml"]).remove(0).replace("random/seed-0", "s/cells/random-s0");
    symlink(place.at("mine/file.txt"), place.at(&format!("{name}.toml"))).unwrap();
    symlink(place.at("mine/file.txt"), place.at("s/plan.json")).unwrap();
    mknodat(CWD, place.at(&format!("{name}.log")), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // A ledger that somebody made of a link is not read, and replaced.
    let ledger = place.at(&format!("{name}.json"));
    symlink(place.at("mine/file.txt"), &ledger).unwrap();
    let said = call(&place, &args);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("a link, expected a regular file; a new one is begun"), "{}", said.err);
    assert!(fs::symlink_metadata(&ledger).unwrap().is_file());
    assert_eq!(fs::read_to_string(place.at("mine/file.txt")).unwrap(), "keep me");
    assert!(fs::read_to_string(place.at(&format!("{name}.toml"))).unwrap().contains("version = 1"));
    // A finished run that was changed later is not taken for done.
    fs::write(place.run_of("s", "random/seed-0").join("rounds/0001/state.bin"), "x").unwrap();
    let said = call(&place, &args);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.err.contains("state.bin is not named in digests.json"), "{}", said.err);
}
