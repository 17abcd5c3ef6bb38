//! Sessions to test with, data of every kind, and the definitions of the kernels in slow and obvious code.
#![allow(dead_code, reason = "each test crate uses its own part")]

pub mod pairs;

use std::collections::BTreeMap;
use std::sync::Arc;

use querist_core::{Arrays, Granted, Round, Seeds};
use querist_kernels::{Compute, Control, Limits, Session, Setup, Shared};
use querist_protocol::philox::Stream;
use querist_protocol::{Handle, HostCalls, Metric, Similarity, SimilarityKind, Uncertainty, math};

pub fn control() -> Arc<Control> {
    Arc::new(Control::new(Limits { memory: 1 << 30, ..Limits::default() }, None))
}

pub fn shared(rows: u64, compute: Compute, control: Arc<Control>) -> Arc<Shared> {
    let ids: Vec<u64> = (0..rows).map(|row| row * 3 + 1).collect();
    let arrays = Arrays::new(ids, Vec::new(), 3, BTreeMap::new()).unwrap();
    let setup = Setup {
        arrays: Granted::new(&arrays, &[], &[]).unwrap(),
        batch: 5,
        round: Round(2),
        streams: Seeds::new(7).strategy("test"),
        compute,
    };
    Arc::new(Shared::new(setup, control).unwrap())
}

pub fn session(threads: usize) -> Session {
    session_on(Compute::threads(threads))
}

pub fn session_on(compute: Compute) -> Session {
    Session::new(shared(10, compute, control()))
}

/// A plain matrix for the references.
#[derive(Debug, Clone)]
pub struct Data {
    pub rows: usize,
    pub columns: usize,
    pub values: Vec<f32>,
}

impl Data {
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    pub fn handle(&self, session: &Session) -> Handle {
        session.matrix(self.rows as u32, self.columns as u32, &self.values).unwrap()
    }
}

/// Every form of similarity.
pub const FORMS: [SimilarityKind; 5] = [
    SimilarityKind::Rbf,
    SimilarityKind::Laplace,
    SimilarityKind::Student,
    SimilarityKind::Cauchy,
    SimilarityKind::TopHat,
];

