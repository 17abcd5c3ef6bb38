//! Which positions of an epoch's order make up its minibatches.

use std::ops::Range;

use querist_core::config::Recipe;

use crate::plan::Length;

/// The minibatches of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Consecutive positions of the epoch's order.
    pub(crate) minibatches: Vec<Range<usize>>,
    /// Samples of each pass over the labelled set, of which the order is made; fewer than there are where some are left
    /// out.
    pub(crate) pass: usize,
}

impl Layout {
    /// Of `samples` labelled ones. `longest` is the number of steps of a longer set.
    pub(crate) fn new(recipe: &Recipe, samples: usize, smallest: usize, length: Length, longest: usize) -> Self {
        let of = |samples| trimmed(minibatches(samples, recipe.minibatch, smallest), recipe);
        let pass = of(samples);
        let used = pass.last().map_or(0, |range| range.end);
        match length {
            Length::Labelled => Self { minibatches: pass, pass: used },
            Length::Longest => Self { minibatches: cycled(&pass, pass.len().max(longest)), pass: used },
            Length::AtLeast(least) if least <= samples => Self { minibatches: pass, pass: used },
            // Passes follow each other without a seam.
            Length::AtLeast(count) | Length::Samples(count) => Self { minibatches: of(count), pass: samples },
        }
    }

    /// Samples of an epoch.
    pub(crate) fn samples(&self) -> usize {
        self.minibatches.last().map_or(0, |range| range.end)
    }
}

/// Minibatches of `size` consecutive positions, the last one short; one shorter than `smallest` joins the one before.
pub(crate) fn minibatches(samples: usize, size: usize, smallest: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> =
        (0..samples).step_by(size).map(|start| start..samples.min(start + size)).collect();
    if let [.., before, last] = ranges.as_mut_slice()
        && last.len() < smallest
    {
        before.end = samples;
        ranges.pop();
    }
    ranges
}

/// The same without what the recipe leaves out at the end.
fn trimmed(mut ranges: Vec<Range<usize>>, recipe: &Recipe) -> Vec<Range<usize>> {
    if let [.., before, last] = ranges.as_mut_slice()
        && recipe.drop_last
        && last.len() < recipe.minibatch
    {
        debug_assert_eq!(before.len(), recipe.minibatch);
        ranges.pop();
    }
    if recipe.drop_last
        && let [.., last] = ranges.as_mut_slice()
    {
        // What joined a full minibatch is left out, too.
        last.end = last.end.min(last.start + recipe.minibatch);
    }
    if let Some(last) = ranges.last_mut().filter(|last| recipe.even_minibatch && last.len() % 2 == 1) {
        last.end -= 1;
        if last.end == last.start && ranges.len() > 1 {
            ranges.pop();
        }
    }
    ranges
}

/// The first `steps` minibatches of pass after pass, at positions that go on from one pass to the next.
fn cycled(pass: &[Range<usize>], steps: usize) -> Vec<Range<usize>> {
    let samples = pass.last().map_or(0, |range| range.end);
    (0..steps)
        .map(|step| {
            let (passes, range) = (step / pass.len(), &pass[step % pass.len()]);
            range.start + passes * samples..range.end + passes * samples
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_follow_each_other() {
        let cycle =
            |steps| cycled(&minibatches(5, 2, 1), steps).into_iter().map(|r| (r.start, r.end)).collect::<Vec<_>>();
        assert_eq!(cycle(3), [(0, 2), (2, 4), (4, 5)]);
        assert_eq!(cycle(5), [(0, 2), (2, 4), (4, 5), (5, 7), (7, 9)]);
    }

    #[test]
    fn every_sample_is_in_one_minibatch() {
        let ends = |samples, size, smallest| {
            let ranges = minibatches(samples, size, smallest);
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start) && ranges[0].start == 0);
            ranges.into_iter().map(|range| range.end).collect::<Vec<_>>()
        };
        assert_eq!(ends(5, 2, 1), [2, 4, 5]);
        assert_eq!(ends(5, 2, 2), [2, 5]);
        assert_eq!(ends(4, 2, 2), [2, 4]);
        assert_eq!(ends(3, 64, 2), [3]);
        // A single short minibatch has none before it to join.
        assert_eq!(ends(1, 64, 2), [1]);
    }

    #[test]
    fn epochs_of_every_length() {
        let base = Recipe { minibatch: 4, ..Recipe::default() };
        let of = |recipe: &Recipe, samples, length| {
            let layout = Layout::new(recipe, samples, 2, length, 5);
            (layout.minibatches.iter().map(Range::len).collect::<Vec<_>>(), layout.pass)
        };
        assert_eq!(of(&base, 6, Length::Labelled), (vec![4, 2], 6));
        assert_eq!(of(&base, 6, Length::Longest), (vec![4, 2, 4, 2, 4], 6));
        assert_eq!(of(&base, 6, Length::Samples(10)), (vec![4, 4, 2], 6));
        assert_eq!(of(&base, 6, Length::AtLeast(10)), (vec![4, 4, 2], 6));
        assert_eq!(of(&base, 12, Length::AtLeast(10)), (vec![4, 4, 4], 12));
        let whole = Recipe { drop_last: true, ..base.clone() };
        assert_eq!(of(&whole, 6, Length::Labelled), (vec![4], 4));
        assert_eq!(of(&whole, 5, Length::Labelled), (vec![4], 4), "one that joined is left out, too");
        assert_eq!(of(&whole, 3, Length::Labelled), (vec![3], 3), "the only one stays");
        assert_eq!(of(&whole, 6, Length::Longest), (vec![4; 5], 4));
        let even = Recipe { even_minibatch: true, ..base };
        assert_eq!(of(&even, 7, Length::Labelled), (vec![4, 2], 6));
        assert_eq!(of(&even, 5, Length::Labelled), (vec![4], 4));
    }
}
