//! Variants of a pool for studies: fewer samples, a long tail, wrong labels, foreign samples, repeated ones.
//!
//! They are made after the split, so validation and test set stay as they are, and samples keep their numbers; those
//! that are added come after all others. Each step has a random stream of its own, from the seed of the split.

use querist_protocol::philox::Stream;
use serde::{Deserialize, Serialize};

use crate::config::VariantConfig;
use crate::dataset::{Dataset, DatasetError, DatasetParts, Embeddings, Images};
use crate::ids::{Label, SampleId};
use crate::seed::Seeds;
use crate::split::{Split, take_stratified};

/// Name of the class of foreign samples.
const FOREIGN: &str = "foreign";

/// What a variant changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantFacts {
    /// Samples of the pool before.
    pub before: usize,
    /// Samples of the pool now.
    pub pool: usize,
    /// Samples whose label was changed.
    pub relabelled: usize,
    /// Samples of another dataset.
    pub foreign: usize,
    /// Copies of samples.
    pub copies: usize,
}

impl Dataset {
    /// The dataset and the split with the changes of `config`; `foreign` is the dataset that it names, with images of
    /// the same shape.
    ///
    /// # Errors
    /// If there are fewer samples than are asked for, a value is out of range, or foreign images have another shape.
    pub fn varied(
        &self,
        split: &Split,
        config: &VariantConfig,
        foreign: Option<&Dataset>,
        seeds: &Seeds,
    ) -> Result<(Self, Split, VariantFacts), DatasetError> {
        let mut varied = Varied {
            parts: self.parts.clone(),
            pool: split.pool.clone(),
            facts: VariantFacts { before: split.pool.len(), ..VariantFacts::default() },
            seeds,
            copied: Vec::new(),
        };
        if self.is_unlabelled() {
            return varied.error("`dataset.variant` is for studies, where labels of the pool are known; remove it");
        }
        if self.is_listed() && config.repeat.is_some() {
            return varied.error("`dataset.variant.repeat` copies what is not there, as only names are; remove it");
        }
        if !self.has_images() && (config.foreign.is_some() || config.repeat_noise != 0.0) {
            let message =
                "`dataset.variant.foreign` and `repeat_noise` are for pictures, and there are none; remove it";
            return varied.error(message);
        }
        if let Some(subset) = config.subset {
            varied.subset(self, subset)?;
        }
        if let Some(factor) = config.long_tail {
            varied.long_tail(self, factor)?;
        }
        if let Some(share) = config.label_noise {
            varied.relabel(share)?;
        }
        match (&config.foreign, foreign) {
            (Some(wanted), Some(foreign)) => varied.mix(foreign, wanted.count)?,
            (None, None) => {}
            _ => return varied.error("a foreign dataset that was not read, or not asked for"),
        }
        match config.repeat {
            Some(times) => varied.repeat(times, config.repeat_noise)?,
            None if config.repeat_noise != 0.0 => {
                return varied.error("`dataset.variant.repeat_noise` needs `dataset.variant.repeat`");
            }
            None => {}
        }
        let Varied { parts, pool, mut facts, copied, .. } = varied;
        facts.pool = pool.len();
        let added = parts.images.count - self.len();
        let mut dataset = match &self.embeddings {
            _ if facts.relabelled == 0 && added == 0 => self.clone(),
            None if self.is_listed() => Self::listed(parts)?,
            None => Self::new(parts)?,
            Some(embeddings) => {
                let error = |message| DatasetError { dataset: self.parts.name.clone(), message };
                Self::embedded(parts, embeddings.with_copies(&copied).map_err(error)?)?
            }
        };
        dataset.added = self.added + added;
        let split = Split { pool, ..split.clone() };
        Ok((dataset, split, facts))
    }
}

/// A dataset while it is changed.
struct Varied<'a> {
    parts: DatasetParts,
    pool: Vec<SampleId>,
    facts: VariantFacts,
    seeds: &'a Seeds,
    /// The samples that copies are of, in their order.
    copied: Vec<SampleId>,
}

impl Embeddings {
    /// The same with rows for copies of samples behind all others.
    fn with_copies(&self, samples: &[SampleId]) -> Result<Self, String> {
        if samples.is_empty() {
            return Ok(self.clone());
        }
        let mut values = Vec::new();
        let total = samples.len().checked_mul(self.width).and_then(|more| more.checked_add(self.values.len()));
        if total.is_none_or(|total| values.try_reserve_exact(total).is_err()) {
            return Err("there is no memory for the copies that a variant adds".to_owned());
        }
        values.extend_from_slice(&self.values);
        samples.iter().for_each(|&sample| values.extend_from_slice(self.row(sample)));
        Ok(Self { values: values.into(), width: self.width })
    }
}

