//! Every first strategy keeps every rule, built both ways, and both ways give the same rows with the same score bits.

use querist_core::{Question, Round, Seeds, Strategy};
use querist_protocol::TILE_BYTES;
use querist_testkit::cases::{Pool, Shape};
use querist_testkit::{Make, NativeMaker, conforms};
use querist_tests::{WasmMaker, strategies};
use serde_json::{Value, json};

#[test]
fn native_builds_conform() {
    for (package, id) in strategies() {
        conforms(&NativeMaker::new(package, &id));
    }
}

#[test]
fn components_conform() {
    for (_, id) in strategies() {
        conforms(&WasmMaker(id));
    }
}

/// Parameters that lead through every branch of a strategy.
fn variants(id: &str) -> Vec<Value> {
    match id {
        "badge" => vec![json!({}), json!({"first": "uniform"}), json!({"include_bias": true})],
        "k-center-greedy" => ["nearest-mean", "max-norm", "index0", "random"]
            .into_iter()
            .flat_map(|first| ["euclidean", "cosine"].map(|metric| json!({"first": first, "metric": metric})))
            .collect(),
        "kmeans" => vec![
            json!({"n_init": 2}),
            json!({"preset": "cure-lab", "n_init": 2}),
            json!({"preset": "low-budget-al"}),
            json!({"init": "random-points", "normalize": "l2", "max_iter": 3, "tol": 0.0}),
        ],
        "fixed" => vec![json!({"order": [22, 7, 3000, 10], "fallback": "random"})],
        "bait" => {
            let reduced = json!({"fisher": "topk", "pca_dim": 5, "include_bias": true, "weighting": "average"});
            vec![json!({"pca_dim": 8}), reduced, json!({"fisher": "binary", "preset": "euphoria0-0"})]
        }
        "drop-query" => vec![json!({}), json!({"T": 7, "p_drop": 0.4, "oversample": 2})],
        "ldm-s" => vec![json!({"max_draws": 200}), json!({"max_draws": 300, "patience": 3, "n_ref": 50})],
        "epig" => vec![json!({}), json!({"target": "provided", "stochastic": "power"})],
        "batchbald" => {
            let joint = json!({"estimator": "joint", "lazy": false, "num_samples": 50});
            vec![json!({"num_samples": 200}), joint]
        }
        "gradnorm-entropy" | "gradnorm-egl" => {
            vec![json!({}), json!({"norm": "global"}), json!({"preset": "euphoria0-0"})]
        }
        "uniform" => vec![json!({}), json!({"preset": "low-budget-al"}), json!({"per_class": 9})],
        "alfa-mix" => vec![
            json!({"n_init": 1}),
            json!({"n_init": 1, "preset": "euphoria0-0", "max_cap": 0.1, "anchors_missing": "skip"}),
            json!({"n_init": 1, "variant": "optimised", "max_cap": 0.1}),
        ],
        "accu-kmeans" => vec![json!({"n_init": 2}), json!({"preset": "low-budget-al", "n_init": 2})],
        "clue" => vec![json!({"n_init": 2}), json!({"n_init": 1, "temperature": 0.1})],
        "cluster-margin" => vec![
            json!({}),
            json!({"preset": "cure-lab", "recluster": "every-round"}),
            json!({"max_hac_points": 300, "metric": "sqeuclidean", "cut": {"threshold": 0.5}}),
        ],
        "dcom" => vec![json!({}), json!({"initial_delta": "estimate", "max_delta": 0.5, "a": 0.1, "k": 5.0})],
        "galaxy" => vec![json!({}), json!({"feedback": "pseudo"})],
        "max-herding" => ["rbf", "laplace", "student", "cauchy", "tophat"]
            .into_iter()
            .flat_map(|kernel| [300, 35_000].map(|rows| json!({"kernel": kernel, "max_rows": rows})))
            .collect(),
        "uherding" => ["margin", "entropy", "conf"]
            .into_iter()
            .flat_map(|u| [true, false].map(|adaptive| json!({"uncertainty": u, "adaptive": adaptive, "tau": 2.0})))
            .collect(),
        "probcover" => vec![json!({}), json!({"alpha": 0.5}), json!({"delta": 0.7})],
        "diverse-mini-batch" => vec![json!({}), json!({"beta": 2.5})],
        "falcun" => ["unc-norm", "distance", "unc"]
            .into_iter()
            .flat_map(|distance| [true, false].map(|d| json!({"distance": distance, "deterministic": d})))
            .collect(),
        "typiclust" => vec![
            json!({}),
            json!({"preset": "authors-code"}),
            json!({"max_clusters": 20, "k_nn": 3, "min_cluster_size": 30}),
        ],
        "uwe" => ["k-center-unlabelled", "k-means++", "k-center"]
            .into_iter()
            .flat_map(|selection| {
                ["entropy", "bvsb", "least-confident"].map(|u| json!({"selection": selection, "uncertainty": u}))
            })
            .collect(),
        "entropy" => vec![json!({}), json!({"order": "asc"})],
        _ => vec![json!({})],
    }
}

fn answer(maker: &dyn Make, params: &Value, pool: &Pool, batch: usize) -> (Vec<u32>, Vec<u64>, Vec<(String, f64)>) {
    let mut strategy: Box<dyn Strategy> = maker.make(params, 2, TILE_BYTES).unwrap();
    let arrays = pool.arrays(strategy.needs());
    let question = Question::new(&arrays, batch).in_round(Round(2)).with_seeds(Seeds::new(11));
    let selection = strategy.answer(&question).unwrap().selection;
    let bits = selection.scores.iter().map(|score| score.to_bits()).collect();
    (selection.rows, bits, selection.diagnostics)
}

/// Whether one of two arrays does for some need.
fn leaves_a_choice(maker: &dyn Make, params: &Value) -> bool {
    let strategy = maker.make(params, 1, TILE_BYTES).unwrap();
    strategy.needs().iter().any(|need| need.second_choice().is_some())
}

#[test]
fn component_and_native_twin_agree_to_the_bit() {
    for (package, id) in strategies() {
        let (native, wasm) = (NativeMaker::new(package, &id), WasmMaker(id.clone()));
        for params in variants(&id) {
            for values in [Shape::Clustered, Shape::Random, Shape::Duplicates, Shape::Extreme] {
                for (labelled, second_choice) in [(0, false), (40, false), (40, true)] {
                    if second_choice && !leaves_a_choice(&native, &params) {
                        continue;
                    }
                    let pool = Pool { rows: 1200, labelled, values, width: 37, second_choice, ..Pool::default() };
                    assert_eq!(
                        answer(&native, &params, &pool, 50),
                        answer(&wasm, &params, &pool, 50),
                        "{id} {params} {values:?}, {labelled} labelled, second choice: {second_choice}"
                    );
                }
            }
        }
    }
}
