//! IDX, CIFAR and the built-in digits.

use std::fs;
use std::io::Write;
use std::path::Path;

use querist_core::SampleId;
use querist_core::config::{DatasetConfig, DatasetLayout};
use querist_data::{FileState, Search, check, list, load};
use tempfile::TempDir;

use crate::{at, gzip, message, put};

pub fn idx_images(count: u32, height: u32, width: u32, bytes: &[u8]) -> Vec<u8> {
    let header = [2051, count, height, width].map(u32::to_be_bytes);
    [header.as_flattened(), bytes].concat()
}

pub fn idx_labels(labels: &[u8]) -> Vec<u8> {
    let header = [2049, labels.len() as u32].map(u32::to_be_bytes);
    [header.as_flattened(), labels].concat()
}

/// Two training images and one test image of 2x3 pixels, one file gzipped.
fn mnist() -> TempDir {
    let folder = TempDir::new().unwrap();
    put(folder.path().join("train-images-idx3-ubyte.gz"), gzip(&idx_images(2, 2, 3, &(0..12).collect::<Vec<u8>>())));
    put(folder.path().join("train-labels-idx1-ubyte"), idx_labels(&[7, 0]));
    put(folder.path().join("t10k-images.idx3-ubyte"), idx_images(1, 2, 3, &[9; 6]));
    put(folder.path().join("t10k-labels-idx1-ubyte"), idx_labels(&[9]));
    folder
}

#[test]
fn idx_plain_and_gzipped() {
    let folder = mnist();
    let set = load(&at("mnist", folder.path()), &Search::at("/nowhere")).unwrap();
    let images = set.images();
    assert_eq!((images.count, images.height, images.width, images.channels), (3, 2, 3, 1));
    assert_eq!(images.image(SampleId(1)), [6, 7, 8, 9, 10, 11]);
    assert_eq!((set.official_test(), set.classes()), (1, 10));
    assert_eq!(set.normalisation().unwrap().mean, [0.1307]);

    // The cache folder is the other way to the same files.
    let cache = TempDir::new().unwrap();
    fs::rename(folder.path(), cache.path().join("mnist")).unwrap();
    let named = DatasetConfig { path: None, ..at("mnist", cache.path()) };
    assert_eq!(load(&named, &Search::at(cache.path())).unwrap().digest(), set.digest());
}

#[test]
fn damaged_idx_files_are_refused_by_file_and_place() {
    let whole = idx_images(2, 2, 3, &[1; 12]);
    let claims = idx_images(u32::MAX, u32::MAX, 3, &[1; 12]);
    let huge = idx_images(1_000_000, 1000, 1000, &[1; 12]);
    let cases: [(&str, Vec<u8>, &str); 11] = [
        (
            "train-images-idx3-ubyte.gz",
            gzip(&whole[..20]),
            "the file ends after 4 of 12 bytes of images; expected a whole file",
        ),
        ("train-images-idx3-ubyte.gz", gzip(&whole)[..30].to_vec(), "the compressed data is damaged or cut off ("),
        ("train-images-idx3-ubyte.gz", whole[..9].to_vec(), ", byte 9: the file ends after 1 of 4 bytes of header"),
        (
            "train-images-idx3-ubyte.gz",
            [&whole[..], &[0]].concat(),
            "byte 28: more bytes after the images; expected the end of the file",
        ),
        (
            "train-images-idx3-ubyte.gz",
            idx_labels(&[1]),
            "byte 0: magic number 2049; expected 2051, an IDX file of images",
        ),
        ("train-images-idx3-ubyte.gz", idx_images(2, 0, 3, &[]), "2 images of 0x3; expected at least one image"),
        ("train-images-idx3-ubyte.gz", claims, "sizes beyond 64 bits"),
        (
            "train-images-idx3-ubyte.gz",
            gzip(&huge),
            "the header claims 1000000000000 bytes of images; expected at most",
        ),
        (
            "train-labels-idx1-ubyte",
            idx_labels(&[7]),
            "byte 4: 1 labels; expected 2, one for each image of train-images-idx3-ubyte.gz",
        ),
        ("train-labels-idx1-ubyte", idx_labels(&[7, 10]), ", record 1 (byte 9): label 10; expected 0 to 9"),
        ("t10k-images.idx3-ubyte", idx_images(1, 3, 2, &[9; 6]), "byte 8: test images of 3x2; expected 2x3"),
    ];
    for (file, bytes, expected) in cases {
        let folder = mnist();
        put(folder.path().join(file), bytes);
        let text = message(load(&at("mnist", folder.path()), &Search::at("/nowhere")), folder.path());
        assert!(text.contains(expected) && text.contains(file), "{text}\n  lacks: {expected}");
    }
}

