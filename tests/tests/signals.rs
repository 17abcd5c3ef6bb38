//! What ends work from outside, and what must not: signals, closed and full streams, and the end of whoever started it.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_tests::cli::{Place, Said, program, records};
use rustix::process::{Pid, Signal, kill_process};

/// Six rounds of a second each, or nearly.
const RUN: &str = r#"version = 1
dataset = { name = "digits", test = 397 }
model = { name = "cnn" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 25, minibatch = 32 }
budget = { initial = 20, per_class = true, batch = 15, rounds = 5 }
strategy = { id = "random" }
compute = { threads = 1 }
"#;

fn study() -> String {
    RUN.replace("strategy = { id = \"random\" }", "strategies = [{ id = \"random\" }]\nseeds = [0, 1]")
}

fn send(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(process.cast_signed()).unwrap(), signal).unwrap();
}

#[track_caller]
fn wait_until(what: &str, mut ready: impl FnMut() -> bool) {
    let clock = Instant::now();
    while !ready() {
        assert!(clock.elapsed() < Duration::from_secs(120), "{what}: nothing happens");
        sleep(Duration::from_millis(5));
    }
}

fn has_a_round(run: &Path) -> bool {
    run.join("rounds/0000").is_dir()
}

/// Starts the program behind a shell that ignores signals, as `nohup` does.
fn ignoring(place: &Place, signals: &str, args: &[&str]) -> Child {
    let inner = place.command(args);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("trap '' {signals}; exec \"$0\" \"$@\"")]).arg(program()).args(args);
    shell.current_dir(place.path()).env_clear();
    shell.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(place: &Place, child: Child) -> Said {
    place.said(&child.wait_with_output().unwrap())
}

#[test]
fn signals_that_were_ignored_stay_ignored() {
    let place = Place::with_run(RUN);
    for (out, ignored, sent) in
        [("hup", "HUP", Signal::HUP), ("int", "INT", Signal::INT), ("term", "TERM", Signal::TERM)]
    {
        let child = ignoring(&place, ignored, &["run", "run.toml", "--out", out]);
        wait_until("a round", || has_a_round(&place.at(out)));
        send(child.id(), sent);
        let said = ended(&place, child);
        assert_eq!((said.code, said.err.contains("stopping")), (Some(0), false), "{ignored}: {}", said.err);
        assert_eq!(records(&place.at(out)).len(), 6);
    }
}

#[test]
fn each_signal_stops_at_the_next_safe_point() {
    let place = Place::with_run(RUN);
    for (out, sent) in [("hup", Signal::HUP), ("int", Signal::INT), ("term", Signal::TERM)] {
        let mut command = place.command(&["run", "run.toml", "--out", out]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("a round", || has_a_round(&place.at(out)));
        send(child.id(), sent);
        let said = ended(&place, child);
        said.fails(1, &["stopping at the next safe point", "cancelled", "--resume"]);
    }
}

/// Starts the program with a standard error of one's own.
fn start(place: &Place, args: &[&str], out: Stdio, err: Stdio) -> Child {
    place.command(args).stdout(out).stderr(err).spawn().unwrap()
}

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn work_goes_on_where_nobody_listens() {
    let place = Place::with_run(RUN);
    place.write("study.toml", study());
    let args = |out| ["run", "run.toml", "--out", out];
    let is_whole = |run: &Path, status: ExitStatus| {
        assert!(status.success(), "{}: {status}", run.display());
        assert_eq!(records(run).len(), 6, "{}", run.display());
    };
    let whole = |run: &str, status: ExitStatus| is_whole(&place.at(run), status);
    // Nothing can be written, from the first line on.
    whole("full", start(&place, &args("full"), Stdio::null(), full()).wait().unwrap());
    // Somebody listens to the first line only, as `2>&1 | head -1` does.
    let mut child = start(&place, &args("head"), Stdio::piped(), Stdio::piped());
    let mut heard = child.stderr.take().unwrap();
    drop(child.stdout.take());
    heard.read_exact(&mut [0]).unwrap();
    drop(heard);
    whole("head", child.wait().unwrap());
    let mut child = start(&place, &["study", "run", "study.toml", "--out", "s"], Stdio::piped(), Stdio::piped());
    drop((child.stdout.take(), child.stderr.take()));
    let status = child.wait().unwrap();
    is_whole(&place.run_of("s", "random/seed-0"), status);
    is_whole(&place.run_of("s", "random/seed-1"), status);
    // Errors keep their exit code.
    let args = ["run", "nothing.toml"];
    assert_eq!(start(&place, &args, Stdio::null(), full()).wait().unwrap().code(), Some(2));
}

#[test]
fn a_full_standard_output_is_a_failure_and_a_closed_one_an_end() {
    let place = Place::new();
    for args in [&["plugin", "list"][..], &["data", "list"], &["schema", "run"]] {
        let child = start(&place, args, full(), Stdio::piped());
        let said = ended(&place, child);
        assert_eq!(said.code, Some(1), "{args:?}");
        assert!(
            said.err.contains("cannot write to standard output") && said.err.contains("No space left"),
            "{}",
            said.err
        );
        let mut child = start(&place, args, Stdio::piped(), Stdio::piped());
        drop(child.stdout.take());
        let said = ended(&place, child);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{args:?}");
    }
}

/// The processes that do the runs of a study in `folder`.
fn runs_of(folder: &Path) -> Vec<u32> {
    let file = folder.join("cells").display().to_string();
    let is_run = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&b| b == 0).any(|argument| String::from_utf8_lossy(argument).starts_with(&file))
    };
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(is_run).collect()
}

