//! DIRECT against its worked example, and on thresholds that are known.

use querist_core::{Array, Arrays};
use querist_sdk::protocol::Selection;
use querist_sdk::protocol::philox::Stream;
use querist_testkit::question::{arrays, figure, matrix};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_direct::PACKAGE;

type Rows = Vec<Vec<f32>>;
/// Logits with labels.
type Labelled = Vec<(Vec<f32>, u32)>;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "direct"));
}

fn data(pool: &Rows, hidden: &[u32], labelled: &[(Vec<f32>, u32)]) -> Arrays {
    let classes = pool[0].len();
    let logits: Rows = labelled.iter().map(|(logits, _)| logits.clone()).collect();
    let labels: Vec<u32> = labelled.iter().map(|(_, label)| *label).collect();
    let named = [
        ("logits", matrix(classes, pool)),
        ("labelled.logits", matrix(classes, &logits)),
        ("labelled.labels", Array::labels(labels)),
        ("oracle.labels", Array::labels(hidden.to_vec())),
    ];
    arrays(pool.len(), labelled.len(), classes, named)
}

fn ask(arrays: &Arrays, batch: usize, params: Value, seed: u64) -> Selection {
    Question { seed, ..Question::new(&PACKAGE, "direct", batch).with(params) }.ask(arrays)
}

/// Logits of two classes of which the first has this probability.
#[expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]
fn two(first: f32) -> Vec<f32> {
    vec![(first / (1.0 - first)).ln(), 0.0]
}

#[test]
fn the_worked_example() {
    let pool: Rows = [0.9, 0.75, 0.6, 0.45, 0.3, 0.2].map(two).to_vec();
    let labelled: Vec<(Vec<f32>, u32)> =
        [(0.8, 0), (0.35, 0), (0.05, 1), (0.1, 1)].map(|(first, label)| (two(first), label)).to_vec();
    let found = ask(&data(&pool, &[0; 6], &labelled), 3, json!({"feedback": "none"}), 1);
    assert_eq!(found.rows, [4, 3, 5]);
    // Labels that come at once do not change one threshold.
    let found = ask(&data(&pool, &[1; 6], &labelled), 3, json!({"explore": 0.0}), 1);
    assert_eq!(found.rows, [4, 3, 5]);
}

/// Two thousand samples of two classes in order, of which those before 400 are of the first; ten of them have labels.
fn cut(noise: f64, seed: u64) -> (Rows, Vec<u32>, Labelled) {
    let mut numbers = Stream::new(seed, 7);
    let mut label = |place: usize| {
        let right = u32::from(place >= 400);
        if numbers.next_uniform() < noise { 1 - right } else { right }
    };
    let logits = |place: usize| vec![4.0 - 0.004 * place as f32, 0.0];
    let hidden: Vec<u32> = (0..2000).map(&mut label).collect();
    let labelled = (0..10).map(|at| (logits(at * 200 + 100), hidden[at * 200 + 100])).collect();
    ((0..2000).map(logits).collect(), hidden, labelled)
}

#[test]
fn the_threshold_is_found_where_labels_are_right() {
    for annotators in [1, 5] {
        for seed in 0..20 {
            let (pool, hidden, labelled) = cut(0.0, seed);
            let params = json!({"explore": 0.9, "min_per_class": 60, "annotators": annotators});
            let found = ask(&data(&pool, &hidden, &labelled), 67, params, seed);
            let narrowed = figure(&found, "narrowed") as usize;
            assert!((20..=60).contains(&narrowed), "{annotators}, {seed}: {narrowed}");
            // What comes after lies beside it.
            let after: Vec<i64> = found.rows[narrowed..].iter().map(|&row| i64::from(row) - 400).collect();
            assert!(after.iter().all(|apart| apart.abs() < 60), "{annotators}, {seed}: {after:?}");
            let known = |row: u32| found.rows.contains(&row);
            assert!(known(399) && known(400), "{annotators}, {seed}: {after:?}");
        }
    }
}

#[test]
fn wrong_labels_do_not_lead_it_far_astray() {
    let mut apart: Vec<i64> = (0..41)
        .map(|seed| {
            let (pool, hidden, labelled) = cut(0.2, seed);
            let params = json!({"explore": 0.99, "min_per_class": 60, "annotators": 5});
            let found = ask(&data(&pool, &hidden, &labelled), 61, params, seed);
            assert_eq!(found.rows.len(), 61);
            (i64::from(found.rows[60]) - 400).abs()
        })
        .collect();
    apart.sort_unstable();
    assert!(apart[20] <= 30, "{apart:?}");
}

#[test]
fn rare_classes_are_narrowed_first_and_all_have_a_part() {
    let mut numbers = Stream::new(3, 1);
    let mut row = |class: usize| -> Vec<f32> {
        (0..3).map(|c| numbers.next_uniform() as f32 + if c == class { 1.0 } else { 0.0 }).collect()
    };
    let classes: Vec<usize> = (0..300).map(|at| if at % 30 == 0 { 2 } else { at % 2 }).collect();
    let pool: Rows = classes.iter().map(|&class| row(class)).collect();
    let hidden: Vec<u32> = classes.iter().map(|&class| class as u32).collect();
    let labelled: Vec<(Vec<f32>, u32)> = [0, 0, 0, 1, 1, 2].iter().map(|&class| (row(class), class as u32)).collect();
    let all = data(&pool, &hidden, &labelled);
    let found = ask(&all, 30, json!({"min_per_class": 8, "annotators": 2}), 5);
    assert_eq!(figure(&found, "fallback_count"), 0.0);
    assert!(figure(&found, "narrowed") <= 15.0 && figure(&found, "narrowed") > 0.0, "{found:?}");
    assert_eq!(found, ask(&all, 30, json!({"min_per_class": 8, "annotators": 2}), 5));
    assert_ne!(found.rows, ask(&all, 30, json!({"min_per_class": 8, "annotators": 2}), 6).rows);
}

#[test]
fn hidden_labels_matter_only_where_they_are_asked_for() {
    let (pool, hidden, labelled) = cut(0.0, 1);
    let flipped: Vec<u32> = hidden.iter().map(|label| 1 - label).collect();
    let of = |hidden: &[u32], params: &Value| ask(&data(&pool, hidden, &labelled), 20, params.clone(), 1).rows;
    let none = json!({"feedback": "none"});
    assert_eq!(of(&hidden, &none), of(&flipped, &none));
    let oracle = json!({"min_per_class": 5, "annotators": 2});
    assert_ne!(of(&hidden, &oracle), of(&flipped, &oracle));
}