#[test]
fn what_is_missing_is_said_with_the_way_to_get_it() {
    let folder = mnist();
    fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte")).unwrap();
    let search = Search::at(folder.path());
    assert_eq!(
        message(load(&at("mnist", folder.path()), &search), folder.path()),
        "dataset `mnist`: found no `t10k-labels-idx1-ubyte` or `t10k-labels-idx1-ubyte.gz` in `.`; fetch it with \
         `querist data fetch mnist`, or set `dataset.path` to its folder"
    );
    let cached = DatasetConfig { path: None, ..at("cifar10", folder.path()) };
    let text = message(load(&cached, &search), folder.path());
    assert_eq!(
        text,
        "dataset `cifar10`: found no files in `cifar10`; fetch it with `querist data fetch cifar10`, or set \
         `dataset.path` to its folder"
    );
    let tiny = DatasetConfig { size: Some(2), ..at("mnist", folder.path()) };
    assert_eq!(
        message(load(&tiny, &search), folder.path()),
        "dataset `mnist`: `dataset.size` is 2; expected 4 to 1024 pixels"
    );
}

#[test]
fn emnist_comes_straight_from_the_zip_and_upright() {
    let folder = TempDir::new().unwrap();
    let mut zip = zip::ZipWriter::new(fs::File::create(folder.path().join("gzip.zip")).unwrap());
    // Stored by column: the letter stands upright only after the swap.
    for (part, count) in [("train", 2u32), ("test", 1)] {
        let images = idx_images(count, 3, 2, &[0, 10, 1, 11, 2, 12].repeat(count as usize));
        let labels = idx_labels(&[26, 1][..count as usize]);
        for (kind, bytes) in [("images-idx3", images), ("labels-idx1", labels)] {
            zip.start_file(
                format!("gzip/emnist-letters-{part}-{kind}-ubyte.gz"),
                zip::write::SimpleFileOptions::default(),
            )
            .unwrap();
            zip.write_all(&gzip(&bytes)).unwrap();
        }
    }
    zip.finish().unwrap();
    let set = load(&at("emnist-letters", folder.path()), &Search::at("/nowhere")).unwrap();
    assert_eq!((set.images().height, set.images().width), (2, 3));
    assert_eq!(set.images().image(SampleId(0)), [0, 1, 2, 10, 11, 12]);
    assert_eq!((set.class_names()[0].as_str(), set.classes(), set.len()), ("A", 26, 3));

    let text = message(load(&at("emnist-balanced", folder.path()), &Search::at("/nowhere")), folder.path());
    assert!(text.contains("gzip.zip: no member `gzip/emnist-balanced-"), "{text}");
}

/// A record whose pixel p of plane c is `c * 10 + p % 10`.
fn cifar_record(labels: &[u8]) -> Vec<u8> {
    let planes = (0..3u8).flat_map(|c| (0..1024).map(move |p| c * 10 + (p % 10) as u8));
    labels.iter().copied().chain(planes).collect()
}

