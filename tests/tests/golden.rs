//! Picks and scores against independent code: `golden/make.py` computes what is expected, in Python and float64.

use std::collections::BTreeMap;

use querist_core::{Array, Arrays, Question, Round, Seeds};
use querist_protocol::{Selection, TILE_BYTES};
use querist_tests::{both, workspace};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A golden file.
#[derive(Deserialize)]
struct Golden<I, C> {
    /// What whole numbers stand for: the share of one.
    scale: f64,
    root: u64,
    round: u32,
    inputs: I,
    cases: Vec<C>,
}

/// A matrix as whole numbers over the scale.
#[derive(Deserialize)]
struct Table {
    shape: [usize; 2],
    values: Vec<i64>,
}

impl Table {
    /// The first rows.
    fn rows(&self, rows: usize, scale: f64) -> Array {
        let values: Vec<f32> =
            self.values[..rows * self.shape[1]].iter().map(|&whole| (whole as f64 / scale) as f32).collect();
        Array::f32(vec![rows, self.shape[1]], values).unwrap()
    }

    fn all(&self, scale: f64) -> Array {
        self.rows(self.shape[0], scale)
    }
}

fn read<I: DeserializeOwned, C: DeserializeOwned>(name: &str) -> Golden<I, C> {
    let path = workspace().join(format!("tests/golden/{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl<I, C> Golden<I, C> {
    /// Asks the component and its native twin, one after the other, and checks each answer.
    fn ask(&self, id: &str, params: &Value, arrays: &Arrays, batch: usize, check: impl Fn(&Selection, &str)) {
        for (maker, route) in both(id) {
            let mut strategy = maker.make(params, 2, TILE_BYTES).unwrap();
            let question = Question::new(arrays, batch).in_round(Round(self.round)).with_seeds(Seeds::new(self.root));
            let selection = strategy.answer(&question).unwrap().selection;
            check(&selection, &format!("{id} {params} ({route})"));
        }
    }
}

fn arrays<const K: usize>(rows: usize, labelled: usize, classes: usize, named: [(&str, Array); K]) -> Arrays {
    let named: BTreeMap<String, Array> = named.into_iter().map(|(name, array)| (name.to_owned(), array)).collect();
    let ids: Vec<u64> = (0..rows as u64).collect();
    let labelled_ids: Vec<u64> = (0..labelled as u64).map(|row| row + 1_000_000).collect();
    Arrays::new(ids, labelled_ids, classes, named).unwrap()
}

fn assert_close(found: &[f64], expected: &[f64], relative: f64, context: &str) {
    assert_eq!(found.len(), expected.len(), "{context}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= relative * expected.abs(), "{context}, score {at}: {found:e}, expected {expected:e}");
    }
}

#[test]
fn uncertainty_is_that_of_two_hundred_digits() {
    #[derive(Deserialize)]
    struct Case {
        name: String,
        logits: Table,
        expected: BTreeMap<String, Ranking>,
    }
    #[derive(Deserialize)]
    struct Ranking {
        rows: Vec<u32>,
        scores: Vec<f64>,
    }
    let golden: Golden<BTreeMap<String, Table>, Case> = read("uncertainty");
    for case in &golden.cases {
        let [rows, classes] = case.logits.shape;
        let arrays = arrays(rows, 0, classes, [("logits", case.logits.all(golden.scale))]);
        assert_eq!(case.expected.len(), 4);
        for (id, expected) in &case.expected {
            golden.ask(id, &json!({}), &arrays, rows, |selection, context| {
                let context = format!("{context}, {}", case.name);
                assert_eq!(selection.rows, expected.rows, "{context}");
                assert_close(&selection.scores, &expected.scores, 1e-12, &context);
            });
        }
    }
}

#[test]
fn k_center_greedy_is_the_plain_loop() {
    #[derive(Deserialize)]
    struct Inputs {
        embeddings: Table,
        labelled: Table,
    }
    #[derive(Deserialize)]
    struct Case {
        params: Value,
        labelled: usize,
        rows: Vec<u32>,
        scores: Vec<f64>,
    }
    let golden: Golden<Inputs, Case> = read("k_center_greedy");
    let pool = golden.inputs.embeddings.all(golden.scale);
    for case in &golden.cases {
        let labelled = golden.inputs.labelled.rows(case.labelled, golden.scale);
        let named = [("embeddings", pool.clone()), ("labelled.embeddings", labelled)];
        let arrays = arrays(pool.rows(), case.labelled, 2, named);
        golden.ask("k-center-greedy", &case.params, &arrays, case.rows.len(), |selection, context| {
            assert_eq!(selection.rows, case.rows, "{context}, {} labelled", case.labelled);
            // A cosine distance is a difference from 1, so its error does not shrink with it.
            assert_close(&selection.scores, &case.scores, 1e-11, context);
        });
    }
}

#[test]
fn badge_is_seeding_on_explicit_outer_products() {
    #[derive(Deserialize)]
    struct Inputs {
        logits: Table,
        embeddings: Table,
    }
    #[derive(Deserialize)]
    struct Case {
        params: Value,
        rows: Vec<u32>,
    }
    let golden: Golden<Inputs, Case> = read("badge");
    let Inputs { logits, embeddings } = &golden.inputs;
    let named = [("logits", logits.all(golden.scale)), ("penultimate", embeddings.all(golden.scale))];
    let arrays = arrays(logits.shape[0], 0, logits.shape[1], named);
    for case in &golden.cases {
        golden.ask("badge", &case.params, &arrays, case.rows.len(), |selection, context| {
            assert_eq!(selection.rows, case.rows, "{context}");
        });
    }
}

#[test]
fn kmeans_is_as_good_as_scikit_learns() {
    #[derive(Deserialize)]
    struct Case {
        name: String,
        embeddings: Table,
        batch: usize,
        inertia: f64,
        /// Rows nearest to the centres, ascending, where the clusters leave no doubt.
        rows: Option<Vec<u32>>,
    }
    let golden: Golden<BTreeMap<String, Table>, Case> = read("kmeans");
    let params = json!({"n_init": 50, "max_iter": 300});
    for case in &golden.cases {
        let arrays = arrays(case.embeddings.shape[0], 0, 2, [("embeddings", case.embeddings.all(golden.scale))]);
        golden.ask("kmeans", &params, &arrays, case.batch, |selection, context| {
            let context = format!("{context}, {}", case.name);
            let (_, inertia) = selection.diagnostics.iter().find(|(name, _)| name == "inertia").unwrap();
            assert!(*inertia <= 1.02 * case.inertia, "{context}: {inertia}, scikit-learn has {}", case.inertia);
            if let Some(expected) = &case.rows {
                let mut rows = selection.rows.clone();
                rows.sort_unstable();
                assert_eq!(&rows, expected, "{context}");
            }
        });
    }
}

#[test]
fn random_takes_the_largest_keys() {
    #[derive(Deserialize)]
    struct Inputs {
        ids: Vec<u64>,
    }
    #[derive(Deserialize)]
    struct Case {
        rows: Vec<u32>,
        scores: Vec<f64>,
    }
    let golden: Golden<Inputs, Case> = read("random");
    let arrays = Arrays::new(golden.inputs.ids.clone(), Vec::new(), 2, BTreeMap::new()).unwrap();
    for case in &golden.cases {
        golden.ask("random", &json!({}), &arrays, case.rows.len(), |selection, context| {
            assert_eq!(selection.rows, case.rows, "{context}");
            assert_eq!(selection.scores, case.scores, "{context}");
        });
    }
}
