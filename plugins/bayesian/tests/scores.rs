//! Scores against definitions written out in plain loops, and against worked examples.

#![expect(clippy::disallowed_methods, reason = "a reference by other means than the strategy's")]

use querist_core::{Array, Arrays};
use querist_protocol::names;
use querist_protocol::philox::Stream;
use querist_testkit::cases::arrays;
use querist_testkit::{NativeMaker, ask, conforms, settled};
use serde_json::{Value, json};
use strategy_bayesian::PACKAGE;

const MEASURES: [&str; 6] = ["least-confidence", "margin", "entropy", "variation-ratio", "mean-std", "bald"];

fn mc_id(measure: &str) -> String {
    if measure == "bald" { "bald".to_owned() } else { format!("mc-{measure}") }
}

#[test]
fn every_strategy_conforms() {
    for strategy in PACKAGE.describe().strategies {
        conforms(&NativeMaker::new(&PACKAGE, &strategy.id));
    }
}

/// Log-probabilities; a probability of 0 becomes one that no `f64` can hold.
fn log_probs(rows: &[Vec<Vec<f64>>]) -> Array {
    let shape = vec![rows.len(), rows[0].len(), rows[0][0].len()];
    let logs = rows.iter().flatten().flatten().map(|&p| if p > 0.0 { p.ln() as f32 } else { -1e4 });
    Array::f32(shape, logs.collect::<Vec<_>>()).unwrap()
}

fn pool(name: &str, rows: &[Vec<Vec<f64>>]) -> Arrays {
    arrays(rows.len(), 0, rows[0][0].len(), [(name, log_probs(rows))])
}

/// Scores by row, through a batch of the whole pool.
fn scores(id: &str, params: Value, pool: &Arrays) -> Vec<f64> {
    let rows = pool.ids().len();
    let answer = ask(&PACKAGE, id, &params, (pool, rows, 0)).unwrap();
    let mut by_row = vec![f64::NAN; rows];
    for (&row, &score) in answer.rows.iter().zip(&answer.scores) {
        by_row[row as usize] = score;
    }
    by_row
}

/// The definitions, on what the `f32` inputs stand for.
fn oracle(measure: &str, draws: &[Vec<f64>]) -> f64 {
    let (count, classes) = (draws.len() as f64, draws[0].len());
    let plogp = |p: f64| if p > 0.0 { p * p.ln() } else { 0.0 };
    let entropy = |p: &[f64]| -p.iter().map(|&p| plogp(p)).sum::<f64>();
    let mean: Vec<f64> = (0..classes).map(|c| draws.iter().map(|draw| draw[c]).sum::<f64>() / count).collect();
    let mut sorted = mean.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    match measure {
        "least-confidence" => 1.0 - sorted[0],
        "margin" => sorted[1] - sorted[0],
        "entropy" => entropy(&mean),
        "bald" => entropy(&mean) - draws.iter().map(|draw| entropy(draw)).sum::<f64>() / count,
        "mean-std" => {
            let variance = |c: usize| draws.iter().map(|draw| (draw[c] - mean[c]).powi(2)).sum::<f64>() / count;
            (0..classes).map(|c| variance(c).sqrt()).sum::<f64>() / classes as f64
        }
        "variation-ratio" => {
            let mut votes = vec![0.0f64; classes];
            for draw in draws {
                let top = draw.iter().copied().fold(0.0, f64::max);
                votes[draw.iter().position(|&p| p == top).unwrap()] += 1.0;
            }
            1.0 - votes.iter().copied().fold(0.0, f64::max) / count
        }
        other => panic!("{other}"),
    }
}

/// Softmaxes of random logits, rounded as the inputs are.
fn random_rows(rows: usize, draws: usize, classes: usize) -> Vec<Vec<Vec<f64>>> {
    let noise = Stream::new(3, 0);
    let draw = |row: usize, t: usize| -> Vec<f64> {
        let logit = |c: usize| 6.0 * noise.item_uniform(row as u64, (t * classes + c) as u32);
        let sum: f64 = (0..classes).map(|c| logit(c).exp()).sum();
        let rounded: Vec<f64> = (0..classes).map(|c| f64::from((logit(c) - sum.ln()) as f32).exp()).collect();
        let sum: f64 = rounded.iter().sum();
        rounded.iter().map(|p| p / sum).collect()
    };
    (0..rows).map(|row| (0..draws).map(|t| draw(row, t)).collect()).collect()
}

#[test]
fn scores_are_their_definitions() {
    let rows = random_rows(400, 6, 5);
    let (mc, members) = (pool(names::MC_LOG_PROBS, &rows), pool(names::MEMBER_LOG_PROBS, &rows));
    for measure in MEASURES {
        let by_draws = scores(&mc_id(measure), json!({"T": 6}), &mc);
        let by_members = scores(&format!("ensemble-{measure}"), json!({"members": 6}), &members);
        for (row, draws) in rows.iter().enumerate() {
            let expected = oracle(measure, draws);
            assert!((by_draws[row] - expected).abs() < 1e-7, "{measure}, row {row}: {} {expected}", by_draws[row]);
        }
        assert_eq!(by_draws, by_members, "{measure}");
    }
}

