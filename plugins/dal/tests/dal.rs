//! Discriminative active learning against another solver of the same problem.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::Arrays;
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_dal::PACKAGE;

type Rows = Vec<Vec<f32>>;
type Way = fn(&[f32]) -> Vec<f32>;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "dal"));
}

fn data(pool: &Rows, labelled: &Rows) -> Arrays {
    let width = pool[0].len();
    let named = [("embeddings", matrix(width, pool)), ("labelled.embeddings", matrix(width, labelled))];
    arrays(pool.len(), labelled.len(), 2, named)
}

fn ask(pool: &Rows, labelled: &Rows, batch: usize, params: Value) -> Selection {
    let found = Question::new(&PACKAGE, "dal", batch).with(params).ask(&data(pool, labelled));
    assert!(figure(&found, "gradient") <= 1e-9, "{:?}", found.diagnostics);
    found
}

fn line(values: &[f32]) -> Rows {
    values.iter().map(|&x| vec![x]).collect()
}

fn assert_close(found: &[f64], expected: &[f64]) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 2e-6, "{found}, expected {expected}");
    }
}

#[test]
fn the_worked_example() {
    let (pool, labelled) = (line(&[0.0, 1.0, 2.0, 10.0, -6.0]), line(&[0.5]));
    let once = ask(&pool, &labelled, 5, json!({"sub_batches": 1}));
    assert_eq!(once.rows, [3, 2, 1, 0, 4]);
    assert_close(&once.scores, &[0.624_532_0, 0.073_401_3, 0.004_510_0, -0.064_381_4, -0.477_729_3]);
    // Two parts cover both sides.
    let twice = ask(&pool, &labelled, 2, json!({"sub_batches": 2}));
    assert_eq!(twice.rows, [3, 4]);
    assert_close(&twice.scores, &[0.624_532_0, 3.156_822_3]);
}

/// Columns that say nothing change nothing, also where there are so many that the classifier is fitted in other
/// coordinates.
#[test]
fn many_columns_that_say_nothing_change_nothing() {
    let (pool, labelled) = (noise(12, 3, 1.0, 1), noise(5, 3, 1.0, 2));
    let wide = |rows: &Rows| rows.iter().map(|row| [&row[..], &[0.0; 1100]].concat()).collect::<Rows>();
    let (few, many) = (ask(&pool, &labelled, 6, json!({})), ask(&wide(&pool), &wide(&labelled), 6, json!({})));
    assert_eq!(few.rows, many.rows);
    assert_close(&few.scores, &many.scores);
}

/// Logits of the pool by Newton's method on a dense Hessian.
fn logits(pool: &Rows, labelled: &Rows, picked: &[u32], l2: f64, balance: bool) -> Vec<f64> {
    let all: Vec<Vec<f64>> =
        pool.iter().chain(labelled).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect();
    let (rows, columns) = (all.len(), all[0].len());
    let mean: Vec<f64> = (0..columns).map(|c| all.iter().map(|row| row[c]).sum::<f64>() / rows as f64).collect();
    let square = |row: &Vec<f64>| row.iter().zip(&mean).map(|(x, m)| (x - m).powi(2)).sum::<f64>();
    let scale = (all.iter().map(square).sum::<f64>() / rows as f64).sqrt();
    let z: Vec<Vec<f64>> =
        all.iter().map(|row| row.iter().zip(&mean).map(|(x, m)| (x - m) / scale).chain([1.0]).collect()).collect();
    let is_ours = |row: usize| row < pool.len() && !picked.contains(&(row as u32));
    let ours = (0..rows).filter(|&row| is_ours(row)).count() as f64;
    let weight = |row: usize| match (balance, is_ours(row)) {
        (true, true) => 0.5 / ours,
        (true, false) => 0.5 / (rows as f64 - ours),
        (false, _) => 1.0 / rows as f64,
    };
    let mut w = vec![0.0; columns + 1];
    for _ in 0..100 {
        let mut gradient = vec![0.0; columns + 1];
        let mut hessian = vec![vec![0.0; columns + 1]; columns + 1];
        for (row, z) in z.iter().enumerate() {
            let t = if is_ours(row) { 1.0 } else { -1.0 };
            let f: f64 = z.iter().zip(&w).map(|(z, w)| z * w).sum();
            let p = 1.0 / (1.0 + (t * f).exp());
            for i in 0..=columns {
                gradient[i] -= weight(row) * t * p * z[i];
                for j in 0..=columns {
                    hessian[i][j] += weight(row) * p * (1.0 - p) * z[i] * z[j];
                }
            }
        }
        for c in 0..columns {
            gradient[c] += l2 * w[c];
            hessian[c][c] += l2;
        }
        let mut system: Vec<Vec<f64>> =
            hessian.into_iter().zip(&gradient).map(|(row, g)| row.into_iter().chain([*g]).collect()).collect();
        for at in 0..=columns {
            let pivot = system[at].clone();
            for (line, other) in system.iter_mut().enumerate() {
                if line != at {
                    let by = other[at] / pivot[at];
                    other.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= by * p);
                }
            }
        }
        for c in 0..=columns {
            w[c] -= system[c][columns + 1] / system[c][c];
        }
    }
    (0..pool.len()).map(|row| z[row].iter().zip(&w).map(|(z, w)| z * w).sum()).collect()
}

