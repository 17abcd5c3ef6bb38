//! What each wish of a query added to its picks, on the page.

mod runs;

use std::collections::BTreeMap;

use querist_core::SampleId;
use querist_protocol::Shown;
use querist_report::{PageOptions, Picture, RunSummary, Thumbnail, html};
use runs::{report_of, run, study};
use scraper::{Html, Selector};
use serde_json::{Value, json};

/// A run of two queries of so many picks each, in which a wish gives way to another.
fn mixed(seed: u64, picks: usize) -> RunSummary {
    let mut run = run("mix", seed, &[(100, 0.5), (200, 0.7), (500, 0.8)]);
    for round in &mut run.rounds[..2] {
        round.acquired = (0..picks as u64).map(SampleId).collect();
        let falling: Vec<f64> = (0..picks).map(|pick| 1.0 - pick as f64 / picks as f64).collect();
        let rising = falling.iter().map(|part| seed as f64 + 1.0 - part).collect();
        // The name of a term is text of a plugin's author.
        round.terms = BTreeMap::from([("<b>diversity".to_owned(), falling), ("random".to_owned(), rising)]);
    }
    run.rounds[2].acquired.clear();
    run
}

fn page(runs: Vec<RunSummary>) -> (String, Value) {
    let text = html(&report_of(runs), &PageOptions::default()).unwrap();
    let page = Html::parse_document(&text);
    let data = page.select(&Selector::parse("#figures").unwrap()).next().unwrap().text().collect::<String>();
    let charts: Value = serde_json::from_str(&data).unwrap();
    let found = charts["charts"].as_array().unwrap().iter().find(|chart| chart["x_label"] == "pick").cloned();
    (text, found.unwrap_or_default())
}

#[test]
fn every_pick_is_drawn_round_after_round() {
    let mut runs = study();
    runs.extend([mixed(1, 4), mixed(0, 4)]);
    let (text, chart) = page(runs);
    assert_eq!(text.matches("What each wish added").count(), 1);
    assert!(text.contains("mix, seed 0") && !text.contains("<b>diversity"));
    assert_eq!(chart["x"], json!([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]));
    let series = chart["series"].as_array().unwrap();
    assert_eq!((&series[0]["label"], &series[1]["label"]), (&json!("<b>diversity"), &json!("random")));
    assert_eq!(series[0]["mean"], json!([1.0, 0.75, 0.5, 0.25, 1.0, 0.75, 0.5, 0.25]));
    assert_eq!(series[1]["mean"], json!([0.0, 0.25, 0.5, 0.75, 0.0, 0.25, 0.5, 0.75]), "of the lowest seed");
    // A term that is called like the baseline is none.
    let page = Html::parse_document(&text);
    let legends = Selector::parse("details[data-key^='wishes'] .legend li").unwrap();
    let names: Vec<String> = page.select(&legends).map(|name| name.text().collect()).collect();
    assert_eq!(names, ["<b>diversity", "random"]);
    assert_eq!(page_of_nothing(), Value::Null);
}

fn page_of_nothing() -> Value {
    page(study()).1
}

#[test]
fn of_many_picks_the_means_are_drawn() {
    let (text, chart) = page(vec![mixed(0, 130)]);
    // 260 picks by threes, without crossing a round: 43 times 3 and once 1, twice.
    assert!(text.contains("each point the mean of 3"));
    let x = chart["x"].as_array().unwrap();
    assert_eq!((x.len(), &x[0], &x[43], &x[44]), (88, &json!(3.0), &json!(130.0), &json!(133.0)));
    let mean = chart["series"][0]["mean"].as_array().unwrap();
    assert!((mean[0].as_f64().unwrap() - (1.0 - 1.0 / 130.0)).abs() < 1e-12, "{}", mean[0]);
    assert!((mean[43].as_f64().unwrap() - 1.0 / 130.0).abs() < 1e-12, "{}", mean[43]);
}

#[test]
fn pictures_say_which_wish_took_them() {
    let mut run = mixed(0, 4);
    let picture = || Picture::Raw { height: 4, width: 4, channels: 1, pixels: vec![90; 16] };
    let thumbnail = |rank| Thumbnail { rank, class: Shown::name("even"), picture: picture() };
    run.thumbnails = vec![(0..4).map(thumbnail).collect()];
    let (text, _) = page(vec![run]);
    let page = Html::parse_document(&text);
    let captions: Vec<String> = page
        .select(&Selector::parse("figcaption").unwrap())
        .map(|caption| caption.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert!(captions[0].ends_with("mostly <b>diversity") && captions[3].ends_with("mostly random"), "{captions:?}");
    let images = Selector::parse("figure img").unwrap();
    let titles: Vec<&str> = page.select(&images).map(|image| image.attr("title").unwrap()).collect();
    assert_eq!(titles[3], "rank 3, random 0.750, <b>diversity 0.250");
}
