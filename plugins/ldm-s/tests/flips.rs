//! Estimates and picks against the procedure written out, and against geometry.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use std::f64::consts::PI;

use querist_core::{Array, Arrays, Round, Seeds};
use querist_protocol::Selection;
use querist_protocol::philox::Stream;
use querist_testkit::cases::arrays;
use querist_testkit::{NativeMaker, ask, conforms};
use serde_json::json;
use strategy_ldm_s::PACKAGE;

#[test]
fn ldm_s_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "ldm-s"));
}

fn figure(selection: &Selection, name: &str) -> f64 {
    selection.diagnostics.iter().find(|(key, _)| key == name).unwrap().1
}

fn pool(logits: &[Vec<f64>], embeddings: &[Vec<f64>]) -> Arrays {
    let matrix = |rows: &[Vec<f64>]| {
        let values: Vec<f32> = rows.iter().flatten().map(|&value| value as f32).collect();
        Array::f32(vec![rows.len(), rows[0].len()], values).unwrap()
    };
    arrays(logits.len(), 0, logits[0].len(), [("logits", matrix(logits)), ("penultimate", matrix(embeddings))])
}

/// Rows in a rounded random position, so that `f32` holds them exactly.
fn random(rows: usize, classes: usize, width: usize) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let noise = Stream::new(2, 0);
    let number = |row: usize, step: usize| f64::from((2.0 * noise.item_uniform(row as u64, step as u32) - 1.0) as f32);
    let table = |columns: usize, from: usize| -> Vec<Vec<f64>> {
        (0..rows).map(|row| (0..columns).map(|c| number(row, from + c)).collect()).collect()
    };
    (table(classes, 0), table(width, classes))
}

/// The procedure: estimates and picks.
struct Written {
    ldm: Vec<f64>,
    picks: Vec<u32>,
    draws: u32,
}

fn stream(seed: u64, tag: &str) -> Stream {
    Seeds::new(seed).strategy("ldm-s").stream(tag, Round(0))
}

fn argmax(values: &[f64]) -> usize {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.iter().position(|&value| value == top).unwrap()
}

fn estimate(logits: &[Vec<f64>], h: &[Vec<f64>], references: usize, cap: u32, seed: u64) -> (Vec<f64>, u32) {
    let (rows, classes, width) = (logits.len(), logits[0].len(), h[0].len());
    let keys = stream(seed, "reference");
    let mut reference: Vec<usize> = (0..rows).collect();
    reference.sort_by(|&a, &b| keys.item_uniform(b as u64, 0).total_cmp(&keys.item_uniform(a as u64, 0)));
    reference.truncate(references);
    let mut numbers = stream(seed, "noise");
    let mut spare = None;
    let mut normal = || {
        spare.take().unwrap_or_else(|| {
            loop {
                let (u, v) = (2.0 * numbers.next_uniform() - 1.0, 2.0 * numbers.next_uniform() - 1.0);
                let s: f64 = u * u + v * v;
                if s > 0.0 && s < 1.0 {
                    spare = Some(v * (-2.0 * s.ln() / s).sqrt());
                    return u * (-2.0 * s.ln() / s).sqrt();
                }
            }
        })
    };
    let mut ldm = vec![1.0; rows];
    let mut draws = 0;
    for step in 0..51 {
        let deviation = 10f64.powf(f64::from(step) / 10.0 - 5.0);
        let mut stale = 0;
        while stale < 10 {
            if draws == cap {
                return (ldm, draws);
            }
            draws += 1;
            let head: Vec<(Vec<f64>, f64)> = (0..classes)
                .map(|_| ((0..width).map(|_| f64::from(normal() as f32)).collect::<Vec<_>>(), normal()))
                .collect();
            let flips: Vec<bool> = (0..rows)
                .map(|row| {
                    let along = |w: &[f64]| w.iter().zip(&h[row]).map(|(w, h)| w * h).sum::<f64>();
                    let moved: Vec<f64> =
                        (0..classes).map(|c| logits[row][c] + deviation * (along(&head[c].0) + head[c].1)).collect();
                    argmax(&moved) != argmax(&logits[row])
                })
                .collect();
            let share = reference.iter().filter(|&&row| flips[row]).count() as f64 / references as f64;
            let mut improved = false;
            for (ldm, flips) in ldm.iter_mut().zip(flips) {
                improved |= flips && *ldm > share;
                *ldm = if flips && *ldm > share { share } else { *ldm };
            }
            stale = if improved { 0 } else { stale + 1 };
        }
    }
    (ldm, draws)
}

