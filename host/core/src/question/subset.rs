//! A part of a set, drawn by named random numbers.

use querist_protocol::philox::Stream;

use crate::ids::{Round, SampleId};
use crate::seed::Seeds;

/// The samples of the pool, ascending, that a strategy may choose from in a round: `size` of them, or all.
pub fn candidates(pool: &[SampleId], size: Option<usize>, seeds: Seeds, strategy: &str, round: Round) -> Vec<SampleId> {
    match size {
        None => pool.to_vec(),
        Some(size) => subset(pool, size, seeds.query_stream(strategy, "subset", round)),
    }
}

/// `size` of the samples, each set of that size equally likely, in the order in which they stand; all of them where
/// there are no more. Which samples are drawn does not depend on their order.
pub fn subset(samples: &[SampleId], size: usize, stream: Stream) -> Vec<SampleId> {
    if size >= samples.len() {
        return samples.to_vec();
    }
    if size == 0 {
        return Vec::new();
    }
    let key = |sample: SampleId| (stream.item_bits(sample.0, 0), sample);
    let mut keys: Vec<_> = samples.iter().map(|&sample| key(sample)).collect();
    let (_, &mut last, _) = keys.select_nth_unstable(size - 1);
    samples.iter().copied().filter(|&sample| key(sample) <= last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<u64>) -> Vec<SampleId> {
        range.map(SampleId).collect()
    }

    #[test]
    fn a_subset_is_of_its_size_and_in_order_whatever_the_order_was() {
        let all = ids(10..60);
        for size in [0, 1, 7, 49, 50, 51] {
            let drawn = subset(&all, size, Stream::new(3, 1));
            assert_eq!(drawn.len(), size.min(50));
            assert!(drawn.is_sorted() && drawn.iter().all(|sample| all.contains(sample)));
            let backwards: Vec<_> = all.iter().rev().copied().collect();
            let mut other = subset(&backwards, size, Stream::new(3, 1));
            other.sort_unstable();
            assert_eq!(drawn, other);
        }
        assert_ne!(subset(&all, 7, Stream::new(3, 1)), subset(&all, 7, Stream::new(3, 2)), "the round does not enter");
    }

    #[test]
    fn every_sample_is_as_likely_as_any_other() {
        let (all, draws) = (ids(0..10), 20_000);
        let mut counts = [0f64; 10];
        for key in 0..draws {
            for sample in subset(&all, 3, Stream::new(key, 0)) {
                counts[sample.0 as usize] += 1.0;
            }
        }
        let expected = draws as f64 * 0.3;
        // A count varies by n p (1 - p); the sum of squares then has nine degrees of freedom, and 33.7 at 1e-4.
        let chi: f64 = counts.iter().map(|count| (count - expected).powi(2) / (expected * 0.7)).sum::<f64>() * 0.9;
        assert!(chi < 33.7, "{chi}: {counts:?}");
    }
}
