//! Submodular information measures against brute force over their definitions.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_similar::PACKAGE;

type Rows = Vec<Vec<f32>>;

#[test]
fn they_conform() {
    for id in ["flqmi", "gcmi", "fl-conditional-gain"] {
        conforms(&NativeMaker::new(&PACKAGE, id));
    }
}

/// Embeddings, logits and labels of some rows.
#[derive(Clone, Default)]
struct Set {
    embeddings: Rows,
    logits: Rows,
    labels: Vec<u32>,
}

impl Set {
    fn random(rows: usize, seed: u64) -> Self {
        let labels = (0..rows as u32).map(|row| row % 3).collect();
        Self { embeddings: noise(rows, 5, 1.0, seed), logits: noise(rows, 3, 3.0, seed + 1), labels }
    }

    fn of(embeddings: &[[f32; 2]]) -> Self {
        let rows = embeddings.len();
        let embeddings = embeddings.iter().map(|row| row.to_vec()).collect();
        Self { embeddings, logits: vec![vec![0.0; 2]; rows], labels: vec![0; rows] }
    }

    fn len(&self) -> usize {
        self.embeddings.len()
    }

    /// What row `row` stands for, `labelled` with its label or without.
    fn point(&self, row: usize, space: &str, labelled: bool) -> Vec<f64> {
        let embedding = self.embeddings[row].iter().map(|&x| f64::from(x));
        if space == "embeddings" {
            return embedding.collect();
        }
        let logits = &self.logits[row];
        let top = (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        let label = if labelled { self.labels[row] as usize } else { top };
        let sum: f64 = logits.iter().map(|&z| f64::from(z).exp()).sum();
        let error = |class: usize| f64::from(logits[class]).exp() / sum - f64::from(u8::from(class == label));
        let input: Vec<f64> = embedding.chain([1.0]).collect();
        (0..logits.len()).flat_map(|class| input.iter().map(move |x| error(class) * x)).collect()
    }
}

/// A pool, rows that are pointed at, private and labelled ones.
struct Case {
    pool: Set,
    pointed: Set,
    private: Set,
    labelled: Set,
}

impl Case {
    fn random(rows: usize, seed: u64) -> Self {
        let [pool, pointed, private, labelled] =
            [(rows, 0), (6, 10), (5, 20), (4, 30)].map(|(rows, more)| Set::random(rows, 100 * seed + more));
        Self { pool, pointed, private, labelled }
    }

    fn arrays(&self) -> Arrays {
        let (width, classes) = (self.pool.embeddings[0].len(), self.pool.logits[0].len());
        let of = |set: &Set| (matrix(width, &set.embeddings), matrix(classes, &set.logits));
        let labels = |set: &Set| Array::labels(set.labels.clone());
        let [pool, pointed, private, labelled] = [&self.pool, &self.pointed, &self.private, &self.labelled].map(of);
        let named = [
            ("embeddings", pool.0),
            ("logits", pool.1),
            ("query.embeddings", pointed.0),
            ("query.logits", pointed.1),
            ("query.labels", labels(&self.pointed)),
            ("private.embeddings", private.0),
            ("private.logits", private.1),
            ("private.labels", labels(&self.private)),
            ("labelled.embeddings", labelled.0),
            ("labelled.logits", labelled.1),
            ("labelled.labels", labels(&self.labelled)),
        ];
        arrays(self.pool.len(), self.labelled.len(), classes, named)
    }

    fn ask(&self, id: &str, batch: usize, params: &Value) -> Selection {
        Question::new(&PACKAGE, id, batch).with(params.clone()).ask(&self.arrays())
    }

