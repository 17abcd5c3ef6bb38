//! Open-set strategies against their definitions.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_open_set::PACKAGE;

type Rows = Vec<Vec<f32>>;

#[test]
fn they_conform() {
    for id in ["lfosa", "eoal"] {
        conforms(&NativeMaker::new(&PACKAGE, id));
    }
}

#[derive(Clone)]
struct Case {
    classes: usize,
    pool: Rows,
    labelled: Rows,
    labels: Vec<u32>,
    rejected: Vec<u32>,
    detector: Rows,
    ovr: Rows,
}

impl Case {
    /// Two classes around two corners, and strangers around a third.
    fn corners() -> Self {
        let corners = [[0.0f32, 0.0], [6.0, 0.0], [0.0, 6.0]];
        let around = |corner: usize, rows: usize, seed: u64| -> Rows {
            let near = noise(rows, 2, 1.0, seed);
            near.into_iter().map(|row| vec![row[0] + corners[corner][0], row[1] + corners[corner][1]]).collect()
        };
        let pool = [around(0, 20, 1), around(1, 20, 2), around(2, 20, 3)].concat();
        let labelled = [around(0, 5, 4), around(1, 5, 5), around(2, 5, 6)].concat();
        let labels = [[0; 5], [1; 5], [0; 5]].concat();
        let rejected = [[0; 5], [0; 5], [1; 5]].concat();
        let (detector, ovr) = (noise(60, 3, 2.0, 7), noise(60, 2, 2.0, 8));
        Self { classes: 2, pool, labelled, labels, rejected, detector, ovr }
    }

    fn arrays(&self) -> Arrays {
        let width = self.pool[0].len();
        let named = [
            ("embeddings", matrix(width, &self.pool)),
            ("labelled.embeddings", matrix(width, &self.labelled)),
            ("labelled.labels", Array::labels(self.labels.clone())),
            ("labelled.rejected", Array::labels(self.rejected.clone())),
            ("detector.logits", matrix(self.classes + 1, &self.detector)),
            ("detector.ovr", matrix(self.classes, &self.ovr)),
        ];
        arrays(self.pool.len(), self.labelled.len(), self.classes, named)
    }

    fn ask(&self, id: &str, batch: usize, params: &Value) -> Selection {
        Question::new(&PACKAGE, id, batch).with(params.clone()).ask(&self.arrays())
    }
}

#[test]
fn strangers_come_last() {
    let case = Case::corners();
    for (id, params) in [("lfosa", json!({})), ("eoal", json!({})), ("eoal", json!({"diversity": "none"}))] {
        let found = case.ask(id, 60, &params);
        let is_stranger = |row: &u32| *row >= 40;
        assert!(found.rows[..40].iter().all(|row| !is_stranger(row)), "{id} {params}: {:?}", found.rows);
        // What a rejected sample's label says is of no interest.
        let mut other = case.clone();
        other.labels[10..].fill(1);
        assert_eq!(found, other.ask(id, 60, &params), "{id} {params}");
        // Without strangers among the labels none is told.
        let mut unaware = case.clone();
        unaware.rejected.fill(0);
        assert_ne!(unaware.ask(id, 60, &params).rows, found.rows, "{id} {params}");
    }
}

#[test]
fn lfosa_ranks_by_the_larger_component() {
    let mut case = Case::corners();
    let values = [1.0, 1.2, 1.1, 4.0, 4.2, 3.9, 5.0];
    case.pool.truncate(9);
    case.detector = values.iter().map(|&v| vec![v, 0.0, -1.0]).collect();
    case.detector.push(vec![0.0, 0.0, 7.0]);
    case.detector.push(vec![0.0, 0.0, 3.0]);
    case.ovr.truncate(9);
    let found = case.ask("lfosa", 9, &json!({"detector": "provided"}));
    assert_eq!(found.rows, [6, 4, 3, 5, 1, 2, 0, 8, 7]);
    for (score, expected) in found.scores.iter().zip([1058.416, 669.106_0, 585.198_2, 545.257_3, -25.878_30]) {
        assert!((score - expected).abs() < 1e-4 * expected.abs(), "{score}, expected {expected}");
    }
    assert_eq!((figure(&found, "strangers"), figure(&found, "below_mean")), (2.0, 6.0));
    // Activations count, and no probabilities: more of all outputs is another answer.
    let mut shifted = case.clone();
    shifted.detector[0].iter_mut().for_each(|v| *v += 9.0);
    assert_eq!(shifted.ask("lfosa", 1, &json!({"detector": "provided"})).rows, [0]);
}

