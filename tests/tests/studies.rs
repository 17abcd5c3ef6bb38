//! Studies, their reports, and the verbs around them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::LazyLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_tests::BUILT_IN;
use querist_tests::cli::{Place, assert_same, json, lasting, records, study};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

static STUDY: LazyLock<String> = LazyLock::new(|| {
    let strategies =
        "\n  { id = \"random\" },\n  { id = \"badge\", label = \"badge.u\", params = { first = \"uniform\" } },\n";
    study("0, 1", strategies, "").replace("epochs = 4", "epochs = 8").replace("rounds = 3", "rounds = 2")
});

const RUNS: [&str; 4] = ["random/seed-0", "random/seed-1", "badge.u/seed-0", "badge.u/seed-1"];

fn runs(place: &Place, folder: &str) -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
    RUNS.iter().map(|run| ((*run).to_owned(), lasting(&place.run_of(folder, run)))).collect()
}

#[test]
fn a_study_is_done_once_and_jobs_change_nothing() {
    let place = Place::new();
    place.write("study.toml", &*STUDY);
    let said = place.call(&["study", "run", "study.toml", "--out", "one", "--format", "json"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("study one: 4 runs, 0 of them finished already"), "{}", said.err);
    serde_json::from_str::<Value>(&said.out).unwrap();
    let one = runs(&place, "one");
    let header = json(&place.run_of("one", "badge.u/seed-1").join("header.json"));
    assert_eq!(header["params"]["first"], json!("uniform"));
    // All strategies of a seed start alike, other seeds do not.
    let start = |run: &str| one[run]["initial.csv"].clone();
    assert_eq!(start("random/seed-0"), start("badge.u/seed-0"));
    assert_ne!(start("random/seed-0"), start("random/seed-1"));

    let again = place.call(&["study", "run", "study.toml", "--out", "one"]);
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert_eq!(again.err, "study one: 4 runs, 4 of them finished already\n");
    assert_eq!(runs(&place, "one"), one);

    place.good(&["study", "run", "study.toml", "--out", "two", "--jobs", "2"]);
    for (run, files) in runs(&place, "two") {
        assert_same(&one[&run], &files);
    }
    // A run by itself is the run of the study.
    let file = place.file_of("one", "badge.u-s1", "toml").display().to_string();
    place.good(&["run", &file, "--out", "alone"]);
    assert_same(&one["badge.u/seed-1"], &lasting(&place.at("alone")));

    // Another config has runs of its own beside them.
    let other = place.call(&["study", "run", "study.toml", "--out", "one", "--set", "recipe.epochs=9"]);
    assert!(other.code == Some(0) && other.err.contains("4 runs, 0 of them finished already"), "{}", other.err);
    assert_eq!(fs::read_dir(place.at("one/random")).unwrap().count(), 4);
    let note = "note: 4 runs in one are not in the study's file and are left out here";
    assert!(other.err.contains(note), "{}", other.err);
    let again = place.call(&["study", "run", "study.toml", "--out", "one"]);
    assert!(again.err.starts_with("study one: 4 runs, 4 of them finished already\n"), "{}", again.err);
}

/// The process that does the run of `file`.
fn child_of(file: &str) -> Option<i32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).find(
        |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|&b| b == 0).any(|argument| argument == file.as_bytes())
        },
    )
}

