//! Starting the real program in a fresh folder, and reading what it says and leaves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Instant;

use querist_protocol::philox::Stream;
use serde_json::Value;
use tempfile::TempDir;

use crate::target;

/// The built program, beside its plugins.
pub fn program() -> PathBuf {
    let program = target().join("querist");
    assert!(program.is_file(), "{} is missing: run `cargo xtask build` first", program.display());
    program
}

/// The packed plugins that break rules.
pub fn misbehaving() -> PathBuf {
    let folder = target().join("misbehaving");
    assert!(folder.is_dir(), "{} is missing: run `cargo xtask build` first", folder.display());
    folder
}

/// A small run on the built-in digits: four rounds, done in less than a second.
pub const RUN: &str = r#"version = 1
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 4, minibatch = 32 }
budget = { initial = 20, per_class = true, batch = 10, rounds = 3 }
strategy = { id = "badge" }
compute = { threads = 1 }
"#;

/// A small study on digits: its seeds and strategies as TOML lists them, and whatever else the file has.
pub fn study(seeds: &str, strategies: &str, more: &str) -> String {
    format!(
        r#"version = 1
seeds = [{seeds}]
dataset = {{ name = "digits", test = 397 }}
model = {{ name = "mlp" }}
recipe = {{ optimiser = "adam", lr = 0.002, epochs = 4, minibatch = 32 }}
budget = {{ initial = 20, batch = 10, rounds = 3 }}
compute = {{ threads = 1 }}
strategies = [{strategies}]
{more}"#
    )
}

/// A folder of its own in which the program is started.
pub struct Place {
    folder: TempDir,
}

/// The only path that begins like this, with a digest behind it.
#[track_caller]
fn found(start: &Path, ending: &str) -> PathBuf {
    let name = format!("{}-", start.file_name().expect("it has a name").to_string_lossy());
    let folder = start.parent().expect("it is in a folder");
    let fits = |path: &PathBuf| {
        let found = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let digest = found.strip_prefix(&name).and_then(|rest| rest.strip_suffix(ending));
        digest.is_some_and(|digest| digest.len() == 10 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let entries = fs::read_dir(folder).map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())));
    let mut paths: Vec<PathBuf> = entries.map(|paths| paths.filter(fits).collect()).unwrap_or_default();
    assert_eq!(paths.len(), 1, "{} with a digest: {paths:?}", start.display());
    paths.remove(0)
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty folder.
    pub fn new() -> Self {
        Self { folder: TempDir::new().expect("there is room for a temporary folder") }
    }

    /// A folder with the run file `run.toml`.
    pub fn with_run(text: &str) -> Self {
        let place = Self::new();
        place.write("run.toml", text);
        place
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path in the folder.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The run folder of a cell such as `random/seed-0` in a study's folder, whatever its digest.
    pub fn run_of(&self, study: &str, cell: &str) -> PathBuf {
        found(&self.at(study).join(cell), "")
    }

    /// The run file, `toml`, or the `log` of a cell such as `random-s0`.
    pub fn file_of(&self, study: &str, cell: &str, ending: &str) -> PathBuf {
        found(&self.at(study).join("cells").join(cell), &format!(".{ending}"))
    }

    /// The run folders that a study will have, in the order of its cells, each within the study's.
    pub fn planned(&self, args: &[&str]) -> Vec<String> {
        let out = self.good(&[&["study", "plan", "--cells"][..], args].concat());
        out.lines().filter(|line| line.contains("/seed-")).map(str::to_owned).collect()
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("the folder is ours");
        fs::write(&path, content).expect("the folder is ours");
        path
    }

    /// A call of the program with nothing exported but where it may write. Compiled plugins are shared by all tests.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.path())
            .env("QUERIST_CACHE", target().join("test-cache"))
            .env("QUERIST_DATA", self.at("data"))
            .env("OMP_WAIT_POLICY", "passive")
            .stdin(Stdio::null());
        // What trainings decide must hold on every processor: whoever runs the tests can stand in for another.
        for name in ["ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Calls the program and waits for its end.
    pub fn call(&self, args: &[&str]) -> Said {
        let output = self.command(args).output().expect("the program can be started");
        self.said(&output)
    }

    /// Calls the program, which must succeed; gives its standard output.
    pub fn good(&self, args: &[&str]) -> String {
        let said = self.call(args);
        assert_eq!(said.code, Some(0), "{args:?} failed:\n{}", said.err);
        said.out
    }

    /// What a process said, with `DIR` for the folder.
    pub fn said(&self, output: &Output) -> Said {
        let folder = self.path().display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&folder, "DIR");
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Whether a line would steer a terminal or turn the direction of reading, by a look of the tests' own.
pub fn steers(line: &str) -> bool {
    const MARKS: &str = "\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2028}\u{2029}\u{2066}\u{2067}\
                         \u{2068}\u{2069}";
    line.contains(|c: char| c.is_control() || MARKS.contains(c))
}

/// What the program said.
#[derive(Debug)]
pub struct Said {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Checks the exit code, an empty standard output, and that every part stands in the message.
    #[track_caller]
    pub fn fails(&self, code: i32, parts: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert_eq!(self.out, "", "a failure prints no data");
        for part in parts {
            assert!(self.err.contains(part), "`{part}` is missing in:\n{}", self.err);
        }
        self
    }
}

/// Every file of a run folder that is the same whenever the run is done again: clock times are taken out of the
/// records, and the digests of files that hold clock times out of the digests.
pub fn lasting(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    collect(folder, folder, &mut files);
    files
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a run folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(root, &path, files);
            continue;
        }
        let name = path.strip_prefix(root).expect("it is below").display().to_string();
        let bytes = fs::read(&path).expect("a file");
        let bytes = match path.file_name().and_then(|name| name.to_str()) {
            Some("record.json") => without_seconds(&bytes),
            Some("rounds.jsonl") => bytes.split_inclusive(|&b| b == b'\n').flat_map(without_seconds).collect(),
            Some("epochs.csv") => without_last_column(&bytes),
            Some("digests.json") => {
                let mut digests: Value = serde_json::from_slice(&bytes).expect("digests");
                let digests = digests.as_object_mut().expect("digests");
                digests.retain(|name, _| name != "record.json" && name != "epochs.csv");
                serde_json::to_vec(digests).expect("JSON")
            }
            _ => bytes,
        };
        files.insert(name, bytes);
    }
}

