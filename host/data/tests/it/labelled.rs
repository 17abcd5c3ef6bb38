//! Pictures that lists and tables name, public sets made of them, and how pictures are made fit.

use std::fs;
use std::path::Path;

use image::RgbImage;
use querist_core::SampleId;
use querist_core::config::{
    ChannelStatistics, ColumnsConfig, DatasetConfig, Fit, ListConfig, Normalise, ResizeFilter, SampleOrder,
};
use querist_data::{Search, load};
use tempfile::TempDir;

use crate::formats::{numbers, picture, read};
use crate::pictures::encode_png;
use crate::{at, message, put};

fn png(number: usize, side: usize) -> Vec<u8> {
    let image = RgbImage::from_raw(side as u32, side as u32, picture(number, side)).unwrap();
    encode_png(image.into())
}

fn list(train: &str, test: Option<&str>, path: &Path) -> DatasetConfig {
    let list = ListConfig { train: train.to_owned(), validation: None, test: test.map(str::to_owned) };
    DatasetConfig { list: Some(list), ..at("list", path) }
}

/// Six pictures in a folder, and lists of them.
fn six() -> TempDir {
    let folder = TempDir::new().unwrap();
    for number in 0..6 {
        put(folder.path().join(format!("real/p {number}.png")), png(number, 6));
    }
    put(
        folder.path().join("train.txt"),
        "real/p 3.png 1\nreal/p 0.png\t0\n\n./real/p 5.png, 1\nreal/p 2.png 0\nreal/p 4.png 1\n",
    );
    put(folder.path().join("test.txt"), "real/p 1.png 0\n");
    folder
}

#[test]
fn lists_number_samples_by_their_lines() {
    let folder = six();
    let set = read(&list("train.txt", Some("test.txt"), folder.path())).unwrap();
    assert_eq!((numbers(&set), set.official_test(), set.classes()), (vec![3, 0, 5, 2, 4, 1], 1, 2));
    assert_eq!(set.file(SampleId(2)), Some("train/real/p 5.png"));
    let content =
        DatasetConfig { order: Some(SampleOrder::Content), ..list("train.txt", Some("test.txt"), folder.path()) };
    let other = read(&content).unwrap();
    assert_eq!(numbers(&other)[5], 1);
    assert_ne!(other.digest(), set.digest());
}

#[test]
fn all_files_that_are_missing_are_told() {
    let folder = six();
    let lines: String = (0..30).map(|number| format!("real/gone {number}.png {}\n", number % 2)).collect();
    put(folder.path().join("train.txt"), format!("real/p 0.png 0\n{lines}"));
    let text = message(read(&list("train.txt", None, folder.path())), folder.path());
    assert!(text.starts_with(".: 30 of 31 pictures that are named are missing; expected all, below"), "{text}");
    for named in ["`real/gone 0.png` (train.txt, line 2)", "`real/gone 19.png`", " and 10 more"] {
        assert!(text.contains(named), "{text}");
    }
    assert!(!text.contains("gone 20"));
}

#[test]
fn lines_that_make_no_sample_are_refused() {
    let cases = [
        (" 0\n", ", line 1: a line without a blank"),
        ("x\n", "line 1: a line without a blank, a tab or a comma; expected a path and a label"),
        ("real/p 0.png 0\nreal/p 0.png 1\n", "line 2: `real/p 0.png`, which train.txt, line 1 names, too"),
        ("../real/p 0.png 0\n", "line 1: a path that leads out of the dataset"),
        ("/etc/passwd 0\n", "line 1: a path that leads out of the dataset"),
        ("real/p 0.png 0\nreal/p 1.png 2\n", "no training picture of class 1 (`1`), and 1 such classes"),
        ("train.txt 0\n", "the picture cannot be decoded (neither JPEG nor PNG"),
    ];
    for (lines, expected) in cases {
        let folder = six();
        put(folder.path().join("train.txt"), lines);
        let text = message(read(&list("train.txt", None, folder.path())), folder.path());
        assert!(text.contains(expected), "{text}\n  lacks: {expected}");
    }
    let folder = six();
    put(folder.path().join("test.txt"), "real/p 1.png 7\n");
    let text = message(read(&list("train.txt", Some("test.txt"), folder.path())), folder.path());
    assert!(text.contains("no training picture of class 2"), "{text}");
    let text = message(read(&list("nowhere.txt", None, folder.path())), folder.path());
    assert!(text.contains("found no such list in `nowhere.txt`") && text.contains("correct `dataset.list`"), "{text}");
    let stray = DatasetConfig { list: list("a", None, folder.path()).list, ..at("folder", folder.path()) };
    assert_eq!(message(read(&stray), folder.path()), "dataset `folder`: `dataset.list` is for lists; remove it");
}