    /// Similarities of every row of the pool to every row of a set.
    fn similarities(&self, others: &Set, params: &Value, labelled: bool) -> Vec<Vec<f64>> {
        let space = params.get("space").map_or("embeddings", |space| space.as_str().unwrap());
        let gamma = params.get("gamma").map_or(1.0, |gamma| gamma.as_f64().unwrap());
        let is_rbf = params.get("similarity").is_some_and(|similarity| similarity == "rbf");
        let similarity = |x: &[f64], y: &[f64]| {
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            if is_rbf {
                return (-gamma * x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>()).exp();
            }
            let norms = (dot(x, x) * dot(y, y)).sqrt();
            (1.0 + if norms > 0.0 { dot(x, y) / norms } else { 0.0 }) / 2.0
        };
        let others: Vec<Vec<f64>> = (0..others.len()).map(|row| others.point(row, space, labelled)).collect();
        let of = |row: usize| {
            let own = self.pool.point(row, space, false);
            others.iter().map(|other| similarity(&own, other)).collect()
        };
        (0..self.pool.len()).map(of).collect()
    }
}

/// Each pick gains as much as any row could, and says how much. Where two gain the same but for rounding, either is
/// right.
fn assert_greedy(found: &Selection, rows: usize, value: impl Fn(&[usize]) -> f64, context: &str) {
    let mut picks: Vec<usize> = Vec::new();
    for (&row, score) in found.rows.iter().zip(&found.scores) {
        let now = value(&picks);
        let gain = |row: usize| value(&[&picks[..], &[row]].concat()) - now;
        let open = (0..rows).filter(|row| !picks.contains(row));
        let most = open.map(gain).fold(f64::NEG_INFINITY, f64::max);
        let own = gain(row as usize);
        let slack = 2e-6 * most.abs().max(1.0);
        assert!(own >= most - slack, "{context}: row {row} gains {own}, another one {most}, after {picks:?}");
        assert!((score - own).abs() < slack, "{context}: row {row} gains {own} and says {score}");
        picks.push(row as usize);
    }
}

fn assert_picks(found: &Selection, expected: &[(u32, f64)], context: &str) {
    let rows: Vec<u32> = expected.iter().map(|pick| pick.0).collect();
    assert_eq!(found.rows, rows, "{context}: {found:?}, expected {expected:?}");
    for (score, (row, gain)) in found.scores.iter().zip(expected) {
        assert!((score - gain).abs() < 2e-6 * gain.abs().max(1.0), "{context}, row {row}: {score}, expected {gain}");
    }
}

fn spaces() -> Vec<Value> {
    let mut all = Vec::new();
    for similarity in ["cosine", "rbf"] {
        for (space, labels) in [("embeddings", "predicted"), ("gradients", "predicted"), ("gradients", "provided")] {
            all.push(json!({"similarity": similarity, "gamma": 0.7, "space": space, "labels": labels}));
        }
    }
    all
}

fn with(params: &Value, more: Value) -> Value {
    let mut params = params.clone();
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

fn corner() -> Case {
    Case {
        pool: Set::of(&[[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]]),
        pointed: Set::of(&[[1.0, 0.0], [0.0, 1.0]]),
        private: Set::of(&[[0.0, 0.0]]),
        labelled: Set::of(&[]),
    }
}

#[test]
fn the_worked_examples() {
    let case = corner();
    assert_picks(&case.ask("flqmi", 3, &json!({})), &[(1, 2.6), (2, 1.2), (0, 1.1)], "eta 1");
    assert_picks(&case.ask("flqmi", 3, &json!({"eta": 0.0})), &[(1, 1.7), (2, 0.2), (0, 0.1)], "eta 0");
    assert_picks(&case.ask("gcmi", 3, &json!({})), &[(1, 0.85), (0, 0.75), (2, 0.75)], "gcmi");
    let line = |values: &[f32]| Set::of(&values.iter().map(|&x| [x, 0.0]).collect::<Vec<_>>());
    let case = Case {
        pool: line(&[0.0, 0.5, 0.8, 2.0, 5.0]),
        pointed: line(&[0.0]),
        private: line(&[2.1]),
        labelled: line(&[]),
    };
    let rbf = |nu: f64| json!({"similarity": "rbf", "nu": nu});
    let expected = [(1, 0.559_626_2), (4, 0.2), (3, 0.178_920_2)];
    assert_picks(&case.ask("fl-conditional-gain", 3, &rbf(0.0)), &expected, "nu 0");
    let expected = [(1, 0.483_750_5), (4, 0.199_955_5), (0, 0.044_239_8)];
    assert_picks(&case.ask("fl-conditional-gain", 3, &rbf(1.0)), &expected, "nu 1");
}

#[test]
fn flqmi_is_the_greedy_answer_of_its_function() {
    for (seed, space) in spaces().into_iter().enumerate() {
        for (eta, from_labelled) in [(1.0, false), (0.0, true), (0.3, true)] {
            let case = Case::random(40, seed as u64 + 1);
            let is_labelled = space["labels"] == "provided";
            let params = with(&space, json!({"eta": eta, "from_labelled": from_labelled}));
            let like = case.similarities(&case.pointed, &space, is_labelled);
            let start: Vec<f64> = (0..case.pointed.len())
                .map(|sought| {
                    let of = |row: usize| pair(&case.labelled, row, &case.pointed, sought, &space, is_labelled);
                    let rows = if from_labelled { 0..case.labelled.len() } else { 0..0 };
                    rows.map(of).fold(0.0, f64::max)
                })
                .collect();
            let value = |set: &[usize]| -> f64 {
                let covered = |sought: usize| set.iter().map(|&row| like[row][sought]).fold(start[sought], f64::max);
                let relevance = |row: &usize| like[*row].iter().copied().fold(0.0, f64::max);
                (0..case.pointed.len()).map(covered).sum::<f64>() + eta * set.iter().map(relevance).sum::<f64>()
            };
            let count = if eta == 0.0 { 3 } else { 12 };
            let found = case.ask("flqmi", count, &params);
            // What is filled up scores 0, which is what it gains.
            assert_greedy(&found, 40, value, &params.to_string());
        }
    }
}

/// The similarity of a labelled row to one that is pointed at.
fn pair(own: &Set, row: usize, others: &Set, other: usize, params: &Value, labelled: bool) -> f64 {
    let space = params["space"].as_str().unwrap();
    let (x, y) = (own.point(row, space, true), others.point(other, space, labelled));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    if params["similarity"] == "rbf" {
        let square: f64 = x.iter().zip(&y).map(|(x, y)| (x - y).powi(2)).sum();
        return (-params["gamma"].as_f64().unwrap() * square).exp();
    }
    (1.0 + dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt()) / 2.0
}

#[test]
fn gcmi_is_the_mean_similarity() {
    for (seed, space) in spaces().into_iter().enumerate() {
        let case = Case::random(60, seed as u64 + 40);
        let like = case.similarities(&case.pointed, &space, space["labels"] == "provided");
        let mean: Vec<f64> = like.iter().map(|row| row.iter().sum::<f64>() / row.len() as f64).collect();
        let mut rows: Vec<u32> = (0..60).collect();
        rows.sort_by(|&a, &b| mean[b as usize].total_cmp(&mean[a as usize]));
        let expected: Vec<(u32, f64)> = rows.iter().map(|&row| (row, mean[row as usize])).collect();
        let found = case.ask("gcmi", 60, &space);
        assert_picks(&found, &expected, &space.to_string());
        if space == spaces()[0] {
            // One vector stands for all rows that are pointed at.
            for (score, (_, mean)) in found.scores.iter().zip(&expected) {
                assert!((score - mean).abs() < 1e-14, "{score}, {mean}");
            }
        }
    }
}

#[test]
fn the_conditional_gain_is_the_greedy_answer_of_its_function() {
    for (seed, space) in spaces().into_iter().enumerate() {
        for (nu, private) in [(0.0, "provided"), (0.6, "both"), (1.0, "labelled"), (1.7, "provided")] {
            let case = Case::random(30, seed as u64 + 80);
            let params = with(&space, json!({"nu": nu, "private": private}));
            let own = case.similarities(&case.pool, &space, false);
            let provided = case.similarities(&case.private, &space, space["labels"] == "provided");
            let labelled = case.similarities(&case.labelled, &space, true);
            let largest = |row: &[f64]| row.iter().copied().fold(0.0, f64::max);
            let known: Vec<f64> = (0..30)
                .map(|v| {
                    let both = [("labelled", &provided), ("provided", &labelled)];
                    let some = both.iter().filter(|(other, _)| *other != private);
                    nu * some.map(|(_, like)| largest(&like[v])).fold(0.0, f64::max)
                })
                .collect();
            let value = |set: &[usize]| -> f64 {
                let covered = |v: usize| set.iter().map(|&row| own[row][v]).fold(0.0, f64::max);
                (0..30).map(|v| (covered(v) - known[v]).max(0.0)).sum::<f64>() / 30.0
            };
            let found = case.ask("fl-conditional-gain", 8, &params);
            let at = figure(&found, "saturated_at") as usize;
            assert_greedy(&found, 30, value, &params.to_string());
            // What is left comes by how unlike it is to what is private.
            let like = |row: &u32| {
                let both = [("labelled", &provided), ("provided", &labelled)];
                let some = both.iter().filter(|(other, _)| *other != private);
                some.map(|(_, like)| largest(&like[*row as usize])).fold(0.0, f64::max)
            };
            assert!(found.rows[at..].is_sorted_by(|a, b| like(a) <= like(b) + 1e-6), "{params}: {found:?}");
        }
    }
}

#[test]
fn coverage_is_measured_on_a_part_where_that_is_wanted() {
    let case = Case::random(60, 7);
    let some = case.ask("fl-conditional-gain", 5, &json!({"max_rows": 10}));
    assert_ne!(some.rows, case.ask("fl-conditional-gain", 5, &json!({})).rows);
    assert_eq!(some, case.ask("fl-conditional-gain", 5, &json!({"max_rows": 10})));
}

#[test]
fn relevance_alone_is_the_largest_similarity() {
    let case = Case::random(50, 3);
    let like = case.similarities(&case.pointed, &json!({}), false);
    let most: Vec<f64> = like.iter().map(|row| row.iter().copied().fold(0.0, f64::max)).collect();
    let mut rows: Vec<u32> = (0..50).collect();
    rows.sort_by(|&a, &b| most[b as usize].total_cmp(&most[a as usize]));
    assert_eq!(case.ask("flqmi", 20, &json!({"eta": 1e6})).rows, rows[..20]);
    // Everything covered: what is left comes by relevance.
    let mut covered = Case::random(50, 3);
    covered.pool.embeddings[..6].clone_from_slice(&covered.pointed.embeddings);
    let found = covered.ask("flqmi", 12, &json!({"eta": 0.0}));
    let at = figure(&found, "saturated_at");
    assert!((6.0..12.0).contains(&at) && figure(&found, "fallback_count") == 12.0 - at, "{found:?}");
    assert!((0..6).all(|row| found.rows.contains(&row)), "{found:?}");
    assert!(found.rows[at as usize..].is_sorted_by(|&a, &b| {
        let most = |row: u32| {
            covered.similarities(&covered.pointed, &json!({}), false)[row as usize].iter().copied().fold(0.0, f64::max)
        };
        most(a) >= most(b) - 1e-6
    }));
}

#[test]
fn the_order_of_what_is_pointed_at_says_nothing() {
    let case = Case::random(50, 5);
    let mut backwards = Case::random(50, 5);
    backwards.pointed.embeddings.reverse();
    for id in ["flqmi", "gcmi"] {
        assert_eq!(case.ask(id, 10, &json!({})).rows, backwards.ask(id, 10, &json!({})).rows, "{id}");
    }
}

#[test]
fn nothing_to_look_for_is_refused() {
    for id in ["flqmi", "gcmi"] {
        let case = Case { pointed: Set::default(), ..Case::random(10, 1) };
        let error = Question::new(&PACKAGE, id, 3).try_ask(&case.arrays()).unwrap_err();
        assert!(error.contains("`query.embeddings` has no rows"), "{error}");
    }
    let case = Case { private: Set::default(), ..Case::random(10, 1) };
    let open = case.ask("fl-conditional-gain", 4, &json!({}));
    assert_eq!(open.rows, Case::random(10, 1).ask("fl-conditional-gain", 4, &json!({"nu": 0.0})).rows);
    let mut apart = Case::random(10, 1);
    apart.pointed.logits.pop();
    let question = Question::new(&PACKAGE, "flqmi", 3).with(json!({"space": "gradients"}));
    assert!(question.try_ask(&apart.arrays()).unwrap_err().contains("5 rows and `query.embeddings` 6"));
}

#[test]
fn rows_without_direction_are_half_like_everything() {
    let mut case = corner();
    case.pool.embeddings[3] = vec![0.0, 0.0];
    let found = case.ask("gcmi", 4, &json!({}));
    assert_eq!((found.rows[3], found.scores[3]), (3, 0.5));
}
