//! Which samples may be asked for, which tune and which test.

use querist_protocol::philox::Stream;
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::ids::{Label, SampleId};
use crate::seed::Seeds;

/// A partition of the dataset by purpose; each list ascends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Samples that may be labelled.
    pub pool: Vec<SampleId>,
    /// Labelled samples that no strategy may ask for and no round trains on.
    pub validation: Vec<SampleId>,
    /// Samples that are read for evaluation only.
    pub test: Vec<SampleId>,
    /// Samples that left the pool for the upper baseline to judge batches by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserve: Vec<SampleId>,
}

/// Samples of each class at least in the reserve.
const LEAST_RESERVED: usize = 10;

impl Split {
    /// Whether a sample is of the validation or the test set, or of the reserve.
    pub fn is_held_out(&self, sample: SampleId) -> bool {
        [&self.validation, &self.test, &self.reserve].iter().any(|held_out| held_out.binary_search(&sample).is_ok())
    }

    /// Holds out `validation` training samples, stratified by class, and keeps the official validation and test sets.
    ///
    /// Where the dataset has no official test set, `test` samples are held out as well, first. The shares of the
    /// classes are those of the dataset, rounded by largest remainder.
    ///
    /// # Errors
    /// If nothing would be left for the pool or for the test, or `validation` or `test` is given although there is an
    /// official one.
    pub fn draw(dataset: &Dataset, validation: usize, test: Option<usize>, stream: Stream) -> Result<Self, SplitError> {
        let (validated, official) = (dataset.official_validation(), dataset.official_test());
        if validated > 0 && validation > 0 {
            let dataset = dataset.name().to_owned();
            return Err(SplitError::TwoValidations { dataset, official: validated });
        }
        if dataset.is_unlabelled() && (validation > 0 || test.is_some()) {
            return Err(SplitError::Unlabelled { dataset: dataset.name().to_owned() });
        }
        // The order of a dataset: training, official validation, official test.
        let tests_from = (dataset.len() - official) as u64;
        let validations_from = tests_from - validated as u64;
        let mut rest: Vec<SampleId> = (0..validations_from).map(SampleId).collect();
        let held_out = match (official, test) {
            // What is held out of the labels that people give is the test set.
            (0, None) if dataset.is_unlabelled() => 0,
            (0, Some(0) | None) => {
                return Err(SplitError::NoTest { dataset: dataset.name().to_owned(), validation: validated });
            }
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
        let mut validated = take_stratified(dataset, &mut rest, validation, stream, 1);
        validated.extend((validations_from..tests_from).map(SampleId));
        tested.extend((tests_from..dataset.len() as u64).map(SampleId));
        Ok(Self { pool: rest, validation: validated, test: tested, reserve: Vec::new() })
    }

    /// The same with a share of each class of the pool in the reserve, and at least ten samples of each; nothing
    /// changes where no share is given.
    ///
    /// # Errors
    /// If a class has too few samples to leave some in the pool.
    pub fn with_reserve(mut self, dataset: &Dataset, share: Option<f64>, seeds: &Seeds) -> Result<Self, SplitError> {
        let (Some(share), stream) = (share, seeds.variant_stream("reserve")) else { return Ok(self) };
        if dataset.is_unlabelled() {
            return Err(SplitError::Unlabelled { dataset: dataset.name().to_owned() });
        }
        let mut by_class = by_class(dataset, &self.pool);
        for (class, samples) in by_class.iter_mut().enumerate().filter(|(_, samples)| !samples.is_empty()) {
            let wanted = ((samples.len() as f64 * share).round() as usize).max(LEAST_RESERVED);
            if wanted >= samples.len() {
                let (class, found) = (dataset.class_names()[class].clone(), samples.len());
                return Err(SplitError::Reserve { class, found, wanted });
            }
            samples.sort_by_key(|sample| (stream.item_bits(sample.0, 0), *sample));
            self.reserve.extend_from_slice(&samples[..wanted]);
        }
        self.reserve.sort_unstable();
        self.pool.retain(|sample| self.reserve.binary_search(sample).is_err());
        Ok(self)
    }

    /// Labels of the test samples, for evaluation.
    pub fn test_labels(&self, dataset: &Dataset) -> Vec<Label> {
        // All of them are known: no other sample is ever held out.
        self.test.iter().filter_map(|&sample| dataset.hidden_label(sample)).collect()
    }

    /// Labels of the validation samples, for evaluation.
    pub fn validation_labels(&self, dataset: &Dataset) -> Vec<Label> {
        self.validation.iter().filter_map(|&sample| dataset.hidden_label(sample)).collect()
    }
}

/// Samples of each class, ascending; those without a label are in none.
fn by_class(dataset: &Dataset, samples: &[SampleId]) -> Vec<Vec<SampleId>> {
    let mut by_class = vec![Vec::new(); dataset.classes()];
    for &sample in samples {
        if let Some(label) = dataset.hidden_label(sample) {
            by_class[label.index()].push(sample);
        }
    }
    by_class
}

/// Removes `count` samples from `from`, class shares kept; both stay ascending.
pub(crate) fn take_stratified(
    dataset: &Dataset,
    from: &mut Vec<SampleId>,
    count: usize,
    stream: Stream,
    step: u32,
) -> Vec<SampleId> {
    let by_class = by_class(dataset, from);
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
    #[error(
        "dataset `{dataset}` has no test set of its own: say how many samples to hold out with `dataset.test`{}",
        or_validation(*validation)
    )]
    NoTest { dataset: String, validation: usize },
    #[error(
        "dataset `{dataset}`: the labels of its pool are not known, so nothing can be held out class by class: leave \
         out `dataset.validation`, `dataset.test` and `dataset.reserve`; `dataset.test_path` names a labelled test set, \
         and without one `oracle.hold_out` of the labels that are bought are the test set"
    )]
    Unlabelled { dataset: String },
    #[error("dataset `{dataset}` has a validation set of its own of {official} samples: remove `dataset.validation`")]
    TwoValidations { dataset: String, official: usize },
    #[error("dataset `{dataset}` has an official test set of {official} samples: remove `dataset.test`")]
    TwoTests { dataset: String, official: usize },
    #[error("holding out {asked} of {samples} samples leaves nothing for the pool")]
    NothingLeft { asked: String, samples: usize },
    #[error(
        "dataset.reserve takes {wanted} samples of class `{class}`, of which the pool has {found}: the upper baseline \
         needs ten of each class, and some must be left"
    )]
    Reserve { class: String, found: usize, wanted: usize },
}

