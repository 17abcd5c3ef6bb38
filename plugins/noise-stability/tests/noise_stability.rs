//! Noise stability against its definition.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::json;
use strategy_noise_stability::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "noise-stability"));
}

/// Logits of a model and of its copies, `[rows][copies][classes]`.
fn data(logits: &[Vec<f32>], copies: &[Vec<Vec<f32>>]) -> Arrays {
    let (rows, count, classes) = (logits.len(), copies[0].len(), logits[0].len());
    let values: Vec<f32> = copies.iter().flatten().flatten().copied().collect();
    let copies = Array::f32(vec![rows, count, classes], values).unwrap();
    arrays(rows, 0, classes, [("logits", matrix(classes, logits)), ("perturbed_logits", copies)])
}

fn ask(arrays: &Arrays, copies: usize, batch: usize) -> Selection {
    Question::new(&PACKAGE, "noise-stability", batch).with(json!({"K": copies})).ask(arrays)
}

fn two(first: f32) -> Vec<f32> {
    vec![first.ln(), (1.0 - first).ln()]
}

#[test]
fn the_worked_example() {
    let logits = [0.5, 0.9, 0.5].map(two).to_vec();
    let copies = [0.6, 0.8, 0.45].map(|first| vec![two(first)]).to_vec();
    let found = ask(&data(&logits, &copies), 1, 3);
    assert_eq!(found.rows, [0, 1, 2]);
    assert!((found.scores[0] - 0.2).abs() < 1e-6, "{:?}", found.scores);
    assert!((figure(&found, "resolution") - 0.156_173_8).abs() < 1e-6);
}

#[test]
fn it_is_furthest_first_from_the_origin() {
    let (rows, count, classes) = (60, 5, 4);
    let logits = noise(rows, classes, 2.0, 3);
    let jogged = noise(rows * count, classes, 0.3, 4);
    let copies: Vec<Vec<Vec<f32>>> = (0..rows)
        .map(|row| {
            let copy = |at: usize| logits[row].iter().zip(&jogged[row * count + at]).map(|(z, d)| z + d).collect();
            (0..count).map(copy).collect()
        })
        .collect();
    let softmax = |logits: &[f32]| -> Vec<f64> {
        let exps: Vec<f64> = logits.iter().map(|&z| f64::from(z).exp()).collect();
        let sum: f64 = exps.iter().sum();
        exps.into_iter().map(|e| e / sum).collect()
    };
    let changes: Vec<Vec<f64>> = (0..rows)
        .map(|row| {
            let p = softmax(&logits[row]);
            let length = p.iter().map(|p| p * p).sum::<f64>().sqrt();
            let of = |copy: &Vec<f32>| softmax(copy).iter().zip(&p).map(|(q, p)| (q - p) / length).collect::<Vec<_>>();
            copies[row].iter().flat_map(of).collect()
        })
        .collect();
    let distance = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt();
    let mut nearest: Vec<f64> = changes.iter().map(|x| distance(x, &vec![0.0; x.len()])).collect();
    let found = ask(&data(&logits, &copies), count, 25);
    for (pick, score) in found.rows.iter().zip(&found.scores) {
        let best = (0..rows).reduce(|a, b| if nearest[b] > nearest[a] { b } else { a }).unwrap();
        assert_eq!(*pick as usize, best);
        assert!((score - nearest[best]).abs() < 1e-6, "{score}, {}", nearest[best]);
        let chosen = changes[best].clone();
        nearest.iter_mut().zip(&changes).for_each(|(near, x)| *near = near.min(distance(x, &chosen)));
    }
}

#[test]
fn what_does_not_move_comes_last_in_order() {
    let logits = [0.5, 0.7, 0.5, 0.6].map(two).to_vec();
    let copies = [0.5, 0.8, 0.5, 0.6].map(|first| vec![two(first)]).to_vec();
    let found = ask(&data(&logits, &copies), 1, 4);
    assert_eq!((found.rows.as_slice(), figure(&found, "fallback_count")), (&[1, 0, 2, 3][..], 3.0));
}

#[test]
fn the_number_of_copies_is_that_of_the_array() {
    let arrays = data(&[two(0.5), two(0.7)], &[vec![two(0.4); 3], vec![two(0.6); 3]]);
    let error = Question::new(&PACKAGE, "noise-stability", 1).with(json!({"K": 2})).try_ask(&arrays).unwrap_err();
    assert!(error.contains("`K`") && error.contains("6 values"), "{error}");
}
