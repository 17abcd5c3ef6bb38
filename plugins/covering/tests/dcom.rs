//! DCoM against its definition in plain loops.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_covering::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "dcom"));
}

/// Samples of three classes, the first of them in the pool.
struct Data {
    features: Vec<Vec<f32>>,
    logits: Vec<Vec<f32>>,
    labels: Vec<u32>,
    pool: usize,
}

impl Data {
    fn new(rows: usize, labelled: usize) -> Self {
        let features = noise(rows + labelled, 2, 1.0, 21);
        let class = |f: &Vec<f32>| (f64::from(f[1]).atan2(f64::from(f[0])) + 3.5) as u32 % 3;
        let labels: Vec<u32> = features.iter().map(class).collect();
        // Right mostly, and less sure here and there.
        let logits = noise(rows + labelled, 3, 1.0, 22);
        let right = |(row, &label): (&Vec<f32>, &u32)| {
            let mut row = row.clone();
            row[label as usize] += 1.2;
            row
        };
        Self { logits: logits.iter().zip(&labels).map(right).collect(), features, labels, pool: rows }
    }

    fn arrays(&self) -> Arrays {
        let n = self.pool;
        let named = [
            ("logits", matrix(3, &self.logits[..n])),
            ("labelled.logits", matrix(3, &self.logits[n..])),
            ("fixed_embeddings", matrix(2, &self.features[..n])),
            ("labelled.fixed_embeddings", matrix(2, &self.features[n..])),
            ("labelled.labels", Array::labels(self.labels[n..].to_vec())),
        ];
        arrays(n, self.features.len() - n, 3, named)
    }

    fn distance(&self, i: usize, j: usize) -> f64 {
        let unit = |x: &[f32]| -> [f64; 2] {
            let norm = f64::from(x[0]).hypot(f64::from(x[1]));
            [f64::from(x[0]) / norm, f64::from(x[1]) / norm]
        };
        let (a, b) = (unit(&self.features[i]), unit(&self.features[j]));
        (a[0] - b[0]).hypot(a[1] - b[1])
    }

    fn predicted(&self, i: usize) -> u32 {
        (0..3).max_by(|&a, &b| self.logits[i][a].total_cmp(&self.logits[i][b])).unwrap() as u32
    }

    fn unsure(&self, i: usize) -> f64 {
        let total: f64 = self.logits[i].iter().map(|&l| f64::from(l).exp()).sum();
        let mut p: Vec<f64> = self.logits[i].iter().map(|&l| f64::from(l).exp() / total).collect();
        p.sort_by(|a, b| b.total_cmp(a));
        1.0 - (p[0] - p[1])
    }

    fn coverage(&self, radii: &[f64]) -> Vec<bool> {
        let is_near = |i: usize| radii.iter().enumerate().any(|(l, &r)| self.distance(i, self.pool + l) < r);
        (0..self.features.len()).map(is_near).collect()
    }
}

fn share(marks: &[bool]) -> f64 {
    marks.iter().filter(|&&mark| mark).count() as f64 / marks.len() as f64
}

/// One round without a state: (picks, mean radius, competence).
fn plain(data: &Data, batch: usize, first: f64) -> (Vec<u32>, f64, f64) {
    let (all, n) = (data.features.len(), data.pool);
    let mut radii = vec![first; all - n];
    let purity = 0.4 + 0.2 * share(&data.coverage(&radii));
    for (l, radius) in radii.iter_mut().enumerate() {
        let (mut low, mut high) = (0.0, 1.1);
        while high - low > 0.05 {
            let middle = (low + high) / 2.0;
            let ball: Vec<usize> = (0..all).filter(|&i| data.distance(i, n + l) < middle).collect();
            let pure = ball.iter().filter(|&&i| data.predicted(i) == data.labels[n + l]).count();
            if pure as f64 / ball.len() as f64 >= purity { low = middle } else { high = middle }
        }
        *radius = ((low + high) / 2.0 * 100.0).round() / 100.0;
    }
    let covered = data.coverage(&radii);
    let c = share(&covered);
    let s = (1.0 + (-50.0 * 0.2f64).exp()) / (1.0 + (-50.0 * (c - 0.8)).exp());
    let s = (s * 1000.0).round() / 1000.0;
    let mean = if radii.is_empty() { first } else { radii.iter().sum::<f64>() / radii.len() as f64 };
    let u: Vec<f64> = (0..all).map(|i| data.unsure(i)).collect();
    let (low, high) = (u.iter().copied().fold(9.0, f64::min), u.iter().copied().fold(0.0, f64::max));
    let mut e: Vec<f64> = u.iter().map(|u| (u - low) / (high - low)).collect();
    e[n..].fill(0.0);
    let mut covered = covered;
    let mut picks: Vec<u32> = Vec::new();
    while picks.len() < batch {
        let is_open = |i: &usize| *i < n && !picks.contains(&(*i as u32));
        let degree = |i: usize| (0..all).filter(|&j| !covered[j] && data.distance(i, j) < mean).count() as f64;
        let r: Vec<f64> = (0..all).map(|i| if is_open(&i) { degree(i) } else { 0.0 }).collect();
        let scale = |v: &[f64]| -> Vec<f64> {
            let (low, high) = (v.iter().copied().fold(9e9, f64::min), v.iter().copied().fold(-9e9, f64::max));
            v.iter().map(|x| if high > low { (x - low) / (high - low) } else { 0.0 }).collect()
        };
        let (es, rs) = (scale(&e), scale(&r));
        let score = |i: usize| s * es[i] + (1.0 - s) * rs[i];
        let best = (0..n).filter(is_open).max_by(|&a, &b| score(a).total_cmp(&score(b)).then(b.cmp(&a))).unwrap();
        if score(best) == 0.0 {
            break;
        }
        picks.push(best as u32);
        e[best] = 0.0;
        for (j, covered) in covered.iter_mut().enumerate() {
            *covered |= data.distance(best, j) < mean;
        }
    }
    (picks, mean, s)
}

