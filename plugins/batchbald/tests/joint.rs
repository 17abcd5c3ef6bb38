//! Batches against the joint distribution of labels written out in full.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_protocol::Selection;
use querist_protocol::philox::Stream;
use querist_testkit::cases::arrays;
use querist_testkit::{Native, NativeMaker, ask, conforms};
use serde_json::{Value, json};
use strategy_batchbald::PACKAGE;

#[test]
fn batchbald_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "batchbald"));
}

/// `[row][draw][class]`.
type Rows = Vec<Vec<Vec<f64>>>;

fn pool(rows: &Rows) -> Arrays {
    let (draws, classes) = (rows[0].len(), rows[0][0].len());
    let logs = rows.iter().flatten().flatten().map(|&p| if p > 0.0 { p.ln() as f32 } else { -1e4 });
    let array = Array::f32(vec![rows.len(), draws, classes], logs.collect::<Vec<_>>()).unwrap();
    arrays(rows.len(), 0, classes, [("mc_log_probs", array)])
}

fn random_rows(seed: u64, rows: usize, draws: usize, classes: usize) -> Rows {
    let noise = Stream::new(seed, 0);
    let draw = |row: usize, t: usize| -> Vec<f64> {
        let share = |c: usize| (5.0 * noise.item_uniform(row as u64, (t * classes + c) as u32)).exp();
        let total: f64 = (0..classes).map(share).sum();
        (0..classes).map(|c| share(c) / total).collect()
    };
    (0..rows).map(|row| (0..draws).map(|t| draw(row, t)).collect()).collect()
}

/// I(labels of `picks`; draw) by enumerating every configuration.
fn information(rows: &Rows, picks: &[u32]) -> f64 {
    let (draws, classes) = (rows[0].len(), rows[0][0].len());
    let plogp = |p: f64| if p > 0.0 { p * p.ln() } else { 0.0 };
    let (mut joint, mut given) = (0.0, 0.0);
    for configuration in 0..classes.pow(picks.len() as u32) {
        let label = |at: usize| configuration / classes.pow(at as u32) % classes;
        let under =
            |t: usize| -> f64 { picks.iter().enumerate().map(|(at, &row)| rows[row as usize][t][label(at)]).product() };
        joint -= plogp((0..draws).map(under).sum::<f64>() / draws as f64);
        given -= (0..draws).map(|t| plogp(under(t))).sum::<f64>() / draws as f64;
    }
    joint - given
}

fn figure(selection: &Selection, name: &str) -> Option<f64> {
    selection.diagnostics.iter().find(|(key, _)| key == name).map(|&(_, value)| value)
}

fn choose(params: Value, rows: &Rows, batch: usize, seed: u64) -> Selection {
    ask(&PACKAGE, "batchbald", &params, (&pool(rows), batch, seed)).unwrap()
}

#[test]
fn a_copy_is_worth_nothing_the_second_time() {
    let a = [0, 0, 1, 1].map(|class| if class == 0 { vec![1.0, 0.0] } else { vec![0.0, 1.0] }).to_vec();
    let d = [0, 1, 0, 1].map(|class| if class == 0 { vec![0.9, 0.1] } else { vec![0.1, 0.9] }).to_vec();
    let rows = vec![a.clone(), a, d, vec![vec![0.5, 0.5]; 4]];
    let answer = choose(json!({"T": 4}), &rows, 3, 0);
    // What is left tells nothing new, and the copy comes first by mutual information.
    assert_eq!(answer.rows, [0, 2, 1]);
    assert!((answer.scores[0] - std::f64::consts::LN_2).abs() < 1e-12, "{answer:?}");
    assert!((answer.scores[0] + answer.scores[1] - 1.061_211_4).abs() < 1e-7, "{answer:?}");
    assert_eq!((answer.scores[2], figure(&answer, "saturated_at")), (0.0, Some(2.0)));
}

#[test]
fn enumerated_batches_are_the_greedy_ones_of_brute_force() {
    for (seed, draws, classes, batch) in [(1, 6, 2, 4), (2, 5, 3, 4), (3, 20, 3, 4), (4, 3, 2, 3)] {
        let rows = random_rows(seed, 25, draws, classes);
        let answer = choose(json!({"T": draws}), &rows, batch, 0);
        let mut picks: Vec<u32> = Vec::new();
        for (&row, &score) in answer.rows.iter().zip(&answer.scores) {
            let before = information(&rows, &picks);
            let gain = |row: u32| information(&rows, &[picks.as_slice(), &[row]].concat()) - before;
            let best = (0..25).filter(|row| !picks.contains(row)).map(gain).fold(f64::NEG_INFINITY, f64::max);
            assert!((gain(row) - best).abs() < 1e-6, "pick {} of seed {seed}", picks.len());
            assert!((score - best).abs() < 1e-6, "pick {} of seed {seed}: {score} {best}", picks.len());
            picks.push(row);
        }
        assert!(answer.scores.windows(2).all(|pair| pair[0] >= pair[1]), "{:?}", answer.scores);
    }
}

