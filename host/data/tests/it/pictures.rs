//! Pictures in class folders, on disk and in archives.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageFormat, Rgb, RgbImage};
use querist_core::SampleId;
use querist_core::config::DatasetConfig;
use querist_data::{Search, load};
use tempfile::TempDir;

use crate::{at, gzip, message, put};

fn encode(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A picture as PNG.
pub fn encode_png(image: DynamicImage) -> Vec<u8> {
    encode(image, ImageFormat::Png)
}

fn png(red: u8) -> Vec<u8> {
    encode(RgbImage::from_pixel(4, 4, Rgb([red, 0, 0])).into(), ImageFormat::Png)
}

/// A small coloured picture that no other number gives.
pub fn png_of(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    encode(RgbImage::from_pixel(4, 4, Rgb([high, low, 7])).into(), ImageFormat::Png)
}

/// The same in grey.
pub fn grey_of(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    encode(GrayImage::from_fn(4, 4, |x, _| image::Luma([if x == 0 { high } else { low }])).into(), ImageFormat::Png)
}

/// A red picture of any size.
pub fn wide_png(width: u32, height: u32) -> Vec<u8> {
    encode(RgbImage::from_pixel(width, height, Rgb([200, 0, 0])).into(), ImageFormat::Png)
}

/// A white JPEG of any size: the emptiest there is.
pub fn white_jpeg(width: u32, height: u32) -> Vec<u8> {
    encode(GrayImage::from_pixel(width, height, image::Luma([255])).into(), ImageFormat::Jpeg)
}

fn grey(value: u8) -> Vec<u8> {
    encode(GrayImage::from_pixel(4, 4, image::Luma([value])).into(), ImageFormat::Png)
}

type File<'a> = (&'a str, Vec<u8>);

