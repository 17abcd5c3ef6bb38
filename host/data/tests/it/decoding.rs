//! Pixels of pictures beside those that Pillow and libjpeg read (`tests/pictures/make.py` made them), and what decoding
//! refuses, keeps and finds again.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::read::GzDecoder;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, Rgb, RgbImage};
use querist_core::config::DatasetConfig;
use querist_core::{Dataset, SampleId};
use querist_data::{DataError, Search, load};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::pictures::{encode_png, tar};
use crate::{at, message, put};

/// The pictures made by the usual tools, by name.
fn made() -> BTreeMap<String, Vec<u8>> {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures/pictures.tar.gz");
    let mut tar = tar::Archive::new(GzDecoder::new(fs::File::open(archive).unwrap()));
    let member = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry: tar::Entry<'_, GzDecoder<fs::File>> = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    };
    tar.entries().unwrap().map(member).collect()
}

/// Width, height, channels and values of a netpbm file.
fn pnm(bytes: &[u8]) -> ([usize; 3], &[u8]) {
    let channels = if bytes.starts_with(b"P6") { 3 } else { 1 };
    let end = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0;
    let header = std::str::from_utf8(&bytes[3..end]).unwrap();
    let mut sizes = header.split_whitespace().map(|size| size.parse().unwrap());
    let (width, height) = (sizes.next().unwrap(), sizes.next().unwrap());
    ([width, height, channels], &bytes[end + 1..])
}

fn nowhere() -> Search {
    Search::at("/nowhere")
}

/// The pictures as a dataset of two classes, each with all of them.
fn twice(pictures: &[(&str, &[u8])], search: &Search, size: Option<u32>) -> Result<Dataset, DataError> {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in pictures {
        put(folder.path().join("a").join(name), bytes);
        put(folder.path().join("b").join(name), bytes);
    }
    load(&DatasetConfig { size, ..at("folder", folder.path()) }, search)
}

fn image<'a>(set: &'a Dataset, name: &str) -> &'a [u8] {
    let sample = (0..set.len() as u64).map(SampleId).find(|&sample| set.file(sample) == Some(name));
    set.images().image(sample.unwrap())
}

#[test]
fn pixels_are_those_of_libjpeg() {
    let made = made();
    let pixels = |stem: &str| made.get(&format!("{stem}.ppm")).or_else(|| made.get(&format!("{stem}.pgm")));
    let mut compared = 0;
    for (name, bytes) in made.iter().filter(|(name, _)| name.ends_with("g") && !name.contains('/')) {
        let stem = name.rsplit_once('.').unwrap().0;
        let like = stem.rsplit_once('-').map_or(stem, |(like, _)| like);
        let like = if harmless(stem) { "420-70x41" } else { like };
        let reference = pixels(stem).or_else(|| pixels(like)).unwrap();
        let ([width, height, channels], expected) = pnm(reference);
        let set = twice(&[(name, bytes)], &nowhere(), None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = set.images();
        assert_eq!((found.width, found.height, found.channels), (width, height, channels), "{name}");
        let worst = found.bytes.iter().zip(expected.iter().cycle()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(2), "{name}: {worst:?} levels from the reference");
        compared += 1;
    }
    assert!(compared > 280, "{compared}");
}

fn harmless(stem: &str) -> bool {
    stem.starts_with("extra-") || ["fill-before-marker", "long-comment", "odd-scan-header"].contains(&stem)
}

#[test]
fn damaged_jpegs_are_refused() {
    let made = made();
    let mut refused = 0;
    for (name, bytes) in made.iter().filter(|(name, _)| name.starts_with("refused/")) {
        for size in [None, Some(16)] {
            let text = message(twice(&[("x.jpg", bytes)], &nowhere(), size), Path::new("/nowhere"));
            assert!(text.contains("/x.jpg: the picture cannot be decoded ("), "{name}: {text}");
            assert!(text.ends_with("; expected a whole PNG or JPEG"), "{name}: {text}");
        }
        refused += 1;
    }
    assert!(refused > 20, "{refused}");
    let text = |name: &str| message(twice(&[("x.jpg", &made[name])], &nowhere(), None), Path::new("/nowhere"));
    assert!(text("refused/baseline-cut-9.jpg").contains("(Premature end of JPEG file)"));
    assert!(text("refused/progressive-cut-and-ended-5.jpg").contains("premature end of data segment"));
    assert!(text("refused/no-such-code.jpg").contains("bad Huffman code"), "{}", text("refused/no-such-code.jpg"));
    assert!(text("refused/two-components.jpg").contains("a JPEG of 2 components, 1, 3 or 4 are read"));
}

/// Each scan costs the time of a whole picture and a few bytes.
#[test]
fn scans_have_an_end() {
    let whole = &made()["420-70x41-scans.jpg"];
    let scan = whole.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
    let with = |more: usize| {
        let scans = whole[scan..whole.len() - 2].repeat(more);
        [&whole[..whole.len() - 2], &scans, &[0xff, 0xd9]].concat()
    };
    assert!(twice(&[("x.jpg", &with(50))], &nowhere(), None).is_ok());
    let text = message(twice(&[("x.jpg", &with(120))], &nowhere(), None), Path::new("/nowhere"));
    assert!(text.contains("(more than 100 scans)"), "{text}");
}

/// A decoder that fills up makes a picture of every beginning.
#[test]
fn no_beginning_of_a_picture_is_one() {
    let made = made();
    for name in ["420-70x41.jpg", "420-70x41-progressive.jpg", "grey-17x16.jpg", "420-31x7-arithmetic.jpg", "plain.png"]
    {
        let whole = &made[name];
        // A PNG ends with twelve bytes that say that it ends.
        let last = whole.len() - if name.ends_with("png") { 12 } else { 0 };
        for end in (0..last).step_by(13).chain([last - 2, last - 1]) {
            let read = twice(&[(name, &whole[..end])], &nowhere(), None);
            assert!(read.is_err(), "{end} of {} bytes of {name}", whole.len());
        }
    }
}

/// The middle is that of the picture as it is seen, in each of the eight ways that a camera can be held.
#[test]
fn resized_pictures_are_upright() {
    let made = made();
    for orientation in 1..=8 {
        let name = format!("turned-{orientation}.jpg");
        let set = twice(&[(&name, &made[&name])], &nowhere(), Some(16)).unwrap();
        let ([width, height, _], upright) = pnm(&made[&format!("turned-{orientation}.ppm")]);
        let reference = RgbImage::from_raw(width as u32, height as u32, upright.to_vec()).unwrap();
        let reference = DynamicImage::from(reference).resize_to_fill(16, 16, FilterType::Triangle).into_bytes();
        let mean = mean_difference(image(&set, &format!("train/a/{name}")), &reference);
        assert!(mean < 1.0, "{name}: {mean} levels");
    }
}

fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

/// A photograph of a kind: soft, with edges, and with lines that only its full size shows.
fn photograph(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |rate: f64| (128.0 + 90.0 * (f64::from(x + seed) / rate).sin() * (f64::from(y) / rate).cos()) as u8;
        let edge = if (x / 97 + y / 61) % 2 == 0 { 30 } else { 0 };
        let line = if y % 2 == 0 { 8 } else { 0 };
        Rgb([wave(90.0).saturating_sub(edge), wave(40.0) / 2 + line, wave(200.0) + edge / 2])
    })
}

fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(image).unwrap();
    bytes
}

#[test]
fn large_jpegs_are_reduced_to_what_they_would_be() {
    for (width, height, side) in
        [(1200, 900, 64), (901, 1203, 100), (1024, 700, 300), (2000, 700, 699), (800, 800, 1000)]
    {
        let original = photograph(width, height, 7);
        let set = twice(&[("x.jpg", &jpeg(&original))], &nowhere(), Some(side)).unwrap();
        let reference = DynamicImage::from(original).resize_to_fill(side, side, FilterType::Triangle).into_bytes();
        let mean = mean_difference(image(&set, "train/a/x.jpg"), &reference);
        assert!(mean < 3.0, "{width}x{height} to {side}: {mean} levels");
    }
}

#[test]
fn small_pictures_are_resized_to_within_a_level_or_keep_their_pixels() {
    for (width, height, side) in [(28, 28, 32), (32, 32, 16), (64, 48, 20), (47, 64, 31), (101, 99, 64), (40, 33, 33)] {
        let original = photograph(width, height, 3);
        let png = encode_png(original.clone().into());
        let set = twice(&[("x.png", &png)], &nowhere(), Some(side)).unwrap();
        let reference = DynamicImage::from(original).resize_to_fill(side, side, FilterType::Triangle).into_bytes();
        let found = image(&set, "train/a/x.png");
        let mean = mean_difference(found, &reference);
        assert!(mean < 0.6, "{width}x{height} to {side}: {mean} levels");
        if side == width.min(height) {
            assert_eq!(found, reference, "only cut");
        }
    }
}

#[test]
fn sizes_are_compared_before_anything_is_decoded() {
    let folder = TempDir::new().unwrap();
    let mut first = jpeg(&photograph(60, 40, 1));
    // Its header is whole, its pixels are not.
    first.truncate(first.len() / 2 + 300);
    put(folder.path().join("a/1.jpg"), &first);
    put(folder.path().join("a/2.jpg"), &first);
    put(folder.path().join("b/1.jpg"), jpeg(&photograph(40, 60, 1)));
    let text = message(load(&at("folder", folder.path()), &nowhere()), folder.path());
    assert_eq!(
        text,
        ".: , `train/b/1.jpg`: a picture of 60x40; expected 40x60 like `train/a/1.jpg`; set `dataset.size` to resize \
         all"
        .replace(".: ,", ".,")
    );
}