fn written(logits: &[Vec<f64>], h: &[Vec<f64>], references: usize, cap: u32, (batch, seed): (usize, u64)) -> Written {
    let (ldm, draws) = estimate(logits, h, references, cap, seed);
    let rows = logits.len();
    let margin = |row: usize| {
        let mut p: Vec<f64> = logits[row].iter().map(|l| l.exp()).collect();
        let total: f64 = p.iter().sum();
        p.sort_by(|a, b| b.total_cmp(a));
        (p[0] - p[1]) / total
    };
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by(|&a, &b| ldm[a].total_cmp(&ldm[b]).then(margin(a).total_cmp(&margin(b))));
    let q = order[batch..].iter().map(|&row| ldm[row]).find(|&ldm| ldm > 0.0).unwrap();
    let mut gamma: Vec<f64> = ldm.iter().map(|ldm| (-(ldm - q).max(0.0) / q).exp()).collect();
    let outside: f64 = order[batch..].iter().map(|&row| gamma[row]).sum();
    order[batch..].iter().for_each(|&row| gamma[row] = (gamma[row] * batch as f64 / outside).min(1.0));
    let cosine = |a: usize, b: usize| {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        1.0 - dot(&h[a], &h[b]) / (dot(&h[a], &h[a]) * dot(&h[b], &h[b])).sqrt()
    };
    let mut picks = vec![order[0]];
    let mut numbers = stream(seed, "seeding");
    while picks.len() < batch {
        let chance = |row: usize| {
            let distance = picks.iter().map(|&pick| cosine(row, pick)).fold(f64::INFINITY, f64::min);
            if picks.contains(&row) || distance < 1e-5 { 0.0 } else { (gamma[row] * distance).powi(2) }
        };
        let chances: Vec<f64> = (0..rows).map(chance).collect();
        let goal = numbers.next_uniform() * chances.iter().sum::<f64>();
        let mut sum = 0.0;
        let next = (0..rows).find(|&row| {
            sum += chances[row];
            sum > goal
        });
        picks.push(next.unwrap());
    }
    Written { ldm, picks: picks.into_iter().map(|row| row as u32).collect(), draws }
}

#[test]
fn estimates_and_picks_are_those_of_the_procedure() {
    let (logits, embeddings) = random(70, 4, 5);
    let arrays = pool(&logits, &embeddings);
    for (references, cap, batch, seed) in [(40, 100_000, 12, 1), (4000, 100_000, 3, 2), (70, 250, 20, 3)] {
        let params = json!({"n_ref": references, "max_draws": cap});
        let answer = ask(&PACKAGE, "ldm-s", &params, (&arrays, batch, seed)).unwrap();
        let expected = written(&logits, &embeddings, references.min(70), cap, (batch, seed));
        assert_eq!(answer.rows, expected.picks, "{params}");
        let ldm: Vec<f64> = expected.picks.iter().map(|&row| -expected.ldm[row as usize]).collect();
        assert_eq!(answer.scores, ldm, "{params}");
        assert_eq!(figure(&answer, "draws"), f64::from(expected.draws), "{params}");
        assert_eq!(figure(&answer, "draws_capped"), f64::from(u8::from(cap == 250)), "{params}");
    }
}

#[test]
fn on_a_circle_the_metric_is_the_angle_to_the_boundary() {
    // Two classes by the sign of x. Moving one end of the boundary to a point flips the arc between, and nothing less
    // does: the metric is the angle over a whole turn.
    const ROWS: usize = 240;
    let angle = |row: usize| 2.0 * PI * (row as f64 + 0.5) / ROWS as f64;
    let embeddings: Vec<Vec<f64>> = (0..ROWS).map(|row| vec![angle(row).cos(), angle(row).sin()]).collect();
    let logits: Vec<Vec<f64>> = embeddings.iter().map(|h| vec![0.05 * h[0], -0.05 * h[0]]).collect();
    let params = json!({"patience": 200});
    let answer = ask(&PACKAGE, "ldm-s", &params, (&pool(&logits, &embeddings), ROWS - 1, 5)).unwrap();
    let mut slack = 0.0;
    for (&row, score) in answer.rows.iter().zip(&answer.scores) {
        let to_boundary = embeddings[row as usize][0].abs().asin();
        let excess = -score - to_boundary / (2.0 * PI);
        assert!(excess > -1.0 / ROWS as f64 && excess < 0.12, "row {row}: {score} {to_boundary}");
        slack += excess / ROWS as f64;
    }
    assert!(slack < 0.03, "{slack}");
}

#[test]
fn heads_that_no_noise_flips_leave_the_margin_to_decide() {
    // Gaps that noise of deviation 1 cannot bridge: no estimate falls below 1, all are equal, and the margins rank.
    let logits: Vec<Vec<f64>> = [80.0, 50.0, 100.0, 60.0].iter().map(|&gap| vec![gap, 0.0]).collect();
    let embeddings = vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![-1.0, 0.0], vec![0.0, -1.0]];
    let answer = ask(&PACKAGE, "ldm-s", &json!({}), (&pool(&logits, &embeddings), 1, 0)).unwrap();
    assert_eq!((answer.rows.as_slice(), figure(&answer, "draws")), ([1].as_slice(), 510.0));
}
