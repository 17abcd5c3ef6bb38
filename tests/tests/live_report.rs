//! `querist report --live`: what is served to whom, and what becomes of the page while folders change.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_tests::cli::{Place, RUN};
use querist_tests::serving::Serving;
use serde_json::Value;

/// A finished run in `runs/margin`, and one that has two rounds of four in `runs/badge`.
fn runs() -> Place {
    let place = Place::with_run(RUN);
    place.good(&["run", "run.toml", "--out", "runs/margin", "--set", "strategy.id=margin"]);
    place.good(&["run", "run.toml", "--out", "runs/badge"]);
    for round in ["0002", "0003"] {
        fs::remove_dir_all(place.at("runs/badge/rounds").join(round)).unwrap();
    }
    place
}

const LIVE: [&str; 3] = ["report", "runs", "--live"];

#[test]
fn only_whoever_has_the_address_is_served() {
    let place = runs();
    let serving = Serving::start(&place, &LIVE);
    let (host, path) = (serving.host().to_owned(), serving.path().to_owned());
    assert!(host.starts_with("127.0.0.1:") && path.len() == 34, "{}", serving.address);
    let ask = |first: &str, headers: &str| serving.send(&format!("{first} HTTP/1.0\r\n{headers}\r\n\r\n"));
    let page = format!("GET {path}");
    let (status, head, body) = ask(&page, &format!("Host: {host}"));
    assert!(status == 200 && body.contains("<h1>Active-learning report</h1>"), "{head}\n{body}");
    for header in ["cache-control: no-store", "x-frame-options: deny", "content-type: text/html; charset=utf-8"] {
        assert!(head.to_lowercase().contains(header), "{header}: {head}");
    }
    let by_name = host.replace("127.0.0.1", "localhost");
    assert_eq!(ask(&page, &format!("Host: {by_name}\r\nOrigin: http://{by_name}")).0, 200);

    // A name that leads here by somebody else's choice, and a page of somebody else.
    for headers in [
        "Host: example.org".to_owned(),
        format!("Host: {host}\r\nHost: example.org"),
        "Accept: */*".to_owned(),
        format!("Host: {host}\r\nOrigin: http://example.org"),
        format!("Host: {host}\r\nOrigin: null"),
    ] {
        let (status, _, body) = ask(&page, &headers);
        assert!(status == 403 && !body.contains("<h1>"), "{headers}: {status} {body}");
    }
    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"] {
        let (status, ..) = ask(&format!("{method} {path}"), &format!("Host: {host}"));
        assert_eq!(status, 405, "{method}");
    }
    let other = path.replace(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], "a");
    for wrong in ["/", "/state", &other, path.trim_end_matches('/'), &format!("{path}../"), &format!("{path}runs")] {
        let (status, _, body) = ask(&format!("GET {wrong}"), &format!("Host: {host}"));
        assert!(status == 404 && !body.contains("<h1>"), "{wrong}: {status}");
    }
    // Nonsense and whoever says nothing keep nobody else waiting.
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(&host).unwrap()).collect();
    for mut stream in (0..5).map(|_| TcpStream::connect(&host).unwrap()) {
        stream.write_all(b"\x16\x03\x01 GET\r\n\r\n").unwrap();
    }
    assert_eq!(serving.get("").0, 200);
    let said = serving.interrupt(&place);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("open this address in a browser"), "{}", said.err);
    drop(silent);
}

#[test]
fn a_port_that_is_taken_is_said() {
    let place = runs();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = place.call(&[&LIVE[..], &["--port", &port]].concat());
    said.fails(1, &[&format!("cannot listen on port {port} of this machine"), "hint: choose another one"]);
    drop(taken);
    let serving = Serving::start(&place, &[&LIVE[..], &["--port", &port]].concat());
    assert_eq!(serving.host(), format!("127.0.0.1:{port}"));
    place.call(&["report", "nowhere", "--live"]).fails(1, &["cannot read nowhere"]);
    place.call(&[&LIVE[..], &["--html", "page.html"]].concat()).fails(2, &["cannot be used with"]);
    place.call(&["report", "runs", "--port", &port]).fails(2, &["--live"]);
}

