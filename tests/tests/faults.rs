//! What can go wrong around a study: it says so, loses nothing that was done, and goes on.

use std::fs;
use std::path::{Path, PathBuf};

use querist_tests::cli::{Place, assert_same, json, lasting, study};
use querist_tests::disk::SmallDisk;
use serde_json::{Value, json};

const RUN: [&str; 5] = ["study", "run", "study.toml", "--out", "s"];

fn with_study(more: &str) -> Place {
    let place = Place::new();
    place.write("study.toml", study("0, 1", "{ id = \"random\" }, { id = \"margin\" }", more));
    place
}

fn status(place: &Place) -> Value {
    serde_json::from_str(&place.good(&["study", "status", "s", "--format", "json"])).unwrap()
}

fn states(place: &Place) -> Vec<String> {
    let status = status(place);
    status["cells"].as_array().unwrap().iter().map(|cell| cell["state"].as_str().unwrap().to_owned()).collect()
}

/// Changes the ledger of a cell.
fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut ledger = json(path);
    change(&mut ledger);
    fs::write(path, ledger.to_string()).unwrap();
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn a_full_disk_is_said_and_the_study_goes_on_when_there_is_room() {
    let place = with_study("");
    let Some(disk) = SmallDisk::mount(place.at("s"), "700k") else { return };
    let said = place.call(&RUN);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("No space left on device"), "{}", said.err);
    // Whatever was reported done is there, whole.
    let reported: Vec<&str> = said.err.lines().filter(|line| line.contains(" done in ")).collect();
    disk.resize("64m");
    let done = states(&place).iter().filter(|state| *state == "done").count();
    assert!(done >= reported.len() && done < 4, "{done} done: {}", said.err);
    let kept: Vec<(PathBuf, _)> = place
        .planned(&["study.toml"])
        .into_iter()
        .map(|folder| place.at("s").join(folder))
        .filter(|folder| folder.join("rounds/0003").is_dir())
        .map(|folder| (folder.clone(), lasting(&folder)))
        .collect();
    let again = place.call(&RUN);
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert!(again.err.contains(&format!("4 runs, {done} of them finished already")), "{}", again.err);
    kept.iter().for_each(|(folder, files)| assert_same(files, &lasting(folder)));
    place.good(&["study", "run", "study.toml", "--out", "t"]);
    for folder in place.planned(&["study.toml"]) {
        assert_same(&lasting(&place.at("t").join(&folder)), &lasting(&place.at("s").join(&folder)));
    }
}

#[test]
fn a_clock_that_jumps_makes_no_time_negative() {
    let place = with_study("");
    place.good(&[&RUN[..], &["--set", "seeds=[0]"]].concat());
    let done = place.file_of("s", "random-s0", "json");
    let of_done = json(&done);
    // The clock of the machine was days ahead when these began, and was put back.
    edit(&done, |ledger| {
        ledger["attempts"][0]["begun"] = json!(now() + 500_000);
        ledger["attempts"][0]["alive"] = json!(now() + 500_000);
    });
    let other = place.file_of("s", "margin-s0", "json");
    edit(&other, |ledger| {
        let attempt = &mut ledger["attempts"][0];
        (attempt["state"], attempt["host"], attempt["alive"]) =
            (json!("running"), json!("elsewhere"), json!(now() + 500_000));
        attempt.as_object_mut().unwrap().remove("seconds");
    });
    fs::remove_dir_all(place.run_of("s", "margin/seed-0")).unwrap();
    let text = place.good(&["study", "status", "s"]);
    assert!(text.contains("running: margin/seed-0 on elsewhere") && !text.contains("no sign of life"), "{text}");
    assert!(!text.contains('-') || !text.contains(" -"), "{text}");
    let found = status(&place);
    assert_eq!(found["cells"][1]["silent_seconds"], Value::Null);
    // How long it took is by a clock that does not jump, and so is what is left.
    assert_eq!(found["cells"][0]["attempts"][0]["seconds"], of_done["attempts"][0]["seconds"]);
    let plan = place.good(&["study", "plan", "study.toml", "--out", "s"]);
    assert!(plan.contains("4 runs, 3 to do"), "{plan}");
    let said = place.call(&RUN);
    assert!(said.code == Some(0) && !said.err.contains("about -"), "{}", said.err);
    assert_eq!(states(&place), ["done"; 4]);
}

