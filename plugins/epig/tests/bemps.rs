//! What labels move against the definition written out in loops.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_protocol::philox::Stream;
use querist_testkit::cases::arrays;
use querist_testkit::{NativeMaker, ask, conforms};
use serde_json::{Value, json};
use strategy_epig::PACKAGE;

#[test]
fn both_conform() {
    for id in ["coremse", "corelog"] {
        conforms(&NativeMaker::new(&PACKAGE, id));
    }
}

/// `[row][draw][class]`.
type Rows = Vec<Vec<Vec<f64>>>;

fn log_probs(rows: &Rows) -> Array {
    let logs = rows.iter().flatten().flatten().map(|&p| if p > 0.0 { p.ln() as f32 } else { -1e4 });
    Array::f32(vec![rows.len(), rows[0].len(), rows[0][0].len()], logs.collect::<Vec<_>>()).unwrap()
}

fn pool(rows: &Rows, targets: Option<&Rows>) -> Arrays {
    let (classes, own) = (rows[0][0].len(), ("mc_log_probs", log_probs(rows)));
    match targets {
        None => arrays(rows.len(), 0, classes, [own]),
        Some(targets) => arrays(rows.len(), 0, classes, [own, ("target.mc_log_probs", log_probs(targets))]),
    }
}

/// Scores of all rows, with the largest first.
fn scores(id: &str, params: Value, rows: &Rows, targets: Option<&Rows>) -> Vec<f64> {
    let mut by_row = vec![f64::NAN; rows.len()];
    for (row, score) in picked(id, params, rows, targets, rows.len() - 1) {
        by_row[row] = score;
    }
    by_row
}

fn picked(id: &str, params: Value, rows: &Rows, targets: Option<&Rows>, batch: usize) -> Vec<(usize, f64)> {
    let answer = ask(&PACKAGE, id, &params, (&pool(rows, targets), batch, 0)).unwrap();
    answer.rows.iter().map(|&row| row as usize).zip(answer.scores).collect()
}

fn mean(row: &[Vec<f64>]) -> Vec<f64> {
    (0..row[0].len()).map(|c| row.iter().map(|draw| draw[c]).sum::<f64>() / row.len() as f64).collect()
}

/// What the label of `row` moves on `target`: expected over labels, each of which makes the draws that foresaw it
/// likelier.
fn moved(row: &[Vec<f64>], target: &[Vec<f64>], far: fn(&[f64], &[f64]) -> f64) -> f64 {
    let before = mean(target);
    let of_label = |(y, &p): (usize, &f64)| {
        let total: f64 = row.iter().map(|draw| draw[y]).sum();
        if total == 0.0 {
            return 0.0;
        }
        let after: Vec<f64> = (0..before.len())
            .map(|c| row.iter().zip(target).map(|(draw, theirs)| draw[y] / total * theirs[c]).sum())
            .collect();
        p * far(&after, &before)
    };
    mean(row).iter().enumerate().map(of_label).sum()
}

fn square(after: &[f64], before: &[f64]) -> f64 {
    after.iter().zip(before).map(|(a, b)| (a - b).powi(2)).sum()
}

fn divergence(after: &[f64], before: &[f64]) -> f64 {
    after.iter().zip(before).filter(|&(&a, _)| a > 0.0).map(|(a, b)| a * (a / b).ln()).sum()
}

fn expected(rows: &Rows, targets: &Rows, far: fn(&[f64], &[f64]) -> f64) -> Vec<f64> {
    let of = |row: &Vec<Vec<f64>>| targets.iter().map(|target| moved(row, target, far)).sum::<f64>();
    rows.iter().map(|row| of(row) / targets.len() as f64).collect()
}

fn random_rows(seed: u64, rows: usize, draws: usize, classes: usize) -> Rows {
    let noise = Stream::new(seed, 0);
    let draw = |row: usize, t: usize| -> Vec<f64> {
        let share = |c: usize| (5.0 * noise.item_uniform(row as u64, (t * classes + c) as u32)).exp();
        let total: f64 = (0..classes).map(share).sum();
        (0..classes).map(|c| share(c) / total).collect()
    };
    (0..rows).map(|row| (0..draws).map(|t| draw(row, t)).collect()).collect()
}

fn close(found: &[f64], expected: &[f64]) {
    // All but the one row that was not asked for.
    assert_eq!(found.iter().filter(|score| score.is_nan()).count(), 1);
    for (row, (found, expected)) in found.iter().zip(expected).enumerate().filter(|(_, (found, _))| !found.is_nan()) {
        assert!((found - expected).abs() < 1e-6, "row {row}: {found}, expected {expected}");
    }
}

