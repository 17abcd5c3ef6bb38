//! How many labels an accuracy costs.

use super::CurvePoint;

/// Fewest labels with which a curve, linear between its points, is at or above a target; `None` where it never is.
pub fn labels_to_reach(curve: &[CurvePoint], target: f64) -> Option<f64> {
    let at = curve.iter().position(|&(_, accuracy)| accuracy >= target)?;
    let (labelled, accuracy) = (curve[at].0 as f64, curve[at].1);
    let Some(&(before, below)) = at.checked_sub(1).map(|before| &curve[before]) else { return Some(labelled) };
    Some(before as f64 + (labelled - before as f64) * (target - below) / (accuracy - below))
}

/// Data utilisation rate: the labels with which `curve` first reaches the baseline's final accuracy, as a share of
/// those with which the baseline does. Below 1, labels are saved. `None` where `curve` never reaches it.
pub fn data_utilisation(curve: &[CurvePoint], baseline: &[CurvePoint]) -> Option<f64> {
    let target = baseline.last()?.1;
    let theirs = labels_to_reach(baseline, target).filter(|&labels| labels > 0.0)?;
    Some(labels_to_reach(curve, target)? / theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: [CurvePoint; 3] = [(100, 0.5), (200, 0.7), (400, 0.8)];

    #[test]
    fn a_target_is_reached_between_two_points() {
        assert_eq!(labels_to_reach(&RANDOM, 0.7), Some(200.0));
        assert!((labels_to_reach(&RANDOM, 0.75).unwrap() - 300.0).abs() < 1e-9);
        assert_eq!((labels_to_reach(&RANDOM, 0.2), labels_to_reach(&RANDOM, 0.81)), (Some(100.0), None));
        assert_eq!(labels_to_reach(&[], 0.5), None);
    }

    #[test]
    fn what_comes_first_counts_on_a_curve_that_falls() {
        assert_eq!(labels_to_reach(&[(10, 0.5), (20, 0.9), (30, 0.6), (40, 0.9)], 0.9), Some(20.0));
    }

    #[test]
    fn the_share_of_labels_is_against_the_baseline() {
        let faster = [(100, 0.5), (200, 0.8), (400, 0.9)];
        assert_eq!(data_utilisation(&faster, &RANDOM), Some(0.5));
        assert_eq!(data_utilisation(&RANDOM, &RANDOM), Some(1.0));
        assert_eq!(data_utilisation(&[(100, 0.5), (400, 0.79)], &RANDOM), None);
        // The baseline was there before its last round: at 166.7 labels.
        let (late, fallen) = ([(100, 0.5), (400, 0.7)], [(100, 0.5), (200, 0.8), (400, 0.7)]);
        assert!((data_utilisation(&late, &fallen).unwrap() - 2.4).abs() < 1e-9);
    }
}
