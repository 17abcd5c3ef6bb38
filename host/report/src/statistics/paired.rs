//! Tests on pairs of seeds, what many of them are worth, and what they could see.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::Serialize;
use statrs::distribution::{ChiSquared, Continuous, ContinuousCDF, Normal, StudentsT};

use super::spread::{Spread, quantile};

/// Student's t test that a mean difference is not zero, two-sided.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairedTest {
    /// The differences.
    pub difference: Spread,
    /// Their mean over its standard error. Infinite where all are the same and not zero, 0 where all are zero.
    #[serde(serialize_with = "finite")]
    pub t: f64,
    /// Chance of a |t| as large without any difference. Of differences that do not vary it says nothing about seeds.
    pub p: f64,
}

/// JSON has no infinity; text has.
fn finite<S: serde::Serializer>(t: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if t.is_finite() { serializer.serialize_f64(*t) } else { serializer.collect_str(t) }
}

impl PairedTest {
    /// The test of some differences, one a seed; `None` for fewer than two.
    pub fn of(differences: &[f64]) -> Option<Self> {
        let difference = Spread::of(differences)?;
        let std = difference.std?;
        if difference.mean == 0.0 {
            return Some(Self { difference, t: 0.0, p: 1.0 });
        }
        let t = difference.mean / (std / (difference.n as f64).sqrt());
        let tail =
            if t.is_finite() { StudentsT::new(0.0, 1.0, (difference.n - 1) as f64).ok()?.sf(t.abs()) } else { 0.0 };
        Some(Self { difference, t, p: 2.0 * tail })
    }

    /// Whether the differences do not vary, so that `p` is no chance over seeds.
    pub fn is_constant(&self) -> bool {
        self.difference.std == Some(0.0)
    }
}

/// Holm's step-down correction of p values: each is what its test may claim if all of them are made. In the order
/// given.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![0.0; p.len()];
    let mut highest = 0.0f64;
    for (rank, &at) in order.iter().enumerate() {
        highest = highest.max(p[at] * (p.len() - rank) as f64).min(1.0);
        corrected[at] = highest;
    }
    corrected
}

/// Chance that a two-sided t test at level .05 sees a true mean difference, given the standard deviation of the
/// differences and their number. `None` for fewer than two, or without a deviation.
pub fn power(difference: f64, std: f64, n: usize) -> Option<f64> {
    let critical = quantile(n, 0.975)?;
    if std.is_nan() || std <= 0.0 || !difference.is_finite() {
        return None;
    }
    Some(noncentral(difference / std * (n as f64).sqrt(), critical, (n - 1) as f64))
}

/// Smallest true mean difference that a two-sided t test at level .05 sees with a chance of .8, given the standard
/// deviation of the differences and their number. `None` for fewer than two, or without a deviation.
pub fn detectable(std: f64, n: usize) -> Option<f64> {
    /// In standard deviations, by number: a report asks for the same few again and again.
    static FOUND: Mutex<BTreeMap<usize, f64>> = Mutex::new(BTreeMap::new());
    if n < 2 || std.is_nan() || std <= 0.0 {
        return None;
    }
    let before = FOUND.lock().ok().and_then(|found| found.get(&n).copied());
    let deviations = match before {
        Some(deviations) => deviations,
        None => detectable_deviations(n)?,
    };
    if let Ok(mut found) = FOUND.lock() {
        found.insert(n, deviations);
    }
    Some(deviations * std)
}

/// Fewest pairs with which a two-sided t test at level .05 sees a true mean difference with a chance of .8, given the
/// standard deviation of the differences. `None` without a difference or a deviation, or where a million are not
/// enough.
pub fn pairs_needed(difference: f64, std: f64) -> Option<usize> {
    /// From here on the t test needs what one of the normal law needs, and half its squared bound more.
    const MANY: f64 = 500.0;
    const MOST: f64 = 1e6;
    if difference == 0.0 || !difference.is_finite() || std.is_nan() || std <= 0.0 {
        return None;
    }
    let normal = Normal::new(0.0, 1.0).ok()?;
    let bound = normal.inverse_cdf(0.975);
    let about = ((bound + normal.inverse_cdf(WANTED)) * std / difference).powi(2);
    if about > MANY {
        return (about <= MOST).then(|| (about + bound * bound / 2.0).ceil() as usize);
    }
    // A t test needs a few more than a normal one, and never fewer.
    let (mut low, mut high) = (1, about.ceil() as usize + 4);
    while high - low > 1 {
        let middle = usize::midpoint(low, high);
        if power(difference, std, middle)? < WANTED { low = middle } else { high = middle }
    }
    Some(high)
}

/// The chance with which a difference is to be seen.
const WANTED: f64 = 0.8;

