//! The public datasets: their files, where they come from, how to know them, and what is published about them.
//!
//! Checksums are those published for the files; sizes are bytes. Statistics are of the training images on the scale 0
//! to 1; where peers disagree or use another set's numbers, none are given and they are measured on the pool.

mod sets;

use std::path::Path;

use querist_core::dataset::Normalisation;
use querist_protocol::Shown;

use crate::error::DataError;
pub(crate) use sets::SHUFFLED_DIGITS;

/// Name of datasets made of the user's own pictures.
pub const FOLDER: &str = "folder";
/// Of pictures that text files name.
pub const LIST: &str = "list";
/// Of pictures that a table of text names.
pub const MANIFEST: &str = "manifest";
/// Of tables with pictures or their paths.
pub const PARQUET: &str = "parquet";
/// Of tar archives with pictures and labels beside one another.
pub const WEBDATASET: &str = "webdataset";
/// Of arrays in the place of pictures.
pub const EMBEDDINGS: &str = "embeddings";
/// Name under which samples are read that only their ids are known of.
pub const IDS: &str = "ids";
/// Of pictures whose labels are not known, for people to label.
pub const PICTURES: &str = "pictures";
/// Names of all forms of one's own data.
pub const OWN: [&str; 8] = [FOLDER, LIST, MANIFEST, PARQUET, WEBDATASET, EMBEDDINGS, IDS, PICTURES];

/// One file to download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFile {
    /// File name, on the server and in the cache.
    pub name: &'static str,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the file, in hex.
    pub sha256: &'static str,
    /// SHA-256 of what the file decompresses to, where it is known: copies compressed anew are told from damaged ones.
    pub content_sha256: Option<&'static str>,
}

/// How the files of a set are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Part of this program.
    BuiltIn,
    /// Four IDX files.
    Idx(IdxFormat),
    /// CIFAR's binary records, or the same pictures in class folders.
    Cifar(CifarFormat),
    /// MATLAB files of digits.
    Svhn,
    /// Three pickles.
    MiniImagenet,
    /// Pictures in folders, with lists or tables beside them.
    Pictures(Arrangement),
}

/// How the pictures of a public set lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// `train/CLASS/` and `val/CLASS/`, of which the latter is the test set.
    TrainAndValidation,
    /// The same pictures, of which a list names those to train on.
    TrainListAndValidation,
    /// A list to train on and one to test on.
    TwoLists,
    /// `train/CLASS/images/`, and `val/images/` with a table of their classes.
    TinyImagenet,
    /// `Final_Training/Images/00000/`, ... and a table of test pictures, or `Train/0/`, ... and `Test.csv`.
    Gtsrb,
}

/// IDX files of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdxFormat {
    /// Names without `.gz`: training images and labels, test images and labels.
    pub stems: [&'static str; 4],
    /// Whether rows and columns are swapped in the files.
    pub transposed: bool,
    /// Label of the first class in the files.
    pub first_label: u8,
    /// Whether samples are ordered anew, because the published order may tell classes.
    pub ordered: bool,
}

/// CIFAR files of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CifarFormat {
    /// Folder inside the archive.
    pub folder: &'static str,
    /// Folder inside the archive of the Python form, and that archive.
    pub python_folder: &'static str,
    /// Archive of the Python form.
    pub python_archive: &'static str,
    /// Training batches, in order.
    pub train: &'static [&'static str],
    /// Test batch.
    pub test: &'static str,
    /// Bytes of labels at the start of a record; the last of them counts.
    pub label_bytes: usize,
}

/// A public dataset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublicSet {
    /// Name as users write it.
    pub name: &'static str,
    /// Folder in the cache; sets that come in one file share it.
    pub folder: &'static str,
    /// Who made it.
    pub origin: &'static str,
    /// How it is written.
    pub format: Format,
    /// What to download; nothing for built-in sets and those that have no public address with checksums.
    pub files: &'static [RemoteFile],
    /// Addresses under which the files lie, in the order to try.
    pub addresses: &'static [&'static str],
    /// Training images.
    pub train: usize,
    /// Additional training images, which are read where they are asked for.
    pub extra: usize,
    /// Official test images; 0 where there is no test set.
    pub test: usize,
    /// Height, width, channels; height and width are 0 where pictures have many sizes.
    pub shape: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Class names, separated by spaces; none where the files name them.
    pub(crate) names: &'static str,
    /// Published mean and standard deviation of each channel.
    pub(crate) statistics: Option<(&'static [f32], &'static [f32])>,
}

