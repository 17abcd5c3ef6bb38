//! Batches against greedy search over dense Fisher matrices.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_protocol::philox::Stream;
use querist_testkit::cases::arrays;
use querist_testkit::{NativeMaker, ask, conforms};
use serde_json::{Value, json};
use strategy_bait::PACKAGE;

#[test]
fn bait_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "bait"));
}

/// Logits and embeddings of some rows.
#[derive(Clone)]
struct Rows {
    logits: Vec<Vec<f64>>,
    embeddings: Vec<Vec<f64>>,
}

fn random(seed: u64, rows: usize, classes: usize, width: usize) -> Rows {
    let noise = Stream::new(seed, 0);
    let number = |row: usize, step: usize| f64::from((4.0 * noise.item_uniform(row as u64, step as u32) - 2.0) as f32);
    let table = |columns: usize, from: usize| -> Vec<Vec<f64>> {
        (0..rows).map(|row| (0..columns).map(|c| number(row, from + c)).collect()).collect()
    };
    Rows { logits: table(classes, 0), embeddings: table(width, classes) }
}

fn matrix(rows: &[Vec<f64>], columns: usize) -> Array {
    Array::f32(vec![rows.len(), columns], rows.iter().flatten().map(|&x| x as f32).collect::<Vec<_>>()).unwrap()
}

fn query(pool: &Rows, labelled: &Rows) -> Arrays {
    let (classes, width) = (pool.logits[0].len(), pool.embeddings[0].len());
    let named = [
        ("logits", matrix(&pool.logits, classes)),
        ("penultimate", matrix(&pool.embeddings, width)),
        ("labelled.logits", matrix(&labelled.logits, classes)),
        ("labelled.penultimate", matrix(&labelled.embeddings, width)),
    ];
    arrays(pool.logits.len(), labelled.logits.len(), classes, named)
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let total: f64 = logits.iter().map(|l| l.exp()).sum();
    logits.iter().map(|l| l.exp() / total).collect()
}

/// The information matrix of a row, dense.
fn information(fisher: &str, topk: usize, logits: &[f64], h: &[f64]) -> Vec<Vec<f64>> {
    let p = softmax(logits);
    let classes = p.len();
    let middle: Vec<Vec<f64>> = match fisher {
        "binary" => {
            let top = p.iter().copied().fold(0.0, f64::max);
            vec![vec![top * (1.0 - top)]]
        }
        _ => {
            let mut order: Vec<usize> = (0..classes).collect();
            order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
            let kept = &order[..if fisher == "topk" { topk } else { classes }];
            let total: f64 = kept.iter().map(|&y| p[y]).sum();
            let gradient = |y: usize, c: usize| f64::from(u8::from(y == c)) - p[c];
            let entry = |a: usize, b: usize| kept.iter().map(|&y| p[y] / total * gradient(y, a) * gradient(y, b)).sum();
            (0..classes).map(|a| (0..classes).map(|b| entry(a, b)).collect()).collect()
        }
    };
    let (blocks, width) = (middle.len(), h.len());
    (0..blocks * width)
        .map(|i| (0..blocks * width).map(|j| middle[i / width][j / width] * h[i % width] * h[j % width]).collect())
        .collect()
}

fn add(to: &mut [Vec<f64>], what: &[Vec<f64>], weight: f64) {
    for (to, what) in to.iter_mut().zip(what) {
        to.iter_mut().zip(what).for_each(|(to, what)| *to += weight * what);
    }
}

