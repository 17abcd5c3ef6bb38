//! Diverse mini-batches against their definition.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_diverse_mini_batch::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "diverse-mini-batch"));
}

/// Two-class samples of these margins at these places.
fn ask(samples: &[(f64, f32)], batch: usize, params: Value) -> Selection {
    let logits: Vec<Vec<f32>> =
        samples.iter().map(|&(margin, _)| vec![((1.0 + margin) / (1.0 - margin)).ln() as f32, 0.0]).collect();
    let embeddings: Vec<Vec<f32>> = samples.iter().map(|&(_, place)| vec![place]).collect();
    let named = [("logits", matrix(2, &logits)), ("embeddings", matrix(1, &embeddings))];
    Question::new(&PACKAGE, "diverse-mini-batch", batch).with(params).ask(&arrays(samples.len(), 0, 2, named))
}

#[test]
fn beta_sets_how_many_candidates_are_clustered() {
    // The most uncertain three lie at 0, 1 and 5; the centre of all weighs 1 - margin.
    let samples = [(0.0, 0.0), (0.1, 1.0), (0.2, 5.0), (0.8, 40.0), (0.9, 3.2)];
    for (beta, candidates) in [(1.0, 1), (2.0, 2), (2.5, 3), (3.0, 3), (4.0, 4), (50.0, 5)] {
        let chosen = &samples[..candidates];
        let total: f64 = chosen.iter().map(|(margin, _)| 1.0 - margin).sum();
        let centre = chosen.iter().map(|&(margin, place)| (1.0 - margin) * f64::from(place)).sum::<f64>() / total;
        let distance = |i: usize| (f64::from(chosen[i].1) - centre).abs();
        let nearest = (0..candidates).min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap();
        let found = ask(&samples, 1, json!({ "beta": beta }));
        assert_eq!(found.rows, [nearest as u32], "beta {beta}, centre {centre}");
        assert_eq!(figure(&found, "fallback_count"), 0.0);
    }
}

#[test]
fn one_sample_of_each_group_of_candidates() {
    // Two groups of unsure samples and one of sure ones.
    let samples: Vec<(f64, f32)> =
        (0..30).map(|i| (if i % 3 == 2 { 0.9 } else { 0.01 * i as f64 }, (i % 3 * 100 + i) as f32)).collect();
    let mut groups: Vec<u32> = ask(&samples, 2, json!({"beta": 10.0})).rows.iter().map(|row| row % 3).collect();
    groups.sort_unstable();
    assert_eq!(groups, [0, 1]);
}

#[test]
fn a_factor_below_one_is_refused() {
    let arrays = arrays(0, 0, 2, [("logits", matrix(2, &[])), ("embeddings", matrix(1, &[]))]);
    let question = Question::new(&PACKAGE, "diverse-mini-batch", 1).with(json!({"beta": 0.5}));
    assert!(question.try_ask(&arrays).unwrap_err().contains("/beta: 0.5 is less than the minimum of 1"));
}
