//! Norms against finite differences of the losses themselves.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_protocol::philox::Stream;
use querist_testkit::cases::arrays;
use querist_testkit::{NativeMaker, ask, conforms, settled};
use serde_json::{Value, json};
use strategy_gradnorm::PACKAGE;

#[test]
fn every_strategy_conforms() {
    for strategy in PACKAGE.describe().strategies {
        conforms(&NativeMaker::new(&PACKAGE, &strategy.id));
    }
}

const CLASSES: usize = 4;
const WIDTH: usize = 3;

/// A linear head over embeddings.
struct Model {
    weights: Vec<f64>,
    biases: Vec<f64>,
}

impl Model {
    fn logits(&self, h: &[f64]) -> Vec<f64> {
        let row = |c: usize| (0..WIDTH).map(|d| self.weights[c * WIDTH + d] * h[d]).sum::<f64>() + self.biases[c];
        (0..CLASSES).map(row).collect()
    }

    fn log_probs(&self, h: &[f64]) -> Vec<f64> {
        let logits = self.logits(h);
        let lse = logits.iter().map(|l| l.exp()).sum::<f64>().ln();
        logits.iter().map(|l| l - lse).collect()
    }

    /// Central differences of `loss` at the weights and at the biases.
    fn gradient(&mut self, h: &[f64], loss: impl Fn(&[f64]) -> f64) -> (Vec<f64>, Vec<f64>) {
        const STEP: f64 = 1e-5;
        let mut slope = |at: fn(&mut Self) -> &mut Vec<f64>, i: usize| {
            let mut moved = |by: f64| {
                at(self)[i] += by;
                loss(&self.log_probs(h))
            };
            let (low, high) = (moved(-STEP), moved(2.0 * STEP));
            moved(-STEP);
            (high - low) / (2.0 * STEP)
        };
        let weights = (0..CLASSES * WIDTH).map(|i| slope(|model| &mut model.weights, i)).collect();
        let biases = (0..CLASSES).map(|i| slope(|model| &mut model.biases, i)).collect();
        (weights, biases)
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn joined(by: &str, (weights, biases): (Vec<f64>, Vec<f64>)) -> f64 {
    match by {
        "global" => norm(&[weights, biases].concat()),
        _ => norm(&weights) + norm(&biases),
    }
}

/// The score as its definition has it.
fn expected(id: &str, by: &str, model: &mut Model, h: &[f64]) -> f64 {
    let entropy = |logs: &[f64]| -logs.iter().map(|log| log.exp() * log).sum::<f64>();
    if id != "gradnorm-egl" {
        return joined(by, model.gradient(h, entropy));
    }
    let logs = model.log_probs(h);
    (0..CLASSES).map(|c| logs[c].exp() * joined(by, model.gradient(h, |logs| -logs[c]))).sum()
}

fn pool(logits: &[Vec<f64>], embeddings: &[Vec<f64>]) -> Arrays {
    let matrix = |rows: &[Vec<f64>]| {
        let values: Vec<f32> = rows.iter().flatten().map(|&value| value as f32).collect();
        Array::f32(vec![rows.len(), rows[0].len()], values).unwrap()
    };
    arrays(logits.len(), 0, logits[0].len(), [("logits", matrix(logits)), ("penultimate", matrix(embeddings))])
}

fn scores(id: &str, params: &Value, pool: &Arrays) -> Vec<f64> {
    let rows = pool.ids().len();
    let answer = ask(&PACKAGE, id, params, (pool, rows, 0)).unwrap();
    let mut by_row = vec![f64::NAN; rows];
    for (&row, &score) in answer.rows.iter().zip(&answer.scores) {
        by_row[row as usize] = score;
    }
    by_row
}

#[test]
fn last_layer_norms_are_those_of_a_linear_model() {
    let noise = Stream::new(6, 0);
    let number = |item: u64, step: usize| f64::from((noise.item_uniform(item, step as u32) * 4.0 - 2.0) as f32);
    let mut model = Model {
        weights: (0..CLASSES * WIDTH).map(|i| number(0, i)).collect(),
        biases: (0..CLASSES).map(|i| number(1, i)).collect(),
    };
    let embeddings: Vec<Vec<f64>> = (2..40).map(|row| (0..WIDTH).map(|d| number(row, d)).collect()).collect();
    let logits: Vec<Vec<f64>> = embeddings.iter().map(|h| model.logits(h)).collect();
    let pool = pool(&logits, &embeddings);
    for id in ["gradnorm-entropy", "gradnorm-expected", "gradnorm-egl"] {
        for by in ["tensor-sum", "global"] {
            let scores = scores(id, &json!({"norm": by}), &pool);
            for (row, h) in embeddings.iter().enumerate() {
                let expected = expected(id, by, &mut model, h);
                assert!((scores[row] - expected).abs() < 1e-6, "{id} {by}, row {row}: {} {expected}", scores[row]);
            }
        }
    }
    assert_eq!(scores("gradnorm-entropy", &json!({}), &pool), scores("gradnorm-expected", &json!({}), &pool));
}

#[test]
fn a_uniform_row_scores_zero_and_the_peak_is_where_the_documentation_says() {
    for (classes, peak) in [(2, 0.824), (10, 0.672), (100, 0.600)] {
        let row = |p: f64| -> Vec<f64> {
            let rest = ((1.0 - p) / (classes - 1) as f64).ln();
            (0..classes).map(|c| if c == 0 { p.ln() } else { rest }).collect()
        };
        let first = 1.0 / classes as f64;
        let shares: Vec<f64> = (0..=999).map(|step| first + (0.999 - first) * f64::from(step) / 999.0).collect();
        let mut rows: Vec<Vec<f64>> = shares.iter().map(|&p| row(p)).collect();
        rows[0] = vec![0.3; classes];
        let scores = scores("gradnorm-entropy", &json!({}), &pool(&rows, &vec![vec![1.0]; 1000]));
        assert_eq!(scores[0], 0.0);
        let best = (0..1000).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
        assert!((shares[best] - peak).abs() < 2e-3, "{classes} classes: {}", shares[best]);
    }
}

#[test]
fn saturated_rows_keep_their_order() {
    let rows: Vec<Vec<f64>> = [60.0, 40.0, 80.0].iter().map(|&gap| vec![gap, 0.0, 0.0]).collect();
    let pool = pool(&rows, &vec![vec![1.0]; 3]);
    for id in ["gradnorm-entropy", "gradnorm-egl"] {
        let answer = ask(&PACKAGE, id, &json!({}), (&pool, 3, 0)).unwrap();
        assert_eq!(answer.rows, [1, 0, 2], "{id}");
        assert!(answer.scores[2] > 0.0, "{id}: {:?}", answer.scores);
    }
}

#[test]
fn full_gradients_are_the_hosts_and_are_only_ranked() {
    let needs = |id, params: Value| -> Vec<String> {
        PACKAGE
            .needs(id, &settled(&PACKAGE, id, &params).to_string())
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(needs("gradnorm-entropy", json!({})), ["logits", "penultimate"]);
    assert_eq!(needs("gradnorm-egl", json!({"scope": "full"})), ["grad_norm(norm=tensor-sum, scheme=egl)"]);
    let s0 = json!({"preset": "al-baselines", "norm": "global"});
    assert_eq!(needs("gradnorm-expected", s0.clone()), ["grad_norm(norm=global, scheme=entropy)"]);
    let norms = Array::f32(vec![4], vec![0.5, 2.0, 1.0, 2.0]).unwrap();
    let answer = ask(&PACKAGE, "gradnorm-expected", &s0, (&arrays(4, 0, 3, [("grad_norm", norms)]), 3, 0)).unwrap();
    assert_eq!((answer.rows, answer.scores), (vec![1, 3, 2], vec![2.0, 2.0, 1.0]));
}