fn detectable_deviations(n: usize) -> Option<f64> {
    let unit = 1.0 / (n as f64).sqrt();
    let (mut low, mut high) = (0.0, 1.0);
    while power(high * unit, 1.0, n)? < WANTED {
        high *= 2.0;
    }
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if power(middle * unit, 1.0, n)? < WANTED { low = middle } else { high = middle }
    }
    Some((low + high) / 2.0 * unit)
}

/// P(|T| > critical) of a noncentral t: the normal tails, given the spread that was estimated, over its distribution.
fn noncentral(shift: f64, critical: f64, freedom: f64) -> f64 {
    // Simpson's rule over quantiles of the chi-squared law would crowd its tails; over its range it does not.
    const STEPS: usize = 6000;
    let (Ok(normal), Ok(squares)) = (Normal::new(0.0, 1.0), ChiSquared::new(freedom)) else { return f64::NAN };
    // With s = sqrt(chi²/f) as the variable its density has no pole at 0, even for one degree of freedom.
    let most = (1.0 + 12.0 / freedom.sqrt()).max(4.0);
    let at = |s: f64| {
        let density = squares.pdf(freedom * s * s) * 2.0 * freedom * s;
        let density = if density.is_finite() { density } else { 0.0 };
        (normal.sf(critical * s - shift) + normal.cdf(-critical * s - shift)) * density
    };
    let width = most / STEPS as f64;
    let weight = |step: usize| {
        if step == 0 || step == STEPS {
            1.0
        } else if step % 2 == 1 {
            4.0
        } else {
            2.0
        }
    };
    let sum: f64 = (0..=STEPS).map(|step| weight(step) * at((step as f64).max(1e-9) * width)).sum();
    sum * width / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_that_do_not_vary() {
        let same = PairedTest::of(&[0.25; 4]).unwrap();
        assert_eq!((same.t, same.p, same.is_constant()), (f64::INFINITY, 0.0, true));
        let none = PairedTest::of(&[0.0; 4]).unwrap();
        assert_eq!((none.t, none.p, none.is_constant()), (0.0, 1.0, true));
        let below = PairedTest::of(&[-0.1; 3]).unwrap();
        assert_eq!((below.t, below.p), (f64::NEG_INFINITY, 0.0));
        assert_eq!((PairedTest::of(&[]), PairedTest::of(&[0.1])), (None, None));
        assert_eq!(serde_json::to_value(same).unwrap()["t"], "inf");
    }

    #[test]
    fn holm_by_hand() {
        // Sorted .01, .02, .03, .4 times 4, 3, 2, 1: .04, .06, .06, .4.
        let found = holm(&[0.03, 0.01, 0.4, 0.02]);
        let wanted = [0.06, 0.04, 0.4, 0.06];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert_eq!(holm(&[0.7, 0.6]), [1.0, 1.0]);
        assert_eq!(holm(&[]), Vec::<f64>::new());
    }

    #[test]
    fn without_a_difference_the_power_is_the_level() {
        for n in [2, 3, 5, 10, 50] {
            let found = power(0.0, 0.01, n).unwrap();
            assert!((found - 0.05).abs() < 1e-6, "{n}: {found}");
        }
        assert_eq!((power(0.1, 0.0, 5), power(0.1, 0.01, 1), detectable(0.0, 5)), (None, None, None));
    }

    #[test]
    fn so_many_pairs_are_needed_and_not_one_fewer() {
        for (difference, std) in [(0.01, 0.01), (0.02, 0.01), (-0.01, 0.03), (0.1, 0.001), (0.01, 0.2)] {
            let needed = pairs_needed(difference, std).unwrap();
            assert!(power(difference, std, needed).unwrap() >= 0.8, "{difference} {std}: {needed}");
            assert!(needed == 2 || power(difference, std, needed - 1).unwrap() < 0.8, "{difference} {std}: {needed}");
        }
        // G*Power: a paired t test of effect .5, two-sided, needs 34 pairs; of 1, 10.
        assert_eq!((pairs_needed(0.5, 1.0), pairs_needed(1.0, 1.0)), (Some(34), Some(10)));
        // (1.96 + .8416)² x 10,000 by the normal law, and 1.92 for not knowing the deviation.
        assert_eq!(pairs_needed(0.01, 1.0), Some(78_491));
        assert_eq!((pairs_needed(0.0, 1.0), pairs_needed(0.1, 0.0), pairs_needed(1e-9, 1.0)), (None, None, None));
    }

    #[test]
    fn what_is_detectable_is_detected() {
        for n in [2, 3, 5, 30] {
            let least = detectable(0.02, n).unwrap();
            assert!((power(least, 0.02, n).unwrap() - 0.8).abs() < 1e-6);
        }
    }
}