#[test]
fn lazy_gains_choose_as_all_gains_do() {
    let rows = random_rows(5, 400, 8, 3);
    let lazy = choose(json!({"T": 8}), &rows, 6, 0);
    let full = choose(json!({"T": 8, "lazy": false}), &rows, 6, 0);
    assert_eq!((&lazy.rows, &lazy.scores), (&full.rows, &full.scores));
    let (few, all) = (figure(&lazy, "gains_computed").unwrap(), figure(&full, "gains_computed").unwrap());
    assert!(few < all / 2.0 && all == (399 + 398 + 397 + 396 + 395) as f64, "{few} of {all}");
    // With particles, gains are estimates, and lazy ones need not see the very best; they come close.
    let particles = |lazy: bool| {
        let answer = choose(json!({"T": 8, "num_samples": 800, "lazy": lazy}), &rows, 8, 0);
        information(&rows, &answer.rows)
    };
    assert!((particles(true) - particles(false)).abs() < 0.02);
}

#[test]
fn both_estimators_are_unbiased_and_the_conditional_one_is_steadier() {
    const SEEDS: u64 = 200;
    let mut rows = random_rows(6, 6, 10, 4);
    // A seventh that tells nothing, so that the six are picked one by one.
    rows.push(vec![vec![0.25; 4]; 10]);
    let exact = information(&rows, &[0, 1, 2, 3, 4, 5]);
    let pool = pool(&rows);
    let spread = |estimator: &str| -> (f64, f64) {
        let params = json!({"T": 10, "num_samples": 100, "estimator": estimator, "lazy": false});
        let mut strategy = Native::new(&PACKAGE, "batchbald", &params, 1).unwrap();
        let of_batch = |seed| {
            let scores = strategy.ask(&pool, 6, seed).unwrap().scores;
            if estimator == "joint" { scores[5] } else { scores.iter().sum() }
        };
        let found: Vec<f64> = (0..SEEDS).map(of_batch).collect();
        let mean = found.iter().sum::<f64>() / SEEDS as f64;
        let variance = found.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (SEEDS - 1) as f64;
        (mean, variance.sqrt())
    };
    let ((conditional, steady), (joint, loose)) = (spread("conditional"), spread("joint"));
    let error = |deviation: f64| 4.5 * deviation / (SEEDS as f64).sqrt();
    // The gain of a pick is chosen as the largest of noisy ones, which lifts the mean a little.
    assert!((conditional - exact).abs() < error(steady) + 5e-3, "{conditional} {exact} {steady}");
    assert!((joint - exact).abs() < error(loose) + 5e-3, "{joint} {exact} {loose}");
    assert!(steady * 3.0 < loose, "{steady} {loose}");
}

#[test]
fn a_spent_batch_is_filled_by_mutual_information() {
    // Two draws hold ln 2 of information, which a sure pick takes whole.
    let row = |p: f64| vec![vec![p, 1.0 - p], vec![1.0 - p, p]];
    let rows = vec![row(0.6), row(0.9), row(1.0), row(0.8)];
    let answer = choose(json!({"T": 2}), &rows, 3, 0);
    assert_eq!(answer.rows, [2, 1, 3]);
    assert_eq!((figure(&answer, "saturated_at"), figure(&answer, "fallback_count")), (Some(1.0), Some(2.0)));
    let agreed = choose(json!({"T": 2}), &vec![vec![vec![0.7, 0.3]; 2], vec![vec![0.5, 0.5]; 2]], 1, 0);
    assert_eq!((agreed.rows, agreed.scores), (vec![1], vec![0.0]));
}

#[test]
fn parameters_that_do_not_fit_are_refused() {
    let needs = |params: Value| PACKAGE.needs("batchbald", &params.to_string());
    assert_eq!(needs(json!({})).unwrap()[0].to_string(), "mc_log_probs(T=10, coherent)");
    assert!(needs(json!({"T": 50, "num_samples": 49})).unwrap_err().to_string().contains("at least `T`"));
    assert!(needs(json!({"T": 1000, "num_samples": 20_000})).unwrap_err().to_string().contains("20000 x 1000"));
}
