//! Statistics on numbers computed elsewhere, and the shape of every output.

mod runs;

use std::path::{Path, PathBuf};

use querist_core::config::{Adversarial, Evaluate};
use querist_core::fitted::EnsembleRecord;
use querist_protocol::{Shown, is_showable};
use querist_report::{
    Columns, Comparison, Group, PageOptions, Picture, Report, ReportError, RunState, RunSummary, Seed, SettingFigures,
    Thumbnail, checklist, csv, curves_csv, html, json, json_text, latex, markdown, svg_figures, table,
};
use runs::{report_of, run, study};
use scraper::{Html, Selector};
use serde_json::json;

/// The only setting of a report.
#[track_caller]
fn only(report: &Report) -> &SettingFigures {
    let [setting] = &report.analysis().settings[..] else { panic!("one setting") };
    setting
}

#[track_caller]
fn groups(report: &Report) -> &[Group] {
    &only(report).groups
}

#[track_caller]
fn comparisons(report: &Report) -> &[Comparison] {
    &only(report).comparisons
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-6
}

#[test]
fn a_small_study_by_hand() {
    let report = report_of(study());
    let [random, margin] = groups(&report) else { panic!("two groups") };
    assert_eq!((random.label.as_str(), &random.seeds[..]), ("random", &[0, 1, 2].map(Seed::Number)[..]));
    // One run's area is .7125 plus its shift; the shifts of random are 0, .01, .02.
    let area = random.area_over_labels.unwrap();
    assert!(close(area.mean, 0.7225) && close(area.std.unwrap(), 0.01) && area.n == 3, "{area:?}");
    assert!(close(random.area_over_rounds.unwrap().mean, 0.685));
    assert!(close(margin.final_accuracy.unwrap().mean, 0.84));
    let cost = report.cost(&only(&report).setting, "random").unwrap();
    assert!(close(cost.query_seconds.unwrap().mean, 0.75));
    // 10 s of training a round, and a quarter of a second of each query before.
    assert!(close(cost.over_time[2].0, 30.5) && close(cost.over_time[2].1, 0.81), "{:?}", cost.over_time);
    assert_eq!((&cost.final_losses[..], &cost.final_training_accuracies[..]), (&[2.0, 1.0][..], &[0.5, 0.75][..]));
    // Differences .02, .03, .04: mean .03, deviation .01, half width 4.302653 * .01 / sqrt(3) = .024841.
    let [comparison] = comparisons(&report) else { panic!("one comparison") };
    let Comparison { area, last, .. } = comparison;
    assert!(close(area.difference.mean, 0.03) && close(area.half_width.unwrap(), 0.024_841));
    // t = 5.196152 with two degrees of freedom; one test needs no correction.
    assert!(close(area.p.unwrap(), 0.035_098_7) && area.p == area.p_corrected, "{area:?}");
    assert!(close(last.difference.mean, 0.03));
    let point = &comparison.curve[2];
    assert!(point.labelled == 500 && close(point.accuracy.mean, 0.03) && close(point.accuracy.std.unwrap(), 0.01));
    // .81 is reached between 200 labels with .73 and 500 with .84: 200 + 300 x .07 / .1 of 500.
    assert!(close(comparison.data_utilisation.unwrap(), 410.0 / 500.0), "{:?}", comparison.data_utilisation);
    assert_eq!((only(&report).best.as_deref(), &comparison.speed_up), (Some("margin"), &None));
    assert!(report.warnings().is_empty(), "{:?}", report.warnings());
    assert_eq!(
        table(&report),
        " strategy  n       final %          area %     vs random     p  labels needed  fit s  query s
 random    3  81.00 ± 1.00    72.25 ± 1.00             -     -              -     30     0.75
 margin    3  84.00 ± 2.00  75.25 ± 2.00 *  +3.00 ± 2.48  .035              -     30     0.75
* `margin` is above every other with 95 % confidence (paired t, Bonferroni)
with 3 seeds a difference of areas under 3.26 points could not be seen (power .8, `margin`)
"
    );
}

