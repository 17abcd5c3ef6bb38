//! What is learned.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::normalise::{ChannelStatistics, Normalise};
use super::{Bytes, VariantConfig};

/// A dataset, by name or by place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// A public set (`querist data list` shows all), or a form of your own data: `folder`, one folder of pictures a
    /// class; `list`, text files of paths and labels; `manifest`, a CSV table; `parquet`, tables with pictures or
    /// paths; `webdataset`, tar shards; `embeddings`, arrays in the place of pictures; `ids`, a CSV table of ids and
    /// labels, for a learner of your own that alone knows what is behind an id; `pictures`, pictures whose labels are not
    /// known, in one folder or in a CSV table, for people to label.
    pub name: String,
    /// Folder or archive that holds it, relative to the working folder; the cache of `querist data fetch` where it is
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How folders of pictures are read; by their names where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<DatasetLayout>,
    /// The files of a `list`, and of public sets that are lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListConfig>,
    /// Which columns of a `manifest`, of `ids` or of `parquet` tables are read; by their usual names where it is left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<ColumnsConfig>,
    /// The files of `embeddings`; those that `querist embed` wrote into `path` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embeddings: Option<EmbeddingsConfig>,
    /// Whether the additional training images of a set that publishes some (`svhn`) are read, too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub extra: bool,
    /// How samples are numbered; where it is left out, lists by their lines, public files in random order as published,
    /// everything else by content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<SampleOrder>,
    /// Names of the classes of `pictures`: a list, or a text file of one name a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<ClassNames>,
    /// CSV table of paths and labels of `pictures` whose labels are known already; these are the initial set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Folder with one folder of test pictures a class, the labelled test set of `pictures`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_path: Option<String>,
    /// Samples to hold out for validation, stratified by class; only for datasets without a validation set of their
    /// own. They are evaluated each round, and used for nothing else.
    #[serde(default)]
    pub validation: usize,
    /// Samples to hold out for the test, stratified by class; only for datasets without an official test set (`digits`,
    /// and `folder` without a test folder).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub test: Option<usize>,
    /// Side in pixels to which every image is resized; without it all images must be of one size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4, max = 1024))]
    pub size: Option<u32>,
    /// Length in pixels of the shorter side before the middle `size` x `size` are cut out, `size` or more; `size` where
    /// it is left out. The customary test picture is `resize = 256` with `size = 224`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 4, max = 2048))]
    pub resize: Option<u32>,
    /// How a picture that is no square becomes one of `size`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fit: Fit,
    /// The filter of resizing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub filter: ResizeFilter,
    /// Whether pictures are turned upright as their Exif data says; otherwise they stay as they lie in the file.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub upright: bool,
    /// Mean and standard deviation by which pixels are normalised; the published ones of the set where they are right,
    /// else those of the pool, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Normalise>,
    /// Mean and standard deviation of each channel in numbers, in place of `normalise`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<ChannelStatistics>,
    /// Decoded pictures of more than this stay in a file of the cache and are read by minibatch; smaller sets are held
    /// in memory. Results are the same.
    #[serde(default = "default_in_memory", skip_serializing_if = "is_default_in_memory")]
    pub in_memory: Bytes,
    /// What is done to the pool for a study; nothing where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<VariantConfig>,
    /// Share of the pool that leaves it, with at least ten samples of each class, for the upper baseline of a study to
    /// judge batches by; no run may buy from it, and no other run reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 0.5))]
    pub reserve: Option<f64>,
}

impl DatasetConfig {
    /// The dataset of this name with every other key left out.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: None,
            layout: None,
            list: None,
            columns: None,
            embeddings: None,
            extra: false,
            order: None,
            classes: None,
            labels: None,
            test_path: None,
            validation: 0,
            test: None,
            size: None,
            resize: None,
            fit: Fit::default(),
            filter: ResizeFilter::default(),
            upright: true,
            normalise: None,
            statistics: None,
            in_memory: default_in_memory(),
            variant: None,
            reserve: None,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

fn default_in_memory() -> Bytes {
    Bytes(8 << 30)
}

fn is_default_in_memory(value: &Bytes) -> bool {
    *value == default_in_memory()
}

/// Text files that name pictures: `path label` a line, separated by a blank, a tab or a comma.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListConfig {
    /// Training pictures. A file that is not found from the working folder is looked for in `dataset.path`, where the
    /// pictures lie.
    pub train: String,
    /// Validation pictures, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<String>,
    /// Test pictures, likewise; or a folder with one folder a class, whose sorted names are the labels 0, 1, 2, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
}

/// Names of classes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ClassNames {
    /// These, in this order.
    List(#[schemars(length(min = 2, max = 10_000))] Vec<String>),
    /// Those of a text file, one a line.
    File(String),
}

/// Columns of a table of pictures, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnsConfig {
    /// Path of the picture, or in Parquet its bytes, or a struct of both [default: `image`, `img`, `path`, `file` or
    /// `filename`]; of `ids` the id [default: `id`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its class: a number or a name [default: `label`, `fine_label`, `class` or `ClassId`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its split: `train`, `validation` or `test` [default: `split` where there is such a column].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
}

/// Files of embeddings and of their labels: `.npy`, `.npz` (`FILE#MEMBER`) or `.safetensors` (`FILE#TENSOR`). A file
/// that is not found from the working folder is looked for in `dataset.path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingsConfig {
    /// Rows to train on, `[rows, width]`: floats of 16, 32 or 64 bits.
    pub train: Files,
    /// Their labels, one whole number a row.
    pub train_labels: Files,
    /// Rows to validate with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Files>,
    /// Their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_labels: Option<Files>,
    /// Rows to test on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Files>,
    /// Their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_labels: Option<Files>,
    /// Text file of the names of the classes, one a line; numbers where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<String>,
}

/// A file, or several whose rows follow one another. `*` in a file's name stands for any text; such files come in the
/// order of the numbers in their names, and where these say `3-of-8`, all must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Files {
    /// One, or all that are called so.
    One(String),
    /// Some, in this order.
    Several(#[schemars(length(min = 1, max = 100_000))] Vec<String>),
}

impl Files {
    /// Each as it is written.
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(file) => std::slice::from_ref(file),
            Self::Several(files) => files,
        }
    }
}

/// How samples are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SampleOrder {
    /// By a hash of their contents, which tells no classes.
    Content,
    /// As in the files: lines of lists, rows of tables and arrays, sorted paths of folders. Where that order goes by
    /// class, neighbouring numbers are of one class, and strategies see numbers.
    Published,
}

/// How a picture becomes a square.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Its middle is cut out.
    #[default]
    Cut,
    /// All of it is drawn out or pressed.
    Stretch,
}

/// The filter of resizing; each is widened by the factor of reduction, so that nothing is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeFilter {
    /// Pillow's `BILINEAR`.
    #[default]
    Triangle,
    /// Pillow's `BOX`.
    Box,
    /// Catmull and Rom's cubic, Pillow's `BICUBIC`.
    Cubic,
    /// Of three lobes, Pillow's `LANCZOS`.
    Lanczos,
}

/// What folders of pictures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetLayout {
    /// Each folder is a class, whatever its name.
    Classes,
    /// Each folder is a split (training, validation or test, by its name), with a folder a class in it.
    Splits,
    /// As `splits`, and what is called validation is the test set.
    ValidationIsTest,
}