#[test]
fn cifar_from_a_folder_and_from_the_archive() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let files: Vec<(String, Vec<u8>)> = (1..=5)
        .map(|batch| (format!("data_batch_{batch}.bin"), cifar_record(&[batch])))
        .chain([("test_batch.bin".to_owned(), cifar_record(&[9]))])
        .collect();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in &files {
        put(path.join("cifar-10-batches-bin").join(name), bytes);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &bytes[..]).unwrap();
    }
    let tar = gzip(&tar.into_inner().unwrap());
    put(path.join("other/c10.tar.gz"), &tar);
    let search = Search::at("/nowhere");
    let unpacked = load(&at("cifar10", path), &search).unwrap();
    let packed = load(&at("cifar10", &path.join("other/c10.tar.gz")), &search).unwrap();
    assert_eq!(unpacked.digest(), packed.digest());
    assert_eq!((packed.len(), packed.official_test()), (6, 1));
    // Planes become pixels: 33 is the second pixel of the second row.
    assert_eq!(packed.images().image(SampleId(0))[33 * 3..34 * 3], [3, 13, 23]);

    put(path.join("other/cut.tar.gz"), &tar[..tar.len() / 2]);
    assert!(load(&at("cifar10", &path.join("other/cut.tar.gz")), &search).is_err());
    let batch = path.join("cifar-10-batches-bin/data_batch_3.bin");
    put(&batch, &cifar_record(&[3])[..3000]);
    let text = message(load(&at("cifar10", path), &search), path);
    let line = "data_batch_3.bin, record 0 (byte 0): 3000 bytes are no whole number of records; expected records of \
                3073 bytes";
    assert!(text.contains(line), "{text}");
    put(&batch, cifar_record(&[10]));
    let text = message(load(&at("cifar10", path), &search), path);
    assert!(text.ends_with("data_batch_3.bin, record 0: label 10; expected 0 to 9"), "{text}");
}

#[test]
fn other_forms_of_cifar_are_named() {
    let refuse = |name: &str, file: &str, expected: &str| {
        let folder = TempDir::new().unwrap();
        put(folder.path().join(file), b"\x80\x02}q\x01");
        put(folder.path().join(file).with_file_name("batches.meta"), b"\x80\x02}q\x01");
        let of = |place: &Path| {
            let text = message(load(&at(name, place), &Search::at("/nowhere")), folder.path());
            assert!(text.ends_with(expected), "{text}\n  lacks: {expected}");
            let checked = check(&at(name, place), &Search::at("/nowhere")).map(|report| report.dataset);
            assert_eq!(message(checked.unwrap_or_else(Err), folder.path()), text);
        };
        of(folder.path());
        of(folder.path().join(file).parent().unwrap());
    };
    let matlab = "cifar10's MATLAB form, which is not read; expected its binary or Python form; fetch it with `querist \
                  data fetch cifar10`";
    refuse("cifar10", "cifar-10-batches-mat/data_batch_1.mat", matlab);
    refuse("cifar10", "cifar-10-matlab.tar.gz", matlab);
    refuse("cifar100", "cifar-100-matlab/train.mat", "fetch it with `querist data fetch cifar100`");
    let folder = TempDir::new().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    tar.append_data(&mut header, "cifar-10-batches-mat/data_batch_1.mat", &b"abc"[..]).unwrap();
    put(folder.path().join("x.tgz"), gzip(&tar.into_inner().unwrap()));
    let text = message(load(&at("cifar10", &folder.path().join("x.tgz")), &Search::at("/nowhere")), folder.path());
    assert_eq!(text, format!("x.tgz: {matlab}"));

    // A batch that is missing is named, whichever it is.
    for missing in ["test_batch.bin", "data_batch_1.bin"] {
        let folder = TempDir::new().unwrap();
        for batch in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"] {
            put(folder.path().join(format!("cifar-10-batches-bin/{batch}.bin")), cifar_record(&[1]));
        }
        put(folder.path().join("cifar-10-batches-bin/batches.meta.txt"), "airplane");
        fs::remove_file(folder.path().join("cifar-10-batches-bin").join(missing)).unwrap();
        let text = message(load(&at("cifar10", folder.path()), &Search::at("/nowhere")), folder.path());
        let expected =
            format!("found no `{missing}` in `cifar-10-batches-bin`; fetch it with `querist data fetch cifar10`");
        assert!(text.contains(&expected), "{text}\n  lacks: {expected}");
    }
}

