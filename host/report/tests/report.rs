//! Statistics on numbers computed elsewhere, and the shape of every output.

use std::path::{Path, PathBuf};

use querist_core::config::{Adversarial, Evaluate};
use querist_core::fitted::EnsembleRecord;
use querist_core::metric::Metrics;
use querist_core::{Round, RoundRecord, SampleId, StrategyIdentity, StrategyKind};
use querist_protocol::{Shown, is_showable};
use querist_report::{
    PageOptions, Picture, Report, ReportError, RunState, RunSummary, Thumbnail, csv, html, json, json_text, table,
};
use scraper::{Html, Selector};
use serde_json::json;

fn record(round: usize, labelled: usize, accuracy: f64) -> RoundRecord {
    let metrics = Metrics { accuracy, loss: 0.5, ece: 0.02, per_class: vec![Some(accuracy); 2] };
    let mut record = RoundRecord::new(
        Round(round as u32),
        labelled,
        50_000_usize.saturating_sub(labelled),
        metrics,
        "cpu, 2 threads".to_owned(),
    );
    record.seconds.fit = 10.0;
    record.seconds.query = 0.25;
    record.acquired = (0..3).map(SampleId).collect();
    record
}

fn run(label: &str, seed: u64, curve: &[(usize, f64)]) -> RunSummary {
    RunSummary {
        label: Shown::name(label),
        layout: 2,
        strategy: StrategyIdentity {
            id: label.to_owned(),
            package: label.to_owned(),
            version: "0.1.0".to_owned(),
            kind: StrategyKind::Wasm,
            digest: "ab".repeat(32),
        },
        seed,
        dataset: Shown::name("digits"),
        dataset_digest: Shown::name(&"cd".repeat(32)),
        model: Shown::name("cnn"),
        config: json!({ "budget": { "initial": 100 }, "seeds": { "root": seed } }),
        rounds: curve.iter().enumerate().map(|(round, &(labelled, a))| record(round, labelled, a)).collect(),
        thumbnails: Vec::new(),
        state: RunState::Finished,
    }
}

/// Two strategies with three seeds each; `margin` is above by .02, .03 and .04 at every count.
fn study() -> Vec<RunSummary> {
    let random =
        |seed: u64, shift: f64| run("random", seed, &[(100, 0.5 + shift), (200, 0.7 + shift), (500, 0.8 + shift)]);
    let margin =
        |seed: u64, shift: f64| run("margin", seed, &[(100, 0.5 + shift), (200, 0.7 + shift), (500, 0.8 + shift)]);
    vec![
        margin(2, 0.04 + 0.02),
        random(0, 0.0),
        margin(0, 0.02),
        random(1, 0.01),
        margin(1, 0.03 + 0.01),
        random(2, 0.02),
    ]
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-6
}

#[test]
fn a_small_study_by_hand() {
    let report = Report::new(study()).unwrap();
    let [random, margin] = report.groups() else { panic!("two groups") };
    assert_eq!((random.label.as_str(), &random.seeds[..]), ("random", &[0, 1, 2][..]));
    // One run's area is .7125 plus its shift; the shifts of random are 0, .01, .02.
    let area = random.area_over_labels.unwrap();
    assert!(close(area.mean, 0.7225) && close(area.std.unwrap(), 0.01) && area.n == 3, "{area:?}");
    assert!(close(random.area_over_rounds.unwrap().mean, 0.685));
    assert!(close(margin.final_accuracy.unwrap().mean, 0.84));
    assert!(close(random.query_seconds.unwrap().mean, 0.75));
    // Differences .02, .03, .04: mean .03, deviation .01, half width 4.302653 * .01 / sqrt(3) = .024841.
    let [comparison] = report.comparisons() else { panic!("one comparison") };
    assert!(close(comparison.area_difference.mean, 0.03) && close(comparison.area_half_width.unwrap(), 0.024_841));
    assert!(close(comparison.final_difference.mean, 0.03));
    let last = &comparison.curve[2];
    assert!(last.labelled == 500 && close(last.accuracy.mean, 0.03) && close(last.accuracy.std.unwrap(), 0.01));
    assert_eq!(report.best().map(|group| group.label.as_str()), Some("margin"));
    assert!(report.warnings().is_empty(), "{:?}", report.warnings());
    assert_eq!(
        table(&report),
        " strategy  n       final %          area %  area by round %                 vs random  fit s  query s
 random    3  81.00 ± 1.00    72.25 ± 1.00     68.50 ± 1.00                         -     30     0.75
 margin    3  84.00 ± 2.00  75.25 ± 2.00 *     71.50 ± 2.00  +3.00 ± 2.48 points, n=3     30     0.75
* `margin` is above every other with 95 % confidence (paired t, Bonferroni)
"
    );
}

