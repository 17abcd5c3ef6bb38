//! Classes are filled from the emptiest up, and each sample of a class is as likely as any other.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_testkit::cases::arrays;
use querist_testkit::{NativeMaker, ask, conforms};
use serde_json::{Value, json};
use strategy_uniform::PACKAGE;

#[test]
fn uniform_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "uniform"));
}

fn pool(hidden: &[u32], labelled: &[u32], classes: usize) -> Arrays {
    let named =
        [("oracle.labels", Array::labels(hidden.to_vec())), ("labelled.labels", Array::labels(labelled.to_vec()))];
    arrays(hidden.len(), labelled.len(), classes, named)
}

/// Labelled and picked samples of each class, and how many were drawn at random.
fn counts(params: &Value, hidden: &[u32], labelled: &[u32], batch: usize, seed: u64) -> (Vec<u32>, f64) {
    let classes = 4;
    let answer = ask(&PACKAGE, "uniform", params, (&pool(hidden, labelled, classes), batch, seed)).unwrap();
    let mut counts = vec![0; classes];
    for &label in labelled.iter().chain(answer.rows.iter().map(|&row| &hidden[row as usize])) {
        counts[label as usize] += 1;
    }
    (counts, answer.diagnostics[0].1)
}

#[test]
fn classes_with_enough_samples_differ_by_one_at_most() {
    let hidden: Vec<u32> = (0..400).map(|row| (row * row / 7 % 4) as u32).collect();
    for (labelled, batch) in [(vec![], 40), (vec![], 43), (vec![0, 0, 0, 3], 10), (vec![1; 9], 50)] {
        for seed in 0..10 {
            let (counts, fallback) = counts(&json!({}), &hidden, &labelled, batch, seed);
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{counts:?} after {batch} with {labelled:?}");
            assert_eq!(fallback, 0.0);
        }
    }
}

#[test]
fn a_short_class_gives_all_and_the_others_the_rest() {
    let hidden: Vec<u32> = (0..40).map(|row| if row < 3 { 0 } else { 1 + row % 3 }).collect();
    let (counts, _) = counts(&json!({}), &hidden, &[], 18, 1);
    assert_eq!(counts, [3, 5, 5, 5]);
}

#[test]
fn limits_and_remainders_leave_the_rest_to_chance() {
    let hidden: Vec<u32> = (0..40).map(|row| row % 4).collect();
    let (balanced, fallback) = counts(&json!({"per_class": 2}), &hidden, &[0], 7, 1);
    assert_eq!((balanced, fallback), (vec![2; 4], 0.0));
    assert_eq!(counts(&json!({"per_class": 2}), &hidden, &[], 12, 1).1, 4.0);
    for params in [json!({"remainder": "drop"}), json!({"preset": "low-budget"})] {
        let (drawn, fallback) = counts(&params, &hidden, &[], 11, 1);
        assert_eq!(fallback, 3.0);
        assert!(drawn.iter().all(|&count| count >= 2), "{drawn:?}");
    }
    assert_eq!(counts(&json!({"preset": "low-budget", "remainder": "distribute"}), &hidden, &[], 11, 1).1, 0.0);
    assert_eq!(counts(&json!({"preset": "ift780"}), &[0; 150], &[], 110, 1).1, 10.0);
}

#[test]
fn each_sample_of_a_class_and_each_first_class_is_equally_likely() {
    let hidden: Vec<u32> = (0..12).map(|row| row % 4).collect();
    let pool = pool(&hidden, &[], 4);
    let mut drawn = [0u32; 12];
    for seed in 0..12_000 {
        drawn[ask(&PACKAGE, "uniform", &json!({}), (&pool, 1, seed)).unwrap().rows[0] as usize] += 1;
    }
    // Eleven degrees of freedom: 37.4 is the 1e-4 quantile.
    let chi_square: f64 = drawn.iter().map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0).sum();
    assert!(chi_square < 37.4, "{drawn:?}");
}
