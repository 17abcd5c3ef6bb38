//! ALFA-Mix against mixing by hand.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use std::sync::Arc;

use querist_core::{Array, Arrays, Head, LinearHead, ServiceError};
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_alfa_mix::PACKAGE;

#[test]
fn it_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "alfa-mix"));
}

const CLASSES: usize = 4;
const WIDTH: usize = 9;

struct Data {
    pool: Vec<Vec<f32>>,
    labelled: Vec<Vec<f32>>,
    labels: Vec<u32>,
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
}

impl Data {
    /// With `dead` units as a ReLU leaves them, anchors and samples agree in some coordinates.
    fn new(seed: u64, labels: &[u32], is_dead: bool) -> Self {
        let embeddings = |rows, salt| {
            let mut rows = noise(rows, WIDTH, 1.5, seed * 10 + salt);
            if is_dead {
                rows.iter_mut().flatten().for_each(|x| *x = if *x < -0.3 { 0.0 } else { *x + 0.31 });
                // A unit that is dead everywhere but in half of the pool.
                rows.iter_mut().step_by(2).for_each(|row| row[0] = 0.0);
            }
            rows
        };
        let mut labelled = embeddings(labels.len(), 2);
        if is_dead {
            labelled.iter_mut().for_each(|row| row[0] = 0.0);
        }
        Self {
            pool: embeddings(40, 1),
            labelled,
            labels: labels.to_vec(),
            weights: noise(CLASSES, WIDTH, 1.0, seed * 10 + 3),
            bias: noise(1, CLASSES, 0.5, seed * 10 + 4).remove(0),
        }
    }

    fn logits(&self, z: &[f64]) -> Vec<f64> {
        let dot = |w: &Vec<f32>| w.iter().zip(z).map(|(&w, z)| f64::from(w) * z).sum::<f64>();
        self.weights.iter().zip(&self.bias).map(|(w, &b)| dot(w) + f64::from(b)).collect()
    }

    fn arrays(&self) -> Arrays {
        let logits = |row: &Vec<f32>| -> Vec<f32> { self.logits(&wide(row)).iter().map(|&l| l as f32).collect() };
        let named = [
            ("logits", matrix(CLASSES, &self.pool.iter().map(logits).collect::<Vec<_>>())),
            ("embeddings", matrix(WIDTH, &self.pool)),
            ("labelled.embeddings", matrix(WIDTH, &self.labelled)),
            ("labelled.labels", Array::labels(self.labels.clone())),
            ("head.w", matrix(WIDTH, &self.weights)),
        ];
        arrays(self.pool.len(), self.labels.len(), CLASSES, named)
    }

    fn anchors(&self, skip_missing: bool) -> Vec<Vec<f32>> {
        let mean = |of: &dyn Fn(u32) -> bool| -> Option<Vec<f32>> {
            let rows: Vec<&Vec<f32>> =
                self.labelled.iter().zip(&self.labels).filter(|(_, label)| of(**label)).map(|(row, _)| row).collect();
            let column = |d: usize| rows.iter().map(|row| f64::from(row[d])).sum::<f64>() / rows.len() as f64;
            (!rows.is_empty()).then(|| (0..WIDTH).map(|d| column(d) as f32).collect())
        };
        let of_class = |class: usize| {
            mean(&|label| label as usize == class).or_else(|| if skip_missing { None } else { mean(&|_| true) })
        };
        (0..CLASSES).filter_map(of_class).collect()
    }

    /// Whether mixing the anchor in along the gradient, at this cap, flips the prediction.
    fn flips(&self, z: &[f32], anchor: &[f32], cap: f64) -> bool {
        let before = wide(z);
        let logits = self.logits(&before);
        let predicted = argmax(&logits);
        let total: f64 = logits.iter().map(|l| l.exp()).sum();
        let p = |c: usize| logits[c].exp() / total - f64::from(u8::from(c == predicted));
        let gradient: Vec<f64> =
            (0..WIDTH).map(|d| (0..CLASSES).map(|c| p(c) * f64::from(self.weights[c][d])).sum()).collect();
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let towards: Vec<f64> = wide(anchor).iter().zip(&before).map(|(a, z)| a - z).collect();
        let reach = towards.iter().map(|t| t * t).sum::<f64>().sqrt();
        let epsilon = cap / (WIDTH as f64).sqrt();
        let share = |d: usize| if towards[d] == 0.0 { 0.0 } else { epsilon * reach * gradient[d] / norm / towards[d] };
        let mixed: Vec<f64> =
            (0..WIDTH).map(|d| (1.0 - share(d)) * before[d] + share(d) * f64::from(anchor[d])).collect();
        argmax(&self.logits(&mixed)) != predicted
    }
}

