//! That the number of a sample says nothing of its class.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use querist_core::config::DatasetConfig;
use querist_core::oracle::{DatasetOracle, Oracle};
use querist_core::{Dataset, SampleId};
use querist_data::{Search, load};
use statrs::distribution::{ChiSquared, ContinuousCDF};
use tempfile::TempDir;

use crate::pictures::{grey_of, png_of};
use crate::real::real;
use crate::sets::{idx_images, idx_labels};
use crate::{at, put};

fn read(name: &str, path: &Path) -> Dataset {
    load(&at(name, path), &Search::at("/nowhere")).unwrap()
}

/// Classes of the training samples, by number.
fn classes(set: &Dataset) -> Vec<usize> {
    let samples: Vec<SampleId> = (0..(set.len() - set.official_test()) as u64).map(SampleId).collect();
    DatasetOracle::new(set).reveal(&samples).unwrap().into_iter().map(|label| label.index()).collect()
}

fn counts(classes: impl IntoIterator<Item = usize>, of: usize) -> Vec<f64> {
    let mut counts = vec![0.0; of];
    classes.into_iter().for_each(|class| counts[class] += 1.0);
    counts
}

/// How likely such counts are, or stranger ones, where `shares` are the truth.
fn likelihood(counts: &[f64], shares: &[f64]) -> f64 {
    let all: f64 = counts.iter().sum();
    let distance = |(count, share): (&f64, &f64)| (count - all * share).powi(2) / (all * share);
    let statistic: f64 = counts.iter().zip(shares).map(distance).sum();
    1.0 - ChiSquared::new((counts.len() - 1) as f64).unwrap().cdf(statistic)
}

