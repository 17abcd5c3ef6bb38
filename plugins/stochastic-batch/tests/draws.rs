//! Each form draws in proportion to what it says.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays, Round, Seeds};
use querist_protocol::philox::Stream;
use querist_testkit::cases::arrays;
use querist_testkit::{Native, NativeMaker, ask, conforms};
use serde_json::{Value, json};
use strategy_stochastic_batch::PACKAGE;

const BASES: [&str; 4] = ["bald", "margin", "entropy", "least-confidence"];

#[test]
fn every_strategy_conforms() {
    for strategy in PACKAGE.describe().strategies {
        conforms(&NativeMaker::new(&PACKAGE, &strategy.id));
    }
}

/// Binary rows of which `p` is the first class's probability, as logits and as two opposed draws.
fn pool(rows: &[f64]) -> Arrays {
    let logits = rows.iter().flat_map(|p| [p.ln() as f32, (1.0 - p).ln() as f32]);
    let draws = rows.iter().flat_map(|p| {
        let (p, q) = (p.ln() as f32, (1.0 - p).ln() as f32);
        [p, q, q, p]
    });
    let named = [
        ("logits", Array::f32(vec![rows.len(), 2], logits.collect::<Vec<_>>()).unwrap()),
        ("mc_log_probs", Array::f32(vec![rows.len(), 2, 2], draws.collect::<Vec<_>>()).unwrap()),
    ];
    arrays(rows.len(), 0, 2, named)
}

fn params(base: &str, beta: f64) -> Value {
    if base == "bald" { json!({"beta": beta, "T": 2}) } else { json!({"beta": beta}) }
}

fn entropy(p: f64) -> f64 {
    -p * p.ln() - (1.0 - p) * (1.0 - p).ln()
}

/// Base score of a row of [`pool`].
fn base_score(base: &str, p: f64) -> f64 {
    match base {
        "bald" => std::f64::consts::LN_2 - entropy(p),
        "margin" => 1.0 - (2.0 * p - 1.0).abs(),
        "entropy" => entropy(p),
        _ => p.min(1.0 - p),
    }
}

/// What the first draw is in proportion to.
fn weights(form: &str, base: &str, beta: f64, rows: &[f64]) -> Vec<f64> {
    let scores: Vec<f64> = rows.iter().map(|&p| base_score(base, p)).collect();
    let rank = |s: f64| 1.0 + scores.iter().filter(|&&other| other > s).count() as f64;
    let weight = |&s: &f64| match form {
        "power" => s.powf(beta),
        "softmax" => (beta * s).exp(),
        _ => rank(s).powf(-beta),
    };
    scores.iter().map(weight).collect()
}

#[test]
fn pairs_are_drawn_one_after_the_other_in_proportion() {
    const SEEDS: u64 = 100_000;
    let rows = [0.95, 0.65, 0.8];
    let pool = pool(&rows);
    for (form, base, beta) in
        [("power", "bald", 1.0), ("power", "margin", 2.0), ("softmax", "entropy", 3.0), ("softrank", "bald", 1.5)]
    {
        let id = format!("{form}-{base}");
        let weights = weights(form, base, beta, &rows);
        let mut drawn = [[0u32; 3]; 3];
        let mut strategy = Native::new(&PACKAGE, &id, &params(base, beta), 1).unwrap();
        for seed in 0..SEEDS {
            let answer = strategy.ask(&pool, 2, seed).unwrap();
            drawn[answer.rows[0] as usize][answer.rows[1] as usize] += 1;
        }
        let total: f64 = weights.iter().sum();
        let mut chi_square = 0.0;
        for first in 0..3 {
            for second in (0..3).filter(|&second| second != first) {
                let expected = SEEDS as f64 * weights[first] / total * weights[second] / (total - weights[first]);
                chi_square += (f64::from(drawn[first][second]) - expected).powi(2) / expected;
            }
        }
        // Five degrees of freedom: 25.7 is the 1e-4 quantile.
        assert!(chi_square < 25.7, "{id}: {chi_square} {drawn:?} {weights:?}");
    }
}

#[test]
fn scores_are_the_perturbed_base_scores() {
    let noise = Stream::new(4, 0);
    let rows: Vec<f64> = (0..50).map(|row| 0.01 + 0.98 * noise.item_uniform(row, 0)).collect();
    let pool = pool(&rows);
    for base in BASES {
        for form in ["power", "softmax", "softrank"] {
            let id = format!("{form}-{base}");
            let numbers = Seeds::new(9).strategy(&id).stream("gumbel", Round(0));
            let weights = weights(form, base, 2.5, &rows);
            let answer = ask(&PACKAGE, &id, &params(base, 2.5), (&pool, 50, 9)).unwrap();
            for (&row, score) in answer.rows.iter().zip(&answer.scores) {
                let expected = weights[row as usize].ln() - (-numbers.item_uniform(u64::from(row), 0).ln()).ln();
                assert!((score - expected).abs() < 2e-4, "{id}, row {row}: {score} {expected}");
            }
        }
    }
}

#[test]
fn a_large_beta_gives_the_top() {
    // Base scores far enough apart for no Gumbel number to matter; bald rises with certainty, the others fall.
    let rows = [1.0 - 1e-9, 0.5001, 1.0 - 1e-6, 0.97, 1.0 - 1e-3];
    for (id, expected) in [
        ("power-entropy", [1, 3, 4, 2, 0].as_slice()),
        ("power-least-confidence", &[1, 3, 4, 2, 0]),
        ("power-margin", &[1, 3, 4, 2, 0]),
        ("softmax-margin", &[1]),
        ("softrank-margin", &[1, 3]),
        ("softrank-bald", &[0, 2]),
    ] {
        let base = id.split_once('-').unwrap().1;
        let answer = ask(&PACKAGE, id, &params(base, 64.0), (&pool(&rows), expected.len(), 3)).unwrap();
        assert_eq!(answer.rows, expected, "{id}");
    }
}

#[test]
fn scores_of_zero_come_last_in_base_order() {
    // Draws that agree exactly have no mutual information; the entropy of their mean orders them.
    let agreed = |p: f32| [p.ln(), (1.0 - p).ln(), p.ln(), (1.0 - p).ln()];
    let opposed = [0.9f32.ln(), 0.1f32.ln(), 0.1f32.ln(), 0.9f32.ln()];
    let values = [agreed(0.9), agreed(0.5), opposed, agreed(0.7)].concat();
    let pool = arrays(4, 0, 2, [("mc_log_probs", Array::f32(vec![4, 2, 2], values).unwrap())]);
    for seed in 0..50 {
        let answer = ask(&PACKAGE, "power-bald", &json!({"T": 2}), (&pool, 4, seed)).unwrap();
        assert_eq!(answer.rows, [2, 1, 3, 0]);
    }
}

#[test]
fn beta_has_a_range() {
    for beta in [0.0, -1.0, 64.5] {
        let error = Native::new(&PACKAGE, "power-entropy", &json!({"beta": beta}), 1).err().unwrap().to_string();
        assert!(error.contains(&format!("/beta: {beta:?} is")), "{error}");
    }
    assert_eq!(PACKAGE.needs("softrank-bald", r#"{"T": 20}"#).unwrap()[0].to_string(), "mc_log_probs(T=20)");
}
