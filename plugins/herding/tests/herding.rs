//! Both herdings against computing every gain at every step.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_herding::PACKAGE;

#[test]
fn max_herding_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "max-herding"));
}

#[test]
fn uherding_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "uherding"));
}

struct Data {
    pool: Vec<Vec<f32>>,
    labelled: Vec<Vec<f32>>,
    logits: Vec<Vec<f32>>,
}

impl Data {
    fn new(rows: usize, labelled: usize) -> Self {
        Self { pool: noise(rows, 3, 1.0, 1), labelled: noise(labelled, 3, 1.0, 2), logits: noise(rows, 4, 2.0, 3) }
    }

    fn arrays(&self) -> Arrays {
        let columns = self.pool[0].len();
        let named = [
            ("fixed_embeddings", matrix(columns, &self.pool)),
            ("labelled.fixed_embeddings", matrix(columns, &self.labelled)),
            ("logits", matrix(4, &self.logits)),
            ("calibration.logits", matrix(4, &noise(40, 4, 2.0, 4))),
            ("calibration.labels", Array::labels((0..40).map(|i| i % 4).collect::<Vec<u32>>())),
        ];
        arrays(self.pool.len(), self.labelled.len(), 4, named)
    }

    fn ask(&self, id: &str, batch: usize, params: Value) -> Selection {
        Question::new(&PACKAGE, id, batch).with(params).ask(&self.arrays())
    }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let unit = |x: &[f32]| -> Vec<f64> {
        let norm = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        x.iter().map(|&x| f64::from(x) / norm).collect()
    };
    unit(a).iter().zip(unit(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn similarity(kernel: &str, h: f64, d: f64) -> f64 {
    match kernel {
        "rbf" => (-(d / h).powi(2)).exp(),
        "laplace" => (-d / h).exp(),
        "student" => (1.0 + 2.0 * (d / h).powi(2)).powf(-0.75),
        "cauchy" => 1.0 / (1.0 + d * d),
        _ => f64::from(u8::from(d < h)),
    }
}

/// Greedy picks with their gains, from the mean over all samples with these weights.
fn plain(data: &Data, batch: usize, kernel: &str, h: f64, weight: impl Fn(usize) -> f64) -> (Vec<u32>, Vec<f64>) {
    let all: Vec<&Vec<f32>> = data.pool.iter().chain(&data.labelled).collect();
    let k = |a: &[f32], b: &[f32]| similarity(kernel, h, distance(a, b));
    let mut centres: Vec<&Vec<f32>> = data.labelled.iter().collect();
    let (mut rows, mut gains) = (Vec::new(), Vec::new());
    while rows.len() < batch {
        let covers: Vec<f64> = all.iter().map(|x| centres.iter().map(|c| k(x, c)).fold(0.0, f64::max)).collect();
        let gain = |i: usize| -> f64 {
            let terms = all.iter().enumerate().map(|(j, x)| weight(j) * (k(x, &data.pool[i]) - covers[j]).max(0.0));
            terms.sum::<f64>() / all.len() as f64
        };
        let open = (0..data.pool.len()).filter(|&i| !rows.contains(&(i as u32)));
        let (best_gain, best) =
            open.map(|i| (gain(i), i)).max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))).unwrap();
        if best_gain == 0.0 {
            break;
        }
        rows.push(best as u32);
        gains.push(best_gain);
        centres.push(&data.pool[best]);
    }
    (rows, gains)
}

fn unsure(logits: &[f32], tau: f64, measure: &str) -> f64 {
    let e: Vec<f64> = logits.iter().map(|&l| (f64::from(l) / tau).exp()).collect();
    let mut p: Vec<f64> = e.iter().map(|x| x / e.iter().sum::<f64>()).collect();
    p.sort_by(|a, b| b.total_cmp(a));
    match measure {
        "margin" => 1.0 - (p[0] - p[1]),
        "entropy" => -p.iter().map(|p| p * p.ln()).sum::<f64>(),
        _ => 1.0 - p[0],
    }
}

fn assert_same(found: &Selection, expected: &(Vec<u32>, Vec<f64>), context: &str) {
    assert_eq!(found.rows[..expected.0.len()], expected.0, "{context}");
    assert_eq!(figure(found, "fallback_count"), (found.rows.len() - expected.0.len()) as f64, "{context}");
    for (found, expected) in found.scores.iter().zip(&expected.1) {
        assert!((found - expected).abs() < 1e-6, "{context}: {found}, {expected}");
    }
}

