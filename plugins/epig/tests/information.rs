//! Information against the joint distributions written out.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_protocol::philox::Stream;
use querist_testkit::cases::arrays;
use querist_testkit::{Native, NativeMaker, ask, conforms};
use serde_json::{Value, json};
use strategy_epig::PACKAGE;

#[test]
fn epig_conforms() {
    conforms(&NativeMaker::new(&PACKAGE, "epig"));
}

/// `[row][draw][class]`.
type Rows = Vec<Vec<Vec<f64>>>;

fn log_probs(rows: &Rows) -> Array {
    let logs = rows.iter().flatten().flatten().map(|&p| if p > 0.0 { p.ln() as f32 } else { -1e4 });
    Array::f32(vec![rows.len(), rows[0].len(), rows[0][0].len()], logs.collect::<Vec<_>>()).unwrap()
}

fn pool(rows: &Rows, targets: Option<&Rows>) -> Arrays {
    let classes = rows[0][0].len();
    match targets {
        None => arrays(rows.len(), 0, classes, [("mc_log_probs", log_probs(rows))]),
        Some(targets) => {
            let named = [("mc_log_probs", log_probs(rows)), ("target.mc_log_probs", log_probs(targets))];
            arrays(rows.len(), 0, classes, named)
        }
    }
}

fn scores(params: &Value, pool: &Arrays) -> Vec<f64> {
    let rows = pool.ids().len();
    let answer = ask(&PACKAGE, "epig", params, (pool, rows, 0)).unwrap();
    let mut by_row = vec![f64::NAN; rows];
    for (&row, &score) in answer.rows.iter().zip(&answer.scores) {
        by_row[row as usize] = score;
    }
    by_row
}

/// Mean over targets of H(p) + H(p*) - H(joint), by the full joint tables.
fn oracle(row: &[Vec<f64>], targets: &Rows) -> f64 {
    let entropy = |p: &[f64]| -p.iter().filter(|&&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>();
    let draws = row.len() as f64;
    let mean = |row: &[Vec<f64>]| -> Vec<f64> {
        (0..row[0].len()).map(|c| row.iter().map(|draw| draw[c]).sum::<f64>() / draws).collect()
    };
    let about = |target: &Vec<Vec<f64>>| {
        let mut joint = Vec::new();
        for a in 0..row[0].len() {
            for b in 0..row[0].len() {
                joint.push(row.iter().zip(target).map(|(p, q)| p[a] * q[b]).sum::<f64>() / draws);
            }
        }
        entropy(&mean(row)) + entropy(&mean(target)) - entropy(&joint)
    };
    targets.iter().map(about).sum::<f64>() / targets.len() as f64
}

fn random_rows(seed: u64, rows: usize, draws: usize, classes: usize) -> Rows {
    let noise = Stream::new(seed, 0);
    let draw = |row: usize, t: usize| -> Vec<f64> {
        let share = |c: usize| (5.0 * noise.item_uniform(row as u64, (t * classes + c) as u32)).exp();
        let total: f64 = (0..classes).map(share).sum();
        (0..classes).map(|c| share(c) / total).collect()
    };
    (0..rows).map(|row| (0..draws).map(|t| draw(row, t)).collect()).collect()
}

/// Four draws: class 0, 0, 1, 1; and nine to one for 0, 1, 0, 1 in turn.
fn halves_and_turns() -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let a = [0, 0, 1, 1].map(|class| if class == 0 { vec![1.0, 0.0] } else { vec![0.0, 1.0] }).to_vec();
    let d = [0, 1, 0, 1].map(|class| if class == 0 { vec![0.9, 0.1] } else { vec![0.1, 0.9] }).to_vec();
    (a, d)
}

#[test]
fn worked_examples() {
    let (a, d) = halves_and_turns();
    let provided = json!({"T": 4, "target": "provided", "n_target": 1});
    let about =
        |target: &Vec<Vec<f64>>| scores(&provided, &pool(&vec![a.clone(), d.clone()], Some(&vec![target.clone()])));
    let about_a = about(&a);
    assert!((about_a[0] - std::f64::consts::LN_2).abs() < 1e-12 && about_a[1] < 1e-12, "{about_a:?}");
    assert!((about(&d)[1] - 0.221_753_7).abs() < 1e-7);
}

#[test]
fn information_is_its_definition() {
    let (rows, targets) = (random_rows(1, 60, 5, 4), random_rows(2, 23, 5, 4));
    let provided = json!({"T": 5, "target": "provided"});
    let found = scores(&provided, &pool(&rows, Some(&targets)));
    // A sample of the pool that is all of it.
    let of_pool = scores(&json!({"T": 5, "n_target": 60}), &pool(&rows, None));
    for (row, draws) in rows.iter().enumerate() {
        assert!((found[row] - oracle(draws, &targets)).abs() < 1e-6, "row {row}");
        assert!((of_pool[row] - oracle(draws, &rows)).abs() < 1e-6, "row {row}");
    }
}

#[test]
fn targets_are_drawn_from_the_whole_pool() {
    // Each row knows only of itself: the target is the one row with a score.
    let draws = 16;
    let row = |row: usize| -> Vec<Vec<f64>> {
        (0..draws).map(|t| if t >> row & 1 == 0 { vec![1.0, 0.0] } else { vec![0.0, 1.0] }).collect()
    };
    let pool = pool(&(0..4).map(row).collect(), None);
    let mut drawn = [0u32; 4];
    let mut strategy = Native::new(&PACKAGE, "epig", &json!({"T": draws, "n_target": 1}), 1).unwrap();
    for seed in 0..4000 {
        let answer = strategy.ask(&pool, 4, seed).unwrap();
        assert!(answer.scores[0] > 0.69 && answer.scores[1] < 1e-9, "{answer:?}");
        drawn[answer.rows[0] as usize] += 1;
    }
    // Three degrees of freedom: 21.1 is the 1e-4 quantile.
    let chi_square: f64 = drawn.iter().map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0).sum();
    assert!(chi_square < 21.1, "{drawn:?}");
}

#[test]
fn the_power_draw_is_in_proportion_to_the_scores() {
    let (rows, targets) = (random_rows(3, 4, 3, 3), random_rows(4, 2, 3, 3));
    let weights: Vec<f64> = rows.iter().map(|row| oracle(row, &targets)).collect();
    let total: f64 = weights.iter().sum();
    let pool = pool(&rows, Some(&targets));
    let params = json!({"T": 3, "target": "provided", "n_target": 2, "stochastic": "power"});
    let mut strategy = Native::new(&PACKAGE, "epig", &params, 1).unwrap();
    let mut drawn = [0u32; 4];
    for seed in 0..40_000 {
        drawn[strategy.ask(&pool, 1, seed).unwrap().rows[0] as usize] += 1;
    }
    let expected = |row: usize| 40_000.0 * weights[row] / total;
    let chi_square: f64 = (0..4).map(|row| (f64::from(drawn[row]) - expected(row)).powi(2) / expected(row)).sum();
    assert!(chi_square < 21.1, "{drawn:?} {weights:?}");
}

#[test]
fn what_the_host_is_asked_for() {
    let needs = |params: Value| -> Vec<String> {
        PACKAGE.needs("epig", &params.to_string()).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(needs(json!({})), ["mc_log_probs(T=10, coherent)"]);
    let provided = needs(json!({"T": 20, "target": "provided", "n_target": 7}));
    assert_eq!(provided, ["mc_log_probs(T=20, coherent)", "target.mc_log_probs(T=20, coherent, n=7)"]);
}