#[test]
fn what_would_mislead_is_said() {
    let warnings = |runs: Vec<RunSummary>| Report::new(runs).unwrap();
    let mut runs = study();
    runs[0].state = RunState::Incomplete { done: 3, planned: 9 };
    let report = warnings(runs);
    let margin = &report.groups()[1];
    assert_eq!((&margin.seeds[..], margin.incomplete, margin.area_over_labels.unwrap().n), (&[0, 1][..], 1, 2));
    assert_eq!(report.comparisons()[0].area_difference.n, 2);
    assert!(table(&report).contains("not counted: `margin`, seed 2: incomplete (3 of 9 rounds)"));

    let one = warnings(study().into_iter().filter(|run| run.seed == 1).collect());
    assert_eq!((one.groups()[0].area_over_labels.unwrap().std, one.comparisons()[0].area_half_width), (None, None));
    assert!(
        one.best().is_none() && one.warnings()[0].contains("`random` has one finished seed"),
        "{:?}",
        one.warnings()
    );

    let mut runs = study();
    runs[0].strategy.digest = "ef".repeat(32);
    runs[1].rounds.remove(1);
    runs.push(run("random", 2, &[(100, 0.1), (200, 0.1), (500, 0.1)]));
    let report = warnings(runs);
    let text = report.warnings().join("\n");
    for expected in [
        "`margin` mixes different builds of its plugin: abababababab, efefefefefef",
        "the runs of `random` were measured at different labelled counts; only the 2 common ones are used",
        "not all groups were measured at the same labelled counts (`margin` | `random`)",
        "`random` has more than one run of seed 2; only one, finished, is counted",
    ] {
        assert!(text.contains(expected), "{text}\n  lacks: {expected}");
    }
    assert_eq!(report.comparisons()[0].labelled, [100, 500]);

    let mut runs = study();
    runs[0].dataset_digest = Shown::name(&"00".repeat(32));
    let report = warnings(runs);
    assert!(
        report.warnings()[0]
            .contains("different datasets: digits (000000000000), digits (cdcdcdcdcdcd); nothing is compared")
    );
    assert!(report.comparisons().is_empty() && report.best().is_none());
}

#[test]
fn records_that_no_run_writes_are_refused() {
    assert_eq!(Report::new(Vec::new()).unwrap_err(), ReportError::Empty);
    let text = |curve: &[(usize, f64)]| Report::new(vec![run("random", 7, curve)]).unwrap_err().to_string();
    assert_eq!(text(&[(100, f64::NAN)]), "run `random`, seed 7, round 0: accuracy NaN is not between 0 and 1");
    assert_eq!(
        text(&[(100, 0.5), (100, 0.6)]),
        "run `random`, seed 7, round 1: 100 labelled samples after 100; expected more"
    );
    assert!(
        text(&[(usize::MAX - 1, 0.5), (usize::MAX, 0.5)]).contains("labelled samples, expected at most 4294967295")
    );
    assert_eq!(text(&[]), "run `random`, seed 7, round 0: the run is finished but has no rounds");
}

#[test]
fn csv_and_json_hold_every_round() {
    let mut runs = study();
    runs[1].label = Shown::name("random, \"quoted\"\nand broken");
    let report = Report::new(runs).unwrap();
    let mut bytes = Vec::new();
    csv(&report, &mut bytes).unwrap();
    let mut reader = ::csv::Reader::from_reader(&bytes[..]);
    let column = reader.headers().unwrap().iter().position(|name| name == "accuracy").unwrap();
    let rows: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.len(), 18);
    let quoted = rows.iter().find(|row| row[0].contains("broken")).unwrap();
    assert_eq!((&quoted[0], quoted[column].parse::<f64>()), ("random, \"quoted\" and broken", Ok(0.5)));
    let value = json(&report);
    assert_eq!((&value["version"], value["runs"].as_array().unwrap().len()), (&json!(1), 6));
    assert_eq!(value["runs"][0]["rounds"][2]["labelled"], json!(500));
}

