//! Studies with axes, their plans and ledgers, and the ways to start their cells.

use std::collections::BTreeSet;
use std::fs;

use querist_tests::cli::{Place, assert_same, lasting, study};
use serde_json::{Value, json};

/// Two strategies, one seed, two sizes: four cells of less than a second.
fn grid(more: &str) -> String {
    let axes = format!("\n[axes]\n\"budget.batch\" = [10, 20]\n{more}");
    study("0", "{ id = \"random\" }, { id = \"margin\" }", &axes)
}

const FOLDERS: [&str; 2] = ["random/seed-0", "margin/seed-0"];

fn with_grid(more: &str) -> Place {
    let place = Place::new();
    place.write("grid.toml", grid(more));
    place
}

/// What `study status --format json` says.
fn status(place: &Place, folder: &str) -> Value {
    serde_json::from_str(&place.good(&["study", "status", folder, "--format", "json"])).unwrap()
}

fn states(status: &Value) -> Vec<&str> {
    status["cells"].as_array().unwrap().iter().map(|cell| cell["state"].as_str().unwrap()).collect()
}

#[test]
fn a_grid_is_planned_run_shown_and_reported_by_setting() {
    let place = with_grid("");
    let plan = place.good(&["study", "plan", "grid.toml"]);
    assert!(plan.contains("4 runs, 4 to do; how long they take is known once one of each kind is done"), "{plan}");
    // 20, 30, 40 and 50 labels, four epochs: 560 images; with batches of 20 it is 800.
    let row =
        |text: &str, start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap().to_owned();
    let words = |line: String| line.split_whitespace().rev().take(5).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(row(&plan, "margin, budget.batch 10")), ["50", "560", "4", "0", "1"]);
    assert_eq!(words(row(&plan, "random, budget.batch 20")), ["80", "800", "4", "0", "1"]);
    assert!(!place.at("runs").exists(), "a plan writes nothing");

    let out = place.good(&["study", "run", "grid.toml", "--jobs", "2", "--out", "s"]);
    for part in ["== budget.batch 10", "== budget.batch 20", "== over all settings"] {
        assert!(out.contains(part), "`{part}` is missing in {out}");
    }
    let found = status(&place, "s");
    assert_eq!((&found["counts"], states(&found)), (&json!({ "done": 4 }), vec!["done"; 4]));
    assert!(found["cells"][0]["attempts"][0]["seconds"].as_f64().unwrap() > 0.0);
    assert!(place.good(&["study", "status", "s", "--watch"]).contains("all"), "nothing is left to watch");
    let plan = place.good(&["study", "plan", "grid.toml", "--out", "s"]);
    assert!(plan.contains("4 runs, all done"), "{plan}");
    // A larger grid goes on where this one ends.
    let more = place.call(&["study", "run", "grid.toml", "--out", "s", "--set", "seeds=[0, 1]"]);
    assert!(more.code == Some(0) && more.err.contains("8 runs, 4 of them finished already"), "{}", more.err);
    let one_chart = place.good(&["report", "s", "--curves-by", "strategy,budget.batch"]);
    assert!(one_chart.contains("margin, 10") && !one_chart.contains("=="), "{one_chart}");
    let wrong = place.call(&["study", "status", "elsewhere"]);
    wrong.fails(2, &["elsewhere is no study's folder: it has no plan.json"]);
}

#[test]
fn a_report_calls_settings_by_axes_and_draws_curves_by_them() {
    let weights = "\"model.head_hidden\" = 24, \"recipe.weight_decay\" = 0.01";
    let place = with_grid(&format!("size = [{{ label = \"small\" }}, {{ label = \"large\", {weights} }}]\n"));
    let out = place.good(&["study", "run", "grid.toml", "--jobs", "2", "--out", "s"]);
    assert!(out.contains("== budget.batch 10, size large"), "{out}");
    // From above the study, too.
    for folder in ["s", "."] {
        let by_size = place.good(&["report", folder, "--curves-by", "strategy,size"]);
        for part in ["== budget.batch 20", "margin, large", "random, small"] {
            assert!(by_size.contains(part), "`{part}` is missing in {by_size}");
        }
        assert!(!by_size.contains("head_hidden"), "{by_size}");
    }
    place
        .call(&["report", "s", "--curves-by", "sizes"])
        .fails(2, &["no run has the key `sizes`", "an axis of a study"]);
}

