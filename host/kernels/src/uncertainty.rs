//! Softmax and uncertainty of logits, many rows at a time.
//!
//! With m the largest logit of a row and `others` = Σ exp(l - m) over the other classes, in class order, the largest
//! probability is 1 / (1 + others). Scores are made from `others`, so rows whose softmax rounds to one still differ;
//! where the leader is so far ahead that `others` itself leaves the range of f64, the tie-breaker goes on in
//! logarithms.

use querist_protocol::{Fault, Uncertainty, math};

use crate::control::Pacer;
use crate::matrix::{Matrix, rows_per_task};
use crate::memory::Charged;
use crate::simd::for_each_cpu;
use crate::workers::Workers;

/// Rows that are scored side by side: enough for a loop over them to be worth vectorising.
const LANES: usize = 64;

/// [`LANES`] rows of logits, class by class.
type Block = [[f32; LANES]];

/// Uncertainty of each row and its tie-breaker. There are two classes or more.
pub(crate) fn uncertainty(
    workers: &Workers,
    logits: &Matrix,
    measure: Uncertainty,
) -> Result<(Charged<f64>, Charged<f64>), Fault> {
    let control = workers.control();
    let mut first = Charged::filled(control, logits.rows(), 0.0)?;
    let mut second = Charged::filled(control, logits.rows(), 0.0)?;
    workers.fill_two((&mut first, &mut second), block_rows(logits), |start, first, second| {
        let mut pacer = Pacer::new(control);
        let mut block = Charged::filled(control, logits.columns(), [0.0f32; LANES])?;
        for at in (0..first.len()).step_by(LANES) {
            pacer.spend(LANES * logits.columns())?;
            let end = (at + LANES).min(first.len());
            transpose(logits, start + at..start + end, &mut block);
            let (mut a, mut b) = ([0.0; LANES], [0.0; LANES]);
            score(&block, measure, &mut a, &mut b);
            first[at..end].copy_from_slice(&a[..end - at]);
            second[at..end].copy_from_slice(&b[..end - at]);
        }
        Ok(())
    })?;
    Ok((first, second))
}

/// Softmax of each row; the predicted class has 1 subtracted where `residual` is set. There is a class.
pub(crate) fn softmax(workers: &Workers, logits: &Matrix, residual: bool) -> Result<Matrix, Fault> {
    let (control, classes) = (workers.control(), logits.columns());
    let mut values = Charged::filled(control, logits.rows() * classes, 0.0f32)?;
    workers.fill(&mut values, block_rows(logits) * classes, |start, out| {
        let mut pacer = Pacer::new(control);
        let mut block = Charged::filled(control, classes, [0.0f32; LANES])?;
        for (index, out) in out.chunks_mut(LANES * classes).enumerate() {
            pacer.spend(LANES * classes)?;
            let first = start / classes + index * LANES;
            transpose(logits, first..first + out.len() / classes, &mut block);
            probabilities(&mut block, residual);
            for (row, out) in out.chunks_exact_mut(classes).enumerate() {
                for (out, lanes) in out.iter_mut().zip(block.iter()) {
                    *out = lanes[row];
                }
            }
        }
        Ok(())
    })?;
    Ok(Matrix::of_values(values, logits.rows(), classes))
}

fn block_rows(logits: &Matrix) -> usize {
    rows_per_task(logits.columns()).next_multiple_of(LANES)
}

/// Copies up to [`LANES`] rows into lanes; the last row fills what is left.
#[inline]
fn transpose(logits: &Matrix, rows: std::ops::Range<usize>, block: &mut Block) {
    let classes = logits.columns();
    let values = logits.block(rows.clone());
    let lanes: [&[f32]; LANES] = std::array::from_fn(|lane| {
        let row = lane.min(rows.len() - 1);
        &values[row * classes..][..classes]
    });
    for (class, out) in block.iter_mut().enumerate() {
        *out = std::array::from_fn(|lane| lanes[lane][class]);
    }
}

/// The two largest logits of each lane and the class of the largest; the lowest class among equals.
struct Leaders {
    top: [f32; LANES],
    second: [f32; LANES],
    class: [u32; LANES],
}

#[inline(always)]
fn leaders(block: &Block) -> Leaders {
    let mut found = Leaders { top: [f32::NEG_INFINITY; LANES], second: [f32::NEG_INFINITY; LANES], class: [0; LANES] };
    for (class, logits) in block.iter().enumerate() {
        for (lane, &logit) in logits.iter().enumerate() {
            let top = found.top[lane];
            let beaten = if logit > top { top } else { logit };
            found.second[lane] = if beaten > found.second[lane] { beaten } else { found.second[lane] };
            found.class[lane] = if logit > top { class as u32 } else { found.class[lane] };
            found.top[lane] = if logit > top { logit } else { top };
        }
    }
    found
}

