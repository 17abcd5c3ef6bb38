//! Contrastive active learning against a double loop over its definition.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::Arrays;
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_cal::PACKAGE;

type Rows = Vec<Vec<f32>>;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "cal"));
}

/// Logits and embeddings of pool and labelled set.
struct Case {
    logits: Rows,
    embeddings: Rows,
    labelled_logits: Rows,
    labelled_embeddings: Rows,
}

impl Case {
    fn random(rows: usize, labelled: usize, size: f64, seed: u64) -> Self {
        Self {
            logits: noise(rows, 4, size, seed),
            embeddings: noise(rows, 6, 2.0, seed + 1),
            labelled_logits: noise(labelled, 4, size, seed + 2),
            labelled_embeddings: noise(labelled, 6, 2.0, seed + 3),
        }
    }

    fn arrays(&self) -> Arrays {
        let (classes, width) = (self.logits[0].len(), self.embeddings[0].len());
        let named = [
            ("logits", matrix(classes, &self.logits)),
            ("embeddings", matrix(width, &self.embeddings)),
            ("labelled.logits", matrix(classes, &self.labelled_logits)),
            ("labelled.embeddings", matrix(width, &self.labelled_embeddings)),
        ];
        arrays(self.logits.len(), self.labelled_logits.len(), classes, named)
    }

    fn ask(&self, batch: usize, params: Value) -> Selection {
        Question::new(&PACKAGE, "cal", batch).with(params).ask(&self.arrays())
    }

    /// The score of every row by the definition.
    fn scores(&self, k: usize, normalise: bool, reduce: &str) -> Vec<f64> {
        let unit = |row: &Vec<f32>| -> Vec<f64> {
            let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let by = if normalise && norm > 0.0 { norm } else { 1.0 };
            row.iter().map(|&x| f64::from(x) / by).collect()
        };
        let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let divergence = |q: &[f64], p: &[f64]| q.iter().zip(p).map(|(q, p)| q.exp() * (q - p)).sum::<f64>();
        let score = |row: usize| {
            let own = unit(&self.embeddings[row]);
            let mut near: Vec<usize> = (0..self.labelled_logits.len()).collect();
            near.sort_by(|&a, &b| {
                let [a, b] = [a, b].map(|at| distance(&own, &unit(&self.labelled_embeddings[at])));
                a.total_cmp(&b)
            });
            near.truncate(k);
            let p = logs(&self.logits[row]);
            let mut all: Vec<f64> = near.iter().map(|&at| divergence(&logs(&self.labelled_logits[at]), &p)).collect();
            all.sort_by(f64::total_cmp);
            match reduce {
                "mean" => all.iter().sum::<f64>() / all.len() as f64,
                "max" => all[all.len() - 1],
                _ => (all[(all.len() - 1) / 2] + all[all.len() / 2]) / 2.0,
            }
        };
        (0..self.logits.len()).map(score).collect()
    }
}

fn logs(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&z| (f64::from(z) - f64::from(most)).exp()).sum();
    logits.iter().map(|&z| f64::from(z) - f64::from(most) - sum.ln()).collect()
}

fn ranked(scores: &[f64]) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..scores.len() as u32).collect();
    rows.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
    rows
}

#[test]
fn the_worked_example() {
    let logits = |p: &[[f32; 2]]| p.iter().map(|row| row.map(f32::ln).to_vec()).collect::<Rows>();
    let case = Case {
        logits: logits(&[[0.5, 0.5], [0.9, 0.1], [0.9, 0.1]]),
        embeddings: vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![1.0, 0.0]],
        labelled_logits: logits(&[[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]),
        labelled_embeddings: vec![vec![1.0, 0.1], vec![0.1, 1.0], vec![-1.0, 0.0]],
    };
    let found = case.ask(3, json!({"k": 2}));
    assert_eq!(found.rows, [0, 1, 2]);
    for (score, expected) in found.scores.iter().zip([0.194_099_9, 0.155_619_3, 0.155_619_3]) {
        assert!((score - expected).abs() < 1e-6, "{:?}", found.scores);
    }
    assert_eq!(found.scores[1].to_bits(), found.scores[2].to_bits());
}

#[test]
fn it_is_the_double_loop() {
    let case = Case::random(150, 40, 5.0, 3);
    for (k, normalise, reduce) in [(10, true, "mean"), (1, true, "max"), (7, false, "median"), (6, true, "median")] {
        let found = case.ask(150, json!({"k": k, "normalise": normalise, "reduce": reduce}));
        let expected = case.scores(k, normalise, reduce);
        assert_eq!(found.rows, ranked(&expected), "k = {k}, {reduce}");
        for (row, score) in found.rows.iter().zip(&found.scores) {
            let expected = expected[*row as usize];
            assert!((score - expected).abs() <= 1e-9 * expected.max(1.0), "row {row}: {score}, expected {expected}");
        }
    }
}

#[test]
fn all_labelled_samples_are_neighbours_of_few() {
    let case = Case::random(60, 5, 3.0, 9);
    let found = case.ask(60, json!({"k": 1000}));
    assert_eq!(found, case.ask(60, json!({"k": 5})));
    let elsewhere = Case { embeddings: noise(60, 6, 2.0, 99), ..Case::random(60, 5, 3.0, 9) };
    assert_eq!(found.rows, elsewhere.ask(60, json!({"k": 5})).rows, "then embeddings do not count");
}

#[test]
fn the_size_of_embeddings_and_the_order_of_labels_say_nothing() {
    let case = Case::random(80, 30, 4.0, 5);
    let plain = case.ask(20, json!({}));
    let larger = |rows: &Rows| rows.iter().map(|row| row.iter().map(|x| x * 4.0).collect()).collect();
    let scaled = Case { embeddings: larger(&case.embeddings), ..Case::random(80, 30, 4.0, 5) };
    assert_eq!(plain, scaled.ask(20, json!({})));
    let mut shuffled = Case::random(80, 30, 4.0, 5);
    shuffled.labelled_logits.reverse();
    shuffled.labelled_embeddings.reverse();
    assert_eq!(plain.rows, shuffled.ask(20, json!({})).rows);
}

#[test]
fn equal_predictions_score_nothing() {
    let mut case = Case::random(10, 4, 3.0, 1);
    case.labelled_logits = vec![case.logits[3].clone(); 4];
    let found = case.ask(10, json!({}));
    assert_eq!((found.rows[9], found.scores[9]), (3, 0.0));
    assert!(found.scores[..9].iter().all(|&score| score > 0.0));
}

#[test]
fn sure_predictions_are_told_apart() {
    let sure = |by: f32| vec![by, 0.0, 0.0, 0.0];
    let mut case = Case::random(4, 1, 1.0, 1);
    case.logits = vec![sure(-80.0), sure(-160.0), sure(80.0), sure(-120.0)];
    case.labelled_logits = vec![sure(80.0)];
    let found = case.ask(4, json!({}));
    assert_eq!(found.rows, [1, 3, 0, 2]);
    assert!(found.scores.iter().all(|score| score.is_finite()));
}

#[test]
fn without_labels_it_is_random() {
    let found = Case::random(12, 0, 1.0, 1).ask(5, json!({}));
    assert_eq!(figure(&found, "fallback_count"), 5.0);
}