/// The least likely of what strategies without any need can take: a block of rows, or every k-th.
fn least_likely(classes: &[usize]) -> (f64, String) {
    let (rows, of) = (classes.len(), classes.iter().max().unwrap() + 1);
    let shares: Vec<f64> = counts(classes.iter().copied(), of).iter().map(|count| count / rows as f64).collect();
    let mut taken: Vec<(String, Vec<f64>)> = Vec::new();
    for blocks in [2, 10] {
        for (block, some) in classes.chunks(rows.div_ceil(blocks)).enumerate() {
            taken.push((format!("block {block} of {blocks}"), counts(some.iter().copied(), of)));
        }
    }
    for k in 2..=20 {
        for first in 0..k {
            let some = classes.iter().skip(first).step_by(k).copied();
            taken.push((format!("every {k}th from {first}"), counts(some, of)));
        }
    }
    let likely = taken.into_iter().map(|(what, counts)| (likelihood(&counts, &shares), what));
    likely.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// How likely it is that class and block of ten are independent.
fn independence(classes: &[usize]) -> f64 {
    let (rows, of, blocks) = (classes.len() as f64, classes.iter().max().unwrap() + 1, 10);
    let all = counts(classes.iter().copied(), of);
    let mut statistic = 0.0;
    for some in classes.chunks(classes.len().div_ceil(blocks)) {
        for (found, all) in counts(some.iter().copied(), of).iter().zip(&all) {
            let expected = all * some.len() as f64 / rows;
            statistic += (found - expected).powi(2) / expected;
        }
    }
    1.0 - ChiSquared::new(((of - 1) * (blocks - 1)) as f64).unwrap().cdf(statistic)
}

fn says_nothing(name: &str, set: &Dataset) {
    let mut classes = classes(set);
    let (likelihood, what) = least_likely(&classes);
    let independence = independence(&classes);
    eprintln!("{name}: independent of blocks with p = {independence:.3}; least likely, with {likelihood:.5}: {what}");
    // Some 230 looks at each set.
    assert!(independence > 1e-4 && likelihood > 1e-5, "{name}: {independence}, {likelihood} ({what})");
    // What class folders, one after the other, would say: the measure can tell.
    classes.sort_unstable();
    assert!(self::independence(&classes) < 1e-12 && least_likely(&classes).0 < 1e-12, "{name}");
}

#[test]
fn digits_say_nothing() {
    let config = DatasetConfig { path: None, ..at("digits", "/".as_ref()) };
    let set = load(&config, &Search::at("/nowhere")).unwrap();
    says_nothing("digits", &set);
    // As published, every tenth row is one class, and the measure finds that, too.
    let mut rows: Vec<(usize, usize)> = classes(&set)
        .into_iter()
        .enumerate()
        .map(|(id, class)| {
            (set.file(SampleId(id as u64)).unwrap().strip_prefix("digits#").unwrap().parse().unwrap(), class)
        })
        .collect();
    rows.sort_unstable();
    let published: Vec<usize> = rows.into_iter().map(|(_, class)| class).collect();
    assert_eq!(published[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    let (likelihood, what) = least_likely(&published);
    assert!(likelihood < 1e-5, "{likelihood} ({what})");
}

/// 600 pictures in four class folders of unlike sizes, each with a name of its own.
fn sorted_folder(folder: &Path) {
    for picture in 0..600u16 {
        let class = ["ant", "bee", "cow", "dog"][usize::from(picture / 60).saturating_sub(3).div_ceil(2).min(3)];
        put(folder.join(class).join(format!("{picture:03}.png")), png_of(picture));
    }
}

/// A set of one's own in the format of a public one, sorted by class.
#[test]
fn a_class_sorted_file_says_nothing() {
    let folder = TempDir::new().unwrap();
    let name = |file: &str| folder.path().join(file);
    for (part, count) in [("train", 1000u32), ("t10k", 10)] {
        let pixels: Vec<u8> = (0..count).flat_map(u32::to_be_bytes).collect();
        let labels: Vec<u8> = (0..count).map(|row| (row * 10 / count) as u8).collect();
        put(name(&format!("{part}-images-idx3-ubyte")), idx_images(count, 2, 2, &pixels));
        put(name(&format!("{part}-labels-idx1-ubyte")), idx_labels(&labels));
    }
    let set = read("mnist", folder.path());
    says_nothing("sorted mnist", &set);
    for sample in (0..1000).map(SampleId) {
        let row = u32::from_be_bytes(set.images().image(sample).try_into().unwrap());
        assert_eq!(set.file(sample), Some(format!("train#{row}").as_str()));
    }
}

/// Number of each picture by its name, whatever its class.
fn numbers(set: &Dataset) -> BTreeMap<String, u64> {
    let name = |sample| set.file(SampleId(sample)).unwrap().rsplit_once('/').unwrap().1.to_owned();
    (0..set.len() as u64).map(|sample| (name(sample), sample)).collect()
}

#[test]
fn a_class_sorted_folder_says_nothing() {
    let folder = TempDir::new().unwrap();
    sorted_folder(folder.path());
    let set = read("folder", folder.path());
    assert_eq!((set.len(), set.classes()), (600, 4));
    says_nothing("folder", &set);
}

#[test]
fn numbers_depend_on_pictures_alone() {
    let folder = TempDir::new().unwrap();
    sorted_folder(folder.path());
    let before = numbers(&read("folder", folder.path()));
    assert_eq!(before.len(), 600);
    let sized = DatasetConfig { size: Some(8), ..at("folder", folder.path()) };
    assert_eq!(numbers(&load(&sized, &Search::at("/nowhere")).unwrap()), before);
    // A class renamed to the other end of the alphabet, and a picture in another class.
    fs::rename(folder.path().join("ant"), folder.path().join("zebra")).unwrap();
    fs::rename(folder.path().join("dog/599.png"), folder.path().join("bee/599.png")).unwrap();
    let set = read("folder", folder.path());
    assert_eq!(set.class_names(), ["bee", "cow", "dog", "zebra"]);
    assert_eq!(numbers(&set), before);
}

#[test]
fn same_pictures_favour_no_class() {
    let folder = TempDir::new().unwrap();
    for picture in 0..400u16 {
        for class in ["a", "b"] {
            put(folder.path().join(class).join(format!("{picture}.png")), png_of(picture));
        }
    }
    let classes = classes(&read("folder", folder.path()));
    let first = classes.chunks(2).filter(|pair| *pair == [0, 1]).count();
    assert_eq!(classes.chunks(2).filter(|pair| *pair == [1, 0]).count(), 400 - first, "pairs stand together");
    assert!((150..250).contains(&first), "{first} of 400 pairs begin with class a");
}

#[test]
fn grey_and_coloured_alike() {
    let folder = TempDir::new().unwrap();
    for picture in 0..300u16 {
        let class = ["a", "b", "c"][usize::from(picture / 100)];
        put(folder.path().join("train").join(class).join(format!("{picture}.png")), grey_of(picture));
        put(folder.path().join("test").join(class).join(format!("{picture}.png")), png_of(picture));
    }
    let set = read("folder", folder.path());
    assert_eq!((set.len(), set.official_test()), (600, 300));
    says_nothing("folder with a test part", &set);
    assert!((300..600).all(|sample| set.file(SampleId(sample)).unwrap().starts_with("test/")));
}

/// Sets that keep their published order do so because of this test.
#[test]
fn real_sets_say_nothing() {
    for (name, folder) in [
        ("mnist", "mnist"),
        ("fashion-mnist", "fashion-mnist"),
        ("emnist-balanced", "emnist"),
        ("emnist-letters", "emnist"),
        ("cifar10", "cifar10"),
        ("cifar100", "cifar100"),
        ("cifar10", "cifar10-jpeg"),
    ] {
        if let Some(path) = real(folder) {
            says_nothing(folder, &read(name, &path));
        }
    }
}
