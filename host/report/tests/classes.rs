//! Which classes are hard, how curves are named, and charts as files.

mod runs;

use std::collections::BTreeMap;

use querist_core::metric::Confusion;
use querist_report::{PageOptions, Report, html, json, markdown, svg_figures};
use runs::{report_of, study};
use serde_json::json;

/// Both strategies take the second of two classes for the first; `margin` less often, and one of its runs says nothing.
fn confused() -> Report {
    let mut runs = study();
    for run in &mut runs {
        let wrong = if run.label.as_str() == "random" { 40 } else { 10 };
        run.confusion = Some(Confusion(BTreeMap::from([((0, 0), 100), ((1, 0), wrong), ((1, 1), 100 - wrong)])));
        run.rounds[2].metrics.per_class = vec![Some(1.0), Some(1.0 - wrong as f64 / 100.0)];
    }
    let silent = runs.iter_mut().find(|run| run.label.as_str() == "margin").unwrap();
    silent.confusion = None;
    report_of(runs)
}

#[test]
fn the_worst_class_and_what_it_is_taken_for() {
    let report = confused();
    let text = markdown(&report);
    assert!(text.contains("| random | even | 60.00 | even for odd 40.0 |"), "{text}");
    assert!(text.contains("| margin | even | 90.00 | even for odd 10.0 |"), "{text}");
    let classes = &json(&report)["settings"][0]["costs"]["margin"]["final_classes"];
    assert_eq!(classes["runs"], json!(2));
    assert_eq!(classes["confusion"], json!([[0, 0, 100.0], [1, 0, 10.0], [1, 1, 90.0]]));
    assert_eq!(classes["names"], json!(["odd", "even"]));
    let page = html(&report, &PageOptions::default()).unwrap();
    let cells: Vec<&str> = page.split("What random takes for what").nth(1).unwrap().split("</td>").take(4).collect();
    let numbers: Vec<&str> = cells.iter().map(|cell| cell.rsplit('>').next().unwrap()).collect();
    assert_eq!(numbers, ["100.0", "", "40.0", "60.0"]);
    assert!(page.contains("Last round, mean over 2 runs."));
}

#[test]
fn many_classes_are_told_in_words_and_old_runs_without_confusion() {
    let mut runs = study();
    for run in &mut runs {
        run.rounds[2].metrics.per_class = vec![Some(0.5); 30];
        run.confusion = Some(Confusion(BTreeMap::from([((7, 9), 3), ((7, 7), 1), ((2, 2), 4)])));
    }
    let page = html(&report_of(runs), &PageOptions::default()).unwrap();
    assert!(page.contains("<li>7 taken for 9: 75.0 %</li>"), "classes without a name have their number");
    let page = html(&report_of(study()), &PageOptions::default()).unwrap();
    assert!(page.contains("Hardest classes") && !page.contains("takes for what"));
}

/// Of any key, those of strategies and seeds too; one that no run has is no label of "not set".
#[test]
fn curves_are_told_apart_by_any_key_that_there_is() {
    let mut runs = study();
    for run in &mut runs {
        run.config["strategy"] = json!({ "id": "k", "params": { "first": run.label.as_str() } });
    }
    let by = |key: &str| Report::new(runs.clone(), &[key.to_owned()]);
    let labels: Vec<String> =
        by("strategy.params.first").unwrap().analysis().settings[0].groups.iter().map(|g| g.label.clone()).collect();
    assert_eq!(labels, ["random", "margin"]);
    for key in ["recipe.optimizer", "strategy.params", "", "budget"] {
        let error = by(key).unwrap_err().to_string();
        assert!(error.starts_with(&format!("no run has the key `{key}`, which curves")), "{error}");
    }
}

#[test]
fn charts_as_files_need_no_style_sheet_of_a_page() {
    let figures = svg_figures(&report_of(study()));
    let names: Vec<&str> = figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["curves", "against-random"]);
    for (name, svg) in &figures {
        assert!(!svg.contains("var(") && svg.contains("stroke: #0072b2"), "{name}: {svg}");
        // Its ground is drawn, for readers that have another one.
        assert!(svg.contains("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"), "{name}: {svg}");
    }
}
