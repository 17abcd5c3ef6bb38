//! Runs in TensorBoard and MLflow, read by these programs themselves where they are installed.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_tests::cli::{Place, RUN, json, records};
use serde_json::{Value, json};

/// A Python that has a package: that of `QUERIST_TEST_PYTHON`, of an active environment, or the system's.
fn python_with(package: &str) -> Option<PathBuf> {
    let named = std::env::var_os("QUERIST_TEST_PYTHON").map(PathBuf::from);
    let active = std::env::var_os("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/python"));
    let has = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", &format!("import {package}")]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let found = named.into_iter().chain(active).chain([PathBuf::from("python3")]).find(has);
    if found.is_none() {
        eprintln!("skipped: no Python with `{package}`; QUERIST_TEST_PYTHON may name one");
    }
    found
}

fn script(python: &Path, name: &str, args: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("trackers").join(name);
    let output = Command::new(python).arg(script).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{name}: {error}: {said}"))
}

fn events(place: &Place, run: &str) -> PathBuf {
    let folder = place.at(run).join("tensorboard");
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

/// Whether the records of an event file, by their lengths, end where the file ends; and how many there are.
fn frames(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?) as usize;
        at += 8 + 4 + length + 4;
        count += 1;
    }
    (at == bytes.len()).then_some(count)
}