/// Similarity at a squared distance.
pub fn similarity(similarity: Similarity, sq: f64) -> f64 {
    let h = similarity.width;
    match similarity.kind {
        SimilarityKind::Rbf => math::exp(-(sq / (h * h))),
        SimilarityKind::Laplace => math::exp(-(sq.sqrt() / h)),
        SimilarityKind::Student => math::exp(-0.75 * math::ln_1p(2.0 * (sq / (h * h)))),
        SimilarityKind::Cauchy => 1.0 / (1.0 + sq),
        SimilarityKind::TopHat => f64::from(u8::from(sq.sqrt() < h)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Random,
    /// A few distinct rows, repeated.
    Duplicates,
    Constant,
    Zero,
    /// Tight groups far from the origin.
    Clustered,
    /// Small whole numbers: many exact ties.
    Grid,
    /// Squares underflow `f32`.
    Tiny,
    /// Squares overflow `f32`.
    Huge,
    /// Rows of very different size.
    Mixed,
}

pub const KINDS: [Kind; 9] = [
    Kind::Random,
    Kind::Duplicates,
    Kind::Constant,
    Kind::Zero,
    Kind::Clustered,
    Kind::Grid,
    Kind::Tiny,
    Kind::Huge,
    Kind::Mixed,
];

pub fn data(kind: Kind, rows: usize, columns: usize, seed: u64) -> Data {
    let mut stream = Stream::new(seed, kind as u32);
    let mut uniform = move || stream.next_uniform() * 2.0 - 1.0;
    let mut values = vec![0.0f32; rows * columns];
    for row in 0..rows {
        let size = if kind == Kind::Mixed { 10f64.powf(6.0 * uniform()) } else { 1.0 };
        for column in 0..columns {
            let x = uniform();
            values[row * columns + column] = match kind {
                Kind::Random => x,
                Kind::Duplicates if row >= 3 => f64::from(values[(row % 3) * columns + column]),
                Kind::Duplicates => x,
                Kind::Constant => 0.7,
                Kind::Zero => 0.0,
                Kind::Clustered => 40.0 * ((row % 5 * 7 + column * 3) % 11) as f64 + 1e-3 * x,
                Kind::Grid => (x * 2.0).round(),
                Kind::Tiny => x * 1e-25,
                Kind::Huge => x * 1e30,
                Kind::Mixed => x * size,
            } as f32;
        }
    }
    Data { rows, columns, values }
}

/// Sums of f over columns in sixteen lanes, joined by halves.
pub fn lane_sum(x: &[f32], y: &[f32], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = vec![0.0f64; 16];
    for column in 0..x.len() {
        lanes[column % 16] += f(f64::from(x[column]), f64::from(y[column]));
    }
    while lanes.len() > 1 {
        let half = lanes.len() / 2;
        lanes = (0..half).map(|i| lanes[i] + lanes[i + half]).collect();
    }
    lanes[0]
}

pub fn dot(x: &[f32], y: &[f32]) -> f64 {
    lane_sum(x, y, |a, b| a * b)
}

pub fn distance(metric: Metric, x: &[f32], y: &[f32]) -> f64 {
    let squared = lane_sum(x, y, |a, b| (a - b) * (a - b));
    match metric {
        Metric::SqEuclidean => squared,
        Metric::Euclidean => squared.sqrt(),
        Metric::Cosine => {
            let (a, b) = (dot(x, x), dot(y, y));
            if a == 0.0 && b == 0.0 {
                0.0
            } else if a == 0.0 || b == 0.0 {
                1.0
            } else {
                (1.0 - dot(x, y) / (a * b).sqrt()).max(0.0)
            }
        }
    }
}

/// The distance that is added up: by norms and product, unless the rows are so near that these would cancel.
pub fn summand(metric: Metric, x: &[f32], y: &[f32]) -> f64 {
    let norms = dot(x, x) + dot(y, y);
    let squared = norms - 2.0 * dot(x, y);
    match metric {
        _ if metric == Metric::Cosine || squared < norms / 1024.0 => distance(metric, x, y),
        Metric::Euclidean => squared.sqrt(),
        _ => squared,
    }
}

pub fn factored_distance(metric: Metric, (a, h): (&[f32], &[f32]), (b, k): (&[f32], &[f32])) -> f64 {
    let alpha = dot(a, a);
    let eta = dot(k, k);
    let cross = lane_sum(a, b, |a, b| a * (a - b)) * lane_sum(h, k, |h, k| (h - k) * k);
    let differences = (lane_sum(a, b, |a, b| (a - b) * (a - b)), lane_sum(h, k, |h, k| (h - k) * (h - k)));
    let squared = (alpha * differences.1 + differences.0 * eta + 2.0 * cross).max(0.0);
    if metric == Metric::Euclidean { squared.sqrt() } else { squared }
}

/// Score and tie-breaker of one row of logits.
pub fn uncertainty(logits: &[f32], measure: Uncertainty) -> (f64, f64) {
    let leader = math::argmax(logits);
    let top = f64::from(logits[leader]);
    let rest = || logits.iter().enumerate().filter(|(class, _)| *class != leader).map(|(_, &logit)| f64::from(logit));
    let second = rest().fold(f64::NEG_INFINITY, f64::max);
    let others = rest().fold(0.0, |sum, logit| sum + math::exp(-(top - logit)));
    let weighted = rest().fold(0.0, |sum, logit| sum + (top - logit) * math::exp(-(top - logit)));
    let whole = 1.0 + others;
    // Where the rest is nearly nothing, its logarithm breaks ties.
    let far = |weight: &dyn Fn(f64) -> f64, more: f64| {
        let sum = rest().fold(0.0, |sum, logit| sum + weight(top - logit) * math::exp(logit - second));
        second - top + math::ln(sum + more)
    };
    let (score, tie) = match measure {
        Uncertainty::LeastConfidence => (others / whole, math::ln_1p(others)),
        Uncertainty::Margin => (math::expm1(second - top) / whole, (others + math::exp(second - top)) / whole),
        Uncertainty::Ratio => (math::exp(second - top), second - top),
        Uncertainty::Entropy => (math::ln_1p(others) + weighted / whole, others / whole),
    };
    match measure {
        _ if others >= 1e-290 || measure == Uncertainty::Ratio => (score, tie),
        Uncertainty::Entropy => (score, far(&|gap| 1.0 + gap, 0.0)),
        Uncertainty::Margin => (score, far(&|_| 1.0, 1.0)),
        _ => (score, far(&|_| 1.0, 0.0)),
    }
}

/// Log-probabilities of random draws, `[rows, draws * classes]`.
pub fn log_probs(rows: usize, draws: usize, classes: usize, seed: u64) -> Vec<f32> {
    let logits = data(Kind::Random, rows * draws, classes, seed);
    let normalised = |row: usize| {
        let row = logits.row(row);
        let lse = row.iter().map(|&logit| (5.0 * f64::from(logit)).exp()).sum::<f64>().ln();
        row.iter().map(move |&logit| (5.0 * f64::from(logit) - lse) as f32).collect::<Vec<_>>()
    };
    (0..rows * draws).flat_map(normalised).collect()
}

/// The row that u draws: cumulative sums in row order by blocks of 1024.
pub fn draw(weights: &[f64], u: f64) -> Option<u32> {
    let sums: Vec<f64> = weights.chunks(1024).map(|block| block.iter().fold(0.0, |a, b| a + b)).collect();
    let total = sums.iter().fold(0.0, |a, b| a + b);
    if total <= 0.0 {
        return None;
    }
    let mut before = 0.0;
    for (block, (values, sum)) in weights.chunks(1024).zip(&sums).enumerate() {
        let mut inside = 0.0;
        for (i, value) in values.iter().enumerate() {
            inside += value;
            if before + inside > u * total {
                return Some((block * 1024 + i) as u32);
            }
        }
        before += sum;
    }
    weights.iter().rposition(|&weight| weight > 0.0).map(|row| row as u32)
}

pub fn read(session: &Session, vector: Handle) -> Vec<f64> {
    session.vector_read(vector, 0, session.vector_len(vector).unwrap()).unwrap()
}

pub fn read_matrix(session: &Session, matrix: Handle) -> Vec<f32> {
    session.matrix_read(matrix, 0, session.matrix_shape(matrix).unwrap().0).unwrap()
}

pub fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[track_caller]
pub fn same_bits(found: &[f64], expected: &[f64], context: impl std::fmt::Debug) {
    assert_eq!(found.len(), expected.len(), "{context:?}");
    for (row, (a, b)) in found.iter().zip(expected).enumerate() {
        assert_eq!(a.to_bits(), b.to_bits(), "row {row}: found {a:e}, expected {b:e}; {context:?}");
    }
}
