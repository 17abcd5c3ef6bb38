//! What is said of a plugin, in words, numbers and on the page.

mod runs;

use querist_report::{
    Facts, Failed, Finding, Likeness, Limits, Mark, Outcome, RuleLine, RunSummary, SuiteFacts, Verdict, verdict_html,
    verdict_text,
};
use runs::{report_of, run};
use scraper::{Html, Selector};

fn facts(label: &str) -> Facts {
    Facts {
        label: label.to_owned(),
        id: label.to_owned(),
        summary: "picks what it likes".to_owned(),
        package: "theirs".to_owned(),
        version: "0.3.1".to_owned(),
        kind: "wasm".to_owned(),
        ran: "It ran in the sandbox: no files, no network, no clock, no seeds.".to_owned(),
        digest: "ab".repeat(32),
        signature: "not signed".to_owned(),
        built_in: false,
        params: None,
        imports: vec!["querist:strategy/host@0.2.0".to_owned()],
        needs: vec!["logits".to_owned()],
        rights: Vec::new(),
        limits: Limits { memory: 512 << 20, seconds: 3600.0 },
        rules: vec![rule("repeats", "holds", "")],
        draws: Some(false),
        moved: Some((0, 120)),
        nearest: vec![Likeness { label: "margin".to_owned(), picks: Some(0.8), needs: 1.0 }],
        planned: 12,
        failed: Vec::new(),
    }
}

fn rule(name: &str, outcome: &str, message: &str) -> RuleLine {
    let says = "the same question has the same answer, bit for bit".to_owned();
    RuleLine { rule: name.to_owned(), says, outcome: outcome.to_owned(), message: message.to_owned() }
}

fn suite() -> SuiteFacts {
    SuiteFacts {
        name: "quick".to_owned(),
        digest: "cd".repeat(32),
        worth: 1.0,
        seeds: 5,
        report: Some("report.html".to_owned()),
        again: Some("querist evaluate theirs".to_owned()),
    }
}

/// Runs of five seeds in two pools, each strategy above random by its gain and a little more from seed to seed.
fn grid(gains: &[(&str, [f64; 2], f64)]) -> Vec<RunSummary> {
    let mut all = Vec::new();
    for (pool, name) in ["balanced", "long tail"].into_iter().enumerate() {
        for (label, gain, noise) in gains {
            for seed in 0..5u64 {
                // Noise that differs by label and pool: 0, 1, 2, -1, -2 in turns.
                let turn = [0.0, 1.0, 2.0, -1.0, -2.0][(seed as usize + pool) % 5];
                let above = gain[pool] + noise * turn;
                let curve = [(20, 0.5), (40, 0.6 + above), (60, 0.7 + above), (80, 0.75 + above)];
                let mut one = run(label, seed, &curve);
                one.point.insert("pool".to_owned(), name.to_owned());
                one.config["dataset"] = serde_json::json!({ "variant": name });
                all.push(one);
            }
        }
    }
    all
}

fn verdict(gains: &[(&str, [f64; 2], f64)], facts: Facts) -> Verdict {
    Verdict::new(Some(&report_of(grid(gains))), suite(), vec![facts], "0.1.0")
}

#[track_caller]
fn answer<'a>(verdict: &'a Verdict, topic: &str) -> (Mark, &'a str) {
    let said = verdict.plugins[0].says.iter().find(|said| said.topic == topic).expect("it is answered");
    (said.mark, &said.answer)
}

const PLAIN: (&str, [f64; 2], f64) = ("random", [0.0, 0.0], 0.0);

#[test]
fn one_that_is_better_is_called_so_with_its_certainty_and_where() {
    let found = verdict(&[PLAIN, ("margin", [0.02, 0.02], 0.001), ("mine", [0.08, 0.0], 0.002)], facts("mine"));
    let judged = &found.plugins[0];
    assert_eq!(judged.verdict, Outcome::Better);
    assert_eq!(judged.headline, "Better than `random`; better than `margin`, the built-in most like it.");
    let (mark, beats) = answer(&found, "baseline");
    // Trapezia: a gain counts once at two points and half at the last, of three steps: .04 x 2.5 / 3 over both pools.
    assert!(mark == Mark::Good && beats.starts_with("Yes: on average over 2 settings its mean accuracy"), "{beats}");
    assert!(beats.contains("is 3.3 points above that of `random`") && beats.contains("5 seeds, p < .001"), "{beats}");
    let (_, places) = answer(&found, "settings");
    assert!(places.contains("it is better in 1: balanced; worse in none."), "{places}");
    assert!(answer(&found, "nearest").1.contains("both pick alike 80 % more than chance has it"));
    assert!(answer(&found, "labels").1.contains("times the labels of `random`"));
    assert_eq!(judged.settings.iter().map(|setting| &*setting.name).collect::<Vec<_>>(), ["balanced", "long tail"]);
}