fn wide(row: &[f32]) -> Vec<f64> {
    row.iter().map(|&x| f64::from(x)).collect()
}

fn argmax(values: &[f64]) -> usize {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]).then(b.cmp(&a))).unwrap()
}

fn ask(data: &Data, batch: usize, seed: u64, params: Value) -> Selection {
    Question { seed, ..Question::new(&PACKAGE, "alfa-mix", batch).with(params) }.ask(&data.arrays())
}

/// The candidates, which come first and all where the whole pool is wanted.
fn candidates(data: &Data, seed: u64, params: Value) -> Vec<u32> {
    let found = ask(data, data.pool.len(), seed, params);
    let mut rows = found.rows[..figure(&found, "candidates") as usize].to_vec();
    rows.sort_unstable();
    rows
}

#[test]
fn candidates_are_those_of_mixing_by_hand() {
    let mut sizes = Vec::new();
    for seed in 0..10 {
        for (labels, is_dead) in [(&[0, 1, 2, 3, 0, 2][..], false), (&[0, 1, 1, 3][..], true), (&[2][..], true)] {
            let data = Data::new(seed, labels, is_dead);
            for missing in ["global-mean", "skip"] {
                let anchors = data.anchors(missing == "skip");
                let mut before = Vec::new();
                for (step, cap) in [(0.2, 0.2), (0.5, 0.5), (1.0, 1.0), (1.0, 2.0)] {
                    let flips = |z: &Vec<f32>| anchors.iter().any(|anchor| data.flips(z, anchor, cap));
                    let expected: Vec<u32> = (0..40).filter(|&row| flips(&data.pool[row as usize])).collect();
                    let params = json!({"alpha_cap": step, "max_cap": cap, "anchors_missing": missing});
                    let found = candidates(&data, 1, params.clone());
                    assert_eq!(found, expected, "{params}, seed {seed}, {labels:?}");
                    assert!(before.iter().all(|row| found.contains(row)), "a larger cap flips no fewer");
                    sizes.push(found.len());
                    before = found;
                }
            }
        }
    }
    assert!(sizes.iter().any(|&n| n > 0 && n < 10) && sizes.iter().any(|&n| n > 20), "{sizes:?}");
}

/// Asked for its logits and gradients, a linear head has the candidates that its weights give.
#[test]
fn a_head_that_is_asked_and_one_that_is_known_pick_alike() {
    let mut sizes = Vec::new();
    for seed in 0..10 {
        for (labels, is_dead) in [(&[0, 1, 2, 3, 0, 2][..], false), (&[0, 1, 1, 3][..], true)] {
            let data = Data::new(seed, labels, is_dead);
            let known = data.arrays();
            let biases = Array::f32(vec![CLASSES], data.bias.clone()).unwrap();
            let head = LinearHead::new(known.get("head.w").unwrap(), &biases).unwrap();
            let asked = known.part(known.names().filter(|&name| name != "head.w"), None).with_head(Arc::new(head));
            for variant in ["closed-form", "random", "optimised"] {
                for (step, most) in [(0.1, 0.5), (0.5, 2.0)] {
                    for missing in ["global-mean", "skip"] {
                        let params = json!({"variant": variant, "alpha_cap": step, "max_cap": most, "lr": 0.3,
                            "anchors_missing": missing});
                        let question = Question::new(&PACKAGE, "alfa-mix", 5 + seed as usize).with(params.clone());
                        let question = Question { seed, ..question };
                        let found = question.ask(&asked);
                        assert_eq!(found, question.ask(&known), "seed {seed}, {labels:?}, {params}");
                        sizes.push(figure(&found, "candidates"));
                    }
                }
            }
        }
    }
    assert!(sizes.iter().any(|&n| n > 0.0 && n < 10.0) && sizes.iter().any(|&n| n > 20.0), "{sizes:?}");
}

