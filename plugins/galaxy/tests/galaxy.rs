//! GALAXY against explicit graphs searched in full.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_galaxy::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "galaxy"));
}

struct Data {
    classes: usize,
    pool: Vec<Vec<f32>>,
    hidden: Vec<u32>,
    labelled: Vec<Vec<f32>>,
    labels: Vec<u32>,
}

impl Data {
    fn arrays(&self) -> Arrays {
        let named = [
            ("logits", matrix(self.classes, &self.pool)),
            ("labelled.logits", matrix(self.classes, &self.labelled)),
            ("labelled.labels", Array::labels(self.labels.clone())),
            ("oracle.labels", Array::labels(self.hidden.clone())),
        ];
        arrays(self.pool.len(), self.labelled.len(), self.classes, named)
    }

    fn ask(&self, batch: usize, params: Value) -> Selection {
        Question::new(&PACKAGE, "galaxy", batch).with(params).ask(&self.arrays())
    }
}

/// Two-class logits whose order is that of the rows, and labels that change once.
fn line(rows: usize, cut: usize) -> Data {
    let logits = |place: f64| vec![(-place) as f32, place as f32];
    // Between sure of class 0 and just short of class 1, so that no score is that of a predicted class.
    let place = |i: usize| -2.0 + 1.9 * (i as f64 + 0.5) / rows as f64;
    Data {
        classes: 2,
        pool: (0..rows).map(|i| logits(place(i))).collect(),
        hidden: (0..rows).map(|i| u32::from(i >= cut)).collect(),
        labelled: vec![logits(-2.5), logits(-0.01)],
        labels: vec![0, 1],
    }
}

#[test]
fn a_single_cut_is_found_by_bisection() {
    for cut in [1, 9, 40, 63] {
        // The graphs of both classes take turns and share what they learn.
        let data = line(64, cut);
        let rows = data.ask(12, json!({})).rows;
        let (below, above) = (cut as u32 - 1, cut as u32);
        let found = rows.iter().position(|&row| row == below).zip(rows.iter().position(|&row| row == above));
        let (below, above) = found.unwrap_or_else(|| panic!("cut {cut}: {rows:?}"));
        assert!(below.max(above) < 8, "cut {cut}: {rows:?}");
    }
}

/// The paper's procedure with every link written out.
fn plain(data: &Data, batch: usize, reveals: impl Fn(usize) -> u32, fallback: &[u32]) -> Vec<u32> {
    let n = data.pool.len();
    let all: Vec<&Vec<f32>> = data.pool.iter().chain(&data.labelled).collect();
    let id = |i: usize| if i < n { 3 * i + 7 } else { 3 * (i - n) + 8 };
    let score = |i: usize, c: usize| {
        let total: f64 = all[i].iter().map(|&l| f64::from(l).exp()).sum();
        let p: Vec<f64> = all[i].iter().map(|&l| f64::from(l).exp() / total).collect();
        let largest = p.iter().copied().fold(0.0, f64::max);
        p[c] - largest + 1e-8 * largest
    };
    let orders: Vec<Vec<usize>> = (0..data.classes)
        .map(|c| {
            let mut order: Vec<usize> = (0..all.len()).collect();
            order.sort_by(|&a, &b| score(a, c).total_cmp(&score(b, c)).then(id(a).cmp(&id(b))));
            order
        })
        .collect();
    let mut labels: Vec<Option<u32>> = vec![None; n];
    labels.extend(data.labels.iter().map(|&label| Some(label)));
    let (mut picks, mut reach): (Vec<u32>, usize) = (Vec::new(), 1);
    while picks.len() < batch {
        let c = picks.len() % data.classes;
        let sign = |place: usize| labels[orders[c][place]].map(|label| label == c as u32);
        let linked = |a: usize, b: usize| a.abs_diff(b) <= reach && sign(a).zip(sign(b)).is_none_or(|(x, y)| x == y);
        let search = |reach_found: &dyn Fn(usize, usize) -> bool| -> Option<Vec<usize>> {
            // Breadth first from all positive places.
            let mut from: Vec<Option<usize>> = vec![None; all.len()];
            let mut queue: Vec<usize> = (0..all.len()).filter(|&place| sign(place) == Some(true)).collect();
            queue.iter().for_each(|&place| from[place] = Some(place));
            let mut at = 0;
            while at < queue.len() {
                let place = queue[at];
                at += 1;
                let near = |next: &usize| *next != place && reach_found(place, *next);
                if let Some(end) = (0..all.len()).filter(near).find(|&next| sign(next) == Some(false)) {
                    let mut path = vec![end, place];
                    let mut last = place;
                    while from[last] != Some(last) {
                        last = from[last].unwrap();
                        path.push(last);
                    }
                    return Some(path);
                }
                for next in (0..all.len()).filter(near) {
                    if from[next].is_none() {
                        from[next] = Some(place);
                        queue.push(next);
                    }
                }
            }
            None
        };
        let path = search(&linked);
        let signs: Vec<bool> = (0..all.len()).filter_map(sign).collect();
        let row = match path {
            Some(path) => orders[c][path[path.len() / 2]],
            None if signs.contains(&true) && signs.contains(&false) && reach + 1 < all.len() => {
                reach += 1;
                continue;
            }
            None => *fallback.iter().find(|&&row| labels[row as usize].is_none()).unwrap() as usize,
        };
        assert!(row < n && labels[row].is_none(), "a path has an unlabelled middle");
        labels[row] = Some(reveals(row));
        picks.push(row as u32);
    }
    picks
}