fn started_study(place: &Place, out: &Path) -> Child {
    let out = out.display().to_string();
    let folders = place.planned(&["study.toml"]);
    let args = ["study", "run", "study.toml", "--jobs", "2", "--out", &out];
    let child = start(place, &args, Stdio::piped(), Stdio::piped());
    wait_until("a round of each run", || folders.iter().all(|folder| has_a_round(&Path::new(&out).join(folder))));
    child
}

#[test]
fn a_study_that_is_killed_leaves_no_run_behind() {
    let place = Place::new();
    place.write("study.toml", study().replace("epochs = 25", "epochs = 150"));
    let out = place.at("s");
    let mut killed = started_study(&place, &out);
    assert_eq!(runs_of(&out).len(), 2);
    killed.kill().unwrap();
    killed.wait().unwrap();
    wait_until("the end of its runs", || runs_of(&out).is_empty());
    for seed in 0..2 {
        let rounds = records(&place.run_of("s", &format!("random/seed-{seed}"))).len();
        assert!(rounds < 6, "the run of seed {seed} went on to its end");
    }
    // Whoever starts it again at once finds everything free.
    let said = place.call(&["study", "run", "study.toml", "--jobs", "2", "--out", "s"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
}

#[test]
fn a_study_passes_a_wish_to_stop_on_and_keeps_others_out() {
    let place = Place::new();
    place.write("study.toml", study().replace("epochs = 25", "epochs = 60"));
    let out = place.at("s");
    let log = |seed: u32| fs::read_to_string(place.file_of("s", &format!("random-s{seed}"), "log")).unwrap();
    let changed = || {
        let file = File::open(place.file_of("s", "random-s0", "toml")).unwrap();
        file.metadata().unwrap().modified().unwrap()
    };
    let study = started_study(&place, &out);
    let before = (log(0), changed());
    place.call(&["study", "run", "study.toml", "--out", "s"]).fails(1, &["another process works on the study s"]);
    assert!(log(0).starts_with(&before.0) && changed() == before.1, "the second study changed files of the first");
    send(study.id(), Signal::TERM);
    let said = ended(&place, study);
    assert_eq!(said.code, Some(1));
    for part in ["stopping at the next safe point", "2 of 2 runs did not finish", "finished rounds are safe"] {
        assert!(said.err.contains(part), "`{part}` is missing in {}", said.err);
    }
    for seed in 0..2 {
        assert!(log(seed).contains("cancelled"), "{}", log(seed));
    }
    let said = place.call(&["study", "run", "study.toml", "--jobs", "2", "--out", "s"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
}
