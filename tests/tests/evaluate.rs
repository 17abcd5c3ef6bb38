//! `querist evaluate`: what is said of strangers' plugins, good ones and others.

use std::fs;
use std::path::Path;

use querist_tests::cli::{Place, Said, json};
use querist_tests::native::library;
use querist_tests::target;
use serde_json::{Value, json};

/// A suite that takes seconds.
const SUITE: &str = r#"version = 1
seeds = [0, 1, 2]
strategies = [{ id = "random" }]
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 3, minibatch = 32 }
budget = { initial = 20, batch = 10, rounds = 2 }
compute = { threads = 1 }
launch = { jobs = 2 }
[[axes.pool]]
label = "balanced"
[[axes.pool]]
label = "open pool"
"dataset.variant" = { foreign = { name = "digits-shuffled", count = 300 } }
[evaluate]
yardsticks = ["k-center-greedy", "margin", "least-confidence"]
"#;

/// One seed of one pool, beside random alone.
const SMALL: [&str; 6] =
    ["--seeds", "1", "--set", "axes={pool=[{label=\"one\"}]}", "--set", "evaluate={nearest=0, worth=1.0}"];

fn place() -> Place {
    let place = Place::new();
    place.write("suite.toml", SUITE);
    place
}

fn evaluate(place: &Place, args: &[&str]) -> Said {
    place.call(&[&["evaluate", "--suite", "suite.toml", "--out", "e"], args].concat())
}

fn path(of: &str) -> String {
    target().join(of).display().to_string()
}

/// The verdict on the first plugin, and the answer to a question about it.
fn verdict(place: &Place) -> Value {
    json(&place.at("e/verdict.json"))
}

#[track_caller]
fn answer(judged: &Value, topic: &str) -> (String, String) {
    let says = judged["says"].as_array().unwrap();
    let said = says.iter().find(|said| said["topic"] == topic).unwrap_or_else(|| panic!("no {topic} in {says:#?}"));
    (said["mark"].as_str().unwrap().to_owned(), said["answer"].as_str().unwrap().to_owned())
}

