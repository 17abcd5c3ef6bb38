//! How names of folders become splits and classes, and what `check` shows of it.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::Path;

use image::{DynamicImage, ImageFormat, Luma, RgbaImage};
use querist_core::config::{DatasetConfig, DatasetLayout};
use querist_core::{Dataset, SampleId};
use querist_data::{DataError, Search, check, load};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

use crate::pictures::{grey_of, png_of, wide_png};
use crate::{at, message, put};

/// Writes a picture of its own under each path.
fn pictures(folder: &Path, paths: &[&str]) {
    for (number, path) in paths.iter().enumerate() {
        put(folder.join(path), png_of(number as u16));
    }
}

fn with(paths: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    pictures(folder.path(), paths);
    folder
}

fn read(place: &Path, layout: impl Into<Option<DatasetLayout>>) -> Result<Dataset, DataError> {
    load(&DatasetConfig { layout: layout.into(), ..at("folder", place) }, &Search::at("/nowhere"))
}

/// Training, validation and test samples, and the classes.
fn parts(set: &Dataset) -> ([usize; 3], String) {
    let (validation, test) = (set.official_validation(), set.official_test());
    ([set.len() - validation - test, validation, test], set.class_names().join(" "))
}

fn files(set: &Dataset) -> Vec<&str> {
    (0..set.len() as u64).filter_map(|sample| set.file(SampleId(sample))).collect()
}

#[test]
fn split_folders_are_known_by_their_usual_names() {
    let of = |names: [Option<&str>; 3]| {
        let folder = TempDir::new().unwrap();
        let mut number = 0;
        // Four pictures to train on, three to validate with, two to test on; names repeat in every split.
        for (name, count) in names.into_iter().zip([2, 2, 1]) {
            for class in ["a", "b"] {
                for picture in 0..count {
                    if let Some(name) = name {
                        number += 1;
                        put(folder.path().join(name).join(class).join(format!("{picture}.png")), png_of(number));
                    }
                }
            }
        }
        put(folder.path().join("README.roboflow.txt"), "exported");
        parts(&read(folder.path(), None).unwrap_or_else(|error| panic!("{names:?}: {error}")))
    };
    for (train, validation, test) in [
        ("train", "valid", "test"),
        ("train", "val", "test"),
        ("train", "validation", "test"),
        ("train", "dev", "test"),
        ("TRAIN", "VAL", "TEST"),
        ("Training", "Validation", "Testing"),
        ("training_set", "validation_set", "test_set"),
        ("trainset", "valset", "testset"),
        ("Train Images", "Val Images", "Test Images"),
        ("training-data", "validation-data", "test-data"),
        ("set/train", "set/valid", "set/test"),
        ("training_set/training_set", "val/val", "test_set/test_set"),
    ] {
        let classes = "a b".to_owned();
        assert_eq!(of([Some(train), Some(validation), Some(test)]), ([4, 4, 2], classes.clone()));
        assert_eq!(of([Some(train), None, Some(test)]), ([4, 0, 2], classes.clone()));
        assert_eq!(of([Some(train), Some(validation), None]), ([4, 4, 0], classes));
    }
}

#[test]
fn samples_of_the_splits_stand_one_after_the_other() {
    let folder = with(&["valid/a/1.png", "test/a/1.png", "train/b/1.png", "train/a/1.png", "test/b/2.png"]);
    let set = read(folder.path(), None).unwrap();
    assert_eq!(parts(&set).0, [2, 1, 2]);
    let files = files(&set);
    assert!(files[..2].iter().all(|file| file.starts_with("train/")), "{files:?}");
    // The same name and, here, the same picture in two splits is no mistake.
    assert_eq!(files[2], "validation/a/1.png");
    assert!(files[3..].iter().all(|file| file.starts_with("test/")), "{files:?}");
    let merged = read(with(&["train/a/1.png", "train/b/1.png"]).path(), None).unwrap();
    assert_ne!(merged.digest(), set.digest());
}