#[test]
fn a_study_goes_on_after_one_of_its_runs_was_killed() {
    let place = Place::new();
    let slow = STUDY.replace("epochs = 8", "epochs = 400");
    place.write("study.toml", &slow);
    let out = place.at("study").display().to_string();
    let args = ["study", "run", "study.toml", "--out", &out];
    let process = place.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let clock = Instant::now();
    let child = loop {
        let file = place.planned(&["study.toml"]).remove(1).replace("badge.u/seed-0", "cells/badge.u-s0");
        if let Some(child) = child_of(&format!("{out}/{file}.toml")) {
            break child;
        }
        assert!(clock.elapsed() < Duration::from_secs(60), "the run was never started");
        sleep(Duration::from_millis(1));
    };
    let folder = place.planned(&["study.toml"]).remove(1);
    while !place.at("study").join(&folder).join("rounds/0000").is_dir() {
        assert!(clock.elapsed() < Duration::from_secs(60), "the run does nothing");
        sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_raw(child).unwrap(), Signal::KILL).unwrap();
    let said = place.said(&process.wait_with_output().unwrap());
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("1 of 4 runs did not finish: badge.u/seed-0\nhint: "), "{}", said.err);
    assert!(records(&place.run_of("study", "badge.u/seed-0")).len() < 3);
    assert!(said.out.is_empty() || said.out.contains("badge.u"));

    let again = place.call(&args);
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert!(again.err.contains("4 runs, 3 of them finished already"), "{}", again.err);
    let file = place.file_of("study", "badge.u-s0", "toml").display().to_string();
    place.good(&["run", &file, "--out", "alone"]);
    assert_same(&lasting(&place.at("alone")), &lasting(&place.run_of("study", "badge.u/seed-0")));
}

/// Pictures of two classes, told apart by where they are bright.
fn class_folders(place: &Place, names: [&str; 2]) {
    for (class, name) in names.iter().enumerate() {
        let folder = place.at("pictures").join(name);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..40 {
            let picture = image::GrayImage::from_fn(8, 8, |x, y| {
                let bright = (y / 4) as usize == class;
                image::Luma([if bright { 200 } else { 20 } + ((i * 7 + x * 5 + y * 3) % 50) as u8])
            });
            picture.save(folder.join(format!("{i:02}.png"))).unwrap();
        }
    }
}

#[test]
fn the_page_loads_nothing_and_lets_no_name_in_as_markup() {
    let place = Place::new();
    class_folders(&place, ["<b>x", "\" onload=\"alert(1)"]);
    place.write("run.toml", PICTURES);
    place.good(&["run", "run.toml", "--out", "runs/r"]);
    place.good(&["report", "runs", "--html", "page.html"]);
    let page = fs::read_to_string(place.at("page.html")).unwrap();
    assert!(page.contains("&lt;b&gt;x"), "the class is not shown");
    assert!(!page.contains("<b>x") && !page.contains("\" onload=\""), "a class became markup");
    let lower = page.to_lowercase();
    for loads in
        ["src=\"http", "href=\"http", "src='http", "src=\"//", "@import", "url(http", "<link", "<iframe", "fetch("]
    {
        assert!(!lower.contains(loads), "the page has `{loads}`");
    }
    assert!(lower.contains("data:image/png;base64,"), "the queried pictures are missing");
    assert!(page.contains("<svg"), "the curve is missing");
}

const PICTURES: &str = r#"version = 1
dataset = { name = "folder", path = "pictures", test = 20 }
model = { name = "mlp" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 4 }
budget = { initial = 4, per_class = true, batch = 5, rounds = 2 }
strategy = { id = "margin" }
compute = { threads = 1 }
"#;