#[test]
fn imagenet_lt_is_a_list_and_the_validation_folder() {
    let folder = TempDir::new().unwrap();
    for (number, name) in ["train/n01/a", "train/n02/b", "train/n02/c", "val/n01/x", "val/n02/y"].iter().enumerate() {
        put(folder.path().join(format!("{name}.png")), png(number, 6));
    }
    put(folder.path().join("ImageNet_LT_train.txt"), "train/n02/c.png 1\ntrain/n01/a.png 0\n");
    let set = read(&at("imagenet-lt", folder.path())).unwrap();
    assert_eq!((numbers(&set), set.official_test()), (vec![2, 0, 3, 4], 2));
    assert_eq!(set.class_names(), ["n01", "n02"]);
    assert_eq!(set.normalisation().unwrap().mean, [0.485, 0.456, 0.406]);
    let all = read(&DatasetConfig { order: Some(SampleOrder::Published), ..at("imagenet", folder.path()) }).unwrap();
    assert_eq!((numbers(&all), all.official_test()), ((0..5).collect::<Vec<_>>(), 2));
}

#[test]
fn tiny_imagenet_and_gtsrb_as_they_are_published() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("tiny-imagenet-200");
    put(place.join("train/n02/images/n02_0.png"), png(1, 6));
    put(place.join("train/n01/images/n01_0.png"), png(0, 6));
    put(place.join("val/images/val_0.png"), png(2, 6));
    put(place.join("val/val_annotations.txt"), "val_0.png\tn02\t0\t0\t5\t5\n");
    put(place.join("test/images/test_0.png"), png(3, 6));
    let set =
        read(&DatasetConfig { order: Some(SampleOrder::Published), ..at("tiny-imagenet", folder.path()) }).unwrap();
    assert_eq!((numbers(&set), set.class_names()), (vec![0, 1, 2], &["n01".to_owned(), "n02".to_owned()][..]));

    let ppm = |number| [b"P6\n# made\n6 6\n255\n".to_vec(), picture(number, 6)].concat();
    let folder = TempDir::new().unwrap();
    put(folder.path().join("Final_Training/Images/00000/00000.ppm"), ppm(0));
    put(folder.path().join("Final_Training/Images/00000/GT-00000.csv"), "Filename;ClassId\n");
    put(folder.path().join("Final_Training/Images/00001/00000.ppm"), ppm(1));
    put(folder.path().join("Final_Test/Images/00000.ppm"), ppm(2));
    put(folder.path().join("GT-final_test.csv"), "Filename;Width;Height;ClassId\n00000.ppm;6;6;1\n");
    let published = DatasetConfig { order: Some(SampleOrder::Published), ..at("gtsrb", folder.path()) };
    let set = read(&published).unwrap();
    assert_eq!((numbers(&set), set.classes(), set.official_test()), (vec![0, 1, 2], 2, 1));
    put(folder.path().join("Final_Test/Images/00000.ppm"), &ppm(2)[..60]);
    let text = message(read(&published), folder.path());
    assert!(text.contains("the file ends after 42 of 108 bytes of pixels"), "{text}");
}

#[test]
fn manifests_of_any_separator() {
    for separator in [",", ";", "\t"] {
        let folder = six();
        let rows =
            ["path|label|split", "real/p 0.png|cat|train", "real/p 1.png|\"a dog\"|train", "real/p 2.png|cat|test"];
        put(folder.path().join("all.csv"), rows.join("\n").replace('|', separator));
        let config =
            DatasetConfig { order: Some(SampleOrder::Published), ..at("manifest", &folder.path().join("all.csv")) };
        let set = read(&config).unwrap();
        assert_eq!((numbers(&set), set.official_test()), (vec![0, 1, 2], 1));
        assert_eq!(set.class_names(), ["a dog", "cat"]);
    }
    let folder = six();
    let table = folder.path().join("all.csv");
    let cases = [
        ("a,b\n1,2\n", "all.csv: columns `a`, `b`, and none is called `image`, `img`, `path`"),
        ("path,label\nreal/p 0.png\n", "all.csv, line 2: a row with another number of columns"),
        ("path,label,split\nreal/p 0.png,1,other\n", "all.csv, line 2: split `other`; expected train, validation or"),
        ("path,label\nreal/p 0.png,cat\nreal/p 1.png,\n", "line 3: the class ``, number 0"),
        ("path,label\n", "no training pictures"),
    ];
    for (text, expected) in cases {
        put(&table, text);
        let found = message(read(&at("manifest", &table)), folder.path());
        assert!(found.contains(expected), "{found}\n  lacks: {expected}");
    }
    put(&table, "x,y\nreal/p 0.png,0\nreal/p 1.png,1\n");
    let columns = ColumnsConfig { image: Some("x".into()), label: Some("y".into()), split: None };
    assert_eq!(read(&DatasetConfig { columns: Some(columns), ..at("manifest", &table) }).unwrap().len(), 2);
}