/// tr(M⁻¹ F) by elimination.
fn cost(m: &[Vec<f64>], f: &[Vec<f64>]) -> f64 {
    let n = m.len();
    let mut a: Vec<Vec<f64>> = m.iter().zip(f).map(|(m, f)| [m.as_slice(), f].concat()).collect();
    for k in 0..n {
        let line = a[k].clone();
        for i in (0..n).filter(|&i| i != k) {
            let factor = a[i][k] / line[k];
            a[i].iter_mut().zip(&line).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    (0..n).map(|i| a[i][n + i] / a[i][i]).sum()
}

/// Greedy forward and backward search, every candidate tried.
fn search(pool: &Rows, labelled: &Rows, batch: usize, settings: (&str, usize, f64, f64, bool)) -> (Vec<u32>, Vec<f64>) {
    let (fisher, topk, lambda, oversample, average) = settings;
    let of = |rows: &Rows| -> Vec<Vec<Vec<f64>>> {
        rows.logits.iter().zip(&rows.embeddings).map(|(l, h)| information(fisher, topk, l, h)).collect()
    };
    let (of_pool, of_labelled) = (of(pool), of(labelled));
    let n = of_pool[0].len();
    let zero = vec![vec![0.0; n]; n];
    let (rows, known) = (of_pool.len(), of_labelled.len());
    let mut f = zero.clone();
    of_pool.iter().chain(&of_labelled).for_each(|one| add(&mut f, one, 1.0 / (rows + known) as f64));
    let mut start = zero;
    (0..n).for_each(|i| start[i][i] = lambda);
    let share = 1.0 / (known + batch) as f64;
    of_labelled.iter().for_each(|one| add(&mut start, one, share));
    let weight = if average { share } else { share * batch as f64 };
    let with = |rows: &[u32]| {
        let mut m = start.clone();
        rows.iter().for_each(|&row| add(&mut m, &of_pool[row as usize], weight));
        cost(&m, &f)
    };
    let (mut picked, mut gains): (Vec<u32>, Vec<f64>) = (Vec::new(), Vec::new());
    while picked.len() < ((oversample * batch as f64).ceil() as usize).min(rows) {
        let others = (0..rows as u32).filter(|row| !picked.contains(row));
        let costs = others.map(|row| (row, with(&[picked.as_slice(), &[row]].concat())));
        let (row, least) = costs.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        gains.push(with(&picked) - least);
        picked.push(row);
    }
    while picked.len() > batch {
        let without = |at: usize| [&picked[..at], &picked[at + 1..]].concat();
        let at = (0..picked.len()).min_by(|&a, &b| with(&without(a)).total_cmp(&with(&without(b)))).unwrap();
        picked.remove(at);
        gains.remove(at);
    }
    (picked, gains)
}

#[test]
fn picks_are_those_of_the_full_search() {
    let (pool, labelled) = (random(1, 30, 4, 3), random(2, 6, 4, 3));
    let none = Rows { logits: Vec::new(), embeddings: Vec::new() };
    for (known, fisher, topk, lambda, oversample, average) in [
        (&labelled, "exact", 2, 1.0, 2.0, false),
        (&none, "exact", 2, 0.01, 2.0, true),
        (&labelled, "exact", 2, 0.1, 1.3, false),
        (&labelled, "topk", 2, 1.0, 2.0, false),
        (&labelled, "topk", 3, 0.01, 3.0, true),
        (&labelled, "binary", 2, 1.0, 2.0, false),
        (&none, "binary", 2, 0.01, 1.0, false),
    ] {
        let weighting = if average { "average" } else { "authors" };
        let params = json!({
            "fisher": fisher, "topk": topk, "lambda": lambda, "oversample": oversample, "weighting": weighting
        });
        let answer = ask(&PACKAGE, "bait", &params, (&query(&pool, known), 7, 0)).unwrap();
        let (rows, gains) = search(&pool, known, 7, (fisher, topk, lambda, oversample, average));
        assert_eq!(answer.rows, rows, "{params}");
        for (found, expected) in answer.scores.iter().zip(gains) {
            assert!((found - expected).abs() < 1e-5 * expected, "{params}: {found} {expected}");
        }
    }
}

#[test]
fn the_bias_is_a_constant_column() {
    let (mut pool, mut labelled) = (random(3, 25, 3, 2), random(4, 4, 3, 2));
    let with = ask(&PACKAGE, "bait", &json!({"include_bias": true}), (&query(&pool, &labelled), 5, 0)).unwrap();
    for rows in [&mut pool, &mut labelled] {
        rows.embeddings.iter_mut().for_each(|h| h.push(1.0));
    }
    let written = ask(&PACKAGE, "bait", &json!({}), (&query(&pool, &labelled), 5, 0)).unwrap();
    assert_eq!((with.rows, with.scores), (written.rows, written.scores));
}

#[test]
fn one_weight_and_two_classes_by_hand() {
    // The information is a = p (1 - p) h² along (1, -1), twice that along the unit vector.
    let (p, h) = ([0.5f64, 0.8, 0.99], [1.0, 3.0, 2.0]);
    let pool = Rows {
        logits: p.iter().map(|p| vec![p.ln(), (1.0 - p).ln()]).collect(),
        embeddings: h.iter().map(|&h| vec![h]).collect(),
    };
    let a: Vec<f64> = p.iter().zip(h).map(|(p, h)| p * (1.0 - p) * h * h).collect();
    let none = Rows { logits: Vec::new(), embeddings: Vec::new() };
    let params = json!({"lambda": 0.3, "oversample": 1.0});
    let answer = ask(&PACKAGE, "bait", &params, (&query(&pool, &none), 1, 0)).unwrap();
    let mean = a.iter().sum::<f64>() / 3.0;
    let expected = 2.0 * mean * (1.0 / 0.3 - 1.0 / (0.3 + 2.0 * a[1]));
    assert_eq!(answer.rows, [1]);
    assert!((answer.scores[0] - expected).abs() < 1e-6 * expected, "{} {expected}", answer.scores[0]);
}

#[test]
fn two_classes_are_the_binary_form_on_longer_embeddings() {
    let (pool, labelled) = (random(5, 60, 2, 4), random(6, 5, 2, 4));
    let longer = |rows: &Rows| Rows {
        embeddings: rows.embeddings.iter().map(|h| h.iter().map(|x| x * 2f64.sqrt()).collect()).collect(),
        ..rows.clone()
    };
    let exact = ask(&PACKAGE, "bait", &json!({"fisher": "exact"}), (&query(&pool, &labelled), 10, 0)).unwrap();
    let arrays = query(&longer(&pool), &longer(&labelled));
    let binary = ask(&PACKAGE, "bait", &json!({"fisher": "binary"}), (&arrays, 10, 0)).unwrap();
    assert_eq!(exact.rows, binary.rows);
}

#[test]
fn principal_components_keep_what_varies() {
    // Three columns vary; the others repeat them turned, with a constant. Three components lose nothing but the mean.
    let (pool, labelled) = (random(7, 40, 3, 3), random(8, 5, 3, 3));
    let all: Vec<&Vec<f64>> = pool.embeddings.iter().chain(&labelled.embeddings).collect();
    let mean: Vec<f64> = (0..3).map(|d| all.iter().map(|h| h[d]).sum::<f64>() / all.len() as f64).collect();
    let centred = |rows: &Rows| Rows {
        embeddings: rows.embeddings.iter().map(|h| h.iter().zip(&mean).map(|(x, m)| x - m).collect()).collect(),
        ..rows.clone()
    };
    let turned = |rows: &Rows| Rows {
        // Columns of a matrix with orthonormal rows: lengths and angles stay.
        embeddings: rows
            .embeddings
            .iter()
            .map(|h| vec![0.6 * h[0], 0.8 * h[0], h[1], 5.0, 0.8 * h[2], -0.6 * h[2]])
            .collect(),
        ..rows.clone()
    };
    let plain = ask(&PACKAGE, "bait", &json!({}), (&query(&centred(&pool), &centred(&labelled)), 6, 0)).unwrap();
    let arrays = query(&turned(&pool), &turned(&labelled));
    let reduced = ask(&PACKAGE, "bait", &json!({"pca_dim": 3}), (&arrays, 6, 0)).unwrap();
    assert_eq!(plain.rows, reduced.rows);
    for (a, b) in plain.scores.iter().zip(&reduced.scores) {
        assert!((a - b).abs() < 1e-4 * a, "{a} {b}");
    }
}

#[test]
fn defaults_follow_sizes_and_presets() {
    let wide = |classes: usize, width: usize| (random(9, 6, classes, width), random(10, 2, classes, width));
    let rank = |params: Value, (pool, labelled): &(Rows, Rows)| {
        let answer = ask(&PACKAGE, "bait", &params, (&query(pool, labelled), 2, 0)).unwrap();
        answer.diagnostics.iter().find(|(name, _)| name == "rank").unwrap().1
    };
    assert_eq!(rank(json!({}), &wide(5, 8)), 4.0);
    assert_eq!(rank(json!({}), &wide(513, 16)), 1.0);
    assert_eq!(rank(json!({"fisher": "topk", "topk": 9}), &wide(5, 8)), 5.0);
    let (pool, labelled) = wide(3, 4);
    let arrays = query(&pool, &labelled);
    let scores = |params: Value| ask(&PACKAGE, "bait", &params, (&arrays, 3, 0)).unwrap().scores;
    assert_eq!(scores(json!({"preset": "al-baselines"})), scores(json!({"lambda": 0.01})));
    assert_eq!(scores(json!({"preset": "authors-code"})), scores(json!({})));
    for params in [json!({"lambda": 0.0}), json!({"oversample": 0.5}), json!({"topk": 0})] {
        assert!(ask(&PACKAGE, "bait", &params, (&arrays, 3, 0)).is_err(), "{params}");
    }
}