#[test]
fn what_would_mislead_is_said() {
    let mut runs = study();
    runs[0].state = RunState::Incomplete { done: 3, planned: 9 };
    let report = report_of(runs);
    let margin = &groups(&report)[1];
    assert_eq!((&margin.seeds[..], margin.area_over_labels.unwrap().n), (&[0, 1].map(Seed::Number)[..], 2));
    assert_eq!(comparisons(&report)[0].area.difference.n, 2);
    assert!(table(&report).contains("not counted: `margin`, seed 2: incomplete (3 of 9 rounds)"));

    let one = report_of(study().into_iter().filter(|run| run.seed == 1).collect());
    let area = &comparisons(&one)[0].area;
    assert_eq!((groups(&one)[0].area_over_labels.unwrap().std, area.half_width, area.p), (None, None, None));
    assert!(
        only(&one).best.is_none() && one.warnings()[0].contains("`random` has one finished seed"),
        "{:?}",
        one.warnings()
    );

    let mut runs = study();
    runs[0].strategy.digest = "ef".repeat(32);
    runs[1].rounds.remove(1);
    runs.push(run("random", 2, &[(100, 0.1), (200, 0.1), (500, 0.1)]));
    let report = report_of(runs);
    let text = report.warnings().join("\n");
    for expected in [
        "`margin` mixes different builds of its plugin: abababababab, efefefefefef",
        "the runs of `random` were measured at different labelled counts; only the 2 common ones are used",
        "not all groups were measured at the same labelled counts (`margin` | `random`)",
        "`random` has more than one run of seed 2; only one, finished, is counted",
    ] {
        assert!(text.contains(expected), "{text}\n  lacks: {expected}");
    }
    assert_eq!(comparisons(&report)[0].labelled, [100, 500]);
}

