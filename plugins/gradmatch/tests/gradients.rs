//! Both strategies against explicit gradients.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_sdk::protocol::Selection;
use querist_testkit::question::{arrays, figure, matrix, noise};
use querist_testkit::{NativeMaker, Question, conforms};
use serde_json::{Value, json};
use strategy_gradmatch::PACKAGE;

type Rows = Vec<Vec<f32>>;

#[test]
fn they_conform() {
    for id in ["glister", "gradmatch"] {
        conforms(&NativeMaker::new(&PACKAGE, id));
    }
}

/// Logits and inputs of the last layer, with labels where there are some.
#[derive(Clone, Default)]
struct Set {
    logits: Rows,
    inputs: Rows,
    labels: Vec<u32>,
}

impl Set {
    fn random(rows: usize, seed: u64) -> Self {
        let labels = (0..rows as u32).map(|row| (row * 7) % 3).collect();
        Self { logits: noise(rows, 3, 2.5, seed), inputs: noise(rows, 4, 1.0, seed + 1), labels }
    }

    /// Probabilities of two classes, and one input each.
    fn of(rows: &[([f32; 2], f32)]) -> Self {
        let logits = rows.iter().map(|(p, _)| p.map(f32::ln).to_vec()).collect();
        let inputs = rows.iter().map(|(_, h)| vec![*h]).collect();
        Self { logits, inputs, labels: vec![0; rows.len()] }
    }

    fn input(&self, row: usize) -> Vec<f64> {
        self.inputs[row].iter().map(|&x| f64::from(x)).chain([1.0]).collect()
    }

    /// The gradient of a row, with its label or with its prediction.
    fn gradient(&self, row: usize, labelled: bool) -> Vec<f64> {
        let logits: Vec<f64> = self.logits[row].iter().map(|&z| f64::from(z)).collect();
        self.gradient_at(row, &logits, labelled)
    }

    fn gradient_at(&self, row: usize, logits: &[f64], labelled: bool) -> Vec<f64> {
        let top = (0..logits.len()).rev().max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        let label = if labelled { self.labels[row] as usize } else { top };
        let sum: f64 = logits.iter().map(|z| z.exp()).sum();
        let input = self.input(row);
        let error = |class: usize| logits[class].exp() / sum - f64::from(u8::from(class == label));
        (0..logits.len()).flat_map(|class| input.iter().map(move |x| error(class) * x)).collect()
    }
}

struct Case {
    pool: Set,
    held_out: Set,
    labelled: Set,
}

impl Case {
    fn random(rows: usize, seed: u64) -> Self {
        let [pool, held_out, labelled] =
            [(rows, 0), (12, 10), (7, 20)].map(|(n, more)| Set::random(n, 90 * seed + more));
        Self { pool, held_out, labelled }
    }

    fn arrays(&self) -> Arrays {
        let (classes, width) = (self.pool.logits[0].len(), self.pool.inputs[0].len());
        let of = |set: &Set| (matrix(classes, &set.logits), matrix(width, &set.inputs));
        let [pool, held_out, labelled] = [&self.pool, &self.held_out, &self.labelled].map(of);
        let named = [
            ("logits", pool.0),
            ("penultimate", pool.1),
            ("calibration.logits", held_out.0),
            ("calibration.penultimate", held_out.1),
            ("calibration.labels", Array::labels(self.held_out.labels.clone())),
            ("labelled.logits", labelled.0),
            ("labelled.penultimate", labelled.1),
            ("labelled.labels", Array::labels(self.labelled.labels.clone())),
        ];
        arrays(self.pool.logits.len(), self.labelled.logits.len(), classes, named)
    }

