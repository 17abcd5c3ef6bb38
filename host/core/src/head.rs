//! The part of a model between embeddings and logits, as strategies may ask it.

use std::fmt;

use querist_protocol::math;

use crate::array::{Array, Buffer};
use crate::failure::ServiceError;

/// A head in eval mode. The same question has the same answer.
pub trait Head: fmt::Debug + Send + Sync {
    /// Width of an embedding.
    fn width(&self) -> usize;

    /// Classes of the task.
    fn classes(&self) -> usize;

    /// Writes the logits `[n, classes]` of embeddings `[n, width]`.
    ///
    /// # Errors
    /// If the device fails.
    fn logits(&self, embeddings: &[f32], logits: &mut [f32]) -> Result<(), ServiceError>;

    /// Writes, for each of the embeddings `[n, width]`, the gradient there of the cross-entropy of its class, `[n,
    /// width]`. Classes are below [`Head::classes`].
    ///
    /// # Errors
    /// If the device fails.
    fn gradients(&self, embeddings: &[f32], classes: &[u32], gradients: &mut [f32]) -> Result<(), ServiceError>;
}

/// A head of one linear layer, known by its arrays.
#[derive(Debug, Clone)]
pub struct LinearHead {
    /// `[classes, width]`.
    weights: Buffer<f32>,
    /// `[classes]`.
    biases: Buffer<f32>,
    width: usize,
}

impl LinearHead {
    /// The head with weights `[classes, width]` and biases `[classes]`; `None` where the arrays are of other shapes.
    pub fn new(weights: &Array, biases: &Array) -> Option<Self> {
        let (&[classes, width], &[same]) = (weights.shape(), biases.shape()) else { return None };
        let (weights, biases) = (weights.as_f32()?.clone(), biases.as_f32()?.clone());
        (classes == same && classes > 0 && width > 0).then_some(Self { weights, biases, width })
    }

    fn rows(&self) -> impl Iterator<Item = (&[f32], f64)> {
        self.weights.chunks_exact(self.width).zip(self.biases.iter().map(|&bias| f64::from(bias)))
    }

    /// In f64, in the order of the columns.
    fn logits_of<'a>(&'a self, embedding: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        self.rows().map(move |(row, bias)| {
            row.iter().zip(embedding).fold(bias, |sum, (&w, &z)| sum + f64::from(w) * f64::from(z))
        })
    }
}

impl Head for LinearHead {
    fn width(&self) -> usize {
        self.width
    }

    fn classes(&self) -> usize {
        self.biases.len()
    }

    fn logits(&self, embeddings: &[f32], logits: &mut [f32]) -> Result<(), ServiceError> {
        for (embedding, logits) in embeddings.chunks_exact(self.width).zip(logits.chunks_exact_mut(self.classes())) {
            for (place, logit) in logits.iter_mut().zip(self.logits_of(embedding)) {
                *place = logit as f32;
            }
        }
        Ok(())
    }

    fn gradients(&self, embeddings: &[f32], classes: &[u32], gradients: &mut [f32]) -> Result<(), ServiceError> {
        let mut sums = vec![0.0f64; self.width];
        for ((embedding, &own), gradient) in
            embeddings.chunks_exact(self.width).zip(classes).zip(gradients.chunks_exact_mut(self.width))
        {
            let logits: Vec<f64> = self.logits_of(embedding).collect();
            let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let shares: Vec<f64> = logits.iter().map(|logit| math::exp(logit - top)).collect();
            let total = shares.iter().fold(0.0, |sum, share| sum + share);
            let is_own = |class: usize| class == own as usize;
            let others = shares.iter().enumerate().filter(|(class, _)| !is_own(*class));
            let others = others.fold(0.0, |sum, (_, share)| sum + share);
            sums.fill(0.0);
            for (class, ((row, _), share)) in self.rows().zip(&shares).enumerate() {
                // p - 1 as what the other classes have, which does not cancel.
                let residual = if is_own(class) { -others / total } else { share / total };
                sums.iter_mut().zip(row).for_each(|(sum, &w)| *sum += residual * f64::from(w));
            }
            gradient.iter_mut().zip(&sums).for_each(|(place, &sum)| *place = sum as f32);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_head_by_hand() {
        let array = |shape: &[usize], values: &[f32]| Array::f32(shape.to_vec(), values.to_vec()).unwrap();
        let weights = array(&[2, 2], &[1.0, 0.0, 0.5, 2.0]);
        let head = LinearHead::new(&weights, &array(&[2], &[0.0, -1.0])).unwrap();
        let embeddings = [2.0, 1.0, 0.0, 0.5];
        let mut logits = [0.0; 4];
        head.logits(&embeddings, &mut logits).unwrap();
        assert_eq!(logits, [2.0, 2.0, 0.0, 0.0]);
        // Even odds: half the difference of the rows, away from the class.
        let mut gradients = [0.0; 4];
        head.gradients(&embeddings, &[0, 1], &mut gradients).unwrap();
        assert_eq!(gradients, [-0.25, 1.0, 0.25, -1.0]);
        // A sure row still has a direction: 1 - p is e^-200 and not 0.
        let mut sure = [0.0; 2];
        let steep = LinearHead::new(&array(&[2, 1], &[50.0, 0.0]), &array(&[2], &[0.0, 0.0])).unwrap();
        steep.gradients(&[1.0, 1.5], &[0, 0], &mut sure).unwrap();
        let expected = |z: f64| -50.0 * (-50.0 * z).exp();
        assert!((f64::from(sure[0]) / expected(1.0) - 1.0).abs() < 1e-6, "{sure:?}");
        assert!((f64::from(sure[1]) / expected(1.5) - 1.0).abs() < 1e-6, "{sure:?}");
        assert!(LinearHead::new(&weights, &array(&[3], &[0.0; 3])).is_none());
    }
}
