//! Images and their labels, of which only the oracle and the evaluation may see any.

use sha2::{Digest, Sha256};

use crate::array::Buffer;
use crate::digest::hex;
use crate::ids::{Label, SampleId};

/// Equally sized images as bytes, `u8 [count, height, width, channels]`.
#[derive(Debug, Clone)]
pub struct Images {
    /// The bytes, row-major, channels last.
    pub bytes: Buffer<u8>,
    /// Number of images.
    pub count: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Values a pixel: 1 grey, 3 red-green-blue.
    pub channels: usize,
}

impl Images {
    /// Bytes of one image.
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The bytes of one image, `[height, width, channels]`.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, sample: SampleId) -> &[u8] {
        let start = sample.index() * self.image_len();
        &self.bytes[start..start + self.image_len()]
    }
}

impl Images {
    /// None of `count` samples, which are known by their embeddings alone.
    pub fn none(count: usize) -> Self {
        Self { bytes: Vec::new().into(), count, height: 0, width: 0, channels: 0 }
    }
}

/// What stands for samples of which there is no picture, `f32 [samples, width]`.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// The values, row-major, one row a sample.
    pub values: Buffer<f32>,
    /// Values a sample.
    pub width: usize,
}

impl Embeddings {
    /// The values of one sample.
    ///
    /// # Panics
    /// If there is no such sample.
    pub fn row(&self, sample: SampleId) -> &[f32] {
        let start = sample.index() * self.width;
        &self.values[start..start + self.width]
    }
}

/// Per-channel statistics of pixel values on the scale 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalisation {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, above 0.
    pub std: Vec<f32>,
}

/// What a dataset is made of; [`Dataset::new`] checks it.
#[derive(Debug, Clone)]
pub struct DatasetParts {
    /// Name as users write it.
    pub name: String,
    /// Every image: training images first, then the official validation images and the official test images, if there
    /// are any.
    pub images: Images,
    /// Label of every image.
    pub labels: Vec<u32>,
    /// How many images before the test set are the official validation set; 0 where there is none.
    pub official_validation: usize,
    /// How many images at the end are the official test set; 0 where there is none.
    pub official_test: usize,
    /// Name of each class.
    pub class_names: Vec<String>,
    /// Published statistics, or `None` to measure them on the pool.
    pub normalisation: Option<Normalisation>,
    /// File of each image, or empty where images have no files of their own.
    pub files: Vec<String>,
}

/// Numbers of the images that are held out for everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Official {
    /// The official validation set.
    pub validation: std::ops::Range<usize>,
    /// The official test set.
    pub test: std::ops::Range<usize>,
}

/// Images with hidden labels. Labels reach others through the oracle and the evaluation only.
#[derive(Debug, Clone)]
pub struct Dataset {
    pub(crate) parts: DatasetParts,
    /// In the place of images.
    pub(crate) embeddings: Option<Embeddings>,
    /// Samples behind the test set, which a variant added to the pool.
    pub(crate) added: usize,
    /// Labels that are known beforehand, by ascending samples, where those of the pool are not.
    unlabelled: Option<Vec<(SampleId, Label)>>,
    digest: String,
}

impl Dataset {
    /// Checks the parts and computes the digest.
    ///
    /// # Errors
    /// If sizes disagree, a label has no class, or nothing is there.
    pub fn new(parts: DatasetParts) -> Result<Self, DatasetError> {
        let images = &parts.images;
        let error = |message: String| Err(DatasetError { dataset: parts.name.clone(), message });
        if images.count == 0 || images.image_len() == 0 {
            return error("it holds no images".to_owned());
        }
        if !matches!(images.channels, 1 | 3) {
            return error(format!("images have {} channels, expected 1 or 3", images.channels));
        }
        if images.bytes.len() != images.count * images.image_len() {
            return error(format!(
                "{} bytes of images, expected {} x {}",
                images.bytes.len(),
                images.count,
                images.image_len()
            ));
        }
        Self::checked(parts, None)
    }