/// Runs of another dataset, batch or recipe are no repetitions of these.
#[test]
fn what_runs_differ_in_makes_settings() {
    let mut runs = study();
    runs[0].dataset_digest = Shown::name(&"00".repeat(32));
    let report = report_of(runs);
    let settings = &report.analysis().settings;
    assert_eq!(settings.iter().map(|setting| setting.groups.len()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(settings[0].setting["dataset.sha256"], "000000000000");
    let warning = "nothing is compared with `random` where it was not run: dataset.sha256 000000000000.";
    assert!(report.warnings().iter().any(|found| found.starts_with(warning)), "{:?}", report.warnings());

    let mut other = study();
    for run in &mut other {
        run.config["budget"]["initial"] = json!(50);
        run.rounds.iter_mut().for_each(|round| round.metrics.accuracy -= 0.1);
    }
    let runs = [study(), other].concat();
    let report = report_of(runs.clone());
    let names: Vec<&str> =
        report.analysis().settings.iter().map(|setting| setting.setting["budget.initial"].as_str()).collect();
    assert_eq!(names, ["100", "50"]);
    let [standing] = &report.analysis().standings[..] else { panic!("one strategy beside random") };
    assert_eq!((standing.settings, standing.not_below, standing.shown_above), (2, 1.0, 1.0));
    assert!(close(standing.mean_difference, 0.03));
    assert!(table(&report).contains("== budget.initial 50") && table(&report).contains("== over all settings"));

    // The same runs, told apart by that key in one chart.
    let by: Vec<String> = ["strategy", "budget.initial"].map(str::to_owned).to_vec();
    let report = Report::new(runs, &by).unwrap();
    let labels: Vec<&str> = groups(&report).iter().map(|group| group.label.as_str()).collect();
    assert_eq!(labels, ["margin, 100", "margin, 50", "random, 100", "random, 50"]);
}

#[test]
fn the_protocol_says_what_is_missing() {
    let report = report_of(study());
    let lines = checklist(&report);
    assert_eq!(lines.len(), 26);
    let of = |demand: &str| lines.iter().find(|line| line.demand.starts_with(demand)).unwrap();
    let found = |demand: &str| (of(demand).standing.name(), of(demand).found.as_str());
    assert_eq!(found("five paired seeds").0, "not met");
    assert_eq!(found("splits and initial set"), ("pass", "3 starts, each the same for all strategies"));
    assert_eq!(found("two query sizes").0, "not met");
    assert_eq!(found("the effect against random comes first"), ("pass", "in this report"));
    let mut runs = study();
    runs[0].start = Shown::name("another");
    runs[3].config["budget"]["batch"] = json!(7);
    let report = report_of(runs);
    let lines = checklist(&report);
    assert!(lines.iter().any(|line| line.standing.name() == "not met" && line.found.contains("1 of 4 starts differ")));
}

#[test]
fn curves_made_elsewhere_get_the_same_figures() {
    let mut file = "strategy,seed,labelled,accuracy\n".to_owned();
    for run in study() {
        for round in &run.rounds {
            file += &format!("{},{},{},{}\n", run.label, run.seed, round.labelled, round.metrics.accuracy);
        }
    }
    let curves = Report::of_curves(Columns::default().read(file.as_bytes()).unwrap()).unwrap();
    let runs = report_of(study());
    assert_eq!(json(&curves)["settings"][0]["comparisons"], json(&runs)["settings"][0]["comparisons"]);
    assert!(checklist(&curves).is_empty());
    let page = html(&curves, &PageOptions::default()).unwrap();
    assert!(page.contains("2 strategies · 6 curves") && !page.contains("Protocol"));
    let mut rows = Vec::new();
    curves_csv(&curves, &mut rows).unwrap();
    assert_eq!(String::from_utf8(rows).unwrap().lines().count(), 7);
    assert!(Report::of_curves(Vec::new()).is_err());
}

#[test]
fn tables_for_papers() {
    let mut runs = study();
    runs.iter_mut().filter(|run| run.label.as_str() == "margin").for_each(|run| run.label = Shown::name("a_b|c & 50%"));
    let report = report_of(runs);
    let (paper, text) = (latex(&report), markdown(&report));
    assert!(paper.contains(r"a\_b|c \& 50\% & +3.00 $\pm$ 2.48 & .035 &"), "{paper}");
    assert_eq!(paper.matches(r"\begin{tabular}").count(), paper.matches(r"\end{tabular}").count());
    assert!(text.contains(r"| a_b\|c & 50% | +3.00 ± 2.48 | .035 |"), "{text}");
    let widths: Vec<usize> =
        text.lines().filter(|l| l.starts_with("| ---")).map(|l| l.matches(" | ").count()).collect();
    assert_eq!(widths, [8, 5, 6, 3, 2, 2], "six tables");
}

#[test]
fn records_that_no_run_writes_are_refused() {
    assert_eq!(Report::new(Vec::new(), &[]).unwrap_err(), ReportError::Empty);
    let text = |curve: &[(usize, f64)]| Report::new(vec![run("random", 7, curve)], &[]).unwrap_err().to_string();
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
    let report = report_of(runs);
    let mut bytes = Vec::new();
    csv(&report, &mut bytes).unwrap();
    let mut reader = ::csv::Reader::from_reader(&bytes[..]);
    let column = reader.headers().unwrap().iter().position(|name| name == "accuracy").unwrap();
    let rows: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.len(), 18);
    let quoted = rows.iter().find(|row| row[0].contains("broken")).unwrap();
    assert_eq!((&quoted[0], quoted[column].parse::<f64>()), ("random, \"quoted\" and broken", Ok(0.5)));
    let value = json(&report);
    assert_eq!((&value["version"], value["runs"].as_array().unwrap().len()), (&json!(2), 6));
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
    let report = report_of(runs);
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
    runs.iter_mut().for_each(|run| run.config = json!({ "note": evil, "seeds": {} }));
    let report = report_of(runs.clone());
    let options = PageOptions { title: format!("Study {evil}"), pictures_per_round: 2, live: None };
    let text = html(&report, &options).unwrap();
    let page = Html::parse_document(&text);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    // Its own data and its own program, which alone may run.
    assert_eq!((count(&page, "script"), text.matches("&lt;script&gt;").count() > 8), (2, true));
    assert!(text.contains("script-src 'sha256-") && !text.contains("alert(1)</script>"));
    for address in ["http:", "https:", "src=\"/", "url(", "@import", "<link"] {
        // The chart library says where it comes from.
        assert!(!text.replace("https://github.com/leeoniya/uPlot", "").contains(address), "{address}");
    }
    // In two sizes each: two curves and one difference, with bands, the same over seconds, and loss and accuracy by
    // epoch, without.
    assert_eq!(
        (count(&page, "svg.chart polyline"), count(&page, "svg.wide polygon.band"), count(&page, "svg.wide circle")),
        (18, 3, 9 + 6 + 4 + 4)
    );
    let data = page.select(&Selector::parse("#figures").unwrap()).next().unwrap().text().collect::<String>();
    let data: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert_eq!(data["charts"][1]["series"][1]["label"], json!(evil));
    assert_eq!(data["charts"][1]["x"], json!([100.0, 200.0, 500.0]));
    assert_eq!((count(&page, "td.best"), count(&page, "figure img")), (1, 2));
    assert!(text.contains("and 3 more") && text.contains("src=\"data:image/png;base64,iVBORw0KGgo"));
    let caption = page.select(&Selector::parse("figcaption").unwrap()).next().unwrap().text().collect::<String>();
    assert_eq!(caption, format!("{evil}0"), "the first rank comes first");

    runs[0].thumbnails[0][4].picture = Picture::Raw { height: 8, width: 8, channels: 3, pixels: vec![0; 8] };
    let error = html(&report_of(runs), &options).unwrap_err().to_string();
    assert_eq!(error, "a queried picture cannot be shown: 8 bytes for 8x8 pixels of 3 channels");
}

#[test]
fn charts_are_files_of_their_own() {
    let report = report_of(study());
    let figures = svg_figures(&report);
    assert_eq!(figures.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["curves", "against-random"]);
    for (_, svg) in &figures {
        assert!(
            svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" ") && svg.contains("<style>.grid { "),
            "{svg}"
        );
    }
    assert_eq!(figures[0].1.matches("<polyline").count(), 2);
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
    let report = report_of(runs);
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
    for (group, (label, mean, std, last, difference)) in groups(&report).iter().zip(expected) {
        let area = group.area_over_labels.unwrap();
        assert_eq!((group.label.as_str(), area.n), (label, 4));
        assert!(near(area.mean, mean) && near(area.std.unwrap(), std), "{label}: {area:?}");
        assert!(near(group.final_accuracy.unwrap().mean, last), "{label}");
        let comparison = comparisons(&report).iter().find(|comparison| comparison.label == label);
        let found = comparison.map(|c| (c.area.difference.mean, c.area.half_width.unwrap()));
        assert_eq!(found.is_some(), difference.is_some(), "{label}");
        if let (Some(found), Some(expected)) = (found, difference) {
            assert!(near(found.0, expected.0) && near(found.1, expected.1), "{label}: {found:?}");
        }
    }
    // `badge` was measured at 2001, 3002, ... labels and shares only the first count with the others.
    assert!(report.warnings().iter().any(|warning| warning.contains("not all groups were measured at the same")));
    assert!(only(&report).best.is_none());
}

