//! Candidates against the rule written out, and how often coordinates are dropped.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use std::sync::Arc;

use querist_core::{Array, Arrays, LinearHead, Round, Seeds};
use querist_protocol::Selection;
use querist_protocol::philox::{Stream, philox4x32};
use querist_testkit::cases::{Pool, arrays};
use querist_testkit::{Native, NativeMaker, ask, conforms};
use serde_json::{Value, json};
use strategy_drop_query::PACKAGE;

#[test]
fn drop_query_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "drop-query"));
}

fn figure(selection: &Selection, name: &str) -> f64 {
    selection.diagnostics.iter().find(|(key, _)| key == name).unwrap().1
}

/// A pool with a linear head whose logits are its own.
fn pool(rows: usize, classes: usize, width: usize) -> Arrays {
    let noise = Stream::new(3, 0);
    let number = |item: usize, step: usize| (4.0 * noise.item_uniform(item as u64, step as u32) - 2.0) as f32;
    let embeddings: Vec<f32> = (0..rows).flat_map(|row| (0..width).map(move |d| number(row, d))).collect();
    let weights: Vec<f32> = (0..classes).flat_map(|c| (0..width).map(move |d| number(100_000 + c, d))).collect();
    let biases: Vec<f32> = (0..classes).map(|c| number(200_000, c)).collect();
    let logits: Vec<f32> = embeddings
        .chunks(width)
        .flat_map(|h| {
            let logit = |c: usize| h.iter().zip(&weights[c * width..]).map(|(h, w)| h * w).sum::<f32>() + biases[c];
            (0..classes).map(logit).collect::<Vec<_>>()
        })
        .collect();
    let matrix = |values, columns: usize, rows: usize| Array::f32(vec![rows, columns], values).unwrap();
    let named = [
        ("logits", matrix(logits, classes, rows)),
        ("embeddings", matrix(embeddings, width, rows)),
        ("head.w", matrix(weights, width, classes)),
        ("head.b", Array::f32(vec![classes], biases).unwrap()),
    ];
    arrays(rows, 0, classes, named)
}

/// Mismatches by the documented masks, whole logits computed for each copy.
fn mismatches(pool: &Arrays, copies: u32, p_drop: f64, seed: u64) -> Vec<u32> {
    let values = |name: &str| -> Vec<f64> {
        pool.get(name).unwrap().as_f32().unwrap().iter().map(|&value| f64::from(value)).collect()
    };
    let (h, w, b, l) = (values("embeddings"), values("head.w"), values("head.b"), values("logits"));
    let width = w.len() / b.len();
    let best = |logits: &[f64]| {
        let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        logits.iter().position(|&logit| logit == top).unwrap()
    };
    let stream = Seeds::new(seed).strategy("drop-query").stream("masks", Round(0));
    let of_row = |row: usize| {
        let thinned = |copy: u32| -> Vec<f64> {
            let key = stream.item_uniform(pool.ids()[row], copy).to_bits();
            let kept = |d: usize| {
                let bits = philox4x32(key, [d as u32 / 4 * 4, 0, 0, 0])[d % 4];
                (f64::from(bits) + 0.5) / 2f64.powi(32) >= p_drop
            };
            let h: Vec<f64> =
                (0..width).map(|d| if kept(d) { h[row * width + d] / (1.0 - p_drop) } else { 0.0 }).collect();
            (0..b.len()).map(|c| b[c] + h.iter().zip(&w[c * width..]).map(|(h, w)| h * w).sum::<f64>()).collect()
        };
        let whole = best(&l[row * b.len()..][..b.len()]);
        (0..copies).filter(|&copy| best(&thinned(copy)) != whole).count() as u32
    };
    (0..pool.ids().len()).map(of_row).collect()
}

#[test]
fn candidates_are_those_of_the_rule() {
    let pool = pool(300, 4, 10);
    for (copies, p_drop, oversample, batch) in [(3, 0.75, 25, 4), (7, 0.3, 2, 10), (1, 0.5, 1, 30), (5, 0.9, 1, 100)] {
        let params = json!({"T": copies, "p_drop": p_drop, "oversample": oversample});
        let answer = ask(&PACKAGE, "drop-query", &params, (&pool, batch, 8)).unwrap();
        let mismatches = mismatches(&pool, copies, p_drop, 8);
        let above = |least: u32| mismatches.iter().filter(|&&count| count > least).count();
        let mut least = copies / 2;
        while least > 0 && above(least) < batch * oversample {
            least -= 1;
        }
        assert_eq!(figure(&answer, "candidates"), above(least) as f64, "{params}");
        assert_eq!(figure(&answer, "mismatches_above"), f64::from(least), "{params}");
        let picked_candidates = answer.rows.iter().filter(|&&row| mismatches[row as usize] > least).count();
        assert_eq!(picked_candidates, batch.min(above(least)), "{params}");
    }
}