    fn ask(&self, id: &str, batch: usize, params: &Value) -> Selection {
        Question::new(&PACKAGE, id, batch).with(params.clone()).ask(&self.arrays())
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

fn mean(all: &[Vec<f64>]) -> Vec<f64> {
    (0..all[0].len()).map(|at| all.iter().map(|row| row[at]).sum::<f64>() / all.len() as f64).collect()
}

fn small() -> Case {
    Case {
        pool: Set::of(&[([0.7, 0.3], 1.0), ([0.4, 0.6], 2.0), ([0.5, 0.5], 0.0)]),
        held_out: Set::of(&[([0.2, 0.8], 1.0), ([0.6, 0.4], 1.0)]),
        labelled: Set::default(),
    }
}

#[test]
fn the_worked_examples() {
    let found = small().ask("glister", 2, &json!({"lr": 0.5}));
    assert_eq!(found.rows, [0, 2]);
    for (score, expected) in found.scores.iter().zip([0.72, 0.477_451_7]) {
        assert!((score - expected).abs() < 1e-6, "{:?}", found.scores);
    }
    let found = small().ask("gradmatch", 2, &json!({}));
    assert_eq!(found.rows, [2, 1]);
    assert!((figure(&found, "residual") - 0.700_793_2).abs() < 1e-6, "{found:?}");
    let one = small().ask("gradmatch", 1, &json!({}));
    assert_eq!(one.rows, [2]);
}

/// GLISTER with gradients written out.
fn glister(case: &Case, count: usize, lr: f64, start: bool, by_labelled: bool) -> Vec<(u32, f64)> {
    let held_out = if by_labelled { &case.labelled } else { &case.held_out };
    let gradients: Vec<Vec<f64>> = (0..case.pool.logits.len()).map(|row| case.pool.gradient(row, false)).collect();
    let mut logits: Vec<Vec<f64>> =
        held_out.logits.iter().map(|row| row.iter().map(|&z| f64::from(z)).collect()).collect();
    let step = |logits: &mut Vec<Vec<f64>>, gradient: &[f64]| {
        for (row, logits) in logits.iter_mut().enumerate() {
            let input = held_out.input(row);
            for (class, logit) in logits.iter_mut().enumerate() {
                *logit -= lr * dot(&gradient[class * input.len()..(class + 1) * input.len()], &input);
            }
        }
    };
    if start {
        for row in 0..case.labelled.logits.len() {
            step(&mut logits, &case.labelled.gradient(row, true));
        }
    }
    let mut picks: Vec<(u32, f64)> = Vec::new();
    while picks.len() < count {
        let all: Vec<Vec<f64>> =
            logits.iter().enumerate().map(|(row, logits)| held_out.gradient_at(row, logits, true)).collect();
        let target = mean(&all);
        let open = (0..gradients.len()).filter(|row| picks.iter().all(|pick| pick.0 as usize != *row));
        let worth = open.map(|row| (row as u32, dot(&gradients[row], &target)));
        let best = worth.reduce(|best, one| if one.1 > best.1 { one } else { best }).unwrap();
        step(&mut logits, &gradients[best.0 as usize]);
        picks.push(best);
    }
    picks
}

#[test]
fn glister_is_its_definition() {
    for (seed, (start, by_labelled, lr)) in
        [(false, false, 0.1), (true, false, 0.02), (false, true, 2.0), (true, true, 0.5)].into_iter().enumerate()
    {
        let case = Case::random(80, seed as u64 + 1);
        let name = |yes: bool, name: &'static str, other: &'static str| if yes { name } else { other };
        let params = json!({
            "lr": lr,
            "start": name(start, "labelled", "none"),
            "validation": name(by_labelled, "labelled", "calibration"),
        });
        let (found, expected) = (case.ask("glister", 25, &params), glister(&case, 25, lr, start, by_labelled));
        let rows: Vec<u32> = expected.iter().map(|pick| pick.0).collect();
        assert_eq!(found.rows, rows, "{params}");
        for (score, (_, expected)) in found.scores.iter().zip(&expected) {
            assert!((score - expected).abs() < 1e-9, "{params}: {score}, expected {expected}");
        }
        let negative = expected.iter().position(|pick| pick.1 < 0.0).unwrap_or(25);
        assert_eq!(figure(&found, "negative_from"), negative as f64);
    }
}

#[test]
fn small_steps_leave_the_first_gains() {
    let case = Case::random(50, 9);
    let found = case.ask("glister", 10, &json!({"lr": 1e-9}));
    let all: Vec<Vec<f64>> = (0..12).map(|row| case.held_out.gradient(row, true)).collect();
    let target = mean(&all);
    let worth: Vec<f64> = (0..50).map(|row| dot(&case.pool.gradient(row, false), &target)).collect();
    let mut rows: Vec<u32> = (0..50).collect();
    rows.sort_by(|&a, &b| worth[b as usize].total_cmp(&worth[a as usize]));
    assert_eq!(found.rows, rows[..10]);
    assert_eq!(found.rows, case.ask("glister", 10, &json!({"lr": 1.0, "refresh": 10})).rows);
}

#[test]
fn the_first_gain_is_what_a_step_lowers_the_loss_by() {
    let case = Case::random(20, 4);
    let found = case.ask("glister", 1, &json!({}));
    let gradient = case.pool.gradient(found.rows[0] as usize, false);
    let loss = |lr: f64| -> f64 {
        let of = |row: usize| {
            let input = case.held_out.input(row);
            let logit = |class: usize| {
                let change = dot(&gradient[class * input.len()..(class + 1) * input.len()], &input);
                f64::from(case.held_out.logits[row][class]) - lr * change
            };
            let logits: Vec<f64> = (0..3).map(logit).collect();
            logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[case.held_out.labels[row] as usize]
        };
        (0..12).map(of).sum::<f64>() / 12.0
    };
    let slope = (loss(-1e-5) - loss(1e-5)) / 2e-5;
    assert!((slope - found.scores[0]).abs() < 1e-7, "{slope}, {:?}", found.scores);
}

#[test]
fn gradmatch_is_its_definition() {
    for (seed, target) in ["pool", "calibration"].into_iter().enumerate() {
        let case = Case::random(70, seed as u64 + 30);
        let found = case.ask("gradmatch", 20, &json!({"target": target}));
        let gradients: Vec<Vec<f64>> = (0..70).map(|row| case.pool.gradient(row, false)).collect();
        let matched = match target {
            "pool" => mean(&gradients),
            _ => mean(&(0..12).map(|row| case.held_out.gradient(row, true)).collect::<Vec<_>>()),
        };
        let mut rest: Vec<f64> = matched.iter().map(|x| -20.0 * x).collect();
        let mut picks: Vec<u32> = Vec::new();
        for _ in 0..20 {
            let after = |row: usize| norm(&rest.iter().zip(&gradients[row]).map(|(x, g)| x + g).collect::<Vec<_>>());
            let open = (0..70).filter(|row| !picks.contains(&(*row as u32)));
            let best = open.map(|row| (row, after(row))).reduce(|a, b| if b.1 < a.1 { b } else { a }).unwrap();
            rest.iter_mut().zip(&gradients[best.0]).for_each(|(x, g)| *x += g);
            picks.push(best.0 as u32);
        }
        assert_eq!(found.rows, picks, "{target}");
        assert!((figure(&found, "residual") - norm(&rest)).abs() < 1e-9);
    }
}

#[test]
fn pursuit_is_its_definition() {
    for reg in [0.0, 0.5] {
        let case = Case::random(60, 50);
        let found = case.ask("gradmatch", 9, &json!({"weights": "omp", "reg": reg}));
        assert_eq!(figure(&found, "pursued"), 9.0);
        let gradients: Vec<Vec<f64>> = (0..60).map(|row| case.pool.gradient(row, false)).collect();
        let target: Vec<f64> = mean(&gradients).iter().map(|x| 9.0 * x).collect();
        let (mut picks, mut weights): (Vec<usize>, Vec<f64>) = (Vec::new(), Vec::new());
        for _ in 0..9 {
            let rest: Vec<f64> = (0..target.len())
                .map(|at| target[at] - picks.iter().zip(&weights).map(|(&p, w)| w * gradients[p][at]).sum::<f64>())
                .collect();
            let open = (0..60).filter(|row| !picks.contains(row));
            let along = open.map(|row| (row, dot(&gradients[row], &rest)));
            picks.push(along.reduce(|a, b| if b.1 > a.1 { b } else { a }).unwrap().0);
            weights = descended(&picks.iter().map(|&p| gradients[p].clone()).collect::<Vec<_>>(), &target, reg);
        }
        let rows: Vec<u32> = picks.iter().map(|&row| row as u32).collect();
        assert_eq!(found.rows, rows, "reg {reg}");
        for (at, weight) in weights.iter().enumerate() {
            let found = figure(&found, &format!("weight.{at}"));
            assert!((found - weight).abs() < 1e-6, "reg {reg}, {at}: {found}, expected {weight}");
        }
    }
}

/// Non-negative least squares by coordinate descent.
fn descended(columns: &[Vec<f64>], target: &[f64], reg: f64) -> Vec<f64> {
    let mut weights = vec![0.0; columns.len()];
    let mut rest = target.to_vec();
    for _ in 0..200_000 {
        let mut moved = 0.0f64;
        for (column, weight) in columns.iter().zip(&mut weights) {
            let best = ((dot(column, &rest) + *weight * dot(column, column)) / (dot(column, column) + reg)).max(0.0);
            let by: f64 = best - *weight;
            rest.iter_mut().zip(column).for_each(|(rest, x)| *rest -= by * x);
            *weight = best;
            moved = moved.max(by.abs());
        }
        if moved < 1e-13 {
            break;
        }
    }
    weights
}

#[test]
fn weighted_sums_come_nearer_with_every_pick() {
    let case = Case::random(60, 61);
    // The target grows with the batch, so the same target is asked for in parts of itself.
    let residual = |batch: usize| {
        let found = case.ask("gradmatch", batch, &json!({"weights": "omp", "reg": 0.0}));
        figure(&found, "weighted_residual") / batch as f64
    };
    let all: Vec<f64> = (1..12).map(residual).collect();
    assert!(all.is_sorted_by(|a, b| b <= &(a + 1e-9)), "{all:?}");
}

#[test]
fn saturated_samples_are_told() {
    let mut case = Case::random(10, 70);
    case.pool.logits = vec![vec![50.0, -50.0, -500.0]; 10];
    assert_eq!(figure(&case.ask("gradmatch", 4, &json!({})), "zero_gradients"), 0.0);
    case.pool.logits = vec![vec![2000.0, -2000.0, -2000.0]; 10];
    let found = case.ask("gradmatch", 4, &json!({}));
    assert_eq!((found.rows.as_slice(), figure(&found, "zero_gradients")), (&[0, 1, 2, 3][..], 4.0));
    let found = case.ask("glister", 4, &json!({}));
    assert_eq!((found.rows.as_slice(), figure(&found, "no_gradient")), (&[0, 1, 2, 3][..], 1.0));
}

#[test]
fn nothing_held_out_is_refused() {
    let case = Case { held_out: Set::default(), ..Case::random(10, 1) };
    for (id, params) in [("glister", json!({})), ("gradmatch", json!({"target": "calibration"}))] {
        let error = Question::new(&PACKAGE, id, 3).with(params).try_ask(&case.arrays()).unwrap_err();
        assert!(error.contains("held out"), "{error}");
    }
}
