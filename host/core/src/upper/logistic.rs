//! Multinomial logistic regression with an L2 penalty, to its only optimum.
//!
//! Newton's method, its equations solved by conjugate gradients. Sums have a fixed order and exponentials are the
//! portable ones, so that the same rows give the same bits everywhere.

use querist_protocol::math;

/// Steps of Newton's method at most; some ten do.
const STEPS: usize = 100;
/// Largest part of the gradient at which the optimum is reached.
const CONVERGED: f64 = 1e-6;

/// Rows of numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Matrix {
    pub(super) values: Vec<f64>,
    pub(super) width: usize,
}

impl Matrix {
    pub(super) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width.max(1))
    }

    /// The same with the rows of another below its own.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self { values: [&self.values[..], &other.values].concat(), width: self.width }
    }
}

/// Fitted weights, one row a class.
#[derive(Debug, Clone)]
pub(super) struct Weights {
    values: Vec<f64>,
    width: usize,
}

impl Weights {
    pub(super) fn zero(classes: usize, width: usize) -> Self {
        Self { values: vec![0.0; classes * width], width }
    }

    /// Log-probabilities of a row.
    pub(super) fn log_probabilities(&self, row: &[f64], into: &mut [f64]) {
        for (score, weights) in into.iter_mut().zip(self.values.chunks_exact(self.width)) {
            *score = dot(row, weights);
        }
        let most = into.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = into.iter().map(|score| math::exp(score - most)).sum();
        let log = most + math::ln(sum);
        into.iter_mut().for_each(|score| *score -= log);
    }
}

/// The weights with the least sum of cross-entropy and half their own squares, found from `start` on.
pub(super) fn fit(rows: &Matrix, labels: &[u32], classes: usize, start: &Weights) -> Weights {
    let task = Task { rows, labels, classes };
    let mut weights = start.clone();
    let (mut loss, mut chances) = task.loss(&weights);
    for _ in 0..STEPS {
        let gradient = task.gradient(&weights, &chances);
        let largest = gradient.iter().fold(0.0f64, |most, part| most.max(part.abs()));
        if largest <= CONVERGED {
            break;
        }
        let direction = task.direction(&gradient, &chances);
        let slope = dot(&gradient, &direction);
        let mut step = 1.0;
        let found = loop {
            let mut next = weights.clone();
            next.values.iter_mut().zip(&direction).for_each(|(weight, part)| *weight += step * part);
            let (next_loss, next_chances) = task.loss(&next);
            if next_loss <= loss + 1e-4 * step * slope {
                break Some((next, next_loss, next_chances));
            }
            step /= 2.0;
            if step < 1e-12 {
                break None;
            }
        };
        // No step gets lower: what is left of the gradient is rounding.
        let Some(found) = found else { break };
        (weights, loss, chances) = found;
    }
    weights
}

struct Task<'a> {
    rows: &'a Matrix,
    labels: &'a [u32],
    classes: usize,
}

impl Task<'_> {
    /// The loss, and the probabilities of every row.
    fn loss(&self, weights: &Weights) -> (f64, Vec<f64>) {
        let mut chances = vec![0.0; self.labels.len() * self.classes];
        let mut loss = 0.5 * dot(&weights.values, &weights.values);
        for ((row, &label), into) in self.rows.rows().zip(self.labels).zip(chances.chunks_exact_mut(self.classes)) {
            weights.log_probabilities(row, into);
            loss -= into[label as usize];
            into.iter_mut().for_each(|log| *log = math::exp(*log));
        }
        (loss, chances)
    }

    fn gradient(&self, weights: &Weights, chances: &[f64]) -> Vec<f64> {
        let mut gradient = weights.values.clone();
        for ((row, &label), chances) in self.rows.rows().zip(self.labels).zip(chances.chunks_exact(self.classes)) {
            for (class, (chance, part)) in chances.iter().zip(gradient.chunks_exact_mut(row.len())).enumerate() {
                add(part, row, chance - f64::from(u8::from(class == label as usize)));
            }
        }
        gradient
    }

    /// The matrix of second derivatives times `of`.
    fn curvature(&self, of: &[f64], chances: &[f64]) -> Vec<f64> {
        let mut product = of.to_vec();
        let mut scores = vec![0.0; self.classes];
        for (row, chances) in self.rows.rows().zip(chances.chunks_exact(self.classes)) {
            for (score, part) in scores.iter_mut().zip(of.chunks_exact(row.len())) {
                *score = dot(row, part);
            }
            let mean = dot(chances, &scores);
            for ((score, chance), part) in scores.iter().zip(chances).zip(product.chunks_exact_mut(row.len())) {
                add(part, row, chance * (score - mean));
            }
        }
        product
    }

    /// Newton's step, more exact the nearer the optimum is.
    fn direction(&self, gradient: &[f64], chances: &[f64]) -> Vec<f64> {
        let mut step = vec![0.0; gradient.len()];
        let mut rest: Vec<f64> = gradient.iter().map(|part| -part).collect();
        let mut along = rest.clone();
        let mut square = dot(&rest, &rest);
        let wanted = square.sqrt().sqrt().min(0.1) * square.sqrt();
        for _ in 0..gradient.len() {
            if square.sqrt() <= wanted {
                break;
            }
            let bent = self.curvature(&along, chances);
            let length = square / dot(&along, &bent);
            add(&mut step, &along, length);
            add(&mut rest, &bent, -length);
            let next = dot(&rest, &rest);
            let ratio = next / square;
            along.iter_mut().zip(&rest).for_each(|(along, rest)| *along = rest + ratio * *along);
            square = next;
        }
        step
    }
}

