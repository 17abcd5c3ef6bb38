//! Areas, spreads and paired intervals.

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
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let std = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        Some(Self { mean, std, n })
    }

    /// Half the width of Student's t interval for the mean at a confidence such as 0.95; `None` for one value.
    pub fn half_width(&self, confidence: f64) -> Option<f64> {
        let freedom = (self.n - 1) as f64;
        let t = StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(0.5 + confidence / 2.0);
        Some(t * self.std? / (self.n as f64).sqrt())
    }
}

/// Area under a curve of (labelled samples, accuracy) by trapezia over the labels, divided by their range: the mean
/// accuracy over the budget. `None` for fewer than two points.
pub fn area_over_labels(curve: &[(usize, f64)]) -> Option<f64> {
    let range = curve.last()?.0.checked_sub(curve.first()?.0).filter(|&range| range > 0)?;
    let area: f64 = curve.windows(2).map(|w| (w[1].0 as f64 - w[0].0 as f64) * (w[0].1 + w[1].1) / 2.0).sum();
    Some(area / range as f64)
}

/// Area by trapezia over the round number scaled to 1; equal to [`area_over_labels`] only for equal steps. `None` for
/// fewer than two points.
pub fn area_over_rounds(curve: &[(usize, f64)]) -> Option<f64> {
    let steps = curve.len().checked_sub(1).filter(|&steps| steps > 0)?;
    Some(curve.windows(2).map(|w| (w[0].1 + w[1].1) / 2.0).sum::<f64>() / steps as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // 100 labels at .5 to .7, then 300 at .7 to .8: (100 * .6 + 300 * .75) / 400 and (.6 + .75) / 2.
        let curve = [(100, 0.5), (200, 0.7), (500, 0.8)];
        assert!((area_over_labels(&curve).unwrap() - 0.7125).abs() < 1e-12);
        assert!((area_over_rounds(&curve).unwrap() - 0.675).abs() < 1e-12);
        assert_eq!((area_over_labels(&curve[..1]), area_over_rounds(&curve[..1])), (None, None));

        // 2, 4, 6: mean 4, squares 4 + 0 + 4 over 2; t(2) at .975 is 4.302653.
        let spread = Spread::of(&[2.0, 4.0, 6.0]).unwrap();
        assert_eq!((spread.mean, spread.std, spread.n), (4.0, Some(2.0), 3));
        assert!((spread.half_width(0.95).unwrap() - 4.302_653 * 2.0 / 3f64.sqrt()).abs() < 1e-5);
        let one = Spread::of(&[2.0]).unwrap();
        assert_eq!((one.std, one.half_width(0.95), Spread::of(&[])), (None, None, None));
    }
}
