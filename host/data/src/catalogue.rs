//! The public datasets: their files, where they come from, how to know them, and what is published about them.
//!
//! Checksums are those published for the files; sizes are bytes. Statistics are of the training images on the scale 0
//! to 1; where peers disagree or use another set's numbers, none are given and they are measured on the pool.

use std::path::Path;

use querist_core::dataset::Normalisation;
use querist_protocol::Shown;

use crate::error::DataError;

/// Name of datasets made of the user's own pictures.
pub const FOLDER: &str = "folder";

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
    /// What to download; nothing for built-in sets.
    pub files: &'static [RemoteFile],
    /// Addresses under which the files lie, in the order to try.
    pub addresses: &'static [&'static str],
    /// Training images.
    pub train: usize,
    /// Official test images; 0 where there is no test set.
    pub test: usize,
    /// Height, width, channels.
    pub shape: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Class names, separated by spaces.
    pub(crate) names: &'static str,
    /// Published mean and standard deviation of each channel.
    pub(crate) statistics: Option<(&'static [f32], &'static [f32])>,
}

impl PublicSet {
    /// Name of each class.
    pub fn class_names(&self) -> Vec<String> {
        self.names.split(' ').map(|name| name.replace('_', " ")).collect()
    }

    /// Published statistics, where they can be trusted.
    pub fn normalisation(&self) -> Option<Normalisation> {
        self.statistics.map(|(mean, std)| Normalisation { mean: mean.to_vec(), std: std.to_vec() })
    }

    pub(crate) fn missing(&self, place: &Path, wanted: String) -> DataError {
        DataError::Missing {
            dataset: self.name.to_owned(),
            wanted,
            places: vec![place.to_owned()],
            advice: format!("fetch it with `querist data fetch {}`, or set `dataset.path` to its folder", self.name),
        }
    }
}

/// Every public set.
pub fn all() -> &'static [PublicSet] {
    &SETS
}

/// Every name that a run file may give.
pub fn names() -> Vec<&'static str> {
    SETS.iter().map(|set| set.name).chain([FOLDER]).collect()
}

/// A public set by name.
///
/// # Errors
/// If there is none, with the nearest name.
pub fn find(name: &str) -> Result<&'static PublicSet, DataError> {
    SETS.iter()
        .find(|set| set.name == name)
        .ok_or_else(|| DataError::UnknownDataset { name: Shown::name(name), suggestion: nearest(name) })
}