/// EOAL's scores under a provided detector and two strangers, which are their own clusters.
fn scores(case: &Case) -> Vec<f64> {
    let entropy = |o: f64| {
        let p = 1.0 / (1.0 + (-o).exp());
        -(p * p.log2() + (1.0 - p) * (1.0 - p).log2())
    };
    let strangers: Vec<&Vec<f32>> =
        case.labelled.iter().zip(&case.rejected).filter(|(_, rejected)| **rejected == 1).map(|(row, _)| row).collect();
    let distance = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>().sqrt();
    let of = |row: usize| {
        let known = case.ovr[row].iter().map(|&o| entropy(f64::from(o))).sum::<f64>() / case.classes as f64;
        if strangers.len() < 2 {
            return -known;
        }
        let near: Vec<f64> = strangers.iter().map(|other| (-distance(&case.pool[row], other)).exp()).collect();
        let sum: f64 = near.iter().sum();
        let among = near.iter().map(|x| -(x / sum) * (x / sum).ln()).sum::<f64>() / (near.len() as f64).ln();
        among - known
    };
    (0..case.pool.len()).map(of).collect()
}

#[test]
fn eoal_scores_are_differences_of_entropies() {
    let mut case = Case::corners();
    case.rejected = vec![0; 15];
    for strangers in [0, 1, 2] {
        case.rejected[10..10 + strangers].fill(1);
        // All are eligible.
        case.detector.iter_mut().for_each(|row| row[2] = -9.0);
        let params = json!({"detector": "provided", "diversity": "none"});
        let (found, expected) = (case.ask("eoal", 60, &params), scores(&case));
        let mut rows: Vec<u32> = (0..60).collect();
        rows.sort_by(|&a, &b| expected[b as usize].total_cmp(&expected[a as usize]));
        assert_eq!(found.rows, rows, "{strangers}");
        for (row, score) in found.rows.iter().zip(&found.scores) {
            assert!((score - expected[*row as usize]).abs() < 1e-6, "{score}, {}", expected[*row as usize]);
        }
    }
    // A copy of a stranger lies among them less evenly than before.
    let before = scores(&case)[3];
    case.labelled[10] = case.pool[3].clone();
    assert!(scores(&case)[3] < before);
    let found = case.ask("eoal", 60, &json!({"detector": "provided", "diversity": "none"}));
    let at = found.rows.iter().position(|&row| row == 3).unwrap();
    assert!((found.scores[at] - scores(&case)[3]).abs() < 1e-6);
}

#[test]
fn parts_give_samples_in_turn() {
    let mut case = Case::corners();
    case.detector.iter_mut().for_each(|row| row[2] = -9.0);
    // Directions of three groups; the best scores all lie in the first.
    let directions = [[1.0f32, 0.01], [0.01, 1.0], [-1.0, -1.0]];
    case.pool = (0..60).map(|row| directions[row / 20].iter().map(|x| x * (1.0 + row as f32)).collect()).collect();
    case.ovr = (0..60).map(|row| vec![9.0 - 0.1 * row as f32, -9.0]).collect();
    case.rejected = vec![0; 15];
    let params = json!({"detector": "provided"});
    let found = case.ask("eoal", 6, &params);
    assert_eq!(found.rows, [0, 20, 40, 1, 21, 41]);
    assert_eq!(case.ask("eoal", 6, &json!({"detector": "provided", "diversity": "none"})).rows, [0, 1, 2, 3, 4, 5]);
    let few = case.ask("eoal", 6, &json!({"detector": "provided", "candidates": 8}));
    assert!(few.rows.iter().all(|&row| row < 8), "{few:?}");
}

#[test]
fn a_detector_has_an_output_for_strangers() {
    let mut case = Case::corners();
    case.detector.iter_mut().for_each(|row| row.truncate(2));
    let question = Question::new(&PACKAGE, "lfosa", 3).with(json!({"detector": "provided"}));
    let width = case.classes;
    let named = [("detector.logits", matrix(width, &case.detector))];
    let error = question.try_ask(&arrays(60, 0, 2, named)).unwrap_err();
    assert!(error.contains("has 2 columns, expected 3"), "{error}");
}