impl Varied<'_> {
    fn error<T>(&self, message: impl Into<String>) -> Result<T, DatasetError> {
        Err(DatasetError { dataset: self.parts.name.clone(), message: message.into() })
    }

    fn subset(&mut self, dataset: &Dataset, subset: usize) -> Result<(), DatasetError> {
        if !(1..=self.pool.len()).contains(&subset) {
            let pool = self.pool.len();
            return self.error(format!("`dataset.variant.subset` is {subset}; expected 1 to {pool}, the pool"));
        }
        self.pool = take_stratified(dataset, &mut self.pool, subset, self.seeds.variant_stream("subset"), 0);
        Ok(())
    }

    fn long_tail(&mut self, dataset: &Dataset, factor: f64) -> Result<(), DatasetError> {
        if !(factor.is_finite() && (1.0..=1e6).contains(&factor)) {
            return self.error(format!("`dataset.variant.long_tail` is {factor}; expected 1 to 1000000"));
        }
        let mut by_class = vec![Vec::new(); dataset.classes()];
        for &sample in &self.pool {
            by_class[dataset.hidden_label(sample).map_or(0, Label::index)].push(sample);
        }
        let most = by_class.iter().map(Vec::len).min().unwrap_or_default();
        if most == 0 {
            return self.error("a class without samples in the pool has no long tail");
        }
        let stream = self.seeds.variant_stream("long-tail");
        let last = (by_class.len() - 1) as f64;
        let mut kept = Vec::new();
        for (class, mut samples) in by_class.into_iter().enumerate() {
            let count = (most as f64
                * querist_protocol::math::exp(-querist_protocol::math::ln(factor) * class as f64 / last))
            .round();
            samples.sort_by_key(|sample| (stream.item_bits(sample.0, 0), *sample));
            kept.extend_from_slice(&samples[..(count as usize).clamp(1, samples.len())]);
        }
        kept.sort_unstable();
        self.pool = kept;
        Ok(())
    }

    fn relabel(&mut self, share: f64) -> Result<(), DatasetError> {
        if !(0.0..=1.0).contains(&share) {
            return self.error(format!("`dataset.variant.label_noise` is {share}; expected 0 to 1"));
        }
        let stream = self.seeds.variant_stream("label-noise");
        let mut drawn = self.pool.clone();
        drawn.sort_by_key(|sample| (stream.item_bits(sample.0, 0), *sample));
        drawn.truncate((share * self.pool.len() as f64).round() as usize);
        let classes = self.parts.class_names.len() as u64;
        for sample in &drawn {
            let label = &mut self.parts.labels[sample.index()];
            let on = 1 + stream.item_bits(sample.0, 1) % (classes - 1);
            *label = ((u64::from(*label) + on) % classes) as u32;
        }
        self.facts.relabelled = drawn.len();
        Ok(())
    }

    fn mix(&mut self, foreign: &Dataset, count: usize) -> Result<(), DatasetError> {
        let (ours, theirs) = (&self.parts.images, foreign.images());
        let shape = |images: &Images| [images.height, images.width, images.channels];
        if shape(ours) != shape(theirs) {
            let found = format!("foreign images of {:?}; expected {:?}", shape(theirs), shape(ours));
            return self.error(format!("{found} (height, width, channels); set `dataset.size`"));
        }
        let tests = foreign.official_validation() + foreign.official_test() + foreign.added;
        let trained = foreign.len() - tests;
        if !(1..=trained).contains(&count) {
            return self.error(format!("`dataset.variant.foreign.count` is {count}; expected 1 to {trained}"));
        }
        if self.parts.class_names.iter().any(|name| name == FOREIGN) {
            return self.error("a class is called `foreign` already; rename it");
        }
        let stream = self.seeds.variant_stream("foreign");
        let mut drawn: Vec<SampleId> = (0..trained as u64).map(SampleId).collect();
        drawn.sort_by_key(|sample| (stream.item_bits(sample.0, 0), *sample));
        drawn.truncate(count);
        let label = self.parts.class_names.len() as u32;
        self.parts.class_names.push(FOREIGN.to_owned());
        let added = drawn.into_iter().map(|sample| {
            let file = foreign.file(sample).map_or_else(|| format!("#{sample}"), |file| format!("/{file}"));
            (foreign.images().image(sample).to_vec(), label, format!("foreign/{}{file}", foreign.name()))
        });
        self.facts.foreign = count;
        self.add(added.collect())
    }

    fn repeat(&mut self, times: u32, noise: f64) -> Result<(), DatasetError> {
        if !(2..=1000).contains(&times) || !(0.0..=1.0).contains(&noise) {
            let found = format!("`dataset.variant.repeat` is {times} and `repeat_noise` {noise}");
            return self.error(format!("{found}; expected 2 to 1000 and 0 to 1"));
        }
        let mut added = Vec::new();
        for copy in 1..times {
            for &sample in &self.pool {
                let mut stream = self.seeds.variant_stream(&format!("repeat {sample} {copy}"));
                let noisy = |&value: &u8| noised(value, 255.0 * noise, &mut stream);
                let image = self.parts.images.image(sample).iter().map(noisy).collect();
                let file = self.parts.files.get(sample.index()).cloned().unwrap_or_else(|| format!("#{sample}"));
                added.push((image, self.parts.labels[sample.index()], format!("{file} (copy {copy})")));
                self.copied.push(sample);
            }
        }
        self.facts.copies = added.len();
        self.add(added)
    }

    /// Puts samples behind all others, and into the pool.
    fn add(&mut self, samples: Vec<(Vec<u8>, u32, String)>) -> Result<(), DatasetError> {
        let parts = &mut self.parts;
        let first = parts.images.count;
        let total = parts.images.image_len().checked_mul(first + samples.len());
        let mut bytes = Vec::new();
        if total.is_none_or(|total| bytes.try_reserve_exact(total).is_err()) {
            return self.error("there is no memory for the images that a variant adds");
        }
        bytes.extend_from_slice(&parts.images.bytes);
        if parts.files.is_empty() {
            parts.files = (0..first).map(|sample| format!("#{sample}")).collect();
        }
        for (number, (image, label, file)) in samples.into_iter().enumerate() {
            bytes.extend_from_slice(&image);
            parts.labels.push(label);
            parts.files.push(file);
            self.pool.push(SampleId((first + number) as u64));
        }
        parts.images.count = parts.labels.len();
        parts.images.bytes = bytes.into();
        Ok(())
    }
}

