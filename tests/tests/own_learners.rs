//! Runs whose learner is a program of the user's own: what they leave, and how each thing is named that goes wrong.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_tests::cli::{Place, Said, assert_same, json, kill_and_resume_in, lasting, records};
use querist_tests::python::python;
use querist_tests::workspace;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A run with these words as its command.
fn run_of(words: &[&str], more: &str) -> String {
    format!(
        "version = 1\ndataset = {{ name = \"digits\", test = 397 }}\ncompute = {{ threads = 1 }}\n\
         budget = {{ initial = 20, per_class = true, batch = 10, rounds = 2 }}\n{more}\n\
         [learner]\ncommand = {words:?}\n"
    )
}

const MARGIN: &str = "strategy = { id = \"margin\" }";

/// The learner of the documentation.
fn plain() -> String {
    workspace().join("examples/learners/plain.py").canonicalize().unwrap().display().to_string()
}

fn beside(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("learners").join(name).display().to_string()
}

fn plain_run(more: &str) -> String {
    run_of(&[&python(), &plain()], more)
}

fn run(place: &Place, out: &str, more: &[&str]) -> Said {
    place.call(&[&["run", "run.toml", "--out", out][..], more].concat())
}

#[test]
fn a_program_learns_and_the_records_say_which() {
    let place = Place::with_run(&plain_run("strategy = { id = \"badge\" }"));
    place.good(&["run", "run.toml", "--out", "r"]);
    let header = json(&place.at("r/header.json"));
    let learner = &header["learner"];
    assert_eq!((&learner["name"], &learner["version"]), (&json!("nearest-mean"), &json!("1")));
    assert_eq!((&learner["protocol"], &header["backend"]), (&json!(1), &json!("nearest-mean 1")));
    assert_eq!(learner["command"], json!([python(), plain()]));
    let digest = querist_core::digest::sha256(&fs::read(plain()).unwrap());
    assert_eq!(learner["files"], json!({ plain(): digest }));
    let records = records(&place.at("r"));
    let accuracy = |round: usize| records[round]["metrics"]["accuracy"].as_f64().unwrap();
    // 397 digits that nobody trained on; chance is a tenth.
    assert!(records.len() == 3 && accuracy(0) > 0.5 && accuracy(2) > 0.7, "{} {}", accuracy(0), accuracy(2));
    assert_eq!(records[0]["acquired"].as_array().unwrap().len(), 10);
    // The folder of arrays is gone, and there is no model that the learner did not hand over.
    let names = |folder: &str| {
        let entries = fs::read_dir(place.at(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let all = ["header.json", "initial.csv", "learner.log", "lock", "rounds", "rounds.jsonl", "run.toml", "split.json"];
    assert_eq!(names("r"), all);
    assert!(!names("r/rounds/0002").contains(&"model.safetensors".to_owned()));
    assert!(fs::read_to_string(place.at("r/run.toml")).unwrap().contains("model = \"none\""));
    let replay = |more: &[&str]| place.call(&[&["replay", "r"][..], more].concat());
    replay(&[]).fails(2, &["was trained by a program", "start it with `--start-learner`"]);
    assert_eq!(replay(&["--start-learner"]).code, Some(0));
    // It is read again as any run is, and done again it is the same.
    assert!(place.good(&["report", "r"]).contains("badge"));
    place.good(&["run", "r/run.toml", "--out", "again"]);
    assert_same(&lasting(&place.at("r")), &lasting(&place.at("again")));
}

#[test]
fn a_study_has_the_runs_that_stand_alone() {
    let text = plain_run("strategies = [{ id = \"random\" }, { id = \"margin\" }]\nseeds = [0, 1]");
    let place = Place::new();
    place.write("study.toml", text);
    place.good(&["study", "run", "study.toml", "--out", "s", "--jobs", "2"]);
    for cell in ["random", "margin"] {
        let file = place.file_of("s", &format!("{cell}-s1"), "toml").display().to_string();
        place.good(&["run", &file, "--out", cell]);
        assert_same(&lasting(&place.run_of("s", &format!("{cell}/seed-1"))), &lasting(&place.at(cell)));
    }
    // Options of the learner are an axis as any key is; this one knows none and takes no notice.
    let axes = "\n[axes]\n\"learner.options.lr\" = [0.1, 0.01]\n";
    let more = fs::read_to_string(place.at("study.toml")).unwrap() + axes;
    place.write("axes.toml", more);
    assert_eq!(place.planned(&["axes.toml"]).len(), 8);
}

/// What each way to go wrong is called, with the exit code and the request at which it happens.
const FAULTS: [(&str, &str, u32, &str); 19] = [
    ("die", "fit", 1, "training for round 1, ended (exit status: 3)"),
    ("killed", "fit", 1, "training for round 1, ended (signal: 9 (SIGKILL))"),
    ("die", "hello", 0, "asked what it can do, ended (exit status: 3)"),
    ("killed", "start", 0, "taking over the data, ended (signal: 9 (SIGKILL))"),
    ("hang", "fit", 1, "took longer than the 2 seconds of `learner.limits.fit`"),
    ("rubbish", "fit", 1, "it wrote `Epoch 1/10 \u{fffd}[31m` to standard output, which is no message"),
    ("long", "predict", 1, "it wrote a line of more than 1048576 bytes"),
    ("flood", "predict", 1, "it wrote more than 67108864 bytes without an answer"),
    ("error", "fit", 2, "training for round 2, said that it failed: the scheduler is missing"),
    ("other", "predict", 1, "expected an answer to"),
    ("figure", "fit", 1, "the figure `a b` of 1; expected finite numbers"),
    ("closed", "predict", 1, "closed its standard output"),
    ("missing", "predict", 1, "-logits.npy`, which it was asked for"),
    ("shape", "predict", 1, "shape [10, 397], expected [397, 10]"),
    ("short", "predict", 1, "shape [396, 10], expected [397, 10]"),
    ("kind", "predict", 1, "values of type `<c8`"),
    ("nan", "predict", 1, "NaN in row 1, expected numbers that are finite"),
    ("cut", "predict", 1, "bytes of values for shape [397, 10]"),
    ("huge", "predict", 1, "a shape that fits in memory"),
];

#[test]
fn each_fault_is_named_and_the_run_goes_on() {
    let whole = Place::with_run(&plain_run(MARGIN));
    whole.good(&["run", "run.toml", "--out", "r"]);
    let whole = lasting(&whole.at("r/rounds"));
    for (way, does, round, part) in FAULTS.into_iter().chain([
        ("infinite", "predict", 2, "-inf in row 0, expected numbers that are finite"),
        ("text", "predict", 0, "no NUMPY magic"),
        ("link", "predict", 1, "a link, expected a regular file"),
        ("pipe", "predict", 1, "a named pipe, expected a regular file"),
        ("version", "hello", 0, "it speaks version 2 of the protocol, expected 1"),
        ("nameless", "hello", 0, "its `hello`: missing field `name`"),
    ]) {
        let (round_text, faulty) = (round.to_string(), beside("faulty.py"));
        let (python, plain) = (python(), plain());
        let words = [&python, &faulty, &plain, way, does, &round_text];
        let place = Place::with_run(&(run_of(&words, MARGIN) + "limits = { fit = 2.0 }\n"));
        place.write("once", "");
        let said = run(&place, "r", &[]);
        said.fails(1, &[part, "the learner `", "code: learner-"]);
        assert!(!place.at("once").exists(), "{way}: it never happened");
        assert!(!place.at("r/learner").exists(), "{way}: the folder of arrays is left");
        if way == "die" {
            assert!(said.err.contains("\n  | RuntimeError: CUDA out of memory"), "{}", said.err);
        }
        let asked: i32 = fs::read_to_string(place.at("asked")).unwrap().parse().unwrap();
        assert!(!Path::new(&format!("/proc/{asked}")).exists(), "{way}: the learner lives on");
        if place.at("r").exists() {
            let done = records(&place.at("r")).len();
            assert_eq!(done, round as usize, "{way}: finished rounds are safe");
            let safe = if round == 1 { "one finished round is safe" } else { "finished" };
            assert!(said.err.contains(safe) && said.err.contains("--resume"), "{way}: {}", said.err);
        }
        place.good(&["run", "run.toml", "--out", "r", "--resume"]);
        assert_same(&lasting(&place.at("r/rounds")), &whole);
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_goes_on() {
    kill_and_resume_in(&Place::with_run(&plain_run(MARGIN)), 6);
}

fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let clock = Instant::now();
    while !ready() {
        assert!(clock.elapsed() < Duration::from_secs(120), "{what}: nothing happens");
        sleep(Duration::from_millis(5));
    }
}

/// A run whose learner hangs in its second training, and the number of the learner's process.
fn hanging(place: &Place) -> (Child, i32) {
    let mut command = place.command(&["run", "run.toml", "--out", "r"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the training", || fs::read_to_string(place.at("asked")).is_ok_and(|text| !text.is_empty()));
    let learner = fs::read_to_string(place.at("asked")).unwrap().parse().unwrap();
    (child, learner)
}

#[test]
fn a_learner_ends_with_the_run_however_that_ends() {
    let words = [&python(), &beside("faulty.py"), &plain(), "hang", "fit", "1"].map(|word| word.to_string());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let place = Place::with_run(&run_of(&words, MARGIN));
        place.write("once", "");
        let (child, learner) = hanging(&place);
        kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
        let said = place.said(&child.wait_with_output().unwrap());
        wait_until("the learner's end", || !Path::new(&format!("/proc/{learner}")).exists());
        if signal != Signal::KILL {
            said.fails(1, &["cancelled", "one finished round is safe"]);
        }
        place.good(&["run", "run.toml", "--out", "r", "--resume"]);
        assert_eq!(records(&place.at("r")).len(), 3);
    }
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_trained() {
    let own = plain_run(MARGIN);
    let with = |from: &str, to: &str| own.replace(from, to);
    for (text, part) in [
        (with(MARGIN, "strategy = { id = \"bald\" }"), "does not offer `mc_log_probs`; it offers logits, embeddings"),
        (with(MARGIN, "strategy = { id = \"learning-loss\" }"), "trains beside a model of this program"),
        (own.clone() + "[model]\nname = \"mlp\"\n", "model is for the models of this program, and `learner` is set"),
        (own.clone() + "[recipe]\nlr = 0.5\n", "recipe is for the models of this program"),
        (own.clone() + "[ensemble]\nadversarial = \"gan\"\n", "ensemble"),
        (own.clone() + "[keep]\nmodel = \"all\"\n", "keep.model is for the models of this program"),
        (with("initial = 20, per_class = true", "initial = 0"), "before anything is labelled (`untrained`)"),
        (own.clone() + "files = [\"net.py\"]\n", "learner.files: DIR/net.py: no such file"),
        (own.clone() + "limits = { fit = 0.0 }\n", "0.0 is less than"),
        (own.replace("command = [", "command = [\"/nowhere/python\", "), "cannot start /nowhere/python"),
    ] {
        let place = Place::with_run(&text);
        let said = run(&place, "r", &[]);
        let fails_at_work = ["/nowhere", "does not offer", "untrained"].iter().any(|word| part.contains(word));
        let code = if fails_at_work { 1 } else { 2 };
        let part = part.replace("DIR/", "");
        said.fails(code, &[&part]);
        assert!(!place.at("r").exists(), "{part}");
    }
    // Another file of the same name is another learner.
    let place = Place::new();
    let script = place.write("train.py", fs::read(plain()).unwrap());
    place.write("run.toml", run_of(&[&python(), "train.py"], MARGIN));
    place.good(&["run", "run.toml", "--out", "r", "--stop-after", "cycle0"]);
    fs::write(&script, fs::read_to_string(&script).unwrap() + "\n# a change\n").unwrap();
    run(&place, "r", &["--resume"]).fails(1, &["learner's file train.py is not the one that the run was started with"]);
    fs::write(&script, fs::read_to_string(plain()).unwrap().replace("\"version\": \"1\"", "\"version\": \"2\""))
        .unwrap();
    run(&place, "r", &["--resume"]).fails(1, &["the learner is not the one", "nearest-mean 1, now nearest-mean 2"]);
}

/// A table of ids in which two numbers stand that tell the class.
fn table(count: usize) -> String {
    let row = |at: usize| {
        let (class, split) = (at % 3, ["train", "train", "train", "train", "test", "validation"][at / 3 % 6]);
        let place = |axis: usize| ((at * 7919 + axis * 104_729) % 1000) as f64 / 500.0 + (class * axis) as f64;
        format!("sample-{at}/{}/{},{},{split}\n", place(1), place(2), ["cat", "dog", "owl"][class])
    };
    "id,label,split\n".to_owned() + &(0..count).map(row).collect::<String>()
}

#[test]
fn samples_may_be_known_by_their_ids_alone() {
    let place = Place::new();
    place.write("labels.csv", table(180));
    let ids = run_of(&[&python(), &beside("by_ids.py")], MARGIN)
        .replace("name = \"digits\", test = 397", "name = \"ids\", path = \"labels.csv\"")
        .replace("initial = 20, per_class = true", "initial = 9");
    place.write("run.toml", &ids);
    place.good(&["run", "run.toml", "--out", "r"]);
    let header = json(&place.at("r/header.json"));
    assert_eq!(header["dataset"]["classes"], json!(["cat", "dog", "owl"]));
    assert_eq!((&header["dataset"]["pool"], &header["dataset"]["test"]), (&json!(120), &json!(30)));
    let records = records(&place.at("r"));
    let last = &records[2];
    assert!(last["metrics"]["accuracy"].as_f64().unwrap() > 0.6, "{last}");
    // The validation set took part in training, and is counted.
    assert_eq!((&last["validation_labels"], &last["diagnostics"]["learner.labelled"]), (&json!(30), &json!(59.0)));
    let picks = fs::read_to_string(place.at("r/rounds/0000/picks.csv")).unwrap();
    assert!(picks.lines().nth(1).unwrap().contains(",sample-"), "{picks}");
    assert!(!place.at("r/rounds/0000/pictures.png").exists());
    // Numbers are drawn by a hash of the id: neighbours tell no class. By lines they do, where that is wished.
    let check = place.good(&["data", "check", "ids", "--path", "labels.csv"]);
    assert!(check.contains("no images: ids alone") && !check.contains("neighbouring"), "{check}");

    let refused = |text: &str, parts: &[&str]| {
        place.write("run.toml", text);
        run(&place, "other", &[]).fails(2, parts);
    };
    let at = ids.find("[learner]").unwrap();
    refused(&ids[..at], &["only a learner of your own can read what the ids"]);
    refused(&ids.replace("path =", "size = 32, path ="), &["`dataset.size` is for data that this program reads"]);
    refused(
        &run_of(&[&python(), &plain()], MARGIN)
            .replace("name = \"digits\", test = 397", "name = \"ids\", path = \"labels.csv\"")
            .replace("initial = 20, per_class = true", "initial = 9"),
        &["the learner `nearest-mean` reads images, and the dataset `ids` has none"],
    );
    for (line, part) in [
        (
            "sample-0/0/0,cat,train\nsample-0/0/0,dog,train",
            "the id `sample-0/0/0`, which labels.csv, line 182 has, too",
        ),
        (",cat,train", "the id ``; expected 1 to 1024 bytes that can be shown"),
        ("new,cat,elsewhere", "split `elsewhere`; expected train, validation or test"),
        ("new,fox,test", "no training sample of class 2 (`fox`)"),
    ] {
        let text = table(180).replace("sample-0/", "first/") + line + "\n";
        place.write("labels.csv", text);
        refused(&ids, &[part]);
    }
    place.write("labels.csv", "name,label\na,b\n");
    refused(&ids, &["columns `name`, `label`, and none is called `id`"]);
}

#[test]
fn the_page_shows_the_learner_that_is_tested() {
    let page = fs::read_to_string(workspace().join("docs/external-learners.md")).unwrap();
    let code = fs::read_to_string(plain()).unwrap();
    let body = code.split_once("\"\"\"\n").unwrap().1;
    assert!(page.contains(body), "docs/external-learners.md does not show examples/learners/plain.py as it is");
    let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 32, "{lines} lines");
}

/// What a learner is told, to the letter: the page's messages.
#[test]
fn messages_are_those_of_the_page() {
    let place = Place::new();
    // It writes down what it is told, and hands it on.
    let tee = "while read -r line; do printf '%s\\n' \"$line\" >> told; printf '%s\\n' \"$line\"; done | exec \"$@\"";
    let words = ["/bin/sh", "-c", tee, "sh", &python(), &plain()];
    place.write("run.toml", run_of(&words, MARGIN) + "options = { lr = 0.1 }\n");
    place.good(&["run", "run.toml", "--out", "r", "--stop-after", "cycle0"]);
    let told = fs::read_to_string(place.at("told")).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let does: Vec<&str> = told.iter().map(|request| request["do"].as_str().unwrap()).collect();
    assert_eq!(does, ["hello", "start", "fit", "predict", "predict", "end"]);
    assert_eq!(told[0]["options"], json!({ "lr": 0.1 }));
    assert_eq!(told[1]["samples"], json!(1797));
    assert_eq!(told[2]["samples"], json!("3-fit-samples.npy"));
    assert!(told[2]["seed"].as_u64().unwrap() < 1 << 32);
    let array = json!({ "name": "logits", "args": {}, "file": "4-0-logits.npy", "shape": [397, 10] });
    assert_eq!(told[3]["arrays"], json!([array]));
    let page = fs::read_to_string(workspace().join("docs/external-learners.md")).unwrap();
    for request in &told {
        for key in request.as_object().unwrap().keys() {
            assert!(page.contains(&format!("`{key}`")) || page.contains(&format!("\"{key}\"")), "`{key}` of {request}");
        }
    }
}

#[test]
fn a_learner_is_tried_before_a_study_hangs_on_it() {
    let place = Place::with_run(&plain_run(MARGIN));
    let rows = |place: &Place, code: i32| -> Vec<(String, String, String)> {
        let said = place.call(&["learner", "check", "run.toml", "--format", "json"]);
        assert_eq!(said.code, Some(code), "{}", said.err);
        let rows: Vec<Value> = serde_json::from_str(&said.out).unwrap();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        rows.iter().map(|row| (text(row, "rule"), text(row, "outcome"), text(row, "says"))).collect()
    };
    let good = rows(&place, 0);
    let rules: Vec<&str> = good.iter().map(|(rule, ..)| rule.as_str()).collect();
    assert_eq!(rules, ["hello", "fit", "array", "array", "order", "again"]);
    assert!(good.iter().all(|(_, outcome, _)| outcome == "holds"), "{good:?}");
    assert!(good[2].2.starts_with("`logits` is f32 [24, 10], finite"), "{good:?}");
    // One that puts rows in an order of its own, one that draws without its seed, and one that dies.
    let plain = fs::read_to_string(plain()).unwrap();
    let sorted = plain.replace(
        "in load(request[\"samples\"], \"q\")]\n        logits",
        "in sorted(load(request[\"samples\"], \"q\"))]\n        logits",
    );
    let drawn = plain.replace("-sum(", "os.urandom(1)[0] - sum(");
    let dies = plain
        .replace("elif request[\"do\"] == \"predict\":", "elif request[\"do\"] == \"predict\":\n        sys.exit(9)");
    for (text, rule, outcome, says, code) in [
        (sorted, "order", "broken", "in another order", 1),
        (drawn, "again", "note", "another process gives another `logits`", 1),
        (dies, "answers", "broken", "computing `logits` in round 0, ended (exit status: 9)", 1),
    ] {
        assert_ne!(text, plain);
        place.write("train.py", text);
        place.write("run.toml", run_of(&[&python(), "train.py"], MARGIN));
        let found = rows(&place, code);
        let one = found.iter().find(|(name, ..)| name == rule).unwrap_or_else(|| panic!("{found:?}"));
        assert!(one.1 == outcome && one.2.contains(says), "{one:?}");
    }
    place.write(
        "run.toml",
        "version = 1\ndataset = { name = \"digits\", test = 397 }\nstrategy = { id = \"random\" }\n\
                             budget = { initial = 10, batch = 5, rounds = 1 }\n",
    );
    place.call(&["learner", "check", "run.toml"]).fails(2, &["run.toml names no `learner`"]);
}
