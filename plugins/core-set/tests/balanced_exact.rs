//! Class-balanced uncertainty against enumeration.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_core_set::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "balanced-exact"));
}

fn data(logits: &[Vec<f32>], labels: &[u32]) -> Arrays {
    let labels = Array::labels(labels.to_vec());
    let count = labels.rows();
    arrays(logits.len(), count, 3, [("logits", matrix(3, logits)), ("labelled.labels", labels)])
}

fn batches(rows: usize, size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let with_last = |last: usize| batches(last, size - 1).into_iter().map(move |batch| [batch, vec![last]].concat());
    (size - 1..rows).flat_map(with_last).collect()
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let exps: Vec<f64> = logits.iter().map(|&z| f64::from(z).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.into_iter().map(|e| e / sum).collect()
}

#[test]
fn no_batch_has_a_larger_objective() {
    for seed in 0..25 {
        let (rows, batch) = (13, 1 + seed as usize % 5);
        let logits = noise(rows, 3, 2.0, seed);
        let labels: Vec<u32> = (0..seed as u32 % 7).map(|at| at * at % 3).collect();
        let lambda = [0.05, 0.4, 2.0][seed as usize % 3];
        let is_hard = seed % 2 == 1;
        let params: Value =
            json!({"lambda": lambda, "counts": if is_hard { "hard" } else { "soft" }, "target": [1, 2, 1]});
        let found = Question::new(&PACKAGE, "balanced-exact", batch).with(params).ask(&data(&logits, &labels));
        let probs: Vec<Vec<f64>> = logits.iter().map(|row| softmax(row)).collect();
        let entropy: Vec<f64> = probs.iter().map(|p| -p.iter().map(|p| p * p.ln()).sum::<f64>()).collect();
        let (low, high) = (
            entropy.iter().copied().fold(f64::INFINITY, f64::min),
            entropy.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        );
        let objective = |picks: &[usize]| {
            let gap = |class: usize| {
                let share = [0.25, 0.5, 0.25][class] * (labels.len() + batch) as f64;
                let have = labels.iter().filter(|label| **label as usize == class).count() as f64;
                let top = |row: usize| (0..3).all(|other| probs[row][other] <= probs[row][class]);
                let of = |row: usize| if is_hard { f64::from(u8::from(top(row))) } else { probs[row][class] };
                (picks.iter().map(|&row| of(row)).sum::<f64>() - (share - have).max(0.0)).abs()
            };
            let value = |row: &usize| (entropy[*row] - low) / (high - low);
            picks.iter().map(value).sum::<f64>() - lambda * (0..3).map(gap).sum::<f64>()
        };
        let best = batches(rows, batch).iter().map(|batch| objective(batch)).fold(f64::NEG_INFINITY, f64::max);
        let picks: Vec<usize> = found.rows.iter().map(|&row| row as usize).collect();
        let own = objective(&picks);
        assert!((own - best).abs() < 1e-7, "seed {seed}: {own}, best {best}");
        assert!((figure(&found, "objective") - own).abs() < 1e-9 && figure(&found, "optimal") == 1.0, "seed {seed}");
        assert!(figure(&found, "bound") >= own - 1e-9 && figure(&found, "bound") <= own + 1e-6, "seed {seed}");
        assert!(found.scores.is_sorted_by(|a, b| a >= b), "seed {seed}: {:?}", found.scores);
    }
}

#[test]
fn little_is_left_undecided() {
    let logits = noise(2000, 3, 2.0, 3);
    let found = Question::new(&PACKAGE, "balanced-exact", 50).ask(&data(&logits, &[0, 0, 0, 0, 1]));
    assert_eq!(figure(&found, "optimal"), 1.0);
    assert!(figure(&found, "undecided") < 200.0, "{:?}", found.diagnostics);
}

#[test]
fn shares_are_one_a_class() {
    let data = data(&noise(9, 3, 1.0, 1), &[0]);
    for (target, part) in [(json!([1, 1]), "3 classes"), (json!([0, 0, 0]), "above 0"), (json!([2, -1, 1]), "above 0")]
    {
        let question = Question::new(&PACKAGE, "balanced-exact", 2).with(json!({ "target": target }));
        let error = question.try_ask(&data).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}
