//! FALCUN against plain loops.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_falcun::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "falcun"));
}

fn logits_of(p: &[&[f64]]) -> Vec<Vec<f32>> {
    p.iter().map(|row| row.iter().map(|p| if *p == 0.0 { -2000.0 } else { p.ln() as f32 }).collect()).collect()
}

fn ask(logits: &[Vec<f32>], batch: usize, seed: u64, params: Value) -> Selection {
    let classes = logits[0].len();
    let arrays = arrays(logits.len(), 0, classes, [("logits", matrix(classes, logits))]);
    Question { seed, ..Question::new(&PACKAGE, "falcun", batch).with(params) }.ask(&arrays)
}

#[test]
fn the_worked_example() {
    let logits = logits_of(&[&[0.5, 0.5, 0.0], &[0.5, 0.5, 0.0], &[0.5, 0.0, 0.5], &[0.9, 0.1, 0.0]]);
    assert_eq!(ask(&logits, 3, 1, json!({"deterministic": true})).rows, [0, 2, 3]);
}

fn plain(logits: &[Vec<f32>], batch: usize, kind: &str) -> Vec<u32> {
    let softmax = |row: &Vec<f32>| -> Vec<f64> {
        let total: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
        row.iter().map(|&l| f64::from(l).exp() / total).collect()
    };
    let p: Vec<Vec<f64>> = logits.iter().map(softmax).collect();
    let unsure = |row: &Vec<f64>| {
        let mut row = row.clone();
        row.sort_by(|a, b| b.total_cmp(a));
        1.0 - (row[0] - row[1])
    };
    let u: Vec<f64> = p.iter().map(unsure).collect();
    let mut picks: Vec<usize> = Vec::new();
    while picks.len() < batch {
        let open: Vec<usize> = (0..p.len()).filter(|i| !picks.contains(i)).collect();
        let l1 = |i: usize, j: usize| p[i].iter().zip(&p[j]).map(|(a, b)| (a - b).abs()).sum::<f64>();
        let d = |i: usize| picks.iter().map(|&j| l1(i, j)).fold(u[i], f64::min);
        let (low, high) =
            open.iter().map(|&i| d(i)).fold((f64::INFINITY, 0.0f64), |(low, high), d| (low.min(d), high.max(d)));
        let relevance = |i: usize| match kind {
            "unc-norm" => (d(i) - low) / (high - low) + u[i],
            "distance" => (d(i) - low) / (high - low),
            _ => u[i],
        };
        picks.push(*open.iter().max_by(|&&a, &&b| relevance(a).total_cmp(&relevance(b))).unwrap());
    }
    picks.iter().map(|&row| row as u32).collect()
}

#[test]
fn deterministic_picks_are_those_of_the_plain_loop() {
    for classes in [2, 5] {
        let logits = noise(120, classes, 3.0, 8);
        for kind in ["unc-norm", "distance", "unc"] {
            let found = ask(&logits, 25, 1, json!({"deterministic": true, "distance": kind}));
            assert_eq!(found.rows, plain(&logits, 25, kind), "{classes} classes, {kind}");
            assert_eq!(figure(&found, "fallback_count"), 0.0);
        }
    }
}

#[test]
fn the_first_draw_follows_its_weights() {
    let logits = logits_of(&[&[0.5, 0.5], &[0.6, 0.4], &[0.7, 0.3], &[0.9, 0.1]]);
    // u is 1, .8, .6, .2, and scaled 1, .75, .5, 0.
    let relevance = [2.0, 1.55, 1.1, 0.2f64];
    for gamma in [0.0, 1.0, 3.0] {
        let weights = relevance.map(|r| r.powf(gamma));
        let total: f64 = weights.iter().sum();
        let mut counts = [0.0f64; 4];
        for seed in 0..20_000 {
            counts[ask(&logits, 1, seed, json!({ "gamma": gamma })).rows[0] as usize] += 1.0;
        }
        let expected = weights.map(|weight| 20_000.0 * weight / total);
        let chi_square: f64 = counts.iter().zip(expected).map(|(n, e)| (n - e) * (n - e) / e).sum();
        // Three degrees of freedom: 21.1 is the 1e-4 quantile.
        assert!(chi_square < 21.1, "gamma {gamma}: {counts:?}, expected {expected:?}");
    }
}

#[test]
fn large_exponents_are_deterministic() {
    let logits = noise(60, 4, 2.0, 3);
    let drawn = ask(&logits, 10, 7, json!({"gamma": 1e6}));
    assert_eq!(drawn.rows, ask(&logits, 10, 1, json!({"deterministic": true})).rows);
}

#[test]
fn nothing_relevant_is_filled_at_random() {
    // Sure of the same class everywhere: neither uncertainty nor distance.
    let logits = vec![vec![3e30, 0.0]; 5];
    let found = ask(&logits, 3, 1, json!({}));
    assert_eq!(figure(&found, "fallback_count"), 3.0);
}