#[test]
fn it_is_what_newtons_method_finds() {
    for (seed, l2, balance) in [(1, 1e-3, true), (2, 1e-1, false), (3, 1e-2, true)] {
        let (pool, labelled) = (noise(60, 4, 2.0, seed), noise(9, 4, 0.7, seed + 50));
        let params = json!({"sub_batches": 4, "l2": l2, "balance": balance});
        let found = ask(&pool, &labelled, 10, params);
        let mut picked: Vec<u32> = Vec::new();
        for part in 0..4 {
            let logits = logits(&pool, &labelled, &picked, l2, balance);
            let count = 10 * (part + 1) / 4 - 10 * part / 4;
            let mut open: Vec<u32> = (0..60).filter(|row| !picked.contains(row)).collect();
            open.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
            let at = picked.len();
            picked.extend(&open[..count]);
            let expected: Vec<f64> = open[..count].iter().map(|&row| logits[row as usize]).collect();
            assert_eq!(found.rows[at..at + count], picked[at..], "seed {seed}, part {part}");
            assert_close(&found.scores[at..at + count], &expected);
        }
    }
}

#[test]
fn place_size_and_direction_of_embeddings_say_nothing() {
    let (pool, labelled) = (noise(80, 3, 2.0, 5), noise(10, 3, 1.0, 6));
    let plain = ask(&pool, &labelled, 12, json!({}));
    let moved = |rows: &Rows, by: Way| rows.iter().map(|row| by(row)).collect::<Rows>();
    let ways: [Way; 3] = [
        |row| row.iter().map(|x| x + 16.0).collect(),
        |row| row.iter().map(|x| x * 4.0).collect(),
        |row| vec![0.6 * row[0] - 0.8 * row[1], 0.8 * row[0] + 0.6 * row[1], row[2]],
    ];
    for way in ways {
        assert_eq!(plain.rows, ask(&moved(&pool, way), &moved(&labelled, way), 12, json!({})).rows);
    }
}

#[test]
fn each_part_goes_to_another_cluster() {
    // Corners of a simplex: a linear classifier can tell each from the others.
    let around = |corner: usize, seed: u64| -> Rows {
        let mut near = noise(12, 4, 0.5, seed);
        near.iter_mut().for_each(|row| row[corner] += 9.0);
        near
    };
    let pool: Rows = (0..4).flat_map(|corner| around(corner, corner as u64)).collect();
    let labelled = around(0, 9);
    let found = ask(&pool, &labelled, 3, json!({"sub_batches": 3}));
    let mut corners: Vec<u32> = found.rows.iter().map(|row| row / 12).collect();
    corners.sort_unstable();
    assert_eq!(corners, [1, 2, 3]);
}

#[test]
fn without_labels_it_begins_at_the_mean() {
    let pool = line(&[0.0, 5.0, 4.0, 9.0, 4.5]);
    let found = ask(&pool, &Rows::new(), 4, json!({"sub_batches": 2}));
    assert_eq!((&found.rows[..2], figure(&found, "cold_start")), (&[4, 1][..], 1.0));
    // Both of these lie above the middle, so what lies below looks least like them.
    assert_eq!(found.rows[2], 0, "{found:?}");
}

#[test]
fn equal_samples_are_taken_in_order() {
    let found = ask(&vec![vec![1.0, 2.0]; 6], &vec![vec![1.0, 2.0]; 2], 6, json!({}));
    assert_eq!(found.rows, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn fitting_on_a_part_still_ranks_all() {
    let (pool, labelled) = (noise(300, 3, 2.0, 8), noise(3, 3, 0.5, 9));
    let some = ask(&pool, &labelled, 6, json!({"unlabelled_factor": 2, "sub_batches": 2}));
    let all = ask(&pool, &labelled, 6, json!({"sub_batches": 2}));
    assert_ne!(some.rows, all.rows);
    assert_eq!(all.rows, ask(&pool, &labelled, 6, json!({"unlabelled_factor": 1000, "sub_batches": 2})).rows);
    let logits = logits(&pool, &labelled, &[], 1e-3, true);
    let mean = |rows: &[u32]| rows.iter().map(|&row| logits[row as usize]).sum::<f64>() / rows.len() as f64;
    assert!(mean(&some.rows) > mean(&(0..300).collect::<Vec<_>>()));
}
