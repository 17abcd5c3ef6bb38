//! A mixture of two Gaussians in one dimension, from a start that is always the same.

use querist_sdk::protocol::math;

/// What is added to a component's weight, so that none is empty.
const EMPTY: f64 = 10.0 * f64::EPSILON;

/// When a fit ends, and what variances have added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) most: u32,
    pub(crate) tolerance: f64,
    pub(crate) floor: f64,
}

/// One component.
#[derive(Debug, Clone, Copy, Default)]
struct Gaussian {
    weight: f64,
    mean: f64,
    variance: f64,
}

impl Gaussian {
    /// The logarithm of its part in the density.
    fn log(&self, value: f64) -> f64 {
        let apart = value - self.mean;
        let tau = 2.0 * std::f64::consts::PI;
        math::ln(self.weight) - 0.5 * (math::ln(tau * self.variance) + apart * apart / self.variance)
    }
}

/// Logarithms of the odds that each value is of the component with the larger mean (the second among equals), and that
/// mean. All odds are 1 where there are fewer than two values, or all are equal.
pub(crate) fn log_odds(values: &[f64], options: Options) -> (Vec<f64>, f64) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let (Some(&low), Some(&high)) = (order.first(), order.last()) else { return (Vec::new(), 0.0) };
    if values[low] == values[high] {
        return (vec![0.0; values.len()], values[low]);
    }
    // How much each value belongs to the second component.
    let mut second = vec![0.0; values.len()];
    order[split(values, &order)..].iter().for_each(|&at| second[at] = 1.0);
    let mut both = fitted(values, &second, options.floor);
    let mut before = f64::NEG_INFINITY;
    for _ in 0..options.most {
        let likelihood = expect(values, &both, &mut second);
        both = fitted(values, &second, options.floor);
        if (likelihood - before).abs() < options.tolerance {
            break;
        }
        before = likelihood;
    }
    let (larger, smaller) = if both[0].mean > both[1].mean { (both[0], both[1]) } else { (both[1], both[0]) };
    (values.iter().map(|&value| larger.log(value) - smaller.log(value)).collect(), larger.mean)
}

/// Where the values, in order, fall into two parts with the least squares of distances from their means.
fn split(values: &[f64], order: &[usize]) -> usize {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let total: f64 = values.iter().map(|value| value - mean).sum();
    let (mut sum, mut best) = (0.0, (f64::NEG_INFINITY, 1));
    for (at, &place) in order.iter().enumerate().take(values.len() - 1) {
        sum += values[place] - mean;
        let (below, above) = ((at + 1) as f64, (values.len() - at - 1) as f64);
        // Squares between the parts: the more, the fewer are left within.
        let between = sum * sum / below + (total - sum) * (total - sum) / above;
        if between > best.0 {
            best = (between, at + 1);
        }
    }
    best.1
}

fn fitted(values: &[f64], second: &[f64], floor: f64) -> [Gaussian; 2] {
    let one = |of: &dyn Fn(f64) -> f64| {
        let count = second.iter().map(|&share| of(share)).sum::<f64>() + EMPTY;
        let mean = values.iter().zip(second).map(|(value, &share)| of(share) * value).sum::<f64>() / count;
        let square = |(value, &share): (&f64, &f64)| of(share) * (value - mean) * (value - mean);
        let variance = values.iter().zip(second).map(square).sum::<f64>() / count + floor;
        Gaussian { weight: count, mean, variance }
    };
    let mut both = [one(&|share| 1.0 - share), one(&|share| share)];
    let sum = both[0].weight + both[1].weight;
    both.iter_mut().for_each(|one| one.weight /= sum);
    both
}

/// Says how much each value belongs to the second component. The mean logarithm of the density.
fn expect(values: &[f64], both: &[Gaussian; 2], second: &mut [f64]) -> f64 {
    let mut sum = 0.0;
    for (&value, share) in values.iter().zip(second) {
        let odds = both[1].log(value) - both[0].log(value);
        let below = math::exp(-odds.abs());
        *share = if odds > 0.0 { 1.0 / (1.0 + below) } else { below / (1.0 + below) };
        sum += both[usize::from(odds > 0.0)].log(value) + math::ln_1p(below);
    }
    sum / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options { most: 10, tolerance: 1e-2, floor: 5e-4 };

    #[test]
    fn the_worked_example() {
        let (odds, mean) = log_odds(&[1.0, 1.2, 1.1, 4.0, 4.2, 3.9, 5.0], OPTIONS);
        let expected = [-29.267_23, -25.878_30, -28.243_75, 585.198_2, 669.106_0, 545.257_3, 1058.416];
        for (odds, expected) in odds.iter().zip(expected) {
            assert!((odds - expected).abs() < 1e-5 * expected.abs(), "{odds}, expected {expected}");
        }
        assert!((mean - 4.275).abs() < 1e-9);
    }

    #[test]
    fn too_little_to_tell_has_even_odds() {
        assert_eq!(log_odds(&[3.0], OPTIONS).0, [0.0]);
        assert_eq!(log_odds(&[3.0, 3.0], OPTIONS).0, [0.0, 0.0]);
        assert!(log_odds(&[], OPTIONS).0.is_empty());
    }
}
