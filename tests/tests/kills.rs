//! Runs that are stopped by force, by hand, by one another or by a full disk end as if nothing had happened.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_protocol::philox::Stream;
use querist_tests::cli::{Place, assert_same, lasting, records};
use querist_tests::disk::SmallDisk;
use rustix::process::{Pid, Signal, kill_process};

/// Six rounds, each with a model to keep and one to drop; long enough to be hit anywhere.
const RUN: &str = r#"version = 1
dataset = { name = "digits", test = 397, validation = 100 }
model = { name = "cnn" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 12, minibatch = 32 }
budget = { initial = 20, per_class = true, batch = 15, rounds = 5 }
strategy = { id = "badge" }
compute = { threads = 1 }
"#;

fn start(place: &Place, args: &[&str]) -> Child {
    place.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program can be started")
}

/// Waits until `ready`, or until the process ends.
fn wait_until(child: &mut Child, mut ready: impl FnMut() -> bool) -> Option<ExitStatus> {
    let clock = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if ready() {
            return None;
        }
        assert!(clock.elapsed() < Duration::from_secs(120), "nothing happens");
        sleep(Duration::from_micros(100));
    }
}

/// Whether a round is being committed.
fn committing(run: &Path) -> bool {
    fs::read_dir(run.join("rounds")).is_ok_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.path().extension().is_some_and(|e| e == "tmp")))
    })
}

/// The run that nobody disturbs, its length, and the length of one commit.
struct Whole {
    files: BTreeMap<String, Vec<u8>>,
    length: Duration,
    commit: Duration,
}

fn undisturbed(place: &Place, run: &str) -> Whole {
    // The first one also fills the cache of compiled plugins.
    place.good(&["run", "run.toml", "--out", "warm"]);
    let clock = Instant::now();
    let folder = place.at("whole/r");
    let mut child = start(place, &["run", run, "--out", "whole/r"]);
    let mut commit = Duration::ZERO;
    let mut since = Instant::now();
    let status = wait_until(&mut child, || {
        if committing(&folder) {
            commit += since.elapsed();
        }
        since = Instant::now();
        false
    });
    assert!(status.is_some_and(|status| status.success()));
    let length = clock.elapsed();
    let rounds = records(&folder).len() as u32;
    Whole { files: lasting(&folder), length, commit: commit / rounds + Duration::from_millis(1) }
}

/// Runs again and again, kills `kills` times altogether, and compares every end with the undisturbed one.
fn kill_often(kills: usize, seed: u64) {
    let place = Place::with_run(RUN);
    let whole = undisturbed(&place, "run.toml");
    let mut stream = Stream::new(seed, 0);
    let (mut done, mut ends, mut in_commit) = (0, 0, 0);
    while done < kills {
        let out = format!("killed-{ends}/r");
        let run = place.at(&out);
        let mut between = 0;
        loop {
            let mut child = start(&place, &["run", "run.toml", "--out", &out, "--resume"]);
            let share = stream.next_uniform();
            // Half of the instants lie anywhere in the run, the others within a commit or just after one.
            let ended = if done >= kills || between > 40 {
                Some(child.wait().unwrap())
            } else if stream.next_below(2) == 0 {
                let clock = Instant::now();
                let instant = whole.length.mul_f64(share);
                wait_until(&mut child, || clock.elapsed() >= instant)
            } else {
                let ended = wait_until(&mut child, || committing(&run));
                let clock = Instant::now();
                let instant = whole.commit.mul_f64(1.5 * share);
                while ended.is_none() && clock.elapsed() < instant {
                    std::hint::spin_loop();
                }
                ended
            };
            if let Some(status) = ended {
                let mut message = String::new();
                std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut message).unwrap();
                assert!(status.success(), "after {done} kills: {message}");
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            in_commit += usize::from(committing(&run));
            done += 1;
            between += 1;
        }
        assert_same(&whole.files, &lasting(&run));
        let beside: Vec<_> =
            fs::read_dir(run.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside, ["r"], "something was left behind");
        ends += 1;
    }
    eprintln!(
        "{done} kills over {ends} runs of {:.2} s, {in_commit} of them while a round was written ({:.1} ms)",
        whole.length.as_secs_f64(),
        whole.commit.as_secs_f64() * 1e3
    );
}

#[test]
fn a_killed_run_ends_like_one_never_killed() {
    kill_often(25, 1);
}

#[test]
#[ignore = "takes minutes: 200 kills"]
fn a_run_killed_very_often_ends_like_one_never_killed() {
    kill_often(200, 2);
}

/// A run that lasts until it is stopped.
fn endless() -> String {
    RUN.replace("epochs = 12", "epochs = 50000")
}

