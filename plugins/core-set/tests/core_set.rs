//! Robust k-center against enumeration.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::Arrays;
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::json;
use strategy_core_set::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "core-set"));
}

fn data(pool: &[Vec<f32>], labelled: &[Vec<f32>]) -> Arrays {
    let width = pool[0].len();
    let named = [("embeddings", matrix(width, pool)), ("labelled.embeddings", matrix(width, labelled))];
    arrays(pool.len(), labelled.len(), 2, named)
}

fn line(pool: &[f32], labelled: &[f32]) -> Arrays {
    let rows = |values: &[f32]| values.iter().map(|&x| vec![x]).collect::<Vec<_>>();
    data(&rows(pool), &rows(labelled))
}

fn ask(arrays: &Arrays, batch: usize, params: serde_json::Value) -> Selection {
    Question::new(&PACKAGE, "core-set", batch).with(params).ask(arrays)
}

#[test]
fn the_worked_examples() {
    let no_outliers = json!({"preset": "authors-code"});
    let answer = ask(&line(&[1.0, 2.0, 3.0, 4.0], &[0.0]), 1, no_outliers.clone());
    assert_eq!(answer.rows, [2], "the optimum is 3, greedy takes 4");
    assert_eq!((figure(&answer, "greedy_radius"), figure(&answer, "radius")), (2.0, 1.0));
    let with_outlier = line(&[1.0, 2.0, 3.0, 4.0, 100.0], &[0.0]);
    let answer = ask(&with_outlier, 1, no_outliers);
    assert_eq!((&answer.rows[..], figure(&answer, "radius")), (&[4][..], 4.0));
    let answer = ask(&with_outlier, 1, json!({"outlier_fraction": 0.2}));
    assert_eq!((&answer.rows[..], figure(&answer, "radius")), (&[2][..], 1.0));
    assert_eq!((figure(&answer, "optimal"), figure(&answer, "gap"), figure(&answer, "outliers")), (1.0, 1.0, 1.0));
}

fn distance(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum::<f64>().sqrt()
}

fn radius(pool: &[Vec<f32>], labelled: &[Vec<f32>], picks: &[usize], outliers: usize) -> f64 {
    let centres: Vec<&Vec<f32>> = labelled.iter().chain(picks.iter().map(|&pick| &pool[pick])).collect();
    let nearest = |x: &Vec<f32>| centres.iter().map(|y| distance(x, y)).fold(f64::INFINITY, f64::min);
    let mut all: Vec<f64> = pool.iter().map(nearest).collect();
    all.sort_by(|a, b| b.total_cmp(a));
    all.get(outliers).copied().unwrap_or(0.0)
}

fn batches(rows: usize, size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let with_last = |last: usize| batches(last, size - 1).into_iter().map(move |batch| [batch, vec![last]].concat());
    (size - 1..rows).flat_map(with_last).collect()
}

#[test]
fn no_batch_has_a_smaller_radius() {
    for seed in 0..12 {
        for (rows, known, batch, outliers) in [(12, 2, 3, 0), (12, 2, 3, 1), (11, 0, 3, 0), (12, 0, 2, 2), (9, 1, 1, 1)]
        {
            let pool = noise(rows, 2, 1.0, 2 * seed + 1);
            let labelled = noise(known, 2, 1.0, 2 * seed + 2);
            let share = (outliers as f64 + 0.5) / rows as f64;
            let share = if outliers == 0 { 0.0 } else { share };
            let answer = ask(&data(&pool, &labelled), batch, json!({"outlier_fraction": share}));
            let picks: Vec<usize> = answer.rows.iter().map(|&row| row as usize).collect();
            let own = radius(&pool, &labelled, &picks, outliers);
            let radii = batches(rows, batch).into_iter().map(|batch| radius(&pool, &labelled, &batch, outliers));
            let best = radii.fold(f64::INFINITY, f64::min);
            let case = format!("seed {seed}, {rows} rows, {known} labelled, {batch} picks, {outliers} outliers");
            assert!((own - best).abs() < 1e-9, "{case}: {own}, best {best}");
            assert!((figure(&answer, "radius") - own).abs() < 1e-9, "{case}");
            assert_eq!(figure(&answer, "optimal"), 1.0, "{case}");
            let greedy = figure(&answer, "greedy_radius");
            assert!(own <= greedy && (outliers > 0 || greedy <= 2.0 * own * (1.0 + 1e-12)), "{case}: greedy {greedy}");
        }
    }
}

#[test]
fn limits_and_subsets_are_owned_up_to() {
    let (pool, labelled) = (noise(150, 6, 1.0, 5), noise(4, 6, 1.0, 6));
    let arrays = data(&pool, &labelled);
    let full = ask(&arrays, 10, json!({"preset": "authors-code", "node_limit": 1}));
    let picks: Vec<usize> = full.rows.iter().map(|&row| row as usize).collect();
    assert!((radius(&pool, &labelled, &picks, 0) - figure(&full, "radius")).abs() < 1e-9);
    let is_optimal = figure(&full, "optimal") == 1.0;
    assert_eq!(is_optimal, figure(&full, "radius") <= figure(&full, "lower_bound"));
    let some = ask(&arrays, 10, json!({"preset": "authors-code", "node_limit": 1, "max_points": 40}));
    let picks: Vec<usize> = some.rows.iter().map(|&row| row as usize).collect();
    assert!((radius(&pool, &labelled, &picks, 0) - figure(&some, "radius")).abs() < 1e-9);
    assert!(figure(&some, "radius") <= figure(&some, "greedy_radius"));
    assert_eq!(figure(&some, "optimal"), 0.0);
    assert!((1.0..=2.0 + 1e-9).contains(&figure(&some, "gap")), "{}", figure(&some, "gap"));
    let refused = Question::new(&PACKAGE, "core-set", 50).with(json!({"max_points": 40})).try_ask(&arrays);
    assert!(refused.unwrap_err().contains("max_points"));
}