#[test]
fn validation_is_the_test_set_where_the_user_says_so() {
    let folder = with(&["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png", "val/b/2.png"]);
    assert_eq!(parts(&read(folder.path(), None).unwrap()).0, [2, 3, 0]);
    let tested = read(folder.path(), DatasetLayout::ValidationIsTest).unwrap();
    assert_eq!(parts(&tested).0, [2, 0, 3]);
    assert!(files(&tested)[2..].iter().all(|file| file.starts_with("test/")));
    pictures(folder.path(), &["test/a/9.png"]);
    let text = message(read(folder.path(), DatasetLayout::ValidationIsTest), folder.path());
    assert_eq!(
        text,
        ".: `dataset.layout = \"validation-is-test\"` with `test`, `train`, `val`; expected a validation folder and no \
         test folder; `dataset.layout = \"splits\"` reads both"
    );
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_with_both() {
    let refuse = |paths: &[&str], layout: Option<DatasetLayout>, expected: &str| {
        let folder = with(paths);
        let text = message(read(folder.path(), layout), folder.path());
        assert!(text.contains(expected), "{text}\n  lacks: {expected}");
    };
    let classes = |paths: &[&str], expected: &str| {
        let folder = with(paths);
        let set = read(folder.path(), DatasetLayout::Classes).unwrap();
        assert_eq!(parts(&set), ([paths.len(), 0, 0], expected.to_owned()));
    };
    let vehicles = ["train/1.png", "bus/1.png", "car/1.png"];
    refuse(
        &vehicles,
        None,
        ".: `train` named like splits beside `bus`, `car`; expected one meaning: with `dataset.layout = \"classes\"` \
         all of them are classes; for splits, move `bus`, `car` away",
    );
    refuse(&vehicles, Some(DatasetLayout::Splits), "`bus`, `car` not named like splits");
    classes(&vehicles, "bus car train");
    classes(&["things/train/1.png", "things/bus/1.png"], "bus train");
    // Pictures in folders that are named like splits, and in no class.
    let direct = ["train/1.png", "test/1.png"];
    refuse(&direct, None, "where `test`, `train` are classes, set `dataset.layout = \"classes\"`");
    classes(&direct, "test train");
    refuse(&["train/a/1.png", "train/b/1.png", "test/1.png"], None, "test/1.png: a picture outside any class folder");

    let alike = ["seg_train/a/1.png", "seg_train/b/1.png", "seg_test/a/2.png", "seg_pred/3.png"];
    refuse(&alike, None, "`seg_train`, `seg_test`, which can be splits or classes by their names");
    refuse(&alike, Some(DatasetLayout::Splits), "`seg_pred` not named like splits");
    classes(&alike, "seg_pred seg_test seg_train");
    let folder = with(&alike[..3]);
    assert_eq!(parts(&read(folder.path(), DatasetLayout::Splits).unwrap()), ([2, 0, 1], "a b".to_owned()));
    // Words that are no splits here.
    let folder = with(&["crash_test/1.png", "train_station/1.png", "contest/1.png"]);
    assert_eq!(parts(&read(folder.path(), None).unwrap()), ([3, 0, 0], "contest crash_test train_station".to_owned()));

    refuse(&["train/a/1.png", "Training/b/1.png"], None, "`Training`, `train`, all folders of training pictures");
    refuse(&["val/a/1.png", "test/a/1.png"], None, "no training pictures");
    refuse(&["train/a/1.png", "train/b/1.png", "val/c/1.png"], None, "validation pictures of class `c`");
}

#[test]
fn a_folder_around_everything_can_be_a_class() {
    for paths in [&["cat/2020/1.png", "cat/2020/2.png"][..], &["cat/2020/1.png", "cat/2021/2.png"]] {
        let folder = with(paths);
        let text = message(read(folder.path(), None), folder.path());
        assert!(text.starts_with(".: every picture in `cat`, in which lie `2020`"), "{text}");
        assert!(
            text.contains("either `cat` is one of them and others are missing, or the folders in it are"),
            "{text}"
        );
    }
    let flowers = with(&["flowers/rose/1.png", "flowers/tulip/2.png"]);
    let text = message(read(flowers.path(), None), flowers.path());
    assert!(text.contains("set `dataset.layout = \"classes\"` or `dataset.path = \"flowers\"`"), "{text}");
    for set in [read(flowers.path(), DatasetLayout::Classes), read(&flowers.path().join("flowers"), None)] {
        assert_eq!(parts(&set.unwrap()), ([2, 0, 0], "rose tulip".to_owned()));
    }
    // With other classes beside it, what lies deeper is the class's.
    let folder = with(&["cat/2020/1.png", "cat/2021/2.png", "dog/3.png"]);
    assert_eq!(parts(&read(folder.path(), None).unwrap()).1, "cat dog");
}

#[test]
fn empty_splits_and_folders_beside_them() {
    let folder = with(&["train/a/1.png", "train/b/1.png"]);
    std::fs::create_dir(folder.path().join("Test")).unwrap();
    assert_eq!(
        message(read(folder.path(), None), folder.path()),
        "Test: a folder of test pictures without any; expected at least one; fill or remove it"
    );
    std::fs::remove_dir(folder.path().join("Test")).unwrap();
    put(folder.path().join("annotations/all.json"), "{}");
    put(folder.path().join("train/classes.txt"), "a b");
    assert_eq!(parts(&read(folder.path(), None).unwrap()).0, [2, 0, 0]);
}

#[test]
fn what_others_leave_in_folders_is_ignored() {
    let folder = with(&["a/1.png", "b/2.png"]);
    let clean = read(folder.path(), None).unwrap();
    for left in [
        "__MACOSX/a/._1.png",
        "__MACOSX/a/1.png",
        "a/@eaDir/1.png/SYNOPHOTO_THUMB.png",
        "lost+found/1.png",
        "a/Desktop.ini",
        "b/thumbs.db",
        "b/Thumbs.DB",
        "a/.#1.png",
        "$RECYCLE.BIN/1.png",
        "a/.git/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r.png",
    ] {
        put(folder.path().join(left), png_of(9));
    }
    // Hidden names need not be such as can be shown.
    put(folder.path().join("b/.\u{1b}[2J"), "x");
    assert_eq!(read(folder.path(), None).unwrap().digest(), clean.digest());
    let report = check(&at("folder", folder.path()), &Search::at("/nowhere")).unwrap();
    let understood = report.pictures.unwrap();
    assert_eq!((understood.ignored.count, understood.counts()), (10, [2, 0, 0]));
    assert!(!understood.to_string().contains('\u{1b}'));
}

#[test]
fn pictures_below_sixteen_folders_do_not_vanish() {
    let folder = with(&["a/1.png", "b/2.png"]);
    let deep = |folders: usize| format!("b/{}3.png", "d/".repeat(folders - 1));
    pictures(folder.path(), &[&deep(15)]);
    assert_eq!(read(folder.path(), None).unwrap().len(), 3);
    for folders in [16, 17, 30] {
        pictures(folder.path(), &[&deep(folders)]);
        let text = message(read(folder.path(), None), folder.path());
        assert!(text.contains("a path through 17 folders; expected at most 16"), "{text}");
        std::fs::remove_dir_all(folder.path().join("b")).unwrap();
        pictures(folder.path(), &["b/2.png"]);
    }
}

#[test]
fn check_shows_what_was_understood() {
    let folder = TempDir::new().unwrap();
    let place = folder.path();
    pictures(place, &["set/Training/rose/1.png", "set/Training/tulip/1.png", "set/Training/tulip/2.png"]);
    put(place.join("set/valid/rose/1.png"), grey_of(7));
    let mut clear = Cursor::new(Vec::new());
    RgbaImage::new(6, 5).write_to(&mut clear, ImageFormat::Png).unwrap();
    put(place.join("set/test/rose/1.PNG"), clear.into_inner());
    let mut deep = Cursor::new(Vec::new());
    DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(4, 4, Luma([900])))
        .write_to(&mut deep, ImageFormat::Png)
        .unwrap();
    put(place.join("set/test/tulip/2.png"), deep.into_inner());
    put(place.join("set/.DS_Store"), "x");
    put(place.join("set/Training/Thumbs.db"), "x");
    put(place.join("LICENSE"), "x");
    put(place.join("set/labels.csv"), "x");
    let config = at("folder", place);
    let report = check(&config, &Search::at("/nowhere")).unwrap();
    let shown = report.pictures.unwrap().to_string().replace(&place.display().to_string(), "DIR");
    assert_eq!(
        shown,
        "folders read as splits:
  train       DIR/set/Training
  validation  DIR/set/valid
  test        DIR/set/test
CLASS       TRAIN  VALIDATION        TEST
rose            1           1           1
tulip           2           0           1
all             3           1           2
sizes: 2 different, from 4x4 to 5x6 (height x width)
modes: 3 colour; 1 colour with transparency; 1 grey; 1 grey, 16 bits
skipped: 2 hidden or left by a file manager (`.DS_Store`, `Thumbs.db`)
skipped: 2 beside the pictures (`LICENSE`, `set/labels.csv`)
"
        .replace("skipped: 2 hidden or left by a file manager (`.DS_Store`, `Thumbs.db`)", &hidden(&shown))
    );
    // What is wrong is told beside it.
    let error = report.dataset.unwrap_err().to_string();
    assert!(error.contains("set `dataset.size` to resize all"), "{error}");

    put(place.join("set/valid/rose/notes.txt"), "x");
    put(place.join("set/valid/rose/2.jpg"), "no picture");
    let understood = check(&config, &Search::at("/nowhere")).unwrap().pictures.unwrap();
    let shown = understood.to_string();
    assert!(shown.contains("refused: 1 in class folders and no pictures (`set/valid/rose/notes.txt`)\n"), "{shown}");
    assert!(shown.contains("refused: 1 without a readable header (`set/valid/rose/2.jpg`)\n"), "{shown}");
    let classes = BTreeMap::from([("rose".to_owned(), [1, 2, 1]), ("tulip".to_owned(), [2, 0, 1])]);
    assert_eq!((understood.classes, understood.sizes), (classes, vec![[4, 4], [5, 6]]));

    // Archives are shown alike, and so are folders that are classes.
    put(place.join("x.zip"), zip(&[("flowers/a/1.png", png_of(1)), ("flowers/b/1.png", wide_png(9, 4))]));
    let report = check(&at("folder", &place.join("x.zip")), &Search::at("/nowhere")).unwrap();
    let shown = report.pictures.unwrap().to_string().replace(&place.display().to_string(), "DIR");
    assert_eq!(
        shown,
        "folders read as classes:
  train       DIR/x.zip/flowers
CLASS       TRAIN
a               1
b               1
all             2
sizes: 2 different, from 4x4 to 4x9 (height x width)
modes: 2 colour
"
    );
    // A layout that cannot be settled is all there is to say.
    pictures(place, &["set/more/1.png"]);
    let report = check(&config, &Search::at("/nowhere")).unwrap();
    assert!(report.pictures.is_none() && report.dataset.unwrap_err().to_string().contains("named like splits beside"));
}

