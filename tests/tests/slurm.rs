//! Studies through a real Slurm of one node, which `slurm/node.sh` sets up and takes down.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_tests::cli::{Place, assert_same, json, lasting, study};
use querist_tests::python::python;
use querist_tests::workspace;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How the study is started.
const LAUNCH: &str =
    r#"launch = { launcher = "slurm", jobs = 2, minutes = 10, memory = "500M", template = "head.sh" }"#;

/// A Slurm that goes with its test.
struct Slurm {
    place: Place,
}

impl Slurm {
    /// Sets it up; `None`, said, where Slurm is not installed, does not start, or this is not root.
    fn start() -> Option<Self> {
        let has =
            |program: &str| ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
        if !(["slurmctld", "slurmd", "munged", "sbatch"].into_iter().all(has) && rustix::process::geteuid().is_root()) {
            eprintln!("skipped: needs root and Debian's slurm-wlm and munge");
            return None;
        }
        let slurm = Self { place: Place::new() };
        if !slurm.node("start") {
            eprintln!("skipped: Slurm is installed, but does not start on this machine");
            return None;
        }
        slurm.place.write("study.toml", study("0, 1", "{ id = \"random\" }, { id = \"margin\" }", LAUNCH));
        // What a site would put there: here it is seen that its lines run before the cell.
        slurm.place.write("head.sh", "#SBATCH --comment=ours\nexport OMP_WAIT_POLICY=passive\n");
        Some(slurm)
    }

    fn node(&self, verb: &str) -> bool {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("slurm/node.sh");
        let folder = self.place.at("slurm");
        let status = Command::new(script).arg(verb).arg(folder).stdout(Stdio::null()).status();
        status.unwrap().success()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        command.env("SLURM_CONF", self.place.at("slurm/slurm.conf")).env("PATH", "/usr/bin:/usr/sbin:/bin");
        command
    }

    fn run_study(&self, more: &[&str]) -> (Option<i32>, String) {
        let args = [&["study", "run", "study.toml", "--out", "s"][..], more].concat();
        let said = self.place.said(&self.command(&args).output().unwrap());
        (said.code, said.err)
    }