#[test]
fn picks_are_those_of_explicit_graphs() {
    let mut fallbacks = 0.0;
    for (classes, labelled, seed) in [(2, 3, 1), (3, 6, 2), (4, 2, 3), (3, 0, 4), (5, 12, 5)] {
        let pool = noise(60, classes, 2.0, seed);
        let data = Data {
            classes,
            // Labels follow the logits mostly.
            hidden: (0..60).map(|i| if i % 4 == 0 { i % classes as u32 } else { argmax(&pool[i as usize]) }).collect(),
            pool,
            labelled: noise(labelled, classes, 2.0, seed + 50),
            labels: (0..labelled as u32).map(|i| i % classes as u32).collect(),
        };
        // Where no path exists, rows come in the order in which a query that never has one gives them.
        let never =
            Data { labelled: Vec::new(), labels: Vec::new(), hidden: vec![0; 60], pool: data.pool.clone(), classes };
        let fallback = never.ask(60, json!({})).rows;
        for (feedback, batch) in [("oracle", 45), ("pseudo", 45)] {
            let found = data.ask(batch, json!({ "feedback": feedback }));
            let reveal = |row: usize| if feedback == "oracle" { data.hidden[row] } else { argmax(&data.pool[row]) };
            let expected = plain(&data, batch, reveal, &fallback);
            assert_eq!(found.rows, expected, "{classes} classes, {labelled} labelled, {feedback}");
            fallbacks += figure(&found, "fallback_count");
        }
    }
    assert!(fallbacks > 0.0, "some query falls back");
}

fn argmax(logits: &[f32]) -> u32 {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32
}

#[test]
fn only_asked_labels_matter() {
    let data = line(64, 20);
    let rows = data.ask(10, json!({})).rows;
    let mut other = line(64, 20);
    for (row, label) in other.hidden.iter_mut().enumerate() {
        *label = if rows.contains(&(row as u32)) { *label } else { 1 - *label };
    }
    assert_eq!(other.ask(10, json!({})).rows, rows, "labels of samples that were not asked for");
    other.hidden[rows[0] as usize] ^= 1;
    assert_ne!(other.ask(10, json!({})).rows, rows, "the label of the first one");
    let needs = |params: &str| PACKAGE.needs("galaxy", params).unwrap();
    assert_eq!(needs("{}").len(), 1 + needs(r#"{"feedback": "pseudo"}"#).len(), "predictions need no oracle");
}
