//! Commands that messages tell people to call, called as they stand.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use querist_tests::cli::{Place, RUN, Said, misbehaving, program, records};
use rustix::process::{Pid, Signal, kill_process};

/// The commands of this program between backticks.
fn commands_in(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let program = program().display().to_string();
    let called = quoted.filter(|text| text.starts_with("querist ") || text.starts_with(&program));
    called.filter(|text| !text.starts_with(EXPLAIN)).map(str::to_owned).collect()
}

/// How the command begins that a code is explained by, at the end of many messages.
const EXPLAIN: &str = "querist explain ";

/// The commands in a message that explain its code.
fn explanations_in(text: &str) -> Vec<String> {
    text.split('`').filter(|text| text.starts_with(EXPLAIN)).map(str::to_owned).collect()
}

/// Pastes a command into a shell in the test's folder.
fn paste(place: &Place, command: &str) -> Said {
    let inner = place.command(&[]);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).current_dir(place.path()).env_clear().stdin(Stdio::null());
    shell.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PATH", program().parent().unwrap());
    place.said(&shell.output().unwrap())
}

/// The one command in a message, which works.
#[track_caller]
fn works(place: &Place, said: &Said) -> Said {
    let folder = place.path().display().to_string();
    let commands = commands_in(&said.err.replace("DIR", &folder));
    assert_eq!(commands.len(), 1, "{}", said.err);
    for command in explanations_in(&said.err) {
        assert_eq!(paste(place, &command).code, Some(0), "`{command}`");
    }
    let done = paste(place, &commands[0]);
    assert_eq!(done.code, Some(0), "`{}`: {}", commands[0], done.err);
    done
}

#[test]
fn a_run_goes_on_with_everything_that_its_call_said() {
    let place = Place::new();
    place.write("my runs/it's.toml", RUN.replace("epochs = 4", "epochs = 300"));
    let args = [
        "run",
        "my runs/it's.toml",
        "--set",
        "recipe.lr = 0.003",
        "--set=strategy.label=\"x.y\"",
        "--device",
        "cpu",
        "--out",
        "my runs/a \"b\" $HOME",
    ];
    let run = place.at(args[8]);
    let child = place.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let clock = Instant::now();
    while !run.join("rounds/0000").is_dir() {
        assert!(clock.elapsed() < Duration::from_secs(120), "the run does nothing");
        sleep(Duration::from_millis(2));
    }
    kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    let said = place.said(&child.wait_with_output().unwrap());
    assert!(said.err.contains("finished round") && said.err.contains("safe; go on with"), "{}", said.err);
    let done = works(&place, &said);
    assert!(done.err.contains("going on with round"), "{}", done.err);
    assert_eq!(records(&run).len(), 4);
}

#[test]
fn a_run_of_a_folder_that_nobody_named_goes_on() {
    let place =
        Place::with_run(&RUN.replace("badge", "misbehaving").replace("compute", "limits = { seconds = 1 }\ncompute"));
    let packages = misbehaving().display().to_string();
    let args = ["run", "run.toml", "--plugin-dir", &packages, "--set", "strategy.params.way=loop"];
    let said = place.call(&args);
    said.fails(1, &["hint: raise `limits.seconds`", "no round is finished yet; go on with"]);
    // What is wrong is still wrong, but it is this run that goes on.
    let folder = place.path().display().to_string();
    let command = commands_in(&said.err.replace("DIR", &folder)).pop().unwrap();
    let again = paste(&place, &command);
    assert_eq!(again.code, Some(1), "{}", again.err);
    assert!(again.err.contains("going on with round 0"), "`{command}`: {}", again.err);
}

#[test]
fn where_nothing_was_made_nothing_is_promised() {
    let place = Place::with_run(RUN);
    let said = place.call(&["run", "run.toml", "--set", "strategy.subset_size=3"]);
    assert_ne!(said.code, Some(0));
    assert!(!said.err.contains("safe") && !said.err.contains("go on"), "{}", said.err);
}

#[test]
fn limits_are_called_what_the_call_calls_them() {
    let arrays = querist_tests::native::Packed::new();
    let packages = misbehaving().display().to_string();
    let ask = |how: &str, more: &[&str]| {
        let how = format!("way={how}");
        let base = ["select", "--strategy", "misbehaving", "--plugin-dir", &packages, "--budget", "2", "--param", &how];
        arrays.place.call(&[&base[..], &["--input", "logits=logits.npy"], more].concat())
    };
    ask("loop", &["--seconds", "1"]).fails(1, &["hint: raise `--seconds`"]);
    ask("memory", &["--memory", "64MiB"]).fails(1, &["hint: raise `--memory`"]);
}

#[test]
fn the_other_verb_is_named_as_it_is_called() {
    let place = Place::with_run(RUN);
    let study = RUN.replace("strategy = { id = \"badge\" }", "strategies = [{ id = \"random\" }]\nseeds = [1]");
    place.write("two words.toml", study);
    let said = place.call(&["run", "two words.toml"]);
    said.fails(2, &["is a study"]);
    works(&place, &said);
    let said = place.call(&["study", "run", "run.toml"]);
    said.fails(2, &["is no study"]);
    works(&place, &said);
    let said = place.call(&["select", "--strategy", "zzz", "--budget", "1", "--ids", "x.npy"]);
    said.fails(2, &["no strategy is called `zzz`"]);
    assert!(works(&place, &said).out.contains("k-center-greedy"));
}

#[test]
fn runs_that_were_left_out_are_shown_by_the_command_that_says_so() {
    let place = Place::new();
    let study = RUN.replace("strategy = { id = \"badge\" }", "strategies = [{ id = \"random\" }]\nseeds = [1]");
    place.write("study.toml", &study);
    place.good(&["study", "run", "study.toml", "--out", "my study", "--set", "seeds=[2]"]);
    let said = place.call(&["study", "run", "study.toml", "--out", "my study"]);
    assert!(said.err.contains("note: one run in my study is not in the study's file"), "{}", said.err);
    let shown = works(&place, &said);
    assert!(shown.out.contains("random"), "{}", shown.out);
}

#[test]
fn a_study_that_did_not_finish_goes_on() {
    let place = Place::new();
    let study = RUN.replace("strategy = { id = \"badge\" }", "strategies = [{ id = \"random\" }]\nseeds = [1]");
    place.write("study.toml", &study);
    // Somebody holds the folder of its only run.
    let folder = place.planned(&["study.toml"]).remove(0);
    place.write(&format!("s/{folder}/mine.txt"), "mine");
    let said = place.call(&["study", "run", "study.toml", "--out", "s"]);
    said.fails(1, &["1 of 1 runs did not finish: random/seed-1", "the logs in s/cells say why"]);
    std::fs::remove_file(place.at(&format!("s/{folder}/mine.txt"))).unwrap();
    works(&place, &said);
}