/// The other way to a test set, where there is one for validation.
fn or_validation(official: usize) -> String {
    match official {
        0 => String::new(),
        _ => format!(", or test on its {official} validation samples with `dataset.layout = \"validation-is-test\"`"),
    }
}

#[cfg(test)]
mod tests {
    use querist_protocol::philox::Stream;

    use super::*;
    use crate::dataset::{DatasetParts, Images};

    /// One pixel a sample, classes in turn.
    fn dataset(count: usize, official_validation: usize, official_test: usize) -> Dataset {
        let images = Images { bytes: vec![0; count].into(), count, height: 1, width: 1, channels: 1 };
        Dataset::new(DatasetParts {
            name: "tiny".to_owned(),
            images,
            labels: (0..count as u32).map(|sample| sample % 2).collect(),
            official_validation,
            official_test,
            class_names: vec!["even".to_owned(), "odd".to_owned()],
            normalisation: None,
            files: Vec::new(),
        })
        .unwrap()
    }

    fn ids(samples: impl IntoIterator<Item = u64>) -> Vec<SampleId> {
        samples.into_iter().map(SampleId).collect()
    }

    #[test]
    fn official_validation_samples_are_the_validation_set() {
        let draw = |set: &Dataset, validation, test| Split::draw(set, validation, test, Stream::new(1, 0));
        let all_three = draw(&dataset(10, 2, 3), 0, None).unwrap();
        assert_eq!(
            (all_three.pool, all_three.validation, all_three.test),
            (ids(0..5), ids(5..7), ids(7..10)),
            "training, validation, test"
        );
        // Without a test set, test samples are drawn from the training samples, never from the validation set.
        let drawn = draw(&dataset(10, 4, 0), 0, Some(2)).unwrap();
        assert_eq!((drawn.pool.len(), drawn.validation, drawn.test.len()), (4, ids(6..10), 2));
        assert!(drawn.test.iter().all(|sample| sample.0 < 6));
        let text = draw(&dataset(10, 4, 0), 0, None).unwrap_err().to_string();
        assert!(text.contains("`dataset.test`, or test on its 4 validation samples with `dataset.layout ="), "{text}");
        let text = draw(&dataset(10, 2, 3), 1, None).unwrap_err().to_string();
        assert!(text.contains("a validation set of its own of 2 samples: remove `dataset.validation`"), "{text}");
        // A digest tells validation from training samples.
        assert_ne!(dataset(10, 2, 3).digest(), dataset(10, 0, 3).digest());
    }

    #[test]
    fn a_reserve_leaves_the_pool_and_has_ten_of_each_class() {
        let set = dataset(200, 0, 20);
        let plain = Split::draw(&set, 10, None, Stream::new(1, 0)).unwrap();
        let reserved = |share, key| plain.clone().with_reserve(&set, Some(share), &Seeds::new(key));
        let split = reserved(0.2, 5).unwrap();
        assert_eq!((split.reserve.len(), split.pool.len()), (34, 136), "a fifth of 85 is 17, twice");
        let mut all = [&split.pool[..], &split.reserve].concat();
        all.sort_unstable();
        assert_eq!(all, plain.pool, "nothing comes or goes");
        assert!(split.is_held_out(split.reserve[0]) && (split.test == plain.test));
        assert_ne!(split.reserve, reserved(0.2, 6).unwrap().reserve, "the key does not enter");
        assert_eq!(reserved(0.01, 5).unwrap().reserve.len(), 20, "ten of each class");
        let few = Split::draw(&dataset(20, 0, 2), 0, None, Stream::new(1, 0)).unwrap();
        let error = few.with_reserve(&dataset(20, 0, 2), Some(0.2), &Seeds::new(1)).unwrap_err().to_string();
        assert!(error.contains("takes 10 samples of class `even`, of which the pool has 9"), "{error}");
    }

    #[test]
    fn shares_add_up_and_stay_inside() {
        assert_eq!(largest_remainder(&[5, 3, 2], 10), [5, 3, 2]);
        assert_eq!(largest_remainder(&[5, 3, 2], 5).iter().sum::<usize>(), 5);
        assert_eq!(largest_remainder(&[1, 1, 1], 2), [1, 1, 0]);
        assert_eq!(largest_remainder(&[0, 4], 3), [0, 3]);
    }
}
