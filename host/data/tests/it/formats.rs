//! Datasets in forms that other programs write: `tests/formats/make.py` made them with scipy, pickle, numpy, pyarrow
//! and tarfile.

use std::fs;
use std::path::{Path, PathBuf};

use querist_core::config::{ColumnsConfig, DatasetConfig, DatasetLayout, SampleOrder};
use querist_core::{Dataset, SampleId};
use querist_data::{DataError, Search, check, load};
use tempfile::TempDir;

use crate::{at, message, put};

/// The small files, unpacked.
pub fn formats() -> TempDir {
    let folder = TempDir::new().unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/formats.tar.gz");
    let gzip = flate2::read::GzDecoder::new(fs::File::open(archive).unwrap());
    tar::Archive::new(gzip).unpack(folder.path()).unwrap();
    folder
}

/// What `make.py` calls `picture`.
pub fn picture(number: usize, side: usize) -> Vec<u8> {
    let value = |y: usize, x: usize, c: usize| ((7 * y + 3 * x + 50 * c + 11 * number) % 256) as u8;
    let pixel = move |y, x| (0..3).map(move |c| value(y, x, c));
    (0..side).flat_map(|y| (0..side).flat_map(move |x| pixel(y, x))).collect()
}

pub fn read(config: &DatasetConfig) -> Result<Dataset, DataError> {
    load(config, &Search::at("/nowhere"))
}

/// Numbers of the pictures in the order of the samples.
pub fn numbers(set: &Dataset) -> Vec<usize> {
    let images = set.images();
    let known: Vec<Vec<u8>> = (0..100).map(|number| picture(number, images.height)).collect();
    let number = |sample| known.iter().position(|known| known == images.image(SampleId(sample))).unwrap();
    (0..set.len() as u64).map(number).collect()
}

fn published(name: &str, path: &Path) -> DatasetConfig {
    DatasetConfig { order: Some(SampleOrder::Published), ..at(name, path) }
}

#[test]
fn svhn_by_scipy_plain_and_compressed() {
    let folder = formats();
    for kind in ["svhn-plain", "svhn-packed"] {
        let place = folder.path().join(kind);
        let set = read(&published("svhn", &place)).unwrap();
        assert_eq!((set.len(), set.official_test(), set.classes()), (5, 2, 10));
        assert_eq!(numbers(&set), [0, 1, 2, 3, 4], "{kind}");
        let extra = read(&DatasetConfig { extra: true, ..published("svhn", &place) }).unwrap();
        assert_eq!((numbers(&extra), extra.official_test()), (vec![0, 1, 2, 5, 3, 4], 2));
        // 10 is the digit 0: each class as often as labels say.
        let text = check(&published("svhn", &place), &Search::at("/nowhere")).unwrap().summary.unwrap().to_string();
        let zero = text.lines().find(|line| line.starts_with("0 ")).unwrap();
        assert_eq!(zero.split_whitespace().collect::<Vec<_>>(), ["0", "1", "0"], "{text}");
    }
    let label = folder.path().join("svhn-label");
    let text = message(read(&at("svhn", &label)), folder.path());
    assert_eq!(text, "svhn-label/train_32x32.mat, `y` at 1: label 11; expected 1 to 10");
}

#[test]
fn damaged_matlab_files_are_refused() {
    let folder = formats();
    let path = folder.path().join("svhn-packed/train_32x32.mat");
    let whole = fs::read(&path).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let cases = [
        (whole[..100].to_vec(), "fewer than 128 bytes"),
        (whole[..400].to_vec(), "an element beyond the end of the file"),
        (with(132, &[0xff; 4]), "an element beyond the end of the file"),
        (with(124, b"\x00\x02IM"), "no header of a MATLAB file"),
        (with(0, b"MATLAB 7.3 MAT-file"), "MATLAB's version 7.3, which is not read; expected version 5: save it again"),
        (with(150, &[0x55; 20]), "damaged compressed data ("),
        (whole[..128].to_vec(), "no array `X`"),
    ];
    for (bytes, expected) in cases {
        put(&path, bytes);
        let text = message(read(&at("svhn", &folder.path().join("svhn-packed"))), folder.path());
        assert!(text.starts_with("svhn-packed/train_32x32.mat: ") && text.contains(expected), "{text}\n {expected}");
    }
    // Sizes that no file of this length can have.
    let plain = folder.path().join("svhn-plain/train_32x32.mat");
    let mut bytes = fs::read(&plain).unwrap();
    let sizes = bytes.windows(16).position(|window| window == [32, 0, 0, 0, 32, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0]);
    bytes[sizes.unwrap() + 12..][..4].copy_from_slice(&[0xff; 4]);
    put(&plain, bytes);
    let text = message(read(&at("svhn", &folder.path().join("svhn-plain"))), folder.path());
    assert!(text.contains("array `X`: 9216 bytes of values for sizes [32, 32, 3, 4294967295]"), "{text}");
}

