//! Entropy of classes under mixtures of a model's draws.

use querist_protocol::{Fault, FaultCode, math};

use crate::check;
use crate::control::Pacer;
use crate::matrix::Matrix;
use crate::memory::Charged;
use crate::simd::{LANES, for_each_cpu, join};
use crate::workers::Workers;

/// How far the probabilities of a draw may be from summing to 1.
const SUM_SLACK: f64 = 1e-3;

/// Mixtures side by side: [`LANES`] of them a block.
struct Mixtures {
    draws: usize,
    /// Weights of a block, draw by draw.
    weights: Charged<[f64; LANES]>,
    /// Share of each mixture; what fills the last block has none.
    shares: Charged<[f64; LANES]>,
}

impl Mixtures {
    fn new(workers: &Workers, weights: &[f64], shares: &[f64]) -> Result<Self, Fault> {
        check::argument(
            !shares.is_empty() && !weights.is_empty() && weights.len().is_multiple_of(shares.len()),
            || format!("{} weights are no equal number of them for each of {} mixtures", weights.len(), shares.len()),
        )?;
        check::weights(weights)?;
        check::weights(shares)?;
        let draws = weights.len() / shares.len();
        let blocks = shares.len().div_ceil(LANES);
        let mut by_lane = Self {
            draws,
            weights: Charged::filled(workers.control(), blocks * draws, [0.0; LANES])?,
            shares: Charged::filled(workers.control(), blocks, [0.0; LANES])?,
        };
        for (mixture, (&share, weights)) in shares.iter().zip(weights.chunks_exact(draws)).enumerate() {
            let (block, lane) = (mixture / LANES, mixture % LANES);
            by_lane.shares[block][lane] = share;
            for (draw, &weight) in weights.iter().enumerate() {
                by_lane.weights[block * draws + draw][lane] = weight;
            }
        }
        Ok(by_lane)
    }
}

/// Σ_m `shares[m]` H(Σ_t `weights[m, t]` p_t) of each row.
pub(crate) fn entropy(
    workers: &Workers,
    log_probs: &Matrix,
    weights: &[f64],
    shares: &[f64],
) -> Result<Charged<f64>, Fault> {
    let mixtures = Mixtures::new(workers, weights, shares)?;
    let (columns, draws) = (log_probs.columns(), mixtures.draws);
    if columns == 0 || !columns.is_multiple_of(draws) {
        let message = format!("rows of {columns} values do not hold {draws} draws of one number of classes");
        return Err(Fault::new(FaultCode::BadShape, message));
    }
    let work = mixtures.shares.len().saturating_mul(LANES * columns);
    // Blocks of mixtures between two looks at the clock.
    let span = ((1 << 22) / (LANES * columns)).max(1);
    let mut entropies = Charged::filled(workers.control(), log_probs.rows(), 0.0)?;
    workers.fill(&mut entropies, ((1 << 19) / work).clamp(1, 1024), |start, out| {
        let mut pacer = Pacer::new(workers.control());
        let mut probs = Charged::filled(workers.control(), columns, 0.0)?;
        for (i, out) in out.iter_mut().enumerate() {
            probabilities(&log_probs.row(start + i), columns / draws, &mut probs)
                .map_err(|(draw, sum)| no_log_probs(start + i, draw, sum))?;
            let mut means = [0.0; LANES];
            for (weights, shares) in mixtures.weights.chunks(span * draws).zip(mixtures.shares.chunks(span)) {
                pacer.spend(shares.len() * LANES * columns)?;
                add_entropies(&mut means, &probs, columns / draws, weights, shares);
            }
            *out = join(means);
        }
        Ok(())
    })?;
    Ok(entropies)
}

fn no_log_probs(row: usize, draw: usize, sum: f64) -> Fault {
    let message = format!(
        "the probabilities of draw {draw} in row {row} sum to {sum}, expected 1 to within {SUM_SLACK}; these are no \
         log-probabilities"
    );
    Fault::new(FaultCode::BadArgument, message)
}

/// Probabilities of one row, each draw divided by its sum; a draw with a sum far from 1 is the error.
fn probabilities(log_probs: &[f32], classes: usize, probs: &mut [f64]) -> Result<(), (usize, f64)> {
    for (p, &log) in probs.iter_mut().zip(log_probs) {
        *p = math::exp(f64::from(log));
    }
    for (number, draw) in probs.chunks_exact_mut(classes).enumerate() {
        let sum: f64 = draw.iter().sum();
        if (sum - 1.0).abs() > SUM_SLACK {
            return Err((number, sum));
        }
        for p in draw {
            *p /= sum;
        }
    }
    Ok(())
}

for_each_cpu! {
    /// Adds to each lane the entropies of its mixtures times their shares.
    fn add_entropies(
        means: &mut [f64; LANES],
        probs: &[f64],
        classes: usize,
        weights: &[[f64; LANES]],
        shares: &[[f64; LANES]],
    ) {
        let draws = probs.len() / classes;
        for (weights, shares) in weights.chunks_exact(draws).zip(shares) {
            let mut entropies = [0.0; LANES];
            for class in 0..classes {
                let mut mixed = [0.0; LANES];
                for (weights, probs) in weights.iter().zip(probs.chunks_exact(classes)) {
                    for lane in 0..LANES {
                        mixed[lane] += weights[lane] * probs[class];
                    }
                }
                for lane in 0..LANES {
                    let q = mixed[lane];
                    let term = q * math::ln(q);
                    entropies[lane] -= if q > 0.0 { term } else { 0.0 };
                }
            }
            for lane in 0..LANES {
                means[lane] += shares[lane] * entropies[lane];
            }
        }
    }
}