#[test]
fn worked_examples() {
    let opposed = vec![vec![1.0, 0.0], vec![0.0, 1.0]];
    let leaning = vec![vec![0.9, 0.1], vec![0.1, 0.9]];
    let agreed = vec![vec![0.7, 0.3]; 2];
    let pool = pool(names::MC_LOG_PROBS, &[opposed, leaning, agreed]);
    let bald = scores("bald", json!({"T": 2}), &pool);
    assert!((bald[0] - std::f64::consts::LN_2).abs() < 1e-15, "{bald:?}");
    assert!((bald[1] - 0.368_064_2).abs() < 1e-7 && (0.0..=1e-15).contains(&bald[2]), "{bald:?}");
    assert_eq!(scores("mc-variation-ratio", json!({"T": 2}), &pool), [0.5, 0.5, 0.0]);
    assert_eq!(scores("mc-mean-std", json!({"T": 2}), &pool)[2], 0.0);
}

#[test]
fn information_is_bounded_and_vanishes_where_draws_agree() {
    let agreed: Vec<_> = random_rows(200, 1, 10).into_iter().map(|row| vec![row[0].clone(); 7]).collect();
    for score in scores("bald", json!({"T": 7}), &pool(names::MC_LOG_PROBS, &agreed)) {
        assert!((0.0..=1e-15).contains(&score), "{score}");
    }
    // As many sure draws as classes: both bounds are met.
    let sure = |t: usize| (0..4).map(|c| f64::from(u8::from(c == t))).collect::<Vec<_>>();
    let all: Vec<Vec<f64>> = (0..4).map(sure).collect();
    let mut rows = random_rows(300, 4, 4);
    rows.push(all);
    let bald = scores("bald", json!({"T": 4}), &pool(names::MC_LOG_PROBS, &rows));
    assert!(bald.iter().all(|&score| (0.0..=4f64.ln() + 1e-15).contains(&score)));
    assert!((bald[300] - 4f64.ln()).abs() < 1e-15, "{}", bald[300]);
}

#[test]
fn saturated_rows_are_told_apart() {
    let row = |gap: f64| vec![vec![1.0, gap, gap]; 2];
    let pool = pool(names::MC_LOG_PROBS, &[row(1e-26), row(1e-18), row(1e-22)]);
    for measure in ["least-confidence", "entropy"] {
        let answer = ask(&PACKAGE, &mc_id(measure), &json!({"T": 2}), (&pool, 3, 0)).unwrap();
        assert_eq!(answer.rows, [1, 2, 0], "{measure}");
        assert!(answer.scores.windows(2).all(|pair| pair[0] > pair[1]), "{measure}");
    }
    // The margin rounds to 1 in all of them; its exact complement tells them apart.
    assert_eq!(ask(&PACKAGE, "mc-margin", &json!({"T": 2}), (&pool, 3, 0)).unwrap().rows, [1, 2, 0]);
}

#[test]
fn few_values_of_the_variation_ratio_are_ordered_by_entropy() {
    let rows = [vec![vec![0.9, 0.1]; 3], vec![vec![0.6, 0.4]; 3], vec![vec![0.5, 0.5]; 3], vec![vec![0.8, 0.2]; 3]];
    let pool = pool(names::MC_LOG_PROBS, &rows);
    assert_eq!(ask(&PACKAGE, "mc-variation-ratio", &json!({"T": 3}), (&pool, 4, 0)).unwrap().rows, [2, 1, 3, 0]);
}

#[test]
fn what_the_host_is_asked_for() {
    let needs =
        |id, params: Value| PACKAGE.needs(id, &settled(&PACKAGE, id, &params).to_string()).unwrap()[0].to_string();
    assert_eq!(needs("bald", json!({})), "mc_log_probs(T=10)");
    assert_eq!(needs("bald", json!({"preset": "uwe"})), "mc_log_probs(T=5)");
    assert_eq!(needs("mc-entropy", json!({"preset": "uwe", "T": 25})), "mc_log_probs(T=25)");
    assert_eq!(needs("ensemble-bald", json!({"members": 3})), "member_log_probs(M=3)");
}

#[test]
fn inputs_that_are_no_log_probabilities_are_refused_with_their_place() {
    let mut values = vec![0.5f32.ln(); 3 * 2 * 2];
    values[2 * 4 + 2] = 0.0;
    let named = [(names::MC_LOG_PROBS, Array::f32(vec![3, 2, 2], values).unwrap())];
    let error = ask(&PACKAGE, "bald", &json!({"T": 2}), (&arrays(3, 0, 2, named), 1, 0)).unwrap_err();
    assert!(error.contains("draw 1 in row 2") && error.contains("expected 1 to within"), "{error}");
    let rows = random_rows(3, 4, 3);
    let error = ask(&PACKAGE, "bald", &json!({}), (&pool(names::MC_LOG_PROBS, &rows), 1, 0)).unwrap_err();
    assert!(error.contains("12 values a row, expected 10 draws of 3 classes"), "{error}");
    assert!(error.ends_with("it seems to hold 4 draws: set `T` to that"), "{error}");
    let one_class = pool(names::MC_LOG_PROBS, &[vec![vec![1.0]; 10]]);
    assert!(ask(&PACKAGE, "bald", &json!({}), (&one_class, 1, 0)).unwrap_err().contains("two classes"));
}