#[test]
fn text_of_a_run_folder_steers_nothing_in_any_form() {
    let evil = "=1+1\u{1b}[2J\u{202e}\u{2028}\u{9b}1m\u{e0041}";
    let mut runs = study();
    for run in &mut runs {
        let strategy = &mut run.strategy;
        (strategy.id, strategy.package, strategy.version) = (evil.to_owned(), evil.to_owned(), evil.to_owned());
        (strategy.digest, run.dataset) = (evil.to_owned(), Shown::name(evil));
        run.config = json!({ evil: evil });
        for record in &mut run.rounds {
            record.backend = evil.to_owned();
            record.diagnostics.insert(evil.to_owned(), 1.0);
        }
    }
    runs[0].strategy.digest = "ab".to_owned();
    let report = Report::new(runs).unwrap();
    let mut cells = Vec::new();
    csv(&report, &mut cells).unwrap();
    let cells = String::from_utf8(cells).unwrap();
    assert!(cells.contains(",'=1+1") && !cells.contains(",="), "{cells}");
    let text = json_text(&report).unwrap();
    let page = html(&report, &PageOptions::default()).unwrap();
    for text in [&cells, &text, &page, &table(&report)] {
        assert!(text.lines().all(is_showable), "{text}");
    }
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), json(&report), "nothing is lost");
}

fn picture(side: usize, channels: usize) -> Picture {
    Picture::Raw { height: side, width: side, channels, pixels: vec![128; side * side * channels] }
}

fn count(page: &Html, selector: &str) -> usize {
    page.select(&Selector::parse(selector).unwrap()).count()
}

#[test]
fn the_page_is_whole_and_needs_nothing_else() {
    let evil = "<script>alert(1)</script>";
    let mut runs = study();
    for at in [0, 2, 4] {
        runs[at].label = Shown::name(evil);
    }
    runs[0].thumbnails = vec![
        (0..5)
            .rev()
            .map(|rank| Thumbnail {
                rank,
                class: Shown::name(&format!("{evil}{rank}")),
                picture: picture(8, 1 + 2 * (rank % 2)),
            })
            .collect(),
    ];
    runs[0].config = json!({ "note": evil, "seeds": {} });
    let report = Report::new(runs.clone()).unwrap();
    let options = PageOptions { title: format!("Study {evil}"), pictures_per_round: 2 };
    let text = html(&report, &options).unwrap();
    let page = Html::parse_document(&text);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    assert_eq!((count(&page, "script"), text.matches("&lt;script&gt;").count() > 8), (0, true));
    for address in ["http:", "https:", "src=\"/", "url(", "@import", "<link"] {
        assert!(!text.contains(address), "{address}");
    }
    // Two charts in two sizes: two curves and one difference, each with a band and a dot a count.
    assert_eq!(
        (count(&page, "svg.chart polyline"), count(&page, "svg.wide polygon.band"), count(&page, "svg.wide circle")),
        (6, 3, 9)
    );
    assert_eq!((count(&page, "td.best"), count(&page, "figure img")), (1, 2));
    assert!(text.contains("and 3 more") && text.contains("src=\"data:image/png;base64,iVBORw0KGgo"));
    let caption = page.select(&Selector::parse("figcaption").unwrap()).next().unwrap().text().collect::<String>();
    assert_eq!(caption, format!("{evil}0"), "the first rank comes first");

    runs[0].thumbnails[0][4].picture = Picture::Raw { height: 8, width: 8, channels: 3, pixels: vec![0; 8] };
    let error = html(&Report::new(runs).unwrap(), &options).unwrap_err().to_string();
    assert_eq!(error, "a queried picture cannot be shown: 8 bytes for 8x8 pixels of 3 channels");
}

