//! When to stop asking for labels: two rules that advise, and end nothing.
//!
//! *Stabilising predictions* (Bloodgood and Vijay-Shanker, "A method for stopping active learning based on stabilizing
//! predictions and the need for user-adjustable stopping", CoNLL 2009): the models of successive rounds predict the
//! classes of one fixed set of samples, which need no labels; where the mean of Cohen's kappa between each two of the
//! last rounds is above [`STABLE`], new labels change next to nothing.
//!
//! *Expected gain*: the accuracies so far are fitted by the inverse power law a - b n^-c of n labels, and what the next
//! batch would add by it is looked at with an interval. Where even its upper end is below [`LEAST_GAIN`], that batch is
//! not worth its price.

use querist_core::agreement::kappa;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Mean kappa above which predictions are stable.
pub const STABLE: f64 = 0.99;
/// Kappas between successive rounds that it is the mean of.
pub const WINDOW: usize = 3;
/// Samples at most whose predictions are compared.
pub const MOST_WATCHED: usize = 2000;
/// Gain of the next batch in accuracy, as a share, below which it is not worth its price.
pub const LEAST_GAIN: f64 = 0.005;
/// Rounds with an accuracy that a curve is fitted through at least: one more than it has parameters.
pub const LEAST_ROUNDS: usize = 4;

/// Quantile of the normal distribution for Wilson's intervals of 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    /// More labels change little: stopping is reasonable.
    Stop,
    /// More labels change something.
    GoOn,
    /// There are too few rounds to tell.
    TooEarly,
}

/// A share with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// The share.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Share {
    /// A share of `count` trials with Wilson's 95 % interval; `None` where nothing was tried.
    pub fn wilson(value: f64, count: usize) -> Option<Self> {
        if count == 0 || !value.is_finite() {
            return None;
        }
        let n = count as f64;
        let scale = 1.0 + Z * Z / n;
        let middle = (value + Z * Z / (2.0 * n)) / scale;
        let half = Z / scale * (value * (1.0 - value) / n + Z * Z / (4.0 * n * n)).sqrt();
        Some(Self { value, low: (middle - half).max(0.0), high: (middle + half).min(1.0) })
    }
}

/// Cohen's kappa between two predictions of the same samples, 1 where both always say one and the same class.
fn agreement(before: &[u32], now: &[u32]) -> f64 {
    kappa(before.iter().zip(now).map(|(&before, &now)| [before, now])).unwrap_or(1.0)
}

/// What the rule of stabilising predictions says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stability {
    /// The advice.
    pub advice: Advice,
    /// Kappas between the models of successive rounds, by round; those of the last [`WINDOW`] count.
    pub kappas: Vec<f64>,
    /// Mean of the last [`WINDOW`]; `None` where there are fewer.
    pub mean: Option<f64>,
}

impl Stability {
    /// By the predicted classes of one fixed set of samples, by round; rounds without a model have none.
    pub fn of(predictions: &[Vec<u32>]) -> Self {
        let known: Vec<&Vec<u32>> = predictions.iter().filter(|round| !round.is_empty()).collect();
        let comparable = |pair: &&[&Vec<u32>]| pair[0].len() == pair[1].len();
        let kappas: Vec<f64> = known.windows(2).filter(comparable).map(|pair| agreement(pair[0], pair[1])).collect();
        let last = kappas.len().checked_sub(WINDOW).map(|from| &kappas[from..]);
        let mean = last.map(|last| last.iter().sum::<f64>() / WINDOW as f64);
        let advice = match mean {
            None => Advice::TooEarly,
            Some(mean) if mean > STABLE => Advice::Stop,
            Some(_) => Advice::GoOn,
        };
        Self { advice, kappas, mean }
    }
}

/// What the rule of expected gain says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gain {
    /// The advice.
    pub advice: Advice,
    /// Accuracy that the next batch adds by the fitted curve, with its interval; `None` where none could be fitted.
    pub expected: Option<Share>,
    /// The fitted curve a - b n^-c.
    pub curve: Option<[f64; 3]>,
}