/// Σ e^-gap over all classes but the leader, where gap is its lead; and Σ gap e^-gap where that is `WEIGHTED`, else 0.
#[inline(always)]
fn others<const WEIGHTED: bool>(block: &Block, leaders: &Leaders) -> ([f64; LANES], [f64; LANES]) {
    let (mut sums, mut weighted) = ([0.0; LANES], [0.0; LANES]);
    for (class, logits) in block.iter().enumerate() {
        let gaps: [f64; LANES] = std::array::from_fn(|lane| f64::from(leaders.top[lane]) - f64::from(logits[lane]));
        let shares = math::exp_each(gaps.map(|gap| -gap));
        for lane in 0..LANES {
            let share = if leaders.class[lane] == class as u32 { 0.0 } else { shares[lane] };
            sums[lane] += share;
            if WEIGHTED {
                weighted[lane] += gaps[lane] * share;
            }
        }
    }
    (sums, weighted)
}

for_each_cpu! {
    fn score(block: &Block, measure: Uncertainty, first: &mut [f64; LANES], second: &mut [f64; LANES]) {
        let leaders = leaders(block);
        let lead = |lane: usize| f64::from(leaders.second[lane]) - f64::from(leaders.top[lane]);
        if measure == Uncertainty::Ratio {
            for lane in 0..LANES {
                (first[lane], second[lane]) = (math::exp(lead(lane)), lead(lane));
            }
            return;
        }
        let (others, weighted) = match measure {
            Uncertainty::Entropy => others::<true>(block, &leaders),
            _ => others::<false>(block, &leaders),
        };
        match measure {
            Uncertainty::LeastConfidence => {
                for lane in 0..LANES {
                    first[lane] = others[lane] / (1.0 + others[lane]);
                    second[lane] = math::ln_1p(others[lane]);
                }
            }
            Uncertainty::Margin => {
                for lane in 0..LANES {
                    let whole = 1.0 + others[lane];
                    first[lane] = math::expm1(lead(lane)) / whole;
                    second[lane] = (others[lane] + math::exp(lead(lane))) / whole;
                }
            }
            Uncertainty::Entropy => {
                for lane in 0..LANES {
                    let whole = 1.0 + others[lane];
                    first[lane] = math::ln_1p(others[lane]) + weighted[lane] / whole;
                    second[lane] = others[lane] / whole;
                }
            }
            Uncertainty::Ratio => {}
        }
        for lane in 0..LANES {
            if others[lane] < FAR {
                second[lane] = far_tie(block, &leaders, lane, measure);
            }
        }
    }
}

/// Below this Σ e^-gap is about to lose its digits, and near ties are told apart by its logarithm: a negative number,
/// below the tie-breaker of any row whose leader is nearer.
const FAR: f64 = 1e-290;

/// Logarithm of what the tie-breaker of a measure is made of.
fn far_tie(block: &Block, leaders: &Leaders, lane: usize, measure: Uncertainty) -> f64 {
    let (top, runner_up) = (f64::from(leaders.top[lane]), f64::from(leaders.second[lane]));
    let mut sum = 0.0;
    for (class, logits) in block.iter().enumerate() {
        let logit = f64::from(logits[lane]);
        if leaders.class[lane] != class as u32 {
            let weight = if measure == Uncertainty::Entropy { 1.0 + (top - logit) } else { 1.0 };
            sum += weight * math::exp(logit - runner_up);
        }
    }
    // The runner-up counts twice in a margin.
    let sum = if measure == Uncertainty::Margin { sum + 1.0 } else { sum };
    (runner_up - top) + math::ln(sum)
}

for_each_cpu! {
    /// Turns logits into probabilities, or into the residual.
    fn probabilities(block: &mut Block, residual: bool) {
        let leaders = leaders(block);
        let (others, _) = others::<false>(block, &leaders);
        for (class, values) in block.iter_mut().enumerate() {
            let lags: [f64; LANES] =
                std::array::from_fn(|lane| f64::from(values[lane]) - f64::from(leaders.top[lane]));
            let shares = math::exp_each(lags);
            for lane in 0..LANES {
                let whole = 1.0 + others[lane];
                let share = shares[lane] / whole;
                let of_leader = if residual { -others[lane] / whole } else { 1.0 / whole };
                values[lane] = (if leaders.class[lane] == class as u32 { of_leader } else { share }) as f32;
            }
        }
    }
}
