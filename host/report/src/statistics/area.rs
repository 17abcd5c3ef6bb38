//! Areas under curves, in both definitions in use.

use super::CurvePoint;

/// Area under a curve by trapezia over the labels, divided by their range: the mean accuracy over the budget. `None`
/// for fewer than two points.
///
/// Benchmarks that divide by a quota of labels to buy mean this one (Zhan et al. 2022); they round it to three digits.
pub fn area_over_labels(curve: &[CurvePoint]) -> Option<f64> {
    let range = curve.last()?.0.checked_sub(curve.first()?.0).filter(|&range| range > 0)?;
    let area: f64 = curve.windows(2).map(|w| (w[1].0 as f64 - w[0].0 as f64) * (w[0].1 + w[1].1) / 2.0).sum();
    Some(area / range as f64)
}

/// Area by trapezia over the round number scaled to 1 (Lüth et al. 2023); equal to [`area_over_labels`] only for equal
/// steps. `None` for fewer than two points.
pub fn area_over_rounds(curve: &[CurvePoint]) -> Option<f64> {
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
    }
}