/// Logits `|z|` and a constant: which way is up depends on where one stands.
#[derive(Debug)]
struct Fold;

impl Head for Fold {
    fn width(&self) -> usize {
        1
    }

    fn classes(&self) -> usize {
        2
    }

    fn logits(&self, embeddings: &[f32], logits: &mut [f32]) -> Result<(), ServiceError> {
        embeddings.iter().zip(logits.chunks_mut(2)).for_each(|(z, logits)| logits.copy_from_slice(&[z.abs(), 1.0]));
        Ok(())
    }

    fn gradients(&self, embeddings: &[f32], classes: &[u32], gradients: &mut [f32]) -> Result<(), ServiceError> {
        for ((z, class), gradient) in embeddings.iter().zip(classes).zip(gradients) {
            let p = 1.0 / (1.0 + (1.0 - z.abs()).exp());
            *gradient = z.signum() * if *class == 0 { p - 1.0 } else { p };
        }
        Ok(())
    }
}

#[test]
fn a_bent_head_is_followed_to_both_sides() {
    // Anchors at 8 and, for class 1, at -8; what is mixed in goes along the gradient, whatever side the anchor is on.
    let pool = [0.1f32, -0.1, 1.1, -1.1, 0.9, -0.9, 3.0, -3.0];
    let is_candidate = |z: f32, cap: f64| {
        let named = [
            ("logits", matrix(2, &[vec![z.abs(), 1.0]])),
            ("embeddings", matrix(1, &[vec![z]])),
            ("labelled.embeddings", matrix(1, &[vec![8.0], vec![-8.0]])),
            ("labelled.labels", Array::labels(vec![0, 1])),
        ];
        let params = json!({"alpha_cap": cap, "max_cap": cap});
        let question = Question::new(&PACKAGE, "alfa-mix", 1).with(params);
        figure(&question.ask(&arrays(1, 2, 2, named).with_head(Arc::new(Fold))), "candidates") > 0.0
    };
    let candidates = |cap: f64| -> Vec<usize> { (0..pool.len()).filter(|&row| is_candidate(pool[row], cap)).collect() };
    // A row moves by the cap times its distance to the farther anchor, 8 + |z|, away from its class: towards 0 from
    // outside of [-1, 1], and outwards from within, if that takes it past 1.
    assert!(candidates(0.01).is_empty(), "no row gets to 1: 1.1 - 0.01 * 9.1 > 1");
    assert_eq!(candidates(0.0111), [2, 3], "1.1 - 0.0111 * 9.1 < 1, but 0.9 + 0.0111 * 8.9 < 1");
    assert_eq!(candidates(0.0114), [2, 3, 4, 5]);
    assert_eq!(candidates(0.112), [0, 1, 2, 3, 4, 5], "0.1 + 0.112 * 8.1 > 1");
    assert_eq!(candidates(0.2), [0, 1, 2, 3, 4, 5, 6, 7], "3 - 0.2 * 11 < 1");
    // A long step past 0 leads out on the other side again.
    assert_eq!(candidates(0.5), [0, 1, 4, 5, 6, 7], "1.1 - 0.5 * 6.9 and 1.1 - 0.5 * 9.1 < -1, but 3 - 0.5 * 5 > -1");
    assert_eq!(candidates(1.0), [0, 1, 4, 5], "3 - 5 and 3 - 11 are beyond -1 too");
}

#[test]
fn the_cap_grows_until_there_are_more_than_enough() {
    let data = Data::new(3, &[0, 1, 2, 3], false);
    let count = |cap: f64| candidates(&data, 1, json!({"alpha_cap": cap, "max_cap": cap})).len();
    for batch in [1, 5, 10] {
        let found = ask(&data, batch, 1, json!({"alpha_cap": 0.1}));
        let cap = figure(&found, "cap");
        assert!((cap - 1.0).abs() < 1e-9 || count(cap) > batch, "batch {batch}, cap {cap}");
        assert!((cap - 0.1).abs() < 1e-9 || count(cap - 0.1) <= batch, "batch {batch}, cap {cap}");
        assert_eq!(figure(&found, "candidates"), count(cap) as f64);
    }
}

