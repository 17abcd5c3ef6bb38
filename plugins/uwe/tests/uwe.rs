//! Uncertainty-weighted embeddings against plain loops over explicit points.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_uwe::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "uwe"));
}

struct Data {
    logits: Vec<Vec<f32>>,
    embeddings: Vec<Vec<f32>>,
    labelled_logits: Vec<Vec<f32>>,
    labelled_embeddings: Vec<Vec<f32>>,
}

fn data(rows: usize, labelled: usize) -> Data {
    Data {
        logits: noise(rows, 4, 3.0, 1),
        embeddings: noise(rows, 6, 1.0, 2),
        labelled_logits: noise(labelled, 4, 3.0, 3),
        labelled_embeddings: noise(labelled, 6, 1.0, 4),
    }
}

fn ask(data: &Data, batch: usize, params: Value) -> querist_sdk::protocol::Selection {
    let named = [
        ("logits", matrix(4, &data.logits)),
        ("embeddings", matrix(6, &data.embeddings)),
        ("labelled.logits", matrix(4, &data.labelled_logits)),
        ("labelled.embeddings", matrix(6, &data.labelled_embeddings)),
    ];
    let arrays = arrays(data.logits.len(), data.labelled_logits.len(), 4, named);
    Question::new(&PACKAGE, "uwe", batch).with(params).ask(&arrays)
}

fn uncertainty(logits: &[f32], kind: &str) -> f64 {
    let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
    let mut p: Vec<f64> = logits.iter().map(|&l| f64::from(l).exp() / total).collect();
    p.sort_by(|a, b| b.total_cmp(a));
    match kind {
        "entropy" => -p.iter().map(|p| p * p.ln()).sum::<f64>(),
        "bvsb" => p[1] / p[0],
        _ => 1.0 - p[0],
    }
}

fn sq(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn plain(data: &Data, batch: usize, kind: &str, from_labels: bool) -> Vec<u32> {
    let u: Vec<f64> = data.logits.iter().map(|row| uncertainty(row, kind)).collect();
    let (low, high) = (u.iter().copied().fold(9.0, f64::min), u.iter().copied().fold(0.0, f64::max));
    let point = |u: f64, h: &Vec<f32>| -> Vec<f64> {
        let weight = ((u - low) / (high - low)).clamp(0.0, 1.0);
        h.iter().map(|&h| weight * f64::from(h)).collect()
    };
    let points: Vec<Vec<f64>> = u.iter().zip(&data.embeddings).map(|(&u, h)| point(u, h)).collect();
    let mut set: Vec<Vec<f64>> = Vec::new();
    if from_labels {
        let rows = data.labelled_logits.iter().zip(&data.labelled_embeddings);
        set.extend(rows.map(|(logits, h)| point(uncertainty(logits, kind), h)));
    }
    let mut picks: Vec<u32> = Vec::new();
    while picks.len() < batch {
        let value = |i: usize| match set.is_empty() {
            true => sq(&points[i], &[0.0; 6]),
            false => set.iter().map(|c| sq(&points[i], c)).fold(f64::INFINITY, f64::min),
        };
        let open = (0..points.len()).filter(|&i| !picks.contains(&(i as u32)));
        let best = open.map(|i| (value(i), i)).max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))).unwrap().1;
        set.push(points[best].clone());
        picks.push(best as u32);
    }
    picks
}

#[test]
fn picks_are_those_of_furthest_first_on_explicit_points() {
    let data = data(120, 15);
    for kind in ["entropy", "bvsb", "least-confident"] {
        let found = ask(&data, 30, json!({"uncertainty": kind}));
        assert_eq!(found.rows, plain(&data, 30, kind, false), "{kind}");
        assert_eq!(figure(&found, "fallback_count"), 0.0);
        let found = ask(&data, 30, json!({"uncertainty": kind, "selection": "k-center"}));
        assert_eq!(found.rows, plain(&data, 30, kind, true), "{kind} from labels");
    }
}

#[test]
fn scaling_the_embeddings_changes_nothing() {
    let data = data(80, 0);
    let rows = ask(&data, 20, json!({})).rows;
    for factor in [0.125, 3.0] {
        let embeddings = data.embeddings.iter().map(|row| row.iter().map(|h| h * factor).collect()).collect();
        let scaled = Data { embeddings, logits: data.logits.clone(), ..self::data(0, 0) };
        assert_eq!(ask(&scaled, 20, json!({})).rows, rows, "times {factor}");
    }
}

#[test]
fn coinciding_points_are_filled_by_falling_uncertainty() {
    // Three different embeddings times weights that are 0 for sure samples: few different points.
    let mut data = data(6, 0);
    data.embeddings = vec![vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0]; 6];
    let sure = |gap: f32| vec![gap, 0.0, 0.0, 0.0];
    // Rows 0 and 3 are equal; so are 1 and 4.
    data.logits = [0.0, 2.0, 4.0, 0.0, 2.0, 9.0].map(sure).to_vec();
    let found = ask(&data, 6, json!({}));
    assert_eq!(found.rows[..2], [0, 5], "the longest point, then the origin");
    assert_eq!(figure(&found, "fallback_count"), 2.0);
    assert_eq!(found.rows[4..], [3, 4], "the more uncertain of those left first");
    assert_eq!(found.scores[4..], [0.0, 0.0]);
}

#[test]
fn draws_follow_squared_distances() {
    // Norms 4, 1, 2, 3 on a line with equal weights: after the longest, the others lie 3, 2 and 1 away.
    let embeddings: Vec<Vec<f32>> = [4.0, 1.0, 2.0, 3.0].map(|h| vec![h, 0.0, 0.0, 0.0, 0.0, 0.0]).to_vec();
    let named = [("logits", matrix(4, &vec![vec![0.0; 4]; 4])), ("embeddings", matrix(6, &embeddings))];
    let arrays = arrays(4, 0, 4, named);
    let mut counts = [0.0f64; 4];
    for seed in 0..20_000 {
        let question = Question { seed, ..Question::new(&PACKAGE, "uwe", 2).with(json!({"selection": "k-means++"})) };
        let rows = question.ask(&arrays).rows;
        assert_eq!(rows[0], 0);
        counts[rows[1] as usize] += 1.0;
    }
    let expected = [9.0, 4.0, 1.0].map(|weight| 20_000.0 * weight / 14.0);
    let chi_square: f64 = counts[1..].iter().zip(expected).map(|(n, e)| (n - e) * (n - e) / e).sum();
    // Two degrees of freedom: 18.4 is the 1e-4 quantile.
    assert!(chi_square < 18.4, "{counts:?}");
}