#[test]
fn an_unfinished_run_is_reported_as_such() {
    let place = Place::new();
    place.write("study.toml", &*STUDY);
    place.good(&["study", "run", "study.toml", "--out", "s"]);
    fs::remove_dir_all(place.run_of("s", "badge.u/seed-1").join("rounds/0002")).unwrap();
    let said = place.call(&["report", "s"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let text = said.out + &said.err;
    assert!(text.contains("badge.u") && text.contains("2 of 3"), "{text}");
}

#[test]
fn datasets_are_listed_and_checked() {
    let place = Place::new();
    let list = place.good(&["data", "list"]);
    for name in ["digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "folder"] {
        assert!(list.lines().any(|line| line.starts_with(&format!("{name} "))), "{name} is missing in\n{list}");
    }
    assert!(list.contains("missing; `querist data fetch mnist`"), "{list}");
    let rows: Vec<Value> = serde_json::from_str(&place.good(&["data", "list", "--format", "json"])).unwrap();
    let digits = rows.iter().find(|row| row["name"] == "digits").unwrap();
    assert_eq!((&digits["train"], &digits["classes"], &digits["present"]), (&json!(1797), &json!(10), &json!(true)));
    let checked = place.good(&["data", "check", "digits"]);
    assert!(checked.starts_with("digits  readable, digest "), "{checked}");
    // Every sample by its id: what rows of fixed embeddings are of.
    let listed = place.good(&["data", "files", "digits"]);
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!((listed.len(), listed[0]), (1798, "id,file"));
    let published: BTreeSet<&str> = listed[1..].iter().map(|line| line.split_once(',').unwrap().1).collect();
    assert!((0..1797).all(|row| published.contains(format!("digits#{row}").as_str())));
    let sized: Value =
        serde_json::from_str(&place.good(&["data", "files", "digits", "--size", "16", "--format", "json"])).unwrap();
    let row = &sized.as_array().unwrap()[7];
    assert_eq!(format!("{},{}", row["id"], row["file"].as_str().unwrap()), listed[8]);
    let said = place.call(&["data", "check", "mnist"]);
    assert_eq!(said.code, Some(2));
    assert!(said.out.contains("missing") && said.err.contains("querist data fetch mnist"), "{}{}", said.out, said.err);
}

/// A server on this machine that gives every request the same answer; returns its address.
fn server(status: &'static str, body: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = BufReader::new(stream.try_clone().unwrap());
            // The request ends with an empty line.
            request.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    address
}

#[test]
fn downloads_that_are_not_the_published_files_are_refused() {
    let place = Place::new();
    for (status, body, said) in [
        ("200 OK", &b"not the published file"[..], "22"),
        ("404 Not Found", b"", "404"),
        ("500 Internal Server Error", b"", "500"),
    ] {
        let mirror = server(status, body);
        let answer = place.call(&["data", "fetch", "mnist", "--mirror", &mirror]);
        answer.fails(1, &["train-images-idx3-ubyte.gz", "could not be downloaded", &mirror, said]);
        assert!(!place.at("data/mnist/train-images-idx3-ubyte.gz").exists(), "a wrong file was kept");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirror = format!("http://{closed}");
    place.call(&["data", "fetch", "mnist", "--mirror", &mirror]).fails(1, &["could not be downloaded", "refused"]);
}

#[test]
fn schemas_describe_every_key() {
    let place = Place::new();
    for args in [&["schema", "run"][..], &["schema", "study"], &["schema", "strategy", "badge"]] {
        let schema: Value = serde_json::from_str(&place.good(args)).unwrap();
        assert_eq!(schema["additionalProperties"], json!(false), "{args:?}");
        let properties = schema["properties"].as_object().unwrap();
        assert!(!properties.is_empty());
        for (name, property) in properties {
            assert!(property["description"].is_string(), "{args:?}: `{name}` is not described");
        }
    }
    let badge: Value = serde_json::from_str(&place.good(&["schema", "strategy", "badge"])).unwrap();
    assert_eq!(badge["properties"]["include_bias"]["default"], json!(false));
}

#[test]
fn the_doctor_finds_this_place() {
    let place = Place::new();
    let text = place.good(&["doctor"]).replace(&place.path().display().to_string(), "DIR");
    assert!(text.contains("datasets     DIR/data\n"), "{text}");
    let packages = BUILT_IN.usable().count();
    let strategies: usize = BUILT_IN.usable().map(|(_, package)| package.description.strategies.len()).sum();
    assert!(text.contains(&format!("plugins      {strategies} strategies in {packages} packages\n")), "{text}");
    assert!(text.contains("libtorch     2.") && !text.contains("PROBLEM"), "{text}");
}

#[test]
fn help_fits_a_screen_and_shows_an_example() {
    let place = Place::new();
    let leaves: [&[&str]; 11] = [
        &["run"],
        &["study", "run"],
        &["report"],
        &["select"],
        &["plugin", "list"],
        &["plugin", "show"],
        &["plugin", "pack"],
        &["schema"],
        &["data", "list"],
        &["data", "check"],
        &["data", "fetch"],
    ];
    for verb in leaves {
        for help in ["-h", "--help"] {
            let text = place.good(&[verb, &[help]].concat());
            let lines = text.lines().count();
            assert!(lines <= 40, "{verb:?} {help} has {lines} lines:\n{text}");
            let line = text.lines().find(|line| line.contains("querist ") && line.starts_with("  "));
            let has_example = text.contains("Example:\n") || text.contains("Examples:\n");
            assert!(has_example && line.is_some(), "{verb:?} {help} shows no example:\n{text}");
            let wide = text.lines().find(|line| line.chars().count() > 100);
            assert!(wide.is_none(), "{verb:?} {help}: {wide:?}");
        }
    }
    let all = place.good(&["--help"]);
    for verb in ["run", "study", "report", "select", "plugin", "schema", "data", "doctor"] {
        assert!(
            all.lines().any(|line| line.trim_start().starts_with(&format!("{verb} "))),
            "{verb} is not listed:\n{all}"
        );
    }
    assert!(!all.contains("compile-component"), "a hidden verb is listed");
}

/// What would end every run is found before the first, at its place, and nothing is made.
#[test]
fn faults_of_the_grid_are_found_before_the_first_run() {
    let place = Place::new();
    place.write("study.toml", &*STUDY);
    let refused = |sets: &[&str], words: &[&str]| {
        let args: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let said = place.call(&[&["study", "run", "study.toml", "--out", "s"], &args[..]].concat());
        said.fails(2, words);
        assert!(!place.at("s").exists(), "{sets:?}");
        for word in words {
            assert_eq!(said.err.matches(word).count(), 1, "`{word}` is said once: {}", said.err);
        }
    };
    refused(&["dataset={name=\"mnist\", path=\"nowhere\"}"], &["dataset.path: ", "found no files in `nowhere`"]);
    refused(&["dataset={name=\"folder\", path=\"nowhere\", size=8}"], &["dataset.path: ", "nowhere"]);
    refused(&["dataset.name=mnits"], &["dataset.name: ", "did you mean `mnist`?"]);
    refused(&["budget.rounds=500"], &["add up to 5020, but the pool holds 1400 samples"]);
    refused(&["dataset.test=1797"], &["holding out 1797 of 1797 samples leaves nothing for the pool"]);
    refused(&["dataset.validation=18446744073709551615"], &["leaves nothing for the pool"]);
    refused(&["fixed_embeddings={file=\"gone.npy\"}"], &["fixed_embeddings.file: ", "there is no such file"]);
    refused(&["dataset.name=mnits", "seeds=[1, 1]"], &["2 problems", "seed 1 stands here twice", "dataset.name: "]);
    for jobs in ["0", "many", "100000"] {
        place.call(&["study", "run", "study.toml", "--jobs", jobs]).fails(2, &["--jobs"]);
    }
}

#[test]
fn whatever_fails_is_listed_below_the_summary_and_other_runs_are_said_apart() {
    let place = Place::new();
    place.write("study.toml", &*STUDY);
    place.good(&["study", "run", "study.toml", "--out", "s", "--set", "seeds=[7]"]);
    // One run of the new study cannot be made.
    let folder = place.planned(&["study.toml"]).remove(0);
    place.write(&format!("s/{folder}/mine.txt"), "mine");
    let said = place.call(&["study", "run", "study.toml", "--out", "s"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("badge.u"), "{}", said.out);
    let note = "note: 2 runs in s are not in the study's file and are left out here, such as s/badge.u/seed-7";
    for part in ["1 of 4 runs did not finish: random/seed-0", "hint: the logs in s/cells say why", note] {
        assert!(said.err.contains(part), "`{part}` is missing in {}", said.err);
    }
    // Where every run fails there is no summary, but the list.
    let place = Place::new();
    place.write("study.toml", &*STUDY);
    for run in place.planned(&["study.toml"]) {
        place.write(&format!("s/{run}/mine.txt"), "mine");
    }
    let said = place.call(&["study", "run", "study.toml", "--out", "s"]);
    said.fails(1, &["4 of 4 runs did not finish: random/seed-0, badge.u/seed-0, random/seed-1, badge.u/seed-1"]);
}

#[test]
fn a_folder_that_is_named_twice_counts_once() {
    let place = Place::new();
    place.write("study.toml", &*STUDY);
    place.good(&["study", "run", "study.toml", "--out", "s", "--set", "seeds=[7]"]);
    let once = place.good(&["report", "s"]);
    std::os::unix::fs::symlink("s", place.at("t")).unwrap();
    for twice in [["s", "./s"], ["s", "s/random"], ["s/", "s"], ["s", "t/"]] {
        assert_eq!(place.good(&["report", twice[0], twice[1]]), once, "{twice:?}");
    }
}

/// The environment of the process that trains: how libtorch's threads wait for each other.
#[test]
fn threads_wait_without_spinning_unless_the_user_says_otherwise() {
    let place = Place::with_run(querist_tests::cli::RUN);
    for (name, value) in [("", ""), ("OMP_WAIT_POLICY", "active"), ("GOMP_SPINCOUNT", "5")] {
        let mut command = place.command(&["run", "run.toml", "--out", "r", "--set", "recipe.epochs=2000"]);
        command.env_remove("OMP_WAIT_POLICY").stdout(Stdio::null()).stderr(Stdio::null());
        if !name.is_empty() {
            command.env(name, value);
        }
        let mut child = command.spawn().unwrap();
        let clock = Instant::now();
        // While a process turns into another it has no environment yet.
        let trains =
            || fs::read_link(format!("/proc/{}/exe", child.id())).is_ok_and(|exe| exe.ends_with("querist-train"));
        let environment = loop {
            let is_ready = trains();
            let environment = fs::read(format!("/proc/{}/environ", child.id())).unwrap_or_default();
            if is_ready && !environment.is_empty() {
                break environment;
            }
            assert!(clock.elapsed() < Duration::from_secs(60), "nothing trains");
            sleep(Duration::from_millis(2));
        };
        let environment = String::from_utf8(environment).unwrap();
        let is_said = |pair: &&str| pair.starts_with("OMP_WAIT") || pair.starts_with("GOMP_");
        let waiting: Vec<&str> = environment.split('\0').filter(is_said).collect();
        match name {
            "" => assert!(waiting == ["OMP_WAIT_POLICY=passive"] || waiting == ["GOMP_SPINCOUNT=3000"], "{waiting:?}"),
            name => assert_eq!(waiting, [format!("{name}={value}")]),
        }
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_dir_all(place.at("r")).unwrap_or_default();
    }
}

#[test]
fn more_threads_than_cores_are_a_warning_and_none_are_shared_out() {
    let place = Place::new();
    place.write("study.toml", STUDY.replace("compute = { threads = 1 }\n", ""));
    let cores = std::thread::available_parallelism().unwrap().get();
    let said = place.call(&["study", "run", "study.toml", "--out", "s", "--jobs", &cores.to_string()]);
    assert!(said.code == Some(0) && !said.err.contains("warning"), "{}", said.err);
    for run in RUNS {
        assert_eq!(json(&place.run_of("s", run).join("header.json"))["threads"], json!(1), "{run}");
    }
    // A run that is gone on with keeps the threads that it began with.
    let again = place.call(&["study", "run", "study.toml", "--out", "s"]);
    assert!(again.code == Some(0) && again.err.contains("4 of them finished already"), "{}", again.err);
    let many = format!("compute.threads={}", 2 * cores);
    let said = place.call(&["study", "run", "study.toml", "--out", "t", "--set", &many, "--set", "seeds=[0]"]);
    assert!(
        said.code == Some(0) && said.err.contains(&format!("warning: {} threads on {cores} core", 2 * cores)),
        "{}",
        said.err
    );
}