#[test]
fn resizing_before_the_cut_and_stretching() {
    let folder = TempDir::new().unwrap();
    for class in ["a", "b"] {
        put(folder.path().join(class).join("1.png"), png(usize::from(class == "b"), 64));
    }
    let base = DatasetConfig { size: Some(28), ..at("folder", folder.path()) };
    let pixels = |config: DatasetConfig| read(&config).unwrap().images().bytes.to_vec();
    let whole = pixels(DatasetConfig { size: Some(32), ..base.clone() });
    let cut = pixels(DatasetConfig { resize: Some(32), ..base.clone() });
    // The middle 28 of 32: two rows and columns fewer on each side.
    let middle = |image: &[u8]| -> Vec<u8> {
        (2..30).flat_map(|row| image[(row * 32 + 2) * 3..(row * 32 + 30) * 3].to_vec()).collect()
    };
    let expected: Vec<u8> = whole.chunks_exact(32 * 32 * 3).flat_map(middle).collect();
    let inner = |bytes: &[u8]| -> Vec<u8> { bytes.chunks_exact(28 * 3).flat_map(|row| row[3..81].to_vec()).collect() };
    let differ = inner(&cut).iter().zip(inner(&expected)).filter(|(a, b)| a.abs_diff(*b) > 1).count();
    assert!(differ < cut.len() / 25, "{differ} of {}", cut.len());
    for filter in [ResizeFilter::Box, ResizeFilter::Cubic, ResizeFilter::Lanczos] {
        assert_ne!(pixels(DatasetConfig { filter, ..base.clone() }), pixels(base.clone()), "{filter:?}");
    }
    assert_eq!(pixels(DatasetConfig { fit: Fit::Stretch, ..base.clone() }), pixels(base.clone()), "squares");
    let of = |config: DatasetConfig| message(read(&config), folder.path());
    let text = of(DatasetConfig { resize: Some(20), ..base.clone() });
    assert_eq!(text, "dataset `folder`: `dataset.resize` is 20; expected `dataset.size`, 28, to 2048 pixels");
    let text = of(DatasetConfig { resize: Some(40), fit: Fit::Stretch, ..base });
    assert!(text.ends_with("`dataset.fit = \"stretch\"` cuts nothing; remove `dataset.resize`"), "{text}");
}

#[test]
fn statistics_by_name_and_in_numbers() {
    let folder = six();
    let base = list("train.txt", Some("test.txt"), folder.path());
    let mean = |normalise| {
        read(&DatasetConfig { normalise: Some(normalise), ..base.clone() }).map(|set| set.normalisation().cloned())
    };
    assert_eq!(mean(Normalise::Imagenet).unwrap().unwrap().std, [0.229, 0.224, 0.225]);
    assert_eq!(mean(Normalise::None).unwrap().unwrap().mean, [0.0; 3]);
    assert!(mean(Normalise::Measured).unwrap().is_none());
    let text = mean(Normalise::Mnist).unwrap_err().to_string();
    assert!(
        text.ends_with("`dataset.normalise = \"mnist\"` has 1 means and 1 deviations; the images have 3 channels"),
        "{text}"
    );
    let text = mean(Normalise::Published).unwrap_err().to_string();
    assert!(text.ends_with("no statistics are published for it; set `dataset.normalise` to another"), "{text}");
    let numbers = |std: f64| Some(ChannelStatistics { mean: vec![0.5; 3], std: vec![std; 3] });
    assert_eq!(
        read(&DatasetConfig { statistics: numbers(0.25), ..base.clone() }).unwrap().normalisation().unwrap().std,
        [0.25; 3]
    );
    assert!(read(&DatasetConfig { statistics: numbers(0.0), ..base }).is_err());
}

#[test]
fn large_sets_stay_in_a_file_of_the_cache() {
    let folder = TempDir::new().unwrap();
    for number in 0..40 {
        put(folder.path().join(format!("set/{}/{number}.png", number % 2)), png(number, 20));
    }
    let cache = folder.path().join("cache");
    let search = Search::at("/nowhere").keeping_pictures_in(&cache);
    let config = at("folder", &folder.path().join("set"));
    let small = DatasetConfig { in_memory: "1KiB".parse().unwrap(), ..config.clone() };
    let whole = load(&config, &Search::at("/nowhere")).unwrap();
    let mapped = || load(&small, &search).unwrap();
    assert_eq!(mapped().digest(), whole.digest());
    let files = || fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let [file] = &files()[..] else { panic!("{:?}", files()) };
    assert!(file.extension().is_some_and(|ending| ending == "mapped"));
    // Damaged, it is made anew.
    let mut bytes = fs::read(file).unwrap();
    bytes[500] ^= 1;
    fs::write(file, &bytes).unwrap();
    assert_eq!((mapped().digest(), files().len()), (whole.digest(), 1));
    let text = load(&small, &Search::at("/nowhere")).unwrap_err().to_string();
    assert!(text.contains("more than `dataset.in_memory`") && text.contains("QUERIST_CACHE"), "{text}");
}
