//! From pictures with labels, whatever named them, to a dataset.

use std::path::Path;

use querist_core::config::{DatasetConfig, DatasetLayout, SampleOrder};
use rayon::prelude::*;

use crate::error::DataError;
use crate::layout::Part;
use crate::load::Loaded;
use crate::order::Key;
use crate::picture::{self, Wanted};
use crate::picture_cache::PictureCache;
use crate::picture_files::{Members, Plan, Seen};

/// A picture with its label and its place in the dataset.
pub(crate) struct Sample {
    pub part: Part,
    pub label: u32,
    /// The name that users see.
    pub name: String,
    pub seen: Seen,
}

/// How pictures become a dataset.
#[derive(Clone, Copy)]
pub(crate) struct How<'a> {
    /// Where they lie, for messages.
    pub place: &'a Path,
    pub wanted: Wanted,
    /// Whether samples keep the order in which they come; otherwise they are ordered by content.
    pub published: bool,
    /// Whether what is called validation is the test set.
    pub validation_is_test: bool,
    pub in_memory: u64,
    pub cache: Option<&'a PictureCache>,
}

impl<'a> How<'a> {
    /// As a configuration says; `published` is the order where it says none.
    pub fn of(
        config: &DatasetConfig,
        place: &'a Path,
        published: bool,
        cache: Option<&'a PictureCache>,
    ) -> Result<Self, DataError> {
        let published = config.order.map_or(published, |order| order == SampleOrder::Published);
        let validation_is_test = config.layout == Some(DatasetLayout::ValidationIsTest);
        Ok(Self {
            place,
            wanted: Wanted::of(config)?,
            published,
            validation_is_test,
            in_memory: config.in_memory.0,
            cache,
        })
    }

    /// Checks sizes, numbers the pictures, and only then decodes them to one block.
    ///
    /// `samples` come in the published order, and each label has a name.
    pub fn assemble(
        self,
        mut samples: Vec<Sample>,
        class_names: Vec<String>,
        members: Members<'_>,
    ) -> Result<Loaded, DataError> {
        if self.validation_is_test {
            self.test_on_validation(&mut samples)?;
        }
        let plan = self.plan(&samples)?;
        let hashes: Vec<[u8; 32]> =
            samples.par_iter_mut().map(|sample| sample.seen.hash()).collect::<Result<_, _>>()?;
        if self.published {
            samples.sort_by_key(|sample| sample.part);
        } else {
            let key = |(hash, sample): (&[u8; 32], &Sample)| Key::of(*hash, sample.name.as_bytes());
            let keys: Vec<Key> = hashes.par_iter().zip(&samples).map(key).collect();
            let mut keyed: Vec<(Key, Sample)> = keys.into_iter().zip(samples).collect();
            keyed.par_sort_unstable_by_key(|(key, sample)| (sample.part, *key));
            samples = keyed.into_iter().map(|(_, sample)| sample).collect();
        }
        let seen: Vec<&Seen> = samples.iter().map(|sample| &sample.seen).collect();
        let bytes = plan.pixels(&seen, (self.cache, self.in_memory), members)?;
        let count = |part: Part| samples.iter().filter(|sample| sample.part == part).count();
        Ok(Loaded {
            shape: plan.shape,
            bytes,
            official_validation: count(Part::Validation),
            official_test: count(Part::Test),
            labels: samples.iter().map(|sample| sample.label).collect(),
            files: samples.into_iter().map(|sample| sample.name).collect(),
            class_names,
        })
    }

    fn test_on_validation(self, samples: &mut [Sample]) -> Result<(), DataError> {
        let validation = samples.iter().filter(|sample| sample.part == Part::Validation).count();
        if validation > 0 && samples.iter().any(|sample| sample.part == Part::Test) {
            let found = format!("{validation} validation pictures and test pictures beside them");
            let expected = "no test pictures with `dataset.layout = \"validation-is-test\"`; remove it";
            return Err(DataError::malformed(self.place.display(), "", found, expected));
        }
        let validation = samples.iter_mut().filter(|sample| sample.part == Part::Validation);
        validation.for_each(|sample| sample.part = Part::Test);
        Ok(())
    }

    /// What all pictures become; without a size they must have the same.
    fn plan(self, samples: &[Sample]) -> Result<Plan, DataError> {
        let shapes = || samples.iter().map(|sample| picture::shape(&sample.seen.header, self.wanted));
        let [height, width, _] = shapes().next().unwrap_or_default();
        if let Some((odd, shape)) = samples.iter().zip(shapes()).find(|(_, shape)| shape[..2] != [height, width]) {
            return Err(DataError::malformed(
                self.place.display(),
                format_args!(", `{}`", odd.name),
                format!("a picture of {}x{}", shape[0], shape[1]),
                format!("{height}x{width} like `{}`; set `dataset.size` to resize all", samples[0].name),
            ));
        }
        let channels = shapes().map(|shape| shape[2]).max().unwrap_or(1);
        Ok(Plan { shape: [height, width, channels], wanted: self.wanted })
    }
}

/// Checks that there are training pictures, and that each class has some.
pub(crate) fn check_classes(place: &Path, samples: &[Sample], class_names: &[String]) -> Result<(), DataError> {
    let mut counts = vec![0usize; class_names.len()];
    samples.iter().filter(|sample| sample.part == Part::Train).for_each(|sample| counts[sample.label as usize] += 1);
    if let Some(class) = counts.iter().position(|&count| count == 0) {
        let empty = counts.iter().filter(|&&count| count == 0).count();
        let found =
            format!("no training picture of class {class} (`{}`), and {empty} such classes", class_names[class]);
        let expected = "labels 0, 1, 2, ... without gaps, each with training pictures";
        return Err(DataError::malformed(place.display(), "", found, expected));
    }
    Ok(())
}