#[test]
fn a_machine_that_is_silent_for_long_has_lost_its_cell() {
    let place = with_study("[launch]\nlauncher = \"command\"\njobs = 2\ncommand = [\"sh\", \"-c\", \"{line}\"]\n");
    place.good(&RUN);
    let file = place.file_of("s", "margin-s1", "json");
    let lost = |silent: u64| {
        edit(&file, |ledger| {
            let attempt = ledger["attempts"].as_array_mut().unwrap().last_mut().unwrap();
            (attempt["state"], attempt["host"]) = (json!("running"), json!("elsewhere"));
            attempt["alive"] = json!(now() - silent);
        });
    };
    lost(200);
    fs::remove_dir_all(place.run_of("s", "margin/seed-1")).unwrap();
    let text = place.good(&["study", "status", "s"]);
    assert!(text.contains("running: margin/seed-1 on elsewhere, process") && text.contains("no sign of life for"));
    assert!(status(&place)["cells"][3]["silent_seconds"].as_u64().unwrap() >= 200);
    lost(4000);
    let text = place.good(&["study", "status", "s"]);
    let wanted = "stopped: margin/seed-1: no sign of life from elsewhere for 67 min; the next start takes it again";
    assert!(text.contains(wanted), "{text}");
    place.good(&RUN);
    assert_eq!(states(&place), ["done"; 4]);
    assert_eq!(json(&file)["attempts"].as_array().unwrap().len(), 2);
    // A process at work shows that it is alive from its start.
    assert!(json(&file)["attempts"][1]["alive"].as_u64().unwrap() + 600 > now());
}

#[test]
fn a_run_of_an_older_version_is_said_and_the_others_are_done() {
    let place = with_study("");
    place.good(&[&RUN[..], &["--set", "seeds=[0]"]].concat());
    let old = place.run_of("s", "random/seed-0");
    let mut header = json(&old.join("header.json"));
    (header["layout"], header["querist"]) = (json!(1), json!("0.0.7"));
    fs::write(old.join("header.json"), header.to_string()).unwrap();
    // One that is finished is read as it is; one that is not cannot go on.
    let said = place.call(&RUN);
    assert!(said.code == Some(0) && said.err.contains("4 runs, 2 of them finished already"), "{}", said.err);
    fs::remove_dir_all(old.join("rounds/0003")).unwrap();
    let said = place.call(&RUN);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let wanted = "begun by querist 0.0.7 with layout 1, which cannot go on in layout";
    assert!(
        said.err.contains(wanted) && said.err.contains("1 of 4 runs did not finish: random/seed-0"),
        "{}",
        said.err
    );
    assert!(place.good(&["study", "status", "s"]).contains(wanted));
    assert_eq!(states(&place).iter().filter(|state| *state == "done").count(), 3);
}

#[test]
fn lines_and_ledgers_that_were_half_written_are_made_whole() {
    let place = with_study("");
    place.good(&RUN);
    let run = place.run_of("s", "margin/seed-0");
    let whole = lasting(&run);
    // The power went while the last round was written down.
    fs::remove_dir_all(run.join("rounds/0003")).unwrap();
    fs::create_dir(run.join("rounds/0003.tmp")).unwrap();
    let lines = fs::read(run.join("rounds.jsonl")).unwrap();
    fs::write(run.join("rounds.jsonl"), &lines[..lines.len() - 40]).unwrap();
    let ledger = place.file_of("s", "margin-s0", "json");
    let text = fs::read(&ledger).unwrap();
    fs::write(&ledger, &text[..text.len() / 2]).unwrap();
    place.call(&["study", "status", "s"]).fails(1, &["expected the ledger of a cell; remove it to begin a new one"]);
    let said = place.call(&RUN);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("warning: ") && said.err.contains("a new one is begun"), "{}", said.err);
    assert_same(&whole, &lasting(&run));
    assert_eq!(states(&place), ["done"; 4]);
}
