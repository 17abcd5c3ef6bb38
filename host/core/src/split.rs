//! Which samples may be asked for, which tune and which test.

use querist_protocol::philox::Stream;
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::ids::{Label, SampleId};

/// A partition of the dataset by purpose; each list ascends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Samples that may be labelled.
    pub pool: Vec<SampleId>,
    /// Labelled samples that no strategy may ask for and no round trains on.
    pub validation: Vec<SampleId>,
    /// Samples that are read for evaluation only.
    pub test: Vec<SampleId>,
}

impl Split {
    /// Holds out `validation` training samples, stratified by class, and keeps the official test set.
    ///
    /// Where the dataset has no official test set, `test` samples are held out as well, first. The shares of the
    /// classes are those of the dataset, rounded by largest remainder.
    ///
    /// # Errors
    /// If nothing would be left for the pool or for the test, or `test` is given although there is an official one.
    pub fn draw(dataset: &Dataset, validation: usize, test: Option<usize>, stream: Stream) -> Result<Self, SplitError> {
        let official = dataset.official_test();
        let mut rest: Vec<SampleId> = (0..(dataset.len() - official) as u64).map(SampleId).collect();
        let held_out = match (official, test) {
            (0, Some(0) | None) => return Err(SplitError::NoTest { dataset: dataset.name().to_owned() }),
            (0, Some(test)) => test,
            (_, Some(_)) => return Err(SplitError::TwoTests { dataset: dataset.name().to_owned(), official }),
            (_, None) => 0,
        };
        match held_out.checked_add(validation) {
            Some(asked) if asked < rest.len() => {}
            asked => {
                let asked = asked.map_or_else(|| "too many".to_owned(), |asked| asked.to_string());
                return Err(SplitError::NothingLeft { asked, samples: rest.len() });
            }
        }
        let mut tested = take_stratified(dataset, &mut rest, held_out, stream, 0);
        let validated = take_stratified(dataset, &mut rest, validation, stream, 1);
        tested.extend(((dataset.len() - official) as u64..dataset.len() as u64).map(SampleId));
        Ok(Self { pool: rest, validation: validated, test: tested })
    }

    /// Labels of the test samples, for evaluation.
    pub fn test_labels(&self, dataset: &Dataset) -> Vec<Label> {
        self.test.iter().map(|&sample| dataset.hidden_label(sample)).collect()
    }

    /// Labels of the validation samples, for evaluation.
    pub fn validation_labels(&self, dataset: &Dataset) -> Vec<Label> {
        self.validation.iter().map(|&sample| dataset.hidden_label(sample)).collect()
    }
}

/// Removes `count` samples from `from`, class shares kept; both stay ascending.
fn take_stratified(
    dataset: &Dataset,
    from: &mut Vec<SampleId>,
    count: usize,
    stream: Stream,
    step: u32,
) -> Vec<SampleId> {
    let mut by_class = vec![Vec::new(); dataset.classes()];
    for &sample in from.iter() {
        by_class[dataset.hidden_label(sample).index()].push(sample);
    }
    let quotas = largest_remainder(&by_class.iter().map(Vec::len).collect::<Vec<_>>(), count);
    let mut taken = Vec::with_capacity(count);
    for (mut samples, quota) in by_class.into_iter().zip(quotas) {
        samples.sort_by_key(|sample| (stream.item_bits(sample.0, step), *sample));
        taken.extend_from_slice(&samples[..quota]);
    }
    taken.sort_unstable();
    from.retain(|sample| taken.binary_search(sample).is_err());
    taken
}

/// Shares `count` out in proportion to `sizes`, never more than a size.
fn largest_remainder(sizes: &[usize], count: usize) -> Vec<usize> {
    let total = sizes.iter().map(|&size| size as u128).sum::<u128>().max(1);
    let share = |size: usize| size as u128 * count as u128;
    // No share of a size is larger than the size.
    let mut quotas: Vec<usize> = sizes.iter().map(|&size| (share(size) / total) as usize).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&class| (std::cmp::Reverse(share(sizes[class]) % total), class));
    let mut left = count - quotas.iter().sum::<usize>();
    for class in order.into_iter().cycle().take(sizes.len() * 2) {
        if left > 0 && quotas[class] < sizes[class] {
            quotas[class] += 1;
            left -= 1;
        }
    }
    quotas
}

/// A split that cannot be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum SplitError {
    #[error("dataset `{dataset}` has no test set of its own: say how many samples to hold out with `dataset.test`")]
    NoTest { dataset: String },
    #[error("dataset `{dataset}` has an official test set of {official} samples: remove `dataset.test`")]
    TwoTests { dataset: String, official: usize },
    #[error("holding out {asked} of {samples} samples leaves nothing for the pool")]
    NothingLeft { asked: String, samples: usize },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_stay_inside() {
        assert_eq!(largest_remainder(&[5, 3, 2], 10), [5, 3, 2]);
        assert_eq!(largest_remainder(&[5, 3, 2], 5).iter().sum::<usize>(), 5);
        assert_eq!(largest_remainder(&[1, 1, 1], 2), [1, 1, 0]);
        assert_eq!(largest_remainder(&[0, 4], 3), [0, 3]);
    }
}