#[test]
fn max_herding_is_its_definition_under_every_kernel() {
    let data = Data::new(70, 4);
    for kernel in ["rbf", "laplace", "student", "cauchy", "tophat"] {
        for h in [1.0, 0.25] {
            let found = data.ask("max-herding", 15, json!({"kernel": kernel, "h": h}));
            assert_same(&found, &plain(&data, 15, kernel, h, |_| 1.0), &format!("{kernel}, {h}"));
            assert!(found.scores.is_sorted_by(|a, b| a >= b), "gains fall: {:?}", found.scores);
        }
    }
}

#[test]
fn greedy_coverage_is_within_its_bound_of_the_best() {
    let data = Data::new(12, 0);
    let k = |a: usize, b: usize| similarity("rbf", 0.5, distance(&data.pool[a], &data.pool[b]));
    let coverage =
        |set: &[usize]| (0..12).map(|j| set.iter().map(|&i| k(i, j)).fold(0.0, f64::max)).sum::<f64>() / 12.0;
    let mut best = 0.0f64;
    for a in 0..12 {
        for b in a + 1..12 {
            (b + 1..12).for_each(|c| best = best.max(coverage(&[a, b, c])));
        }
    }
    let found = data.ask("max-herding", 3, json!({"h": 0.5}));
    let greedy = coverage(&found.rows.iter().map(|&row| row as usize).collect::<Vec<_>>());
    assert!((found.scores.iter().sum::<f64>() - greedy).abs() < 1e-6);
    assert!(greedy >= (1.0 - (-1.0f64).exp()) * best && greedy <= best + 1e-9, "{greedy}, best {best}");
}

#[test]
fn a_top_hat_makes_it_probcover() {
    for (seed, radius) in [(1, 0.2), (2, 0.5), (3, 1.2)] {
        let data = Data { pool: noise(150, 3, 1.0, seed), ..Data::new(150, 3) };
        let herding = data.ask("max-herding", 30, json!({"kernel": "tophat", "h": radius}));
        let covering = Question::new(&strategy_covering::PACKAGE, "probcover", 30).with(json!({"delta": radius}));
        let covering = covering.ask(&data.arrays());
        let chosen = 30 - figure(&covering, "fallback_count") as usize;
        assert_eq!(figure(&herding, "fallback_count"), figure(&covering, "fallback_count"));
        assert_eq!(herding.rows[..chosen], covering.rows[..chosen], "radius {radius}");
    }
}

#[test]
fn fewer_references_are_an_unbiased_part() {
    let data = Data::new(400, 20);
    let whole = data.ask("max-herding", 1, json!({}));
    let part = data.ask("max-herding", 1, json!({"max_rows": 100}));
    assert!((whole.scores[0] - part.scores[0]).abs() < 0.1, "{} {}", whole.scores[0], part.scores[0]);
    assert_ne!(whole.scores[0], part.scores[0]);
    assert_eq!(whole.scores, data.ask("max-herding", 1, json!({"max_rows": 420})).scores);
}

#[test]
fn uherding_is_its_definition() {
    let data = Data::new(60, 5);
    let gaps = (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b)));
    let gap = gaps.map(|(a, b)| distance(&data.labelled[a], &data.labelled[b])).fold(9.0, f64::min);
    for measure in ["margin", "entropy", "conf"] {
        for (params, h, tau) in [
            (json!({"uncertainty": measure}), gap, 1.0),
            (json!({"uncertainty": measure, "adaptive": false, "h": 0.4, "tau": 3.0}), 0.4, 3.0),
            (json!({"uncertainty": measure, "tau": 3.0, "calibration": "none"}), gap, 1.0),
        ] {
            let weight = |j: usize| data.logits.get(j).map_or(0.0, |row| unsure(row, tau, measure));
            let found = data.ask("uherding", 12, params.clone());
            assert_same(&found, &plain(&data, 12, "rbf", h, weight), &params.to_string());
            assert!((figure(&found, "width") - h).abs() < 1e-6);
        }
    }
}