#[test]
fn ensembles_are_told_apart_from_single_models() {
    let mut runs = study();
    let report = |runs: Vec<RunSummary>| table(&report_of(runs));
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
    let report = |runs: Vec<RunSummary>| table(&report_of(runs));
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

/// Ties, equal seeds and a single round are no reason to fail, nor to show what is not there.
#[test]
fn degenerate_curves() {
    let two = |a: &[(usize, f64)], b: &[(usize, f64)]| {
        let runs = [0, 1].into_iter().flat_map(|seed| [run("random", seed, a), run("margin", seed, b)]);
        report_of(runs.collect())
    };
    // All seeds alike, and alike to random.
    let report = two(&[(10, 0.5), (20, 0.6)], &[(10, 0.5), (20, 0.6)]);
    let area = &comparisons(&report)[0].area;
    assert_eq!((area.p, area.constant, area.detectable, area.half_width), (Some(1.0), true, None, Some(0.0)));
    assert_eq!((only(&report).best.as_deref(), report.analysis().standings[0].not_below), (None, 1.0));
    assert!(table(&report).contains("1.000 (no variance)"), "{}", table(&report));
    // All seeds alike, one strategy above: p is 0 by the formula, and said to be without variance.
    let report = two(&[(10, 0.5), (20, 0.5)], &[(10, 0.6), (20, 0.6)]);
    let area = &comparisons(&report)[0].area;
    assert_eq!((area.p, area.constant), (Some(0.0), true));
    assert!(table(&report).contains("< .001 (no variance)"), "{}", table(&report));
    // One round has no area, so nothing is compared.
    let report = two(&[(10, 0.5)], &[(10, 0.6)]);
    assert!(comparisons(&report).is_empty() && groups(&report)[0].area_over_labels.is_none());
    let page = html(&report, &PageOptions::default()).unwrap();
    assert!(page.contains("Accuracy against labels"));
    // No seed in common.
    let runs = vec![run("random", 0, &[(10, 0.5), (20, 0.6)]), run("margin", 1, &[(10, 0.5), (20, 0.6)])];
    assert!(comparisons(&report_of(runs)).is_empty());
    // Nothing is finished.
    let mut runs = study();
    runs.iter_mut().for_each(|run| run.state = RunState::Incomplete { done: 1, planned: 2 });
    let report = report_of(runs);
    assert!(report.analysis().settings.is_empty());
    let page = html(&report, &PageOptions::default()).unwrap();
    assert!(page.contains("0 finished runs of 6") && table(&report).contains("not counted: `margin`, seed 0"));
}

/// Pairs that have equal accuracies in one round, as published curves do at their shared start.
#[test]
fn published_curves_have_figures_for_every_pair() {
    let Some(runs) = published() else { return };
    let report = report_of(runs);
    let setting = only(&report);
    assert_eq!(setting.pairs.len(), 8 * 7 / 2 - 7, "`badge` shares one count with the others, which has no area");
    for pair in &setting.pairs {
        let (p, corrected) = (pair.area.p.unwrap(), pair.area.p_corrected.unwrap());
        assert!((0.0..=1.0).contains(&p) && p <= corrected && corrected <= 1.0, "{pair:?}");
    }
    let penalties = report.analysis().penalties.as_ref().unwrap();
    for (at, strategy) in penalties.strategies.iter().enumerate() {
        let beaten = penalties.beaten(at);
        assert!(beaten.is_none_or(|share| (0.0..=1.0).contains(&share)), "{strategy}: {beaten:?}");
    }
}

/// Two strategies on two datasets with two regularisations, which are named by an axis of the study.
fn on_axes() -> Vec<RunSummary> {
    let mut runs = Vec::new();
    for (dataset, name, decay, epochs) in [
        ("digits", "light", 0.0, 5),
        ("digits", "heavy", 0.1, 9),
        ("mnist", "light", 0.0, 5),
        ("mnist", "heavy", 0.1, 9),
    ] {
        for (label, seed) in [("random", 0), ("random", 1), ("margin", 0), ("margin", 1)] {
            let mut run = run(label, seed, &[(100, 0.5 + 0.1 * decay), (200, 0.7)]);
            run.dataset = Shown::name(dataset);
            run.config["recipe"] = json!({ "weight_decay": decay, "epochs": epochs });
            run.config["seeds"] = json!({ "root": seed });
            let replica = format!("replica {seed}");
            run.point = [("size", name.to_owned()), ("again", replica)].map(|(k, v)| (k.to_owned(), v)).into();
            runs.push(run);
        }
    }
    runs
}

#[test]
fn settings_are_called_by_the_axes_of_their_study() {
    let report = report_of(on_axes());
    let names: Vec<Vec<String>> = report
        .analysis()
        .settings
        .iter()
        .map(|setting| setting.setting.iter().map(|(key, value)| format!("{key} {value}")).collect())
        .collect();
    // An axis of seeds makes no settings.
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.contains(&vec!["dataset.name mnist".to_owned(), "size heavy".to_owned()]), "{names:?}");
}

#[test]
fn curves_by_an_axis_leave_the_keys_that_it_stands_for_out_of_the_setting() {
    let by = ["strategy".to_owned(), "size".to_owned()];
    let report = Report::new(on_axes(), &by).unwrap();
    let settings = &report.analysis().settings;
    assert_eq!(settings.len(), 2, "one for each dataset");
    let labels: Vec<&str> = settings[0].groups.iter().map(|group| group.label.as_str()).collect();
    assert_eq!(labels, ["margin, heavy", "margin, light", "random, heavy", "random, light"]);
}