    fn begin(&self, more: &[&str]) -> Child {
        let args = [&["study", "run", "study.toml", "--out", "s"][..], more].concat();
        self.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn status(&self) -> Vec<(String, usize)> {
        let output = self.command(&["study", "status", "s", "--format", "json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let cells = status["cells"].as_array().cloned().unwrap_or_default();
        let cell = |cell: &Value| {
            let attempts = cell["attempts"].as_array().map_or(0, Vec::len);
            (cell["state"].as_str().unwrap_or_default().to_owned(), attempts)
        };
        cells.iter().map(cell).collect()
    }

    fn wait_for(&self, what: &str, is: impl Fn(&[(String, usize)]) -> bool) {
        let clock = Instant::now();
        while !is(&self.status()) {
            assert!(clock.elapsed() < Duration::from_secs(120), "{what}: {:?}", self.status());
            sleep(Duration::from_millis(200));
        }
    }

    fn slurm(&self, program: &str, args: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(args).env("SLURM_CONF", self.place.at("slurm/slurm.conf"));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    /// Every process of a cell that runs in this place.
    fn processes(&self) -> Vec<i32> {
        self.processes_that(|line| line.contains("\0run\0") || line.contains("\0cell\0"))
    }

    /// Processes that name this place, with such words.
    fn processes_that(&self, are: impl Fn(&str) -> bool) -> Vec<i32> {
        let inside = self.place.path().display().to_string();
        let ours = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let text = String::from_utf8_lossy(&line).into_owned();
            text.contains(&inside) && are(&text)
        };
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        all.filter(ours).collect()
    }

    fn folders_of(&self, more: &[&str]) -> Vec<PathBuf> {
        let args = [&["study", "plan", "study.toml", "--cells"][..], more].concat();
        let out = self.place.said(&self.command(&args).output().unwrap()).out;
        out.lines().filter(|line| line.contains("/seed-")).map(PathBuf::from).collect()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        self.node("stop");
    }
}

fn all(state: &str) -> impl Fn(&[(String, usize)]) -> bool + '_ {
    move |cells| cells.len() == 4 && cells.iter().all(|(found, _)| found == state)
}

#[test]
fn an_array_gives_the_records_of_local_runs_and_a_retry_submits_what_is_missing() {
    let Some(slurm) = Slurm::start() else { return };
    let (code, said) = slurm.run_study(&[]);
    assert!(code == Some(0) && said.contains("4 runs submitted, 0 in the queue already"), "{said}");
    assert!(all("done")(&slurm.status()), "{:?}", slurm.status());
    let script = fs::read_to_string(slurm.place.at("s/slurm/0001/job.sh")).unwrap();
    assert!(script.contains("#SBATCH --mem=500M") && script.contains("--comment=ours"), "{script}");
    slurm.place.good(&["study", "run", "study.toml", "--out", "t", "--launcher", "local"]);
    let folders = slurm.folders_of(&[]);
    for folder in &folders {
        assert_same(&lasting(&slurm.place.at("s").join(folder)), &lasting(&slurm.place.at("t").join(folder)));
    }
    // One is lost: only that one is done again.
    fs::remove_dir_all(slurm.place.at("s").join(&folders[2])).unwrap();
    let (code, said) = slurm.run_study(&[]);
    assert!(code == Some(0) && said.contains("1 runs submitted, 0 in the queue already"), "{said}");
    let list = fs::read_to_string(slurm.place.at("s/slurm/0002/cells.txt")).unwrap();
    assert_eq!(list.lines().count(), 1);
    assert_same(&lasting(&slurm.place.at("s").join(&folders[2])), &lasting(&slurm.place.at("t").join(&folders[2])));
}

#[test]
fn a_learner_of_ones_own_gives_the_records_of_local_runs_and_ends_with_its_job() {
    let Some(slurm) = Slurm::start() else { return };
    // A copy, so that no other test starts it.
    slurm.place.write("learner.py", fs::read_to_string(workspace().join("examples/learners/plain.py")).unwrap());
    let script = slurm.place.at("learner.py").display().to_string();
    let learner = format!("learner = {{ command = [{:?}, {script:?}] }}\n{LAUNCH}", python());
    let text = study("0, 1", "{ id = \"random\" }, { id = \"margin\" }", &learner);
    let is_ours = |line: &&str| line.starts_with("model = ") || line.starts_with("recipe = ");
    let kept: Vec<&str> = text.lines().filter(|line| !is_ours(line)).collect();
    slurm.place.write("study.toml", kept.join("\n"));
    let (code, said) = slurm.run_study(&[]);
    assert!(code == Some(0) && said.contains("4 runs submitted"), "{said}");
    assert!(all("done")(&slurm.status()), "{:?}", slurm.status());
    slurm.place.good(&["study", "run", "study.toml", "--out", "t", "--launcher", "local"]);
    for folder in slurm.folders_of(&[]) {
        let (there, here) = (slurm.place.at("s").join(&folder), slurm.place.at("t").join(&folder));
        assert_eq!(json(&there.join("header.json"))["learner"]["name"], "nearest-mean");
        assert_same(&lasting(&there), &lasting(&here));
    }
    // A job that is cancelled takes its learner with it.
    let learners = || slurm.processes_that(|line| line.contains(&script) && !line.contains("start-learner"));
    fs::remove_dir_all(slurm.place.at("s")).unwrap();
    let mut launcher = slurm.begin(&[]);
    let clock = Instant::now();
    while learners().is_empty() {
        assert!(clock.elapsed() < Duration::from_secs(60), "no learner was started");
        sleep(Duration::from_millis(20));
    }
    slurm.slurm("scancel", &["--me"]);
    launcher.wait().unwrap();
    let clock = Instant::now();
    while !learners().is_empty() {
        assert!(clock.elapsed() < Duration::from_secs(30), "{:?} are left of a cancelled job", learners());
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_cancelled_array_and_a_killed_launcher_leave_what_can_go_on() {
    let Some(slurm) = Slurm::start() else { return };
    let slow = ["--set", "recipe.epochs=1500"];
    // The launcher is killed while its tasks run; the next call finds them in the queue.
    let mut launcher = slurm.begin(&slow);
    slurm.wait_for("a task at work", |cells| cells.iter().any(|(state, _)| state == "running"));
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    let (code, said) = slurm.run_study(&[&slow[..], &["--no-wait"]].concat());
    assert!(code == Some(0) && said.contains("0 runs submitted"), "{said}");
    slurm.slurm("scancel", &["--user=root"]);
    slurm.wait_for("the end of all", |cells| cells.iter().all(|(state, _)| state == "stopped" || state == "done"));
    assert!(!all("done")(&slurm.status()), "nothing was cancelled");
    let clock = Instant::now();
    while !slurm.processes().is_empty() {
        assert!(clock.elapsed() < Duration::from_secs(60), "runs go on after they were cancelled");
        sleep(Duration::from_millis(100));
    }
    let (code, said) = slurm.run_study(&slow);
    assert!(code == Some(0) && all("done")(&slurm.status()), "{said}");
}

#[test]
fn a_requeued_task_and_a_node_that_vanishes_lose_nothing() {
    let Some(slurm) = Slurm::start() else { return };
    let slow = ["--set", "recipe.epochs=1500"];
    let mut launcher = slurm.begin(&slow);
    slurm.wait_for("a task at work", |cells| cells.iter().any(|(state, _)| state == "running"));
    let job = slurm.slurm("squeue", &["--noheader", "--array", "--states=R", "--format=%i"]);
    let task = job.lines().next().unwrap();
    slurm.slurm("scontrol", &["requeue", task]);
    // Slurm waits two minutes before it starts a task again.
    slurm.wait_for("a second attempt", |cells| {
        slurm.slurm("scontrol", &["update", &format!("JobId={task}"), "StartTime=now"]);
        cells.iter().any(|(_, attempts)| *attempts == 2)
    });
    // The machine is gone, with all that ran on it.
    assert!(slurm.node("kill-node"));
    for pid in slurm.processes() {
        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
    }
    assert!(slurm.node("start-node"));
    let status = launcher.wait().unwrap();
    if !status.success() {
        // A task that Slurm does not give back is submitted again.
        let (code, said) = slurm.run_study(&slow);
        assert_eq!(code, Some(0), "{said}");
    }
    assert!(all("done")(&slurm.status()), "{:?}", slurm.status());
    slurm.place.good(&[
        "study",
        "run",
        "study.toml",
        "--out",
        "t",
        "--launcher",
        "local",
        "--set",
        "recipe.epochs=1500",
    ]);
    for folder in slurm.folders_of(&slow) {
        assert_same(&lasting(&slurm.place.at("s").join(&folder)), &lasting(&slurm.place.at("t").join(&folder)));
    }
}

/// A launcher that is killed by the `sbatch` that it calls: before there is a job, and when there is one.
#[test]
fn a_launcher_killed_around_its_submission_submits_nothing_twice_and_loses_nothing() {
    let Some(slurm) = Slurm::start() else { return };
    for (out, script, submitted) in [
        ("before", "kill -9 $PPID", "4 runs submitted, 0 in the queue already"),
        ("after", "/usr/bin/sbatch \"$@\" && kill -9 $PPID", "0 runs submitted, 4 in the queue already"),
    ] {
        let bin = slurm.place.write(&format!("{out}-bin/sbatch"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&bin, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/usr/sbin:/bin", bin.parent().unwrap().display());
        let args = ["study", "run", "study.toml", "--out", out, "--set", "recipe.epochs=400"];
        let killed = slurm.command(&args).env("PATH", path).output().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(9), "{out}");
        let again = slurm.place.said(&slurm.command(&args).output().unwrap());
        assert!(again.code == Some(0) && again.err.contains(submitted), "{out}: {}", again.err);
        let status = slurm.command(&["study", "status", out, "--format", "json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        for cell in status["cells"].as_array().unwrap() {
            assert_eq!((&cell["state"], cell["attempts"].as_array().unwrap().len()), (&"done".into(), 1), "{cell}");
        }
    }
}