#[test]
fn what_is_not_known_is_said_with_the_seeds_that_would_tell() {
    let found = verdict(&[PLAIN, ("mine", [-0.03, -0.01], 0.05)], facts("mine"));
    let judged = &found.plugins[0];
    assert_eq!((judged.verdict, judged.random.as_ref().unwrap().finding), (Outcome::NotKnown, Finding::NotKnown));
    assert_eq!(judged.headline, "Not shown to differ from `random`.");
    let (mark, beats) = answer(&found, "baseline");
    let needed = judged.random.as_ref().unwrap().seeds_for_worth.unwrap();
    assert!(
        mark == Mark::Open && beats.contains("it was 1.7 points below `random`, and the true difference"),
        "{beats}"
    );
    let told =
        format!("To see a difference of 1 point with a chance of 80 % takes {needed} seeds, {} more", needed - 5);
    assert!(beats.contains(&told), "{beats}");
}

#[test]
fn equal_ones_are_equal_and_the_same_are_the_same() {
    let alike = verdict(&[PLAIN, ("mine", [0.001, 0.0], 0.0005)], facts("mine"));
    assert_eq!(alike.plugins[0].verdict, Outcome::Alike);
    assert!(answer(&alike, "baseline").1.contains("any difference is below 1 point"));
    let same = verdict(&[PLAIN, ("mine", [0.0, 0.0], 0.0)], facts("mine"));
    assert_eq!(same.plugins[0].headline, "The same as `random`.");
}

#[test]
fn one_that_fails_or_breaks_a_rule_is_not_praised() {
    let better = [PLAIN, ("mine", [0.08, 0.08], 0.001)];
    let broken = Facts { rules: vec![rule("repeats", "broken", "pick 3 is row 4 or row 5")], ..facts("mine") };
    let found = verdict(&better, broken);
    assert_eq!(found.plugins[0].verdict, Outcome::BreaksRules);
    assert!(found.plugins[0].headline.starts_with("Breaks 1 rule: `repeats`."), "{}", found.plugins[0].headline);
    assert_eq!(answer(&found, "repeats"), (Mark::Bad, "No: pick 3 is row 4 or row 5"));
    let failed = vec![Failed { run: "mine/seed-3".to_owned(), reason: "out of memory".to_owned() }];
    let found = verdict(&better, Facts { failed, ..facts("mine") });
    assert_eq!(found.plugins[0].headline, "Fails: 1 of 12 runs did not finish.");
    // Nothing at all ran.
    let none = Verdict::new(None, suite(), vec![facts("mine")], "0.1.0");
    assert_eq!(none.plugins[0].headline, "Nothing is known: no run has ended.");
    verdict_html(&none);
}

#[test]
fn hidden_labels_and_order_are_told() {
    let rights = vec!["oracle-labels".to_owned()];
    let found =
        verdict(&[PLAIN, ("mine", [0.0, 0.0], 0.01)], Facts { rights, moved: Some((14, 120)), ..facts("mine") });
    assert!(matches!(answer(&found, "reach"), (Mark::Bad, text) if text.contains("hidden labels (`oracle-labels`)")));
    assert!(matches!(answer(&found, "order"), (Mark::Bad, text) if text.contains("14 of 120 picks are others")));
}

#[test]
fn the_page_says_the_same_and_runs_nothing() {
    let evil = "<script>alert(1)</script>".to_owned();
    let found = verdict(
        &[PLAIN, ("margin", [0.02, 0.02], 0.001), ("mine", [0.08, -0.05], 0.002)],
        Facts { summary: evil, ..facts("mine") },
    );
    let text = verdict_html(&found);
    let page = Html::parse_document(&text);
    let all = |selector: &str| page.select(&Selector::parse(selector).unwrap()).collect::<Vec<_>>();
    assert!(all("script").is_empty() && text.contains("&lt;script&gt;"));
    let heading: String = all("h1")[0].text().collect();
    assert_eq!(heading, found.plugins[0].headline.replace('`', ""));
    assert_eq!(all(".says dt").len(), found.plugins[0].says.len());
    // Three lines: all settings and two pools, each against two, drawn for wide and narrow screens.
    assert_eq!(all("svg.wide .bar").len(), 6);
    assert_eq!(all("svg.narrow .random-bar").len(), 3);
    assert!(all("svg.wide .random-bar.above").len() == 2 && all("svg.wide .random-bar.below").len() == 1);
    assert!(all("a[href]").iter().all(|link| link.value().attr("href") == Some("report.html")));
    // So does the terminal.
    let terminal = verdict_text(&found);
    assert!(terminal.lines().all(|line| line.chars().count() <= 100), "{terminal}");
    assert!(
        terminal.contains("+ Does it beat `random`?") || terminal.contains("? Does it beat `random`?"),
        "{terminal}"
    );
}
