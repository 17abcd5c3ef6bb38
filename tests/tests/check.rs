//! `querist plugin check` on packages that keep the rules, and on packages that break them.

use querist_tests::cli::Place;
use querist_tests::target;
use serde_json::Value;

/// The findings on a package, as rule and outcome with what is said about it.
fn findings(place: &Place, args: &[&str], code: i32) -> Vec<(String, String, String)> {
    let said = place.call(&[&["plugin", "check", "--format", "json"], args].concat());
    assert_eq!(said.code, Some(code), "{args:?}: {}{}", said.out, said.err);
    let rows: Vec<Value> = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.err));
    let text = |row: &Value, key: &str| row[key].as_str().expect("a text").to_owned();
    rows.iter().map(|row| (text(row, "rule"), text(row, "outcome"), text(row, "message"))).collect()
}

fn path(of: &str) -> String {
    target().join(of).display().to_string()
}

#[test]
fn packages_of_every_kind_pass() {
    let place = Place::new();
    for package in ["plugins/uncertainty", "plugins/fixed"] {
        let findings = findings(&place, &[&path(package)], 0);
        for rule in ["answers", "threads-and-tiles", "needs", "cancel", "process", "leaks"] {
            let holds = findings.iter().filter(|(name, outcome, _)| name == rule && outcome == "holds").count();
            assert!(holds > 0, "{package}: {rule}: {findings:?}");
        }
    }
    let library = path("libnative_fixture.so");
    let native = findings(&place, &["--quick", "--allow-native", "--strategy", "margin", &library], 0);
    assert!(native.iter().any(|(rule, outcome, _)| rule == "processes" && outcome == "holds"), "{native:?}");
}

/// A component that somebody published is its package: it carries its manifest.
#[test]
fn a_component_without_its_folder_is_checked_and_used() {
    let place = Place::new();
    let component = place.at("their/uncertainty.wasm");
    std::fs::create_dir(place.at("their")).unwrap();
    std::fs::copy(target().join("plugins/uncertainty/uncertainty.wasm"), &component).unwrap();
    let findings = findings(&place, &["--quick", "--strategy", "entropy", "their/uncertainty.wasm"], 0);
    assert!(findings.iter().any(|(rule, outcome, _)| rule == "answers" && outcome == "holds"), "{findings:?}");
}

#[test]
fn a_strategy_that_takes_part_in_training_is_tried_in_small_runs() {
    let place = Place::new();
    let findings = findings(&place, &[&path("plugins/learning-loss")], 0);
    let trial = findings.iter().find(|(rule, ..)| rule == "trial").expect("a trial");
    assert_eq!(trial.2, "answers 2 queries, and changes how the model is trained");
}

#[test]
fn broken_rules_are_found_by_their_names() {
    let place = Place::new();
    let package = path("misbehaving");
    for (way, rule, words) in [
        ("short", "answers", "selected 1 rows, expected exactly 2"),
        ("duplicate", "answers", "was picked before"),
        ("labelled", "answers", "the pool has rows 0 to"),
        ("nan", "answers", "scores must be finite"),
        ("undeclared", "answers", "not among the declared needs"),
        ("panic", "answers", "on purpose, at row"),
        ("trap", "repeats", "unreachable"),
        ("bad-text", "degenerate-pools", "utf-8"),
    ] {
        let params = format!(r#"{{"way": "{way}"}}"#);
        let findings = findings(&place, &["--quick", "--strategy", "misbehaving", "--params", &params, &package], 1);
        let found = findings.iter().find(|(name, ..)| name == rule).expect("the rule was looked at");
        assert!(found.1 == "broken" && found.2.contains(words), "{way}: {found:?}");
    }
    // One that behaves but needs nothing of what it asks for is told so.
    let well = findings(&place, &["--quick", "--strategy", "misbehaving", &package], 0);
    let needs = well.iter().find(|(name, ..)| name == "needs").expect("the rule was looked at");
    assert_eq!(needs.2, "no answer seen depends on logits: is it needed?");
}

#[test]
fn what_cannot_be_checked_says_why() {
    let place = Place::new();
    place.write("empty/readme.txt", "nothing");
    for (args, words) in [
        (vec!["nowhere"], "nowhere"),
        (vec!["empty"], "there is no package in empty"),
        (vec![&*path("plugins/badge"), "--strategy", "bagde"], "no strategy `bagde`"),
        (vec![&*path("libnative_fixture.so")], "--allow-native"),
        (vec![&*path("plugins/badge"), "--params", "{"], "--params"),
    ] {
        let said = place.call(&[vec!["plugin", "check"], args.clone()].concat());
        assert_eq!(said.code, Some(2), "{args:?}: {}", said.err);
        assert!(said.err.contains(words), "{args:?}: expected `{words}` in: {}", said.err);
    }
}