/// Three and one votes, two and two, and two, one and one.
#[test]
fn votes_have_the_entropy_of_their_shares() {
    let vote = |class: usize| (0..3).map(|c| if c == class { 0.8 } else { 0.1 }).collect();
    let votes = |classes: [usize; 4]| classes.map(vote).to_vec();
    let rows = [votes([0, 0, 0, 0]), votes([2, 1, 2, 2]), votes([1, 0, 1, 0]), votes([2, 2, 0, 1])];
    let found = scores("vote-entropy", json!({"members": 4}), &pool(names::MEMBER_LOG_PROBS, &rows));
    for (score, expected) in found.iter().zip([0.0, 0.562_335_1, std::f64::consts::LN_2, 1.039_720_8]) {
        assert!((score - expected).abs() < 5e-8, "{found:?}");
    }
    assert_eq!(found[0].to_bits(), 0.0f64.to_bits());
}

#[test]
fn equal_votes_are_ordered_by_the_entropy_of_the_consensus() {
    // Three votes, one and one, for other classes each time; the second is the least sure.
    let member = |class: usize, top: f64| (0..3).map(|c| if c == class { top } else { (1.0 - top) / 2.0 }).collect();
    let row = |order: [usize; 5], top: f64| order.map(|class| member(class, top)).to_vec();
    let rows = [row([0, 0, 0, 1, 2], 0.9), row([1, 2, 2, 2, 0], 0.5), row([2, 1, 0, 1, 1], 0.7)];
    let pool = pool(names::MEMBER_LOG_PROBS, &rows);
    let answer = ask(&PACKAGE, "vote-entropy", &json!({}), (&pool, 3, 0)).unwrap();
    assert_eq!(answer.rows, [1, 2, 0]);
    assert_eq!(answer.scores[0].to_bits(), answer.scores[2].to_bits());
}

#[test]
fn soft_votes_and_divergence_to_the_consensus_have_other_names() {
    let pool = pool(names::MEMBER_LOG_PROBS, &random_rows(200, 5, 4));
    for (id, params, other) in
        [("vote-entropy", json!({"vote": "soft"}), "ensemble-entropy"), ("kl-consensus", json!({}), "ensemble-bald")]
    {
        let [found, expected] =
            [(id, params), (other, json!({}))].map(|(id, params)| ask(&PACKAGE, id, &params, (&pool, 200, 0)).unwrap());
        assert_eq!((found.rows, found.scores), (expected.rows, expected.scores), "{id}");
    }
}

#[test]
fn divergence_from_the_consensus_is_its_definition() {
    let rows = random_rows(200, 5, 4);
    let found = scores("kl-consensus", json!({"direction": "from-consensus"}), &pool(names::MEMBER_LOG_PROBS, &rows));
    for (members, score) in rows.iter().zip(&found) {
        let mean: Vec<f64> = (0..4).map(|c| members.iter().map(|p| p[c]).sum::<f64>() / 5.0).collect();
        let kl = |p: &Vec<f64>| mean.iter().zip(p).map(|(mean, p)| mean * (mean / p).ln()).sum::<f64>();
        let expected = members.iter().map(kl).sum::<f64>() / 5.0;
        assert!((score - expected).abs() < 1e-7 * expected.max(1.0), "{score}, expected {expected}");
    }
    let leaning = [vec![vec![0.9, 0.1], vec![0.1, 0.9]]];
    let pool = pool(names::MEMBER_LOG_PROBS, &leaning);
    let both = |direction: &str| scores("kl-consensus", json!({"direction": direction, "members": 2}), &pool)[0];
    assert!((both("to-consensus") - 0.368_064_2).abs() < 1e-7, "{}", both("to-consensus"));
    assert!((both("from-consensus") - 0.510_825_6).abs() < 1e-7, "{}", both("from-consensus"));
}

/// A member that rules out what the others expect is far from them, but not infinitely.
#[test]
fn impossible_classes_have_a_floor() {
    let sure = |class: usize| (0..2).map(|c| f64::from(u8::from(c == class))).collect::<Vec<_>>();
    let agreed = vec![sure(0); 5];
    let single = vec![sure(0), sure(0), sure(0), sure(0), sure(1)];
    let pool = pool(names::MEMBER_LOG_PROBS, &[agreed, single]);
    let found = scores("kl-consensus", json!({"direction": "from-consensus"}), &pool);
    // Four of five miss a class with .2, the fifth one with .8.
    let expected = 0.32 * 745.0 + 0.8 * 0.8f64.ln() + 0.2 * 0.2f64.ln();
    assert!(found[0].abs() < 1e-12 && (found[1] - expected).abs() < 1e-9, "{found:?}, expected {expected}");
}
