//! Entropy under mixtures of draws.

mod common;

use common::*;
use querist_protocol::philox::Stream;
use querist_protocol::{FaultCode, HostCalls, math};

/// The definition in slow and obvious code.
fn reference(log_probs: &[f32], draws: usize, weights: &[f64], shares: &[f64]) -> f64 {
    let classes = log_probs.len() / draws;
    let mut probs = Vec::new();
    for draw in log_probs.chunks(classes) {
        let shares: Vec<f64> = draw.iter().map(|&log| math::exp(f64::from(log))).collect();
        let sum = shares.iter().fold(0.0, |a, b| a + b);
        probs.extend(shares.iter().map(|share| share / sum));
    }
    let mut lanes = vec![0.0; 16];
    for (m, share) in shares.iter().enumerate() {
        let mut entropy = 0.0;
        for class in 0..classes {
            let q = (0..draws).fold(0.0, |q, t| q + weights[m * draws + t] * probs[t * classes + class]);
            entropy -= if q > 0.0 { q * math::ln(q) } else { 0.0 };
        }
        lanes[m % 16] += share * entropy;
    }
    while lanes.len() > 1 {
        let half = lanes.len() / 2;
        lanes = (0..half).map(|i| lanes[i] + lanes[i + half]).collect();
    }
    lanes[0]
}

#[test]
fn mixture_entropy_is_its_definition() {
    for (rows, draws, classes, mixtures, threads) in
        [(0, 2, 2, 3, 1), (1, 1, 2, 1, 1), (37, 5, 3, 16, 2), (300, 10, 10, 45, 3), (9, 3, 100, 200, 2)]
    {
        let s = session(threads);
        let values = log_probs(rows, draws, classes, 3);
        let noise = Stream::new(8, 0);
        let number =
            |item: usize, step| if item.is_multiple_of(5) { 0.0 } else { noise.item_uniform(item as u64, step) };
        let weights: Vec<f64> = (0..mixtures * draws).map(|i| number(i, 0) / draws as f64).collect();
        let shares: Vec<f64> = (0..mixtures).map(|i| number(i + 1, 1)).collect();
        let matrix = s.matrix(rows as u32, (draws * classes) as u32, &values).unwrap();
        let found = s.mixture_entropy(matrix, s.vector(&weights).unwrap(), s.vector(&shares).unwrap()).unwrap();
        let expected: Vec<f64> =
            values.chunks(draws * classes).map(|row| reference(row, draws, &weights, &shares)).collect();
        same_bits(&read(&s, found), &expected, (rows, draws, classes, mixtures));
    }
}

#[test]
fn a_fair_mixture_of_opposites_has_the_entropy_of_a_coin() {
    let s = session(1);
    let opposites = s.matrix(1, 4, &[0.0, -200.0, -200.0, 0.0]).unwrap();
    let vector = |values: &[f64]| s.vector(values).unwrap();
    let fair = s.mixture_entropy(opposites, vector(&[0.5, 0.5]), vector(&[1.0])).unwrap();
    assert_eq!(read(&s, fair), [std::f64::consts::LN_2]);
    let either = s.mixture_entropy(opposites, vector(&[1.0, 0.0, 0.0, 1.0]), vector(&[0.5, 0.5])).unwrap();
    assert!(read(&s, either)[0].abs() < 1e-80);
}

#[test]
fn what_has_no_meaning_is_refused_with_its_place() {
    let s = session(1);
    let good = s.matrix(2, 4, &[0.5f32.ln(); 8]).unwrap();
    let vector = |values: &[f64]| s.vector(values).unwrap();
    let code =
        |weights: &[f64], shares: &[f64]| s.mixture_entropy(good, vector(weights), vector(shares)).unwrap_err().code;
    assert_eq!(code(&[0.5; 3], &[0.5; 2]), FaultCode::BadArgument);
    assert_eq!(code(&[], &[]), FaultCode::BadArgument);
    assert_eq!(code(&[0.5; 3], &[1.0]), FaultCode::BadShape);
    assert_eq!(code(&[0.5, -0.5], &[1.0]), FaultCode::BadArgument);
    assert_eq!(code(&[0.5, 0.5], &[f64::INFINITY]), FaultCode::NonFinite);
    let mut values = [0.5f32.ln(); 8];
    values[7] = 0.0;
    let bad = s.matrix(2, 4, &values).unwrap();
    let fault = s.mixture_entropy(bad, vector(&[0.5; 2]), vector(&[1.0])).unwrap_err();
    assert!(fault.message.contains("draw 1 in row 1"), "{fault}");
}
