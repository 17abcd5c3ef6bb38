//! Cluster-Margin against its definition.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::Arrays;
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_cluster_margin::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "cluster-margin"));
}

/// Two-class logits of falling uncertainty: row i has the i-th smallest margin.
fn by_margin(rows: usize) -> Vec<Vec<f32>> {
    (0..rows).map(|i| vec![0.01 * (i + 1) as f32, 0.0]).collect()
}

fn data(places: &[Vec<f32>], labelled: &[Vec<f32>]) -> Arrays {
    let columns = places[0].len();
    let named = [
        ("logits", matrix(2, &by_margin(places.len()))),
        ("embeddings", matrix(columns, places)),
        ("labelled.embeddings", matrix(columns, labelled)),
    ];
    arrays(places.len(), labelled.len(), 2, named)
}

fn question(batch: usize, params: Value) -> Question<'static> {
    Question::new(&PACKAGE, "cluster-margin", batch).with(params)
}

fn ask(arrays: &Arrays, batch: usize, params: Value) -> Selection {
    question(batch, params).ask(arrays)
}

/// Samples of three groups far apart in distance and angle, of sizes 5, 1 and 2.
fn groups() -> Vec<Vec<f32>> {
    [0, 0, 2, 0, 1, 2, 0, 0]
        .iter()
        .enumerate()
        .map(|(i, &group)| {
            let angle = 2.0 * f64::from(group) + 0.001 * i as f64;
            vec![10.0 * angle.cos() as f32, 10.0 * angle.sin() as f32]
        })
        .collect()
}

#[test]
fn one_sample_of_each_cluster_small_ones_first() {
    let arrays = data(&groups(), &[]);
    for metric in ["cosine", "sqeuclidean", "euclidean"] {
        for cut in [
            json!({"n_clusters": 3}),
            json!({"n-clusters": 3}),
            json!({"avg_size": 2.7}),
            json!({"avg-size": 2.7}),
            json!({"threshold": 0.1}),
        ] {
            let params = json!({"metric": metric, "cut": cut, "within": "margin"});
            assert_eq!(ask(&arrays, 4, params.clone()).rows, [4, 2, 0, 5], "{params}");
            let mut within_random = params.clone();
            within_random["within"] = json!("random");
            let rows = ask(&arrays, 4, within_random).rows;
            assert_eq!(rows[0], 4);
            assert!([2, 5].contains(&rows[1]) && [0, 1, 3, 6, 7].contains(&rows[2]) && [2, 5].contains(&rows[3]));
        }
    }
    let s1 = json!({"preset": "cure-lab", "cut": {"n_clusters": 3}});
    assert_eq!(ask(&arrays, 4, s1).rows, [4, 2, 0, 5]);
}

#[test]
fn only_the_smallest_margins_are_candidates() {
    let arrays = data(&groups(), &[]);
    let params = |factor: f64| json!({"margin_factor": factor, "cut": {"n_clusters": 3}, "within": "margin"});
    // Rows 0 and 1 are of one cluster, and row 2 of another.
    assert_eq!(ask(&arrays, 2, params(1.0)).rows, [0, 1]);
    assert_eq!(ask(&arrays, 2, params(1.5)).rows, [2, 0]);
    assert_eq!(ask(&arrays, 2, params(2.5)).rows, [2, 4], "of two groups of one, the smaller margin first");
}

#[test]
fn any_sample_of_a_cluster_is_equally_likely() {
    let arrays = data(&groups(), &[]);
    let mut counts = [0.0f64; 8];
    for seed in 0..10_000 {
        let asked = Question { seed, ..question(3, json!({"cut": {"n_clusters": 3}})) }.ask(&arrays);
        counts[asked.rows[2] as usize] += 1.0;
    }
    let large: Vec<f64> = [0, 1, 3, 6, 7].iter().map(|&row| counts[row]).collect();
    let chi_square: f64 = large.iter().map(|n| (n - 2000.0) * (n - 2000.0) / 2000.0).sum();
    // Four degrees of freedom: 23.5 is the 1e-4 quantile.
    assert!(chi_square < 23.5, "{counts:?}");
}

#[test]
fn clusters_are_kept_for_the_run() {
    let first = data(&groups(), &[vec![-3.0, 9.0]]);
    let params = json!({"cut": {"n_clusters": 3}, "within": "margin"});
    let before = ask(&first, 4, params.clone());
    // The features move together, so that clusters made now would be others.
    let moved = data(&noise(8, 2, 1.0, 5), &[vec![-3.0, 9.0]]);
    let asked = |state: Option<Vec<u8>>, params: Value| Question { state, ..question(4, params) }.ask(&moved);
    assert_eq!(asked(before.state.clone(), params.clone()).rows, before.rows);
    assert_eq!(asked(before.state.clone(), params.clone()).state, before.state);
    let mut anew = params.clone();
    anew["recluster"] = json!("every-round");
    let fresh = asked(before.state.clone(), anew);
    assert_eq!((fresh.rows, fresh.state), (asked(None, params.clone()).rows, None));
    // A sample that was not there is no silent guess.
    let larger = data(&noise(9, 2, 1.0, 5), &[]);
    let refused = Question { state: before.state, ..question(4, params.clone()) }.try_ask(&larger);
    assert!(refused.unwrap_err().contains("every-round"));
    let broken = Question { state: Some(vec![1; 13]), ..question(4, params) }.try_ask(&larger);
    assert!(broken.unwrap_err().contains("13 bytes"));
}

#[test]
fn a_linked_part_gives_the_others_their_clusters() {
    let group = |i: usize| i % 7;
    let places: Vec<Vec<f32>> = (0..350)
        .map(|i| {
            let angle = 0.9 * group(i) as f64 + 1e-4 * i as f64;
            vec![angle.cos() as f32, angle.sin() as f32]
        })
        .collect();
    let arrays = data(&places, &noise(5, 2, 1.0, 3));
    for metric in ["cosine", "sqeuclidean"] {
        let params = json!({"max_hac_points": 120, "metric": metric, "cut": {"threshold": 0.05}, "margin_factor": 100});
        let mut found: Vec<usize> = ask(&arrays, 7, params).rows.iter().map(|&row| group(row as usize)).collect();
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3, 4, 5, 6], "{metric}");
    }
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    for params in [
        json!({"margin_factor": 0.5}),
        json!({"max_hac_points": 1}),
        json!({"cut": {"n_clusters": 0}}),
        json!({"cut": {"avg_size": 0.5}}),
        json!({"cut": {"threshold": -1.0}}),
    ] {
        assert!(question(1, params.clone()).try_ask(&data(&groups(), &[])).is_err(), "{params}");
    }
}