#[test]
fn what_is_wrong_with_an_axis_is_said_at_its_place() {
    let refused = |more: &str, parts: &[&str]| {
        with_grid(more).call(&["study", "run", "grid.toml"]).fails(2, parts);
    };
    refused("\"recipe.lr\" = [0.1, \"fast\"]\n", &["\"fast\" is not of type \"number\"", "grid.toml:12", "1 problem"]);
    refused("size = [3]\n", &["`size` is no key of a run file, so its values are tables of keys"]);
    refused("data = [{ \"dataset.name\" = \"mnits\", \"dataset.test\" = 3 }]\n", &["mnits", "1 problem"]);
    refused("data = [{ \"budget.rounds\" = 100000 }]\n", &["initial set and batches add up to 2000020", "2 problems"]);
    refused("[[exclude]]\nstrategy = [\"random\", \"margin\"]\n", &["it leaves out every cell"]);
    refused("[launch]\nlauncher = \"command\"\n", &["needs launch.command"]);
    let bare = Place::new();
    bare.write("bare.toml", "version = 1\nseeds = [0]\nstrategies = [{ id = \"random\" }]\n");
    let both = ["\"budget\" is a required property", "\"dataset\" is a required property"];
    bare.call(&["study", "run", "bare.toml"]).fails(2, &both);
    let place = with_grid("[launch]\nlauncher = \"slurm\"\n");
    let output = place.command(&["study", "run", "grid.toml"]).env("PATH", "/nowhere").output().unwrap();
    let said = place.said(&output);
    said.fails(1, &["cannot start `sbatch`: launch.launcher = \"slurm\" needs Slurm's commands on the PATH"]);
    assert_eq!(states(&status(&place, "runs/grid")), ["queued"; 4], "nothing was handed to anybody");
}

/// The runs that a study with these lines plans, without seeds and digests.
fn planned(place: &Place, file: &str) -> Vec<String> {
    let said = place.good(&["study", "plan", file, "--cells"]);
    let folder = |line: &str| line.split_once("/seed-").map(|(label, _)| label.to_owned());
    said.lines().filter_map(folder).collect()
}