/// Published curves of eight strategies with four seeds: CIFAR-10, batches of 1000, a fine-tuned CLIP model.
fn published() -> Option<Vec<RunSummary>> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let root = std::env::var_os("QUERIST_TEST_DATA").map_or_else(beside, PathBuf::from);
    let path = root.join("curves/labelbench_cifar_curves.csv");
    if !path.exists() {
        eprintln!("skipped: no {}; set QUERIST_TEST_DATA to the folder that holds `curves`", path.display());
        return None;
    }
    let mut runs: std::collections::BTreeMap<(String, u64), Vec<(usize, f64)>> = Default::default();
    for row in ::csv::Reader::from_path(path).unwrap().records().map(Result::unwrap) {
        if row.iter().take(5).eq(["cifar10", "1000", "none", "clip_ViTB32", "flexmatch"]) {
            let key = (row[5].to_owned(), row[6].parse().unwrap());
            runs.entry(key).or_default().push((row[7].parse().unwrap(), row[8].parse().unwrap()));
        }
    }
    Some(runs.into_iter().map(|((label, seed), curve)| run(&label, seed, &curve)).collect())
}

#[test]
fn published_curves_as_numpy_computes_them() {
    let Some(runs) = published() else { return };
    let report = Report::new(runs).unwrap();
    // numpy 2: area = trapezoid(accuracy, labelled) / range, std(ddof=1); scipy: t.ppf(.975, 3) for the half widths.
    let expected = [
        ("random", 0.973308, 0.001012, 0.975950, None),
        ("badge", 0.976775, 0.000543, 0.979450, None),
        ("bait", 0.975786, 0.001036, 0.978700, Some((0.002478, 0.000380))),
        ("confidence", 0.976936, 0.000585, 0.978350, Some((0.003628, 0.002129))),
        ("coreset", 0.974792, 0.000810, 0.977850, Some((0.001483, 0.001583))),
        ("entropy", 0.976431, 0.000268, 0.978950, Some((0.003122, 0.001865))),
        ("galaxy", 0.976911, 0.000693, 0.979400, Some((0.003603, 0.002279))),
        ("margin", 0.976697, 0.000507, 0.979650, Some((0.003389, 0.002348))),
    ];
    let near = |found: f64, expected: f64| (found - expected).abs() < 6e-7;
    for (group, (label, mean, std, last, difference)) in report.groups().iter().zip(expected) {
        let area = group.area_over_labels.unwrap();
        assert_eq!((group.label.as_str(), area.n), (label, 4));
        assert!(near(area.mean, mean) && near(area.std.unwrap(), std), "{label}: {area:?}");
        assert!(near(group.final_accuracy.unwrap().mean, last), "{label}");
        let comparison = report.comparisons().iter().find(|comparison| comparison.label == label);
        let found = comparison.map(|c| (c.area_difference.mean, c.area_half_width.unwrap()));
        assert_eq!(found.is_some(), difference.is_some(), "{label}");
        if let (Some(found), Some(expected)) = (found, difference) {
            assert!(near(found.0, expected.0) && near(found.1, expected.1), "{label}: {found:?}");
        }
    }
    // `badge` was measured at 2001, 3002, ... labels and shares only the first count with the others.
    assert!(report.warnings().iter().any(|warning| warning.contains("not all groups were measured at the same")));
    assert!(report.best().is_none());
}

#[test]
fn ensembles_are_told_apart_from_single_models() {
    let mut runs = study();
    let report = |runs: Vec<RunSummary>| table(&Report::new(runs).unwrap());
    assert!(!report(runs.clone()).contains("models a round"));
    let (adversarial, evaluate) = (Adversarial::Vat, Evaluate::Mean);
    for record in runs.iter_mut().filter(|run| run.label.as_str() == "margin").flat_map(|run| &mut run.rounds) {
        record.ensemble = Some(EnsembleRecord { adversarial, evaluate, unlabelled: 9, seconds: vec![1.0; 5] });
    }
    let text = report(runs);
    let line = "warning: `margin` trained 5 models a round with virtual adversarial images; its accuracy is that of \
                their mean prediction; they learned from unlabelled images of the pool, too";
    assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{text}");
}

#[test]
fn images_that_a_strategy_made_are_told() {
    let mut runs = study();
    let report = |runs: Vec<RunSummary>| table(&Report::new(runs).unwrap());
    assert!(!report(runs.clone()).contains("images that it made"));
    for (at, record) in
        runs.iter_mut().filter(|run| run.label.as_str() == "margin").flat_map(|run| &mut run.rounds).enumerate()
    {
        record.synthetic = at % 3;
    }
    let text = report(runs);
    let line = "warning: `margin` trained on images that it made of its picks beside the labelled samples, up to 2 in \
                a round; they count for no figure";
    assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{text}");
}
