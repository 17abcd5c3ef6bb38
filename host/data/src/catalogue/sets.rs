//! The public sets, one after the other.

use super::{Arrangement, CifarFormat, Format, IdxFormat, PublicSet, RemoteFile};

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

/// Statistics of ImageNet, which hold for its parts, too.
const IMAGENET: Option<(&[f32], &[f32])> = Some((&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]));

const CIFAR_ADDRESSES: &[&str] = &["https://www.cs.toronto.edu/~kriz/"];

/// Pictures that are no digits and that nothing needs to be downloaded for: strangers in a pool of digits.
pub(crate) const SHUFFLED_DIGITS: &str = "digits-shuffled";

pub(super) static SETS: [PublicSet; 16] = [
    PublicSet {
        name: "digits",
        folder: "digits",
        origin: "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI repository, CC BY 4.0",
        format: Format::BuiltIn,
        files: &[],
        addresses: &[],
        train: 1797,
        extra: 0,
        test: 0,
        shape: [8, 8, 1],
        classes: 10,
        names: "0 1 2 3 4 5 6 7 8 9",
        statistics: None,
    },
    PublicSet {
        name: SHUFFLED_DIGITS,
        folder: SHUFFLED_DIGITS,
        origin: "the built-in digits, their pixels in another, fixed order: like digits in all but what they show",
        format: Format::BuiltIn,
        files: &[],
        addresses: &[],
        train: 1797,
        extra: 0,
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
        extra: 0,
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
        extra: 0,
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
        extra: 0,
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
        extra: 0,
        test: 20_800,
        shape: [28, 28, 1],
        classes: 26,
        names: "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
        statistics: None,
    },
    PublicSet {
        name: "emnist-byclass",
        folder: "emnist",
        origin: "G. Cohen, S. Afshar, J. Tapson, A. van Schaik: EMNIST, NIST",
        format: Format::Idx(IdxFormat {
            stems: [
                "emnist-byclass-train-images-idx3-ubyte",
                "emnist-byclass-train-labels-idx1-ubyte",
                "emnist-byclass-test-images-idx3-ubyte",
                "emnist-byclass-test-labels-idx1-ubyte",
            ],
            transposed: true,
            first_label: 0,
            ordered: true,
        }),
        files: EMNIST_FILES,
        addresses: EMNIST_ADDRESSES,
        train: 697_932,
        extra: 0,
        test: 116_323,
        shape: [28, 28, 1],
        classes: 62,
        names: "0 1 2 3 4 5 6 7 8 9 A B C D E F G H I J K L M N O P Q R S T U V W X Y Z a b c d e f g h i j k l m n o \
                p q r s t u v w x y z",
        statistics: None,
    },
    PublicSet {
        name: "cifar10",
        folder: "cifar10",
        origin: "A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images",
        format: Format::Cifar(CifarFormat {
            folder: "cifar-10-batches-bin",
            python_folder: "cifar-10-batches-py",
            python_archive: "cifar-10-python.tar.gz",
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
        extra: 0,
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
            python_folder: "cifar-100-python",
            python_archive: "cifar-100-python.tar.gz",
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
        extra: 0,
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
    PublicSet {
        name: "svhn",
        folder: "svhn",
        origin: "Y. Netzer et al.: Reading Digits in Natural Images, cropped digits",
        format: Format::Svhn,
        files: &[],
        addresses: &[],
        train: 73_257,
        extra: 531_131,
        test: 26_032,
        shape: [32, 32, 3],
        classes: 10,
        names: "0 1 2 3 4 5 6 7 8 9",
        statistics: Some((&[0.4377, 0.4438, 0.4728], &[0.1980, 0.2010, 0.1970])),
    },
    PublicSet {
        name: "mini-imagenet",
        folder: "mini-imagenet",
        origin: "O. Vinyals et al.: Matching Networks for One Shot Learning",
        format: Format::MiniImagenet,
        files: &[],
        addresses: &[],
        train: 48_000,
        extra: 0,
        test: 12_000,
        shape: [84, 84, 3],
        classes: 100,
        names: "",
        statistics: IMAGENET,
    },
    PublicSet {
        name: "imagenet",
        folder: "imagenet",
        origin: "O. Russakovsky et al.: ImageNet Large Scale Visual Recognition Challenge",
        format: Format::Pictures(Arrangement::TrainAndValidation),
        files: &[],
        addresses: &[],
        train: 1_281_167,
        extra: 0,
        test: 50_000,
        shape: [0, 0, 3],
        classes: 1000,
        names: "",
        statistics: IMAGENET,
    },
    PublicSet {
        name: "imagenet-lt",
        folder: "imagenet-lt",
        origin: "Z. Liu et al.: Large-Scale Long-Tailed Recognition in an Open World",
        format: Format::Pictures(Arrangement::TrainListAndValidation),
        files: &[],
        addresses: &[],
        train: 115_846,
        extra: 0,
        test: 50_000,
        shape: [0, 0, 3],
        classes: 1000,
        names: "",
        statistics: IMAGENET,
    },
    PublicSet {
        name: "tiny-imagenet",
        folder: "tiny-imagenet",
        origin: "Stanford CS231N: Tiny ImageNet",
        format: Format::Pictures(Arrangement::TinyImagenet),
        files: &[],
        addresses: &[],
        train: 100_000,
        extra: 0,
        test: 10_000,
        shape: [64, 64, 3],
        classes: 200,
        names: "",
        statistics: IMAGENET,
    },
    PublicSet {
        name: "caltech256",
        folder: "caltech256",
        origin: "G. Griffin, A. Holub, P. Perona: Caltech-256",
        format: Format::Pictures(Arrangement::TwoLists),
        files: &[],
        addresses: &[],
        train: 22_897,
        extra: 0,
        test: 7_710,
        shape: [0, 0, 3],
        classes: 257,
        names: "",
        statistics: Some((&[0.5511, 0.5335, 0.5052], &[0.3151, 0.3116, 0.3257])),
    },
    PublicSet {
        name: "gtsrb",
        folder: "gtsrb",
        origin: "J. Stallkamp et al.: The German Traffic Sign Recognition Benchmark",
        format: Format::Pictures(Arrangement::Gtsrb),
        files: &[],
        addresses: &[],
        train: 39_209,
        extra: 0,
        test: 12_630,
        shape: [0, 0, 3],
        classes: 43,
        names: "",
        statistics: Some((&[0.3337, 0.3064, 0.3171], &[0.2672, 0.2564, 0.2629])),
    },
];