/// Starts a run and waits until it is under way.
fn under_way(place: &Place) -> Child {
    let mut child = start(place, &["run", "run.toml", "--out", "r"]);
    let lock = place.at("r/lock");
    let ended = wait_until(&mut child, || lock.exists());
    assert!(ended.is_none(), "it ended at once");
    // Long enough for the lock to be taken and training to begin.
    sleep(Duration::from_millis(300));
    child
}

#[test]
fn two_processes_do_not_share_a_folder() {
    let place = Place::with_run(&endless());
    let mut first = under_way(&place);
    let busy = "error: another process works on the run r: wait for it, or choose another `--out`";
    place.call(&["run", "run.toml", "--out", "r", "--resume"]).fails(1, &[busy]);
    place.call(&["run", "run.toml", "--out", "r"]).fails(2, &["error: r exists already"]);
    assert!(first.try_wait().unwrap().is_none(), "the first one was harmed");
    first.kill().unwrap();
    first.wait().unwrap();
    // The lock ends with its process.
    let mut again = start(&place, &["run", "run.toml", "--out", "r", "--resume"]);
    sleep(Duration::from_millis(500));
    assert!(again.try_wait().unwrap().is_none(), "the lock outlived its process");
    again.kill().unwrap();
    again.wait().unwrap();
}

#[test]
fn an_interrupt_leaves_a_run_that_can_go_on() {
    for signal in [Signal::INT, Signal::TERM] {
        let place = Place::with_run(RUN);
        let mut child = start(&place, &["run", "run.toml", "--out", "r"]);
        let second = place.at("r/rounds/0001");
        assert!(wait_until(&mut child, || second.is_dir()).is_none(), "it was over too soon");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let said = place.said(&child.wait_with_output().unwrap());
        said.fails(
            1,
            &[
                "stopping at the next safe point; press Ctrl-C again to stop at once",
                "error: cancelled",
                "run run.toml --out r --resume`",
            ],
        );
        let done = records(&place.at("r")).len();
        assert!((2..6).contains(&done), "{done} rounds");
        place.good(&["run", "run.toml", "--out", "r", "--resume"]);
        place.good(&["run", "run.toml", "--out", "whole"]);
        assert_same(&lasting(&place.at("whole")), &lasting(&place.at("r")));
    }
}

#[test]
fn a_full_disk_stops_the_run_between_rounds() {
    let place = Place::with_run(&RUN.replace("strategy", "keep = { model = \"all\" }\nstrategy"));
    place.good(&["run", "run.toml", "--out", "whole"]);
    let whole = lasting(&place.at("whole"));
    let model = whole["rounds/0000/model.safetensors"].len() / 1024;
    let size = |rounds: usize| format!("{}k", 60 + rounds * (model + 40));
    let Some(disk) = SmallDisk::mount(place.at("disk"), &size(2)) else { return };
    let args = ["run", "run.toml", "--out", "disk/r"];
    let said = place.call(&args);
    said.fails(
        1,
        &["cannot be saved in disk/r/rounds; rounds before it are safe", "No space left on device", "--resume"],
    );
    let run = place.at("disk/r");
    let kept = lasting(&run);
    let done = fs::read_dir(run.join("rounds")).unwrap().count();
    assert!((1..5).contains(&done), "{done} rounds fitted");
    assert!(said.err.contains(&format!("round {done} cannot be saved")), "{}", said.err);
    assert!(!committing(&run), "what was begun is still there");
    for (name, bytes) in &kept {
        if name.starts_with("rounds/") {
            assert!(whole[name] == *bytes, "{name} was harmed");
        }
    }
    // Still too small: nothing gets worse.
    place.call(&["run", "run.toml", "--out", "disk/r", "--resume"]).fails(1, &["No space left on device"]);
    assert_same(&kept, &lasting(&run));
    disk.resize("64m");
    place.good(&["run", "run.toml", "--out", "disk/r", "--resume"]);
    assert_same(&whole, &lasting(&run));
}

#[test]
fn a_limit_on_file_sizes_stops_the_run_between_rounds() {
    let place = Place::with_run(RUN);
    place.good(&["run", "run.toml", "--out", "whole"]);
    // The model of a round is larger than 50 KiB; the shell counts blocks of 512 or of 1024 bytes.
    let line =
        format!("trap '' XFSZ; ulimit -f 50; exec {} run run.toml --out r", querist_tests::cli::program().display());
    let mut shell = Command::new("/bin/sh");
    let like = place.command(&[]);
    shell.args(["-c", &line]).current_dir(place.path()).env_clear();
    shell.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = place.said(&shell.output().unwrap());
    said.fails(1, &["round 0 cannot be saved in r/rounds; rounds before it are safe", "File too large", "--resume"]);
    place.good(&["run", "run.toml", "--out", "r", "--resume"]);
    assert_same(&lasting(&place.at("whole")), &lasting(&place.at("r")));
}