#[test]
fn a_plugin_is_judged_beside_random_and_what_is_most_like_it() {
    let place = place();
    let said = evaluate(&place, &[&path("plugins/uncertainty"), "--strategy", "entropy"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("18 runs, 0 of them finished already"), "{}", said.err);
    let found = verdict(&place);
    let judged = &found["plugins"][0];
    // Entropy picks as the other uncertainties do, and not as what covers the pool.
    let nearest = judged["facts"]["nearest"][0].clone();
    assert!(["margin", "least-confidence"].contains(&nearest["label"].as_str().unwrap()), "{nearest}");
    assert!(nearest["picks"].as_f64().unwrap() > 0.3, "{nearest}");
    // What is said is what the report has.
    let report: Value = serde_json::from_str(&place.good(&["report", "e", "--format", "json"])).unwrap();
    let mean = |setting: &Value| {
        let comparisons = setting["comparisons"].as_array().unwrap();
        let own = comparisons.iter().find(|comparison| comparison["label"] == "entropy").unwrap();
        own["area"]["difference"]["mean"].as_f64().unwrap()
    };
    let means: Vec<f64> = report["settings"].as_array().unwrap().iter().map(mean).collect();
    let random = &judged["random"];
    assert_eq!((random["settings"].as_u64(), random["difference"]["n"].as_u64()), (Some(2), Some(3)));
    let over_all = random["difference"]["mean"].as_f64().unwrap();
    assert!((over_all - (means[0] + means[1]) / 2.0).abs() < 1e-12, "{over_all} {means:?}");
    let names: Vec<&str> =
        judged["settings"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["balanced", "open pool"]);
    // What it does, what it costs, who made it.
    assert_eq!(answer(judged, "rules").0, "good");
    assert!(answer(judged, "repeats").1.starts_with("Yes: the same question has the same answer"));
    assert!(answer(judged, "order").1.starts_with("No: in the opposite order the same samples"));
    assert!(answer(judged, "reach").1.contains("It asks for `logits`, and for no hidden label"));
    assert!(answer(judged, "limits").1.contains("under 1 % of its memory (512 MiB)"));
    assert!(answer(judged, "cost").1.contains("`random`"));
    assert_eq!(judged["facts"]["signature"], "not signed");
    let imports = judged["facts"]["imports"].as_array().unwrap();
    assert!(!imports.is_empty() && imports.iter().all(|name| name.as_str().unwrap().starts_with("querist:strategy/")));
    assert!(
        said.out.contains("Does it beat `random`?")
            && said.out.contains(judged["headline"].as_str().unwrap().split(';').next().unwrap())
    );
    // The page stands alone.
    let page = fs::read_to_string(place.at("e/verdict.html")).unwrap();
    assert!(page.contains("default-src 'none'") && page.contains("report.html") && !page.contains("<script"));
    assert!(place.at("e/report.html").is_file());

    // More seeds are added to what is there, and what is there is not done again.
    let more = evaluate(&place, &[&path("plugins/uncertainty"), "--strategy", "entropy", "--seeds", "4"]);
    assert!(more.err.contains("24 runs, 18 of them finished already"), "{}", more.err);
    assert_eq!(verdict(&place)["plugins"][0]["random"]["difference"]["n"], json!(4));
}

#[test]
fn what_cannot_be_better_than_chance_is_not_called_better() {
    let place = place();
    let package = path("misbehaving/misbehaving");
    let said = evaluate(&place, &[&package, "--strategy", "misbehaving", "--set", "evaluate={nearest=0, worth=1.0}"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let found = verdict(&place);
    let judged = &found["plugins"][0];
    // It picks the first rows, and samples are numbered by a hash.
    assert!(judged["verdict"] != "better" || judged["random"]["p"].as_f64().unwrap() > 0.001, "{judged:#?}");
    let (mark, order) = answer(judged, "order");
    assert!(mark == "bad" && order.contains("it draws no lots: in the opposite order 120 of 120"), "{mark} {order}");
    // What three seeds leave open is said in words, with what would tell.
    if judged["random"]["finding"] == "not-known" {
        let (mark, beats) = answer(judged, "baseline");
        assert!(
            mark == "open" && beats.contains("To see a difference of 1 point with a chance of 80 % takes"),
            "{beats}"
        );
    }
}

#[test]
fn one_that_fails_in_its_runs_is_told_with_its_reason() {
    let place = place();
    let package = path("misbehaving/misbehaving");
    let args = [&[&*package, "--strategy", "misbehaving", "--param", "way=memory"][..], &SMALL].concat();
    let said = evaluate(&place, &[&args[..], &["--set", "limits={memory=\"64MiB\"}"]].concat());
    assert_eq!(said.code, Some(1), "{}", said.err);
    let found = verdict(&place);
    let judged = &found["plugins"][0];
    assert_eq!(judged["verdict"], json!("fails"));
    let failed = &judged["facts"]["failed"][0];
    assert!(failed["run"].as_str().unwrap().starts_with("misbehaving/seed-0"), "{failed}");
    assert!(failed["reason"].as_str().unwrap().contains("memory"), "{failed}");
    assert!(said.err.contains("error: `misbehaving`: Fails: 1 of 1 run did not finish."), "{}", said.err);
    let page = fs::read_to_string(place.at("e/verdict.html")).unwrap();
    assert!(page.contains("Runs that did not finish") && page.contains("hero bad"));
}

#[test]
fn native_plugins_run_isolated_and_fickle_ones_are_found_out() {
    let place = place();
    place.good(&["plugin", "pack", "--allow-native", &library("native_fixture"), "--out", "packed"]);
    let package = "packed/native-fixture";
    // The native twin of a built-in strategy: another artifact, the very same picks.
    let twin = ["--seeds", "1", "--set", "axes={pool=[{label=\"one\"}]}"];
    let said = evaluate(&place, &[&[package, "--strategy", "margin"][..], &twin].concat());
    assert_eq!(said.code, Some(0), "{}", said.err);
    let found = verdict(&place);
    let judged = &found["plugins"][0];
    assert!(answer(judged, "reach").1.starts_with("It is native code, and ran in a process of its own"));
    let like = &judged["facts"]["nearest"][0];
    assert_eq!((&like["label"], &like["picks"]), (&json!("margin"), &json!(1.0)));
    assert_eq!(judged["nearest"][0]["finding"], json!("same"));
    assert!(answer(judged, "nearest").1.contains("Of made-up pools both pick the very same rows"));

    fs::remove_dir_all(place.at("e")).unwrap();
    let args = [&[package, "--strategy", "native-misbehave", "--param", "how=fickle"][..], &SMALL].concat();
    let said = evaluate(&place, &args);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let found = verdict(&place);
    let judged = &found["plugins"][0];
    assert_eq!(judged["verdict"], json!("breaks-rules"));
    let (mark, repeats) = answer(judged, "repeats");
    assert!(mark == "bad" && repeats.contains("answers the same question differently"), "{repeats}");
}

#[test]
fn two_packages_of_one_id_stand_side_by_side() {
    let place = place();
    place.good(&["plugin", "pack", "--allow-native", &library("native_fixture"), "--out", "packed"]);
    let said = evaluate(&place, &[&["margin", "packed/native-fixture", "--strategy", "margin"][..], &SMALL].concat());
    assert_eq!(said.code, Some(0), "{}", said.err);
    let found = verdict(&place);
    let facts = |at: usize, key: &str| found["plugins"][at]["facts"][key].as_str().unwrap().to_owned();
    assert_ne!(facts(0, "digest"), facts(1, "digest"));
    assert_eq!(facts(0, "id"), facts(1, "id"));
    assert_eq!(facts(1, "label"), format!("margin-{}", &facts(1, "digest")[..8]));
    assert_eq!(found["between"][0]["finding"], json!("same"));
    assert!(said.out.contains("beside"), "{}", said.out);
    // Each run has the artifact that was named, by its digest.
    for at in 0..2 {
        let run = place.run_of("e", &format!("{}/seed-0", facts(at, "label")));
        assert_eq!(json(&run.join("header.json"))["strategy"]["digest"], json!(facts(at, "digest")));
    }
    // Other verbs know digests, too.
    let show = |digest: &str| {
        let id = format!("margin@sha256:{digest}");
        place.call(&["plugin", "show", &id, "--plugin-dir", "packed", "--format", "json"])
    };
    let shown: Value = serde_json::from_str(&show(&facts(1, "digest")[..12]).out).unwrap();
    assert_eq!(shown["package"], json!("native-fixture"));
    show(&"0".repeat(12)).fails(2, &["there is one with digest", &facts(0, "digest")]);
    show("xyz").fails(2, &["`xyz` is no digest: expected 8 to 64 hex digits"]);
}

#[test]
fn a_copy_of_a_built_in_package_is_the_built_in_one() {
    let place = place();
    copy(&target().join("plugins/uncertainty"), &place.at("copy"));
    // Margin is among the yardsticks, too.
    let wanted = r#"evaluate={yardsticks=["margin", "least-confidence"], nearest=1, worth=1.0, rules="none"}"#;
    let args = [&["copy", "--strategy", "margin"][..], &SMALL[..4], &["--set", wanted]].concat();
    let said = evaluate(&place, &args);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let facts = &verdict(&place)["plugins"][0]["facts"];
    assert_eq!((&facts["built_in"], &facts["nearest"][0]["label"]), (&json!(true), &json!("least-confidence")));
}

#[test]
fn what_cannot_be_evaluated_says_why() {
    let place = place();
    place.write("empty/readme.txt", "nothing");
    place.write("bare.toml", SUITE.replace("{ id = \"random\" }", "{ id = \"margin\" }"));
    place.write("wrong.toml", SUITE.replace("\"k-center-greedy\"", "\"k-centre\""));
    let uncertainty = path("plugins/uncertainty");
    let torch = path("plugins/learning-loss");
    fs::create_dir(place.at("theirs")).unwrap();
    copy(Path::new(&torch), &place.at("theirs/learning-loss"));
    // Not the library that came with the program, so nobody vouches for it.
    let library = place.at("theirs/learning-loss/learning-loss.so");
    let longer = [&fs::read(&library).unwrap()[..], b"\0"].concat();
    fs::write(&library, longer).unwrap();
    for (args, parts) in [
        (&["nobody"][..], &["no strategy is called `nobody`"][..]),
        (&["./empty"], &["holds no package", "querist plugin pack"]),
        (&[&uncertainty], &["several strategies: choose one with `--strategy`", "`entropy`"]),
        (&[&uncertainty, "--strategy", "entropi"], &["has no strategy `entropi`; it has"]),
        (&["margin", "--suite", "quik"], &["there is no suite `quik`", "quick, standard"]),
        (&["margin", "--suite", "bare.toml"], &["has no `random`"]),
        (&["badge", "--suite", "wrong.toml"], &["no built-in strategy is called `k-centre`"]),
        (&["margin", "margin"], &["is named twice"]),
        (&["badge", "--param", "first=maybe"], &["parameters of strategy `badge`"]),
        (&["theirs/learning-loss"], &["could do whatever you can", "`--allow-native`"]),
    ] {
        let suite = if args.contains(&"--suite") { &[][..] } else { &["--suite", "suite.toml"] };
        place.call(&[&["evaluate", "--out", "no"][..], args, suite].concat()).fails(2, parts);
        assert!(!place.at("no/plan.json").exists(), "{args:?}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