/// A pixel with noise of this standard deviation, by Marsaglia's polar method.
fn noised(value: u8, deviation: f64, stream: &mut Stream) -> u8 {
    if deviation == 0.0 {
        return value;
    }
    let normal = loop {
        let (x, y) = (2.0 * stream.next_uniform() - 1.0, 2.0 * stream.next_uniform() - 1.0);
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            break x * (-2.0 * querist_protocol::math::ln(square) / square).sqrt();
        }
    };
    (f64::from(value) + deviation * normal).round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ForeignConfig;

    /// Four classes in turn; the pixels of a sample are its number.
    fn dataset(count: usize, test: usize) -> Dataset {
        let bytes: Vec<u8> = (0..count).flat_map(|sample| [sample as u8; 4]).collect();
        Dataset::new(DatasetParts {
            name: "tiny".to_owned(),
            images: Images { count, height: 2, width: 2, channels: 1, bytes: bytes.into() },
            labels: (0..count as u32).map(|sample| sample % 4).collect(),
            official_validation: 0,
            official_test: test,
            class_names: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
            normalisation: None,
            files: Vec::new(),
        })
        .unwrap()
    }

    fn varied(config: &VariantConfig, seed: u64) -> (Dataset, Split, VariantFacts) {
        let (set, seeds) = (dataset(200, 40), Seeds::new(seed));
        let split = Split::draw(&set, 0, None, seeds.split_stream()).unwrap();
        let foreign = config.foreign.is_some().then(|| dataset(50, 10));
        set.varied(&split, config, foreign.as_ref(), &seeds).unwrap()
    }

    fn labels(set: &Dataset, pool: &[SampleId]) -> Vec<usize> {
        let mut counts = vec![0; set.classes()];
        pool.iter().for_each(|&sample| counts[set.hidden_label(sample).unwrap().index()] += 1);
        counts
    }

    #[test]
    fn each_variant_does_what_it_says_and_leaves_the_test_alone() {
        let default = VariantConfig::default;
        let foreign = ForeignConfig { name: "tiny".to_owned(), path: None, list: None, columns: None, count: 30 };
        let all = VariantConfig {
            subset: Some(100),
            long_tail: Some(5.0),
            label_noise: Some(0.25),
            foreign: Some(foreign.clone()),
            repeat: Some(3),
            repeat_noise: 0.1,
        };
        let cases = [
            (VariantConfig { subset: Some(80), ..default() }, vec![20, 20, 20, 20]),
            (VariantConfig { long_tail: Some(8.0), ..default() }, vec![40, 20, 10, 5]),
            (VariantConfig { foreign: Some(foreign), ..default() }, vec![40, 40, 40, 40, 30]),
            (VariantConfig { repeat: Some(3), ..default() }, vec![120; 4]),
        ];
        for (config, counts) in &cases {
            let (set, split, facts) = varied(config, 1);
            assert_eq!((labels(&set, &split.pool), facts.pool), (counts.clone(), split.pool.len()), "{config:?}");
        }
        let original = dataset(200, 40);
        for (set, split, _) in cases.iter().map(|(config, _)| varied(config, 1)).chain([varied(&all, 1)]) {
            assert_eq!(split.test, (160..200).map(SampleId).collect::<Vec<_>>());
            assert!(split.pool.is_sorted() && split.pool.iter().all(|sample| !split.test.contains(sample)));
            for &sample in &split.test {
                assert_eq!(set.images().image(sample), original.images().image(sample));
                assert_eq!(set.hidden_label(sample), original.hidden_label(sample));
            }
        }
        let (set, _, facts) = varied(&all, 1);
        // 25, 15, 9 and 5 are left of each class, and 14 of them get another.
        assert_eq!(facts, VariantFacts { before: 160, pool: 252, relabelled: 14, foreign: 30, copies: 168 });
        assert_eq!(set.len(), 200 + 30 + 168);
        let last = set.file(SampleId(397)).unwrap();
        assert!(last.starts_with("foreign/tiny#") && last.ends_with(" (copy 2)"), "{last}");
    }

    #[test]
    fn noise_changes_as_many_labels_as_it_says_and_each_to_another() {
        let config = VariantConfig { label_noise: Some(0.4), ..VariantConfig::default() };
        let (set, split, facts) = varied(&config, 3);
        let original = dataset(200, 40);
        let changed = split.pool.iter().filter(|&&sample| set.hidden_label(sample) != original.hidden_label(sample));
        assert_eq!((changed.count(), facts.relabelled), (64, 64));
        assert_ne!(set.digest(), original.digest());
    }

    #[test]
    fn seeds_of_the_split_decide() {
        let config = VariantConfig { subset: Some(80), repeat: Some(2), repeat_noise: 0.2, ..VariantConfig::default() };
        let of = |seed| {
            let (set, split, _) = varied(&config, seed);
            (set.digest().to_owned(), split)
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1).1, of(2).1);
        let mut stream = Seeds::new(1).variant_stream("noise");
        let noisy: Vec<f64> = (0..20_000).map(|_| f64::from(noised(128, 20.0, &mut stream)) - 128.0).collect();
        let mean = noisy.iter().sum::<f64>() / 20_000.0;
        let deviation = (noisy.iter().map(|value| value * value).sum::<f64>() / 20_000.0).sqrt();
        assert!(mean.abs() < 1.0 && (deviation - 20.0).abs() < 0.7, "{mean} {deviation}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let (set, seeds) = (dataset(200, 40), Seeds::new(1));
        let split = Split::draw(&set, 0, None, seeds.split_stream()).unwrap();
        let default = VariantConfig::default;
        let cases = [
            (VariantConfig { subset: Some(161), ..default() }, "`dataset.variant.subset` is 161; expected 1 to 160"),
            (VariantConfig { long_tail: Some(0.5), ..default() }, "`dataset.variant.long_tail` is 0.5; expected 1 to"),
            (VariantConfig { label_noise: Some(1.5), ..default() }, "`dataset.variant.label_noise` is 1.5; expected 0"),
            (VariantConfig { repeat: Some(1), ..default() }, "`dataset.variant.repeat` is 1"),
            (VariantConfig { repeat_noise: 0.5, ..default() }, "needs `dataset.variant.repeat`"),
        ];
        for (config, expected) in cases {
            let text = set.varied(&split, &config, None, &seeds).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
    }
}