#[test]
fn saturated_samples_are_no_candidates() {
    let mut data = Data::new(1, &[0, 1, 2, 3], false);
    // Every sample is surer than exp can say, so its gradient is exactly 0.
    data.bias = vec![9000.0, 0.0, 0.0, 0.0];
    let found = ask(&data, 3, 1, json!({"alpha_cap": 1.0, "max_cap": 100.0}));
    assert_eq!((figure(&found, "candidates"), figure(&found, "fallback_count")), (0.0, 3.0));
}

#[test]
fn without_labels_there_is_nothing_to_mix_in() {
    for variant in ["closed-form", "random", "optimised"] {
        let found = ask(&Data::new(1, &[], false), 3, 1, json!({ "variant": variant }));
        assert_eq!(figure(&found, "fallback_count"), 3.0, "{variant}");
    }
}

#[test]
fn random_mixtures_flip_as_often_as_the_normal_law_says() {
    // One coordinate: logits 0 and 1 - 2 alpha x, so that shares above half of 1 / x flip.
    let (x, cap) = (4.0f64, 0.5);
    let named = || {
        [
            ("logits", matrix(2, &vec![vec![0.0, -1.0]; 4000])),
            ("embeddings", matrix(1, &vec![vec![0.0]; 4000])),
            ("labelled.embeddings", matrix(1, &[vec![x as f32]])),
            ("labelled.labels", Array::labels(vec![0])),
            ("head.w", matrix(1, &[vec![0.0], vec![1.0]])),
        ]
    };
    let params = json!({"variant": "random", "alpha_cap": cap, "max_cap": cap, "anchors_missing": "skip", "n_init": 1,
        "max_iter": 1});
    let question = Question::new(&PACKAGE, "alfa-mix", 10).with(params);
    let found = question.ask(&arrays(4000, 1, 2, named()));
    // alpha x > 1, with alpha of mean and deviation .25: half of the samples.
    let share = figure(&found, "candidates") / 4000.0;
    assert!((share - 0.5).abs() < 5.0 * (0.25f64 / 4000.0).sqrt(), "{share}");
}

#[test]
fn learning_flips_what_some_mixture_flips() {
    let mut learnt_more = 0;
    for seed in 0..6 {
        let data = Data::new(seed, &[0, 1, 2, 3], false);
        let params = |variant: &str| json!({"variant": variant, "alpha_cap": 0.25, "max_cap": 0.25, "lr": 1.0});
        let random = candidates(&data, seed, params("random"));
        let learnt = candidates(&data, seed, params("optimised"));
        // Learning starts from the same shares and looks at them first.
        assert!(random.iter().all(|row| learnt.contains(row)), "{random:?}, {learnt:?}");
        learnt_more += usize::from(learnt.len() > random.len());
        // Nothing flips that the best shares, all or nothing by coordinate, cannot flip.
        for &row in &learnt {
            let z = wide(&data.pool[row as usize]);
            let logits = data.logits(&z);
            let predicted = argmax(&logits);
            let can = |anchor: &Vec<f32>, class: usize| {
                let gain = |d: usize| {
                    let w = f64::from(data.weights[class][d]) - f64::from(data.weights[predicted][d]);
                    (0.25 * (f64::from(anchor[d]) - z[d]) * w).max(0.0)
                };
                logits[class] + (0..WIDTH).map(gain).sum::<f64>() > logits[predicted] - 1e-5
            };
            let classes = || (0..CLASSES).filter(|&class| class != predicted);
            assert!(data.anchors(false).iter().any(|anchor| classes().any(|class| can(anchor, class))), "row {row}");
        }
    }
    assert!(learnt_more > 0, "learning finds no more than chance");
}

#[test]
fn the_preset_is_the_random_variant() {
    let data = Data::new(2, &[0, 1, 2, 3], false);
    let by_hand = json!({"variant": "random", "alpha_cap": 0.03125});
    assert_eq!(ask(&data, 7, 5, json!({"preset": "al-baselines"})), ask(&data, 7, 5, by_hand));
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    let data = Data::new(1, &[0], false);
    for params in [json!({"alpha_cap": 0.0}), json!({"max_cap": 0.1}), json!({"lr": 0.0}), json!({"l2_coef": -1.0})] {
        let question = Question::new(&PACKAGE, "alfa-mix", 1).with(params.clone());
        assert!(question.try_ask(&data.arrays()).is_err(), "{params}");
    }
}
