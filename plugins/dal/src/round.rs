//! Coordinates in which the classifier's loss is nearly a round bowl, so that few steps lead to its bottom.
//!
//! L is the Cholesky factor of a matrix M near the loss's second derivative, and weights w become coordinates v = Lᵀ w.
//! M is only guessed, from some rows and in single precision: it changes how soon the optimum is reached, not where it
//! is.

use querist_sdk::prelude::*;

use crate::fit::{Data, Line};

/// Rows of each side that M is made of, as a multiple of the columns.
const ROWS_A_COLUMN: usize = 4;
/// Columns up to which there is an M; beyond, its factor would cost more than it saves, and v = w.
const MOST_COLUMNS: usize = 1024;

/// The factor L, row by row, of which the lower half counts; nothing where v = w.
pub(crate) struct Round {
    lower: Vec<f64>,
    side: usize,
}

impl Round {
    /// From the embeddings and the signed weights of the samples, where the classifier has these weights.
    pub(crate) fn of(query: &Query, data: &Data, sides: &[f64], l2: f64, weights: &[f64]) -> Result<Self> {
        let side = data.columns + 1;
        if data.columns > MOST_COLUMNS {
            return Ok(Self { lower: Vec::new(), side });
        }
        let mut square = products(query, data, sides, weights)?;
        (0..data.columns).for_each(|at| square[at * side + at] += l2);
        factor(&mut square, side, l2);
        Ok(Self { lower: square, side })
    }

    fn row(&self, at: usize) -> &[f64] {
        &self.lower[at * self.side..][..=at]
    }

    /// Lᵀ w.
    pub(crate) fn coordinates(&self, weights: &[f64]) -> Vec<f64> {
        if self.lower.is_empty() {
            return weights.to_vec();
        }
        let mut found = vec![0.0; self.side];
        for (at, weight) in weights.iter().enumerate() {
            found.iter_mut().zip(self.row(at)).for_each(|(sum, l)| *sum += l * weight);
        }
        found
    }

    /// The weights w with Lᵀ w = v.
    pub(crate) fn weights(&self, coordinates: &[f64]) -> Vec<f64> {
        let mut weights = coordinates.to_vec();
        if self.lower.is_empty() {
            return weights;
        }
        for at in (0..self.side).rev() {
            let row = self.row(at);
            weights[at] /= row[at];
            let weight = weights[at];
            weights[..at].iter_mut().zip(row).for_each(|(rest, l)| *rest -= l * weight);
        }
        weights
    }

    /// The gradient by v, from the one by w: g with L g = gradient.
    pub(crate) fn gradient(&self, mut gradient: Vec<f64>) -> Vec<f64> {
        if self.lower.is_empty() {
            return gradient;
        }
        for at in 0..self.side {
            let row = self.row(at);
            let known: f64 = row[..at].iter().zip(&gradient).map(|(l, g)| l * g).sum();
            gradient[at] = (gradient[at] - known) / row[at];
        }
        gradient
    }
}

/// The weighted sum of p (1 - p) z zᵀ over some rows of each side; z ends in a 1.
fn products(query: &Query, data: &Data, sides: &[f64], weights: &[f64]) -> Result<Vec<f64>> {
    let side = data.columns + 1;
    let counts = [true, false].map(|ours| sides.iter().filter(|&&of| of != 0.0 && (of > 0.0) == ours).count());
    let every = counts.map(|count| count.div_ceil(ROWS_A_COLUMN * side));
    let (line, by) = (Line::of(weights, data), data.by());
    let mut kept: Vec<f32> = Vec::new();
    let mut seen = [0usize; 2];
    data.for_each_row(|at, row| {
        if sides[at] == 0.0 {
            return;
        }
        let which = usize::from(sides[at] < 0.0);
        if seen[which].is_multiple_of(every[which]) {
            let above = 1.0 / (1.0 + math::exp(-line.at(row).abs()));
            let root = (sides[at].abs() * every[which] as f64 * above * (1.0 - above)).sqrt();
            kept.extend(row.iter().zip(&data.mean).map(|(&x, mean)| ((f64::from(x) - mean) * (by * root)) as f32));
            kept.push(root as f32);
        }
        seen[which] += 1;
    })?;
    let rows = kept.len() / side;
    let turned: Vec<f32> = (0..kept.len()).map(|at| kept[at % rows * side + at / rows]).collect();
    drop(kept);
    let turned = query.new_matrix(side as u32, rows as u32, &turned)?;
    let mut square = Vec::with_capacity(side * side);
    turned.product(&turned, true)?.for_each_row(|_, row| {
        square.extend(row.iter().map(|&value| f64::from(value)));
        Ok(())
    })?;
    Ok(square)
}

/// Turns a symmetric matrix into its Cholesky factor. A pivot that rounding took the meaning of is at least `least`.
fn factor(square: &mut [f64], side: usize, least: f64) {
    for at in 0..side {
        let (above, here) = square.split_at_mut(at * side);
        for column in 0..at {
            let other = &above[column * side..][..=column];
            let known: f64 = here[..column].iter().zip(other).map(|(a, b)| a * b).sum();
            here[column] = (here[column] - known) / other[column];
        }
        let known: f64 = here[..at].iter().map(|value| value * value).sum();
        here[at] = (here[at] - known).max(least).sqrt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_weights_and_gradients_fit_together() {
        let mut lower = vec![4.0, 9.0, 9.0, 2.0, 5.0, 9.0, 1.0, 3.0, 6.0];
        factor(&mut lower, 3, 1e-3);
        let round = Round { lower, side: 3 };
        let close = |found: &[f64], expected: &[f64]| found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
        let weights = [0.5, -2.0, 3.0];
        let coordinates = round.coordinates(&weights);
        assert!(close(&round.weights(&coordinates), &weights), "{coordinates:?}");
        // Of [[4, 2, 1], [2, 5, 3], [1, 3, 6]] only the lower half was read; its product with the weights is the
        // gradient of half its square form, whose gradient by the coordinates is these themselves.
        assert!(close(&round.gradient(vec![1.0, 0.0, 12.5]), &coordinates));
    }
}
