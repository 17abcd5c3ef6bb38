//! Intervals by drawing seeds with replacement.

use querist_core::seed::stream_key;
use querist_protocol::philox::Stream;
use rayon::prelude::*;
use serde::Serialize;

/// Times that the seeds are drawn.
const RESAMPLES: u64 = 1000;

/// A percentile interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A figure of 1,000 draws, with replacement, of `n` seeds, given as their places; draws without the figure are left
/// out. The 2.5 and 97.5 % points; `None` for fewer than two seeds, or where fewer than half of the draws have it.
///
/// The draws are the same at every call with as many seeds, so a report of the same runs has the same intervals, and
/// two figures of one draw are of the same seeds.
pub fn over_resamples(n: usize, figure: impl Fn(&[usize]) -> Option<f64> + Sync) -> Option<Interval> {
    if n < 2 {
        return None;
    }
    let key = stream_key(0, "bootstrap", "", "");
    let draw = |resample: u64| {
        let mut stream = Stream::new(key, resample as u32);
        let seeds: Vec<usize> = (0..n).map(|_| stream.next_below(n as u64) as usize).collect();
        figure(&seeds)
    };
    let mut found: Vec<f64> = (0..RESAMPLES).into_par_iter().filter_map(draw).collect();
    found.sort_by(f64::total_cmp);
    let enough = found.len() as u64 * 2 >= RESAMPLES;
    enough.then(|| Interval { low: percentile(&found, 0.025), high: percentile(&found, 0.975) })
}

/// Bootstrap interval of a mean over seeds.
pub fn mean_interval(values: &[f64]) -> Option<Interval> {
    over_resamples(values.len(), |seeds| Some(seeds.iter().map(|&seed| values[seed]).sum::<f64>() / seeds.len() as f64))
}

/// A percentile of ascending values, linear between two of them.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    // Equal ends stay what they are, infinite ones too.
    if below == above { below } else { below + (above - below) * place.fract() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_values() {
        // numpy.percentile([1, 2, 4, 8], [0, 50, 97.5, 100])
        let sorted = [1.0, 2.0, 4.0, 8.0];
        let found = [0.0, 0.5, 0.975, 1.0].map(|share| percentile(&sorted, share));
        assert!(found.iter().zip([1.0, 3.0, 7.7, 8.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn the_interval_of_a_mean_is_near_that_of_theory() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let Interval { low, high } = mean_interval(&values).unwrap();
        // 49.5 -+ 1.96 x 28.87 / 10.
        assert!((low - 43.84).abs() < 0.6 && (high - 55.16).abs() < 0.6, "{low} to {high}");
        assert_eq!(mean_interval(&values), mean_interval(&values));
    }

    #[test]
    fn few_seeds_have_no_interval_and_equal_ones_a_point() {
        assert_eq!((mean_interval(&[]), mean_interval(&[0.5])), (None, None));
        assert_eq!(mean_interval(&[0.5; 3]), Some(Interval { low: 0.5, high: 0.5 }));
    }

    #[test]
    fn a_figure_that_most_draws_lack_has_no_interval() {
        assert_eq!(over_resamples(8, |seeds| seeds.contains(&0).then_some(1.0)).map(|i| i.low), Some(1.0));
        assert_eq!(over_resamples(8, |seeds| (!seeds.contains(&0)).then_some(1.0)), None);
    }
}
