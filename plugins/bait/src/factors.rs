//! Factors R of the middle matrices: `R Rᵀ = diag p - p pᵀ`, or an approximation.

use querist_sdk::Softmax;
use querist_sdk::prelude::*;

/// Bytes of factors at most; they pass through the plugin's own memory.
const MOST_BYTES: u64 = 192 << 20;

/// What a factor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The whole middle matrix.
    Exact,
    /// The most probable classes.
    Topk,
    /// The most probable class against all others.
    Binary,
}

/// Sizes of a factor, `[blocks, rank]`.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    form: Form,
    blocks: u32,
    pub rank: u32,
}

impl Shape {
    pub fn of(form: Form, classes: u32, topk: u32) -> Self {
        let (blocks, rank) = match form {
            Form::Exact => (classes, classes.saturating_sub(1).max(1)),
            Form::Topk => (classes, topk.min(classes)),
            Form::Binary => (1, 1),
        };
        Self { form, blocks, rank }
    }
}

/// Factors of all rows of logits, `[rows, blocks * rank]`.
pub fn factors(query: &Query, logits: &str, shape: Shape) -> Result<Matrix> {
    let logits = query.matrix(logits)?;
    let (rows, _) = logits.shape()?;
    let columns = shape.blocks * shape.rank;
    let bytes = u64::from(rows) * u64::from(columns) * 4;
    if bytes > MOST_BYTES {
        return Err(StrategyError::Failed(format!(
            "the Fisher factors of {rows} samples take {bytes} bytes, at most {MOST_BYTES} fit; choose \
             `fisher = \"binary\"` or `\"topk\"`"
        )));
    }
    let mut values = vec![0.0f32; (bytes / 4) as usize];
    logits.for_each_row(|number, row| {
        let out = &mut values[number as usize * columns as usize..][..columns as usize];
        let p = Softmax::of(row);
        match shape.form {
            Form::Exact => exact(&p, out),
            Form::Topk => topk(&p, shape.rank as usize, out),
            Form::Binary => out[0] = (p.probs[p.top] * p.rest).sqrt() as f32,
        }
        Ok(())
    })?;
    query.new_matrix(rows, columns, &values)
}

/// `diag(s) B` with s the square roots of the probabilities and B an orthonormal basis of what is at right angles to
/// s: the columns, but the one of the largest class k, of the Householder reflection that takes e_k to -s.
fn exact(softmax: &Softmax, out: &mut [f32]) {
    let s: Vec<f64> = softmax.probs.iter().map(|p| p.sqrt()).collect();
    let k = softmax.top;
    let rank = s.len().saturating_sub(1).max(1);
    for (i, out) in out.chunks_exact_mut(rank).enumerate() {
        let others = (0..s.len()).filter(|&j| j != k);
        for (out, j) in out.iter_mut().zip(others) {
            let value = match i {
                i if i == k => -s[k] * s[j],
                i if i == j => s[i] * (1.0 - s[i] * s[j] / (1.0 + s[k])),
                i => -s[i] * s[i] * s[j] / (1.0 + s[k]),
            };
            *out = value as f32;
        }
    }
}

/// `sqrt(q_a) (e_a - p)` for the most probable classes a, the lowest first among equals; q are their probabilities
/// over their sum.
fn topk(softmax: &Softmax, count: usize, out: &mut [f32]) {
    let mut order: Vec<usize> = (0..softmax.probs.len()).collect();
    order.sort_by(|&a, &b| softmax.probs[b].total_cmp(&softmax.probs[a]).then(a.cmp(&b)));
    let kept = &order[..count];
    let total: f64 = kept.iter().map(|&a| softmax.probs[a]).sum();
    for (i, out) in out.chunks_exact_mut(count).enumerate() {
        for (out, &a) in out.iter_mut().zip(kept) {
            let along = if i == a { softmax.complement(a) } else { -softmax.probs[i] };
            *out = ((softmax.probs[a] / total).sqrt() * along) as f32;
        }
    }
}