#[test]
fn cifar_in_pickles_of_every_protocol() {
    let folder = formats();
    for protocol in [2, 4, 5] {
        let place = folder.path().join(format!("cifar10-protocol{protocol}"));
        let set = read(&published("cifar10", &place)).unwrap();
        assert_eq!((set.len(), set.official_test()), (12, 2));
        assert_eq!(numbers(&set), (0..12).collect::<Vec<_>>());
        let inner = read(&published("cifar10", &place.join("cifar-10-batches-py"))).unwrap();
        assert_eq!(inner.digest(), set.digest());
    }
    let set = read(&published("cifar100", &folder.path().join("cifar100"))).unwrap();
    assert_eq!((numbers(&set), set.official_test(), set.classes()), (vec![0, 1, 2, 0], 1, 100));
    // The archive that the set is published in.
    let archive = folder.path().join("cifar-100-python.tar.gz");
    let gzip = flate2::write::GzEncoder::new(fs::File::create(&archive).unwrap(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    tar.append_dir_all("cifar-100-python", folder.path().join("cifar100/cifar-100-python")).unwrap();
    tar.into_inner().unwrap().finish().unwrap();
    for place in [folder.path().to_owned(), archive] {
        assert_eq!(read(&published("cifar100", &place)).unwrap().digest(), set.digest());
    }
}

#[test]
fn mini_imagenet_is_merged_and_split_by_class() {
    let folder = formats();
    let set = read(&published("mini-imagenet", &folder.path().join("mini-imagenet"))).unwrap();
    assert_eq!(set.class_names(), ["n03", "n01", "n02", "n00"]);
    assert_eq!((set.len(), set.official_test()), (40, 8));
    let found = numbers(&set);
    // Class n03 has the even pictures of the first file; its first fifth is for the test.
    assert_eq!(found[..8], [4, 6, 8, 10, 12, 14, 16, 18]);
    assert_eq!(found[32..], [0, 2, 1, 3, 20, 21, 30, 31]);
    assert_eq!(set.file(SampleId(0)), Some("train#4"));
    // Published class by class, so ordered anew by default.
    let content = read(&at("mini-imagenet", &folder.path().join("mini-imagenet"))).unwrap();
    assert_ne!(numbers(&content), found);
    fs::remove_file(folder.path().join("mini-imagenet/mini-imagenet-cache-val.pkl")).unwrap();
    let text = message(read(&at("mini-imagenet", &folder.path().join("mini-imagenet"))), folder.path());
    assert!(
        text.contains("found no `mini-imagenet-cache-val.pkl` or ") && text.contains("set `dataset.path`"),
        "{text}"
    );
}

#[test]
fn pickles_run_no_code_and_hold_nothing_else() {
    let folder = formats();
    let not_read = ", which is not read; expected arrays of numbers, numbers, texts, lists, tuples and dicts; nothing \
                    in a pickle is run";
    let cases: [(&str, String); 10] = [
        ("code", format!("`posix.system`{not_read}")),
        ("class", format!("`sklearn.svm.Own`{not_read}")),
        ("set", not_read.to_owned()),
        ("objects", format!("an array of `O8`{not_read}")),
        ("texts", format!("an array of `U1`{not_read}")),
        ("floats", "`data` is an array of `f4` of shape [1, 3072]; expected an array of bytes (uint8), rows".into()),
        ("short", "`data` of shape [1, 3000] and 1 labels; expected one row of 3072 bytes a label".into()),
        ("label", "label 10 at 0; expected 0 to 9".into()),
        ("counts", "`data` of shape [2, 3072] and 1 labels".into()),
        ("missing", "no entry `data`, only `labels`".into()),
    ];
    for (name, expected) in &cases {
        for protocol in [2, 4] {
            let place = folder.path().join("cifar10-protocol2/cifar-10-batches-py");
            let bytes = fs::read(folder.path().join(format!("refused/{name}.{protocol}"))).unwrap();
            put(place.join("data_batch_3"), bytes);
            let text = message(read(&at("cifar10", &place)), folder.path());
            let names_it = text.contains("data_batch_3") && text.contains(expected);
            assert!(names_it, "{name}.{protocol}: {text}\n  lacks: {expected}");
        }
    }
}

/// Any cut and any changed byte of a pickle gives a dataset or an error, and neither a panic nor memory without end.
#[test]
fn damaged_pickles_end_in_an_error() {
    let folder = formats();
    let place = folder.path().join("cifar10-protocol2/cifar-10-batches-py");
    let path = place.join("data_batch_1");
    let whole = fs::read(&path).unwrap();
    let head: Vec<usize> = (0..140).chain(whole.len() - 60..whole.len()).collect();
    for &at_byte in &head {
        put(&path, &whole[..at_byte]);
        assert!(read(&at("cifar10", &place)).is_err(), "cut at {at_byte}");
        for value in [0, 0x28, 0x2e, 0x52, 0x62, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at_byte] = value;
            put(&path, &changed);
            let _ = read(&at("cifar10", &place));
        }
    }
}

#[test]
fn parquet_as_hugging_face_writes_it() {
    let folder = formats();
    let mut digests = Vec::new();
    for codec in ["none", "snappy", "gzip", "zstd"] {
        let place = folder.path().join(format!("parquet-{codec}"));
        let layout = Some(DatasetLayout::ValidationIsTest);
        let set = read(&DatasetConfig { layout, ..published("parquet", &place) }).unwrap();
        assert_eq!((set.len(), set.official_validation(), set.official_test()), (9, 0, 2));
        // Class `eel` has a name and no training picture.
        assert_eq!(set.class_names(), ["cat", "dog", "eel"]);
        assert_eq!(numbers(&set), (0..9).collect::<Vec<_>>());
        assert_eq!(set.file(SampleId(4)), Some("train/train-00001-of-00002.parquet#0"));
        digests.push(set.digest().to_owned());
    }
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
    let set = read(&at("parquet", &folder.path().join("parquet-none"))).unwrap();
    assert_eq!((set.official_validation(), set.official_test()), (2, 0));

    let binary = read(&published("parquet", &folder.path().join("parquet-binary/set.parquet"))).unwrap();
    assert_eq!((binary.class_names(), numbers(&binary)), (&["a".into(), "b".into()][..], vec![0, 1, 3, 2]));
    let paths = read(&published("parquet", &folder.path().join("parquet-paths/set.parquet"))).unwrap();
    assert_eq!(numbers(&paths), [0, 1, 2, 3]);
}

#[test]
fn parquet_that_does_not_fit_is_refused() {
    let folder = formats();
    let of = |config: &DatasetConfig| message(read(config), folder.path());
    let null = folder.path().join("parquet-null/set.parquet");
    assert_eq!(
        of(&at("parquet", &null)),
        "parquet-null/set.parquet, row 1: a row without a picture; expected the bytes of a PNG or JPEG"
    );
    let columns = |image: &str| Some(ColumnsConfig { image: Some(image.to_owned()), ..ColumnsConfig::default() });
    let text = of(&DatasetConfig { columns: columns("photo"), ..at("parquet", &null) });
    assert_eq!(
        text,
        "parquet-null/set.parquet: no column `photo`, only `image`, `label`; expected the column that \
         `dataset.columns` names"
    );
    let text = of(&DatasetConfig { columns: columns("label"), ..at("parquet", &null) });
    assert!(text.contains("the picture cannot be decoded"), "{text}");
    fs::remove_file(folder.path().join("parquet-paths/p/2.png")).unwrap();
    fs::remove_file(folder.path().join("parquet-paths/p/3.png")).unwrap();
    let text = of(&at("parquet", &folder.path().join("parquet-paths/set.parquet")));
    assert!(text.contains("2 of 4 pictures that are named are missing") && text.contains("`p/3.png` ("), "{text}");

    let path = folder.path().join("parquet-none/data/train-00000-of-00002.parquet");
    let whole = fs::read(&path).unwrap();
    put(&path, &whole[..whole.len() / 2]);
    let text = of(&at("parquet", &folder.path().join("parquet-none")));
    assert!(text.contains("train-00000-of-00002.parquet: no readable Parquet ("), "{text}");
    for at_byte in (0..whole.len()).step_by(whole.len() / 150) {
        let mut changed = whole.clone();
        changed[at_byte] ^= 0xff;
        put(&path, changed);
        let _ = read(&at("parquet", &folder.path().join("parquet-none")));
    }
}

#[test]
fn webdataset_shards() {
    let folder = formats();
    let set = read(&published("webdataset", &folder.path().join("webdataset-cls"))).unwrap();
    assert_eq!((numbers(&set), set.official_test()), ((0..7).collect::<Vec<_>>(), 2));
    assert_eq!(set.class_names(), ["0", "1"]);
    let json = read(&published("webdataset", &folder.path().join("webdataset-json.tar"))).unwrap();
    assert_eq!((numbers(&json), json.class_names()), (vec![0, 1, 2, 3], &["k0".to_owned(), "k1".to_owned()][..]));
    let text = message(read(&at("webdataset", &folder.path().join("webdataset-half.tar"))), folder.path());
    assert!(
        text.starts_with("webdataset-half.tar#2: a picture without a label; expected its label in `.cls`"),
        "{text}"
    );
    let shard = folder.path().join("webdataset-cls/train-000000.tar");
    let whole = fs::read(&shard).unwrap();
    put(&shard, &whole[..whole.len() / 3]);
    let text = message(read(&at("webdataset", &folder.path().join("webdataset-cls"))), folder.path());
    assert!(text.contains("webdataset-cls/train-000000.tar"), "{text}");
}

/// Kept apart from the others: what a check says of a table.
#[test]
fn a_check_says_what_it_understood() {
    let folder = formats();
    let place: PathBuf = folder.path().join("parquet-none");
    let report = check(&at("parquet", &place), &Search::at("/nowhere")).unwrap();
    assert!(report.is_good());
    let text = report.summary.unwrap().to_string();
    assert!(text.contains("eel             0           1\n") && text.contains("images: 6x6"), "{text}");
}
