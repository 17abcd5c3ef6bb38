//! A real Label Studio: tasks imported, answered and exported through its API, read back; and the model behind it.
//!
//! `cargo xtask test --full` runs this, in an environment of its own where no other Python has the package.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_people::{Outcome, Stage};
use querist_tests::cli::Place;
use querist_tests::python::environment;
use querist_tests::serving::Serving;
use querist_tests::waiting::{ASKED, CLASSES, outcomes, wait};
use serde_json::{Value, json};

const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";

/// The version whose protocol is spoken.
const PACKAGE: &str = "label-studio==1.23.2";

/// `label-studio` beside a Python that has it, or of an environment that is made for it.
fn label_studio() -> PathBuf {
    let named = std::env::var_os("QUERIST_TEST_PYTHON").map(PathBuf::from);
    let active = std::env::var_os("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("bin/python"));
    let beside = |python: PathBuf| Some(python.parent()?.join("label-studio")).filter(|program| program.is_file());
    let found = named.into_iter().chain(active).find_map(beside);
    let made = || beside(environment("label-studio", &[PACKAGE]).into());
    found.or_else(made).expect("the environment has it")
}

/// A Label Studio with a database of its own that goes with its test.
struct Studio {
    process: Child,
    program: PathBuf,
    address: String,
}

impl Studio {
    fn start(program: PathBuf, place: &Place) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(&program);
        command.args(["start", "--no-browser", "--data-dir", "studio", "--host", &address]);
        command.args(["--internal-host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--username", "anna@b.example", "--password", "passw0rd", "--user-token", TOKEN]);
        // It must reach this machine, and nothing else.
        for (name, value) in [
            ("SSRF_PROTECTION_ENABLED", "false"),
            ("ML_BLOCK_LOCAL_IP", "false"),
            ("LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN", "true"),
            ("COLLECT_ANALYTICS", "false"),
            ("LATEST_VERSION_CHECK", "false"),
            ("SENTRY_DSN", ""),
            ("FRONTEND_SENTRY_DSN", ""),
        ] {
            command.env(name, value);
        }
        command.current_dir(place.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let studio = Self { process: command.spawn().unwrap(), program, address };
        let clock = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(clock.elapsed() < Duration::from_secs(600), "Label Studio does not start");
            sleep(Duration::from_millis(500));
        }
        studio
    }

    /// Imports the tasks of a folder, answers them as it shows them, and exports them.
    fn work(&self, folder: &Path, answers: &Value, backend: Option<&str>) -> Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("label_studio/project.py");
        let mut command = Command::new(self.program.parent().unwrap().join("python"));
        command.arg(script).args([&self.address, TOKEN]).arg(folder).arg(answers.to_string()).args(backend);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        if let Some(group) = rustix::process::Pid::from_raw(self.process.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

fn answers() -> Value {
    json!({ "40": CLASSES[0], "7": "__none__", "19": CLASSES[1], "3": "__unsure__", "12": "skip" })
}

fn wanted() -> Vec<(u64, Outcome)> {
    let outcomes = [Outcome::Label(0), Outcome::Rejected, Outcome::Label(1), Outcome::Unsure, Outcome::Open];
    ASKED.into_iter().zip(outcomes).collect()
}

#[test]
#[ignore = "takes minutes, and fetches 300 MB from PyPI"]
fn a_batch_goes_through_label_studio_and_comes_back() {
    let program = label_studio();
    let place = Place::new();
    wait(&place, Stage::Round(1));
    let studio = Studio::start(program, &place);
    place.good(&["label", "export", "r", "--format", "label-studio", "--out", "tasks"]);
    let found = studio.work(&place.at("tasks"), &answers(), None);
    assert_eq!(found["order"], json!(ASKED), "its sampling by scores shows the batch by rank");
    let import = |file: &str| place.good(&["label", "import", "r", file, "--format", "label-studio"]);
    assert!(import("tasks/JSON.json").starts_with("4 new"));
    assert_eq!(outcomes(&place), wanted());
    assert!(import("tasks/JSON.json").starts_with("0 new (0 in the place of others), 4 known"));
    // The small form says the same to another run.
    fs::remove_file(place.at("r/answers.jsonl")).unwrap();
    assert!(import("tasks/JSON_MIN.json").starts_with("4 new"));
    assert_eq!(outcomes(&place), wanted());
    // What is known goes out as annotations, and comes back as known.
    place.good(&["label", "export", "r", "--format", "label-studio", "--out", "again"]);
    let found = studio.work(&place.at("again"), &json!({ "12": CLASSES[2] }), None);
    assert_eq!(found["order"], json!([12]), "only what is open is shown");
    assert!(import("again/JSON.json").starts_with("1 new (0 in the place of others), 4 known"));
}

#[test]
#[ignore = "takes minutes, and fetches 300 MB from PyPI"]
fn label_studio_asks_for_scores_and_tells_of_answers() {
    let program = label_studio();
    let place = Place::new();
    wait(&place, Stage::Round(1));
    let studio = Studio::start(program, &place);
    place.good(&["label", "export", "r", "--format", "label-studio", "--out", "tasks"]);
    let serving = Serving::start(&place, &["label", "serve", "r", "--label-studio"]);
    let found = studio.work(&place.at("tasks"), &answers(), Some(&serving.address));
    assert_eq!(found["model"]["state"], "CO", "connected: {found}");
    assert_eq!(found["model"]["model_version"], "querist-round-1", "{found}");
    assert_eq!(found["order"], json!(ASKED), "{found}");
    for (rank, id) in ASKED.iter().enumerate() {
        let scores = found["scores"][id.to_string()].as_array().unwrap();
        let score = json!(["querist-round-1", rank as f64 / ASKED.len() as f64]);
        assert!(scores.contains(&score), "{id}: {scores:?}");
    }
    assert_eq!(outcomes(&place), wanted(), "every answer was told and recorded while it was given");
    assert_eq!(fs::read_to_string(place.at("r/answers.jsonl")).unwrap().lines().count(), 4);
    // What was told is known when it is imported.
    let import = place.good(&["label", "import", "r", "tasks/JSON.json", "--format", "label-studio"]);
    assert!(import.starts_with("0 new (0 in the place of others), 4 known"), "{import}");
    assert_eq!(serving.interrupt(&place).code, Some(0));
}