#[test]
fn equal_labelled_samples_have_no_gap() {
    let mut data = Data::new(20, 3);
    data.labelled[1] = data.labelled[0].clone();
    let gap = distance(&data.labelled[0], &data.labelled[2]);
    assert!((figure(&data.ask("uherding", 1, json!({})), "width") - gap).abs() < 1e-6);
    data.labelled.truncate(2);
    assert_eq!(figure(&data.ask("uherding", 1, json!({"h": 0.7})), "width"), 0.7);
}

#[test]
fn at_its_ends_it_is_max_herding_or_uncertainty_sampling() {
    let unlabelled = Data::new(60, 0);
    let herding = unlabelled.ask("max-herding", 12, json!({}));
    assert_eq!(unlabelled.ask("uherding", 12, json!({})).rows, herding.rows, "without labels");
    let data = Data::new(60, 5);
    let flat = data.ask("uherding", 12, json!({"tau": 1e6, "adaptive": false, "h": 0.3}));
    let herding = data.ask("max-herding", 12, json!({"h": 0.3}));
    // Two samples that cover each other gain alike, so rows may swap; gains may not.
    for (flat, herding) in flat.scores.iter().zip(&herding.scores) {
        assert!((flat - herding).abs() < 1e-5, "every sample equally uncertain: {flat}, {herding}");
    }
    let even = Data { logits: vec![vec![0.0; 4]; 60], ..Data::new(60, 5) };
    assert_eq!(even.ask("uherding", 12, json!({"adaptive": false, "h": 0.3})).rows, herding.rows);
    let narrow = data.ask("uherding", 12, json!({"adaptive": false, "h": 1e-9}));
    let mut by_margin: Vec<u32> = (0..60).collect();
    let margin = |row: u32| unsure(&data.logits[row as usize], 1.0, "margin");
    by_margin.sort_by(|&a, &b| margin(b).total_cmp(&margin(a)));
    assert_eq!(narrow.rows, by_margin[..12], "a similarity of equals only");
}

#[test]
fn no_uncertainty_anywhere_is_max_herding() {
    let mut data = Data::new(30, 3);
    data.logits = vec![vec![3e30, 0.0, 0.0, 0.0]; 30];
    let params = json!({"adaptive": false});
    assert_eq!(data.ask("uherding", 6, params).rows, data.ask("max-herding", 6, json!({})).rows);
}

#[test]
fn the_temperature_is_the_best_calibrated_of_the_grid() {
    let data = Data::new(30, 3);
    let (logits, labels) = (noise(40, 4, 2.0, 4), (0..40).map(|i| i % 4).collect::<Vec<usize>>());
    let error = |tau: f64| {
        let mut bins = vec![(0.0, 0.0); 15];
        for (row, &label) in logits.iter().zip(&labels) {
            let p = 1.0 - unsure(row, tau, "conf");
            let right = (0..4).all(|c| row[c] <= row[label]);
            let bin = &mut bins[((p * 15.0).ceil() as usize).clamp(1, 15) - 1];
            *bin = (bin.0 + p, bin.1 + f64::from(u8::from(right)));
        }
        bins.iter().map(|(p, right)| (p - right).abs()).sum::<f64>() / 40.0
    };
    for grid in [vec![1.0, 2.0, 30.0], vec![0.5, 0.1], (10..200).map(|t| f64::from(t) / 10.0).collect()] {
        let best = grid.iter().copied().min_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap();
        let found = data.ask("uherding", 1, json!({"calibration": "val-logits", "tau_grid": grid}));
        assert_eq!(figure(&found, "tau"), best, "{grid:?}");
    }
    let default = data.ask("uherding", 1, json!({"calibration": "val-logits"}));
    assert!(figure(&default, "tau") > 1.0, "labels that logits do not know ask for doubt");
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    let data = Data::new(5, 0);
    for params in [json!({"tau": 0.0}), json!({"tau_grid": []}), json!({"tau_grid": [1.0, -1.0]}), json!({"h": 0.0})] {
        let question = Question::new(&PACKAGE, "uherding", 1).with(params.clone());
        assert!(question.try_ask(&data.arrays()).is_err(), "{params}");
    }
    let question = Question::new(&PACKAGE, "max-herding", 1).with(json!({"max_rows": 0}));
    assert!(question.try_ask(&data.arrays()).unwrap_err().contains("/max_rows: 0 is less than the minimum of 1"));
}