/// The files of a cache.
fn kept(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A folder of four photographs and an archive of them.
fn photographs() -> TempDir {
    let folder = TempDir::new().unwrap();
    let files: Vec<(String, Vec<u8>)> = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]
        .iter()
        .zip(1..)
        .map(|(name, seed)| ((*name).to_owned(), jpeg(&photograph(640, 480, 40 * seed))))
        .collect();
    files.iter().for_each(|(name, bytes)| put(folder.path().join("set").join(name), bytes));
    let borrowed: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
    put(folder.path().join("set.tar"), tar(&borrowed));
    folder
}

#[test]
fn pictures_are_decoded_once() {
    let folder = photographs();
    let cache = folder.path().join("cache/pictures");
    let search = nowhere().keeping_pictures_in(&cache);
    let read =
        |place: &str, size| load(&DatasetConfig { size, ..at("folder", &folder.path().join(place)) }, &search).unwrap();
    let plain =
        load(&DatasetConfig { size: Some(32), ..at("folder", &folder.path().join("set")) }, &nowhere()).unwrap();
    assert_eq!(read("set", Some(32)).digest(), plain.digest());
    let files = kept(&cache);
    assert_eq!(files.len(), 1);
    assert_eq!(fs::metadata(&cache).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&files[0]).unwrap().mode() & 0o777, 0o600);

    // What is in the file is what the next run gets, also from an archive of the same pictures.
    let mut planted = fs::read(&files[0]).unwrap();
    let pixels = planted.len() - 4 * 32 * 32 * 3;
    planted[pixels..].fill(77);
    let digest = Sha256::digest(&planted[pixels..]);
    planted[pixels - 32..pixels].copy_from_slice(&digest);
    fs::write(&files[0], &planted).unwrap();
    for place in ["set", "set.tar"] {
        assert!(read(place, Some(32)).images().bytes.iter().all(|&value| value == 77), "{place}");
    }
    // Another size is another file, and so is a picture more.
    assert_ne!(read("set", Some(48)).images().bytes[0], 77);
    put(folder.path().join("set/a/3.jpg"), jpeg(&photograph(640, 480, 500)));
    assert_ne!(read("set", Some(32)).images().bytes[0], 77);
    assert_eq!(kept(&cache).len(), 3);
}

#[test]
fn a_cache_that_cannot_be_used_is_none() {
    let folder = photographs();
    let cache = folder.path().join("cache");
    let config = DatasetConfig { size: Some(32), ..at("folder", &folder.path().join("set")) };
    let digest = load(&config, &nowhere()).unwrap().digest().to_owned();
    let read = |search: &Search| assert_eq!(load(&config, search).unwrap().digest(), digest);
    let search = nowhere().keeping_pictures_in(&cache);
    read(&search);
    let file = kept(&cache).remove(0);
    let whole = fs::read(&file).unwrap();

    // Damaged, cut, of another key, empty, a folder: each is made anew, but for what is no file.
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for wrong in [flipped(0), flipped(20), flipped(50), flipped(whole.len() - 1), whole[..99].to_vec(), Vec::new()] {
        fs::write(&file, wrong).unwrap();
        read(&search);
        assert_eq!(fs::read(&file).unwrap(), whole);
    }
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
    read(&search);
    fs::remove_file(&file).unwrap();

    // A folder that others can write to, a file in its place, and one that cannot be made.
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    read(&search);
    assert!(kept(&cache).is_empty());
    fs::remove_dir(&cache).unwrap();
    fs::write(&cache, "no folder").unwrap();
    read(&search);
    read(&nowhere().keeping_pictures_in("/proc/no/such"));
    fs::remove_file(&cache).unwrap();

    // What a killed process left goes in time.
    fs::create_dir(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
    for (name, age) in [(".part-old", 3), (".part-new", 0)] {
        let left = fs::File::create(cache.join(name)).unwrap();
        left.set_modified(SystemTime::now() - Duration::from_secs(age * 24 * 3600)).unwrap();
    }
    read(&search);
    assert_eq!(kept(&cache), [cache.join(".part-new"), file]);
}

#[test]
fn runs_that_start_together_do_not_disturb_each_other() {
    let folder = photographs();
    let search = nowhere().keeping_pictures_in(folder.path().join("cache"));
    let config = DatasetConfig { size: Some(32), ..at("folder", &folder.path().join("set")) };
    let digest = load(&config, &nowhere()).unwrap().digest().to_owned();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(load(&config, &search).unwrap().digest(), digest));
        }
    });
    assert_eq!(kept(&folder.path().join("cache")).len(), 1);
}
