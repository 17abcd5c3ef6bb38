//! Contextual diversity against a plain double loop.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use strategy_cdal::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "cdal"));
}

fn ask(pool: &[Vec<f32>], labelled: &[Vec<f32>], batch: usize) -> Selection {
    let classes = pool[0].len();
    let named = [("logits", matrix(classes, pool)), ("labelled.logits", matrix(classes, labelled))];
    Question::new(&PACKAGE, "cdal", batch).ask(&arrays(pool.len(), labelled.len(), classes, named))
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
    logits.iter().map(|&l| f64::from(l).exp() / total).collect()
}

fn divergence(p: &[f64], q: &[f64]) -> f64 {
    let one_way = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
    (one_way(p, q) + one_way(q, p)) / 2.0
}

fn plain(pool: &[Vec<f32>], labelled: &[Vec<f32>], batch: usize) -> (Vec<u32>, Vec<f64>) {
    let pool: Vec<Vec<f64>> = pool.iter().map(|row| softmax(row)).collect();
    let mut centres: Vec<Vec<f64>> = labelled.iter().map(|row| softmax(row)).collect();
    let (mut rows, mut scores) = (Vec::new(), Vec::new());
    if centres.is_empty() {
        let mean: Vec<f64> =
            (0..pool[0].len()).map(|c| pool.iter().map(|p| p[c]).sum::<f64>() / pool.len() as f64).collect();
        let first = (0..pool.len())
            .min_by(|&a, &b| divergence(&pool[a], &mean).total_cmp(&divergence(&pool[b], &mean)))
            .unwrap();
        rows.push(first as u32);
        scores.push(-divergence(&pool[first], &mean));
        centres.push(pool[first].clone());
    }
    while rows.len() < batch {
        let nearest = |i: usize| centres.iter().map(|c| divergence(&pool[i], c)).fold(f64::INFINITY, f64::min);
        let open = (0..pool.len()).filter(|&i| !rows.contains(&(i as u32)));
        let (score, best) = open.map(|i| (nearest(i), i)).max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        rows.push(best as u32);
        scores.push(score);
        centres.push(pool[best].clone());
    }
    (rows, scores)
}

#[test]
fn distances_of_the_worked_examples() {
    let of = |p: [f32; 2]| vec![p.map(f32::ln).to_vec()];
    for (p, q, expected) in [([0.9, 0.1], [0.1, 0.9], 1.757_779_7), ([0.9, 0.1], [0.5, 0.5], 0.439_444_9)] {
        assert!((ask(&of(p), &of(q), 1).scores[0] - expected).abs() < 2e-7);
        assert_eq!(ask(&of(q), &of(q), 1).scores, [0.0; 0], "nothing is far from its equal: the pick is random");
    }
}

#[test]
fn picks_are_those_of_the_double_loop() {
    for classes in [2, 3, 10] {
        let pool = noise(150, classes, 4.0, classes as u64);
        for count in [0, 1, 8, 30] {
            let labelled = noise(count, classes, 4.0, 50 + count as u64);
            let found = ask(&pool, &labelled, 40);
            let (rows, scores) = plain(&pool, &labelled, 40);
            assert_eq!(found.rows, rows, "{classes} classes, {count} labelled");
            for (found, expected) in found.scores.iter().zip(&scores) {
                assert!((found - expected).abs() < 1e-11, "{classes} classes, {count} labelled: {found}, {expected}");
            }
        }
    }
}

#[test]
fn equals_of_labelled_samples_are_the_last() {
    let pool = vec![vec![1.0, 0.0], vec![0.0, 0.0], vec![1.0, 0.0], vec![0.0, 3.0]];
    let found = ask(&pool, &[vec![2.0, 1.0]], 4);
    assert_eq!(found.rows[..2], [3, 1]);
    assert_eq!(figure(&found, "fallback_count"), 2.0);
}

#[test]
fn probabilities_that_vanish_have_distances() {
    let pool = vec![vec![0.0, 3e38], vec![3e38, 0.0], vec![2000.0, 0.0], vec![0.0, 2000.0]];
    let found = ask(&pool, &[vec![0.0, 1e38]], 4);
    assert_eq!(found.rows[0], 1, "the opposite certainty is farthest");
    assert!(found.scores.iter().all(|score| score.is_finite()), "{:?}", found.scores);
}