#[test]
fn the_page_follows_what_becomes_of_the_folders() {
    let place = runs();
    let serving = Serving::start(&place, &LIVE);
    let first = serving.state();
    assert_eq!(first["trouble"], Value::Null);
    let page = serving.get("").1;
    assert!(page.contains("1 done, 1 not finished") && page.contains("1 run is under way"), "{page}");

    // A line that is half written is none; rounds are what counts.
    let lines = place.at("runs/badge/rounds.jsonl");
    let text = fs::read_to_string(&lines).unwrap();
    OpenOptions::new().append(true).open(&lines).unwrap().write_all(&text.as_bytes()[..40]).unwrap();
    sleep(Duration::from_millis(1500));
    assert_eq!(serving.state(), first);

    // The run goes on.
    place.good(&["run", "run.toml", "--out", "runs/badge", "--resume"]);
    let page = serving.wait_for("both runs are done", |page| page.contains("2 done"));
    assert!(!page.contains("under way"));
    assert_ne!(serving.state()["digest"], first["digest"]);

    // A run that appears.
    place.good(&["run", "run.toml", "--out", "runs/random", "--set", "strategy.id=random"]);
    serving.wait_for("a third run", |page| page.contains("3 done") && page.contains("Against random"));

    // A run that is broken is named and left out, and the others stay.
    let record = place.at("runs/margin/rounds/0001/record.json");
    let whole = fs::read(&record).unwrap();
    fs::write(&record, b"{").unwrap();
    fs::create_dir(place.at("runs/margin/rounds/touched")).unwrap();
    let page = serving.wait_for("a broken run", |page| page.contains("left out: "));
    assert!(page.contains("runs/margin/rounds/0001/record.json was changed") && page.contains("2 done"), "{page}");
    // Mended, it comes back though nothing else changes.
    fs::write(&record, whole).unwrap();
    serving.wait_for("a mended run", |page| page.contains("3 done") && !page.contains("left out: "));

    // All vanish: the page stays, and says so.
    let page = serving.get("").1;
    fs::rename(place.at("runs"), place.at("elsewhere")).unwrap();
    let clock = Instant::now();
    let trouble = loop {
        if let Some(trouble) = serving.state()["trouble"].as_str() {
            break trouble.to_owned();
        }
        assert!(clock.elapsed() < Duration::from_secs(60), "nobody says that the folder is gone");
        sleep(Duration::from_millis(50));
    };
    assert!(trouble.starts_with("cannot read runs"), "{trouble}");
    assert_eq!(serving.get("").1, page);
    fs::rename(place.at("elsewhere"), place.at("runs")).unwrap();
    let clock = Instant::now();
    while !serving.state()["trouble"].is_null() {
        assert!(clock.elapsed() < Duration::from_secs(60), "nobody says that the folder is back");
        sleep(Duration::from_millis(50));
    }
    let said = serving.interrupt(&place);
    assert_eq!(said.code, Some(0), "{}", said.err);
}

const STUDY: &str = r#"version = 1
seeds = [0]
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 3000, minibatch = 32 }
budget = { initial = 20, batch = 10, rounds = 3 }
compute = { threads = 1 }
strategies = [{ id = "random" }, { id = "margin" }]
"#;

fn has_run(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

#[test]
fn a_study_is_followed_from_its_start_to_its_end() {
    let place = Place::new();
    place.write("study.toml", STUDY);
    // The folder is there before the study.
    fs::create_dir(place.at("s")).unwrap();
    let serving = Serving::start(&place, &["report", "s", "--live"]);
    assert!(serving.get("").1.contains("No run has begun yet."));
    let args = ["study", "run", "study.toml", "--out", "s"];
    let mut study = place.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let page = serving.wait_for("the study runs", |page| page.contains(" running"));
    assert!(page.contains(" · made "), "{page}");
    assert!(study.wait().unwrap().success());
    assert!(has_run(&place.at("s/random")) && has_run(&place.at("s/margin")));
    let page = serving.wait_for("the study is done", |page| page.contains("2 done") && page.contains("Against random"));
    assert!(!page.contains(" running") && page.contains("<progress"), "{page}");
}