/// Asked for its logits, a linear head has the candidates that its weights give.
#[test]
fn a_head_that_is_asked_and_one_that_is_known_pick_alike() {
    let known = pool(300, 4, 10);
    let head = LinearHead::new(known.get("head.w").unwrap(), known.get("head.b").unwrap()).unwrap();
    let asked = known.part(["logits", "embeddings"], None).with_head(Arc::new(head));
    for (copies, p_drop, oversample, batch) in [(3, 0.75, 25, 4), (7, 0.3, 2, 10), (1, 0.5, 1, 30), (5, 0.9, 1, 100)] {
        let params = json!({"T": copies, "p_drop": p_drop, "oversample": oversample});
        let answers = [&asked, &known].map(|pool| ask(&PACKAGE, "drop-query", &params, (pool, batch, 8)).unwrap());
        assert_eq!(answers[0], answers[1], "{params}");
        assert!(figure(&answers[0], "candidates") > 0.0, "{params}");
    }
}

#[test]
fn few_candidates_are_all_taken_and_the_rest_is_random() {
    let pool = pool(80, 3, 6);
    let params = json!({"p_drop": 0.2, "T": 1});
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let candidates: Vec<u32> =
            (0u32..).zip(mismatches(&pool, 1, 0.2, seed)).filter(|&(_, count)| count > 0).map(|(row, _)| row).collect();
        let batch = candidates.len() + 3;
        let answer = ask(&PACKAGE, "drop-query", &params, (&pool, batch, seed)).unwrap();
        assert_eq!(&answer.rows[..candidates.len()], &candidates);
        assert_eq!(figure(&answer, "fallback_count"), 3.0);
        seen.extend(answer.rows[candidates.len()..].iter().copied());
    }
    assert!(seen.len() > 20, "{seen:?}");
}

#[test]
fn coordinates_are_dropped_as_often_as_said() {
    // Two classes by the sign of one coordinate: a copy changes class exactly when it is dropped, or not kept.
    let rows = 20_000;
    let named = [
        ("logits", Array::f32(vec![rows, 2], [0.0, 1.0].repeat(rows)).unwrap()),
        ("embeddings", Array::f32(vec![rows, 1], vec![1.0; rows]).unwrap()),
        ("head.w", Array::f32(vec![2, 1], vec![0.0, 1.0]).unwrap()),
        ("head.b", Array::f32(vec![2], vec![0.0, 0.0]).unwrap()),
    ];
    let pool = arrays(rows, 0, 2, named);
    let dropped =
        figure(&ask(&PACKAGE, "drop-query", &json!({"T": 1, "p_drop": 0.3}), (&pool, 1, 4)).unwrap(), "candidates");
    // Four standard deviations.
    assert!((dropped - 6000.0).abs() < 4.0 * (rows as f64 * 0.21).sqrt(), "{dropped}");
}

#[test]
fn rows_do_not_decide_what_is_dropped() {
    // The same samples, half of them: what is dropped goes with the sample.
    let whole = Pool { rows: 200, ..Pool::default() };
    let needs = PACKAGE.needs("drop-query", "{}").unwrap();
    let half = Pool { rows: 100, ..whole };
    let params = json!({"T": 1, "oversample": 1});
    let candidates = |pool: Pool, batch: usize| {
        let mut strategy = Native::new(&PACKAGE, "drop-query", &params, 1).unwrap();
        let mut rows = strategy.ask(&pool.arrays(&needs), batch, 1).unwrap().rows;
        rows.sort_unstable();
        rows
    };
    let of_half = figure(&ask(&PACKAGE, "drop-query", &params, (&half.arrays(&needs), 1, 1)).unwrap(), "candidates");
    let of_whole = figure(&ask(&PACKAGE, "drop-query", &params, (&whole.arrays(&needs), 1, 1)).unwrap(), "candidates");
    let in_half = candidates(half, of_half as usize);
    let in_whole: Vec<u32> = candidates(whole, of_whole as usize).into_iter().filter(|&row| row < 100).collect();
    assert!(!in_half.is_empty());
    assert_eq!(in_half, in_whole);
}

#[test]
fn parameters_that_do_not_fit_are_refused() {
    let refused = |params: Value| Native::new(&PACKAGE, "drop-query", &params, 1).err().unwrap().to_string();
    assert!(refused(json!({"T": 4})).contains("odd"));
    assert!(refused(json!({"p_drop": 1.0})).contains("/p_drop: 1.0 is"));
}