#[test]
fn a_layout_is_for_folders() {
    let folder = mnist();
    let config = DatasetConfig { layout: Some(DatasetLayout::Splits), ..at("mnist", folder.path()) };
    assert_eq!(
        message(load(&config, &Search::at("/nowhere")), folder.path()),
        "dataset `mnist`: `dataset.layout` is for folders of pictures; remove it"
    );
}

#[test]
fn cifar100_takes_the_fine_label() {
    let folder = TempDir::new().unwrap();
    put(folder.path().join("train.bin"), [cifar_record(&[19, 0]), cifar_record(&[0, 99])].concat());
    put(folder.path().join("test.bin"), cifar_record(&[19, 100]));
    let text = message(load(&at("cifar100", folder.path()), &Search::at("/nowhere")), folder.path());
    assert_eq!(text, "test.bin, record 0: label 100; expected 0 to 99");
}

#[test]
fn digits_are_built_in() {
    let config = DatasetConfig { path: None, ..at("digits", "/".as_ref()) };
    let set = load(&config, &Search::at("/nowhere")).unwrap();
    assert_eq!((set.len(), set.official_test(), set.classes()), (1797, 0, 10));
    // The first row of the published file: a zero, 0 0 5 13 9 1 0 0 ...
    let first = (0..1797).map(SampleId).find(|&sample| set.file(sample) == Some("digits#0")).unwrap();
    assert_eq!(set.images().image(first)[..8], [0, 0, 80, 207, 143, 16, 0, 0]);
    assert_eq!(set.images().bytes.iter().max(), Some(&255));
    // The shuffled ones have the same pixels in other places: of row 0 pixels 0, 37, 10 (74 - 64), ...
    let name = "digits-shuffled".to_owned();
    let shuffled = load(&DatasetConfig { name, ..config.clone() }, &Search::at("/nowhere")).unwrap();
    let same = (0..1797).map(SampleId).find(|&sample| shuffled.file(sample) == Some("digits-shuffled#0")).unwrap();
    let (plain, moved) = (set.images().image(first), shuffled.images().image(same));
    assert_eq!(moved[..3], [plain[0], plain[37], plain[10]]);
    let sorted = |pixels: &[u8]| {
        let mut pixels = pixels.to_vec();
        pixels.sort_unstable();
        pixels
    };
    assert_eq!(sorted(plain), sorted(moved));
    let larger = load(&DatasetConfig { size: Some(16), ..config }, &Search::at("/nowhere")).unwrap();
    assert_eq!((larger.images().height, larger.images().bytes.len()), (16, 1797 * 256));
}

#[test]
fn listing_and_checking_tell_present_from_published() {
    let cache = TempDir::new().unwrap();
    let folder = mnist();
    fs::rename(folder.path(), cache.path().join("mnist")).unwrap();
    let search = Search::at(cache.path());
    let present = |name: &str| list(&search).into_iter().find(|listing| listing.set.name == name).unwrap().present;
    // The small files stand under other names than the published ones.
    assert_eq!((present("digits"), present("mnist"), present("cifar10")), (true, false, false));

    let config = DatasetConfig { path: None, ..at("mnist", cache.path()) };
    let report = check(&config, &search).unwrap();
    assert!(matches!(report.files[0].state, FileState::Differs { .. }), "{:?}", report.files);
    assert_eq!(report.files[1].state, FileState::Missing);
    assert!(!report.is_good());
    let text = report.dataset.unwrap_err().to_string();
    assert_eq!(text, "dataset `mnist`: 2 training and 1 test images; 60000 and 10000 are published");
    assert!(check(&DatasetConfig { name: "digits".to_owned(), ..config }, &search).unwrap().is_good());
}