    /// The same of images whose labels are not known, but for `known` ones, and for those of the official test set.
    /// Labels of the parts are those of the test images alone.
    ///
    /// # Errors
    /// As [`Self::new`], or if a known label is of no image of the pool, of no class, or stands twice.
    pub fn unlabelled(mut parts: DatasetParts, mut known: Vec<(SampleId, Label)>) -> Result<Self, DatasetError> {
        let error = |message: String| Err(DatasetError { dataset: parts.name.clone(), message });
        let pool = parts.images.count.saturating_sub(parts.official_test);
        if parts.labels.len() != parts.official_test || parts.official_validation > 0 {
            let (labels, tests) = (parts.labels.len(), parts.official_test);
            return error(format!("{labels} labels for {tests} test images; the other images have none"));
        }
        known.sort_unstable_by_key(|&(sample, _)| sample);
        if let Some(pair) = known.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return error(format!("two labels are known of image {}", pair[0].0));
        }
        if let Some((sample, label)) =
            known.iter().find(|(sample, label)| sample.index() >= pool || label.index() >= parts.class_names.len())
        {
            return error(format!("image {sample} of the pool has label {label}; there are {pool} such images"));
        }
        // Nobody reads these: `hidden_label` gives none of the pool.
        parts.labels.splice(0..0, std::iter::repeat_n(0, pool));
        let dataset = Self::new(parts)?;
        let mut hash = Sha256::new();
        hash.update(b"unlabelled");
        hash.update(dataset.digest.as_bytes());
        for file in &dataset.parts.files {
            hash.update((file.len() as u64).to_le_bytes());
            hash.update(file.as_bytes());
        }
        Ok(Self { digest: hex(&hash.finalize()), unlabelled: Some(known), ..dataset })
    }

    /// Whether the labels of the pool are not known.
    pub fn is_unlabelled(&self) -> bool {
        self.unlabelled.is_some()
    }

    /// Labels that are known beforehand, by ascending samples, where those of the pool are not; else nothing.
    pub fn known_labels(&self) -> &[(SampleId, Label)] {
        self.unlabelled.as_deref().unwrap_or_default()
    }

    /// The same of samples that have embeddings and no images; those of the parts are [`Images::none`].
    ///
    /// # Errors
    /// As [`Self::new`], or if there is not one row a sample.
    pub fn embedded(parts: DatasetParts, embeddings: Embeddings) -> Result<Self, DatasetError> {
        let error = |message: String| Err(DatasetError { dataset: parts.name.clone(), message });
        let count = parts.images.count;
        if count == 0 || embeddings.width == 0 {
            return error("it holds no embeddings".to_owned());
        }
        if parts.images.image_len() != 0 || !parts.images.bytes.is_empty() || parts.normalisation.is_some() {
            return error("it has embeddings, and pictures, too".to_owned());
        }
        if count.checked_mul(embeddings.width) != Some(embeddings.values.len()) {
            let (values, width) = (embeddings.values.len(), embeddings.width);
            return error(format!("{values} values of embeddings, expected {count} x {width}"));
        }
        Self::checked(parts, Some(embeddings))
    }

    /// The same of samples that are known by their names alone, which only a learner of the user's own can read; images
    /// of the parts are [`Images::none`].
    ///
    /// # Errors
    /// As [`Self::new`], or if there is not one name a sample.
    pub fn listed(parts: DatasetParts) -> Result<Self, DatasetError> {
        let error = |message: String| Err(DatasetError { dataset: parts.name.clone(), message });
        if parts.images.count == 0 {
            return error("it names no samples".to_owned());
        }
        if parts.images.image_len() != 0 || !parts.images.bytes.is_empty() || parts.normalisation.is_some() {
            return error("it has names, and pictures, too".to_owned());
        }
        if parts.files.len() != parts.images.count {
            return error(format!("{} names for {} samples", parts.files.len(), parts.images.count));
        }
        Self::checked(parts, None)
    }

    /// Whether samples have pictures.
    pub fn has_images(&self) -> bool {
        self.parts.images.image_len() > 0
    }

    /// Whether samples are known by their names alone.
    pub fn is_listed(&self) -> bool {
        !self.has_images() && self.embeddings.is_none()
    }

    fn checked(parts: DatasetParts, embeddings: Option<Embeddings>) -> Result<Self, DatasetError> {
        let DatasetParts {
            images, labels, class_names, official_validation, official_test, normalisation, files, ..
        } = &parts;
        let error = |message: String| Err(DatasetError { dataset: parts.name.clone(), message });
        if labels.len() != images.count {
            return error(format!("{} labels for {} images", labels.len(), images.count));
        }
        if class_names.len() < 2 {
            return error(format!("{} classes, expected 2 or more", class_names.len()));
        }
        if let Some(at) = labels.iter().position(|&label| label as usize >= class_names.len()) {
            return error(format!("image {at} has label {}, but there are {} classes", labels[at], class_names.len()));
        }
        if official_validation.checked_add(*official_test).is_none_or(|official| official >= images.count) {
            let parts = match official_validation {
                0 => format!("{official_test} test images"),
                _ => format!("{official_validation} validation and {official_test} test images"),
            };
            return error(format!("{parts} of {} leave nothing to train on", images.count));
        }
        if !files.is_empty() && files.len() != images.count {
            return error(format!("{} file names for {} images", files.len(), images.count));
        }
        if let Some(n) = normalisation {
            let sizes_fit = n.mean.len() == images.channels && n.std.len() == images.channels;
            if !sizes_fit || n.std.iter().any(|s| !s.is_finite() || *s <= 0.0) || n.mean.iter().any(|m| !m.is_finite())
            {
                return error(format!("normalisation {n:?} does not fit {} channels", images.channels));
            }
        }
        let digest = digest(&parts, embeddings.as_ref());
        Ok(Self { parts, embeddings, added: 0, unlabelled: None, digest })
    }

    /// Embeddings, where samples have these in the place of images.
    pub fn embeddings(&self) -> Option<&Embeddings> {
        self.embeddings.as_ref()
    }

    /// Name as users write it.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// Every image, the official validation and test images last; [`Images::none`] where there are embeddings.
    pub fn images(&self) -> &Images {
        &self.parts.images
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.parts.images.count
    }

    /// Never true: a dataset without images cannot be made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many images before the official test set are the official validation set.
    pub fn official_validation(&self) -> usize {
        self.parts.official_validation
    }

    /// How many images at the end are the official test set.
    pub fn official_test(&self) -> usize {
        self.parts.official_test
    }

    /// The numbers of the official validation and test images.
    pub fn official(&self) -> Official {
        let end = self.len() - self.added;
        let test = end - self.official_test()..end;
        Official { validation: test.start - self.official_validation()..test.start, test }
    }

    /// Name of each class.
    pub fn class_names(&self) -> &[String] {
        &self.parts.class_names
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.parts.class_names.len()
    }

    /// Published statistics, if there are any.
    pub fn normalisation(&self) -> Option<&Normalisation> {
        self.parts.normalisation.as_ref()
    }

    /// File of an image, where it has one.
    pub fn file(&self, sample: SampleId) -> Option<&str> {
        self.parts.files.get(sample.index()).map(String::as_str)
    }

    /// SHA-256 over images or embeddings, labels and class names, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The hidden label, where it is known. Only the oracle, the split and the evaluation of this crate call this.
    pub(crate) fn hidden_label(&self, sample: SampleId) -> Option<Label> {
        let is_known = !self.is_unlabelled() || self.official().test.contains(&sample.index());
        is_known.then(|| Label(self.parts.labels[sample.index()]))
    }
}