/// The line of hidden files, whose order is the system's.
fn hidden(shown: &str) -> String {
    let line = shown.lines().find(|line| line.contains("hidden")).unwrap_or_default();
    assert!(line.starts_with("skipped: 2 ") && line.contains("`.DS_Store`") && line.contains("`Thumbs.db`"), "{line}");
    line.to_owned()
}

fn zip(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in entries {
        if path.ends_with('/') {
            zip.add_directory(*path, SimpleFileOptions::default()).unwrap();
        } else {
            zip.start_file(*path, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn zip_archives_are_read_as_folders_are() {
    let folder = TempDir::new().unwrap();
    let paths = ["train/a/1.png", "train/b/2.png", "val/a/1.png", "test/b/1.png"];
    pictures(&folder.path().join("disk"), &paths);
    let disk = read(&folder.path().join("disk"), None).unwrap();
    let entries = |prefix: &str| -> Vec<(String, Vec<u8>)> {
        paths.iter().enumerate().map(|(number, path)| (format!("{prefix}{path}"), png_of(number as u16))).collect()
    };
    let pack = |name: &str, entries: Vec<(String, Vec<u8>)>| {
        let entries: Vec<(&str, Vec<u8>)> =
            entries.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
        let path = folder.path().join(name);
        put(&path, zip(&entries));
        path
    };
    let mut extended = entries("photos/");
    extended.extend([
        ("photos/train/".to_owned(), Vec::new()),
        ("__MACOSX/photos/train/a/._1.png".to_owned(), b"x".to_vec()),
        ("photos/LICENSE".to_owned(), b"x".to_vec()),
    ]);
    let windows = entries("").into_iter().map(|(path, bytes)| (path.replace('/', "\\"), bytes)).collect();
    // The first bytes decide, not the ending.
    for path in [pack("photos.zip", extended), pack("photos.bin", entries("")), pack("windows.zip", windows)] {
        assert_eq!(read(&path, None).unwrap().digest(), disk.digest(), "{}", path.display());
    }
    // One archive a split, in any case.
    let split = |prefix: &str| {
        let of = entries("").into_iter().filter(|(path, _)| path.starts_with(prefix));
        of.map(|(path, bytes)| (path[prefix.len() + 1..].to_owned(), bytes)).collect()
    };
    for (name, prefix) in [("TRAIN.ZIP", "train"), ("my_val.Zip", "val"), ("x-test.zip", "test")] {
        pack(&format!("packed/{name}"), split(prefix));
    }
    assert_eq!(read(&folder.path().join("packed"), None).unwrap().digest(), disk.digest());

    let refuse = |bytes: Vec<u8>, expected: &str| {
        put(folder.path().join("x.zip"), bytes);
        let text = message(read(&folder.path().join("x.zip"), None), folder.path());
        assert!(text.starts_with("x.zip") && text.contains(expected), "{text}\n  lacks: {expected}");
    };
    let whole = zip(&[("a/1.png", png_of(1)), ("b/1.png", png_of(2))]);
    refuse(whole[..whole.len() - 10].to_vec(), "no readable zip archive (no end of a directory)");
    refuse(zip(&[("a/../../1.png", png_of(1))]), "a path that leads out of the dataset");
    refuse(zip(&[("a/1.png", png_of(1)), ("b\u{1b}/1.png", png_of(2))]), "a name with control or invisible characters");
    let mut link = zip::ZipWriter::new(Cursor::new(Vec::new()));
    link.add_symlink("a/1.png", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    refuse(link.finish().unwrap().into_inner(), "x.zip#a/1.png: a link or a device; expected a regular file");
    let mut flipped = whole.clone();
    let at = flipped.windows(7).position(|name| name == b"a/1.png").unwrap();
    flipped[at + 30] ^= 1;
    refuse(flipped, "x.zip#a/1.png: ");
    // Both members are the first one: a small file would be unpacked as often as its directory says.
    let mut over = zip::ZipWriter::new(Cursor::new(Vec::new()));
    over.start_file("a/1.png", SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored))
        .unwrap();
    over.write_all(&wide_png(500, 500)).unwrap();
    let mut over = over.finish().unwrap().into_inner();
    let directory = over.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    let end = over.windows(4).position(|four| four == b"PK\x05\x06").unwrap();
    let entry = over[directory..end].to_vec();
    let (size, repeats) = (entry.len(), 20);
    over.splice(end..end, entry.repeat(repeats - 1));
    let end = over.len() - 22;
    over[end + 8..end + 10].copy_from_slice(&(repeats as u16).to_le_bytes());
    over[end + 10..end + 12].copy_from_slice(&(repeats as u16).to_le_bytes());
    over[end + 12..end + 16].copy_from_slice(&((repeats * size) as u32).to_le_bytes());
    refuse(over, "members that lie over one another");
}

#[test]
fn archives_that_are_not_read_are_named() {
    let folder = TempDir::new().unwrap();
    for (name, bytes, kind) in [
        ("x.rar", &b"Rar!\x1a\x07\x01\x00\x1b[31m"[..], "a rar archive, which is not read"),
        ("x.7z", b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7z archive, which is not read"),
        ("x.tar.bz2", b"BZh91AY&SY", "a bzip2 file, which is not read"),
        ("x.tar.xz", b"\xfd7zXZ\0\0\x04", "an xz file, which is not read"),
    ] {
        put(folder.path().join(name), bytes);
        assert_eq!(
            message(read(&folder.path().join(name), None), folder.path()),
            format!("{name}: {kind}; expected a .tar, .tar.gz or .zip; unpack it, or pack it anew")
        );
    }
    put(folder.path().join("only/photos.zip"), zip(&[("a/1.png", png_of(1)), ("b/1.png", png_of(2))]));
    let text = message(read(&folder.path().join("only"), None), folder.path());
    assert!(text.starts_with("only: `photos.zip` and no folder of pictures; expected folders of pictures; "), "{text}");
    // What a name says, folders in the archive must not contradict.
    let of = |split: &str| zip(&[(&format!("{split}/a/1.png"), png_of(1)), (&format!("{split}/b/1.png"), png_of(2))]);
    put(folder.path().join("odd/train.zip"), of("train"));
    put(folder.path().join("odd/test.zip"), of("val"));
    let text = message(read(&folder.path().join("odd"), None), folder.path());
    assert!(text.starts_with("odd/test.zip: `val` in an archive of test pictures"), "{text}");
}
