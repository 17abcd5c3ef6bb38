//! Means over seeds, and how far they are known.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation (divisor n - 1); `None` for one value.
    pub std: Option<f64>,
    /// Number of values.
    pub n: usize,
}

impl Spread {
    /// The spread of some values; `None` of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        if n == 0 {
            return None;
        }
        let sum: f64 = values.iter().sum();
        // Equal values have no spread; a rounded mean would give them one.
        let is_constant = values.iter().all(|&value| value == values[0]);
        let mean = if is_constant { values[0] } else { sum / n as f64 };
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let std = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        Some(Self { mean, std, n })
    }

    /// Half the width of Student's t interval for the mean at a confidence such as 0.95; `None` for one value.
    pub fn half_width(&self, confidence: f64) -> Option<f64> {
        Some(quantile(self.n, 0.5 + confidence / 2.0)? * self.std? / (self.n as f64).sqrt())
    }
}

/// Quantile of Student's t of the mean of `n` values; `None` below two.
pub(super) fn quantile(n: usize, probability: f64) -> Option<f64> {
    Some(StudentsT::new(0.0, 1.0, n.checked_sub(1)? as f64).ok()?.inverse_cdf(probability))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // 2, 4, 6: mean 4, squares 4 + 0 + 4 over 2; t(2) at .975 is 4.302653.
        let spread = Spread::of(&[2.0, 4.0, 6.0]).unwrap();
        assert_eq!((spread.mean, spread.std, spread.n), (4.0, Some(2.0), 3));
        assert!((spread.half_width(0.95).unwrap() - 4.302_653 * 2.0 / 3f64.sqrt()).abs() < 1e-5);
        let one = Spread::of(&[2.0]).unwrap();
        assert_eq!((one.std, one.half_width(0.95), Spread::of(&[])), (None, None, None));
    }

    #[test]
    fn equal_values_have_no_spread() {
        // Three times .1 is not three tenths in binary, and a third of it not .1.
        assert_eq!(Spread::of(&[0.1; 3]).unwrap(), Spread { mean: 0.1, std: Some(0.0), n: 3 });
    }
}
