//! Class distributions from logits.

use querist_protocol::math;

/// A softmax that keeps 1 minus its largest value apart, so that it does not cancel where one class has almost
/// everything.
#[derive(Debug, Clone)]
pub struct Softmax {
    /// The probabilities.
    pub probs: Vec<f64>,
    /// How far each logit lies below the largest.
    pub gaps: Vec<f64>,
    /// The most probable class, the lowest among equals.
    pub top: usize,
    /// Sum of all probabilities but the largest.
    pub rest: f64,
}

impl Softmax {
    /// Of the logits of one row, of which there is one.
    pub fn of(logits: &[f32]) -> Self {
        let top = math::argmax(logits);
        let gaps: Vec<f64> = logits.iter().map(|&logit| f64::from(logits[top]) - f64::from(logit)).collect();
        let mut probs: Vec<f64> = gaps.iter().map(|&gap| math::exp(-gap)).collect();
        probs[top] = 0.0;
        let others: f64 = probs.iter().sum();
        probs[top] = 1.0;
        for p in &mut probs {
            *p /= 1.0 + others;
        }
        Self { probs, gaps, top, rest: others / (1.0 + others) }
    }

    /// 1 minus the probability of a class.
    pub fn complement(&self, class: usize) -> f64 {
        if class == self.top { self.rest } else { 1.0 - self.probs[class] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_largest_leaves_does_not_cancel() {
        let plain = Softmax::of(&[0.0, 0.0, 0.0, 0.0]);
        assert_eq!((plain.probs, plain.top, plain.rest), (vec![0.25; 4], 0, 0.75));
        let sure = Softmax::of(&[-80.0, 80.0]);
        assert_eq!((sure.top, sure.probs[1], sure.gaps[0]), (1, 1.0, 160.0));
        assert!(sure.rest > 0.0 && sure.rest < 1e-69, "{}", sure.rest);
        assert_eq!((sure.complement(1), sure.complement(0)), (sure.rest, 1.0));
    }
}
