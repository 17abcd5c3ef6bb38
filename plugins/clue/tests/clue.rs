//! CLUE against its definition.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_clue::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "clue"));
}

fn ask(logits: &[Vec<f32>], places: &[f32], batch: usize, params: Value) -> Selection {
    let embeddings: Vec<Vec<f32>> = places.iter().map(|&x| vec![x]).collect();
    let named = [("logits", matrix(2, logits)), ("embeddings", matrix(1, &embeddings))];
    Question::new(&PACKAGE, "clue", batch).with(params).ask(&arrays(places.len(), 0, 2, named))
}

#[test]
fn the_centre_lies_where_the_uncertain_samples_are() {
    // One cluster of places 0, 4 and 10; the middle one is sure. Entropies: ln 2 at 0; at 10 as its gap says.
    let places = [0.0, 4.0, 10.0];
    let with_gap = |gap: f32| vec![vec![0.0, 0.0], vec![900.0, 0.0], vec![gap, 0.0]];
    let entropy = |gap: f64| {
        let p = 1.0 / (1.0 + (-gap).exp());
        -p * p.ln() - (1.0 - p) * (1.0 - p).ln()
    };
    for (gap, temperature) in [(0.5f32, 1.0), (2.0, 1.0), (3.0, 1.0), (3.0, 10.0), (0.5, 0.1)] {
        let (a, b) = (2f64.ln(), entropy(f64::from(gap) / temperature));
        let centre = 10.0 * b / (a + b);
        let nearest = (0..3)
            .min_by(|&i, &j| (f64::from(places[i]) - centre).abs().total_cmp(&(f64::from(places[j]) - centre).abs()));
        let found = ask(&with_gap(gap), &places, 1, json!({"temperature": temperature}));
        assert_eq!(Some(found.rows[0] as usize), nearest, "gap {gap}, temperature {temperature}, centre {centre}");
    }
}

#[test]
fn sure_samples_everywhere_leave_plain_kmeans() {
    let found = ask(&[vec![2000.0, 0.0], vec![2000.0, 0.0], vec![2000.0, 0.0]], &[0.0, 4.0, 10.0], 1, json!({}));
    assert_eq!(
        (found.rows, figure(&ask(&[vec![2000.0, 0.0], vec![0.0, 2000.0]], &[0.0, 1.0], 1, json!({})), "unweighted")),
        (vec![1], 1.0)
    );
}

#[test]
fn centres_that_share_a_sample_take_the_next_nearest() {
    // Four samples in two places: two of three centres coincide with one place, or one is left without members.
    let logits = vec![vec![0.0, 0.0]; 4];
    let mut rows = ask(&logits, &[0.0, 0.0, 9.0, 0.0], 3, json!({})).rows;
    rows.sort_unstable();
    assert_eq!(rows, [0, 1, 2], "the lowest rows of a place are taken first");
}

#[test]
fn groups_far_apart_give_one_sample_each() {
    let places: Vec<f32> = (0..60).map(|i| (i % 6 * 100 + i / 6) as f32).collect();
    let logits: Vec<Vec<f32>> = (0..60).map(|i| vec![i as f32 * 0.03, 0.0]).collect();
    let mut groups: Vec<u32> = ask(&logits, &places, 6, json!({})).rows.iter().map(|row| row % 6).collect();
    groups.sort_unstable();
    assert_eq!(groups, [0, 1, 2, 3, 4, 5]);
}
