//! `accu-kmeans` against what its clusters say.

use std::sync::Arc;

use querist_core::{Arrays, Granted, Round, Seeds};
use querist_kernels::{Control, Limits, Session, Setup, Shared};
use querist_sdk::Host;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms, settled};
use serde_json::{Value, json};
use strategy_kmeans::PACKAGE;

#[test]
fn accu_kmeans_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "accu-kmeans"));
}

#[test]
fn kmeans_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "kmeans"));
}

/// The rows of a strategy that is given the random numbers of `kmeans`.
fn rows_with_numbers_of_kmeans(id: &str, params: &Value, arrays: &Arrays) -> Vec<u32> {
    let params = &settled(&PACKAGE, id, params).to_string();
    let needs = PACKAGE.needs(id, params).unwrap();
    let (round, streams) = (Round(0), Seeds::new(3).strategy("kmeans"));
    let compute = querist_kernels::Compute::threads(1);
    let arrays = Granted::new(arrays, &needs, &[]).unwrap();
    let setup = Setup { arrays, batch: 12, round, streams, compute };
    let shared = Arc::new(Shared::new(setup, Arc::new(Control::new(Limits::default(), None))).unwrap());
    PACKAGE.select(id, params, None, Host::new(std::rc::Rc::new(Session::new(shared)))).unwrap().rows
}

#[test]
fn without_labels_it_is_kmeans() {
    let pool = noise(200, 7, 1.0, 5);
    let arrays = arrays(200, 0, 2, [("embeddings", matrix(7, &pool)), ("labelled.embeddings", matrix(7, &[]))]);
    for params in [json!({}), json!({"preset": "low-budget"})] {
        let rows = rows_with_numbers_of_kmeans("accu-kmeans", &params, &arrays);
        assert_eq!(rows, rows_with_numbers_of_kmeans("kmeans", &params, &arrays), "{params}");
    }
}

#[test]
fn a_cluster_without_an_unlabelled_member_leaves_its_place_to_the_largest() {
    // Three groups far apart: 5 unlabelled around 0, 3 around 100, and around 200 only labelled ones.
    let pool: Vec<Vec<f32>> = [0.0, 1.0, -1.1, 3.0, -3.1, 100.0, 101.0, 102.5].map(|x| vec![x]).to_vec();
    let labelled: Vec<Vec<f32>> = [200.0, 201.0].map(|x| vec![x]).to_vec();
    let arrays = arrays(8, 2, 2, [("embeddings", matrix(1, &pool)), ("labelled.embeddings", matrix(1, &labelled))]);
    let answer = Question::new(&PACKAGE, "accu-kmeans", 3).with(json!({"n_init": 50})).ask(&arrays);
    // Means are -0.04 and 101.17; the next-nearest of the larger group fills in.
    let mut rows = answer.rows.clone();
    rows[..2].sort_unstable();
    assert_eq!(rows, [0, 6, 1]);
    assert_eq!(figure(&answer, "fallback_count"), 1.0);
}