/// A tar archive of these files.
pub fn tar(entries: &[File]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        // Set by hand: the builder refuses the paths that a hostile archive has.
        let name = header.as_old_mut();
        name.name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

fn read(path: &Path) -> Result<querist_core::Dataset, querist_data::DataError> {
    load(&at("folder", path), &Search::at("/nowhere"))
}

fn files(set: &querist_core::Dataset) -> Vec<&str> {
    (0..set.len() as u64).filter_map(|sample| set.file(SampleId(sample))).collect()
}

#[test]
fn folder_and_archive_give_the_same_dataset() {
    let folder = TempDir::new().unwrap();
    let entries = [
        ("flowers/train/rose/b.png", png(1)),
        ("flowers/train/rose/a.PNG", png(2)),
        ("flowers/test/tulip/z.png", png(3)),
        ("flowers/train/tulip/deep/er.png", png(4)),
        ("flowers/train/.DS_Store", vec![0]),
        ("flowers/LICENSE", vec![0]),
    ];
    for (path, bytes) in &entries {
        put(folder.path().join("disk").join(path), bytes);
    }
    put(folder.path().join("flowers.tar.gz"), gzip(&tar(&entries)));
    let (disk, packed) =
        (read(&folder.path().join("disk")).unwrap(), read(&folder.path().join("flowers.tar.gz")).unwrap());
    assert_eq!(disk.digest(), packed.digest());
    // By content, the test part last.
    assert_eq!(files(&disk), ["train/rose/a.PNG", "train/tulip/deep/er.png", "train/rose/b.png", "test/tulip/z.png"]);
    assert_eq!(files(&disk), files(&packed));
    assert_eq!((disk.official_test(), disk.class_names()), (1, &["rose".to_owned(), "tulip".to_owned()][..]));
    assert_eq!(disk.images().image(SampleId(0))[..3], [2, 0, 0]);
    assert!(disk.normalisation().is_none());
}

#[test]
fn grey_stays_grey_only_where_all_are() {
    let folder = TempDir::new().unwrap();
    put(folder.path().join("a/1.png"), grey(7));
    put(folder.path().join("b/1.png"), grey(9));
    let nine = |set: &querist_core::Dataset| {
        let sample = (0..3).map(SampleId).find(|&sample| set.file(sample) == Some("train/b/1.png"));
        set.images().image(sample.unwrap())[..4].to_vec()
    };
    let set = read(folder.path()).unwrap();
    assert_eq!((set.images().channels, nine(&set)), (1, vec![9; 4]));
    put(folder.path().join("b/2.png"), png(5));
    let set = read(folder.path()).unwrap();
    assert_eq!((set.images().channels, nine(&set)), (3, vec![9; 4]));
}

#[test]
fn sizes_agree_or_are_made_to() {
    let folder = TempDir::new().unwrap();
    put(folder.path().join("a/1.png"), png(7));
    let mut wide = RgbImage::from_pixel(8, 4, Rgb([0, 200, 0]));
    // What the square cut from the middle must leave out.
    for y in 0..4 {
        wide.put_pixel(0, y, Rgb([255, 255, 255]));
    }
    put(folder.path().join("b/1.png"), encode(wide.into(), ImageFormat::Png));
    assert_eq!(
        message(read(folder.path()), folder.path()),
        "., `train/b/1.png`: a picture of 4x8; expected 4x4 like `train/a/1.png`; set `dataset.size` to resize all"
    );
    let config = DatasetConfig { size: Some(4), ..at("folder", folder.path()) };
    let set = load(&config, &Search::at("/nowhere")).unwrap();
    assert_eq!(set.images().image(SampleId(1)), [0, 200, 0].repeat(16));
}

#[test]
fn what_is_wrong_in_a_folder_is_named() {
    let whole = png(1);
    let cases: [(&[File], &str); 5] = [
        (&[("b/x.png", whole[..whole.len() - 20].to_vec())], "b/x.png: the picture cannot be decoded ("),
        (&[("b/x.gif", vec![0])], "b/x.gif: a file in a class folder that is no .png, .jpg or .jpeg"),
        (&[("x.png", whole.clone()), ("b/1.png", whole.clone())], "x.png: a picture outside any class folder"),
        (&[("b/.hidden", vec![0])], "b: a class folder without pictures; expected at least one"),
        (&[], "dataset `folder`: 1 classes, expected 2 or more"),
    ];
    for (entries, expected) in cases {
        let folder = TempDir::new().unwrap();
        put(folder.path().join("a/1.png"), &whole);
        for (path, bytes) in entries {
            put(folder.path().join(path), bytes);
        }
        let text = message(read(folder.path()), folder.path());
        assert!(text.contains(expected), "{text}\n  lacks: {expected}");
    }
    let split = TempDir::new().unwrap();
    put(split.path().join("train/b/1.png"), &whole);
    put(split.path().join("test/c/1.png"), &whole);
    let text = message(read(split.path()), split.path());
    assert!(text.contains("test pictures of class `c`, of which there are none to train on"), "{text}");
    let empty = TempDir::new().unwrap();
    assert!(message(read(empty.path()), empty.path()).contains("no training pictures; expected `<class>/<picture>`"));
}

#[test]
fn hostile_archives_are_refused_and_write_nothing() {
    let folder = TempDir::new().unwrap();
    let archive = folder.path().join("x.tar");
    let refuse = |entries: &[File], expected: &str| {
        put(&archive, tar(entries));
        let text = message(read(&archive), folder.path());
        assert!(text.contains(expected), "{text}\n  lacks: {expected}");
    };
    refuse(&[("a/../../evil.png", png(1))], "a path that leads out of the dataset");
    refuse(&[("/a/evil.png", png(1))], "a path that leads out of the dataset");
    refuse(&[("a/1.png", png(1)), ("b/1.png", png(1)), ("a/1.png", png(2))], "`train/a/1.png`: this path twice");
    let mut link = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    link.append_link(&mut header, "a/1.png", "/etc/passwd").unwrap();
    put(&archive, link.into_inner().unwrap());
    assert!(
        message(read(&archive), folder.path()).contains("x.tar#a/1.png: a link or a device; expected a regular file")
    );
    let whole = tar(&[("a/1.png", png(1))]);
    put(&archive, &whole[..540]);
    assert!(
        message(read(&archive), folder.path()).contains("the archive ends after"),
        "{}",
        message(read(&archive), folder.path())
    );
    put(&archive, b"no archive at all, and longer than a header would be ".repeat(20));
    assert!(message(read(&archive), folder.path()).contains("x.tar: no readable tar archive"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn cifar10_as_pictures_must_have_its_classes() {
    let folder = TempDir::new().unwrap();
    let classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    let entries = |part: &'static str| -> Vec<(String, Vec<u8>)> {
        classes.iter().enumerate().map(|(label, class)| (format!("{part}/{class}/0.png"), png(label as u8))).collect()
    };
    for part in ["train", "test"] {
        let named = entries(part);
        let borrowed: Vec<_> = named.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
        put(folder.path().join(format!("my-{part}.tar.gz")), gzip(&tar(&borrowed)));
    }
    let set = load(&at("cifar10", folder.path()), &Search::at("/nowhere")).unwrap();
    assert_eq!((set.len(), set.official_test(), set.class_names()[9].as_str()), (20, 10, "truck"));
    assert_eq!(set.normalisation().unwrap().std, [0.2470, 0.2435, 0.2616]);

    put(folder.path().join("second-test.tar"), tar(&[]));
    let text = message(load(&at("cifar10", folder.path()), &Search::at("/nowhere")), folder.path());
    assert!(text.contains("1 archives with `train` and 2 with `test` in their names; expected one of each"), "{text}");
    let other = folder.path().join("other");
    put(other.join("cat/1.png"), png(1));
    put(other.join("cow/1.png"), png(1));
    let text = message(load(&at("cifar10", &other), &Search::at("/nowhere")), &other);
    assert_eq!(text, ".: a class folder `cow`; expected the 10 classes of cifar10");
}