fn digest(parts: &DatasetParts, embeddings: Option<&Embeddings>) -> String {
    let mut hash = Sha256::new();
    let i = &parts.images;
    for n in [i.count, i.height, i.width, i.channels, parts.official_test] {
        hash.update((n as u64).to_le_bytes());
    }
    hash.update(&i.bytes[..]);
    for label in &parts.labels {
        hash.update(label.to_le_bytes());
    }
    for name in &parts.class_names {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
    }
    // Datasets without one keep the digests that they had before there were validation sets.
    if parts.official_validation > 0 {
        hash.update(b"official validation");
        hash.update((parts.official_validation as u64).to_le_bytes());
    }
    if i.image_len() == 0 && embeddings.is_none() {
        hash.update(b"names");
        for name in &parts.files {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name.as_bytes());
        }
    }
    if let Some(Embeddings { values, width }) = embeddings {
        hash.update(b"embeddings");
        hash.update((*width as u64).to_le_bytes());
        let mut block = Vec::with_capacity(1 << 16);
        for values in values.chunks(1 << 14) {
            block.clear();
            block.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            hash.update(&block);
        }
    }
    hex(&hash.finalize())
}

/// Parts that make no dataset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dataset `{dataset}`: {message}")]
pub struct DatasetError {
    /// The dataset's name.
    pub dataset: String,
    /// What is wrong.
    pub message: String,
}