fn question(batch: usize, params: Value) -> Question<'static> {
    Question::new(&PACKAGE, "dcom", batch).with(params)
}

#[test]
fn a_round_is_its_definition() {
    let mut competences = Vec::new();
    for labelled in [0, 1, 5, 12, 40] {
        let data = Data::new(80, labelled);
        let found = question(10, json!({})).ask(&data.arrays());
        let (picks, mean, competence) = plain(&data, 10, 0.6);
        assert!((figure(&found, "mean_delta") - mean).abs() < 1e-12, "{labelled} labelled");
        assert_eq!(figure(&found, "competence"), competence, "{labelled} labelled");
        assert_eq!(found.rows[..picks.len()], picks, "{labelled} labelled");
        assert_eq!(figure(&found, "fallback_count"), (10 - picks.len()) as f64, "{labelled} labelled");
        competences.push(competence);
    }
    assert!(competences.contains(&0.0) && competences.iter().any(|&s| s > 0.1), "both ends are tried: {competences:?}");
}

#[test]
fn a_radius_is_the_middle_of_the_last_interval() {
    // [0, 1.1] halved until it is at most 0.05 wide: five times.
    for (agrees, mean) in [(true, 1.08), (false, 0.02)] {
        let mut data = Data::new(80, 6);
        for logits in &mut data.logits {
            *logits = vec![9.0, 0.0, 0.0];
        }
        data.labels.fill(u32::from(!agrees));
        let found = question(3, json!({})).ask(&data.arrays());
        assert!((figure(&found, "mean_delta") - mean).abs() < 1e-12, "{agrees}: {}", figure(&found, "mean_delta"));
    }
}

/// The sample of every entry of a state, with its radius.
fn entries(selection: &Selection) -> Vec<(u64, f64)> {
    let state = selection.state.as_ref().unwrap();
    let entry = |bytes: &[u8]| {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        (number(0), f64::from_bits(number(8)))
    };
    state[8..].chunks(16).map(entry).collect()
}

#[test]
fn known_radii_stay_and_new_labels_are_measured() {
    let data = Data::new(80, 12);
    let first = question(10, json!({})).ask(&data.arrays());
    let known = entries(&first);
    assert_eq!(known.iter().map(|entry| entry.0).collect::<Vec<_>>(), data.arrays().labelled_ids().to_vec());
    // Half of the entries are lost, the others changed beyond what a measurement gives.
    let mut state = first.state.clone().unwrap();
    state.truncate(8 + 6 * 16);
    for entry in state[8..].chunks_mut(16) {
        entry[8..].copy_from_slice(&0.777f64.to_le_bytes());
    }
    let second = Question { state: Some(state), ..question(10, json!({})) }.ask(&data.arrays());
    let radii: Vec<f64> = entries(&second).iter().map(|entry| entry.1).collect();
    assert_eq!(radii[..6], [0.777; 6]);
    assert!(radii[6..].iter().all(|&radius| radius != 0.777 && radius > 0.0 && radius <= 1.1), "{radii:?}");
}

#[test]
fn without_labels_it_is_probcover() {
    let data = Data::new(80, 0);
    let found = question(10, json!({"initial_delta": 0.3})).ask(&data.arrays());
    let covering = Question::new(&PACKAGE, "probcover", 10).with(json!({"delta": 0.3})).ask(&data.arrays());
    assert_eq!(found.rows, covering.rows);
    let estimated = question(10, json!({"initial_delta": "estimate"})).ask(&data.arrays());
    let other = Question::new(&PACKAGE, "probcover", 10).ask(&data.arrays());
    assert!(figure(&estimated, "mean_delta") > 0.0 && figure(&other, "delta") > 0.0);
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    for params in [
        json!({"delta_resolution": 1.1}),
        json!({"delta_resolution": 0.0}),
        json!({"max_delta": 0.0}),
        json!({"a": 1.0}),
        json!({"k": 0.0}),
        json!({"initial_delta": 0.0}),
    ] {
        assert!(question(1, params.clone()).try_ask(&Data::new(5, 0).arrays()).is_err(), "{params}");
    }
    let broken = Question { state: Some(vec![1, 2, 3]), ..question(1, json!({})) };
    assert!(broken.try_ask(&Data::new(5, 0).arrays()).unwrap_err().contains("3 bytes"));
}