#[test]
fn an_event_file_follows_the_run_and_changes_nothing_of_it() {
    let place = Place::with_run(RUN);
    place.good(&["run", "run.toml", "--out", "plain"]);
    place.good(&["run", "run.toml", "--out", "r", "--track", "tensorboard"]);
    for file in ["run.toml", "header.json", "split.json", "initial.csv"] {
        assert_eq!(fs::read(place.at("r").join(file)).unwrap(), fs::read(place.at("plain").join(file)).unwrap());
    }
    assert!(!place.at("plain/tensorboard").exists(), "nobody asked for it");
    let whole = fs::read(events(&place, "r")).unwrap();
    let count = frames(&whole).expect("whole records");
    // A run that was stopped, with half a record at the end of the file, is written anew.
    place.good(&["run", "run.toml", "--out", "q", "--track", "tensorboard", "--stop-after", "cycle0"]);
    let file = events(&place, "q");
    let half = fs::read(&file).unwrap();
    fs::write(&file, &half[..half.len() - 3]).unwrap();
    place.good(&["run", "run.toml", "--out", "q", "--track", "tensorboard", "--resume"]);
    assert_eq!(frames(&fs::read(&file).unwrap()), Some(count));
    // A study hands it on to its runs.
    let study = fs::read_to_string(place.at("run.toml")).unwrap();
    let lines: String =
        study.lines().filter(|line| !line.starts_with("strategy")).map(|line| format!("{line}\n")).collect();
    place.write("study.toml", format!("{lines}\nseeds = [0]\nstrategies = [{{ id = \"random\" }}]\n"));
    place.good(&["study", "run", "study.toml", "--out", "s", "--track", "tensorboard"]);
    assert!(place.run_of("s", "random/seed-0").join("tensorboard").is_dir());
    // A link in its place is not followed.
    let elsewhere = place.at("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    place.good(&["run", "run.toml", "--out", "l", "--stop-after", "cycle0"]);
    std::os::unix::fs::symlink(&elsewhere, place.at("l/tensorboard")).unwrap();
    let said = place.call(&["run", "run.toml", "--out", "l", "--track", "tensorboard", "--resume"]);
    said.fails(1, &["l/tensorboard is a link or no folder"]);
    assert_eq!(fs::read_dir(elsewhere).unwrap().count(), 0);
}

#[test]
fn tensorboard_reads_every_figure() {
    let Some(python) = python_with("tensorboard") else { return };
    let place = Place::with_run(RUN);
    place.good(&["run", "run.toml", "--out", "r", "--track", "tensorboard"]);
    let found = script(&python, "events.py", &[events(&place, "r").to_str().unwrap()]);
    let rounds = records(&place.at("r"));
    for (tag, of) in [("test/accuracy", "/metrics/accuracy"), ("test/loss", "/metrics/loss")] {
        let points = found[tag].as_array().unwrap_or_else(|| panic!("{tag} is missing in {found}"));
        assert_eq!(points.len(), rounds.len());
        for (point, record) in points.iter().zip(&rounds) {
            assert_eq!(point[0], record["labelled"]);
            let (value, wanted) = (point[1].as_f64().unwrap(), record.pointer(of).unwrap().as_f64().unwrap());
            assert!((value - wanted).abs() < 1e-6 * wanted.abs().max(1.0), "{tag}: {value} {wanted}");
        }
    }
    let epochs = found["epochs/loss"].as_array().unwrap();
    let steps: Vec<u64> = epochs.iter().map(|point| point[0].as_u64().unwrap()).collect();
    assert!(steps.len() >= rounds.len() && steps.iter().copied().eq(0..steps.len() as u64), "{steps:?}");
}

/// An MLflow tracking server that goes with its test.
struct Server(Child);

impl Server {
    fn start(python: &Path, place: &Place) -> (Self, String) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(python);
        let store = format!("sqlite:///{}", place.at("mlflow.db").display());
        command.args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--workers", "1", "--backend-store-uri", &store]).current_dir(place.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Its workers are processes of its group.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let server = Self(command.spawn().unwrap());
        let clock = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(clock.elapsed() < Duration::from_secs(180), "the tracking server does not start");
            sleep(Duration::from_millis(200));
        }
        (server, format!("http://127.0.0.1:{port}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(group) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

#[test]
fn mlflow_has_every_run_once() {
    let Some(python) = python_with("mlflow.server") else { return };
    let place = Place::with_run(RUN);
    for seed in ["0", "1"] {
        place.good(&["run", "run.toml", "--out", &format!("runs/{seed}"), "--set", &format!("seeds.root={seed}")]);
    }
    let (_server, address) = Server::start(&python, &place);
    let send = || place.call(&["export", "runs", "--format", "mlflow", "--to", &address, "--experiment", "digits"]);
    let said = send();
    assert!(said.code == Some(0) && said.err.contains("2 runs sent to http://127.0.0.1:"), "{}", said.err);
    let again = send();
    assert!(again.code == Some(0) && again.err.contains("0 runs sent"), "{}", again.err);
    assert!(again.err.contains("2 were there already"), "{}", again.err);
    let found = script(&python, "runs.py", &[&address, "digits"]);
    let runs = found.as_array().unwrap();
    assert_eq!(runs.len(), 2, "{found}");
    for run in runs {
        assert_eq!(run["status"], json!("FINISHED"));
        let seed = run["params"]["seeds.root"].as_str().unwrap();
        let rounds = records(&place.at("runs").join(seed));
        let wanted: Vec<Value> =
            rounds.iter().map(|record| json!([record["labelled"], record["metrics"]["accuracy"]])).collect();
        assert_eq!(run["accuracy"], json!(wanted), "seed {seed}");
        assert_eq!(run["params"]["dataset.name"], json!("digits"));
        let header = json(&place.at("runs").join(seed).join("header.json"));
        assert_eq!(run["params"]["strategy.sha256"], header["strategy"]["digest"]);
    }
}

#[test]
fn what_is_wrong_with_a_tracking_server_is_said() {
    let place = Place::with_run(RUN);
    place.good(&["run", "run.toml", "--out", "r"]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = format!("http://{closed}");
    let call = |to: &[&str]| place.call(&[&["export", "r", "--format", "mlflow"][..], to].concat());
    call(&["--to", &address]).fails(1, &["did not answer `experiments/search`", "refused"]);
    call(&["--to", "mlruns"]).fails(2, &["needs the address of a tracking server: `--to http://127.0.0.1:5000`"]);
    call(&["--out", "x"]).fails(2, &["needs the address of a tracking server"]);
    let said = place.call(&["export", "r", "--format", "cure-lab", "--to", &address]);
    said.fails(2, &["`--to` is for `--format mlflow`"]);
}