impl PublicSet {
    /// Name of each class.
    pub fn class_names(&self) -> Vec<String> {
        self.names.split(' ').map(|name| name.replace('_', " ")).collect()
    }

    /// Whether it is part of the program.
    pub fn is_built_in(&self) -> bool {
        self.format == Format::BuiltIn
    }

    /// Published statistics, where they can be trusted.
    pub fn normalisation(&self) -> Option<Normalisation> {
        self.statistics.map(|(mean, std)| Normalisation { mean: mean.to_vec(), std: std.to_vec() })
    }

    /// Whether samples are ordered anew, whatever their labels.
    pub(crate) fn is_ordered(&self) -> bool {
        matches!(self.format, Format::BuiltIn | Format::Idx(IdxFormat { ordered: true, .. }))
    }

    pub(crate) fn missing(&self, place: &Path, wanted: String) -> DataError {
        DataError::Missing {
            dataset: self.name.to_owned(),
            wanted,
            places: vec![place.to_owned()],
            advice: match self.files {
                [] => "set `dataset.path` to its folder (docs/data.md says what must lie there)".to_owned(),
                _ => format!("fetch it with `querist data fetch {}`, or set `dataset.path` to its folder", self.name),
            },
        }
    }
}

/// Every public set.
pub fn all() -> &'static [PublicSet] {
    &sets::SETS
}

/// Every name that a run file may give.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|set| set.name).chain(OWN).collect()
}

/// A public set by name.
///
/// # Errors
/// If there is none, with the nearest name.
pub fn find(name: &str) -> Result<&'static PublicSet, DataError> {
    all()
        .iter()
        .find(|set| set.name == name)
        .ok_or_else(|| DataError::UnknownDataset { name: Shown::name(name), suggestion: nearest(name) })
}

fn nearest(name: &str) -> Option<&'static str> {
    // Names of thousands of letters are no slips of the pen.
    let name: String = name.chars().take(80).flat_map(char::to_lowercase).collect();
    let scored = names().into_iter().map(|known| (strsim::jaro_winkler(&name, known), known));
    scored.filter(|&(score, _)| score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_agrees_with_itself() {
        for set in all() {
            let names = set.class_names();
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            assert!(set.names.is_empty() || distinct.len() == set.classes, "{}", set.name);
            assert_eq!(names.len(), distinct.len(), "{}", set.name);
            if let Some(n) = set.normalisation() {
                assert_eq!((n.mean.len(), n.std.len()), (set.shape[2], set.shape[2]), "{}", set.name);
            }
            assert_eq!(set.files.is_empty(), set.addresses.is_empty(), "{}", set.name);
            for file in set.files {
                let sums = [Some(file.sha256), file.content_sha256];
                assert!(sums.iter().flatten().all(|sum| sum.len() == 64), "{}", file.name);
            }
        }
        // Pictures of CIFAR in class folders get their labels by the order of the names.
        for name in ["cifar10", "cifar100"] {
            assert!(find(name).unwrap().class_names().is_sorted_by_key(|name| name.replace(' ', "_")), "{name}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_named() {
        let text = |name| find(name).unwrap_err().to_string();
        assert!(text("cifar-10").contains("did you mean `cifar10`?"), "{}", text("cifar-10"));
        assert!(text("MNIST").contains("did you mean `mnist`?"));
        assert_eq!(
            text("openimages"),
            "no dataset is called `openimages`; the names are digits, digits-shuffled, mnist, fashion-mnist, \
             emnist-balanced, emnist-letters, emnist-byclass, cifar10, cifar100, svhn, mini-imagenet, imagenet, \
             imagenet-lt, tiny-imagenet, caltech256, gtsrb, folder, list, manifest, parquet, webdataset, embeddings, \
             ids, pictures"
        );
    }
}