/// A fit of a - b x with x = n^-c.
struct Fit {
    a: f64,
    b: f64,
    c: f64,
    /// Sum of squared residuals.
    rest: f64,
    /// Sum of squares of x about its mean.
    spread: f64,
}

impl Gain {
    /// By (labels, accuracy) of each round and the labels of the next batch.
    ///
    /// The exponent c is the best of 0.05, 0.10, ... 2.00; a and b are those of least squares for it, with b not below
    /// 0 and a not above 1. The 95 % interval is that of b at this exponent, from the residuals of k rounds with
    /// Student's t of k - 3 degrees of freedom: it says how far the rounds scatter about the curve, and nothing of
    /// whether a power law holds.
    pub fn of(rounds: &[(usize, f64)], batch: usize) -> Self {
        let points: Vec<(f64, f64)> = rounds
            .iter()
            .filter(|(labels, accuracy)| *labels > 0 && accuracy.is_finite())
            .map(|&(labels, accuracy)| (labels as f64, accuracy))
            .collect();
        let too_early = Self { advice: Advice::TooEarly, expected: None, curve: None };
        if points.len() < LEAST_ROUNDS {
            return too_early;
        }
        let fits = (1..=40).filter_map(|step| Fit::at(&points, f64::from(step) * 0.05));
        let Some(fit) = fits.reduce(|best, fit| if fit.rest < best.rest { fit } else { best }) else {
            return too_early;
        };
        let Some(&(labels, _)) = points.last() else { return too_early };
        let step = labels.powf(-fit.c) - (labels + batch as f64).powf(-fit.c);
        let freedom = (points.len() - 3) as f64;
        let Ok(t) = StudentsT::new(0.0, 1.0, freedom) else { return too_early };
        let deviation = (fit.rest / freedom / fit.spread).sqrt();
        let (value, half) = (fit.b * step, t.inverse_cdf(0.975) * deviation * step);
        let expected = Share { value, low: (value - half).max(0.0), high: (value + half).min(1.0) };
        let advice = if expected.high < LEAST_GAIN { Advice::Stop } else { Advice::GoOn };
        Self { advice, expected: Some(expected), curve: Some([fit.a, fit.b, fit.c]) }
    }
}