fn nearest(name: &str) -> Option<&'static str> {
    // Names of thousands of letters are no slips of the pen.
    let name: String = name.chars().take(80).flat_map(char::to_lowercase).collect();
    let scored = names().into_iter().map(|known| (strsim::jaro_winkler(&name, known), known));
    scored.filter(|&(score, _)| score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

const fn file(name: &'static str, size: u64, sha256: &'static str) -> RemoteFile {
    RemoteFile { name, size, sha256, content_sha256: None }
}

const fn file_with_content(
    name: &'static str,
    size: u64,
    sha256: &'static str,
    content_sha256: &'static str,
) -> RemoteFile {
    RemoteFile { name, size, sha256, content_sha256: Some(content_sha256) }
}

const MNIST_STEMS: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

const EMNIST_FILES: &[RemoteFile] =
    &[file("gzip.zip", 561_753_746, "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e")];

const EMNIST_ADDRESSES: &[&str] =
    &["https://biometrics.nist.gov/cs_links/EMNIST/", "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/"];

const CIFAR_ADDRESSES: &[&str] = &["https://www.cs.toronto.edu/~kriz/"];

static SETS: [PublicSet; 7] = [
    PublicSet {
        name: "digits",
        folder: "digits",
        origin: "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI repository, CC BY 4.0",
        format: Format::BuiltIn,
        files: &[],
        addresses: &[],
        train: 1797,
        test: 0,
        shape: [8, 8, 1],
        classes: 10,
        names: "0 1 2 3 4 5 6 7 8 9",
        statistics: None,
    },
    PublicSet {
        name: "mnist",
        folder: "mnist",
        origin: "Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database",
        format: Format::Idx(IdxFormat { stems: MNIST_STEMS, transposed: false, first_label: 0, ordered: false }),
        files: &[
            file_with_content(
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            file_with_content(
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            file_with_content(
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            file_with_content(
                "t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ],
        addresses: &[
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ],
        train: 60_000,
        test: 10_000,
        shape: [28, 28, 1],
        classes: 10,
        names: "0 1 2 3 4 5 6 7 8 9",
        statistics: Some((&[0.1307], &[0.3081])),
    },
    PublicSet {
        name: "fashion-mnist",
        folder: "fashion-mnist",
        origin: "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, MIT",
        format: Format::Idx(IdxFormat { stems: MNIST_STEMS, transposed: false, first_label: 0, ordered: false }),
        files: &[
            file(
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            file(
                "train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            file(
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            file(
                "t10k-labels-idx1-ubyte.gz",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ],
        addresses: &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"],
        train: 60_000,
        test: 10_000,
        shape: [28, 28, 1],
        classes: 10,
        names: "T-shirt/top trouser pullover dress coat sandal shirt sneaker bag ankle_boot",
        // Peers often take MNIST's numbers; these are its own.
        statistics: Some((&[0.2860], &[0.3530])),
    },
    PublicSet {
        name: "emnist-balanced",
        folder: "emnist",
        origin: "G. Cohen, S. Afshar, J. Tapson, A. van Schaik: EMNIST, NIST",
        format: Format::Idx(IdxFormat {
            stems: [
                "emnist-balanced-train-images-idx3-ubyte",
                "emnist-balanced-train-labels-idx1-ubyte",
                "emnist-balanced-test-images-idx3-ubyte",
                "emnist-balanced-test-labels-idx1-ubyte",
            ],
            transposed: true,
            first_label: 0,
            ordered: true,
        }),
        files: EMNIST_FILES,
        addresses: EMNIST_ADDRESSES,
        train: 112_800,
        test: 18_800,
        shape: [28, 28, 1],
        classes: 47,
        names: "0 1 2 3 4 5 6 7 8 9 A B C D E F G H I J K L M N O P Q R S T U V W X Y Z a b d e f g h n q r t",
        statistics: None,
    },
    PublicSet {
        name: "emnist-letters",
        folder: "emnist",
        origin: "G. Cohen, S. Afshar, J. Tapson, A. van Schaik: EMNIST, NIST",
        format: Format::Idx(IdxFormat {
            stems: [
                "emnist-letters-train-images-idx3-ubyte",
                "emnist-letters-train-labels-idx1-ubyte",
                "emnist-letters-test-images-idx3-ubyte",
                "emnist-letters-test-labels-idx1-ubyte",
            ],
            transposed: true,
            first_label: 1,
            ordered: true,
        }),
        files: EMNIST_FILES,
        addresses: EMNIST_ADDRESSES,
        train: 124_800,
        test: 20_800,
        shape: [28, 28, 1],
        classes: 26,
        names: "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
        statistics: None,
    },
    PublicSet {
        name: "cifar10",
        folder: "cifar10",
        origin: "A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images",
        format: Format::Cifar(CifarFormat {
            folder: "cifar-10-batches-bin",
            train: &[
                "data_batch_1.bin",
                "data_batch_2.bin",
                "data_batch_3.bin",
                "data_batch_4.bin",
                "data_batch_5.bin",
            ],
            test: "test_batch.bin",
            label_bytes: 1,
        }),
        files: &[file(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        )],
        addresses: CIFAR_ADDRESSES,
        train: 50_000,
        test: 10_000,
        shape: [32, 32, 3],
        classes: 10,
        names: "airplane automobile bird cat deer dog frog horse ship truck",
        statistics: Some((&[0.4914, 0.4822, 0.4465], &[0.2470, 0.2435, 0.2616])),
    },
    PublicSet {
        name: "cifar100",
        folder: "cifar100",
        origin: "A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images",
        format: Format::Cifar(CifarFormat {
            folder: "cifar-100-binary",
            train: &["train.bin"],
            test: "test.bin",
            label_bytes: 2,
        }),
        files: &[file(
            "cifar-100-binary.tar.gz",
            168_513_733,
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        )],
        addresses: CIFAR_ADDRESSES,
        train: 50_000,
        test: 10_000,
        shape: [32, 32, 3],
        classes: 100,
        names: "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly \
                camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup \
                dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower \
                leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid \
                otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray \
                road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar \
                sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle \
                wardrobe whale willow_tree wolf woman worm",
        statistics: Some((&[0.5071, 0.4867, 0.4408], &[0.2675, 0.2565, 0.2761])),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_agrees_with_itself() {
        for set in all() {
            let names = set.class_names();
            assert_eq!(names.len(), set.classes, "{}", set.name);
            let distinct: std::collections::BTreeSet<_> = names.iter().collect();
            assert_eq!(distinct.len(), set.classes, "{}", set.name);
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
            text("imagenet"),
            "no dataset is called `imagenet`; the names are digits, mnist, fashion-mnist, emnist-balanced, \
             emnist-letters, cifar10, cifar100, folder"
        );
    }
}
