//! ProbCover against its definition, with every ball counted anew at every step.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_covering::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "probcover"));
}

fn question(batch: usize, params: Value) -> Question<'static> {
    Question::new(&PACKAGE, "probcover", batch).with(params)
}

fn ask(pool: &[Vec<f32>], labelled: &[Vec<f32>], batch: usize, params: Value) -> Selection {
    question(batch, params).ask(&features(pool, labelled, 3))
}

fn features(pool: &[Vec<f32>], labelled: &[Vec<f32>], classes: usize) -> querist_core::Arrays {
    let named = [("fixed_embeddings", matrix(2, pool)), ("labelled.fixed_embeddings", matrix(2, labelled))];
    arrays(pool.len(), labelled.len(), classes, named)
}

/// A point on the unit circle; chords of small angles are as long as the angles.
fn at(angle: f64) -> Vec<f32> {
    vec![angle.cos() as f32, angle.sin() as f32]
}

#[test]
fn the_worked_example() {
    let pool = [0.0, 0.05, 0.1, 0.3, 0.34].map(at).to_vec();
    let found = ask(&pool, &[], 2, json!({"delta": 0.06}));
    assert_eq!((found.rows, found.scores), (vec![1, 3], vec![3.0, 2.0]));
    assert_eq!(figure(&ask(&pool, &[], 1, json!({"delta": 1})), "delta"), 1.0, "a whole number is a number");
    let found = ask(&pool, &[at(0.31)], 3, json!({"delta": 0.06}));
    assert_eq!(found.rows[0], 1, "what a label covers counts no more");
    assert_eq!((figure(&found, "coverage"), figure(&found, "fallback_count")), (1.0, 2.0));
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let unit = |x: &[f32]| -> Vec<f64> {
        let norm = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        x.iter().map(|&x| f64::from(x) / norm).collect()
    };
    unit(a).iter().zip(unit(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn plain(pool: &[Vec<f32>], labelled: &[Vec<f32>], batch: usize, delta: f64) -> Vec<u32> {
    let mut centres: Vec<&Vec<f32>> = labelled.iter().collect();
    let mut picks = Vec::new();
    while picks.len() < batch {
        let is_covered = |j: &Vec<f32>| centres.iter().any(|c| distance(c, j) < delta);
        let open: Vec<&Vec<f32>> = pool.iter().filter(|j| !is_covered(j)).collect();
        let degree = |i: usize| open.iter().filter(|j| distance(&pool[i], j) < delta).count();
        let best = (0..pool.len()).max_by(|&a, &b| degree(a).cmp(&degree(b)).then(b.cmp(&a))).unwrap();
        if degree(best) == 0 {
            break;
        }
        picks.push(best as u32);
        centres.push(&pool[best]);
    }
    picks
}

#[test]
fn picks_are_those_of_counting_every_ball_anew() {
    for (delta, count) in [(0.02, 0), (0.1, 4), (0.5, 1), (1.9, 0)] {
        let (pool, labelled) = (noise(150, 2, 1.0, 5), noise(count, 2, 1.0, 6));
        let found = ask(&pool, &labelled, 40, json!({ "delta": delta }));
        let expected = plain(&pool, &labelled, 40, delta);
        assert_eq!(found.rows[..expected.len()], expected, "radius {delta}");
        assert_eq!(figure(&found, "fallback_count"), (40 - expected.len()) as f64);
    }
}

/// Three groups on the circle that k-means cannot miss, each as wide as this.
fn groups(width: f64) -> (Vec<Vec<f32>>, Vec<usize>) {
    let angle = |i: usize| 2.094 * (i % 3) as f64 + width * ((i * i) % 71) as f64 / 71.0;
    ((0..90).map(|i| at(angle(i))).collect(), (0..90).map(|i| i % 3).collect())
}

#[test]
fn the_estimated_radius_is_the_largest_that_is_pure_enough() {
    // Wide groups almost touch, so that many rows lie near the next one.
    for width in [0.3, 1.9] {
        let (pool, group) = groups(width);
        let purity = |delta: f64| {
            let is_pure = |i: usize| (0..90).all(|j| group[j] == group[i] || distance(&pool[i], &pool[j]) >= delta);
            (0..90).filter(|&i| is_pure(i)).count() as f64 / 90.0
        };
        for alpha in [0.1, 0.5, 0.9, 0.95, 1.0] {
            let delta = figure(&ask(&pool, &[], 1, json!({ "alpha": alpha })), "delta");
            assert!(purity(delta - 1e-6) >= alpha, "width {width}, alpha {alpha}: {delta}");
            assert!(purity(delta + 1e-6) < alpha, "width {width}, alpha {alpha}: {delta}");
        }
    }
    let (pool, _) = groups(0.3);
    let one_class = question(1, json!({})).ask(&features(&pool, &[], 1));
    assert_eq!(figure(&one_class, "delta"), 2.0, "a single cluster is pure at any radius");
}

#[test]
fn an_estimate_is_remembered_as_long_as_the_features_stay() {
    let (pool, _) = groups(0.3);
    let first = ask(&pool, &[], 3, json!({}));
    // What was picked is labelled now; the features are the same in another order.
    let is_picked = |row: usize| first.rows.contains(&(row as u32));
    let (labelled, rest): (Vec<usize>, Vec<usize>) = (0..90).partition(|&row| is_picked(row));
    let of = |rows: &[usize]| -> Vec<Vec<f32>> { rows.iter().map(|&row| pool[row].clone()).collect() };
    let next = features(&of(&rest), &of(&labelled), 3);
    let mut remembered = first.state.clone().unwrap();
    // A radius that no estimate would give shows whether the state is believed.
    remembered[8..].copy_from_slice(&0.123f64.to_le_bytes());
    let asked = |state: Vec<u8>, arrays| Question { state: Some(state), ..question(1, json!({})) }.ask(arrays);
    assert_eq!(figure(&asked(remembered.clone(), &next), "delta"), 0.123);
    let other = features(&noise(50, 2, 1.0, 2), &[], 3);
    assert_ne!(figure(&asked(remembered, &other), "delta"), 0.123, "other features ask for another radius");
    assert_eq!(asked(vec![1, 2, 3], &next).rows.len(), 1, "a state of another size is no radius");
}

#[test]
fn coverage_grows_with_every_pick_and_gains_fall() {
    let pool = noise(400, 2, 1.0, 9);
    let found = ask(&pool, &[], 60, json!({"delta": 0.05}));
    let chosen = 60 - figure(&found, "fallback_count") as usize;
    assert!(found.scores[..chosen].is_sorted_by(|a, b| a >= b), "{:?}", found.scores);
    assert_eq!(found.scores.iter().sum::<f64>(), 400.0 * figure(&found, "coverage"));
}

#[test]
fn a_radius_off_the_sphere_is_refused() {
    for delta in [json!(0.0), json!(2.5), json!("estimated"), json!(-1)] {
        assert!(question(1, json!({ "delta": delta })).try_ask(&features(&[], &[], 2)).is_err(), "{delta}");
    }
}
