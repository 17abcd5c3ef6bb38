//! Greedy choice by values that only fall.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::strategy::Result;

/// Rows by values that never rise from step to step: one that is not on top need not be computed anew (the lazy greedy
/// algorithm of Minoux, 1978). A step is one row that leaves.
pub struct LazyGreedy {
    known: BinaryHeap<Known>,
    step: u32,
}

/// A value and the step it was computed in.
#[derive(PartialEq)]
struct Known {
    value: f64,
    row: u32,
    step: u32,
}

impl Eq for Known {}

impl Ord for Known {
    /// By value; the lower row is the greater among equals.
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.total_cmp(&other.value).then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Known {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl LazyGreedy {
    /// Rows from 0 on with their values before the first step.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let known = (0u32..).zip(values).map(|(row, value)| Known { value, row, step: 0 }).collect();
        Self { known, step: 0 }
    }

    /// The row of the largest value, the lowest among equals, which leaves, with its value; `None` once all have left.
    /// `renew` is given the rows whose values it must compute anew, at most `at_once` together.
    ///
    /// # Errors
    /// The first error of `renew`.
    pub fn best(
        &mut self,
        at_once: usize,
        mut renew: impl FnMut(&[u32]) -> Result<Vec<f64>>,
    ) -> Result<Option<(u32, f64)>> {
        let step = self.step;
        self.step += 1;
        loop {
            let mut stale = Vec::new();
            while stale.len() < at_once.max(1) && self.known.peek().is_some_and(|top| top.step < step) {
                stale.extend(self.known.pop().map(|known| known.row));
            }
            if stale.is_empty() {
                return Ok(self.known.pop().map(|best| (best.row, best.value)));
            }
            let values = renew(&stale)?;
            self.known.extend(stale.into_iter().zip(values).map(|(row, value)| Known { value, row, step }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lazy_picks_are_those_of_computing_everything() {
        // A row's value falls by a part of its own at each step.
        let values = |step: usize| -> Vec<f64> {
            (0..40).map(|row| ((row * 7) % 11) as f64 / (1 + (step * (row % 5)) / 3) as f64).collect()
        };
        for at_once in [1, 3, usize::MAX] {
            let (mut lazy, mut left, mut renewed) = (LazyGreedy::new(values(0)), vec![true; 40], 0);
            for step in 0..40 {
                let now = values(step);
                let best = (0..40).filter(|&row| left[row]).fold(None, |best, row| match best {
                    Some(other) if now[other] >= now[row] => best,
                    _ => Some(row),
                });
                let renew = |rows: &[u32]| {
                    renewed += rows.len();
                    assert!(rows.len() <= at_once);
                    Ok(rows.iter().map(|&row| now[row as usize]).collect())
                };
                let (row, value) = lazy.best(at_once, renew).unwrap().unwrap();
                assert_eq!((Some(row as usize), value), (best, now[row as usize]));
                left[row as usize] = false;
            }
            assert_eq!(lazy.best(1, |_| Ok(Vec::new())).unwrap(), None);
            assert!(at_once > 3 || renewed < 300, "{renewed} of 780 values were computed");
        }
    }
}