impl Fit {
    /// The best a and b for an exponent; `None` where all rounds have the same number of labels.
    fn at(points: &[(f64, f64)], c: f64) -> Option<Self> {
        let n = points.len() as f64;
        let xs: Vec<f64> = points.iter().map(|(labels, _)| labels.powf(-c)).collect();
        let mean_x = xs.iter().sum::<f64>() / n;
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
        let spread: f64 = xs.iter().map(|x| (x - mean_x).powi(2)).sum();
        if spread <= f64::EPSILON * mean_x * mean_x {
            return None;
        }
        let together: f64 = xs.iter().zip(points).map(|(x, (_, y))| (x - mean_x) * (y - mean_y)).sum();
        let mut b = (-together / spread).max(0.0);
        let mut a = mean_y + b * mean_x;
        if a > 1.0 {
            // On the line through a = 1 the best slope is that through the origin of (x, 1 - y).
            let below: f64 = xs.iter().zip(points).map(|(x, (_, y))| x * (1.0 - y)).sum();
            (a, b) = (1.0, (below / xs.iter().map(|x| x * x).sum::<f64>()).max(0.0));
        }
        let rest = xs.iter().zip(points).map(|(x, (_, y))| (y - a + b * x).powi(2)).sum();
        Some(Self { a, b, c, rest, spread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    #[test]
    fn predictions_are_stable_after_three_rounds_that_change_nothing() {
        let (a, b) = (vec![0, 1, 2, 0, 1, 2], vec![0, 1, 2, 0, 1, 1]);
        let of = |rounds: &[&Vec<u32>]| Stability::of(&rounds.iter().map(|&round| round.clone()).collect::<Vec<_>>());
        assert_eq!(of(&[]).advice, Advice::TooEarly);
        assert_eq!(of(&[&a, &a, &a]).advice, Advice::TooEarly, "two kappas are too few");
        let stable = of(&[&b, &a, &a, &a, &a]);
        assert_eq!((stable.advice, stable.mean, stable.kappas.len()), (Advice::Stop, Some(1.0), 4));
        // 5 of 6 agree; by chance 2/6 * 2/6 + 2/6 * 3/6 + 2/6 * 1/6 = 1/3 do: kappa 3/4.
        let moved = of(&[&a, &a, &a, &b]);
        assert!(moved.advice == Advice::GoOn && close(moved.mean.unwrap(), (1.0 + 1.0 + 0.75) / 3.0));
        // A round without a model is left out.
        assert_eq!(of(&[&Vec::new(), &a, &a, &a, &a]).advice, Advice::Stop);
    }

    #[test]
    fn an_exact_power_law_is_found_and_its_gain_told() {
        let law = |labels: usize| 0.9 - 2.0 * (labels as f64).powf(-0.5);
        let rounds = |counts: &[usize]| counts.iter().map(|&n| (n, law(n))).collect::<Vec<_>>();
        let early = Gain::of(&rounds(&[25, 50, 75, 100]), 25);
        let [a, b, c] = early.curve.unwrap();
        assert!((a - 0.9).abs() < 1e-6 && (b - 2.0).abs() < 1e-6 && close(c, 0.5), "{a} {b} {c}");
        // 2 / sqrt(100) - 2 / sqrt(125).
        assert!((early.expected.unwrap().value - 0.021_114_561_8).abs() < 1e-6);
        assert_eq!(early.advice, Advice::GoOn);
        let late = Gain::of(&rounds(&[2000, 2100, 2200, 2300, 2400]), 100);
        assert!(late.expected.unwrap().high < LEAST_GAIN && late.advice == Advice::Stop);
    }

    #[test]
    fn what_scatters_widely_is_not_called_flat() {
        let flat = [(10, 0.8), (20, 0.8), (30, 0.8), (40, 0.8)];
        let told = Gain::of(&flat, 10);
        assert_eq!((told.advice, told.expected.map(|gain| gain.high)), (Advice::Stop, Some(0.0)));
        let wild = Gain::of(&[(10, 0.5), (20, 0.9), (30, 0.4), (40, 0.9)], 40);
        assert_eq!(wild.advice, Advice::GoOn, "{wild:?}");
        assert_eq!(Gain::of(&flat[..3], 10).advice, Advice::TooEarly);
        assert_eq!(Gain::of(&[(10, f64::NAN); 9], 10).advice, Advice::TooEarly);
        assert_eq!(Gain::of(&[(10, 0.5); 9], 10).advice, Advice::TooEarly, "one number of labels is no curve");
    }

    #[test]
    fn four_rounds_leave_one_degree_of_freedom() {
        let rounds = [(10, 0.5), (20, 0.61), (30, 0.62), (40, 0.66)];
        let told = Gain::of(&rounds, 10);
        let ([a, b, c], gain) = (told.curve.unwrap(), told.expected.unwrap());
        let xs = rounds.map(|(labels, _)| (labels as f64).powf(-c));
        let mean = xs.iter().sum::<f64>() / 4.0;
        let spread: f64 = xs.iter().map(|x| (x - mean).powi(2)).sum();
        let rest: f64 = xs.iter().zip(rounds).map(|(x, (_, y))| (y - a + b * x).powi(2)).sum();
        let step = 40f64.powf(-c) - 50f64.powf(-c);
        assert!(close(gain.value, b * step));
        // Student's t of one degree of freedom, which tables have as 12.706.
        let half = 12.706_204_736 * (rest / spread).sqrt() * step;
        assert!((gain.high - gain.value - half).abs() < 1e-9, "{gain:?}, expected {half} more");
    }

    #[test]
    fn wilsons_interval_of_a_known_case() {
        // 8 of 10, a case of textbooks: 0.4902 to 0.9433.
        let share = Share::wilson(0.8, 10).unwrap();
        assert!((share.low - 0.490_162).abs() < 1e-5 && (share.high - 0.943_318).abs() < 1e-5, "{share:?}");
        assert_eq!(Share::wilson(f64::NAN, 10), None);
        assert_eq!(Share::wilson(0.5, 0), None);
        assert_eq!(Share::wilson(1.0, 5).unwrap().high, 1.0);
    }
}