#[test]
fn parameters_are_searched_where_their_author_says() {
    let place = Place::new();
    let with = |strategies: &str, more: &str| place.write("search.toml", study("0", strategies, &format!("\n{more}")));
    let three = "{ id = \"random\" }, { id = \"cal\" }, { id = \"clue\", params = { n_init = 2 } }";
    with(
        three,
        "[search]\ncal = { k = 3, normalise = \"all\" }\nclue.temperature = { log = [0.5, 2.0], points = 2 }\n",
    );
    let expected = [
        "random",
        "cal-k-1-normalise-false",
        "cal-k-1-normalise-true",
        "cal-k-10-normalise-false",
        "cal-k-10-normalise-true",
        "cal-k-100-normalise-false",
        "cal-k-100-normalise-true",
        "clue-temperature-0.5",
        "clue-temperature-2.0",
    ];
    assert_eq!(planned(&place, "search.toml"), expected);
    with("{ id = \"clue\", params = { n_init = 2 } }", "[search]\nclue.temperature = [0.5]\n");
    place.good(&["study", "run", "search.toml", "--out", "s"]);
    let run = fs::read_dir(place.at("s/clue-temperature-0.5")).unwrap().next().unwrap().unwrap().path();
    let header: Value = serde_json::from_slice(&fs::read(run.join("header.json")).unwrap()).unwrap();
    assert_eq!((&header["params"]["temperature"], &header["params"]["n_init"]), (&json!(0.5), &json!(2)));

    let refused = |search: &str, parts: &[&str]| {
        with(three, &format!("[search]\n{search}\n"));
        place.call(&["study", "plan", "search.toml"]).fails(2, parts);
    };
    refused("cal = { neighbours = 3 }", &["`cal` has no such parameter; it has k, normalise, reduce"]);
    refused("cal = { normalise = 3 }", &["it is chosen of a few, and has no range", "write \"all\""]);
    refused("cal = { k = \"all\" }", &["it is a range, and has no choices"]);
    refused("cal = { k = [0, 5000] }", &["0 is less than the minimum of 1", "5000 is greater than the maximum"]);
    refused("clue.n_init = [3]", &["it is given in `params` of the strategy, too"]);
    refused("clue.max_iter = 4", &["the author of `clue` names no range for it", "{ log = [LOW, HIGH], points = N }"]);
    refused("clue.temperature = { log = [2.0, 1.0], points = 3 }", &["two positive numbers, the lower first"]);
    refused("margin.x = 3", &["no strategy has this label"]);
    refused("clue.temperature = [0.50, 0.5]", &["two strategies would be called `clue-temperature-0.5`"]);
    refused(
        "clue = { temperature = 100, max_iter = { linear = [1.0, 100.0], points = 100 } }",
        &["10000 combinations"],
    );
    with("{ id = \"badgee\" }", "[search]\nbadgee.first = \"all\"\n");
    place.call(&["study", "plan", "search.toml"]).fails(2, &["no strategy is called `badgee`"]);
    with(three, "[search]\ncal.k = 3\n");
    let suite = place.call(&["evaluate", "badge", "--suite", "search.toml"]);
    suite.fails(2, &["a suite measures by settings that stand in it"]);
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_goes_on_when_it_may() {
    let place = with_grid("[launch]\nminutes = 0.02\n");
    let slow = ["--set", "recipe.epochs=4000", "--set", "axes={}", "--set", "strategies=[{id=\"random\"}]"];
    let said = place.call(&[&["study", "run", "grid.toml", "--out", "s"][..], &slow].concat());
    assert_eq!(said.code, Some(1), "{}", said.err);
    for part in ["OVER TIME", "it was not done in 1.2 s", "1 of 1 runs did not finish: random/seed-0"] {
        assert!(said.err.contains(part), "`{part}` is missing in {}", said.err);
    }
    let found = status(&place, "s");
    assert_eq!(states(&found), ["over-time"]);
    assert!(place.good(&["study", "status", "s"]).contains("over time: random/seed-0: it was not done in"));
    let no_limit = ["--set", "launch.minutes=100"];
    let said = place.call(&[&["study", "run", "grid.toml", "--out", "s"][..], &slow, &no_limit].concat());
    assert_eq!(said.code, Some(0), "{}", said.err);
    let attempts = &status(&place, "s")["cells"][0]["attempts"];
    assert_eq!((&attempts[0]["state"], &attempts[1]["state"]), (&json!("over-time"), &json!("done")));
}

#[test]
fn a_command_of_ones_own_starts_cells() {
    let place = with_grid("[launch]\nlauncher = \"command\"\njobs = 2\ncommand = [\"sh\", \"-c\", \"{line}\"]\n");
    place.good(&["study", "run", "grid.toml", "--out", "s"]);
    assert_eq!(states(&status(&place, "s")), ["done"; 4]);
    place.good(&["study", "run", "grid.toml", "--launcher", "local", "--out", "t"]);
    let folders = place.planned(&["grid.toml"]);
    assert_eq!(folders.iter().collect::<BTreeSet<_>>().len(), 4);
    for folder in folders {
        assert_same(&lasting(&place.at("s").join(&folder)), &lasting(&place.at("t").join(&folder)));
    }
    // One that ends before the cell does: the ledger tells.
    let later = "launch.command=[\"sh\", \"-c\", \"(sleep 0.3; {line}) &\"]";
    place.good(&["study", "run", "grid.toml", "--out", "u", "--set", later]);
    assert_eq!(states(&status(&place, "u")), ["done"; 4]);
    // One that takes nothing.
    let said = place.call(&["study", "run", "grid.toml", "--out", "v", "--set", "launch.command=[\"false\"]"]);
    said.fails(1, &["4 of 4 runs did not finish", "launch.command ended: exit status: 1"]);
}

#[test]
fn a_cell_that_does_not_exist_is_not_done() {
    let place = with_grid("");
    place.good(&["study", "run", "grid.toml", "--out", "s"]);
    let digest = "0".repeat(64);
    place.call(&["study", "cell", "s", "--digest", &digest]).fails(2, &["s has no run of digest 000"]);
    place.write("cells.txt", format!("{digest}\n"));
    for index in ["1", "4000000000"] {
        let said = place.call(&["study", "cell", "s", "--list", "cells.txt", "--index", index]);
        said.fails(2, &[&format!("there is no cell {index} in cells.txt; expected a number from 0 to 0")]);
    }
    let plan: Value = serde_json::from_slice(&fs::read(place.at("s/plan.json")).unwrap()).unwrap();
    let known = plan["cells"][0]["digest"].as_str().unwrap();
    let said = place.call(&["study", "cell", "s", "--digest", known]);
    assert!(said.code == Some(0) && said.err.contains("random/seed-0 budget.batch=10 is done already"), "{}", said.err);
}

#[test]
fn ledgers_and_plans_that_were_changed_are_told() {
    let place = with_grid("");
    place.good(&["study", "run", "grid.toml", "--out", "s", "--set", "axes={}"]);
    let ledger = place.file_of("s", "random-s0", "json");
    fs::write(&ledger, "{\"version\": 1, \"attem").unwrap();
    place.call(&["study", "status", "s"]).fails(1, &["expected the ledger of a cell; remove it to begin a new one"]);
    fs::remove_file(&ledger).unwrap();
    // What is there is done, whatever the ledger says.
    assert_eq!(states(&status(&place, "s")), ["done"; 2]);
    let plan = fs::read_to_string(place.at("s/plan.json")).unwrap();
    fs::write(place.at("s/plan.json"), plan.replace("random/seed-0", "../../etc")).unwrap();
    place.call(&["study", "status", "s"]).fails(1, &["a cell has no digest or a folder elsewhere"]);
    fs::write(place.at("s/plan.json"), &plan[..plan.len() / 2]).unwrap();
    place.call(&["study", "status", "s"]).fails(1, &["expected a study's plan; `querist study run` writes it anew"]);
    place.good(&["study", "run", "grid.toml", "--out", "s", "--set", "axes={}"]);
    assert_eq!(states(&status(&place, "s")), ["done"; 2]);
}

/// Folders of runs were once called without a digest.
#[test]
fn a_study_that_an_older_version_made_goes_on() {
    let place = with_grid("");
    let plain = ["--set", "axes={}"];
    place.good(&[&["study", "run", "grid.toml", "--out", "s"][..], &plain].concat());
    fs::create_dir(place.at("s/files")).unwrap();
    for (folder, file) in FOLDERS.into_iter().zip(["random-s0", "margin-s0"]) {
        fs::rename(place.run_of("s", folder), place.at("s").join(folder)).unwrap();
        fs::rename(place.file_of("s", file, "toml"), place.at(&format!("s/files/{file}.toml"))).unwrap();
    }
    fs::remove_dir_all(place.at("s/cells")).unwrap();
    fs::remove_file(place.at("s/plan.json")).unwrap();
    let said = place.call(&[&["study", "run", "grid.toml", "--out", "s"][..], &plain].concat());
    assert!(said.code == Some(0) && said.err.contains("2 runs, 2 of them finished already"), "{}", said.err);
}

#[test]
fn curves_from_elsewhere_are_compared() {
    let place = Place::new();
    let row = |strategy: &str, seed: u32, n: usize, acc: f64| {
        format!("{strategy},{seed},{n},{acc},{}\n", n * 100 + 10 * seed as usize + strategy.len())
    };
    let mut file = "who,seed,n,acc,seconds\n".to_owned();
    for seed in 0..5 {
        for (at, n) in [100, 200, 300, 400].into_iter().enumerate() {
            let random = 50.0 + 8.0 * at as f64 + f64::from(seed) * 0.1;
            file += &row("random", seed, n, random);
            file += &row("mine", seed, n, random + 1.0 + f64::from(seed % 2) * 0.1);
        }
    }
    place.write("curves.csv", &file);
    let names = ["--strategy-column", "who", "--labelled-column", "n", "--accuracy-column", "acc", "--percent"];
    let call = |more: &[&str]| place.call(&[&["report", "--curves", "curves.csv"][..], &names, more].concat());
    call(&[]).fails(2, &["column `seconds` differs in every row", "--ignore-column seconds"]);
    let said = call(&["--ignore-column", "seconds", "--html", "page.html", "--figures", "figures"]);
    assert!(said.code == Some(0) && said.out.contains("+1.04 ± 0.07"), "{}{}", said.out, said.err);
    assert!(fs::read_to_string(place.at("page.html")).unwrap().contains("2 strategies · 10 curves"));
    assert!(fs::read_to_string(place.at("figures/against-random.svg")).unwrap().starts_with("<svg xmlns="));
    let found: Value = serde_json::from_str(&call(&["--ignore-column", "seconds", "--format", "json"]).out).unwrap();
    let comparison = &found["settings"][0]["comparisons"][0];
    assert!(comparison["area"]["p_corrected"].as_f64().unwrap() < 1e-4 && comparison["speed_up"]["speed_up"].is_f64());
    call(&["--ignore-column", "seconds", "--format", "csv"]).fails(2, &["for curves there is `--format curves-csv`"]);
    let rows = call(&["--ignore-column", "seconds", "--format", "curves-csv"]).out;
    assert_eq!(rows.lines().count(), 9, "{rows}");
    place.call(&["report", "--percent"]).fails(2, &["--curves"]);
    place.call(&["report", "--curves", "nothing.csv"]).fails(1, &["nothing.csv"]);
}