#[test]
fn worked_examples() {
    let a = [0, 0, 1, 1].map(|class| if class == 0 { vec![1.0, 0.0] } else { vec![0.0, 1.0] }).to_vec();
    let d = [0, 1, 0, 1].map(|class| if class == 0 { vec![0.9, 0.1] } else { vec![0.1, 0.9] }).to_vec();
    // The last row is never asked for.
    let rows = vec![a.clone(), d.clone(), vec![vec![0.5, 0.5]; 4]];
    for (targets, of_mse, of_log) in [
        (vec![a.clone()], [0.5, 0.0], [std::f64::consts::LN_2, 0.0]),
        (vec![d.clone()], [0.0, 0.2048], [0.0, 0.221_753_7]),
        (vec![a, d], [0.25, 0.1024], [0.346_573_6, 0.110_876_8]),
    ] {
        for (id, expected) in [("coremse", of_mse), ("corelog", of_log)] {
            let params = json!({"T": 4, "target": "provided", "batch": "top"});
            let found = scores(id, params, &rows, Some(&targets));
            for (found, expected) in found.iter().zip(expected) {
                // A row that ties with the one that is never asked for may be left out in its place.
                assert!(
                    found.is_nan() && expected == 0.0 || (found - expected).abs() < 1e-6,
                    "{id}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn scores_are_their_definition() {
    let (rows, targets) = (random_rows(1, 40, 5, 4), random_rows(2, 23, 5, 4));
    for (id, far) in [("coremse", square as fn(&[f64], &[f64]) -> f64), ("corelog", divergence)] {
        let provided = json!({"T": 5, "target": "provided", "batch": "top"});
        close(&scores(id, provided, &rows, Some(&targets)), &expected(&rows, &targets, far));
        let whole = json!({"T": 5, "n_target": 40, "batch": "top"});
        close(&scores(id, whole, &rows, None), &expected(&rows, &rows, far));
    }
    // Without a number the whole pool, which is read in its own order.
    close(&scores("coremse", json!({"T": 5, "batch": "top"}), &rows, None), &expected(&rows, &rows, square));
}

#[test]
fn corelog_has_the_rows_and_bits_of_epig() {
    let (rows, targets) = (random_rows(3, 30, 6, 3), random_rows(4, 9, 6, 3));
    let log = picked("corelog", json!({"T": 6, "target": "provided", "batch": "top"}), &rows, Some(&targets), 12);
    let epig = picked("epig", json!({"T": 6, "target": "provided"}), &rows, Some(&targets), 12);
    assert_eq!(log, epig);
}

#[test]
fn a_diverse_batch_has_one_of_each_group_of_equal_rows() {
    let groups = random_rows(5, 4, 6, 3);
    // Twelve rows, three of each of four groups, in turn.
    let rows: Rows = (0..12).map(|row| groups[row % 4].clone()).collect();
    for id in ["coremse", "corelog"] {
        let picked = picked(id, json!({"T": 6, "fraction": 1.0, "n_target": 12}), &rows, None, 4);
        let mut of: Vec<usize> = picked.iter().map(|(row, _)| row % 4).collect();
        of.sort_unstable();
        assert_eq!(of, [0, 1, 2, 3], "{id}: {picked:?}");
    }
    let top = picked("coremse", json!({"T": 6, "batch": "top"}), &rows, None, 4);
    let first = top[0].0 % 4;
    assert_eq!(top.iter().filter(|(row, _)| row % 4 == first).count(), 3, "{top:?}");
}

#[test]
fn a_short_batch_is_filled_by_score() {
    // Two groups, four clusters: what is missing are the largest scores left.
    let groups = random_rows(6, 2, 4, 3);
    let rows: Rows = (0..10).map(|row| groups[row % 2].clone()).collect();
    let answer = ask(&PACKAGE, "coremse", &json!({"T": 4, "fraction": 1.0}), (&pool(&rows, None), 4, 0)).unwrap();
    let filled = answer.diagnostics.iter().find(|(name, _)| name == "fallback_count").unwrap().1;
    assert_eq!((answer.rows.len(), filled), (4, 2.0));
    assert!(answer.scores[2..].iter().all(|score| *score == answer.scores.iter().copied().fold(0.0, f64::max)));
}

#[test]
fn certain_rows_and_equal_draws_score_nothing() {
    let certain = vec![vec![1.0, 0.0]; 4];
    let same = vec![vec![0.3, 0.7]; 4];
    let torn = [0, 1, 0, 1].map(|class| if class == 0 { vec![0.9, 0.1] } else { vec![0.1, 0.9] }).to_vec();
    let rows = vec![certain, same, torn.clone(), torn];
    for id in ["coremse", "corelog"] {
        let picked = picked(id, json!({"T": 4, "batch": "top"}), &rows, None, 3);
        assert_eq!(picked[2].0, 0, "{picked:?}");
        assert!(picked[0].1 > 0.1 && picked[2].1 < 1e-12, "{picked:?}");
    }
}

#[test]
fn many_draws_are_refused_for_diverse_batches_alone() {
    let rows = random_rows(7, 6, 40, 2);
    let ask = |batch: &str| ask(&PACKAGE, "coremse", &json!({"T": 40, "batch": batch}), (&pool(&rows, None), 3, 0));
    let refused = ask("diverse").unwrap_err().to_string();
    assert!(refused.contains("at most 32 draws, `T` is 40"), "{refused}");
    assert_eq!(ask("top").unwrap().rows.len(), 3);
}