fn without_seconds(line: &[u8]) -> Vec<u8> {
    let mut record: Value = serde_json::from_slice(line).expect("a record");
    assert!(record.as_object_mut().expect("a record").remove("seconds").is_some(), "a record has seconds");
    if let Some(ensemble) = record.get_mut("ensemble").and_then(Value::as_object_mut) {
        assert!(ensemble.remove("seconds").is_some(), "an ensemble has seconds");
    }
    serde_json::to_vec(&record).expect("JSON")
}

fn without_last_column(csv: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(csv);
    let header = text.lines().next().unwrap_or_default();
    assert!(header.starts_with("epoch,loss,accuracy,") && header.ends_with(",lr,seconds"), "{text}");
    text.lines().map(|line| line.rsplit_once(',').expect("columns").0.to_owned() + "\n").collect::<String>().into()
}

/// Compares two run folders file by file, and names those that differ.
#[track_caller]
pub fn assert_same(left: &BTreeMap<String, Vec<u8>>, right: &BTreeMap<String, Vec<u8>>) {
    let names: Vec<_> = left.keys().collect();
    assert_eq!(names, right.keys().collect::<Vec<_>>(), "the folders hold other files");
    let differ: Vec<_> = left.iter().filter(|(name, bytes)| right[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(differ.is_empty(), "these files differ: {differ:?}");
}

/// The records of a run, one a round, as `rounds.jsonl` has them.
pub fn records(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("rounds.jsonl")).expect("a run folder");
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// A JSON file.
pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the file is there")).expect("the file is JSON")
}

/// Kills a run `kills` times, at instants from anywhere in its length, and lets it end.
///
/// # Panics
/// If what it leaves is not what the same run leaves that nobody disturbs.
pub fn kill_and_resume(run: &str, kills: usize) {
    kill_and_resume_in(&Place::with_run(run), kills);
}

/// The same with the `run.toml` of a place; the whole run is `whole/r`, the killed one `killed/r`.
///
/// # Panics
/// As for [`kill_and_resume`].
pub fn kill_and_resume_in(place: &Place, kills: usize) {
    let clock = Instant::now();
    place.good(&["run", "run.toml", "--out", "whole/r"]);
    let length = clock.elapsed();
    let mut stream = Stream::new(kills as u64, 0);
    let resume = ["run", "run.toml", "--out", "killed/r", "--resume"];
    for _ in 0..kills {
        let mut command = place.command(&resume);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
        sleep(length.mul_f64(stream.next_uniform()));
        child.kill().expect("it is a child of ours");
        child.wait().expect("it is a child of ours");
    }
    place.good(&resume);
    assert_same(&lasting(&place.at("whole/r")), &lasting(&place.at("killed/r")));
}