/// Sum of products in eight lanes, which processors add at once.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    let mut lanes = [0.0; 8];
    for (a, b) in left.zip(right) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest
}

fn add(to: &mut [f64], from: &[f64], factor: f64) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += factor * from);
}

#[cfg(test)]
mod tests {
    use querist_protocol::philox::Stream;

    use super::*;

    fn some(rows: usize, width: usize, classes: u64) -> (Matrix, Vec<u32>) {
        let mut stream = Stream::new(7, 0);
        let labels: Vec<u32> = (0..rows).map(|_| stream.next_below(classes) as u32).collect();
        let mut value = |at: usize| stream.next_uniform() - 0.5 + f64::from(labels[at / width]) * (at % width) as f64;
        let values = (0..rows * width).map(&mut value).collect();
        (Matrix { values, width }, labels)
    }

    #[test]
    fn the_optimum_is_that_of_another_program() {
        // Rows 1, 2, -1, -3 with a constant, labels 0, 0, 1, 1 and penalty of the constant, too. By symmetry the
        // classes' weights are opposite: Newton's method by numpy on one of the two, to a gradient of 0.
        let rows = Matrix { values: vec![1.0, 1.0, 2.0, 1.0, -1.0, 1.0, -3.0, 1.0], width: 2 };
        let found = fit(&rows, &[0, 0, 1, 1], 2, &Weights::zero(2, 2));
        let wanted = [REFERENCE[0], REFERENCE[1], -REFERENCE[0], -REFERENCE[1]];
        for (found, wanted) in found.values.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        }
    }

    const REFERENCE: [f64; 2] = [0.639_370_08, 0.027_400_2];

    #[test]
    fn it_ends_at_the_same_place_from_everywhere() {
        let (rows, labels) = some(40, 9, 4);
        let zero = Weights::zero(4, 9);
        let found = fit(&rows, &labels, 4, &zero);
        let task = Task { rows: &rows, labels: &labels, classes: 4 };
        let gradient = task.gradient(&found, &task.loss(&found).1);
        assert!(gradient.iter().all(|part| part.abs() <= CONVERGED), "{gradient:?}");
        let elsewhere = Weights { values: (0..36).map(|at| f64::from(at % 5) - 2.0).collect(), width: 9 };
        let again = fit(&rows, &labels, 4, &elsewhere);
        assert!(found.values.iter().zip(&again.values).all(|(a, b)| (a - b).abs() < 1e-5));
        // Without rows nothing pulls, and a class that no row has is only unlikely.
        assert!(fit(&Matrix { values: vec![], width: 9 }, &[], 4, &elsewhere).values.iter().all(|w| w.abs() < 1e-5));
        let mut chances = [0.0; 5];
        fit(&rows, &labels, 5, &Weights::zero(5, 9)).log_probabilities(rows.rows().next().unwrap(), &mut chances);
        assert!(chances[4].is_finite() && chances.iter().map(|log| log.exp()).sum::<f64>() - 1.0 < 1e-9);
    }
}
