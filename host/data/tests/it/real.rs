//! Real files, where they are: `$QUERIST_TEST_DATA`, else `shared/data` beside the workspace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use querist_core::SampleId;
use querist_data::{FileState, Search, check, load};

use crate::at;

pub fn real(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let root = std::env::var_os("QUERIST_TEST_DATA").map_or_else(beside, PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no {}; set QUERIST_TEST_DATA to the folder that holds `{name}`", path.display());
    None
}

#[test]
fn mnist_is_the_published_one() {
    let Some(path) = real("mnist") else { return };
    let clock = Instant::now();
    let set = load(&at("mnist", &path), &Search::at("/nowhere")).unwrap();
    eprintln!("mnist: {:.2} s", clock.elapsed().as_secs_f64());
    assert_eq!((set.len(), set.official_test()), (70_000, 10_000));
    let training = &set.images().bytes[..60_000 * 784];
    let (sum, squares) =
        training.iter().fold((0u64, 0u64), |(s, q), &v| (s + u64::from(v), q + u64::from(v) * u64::from(v)));
    let mean = sum as f64 / training.len() as f64 / 255.0;
    let std = (squares as f64 / training.len() as f64 / 65025.0 - mean * mean).sqrt();
    let n = set.normalisation().unwrap();
    assert!((mean - f64::from(n.mean[0])).abs() < 5e-5 && (std - f64::from(n.std[0])).abs() < 5e-5, "{mean} {std}");
    // Compressed anew, but the published content.
    let report = check(&at("mnist", &path), &Search::at("/nowhere")).unwrap();
    assert!(report.is_good());
    assert!(report.files.iter().all(|file| matches!(file.state, FileState::Verified | FileState::SameContent)));
    assert_eq!(report.dataset.unwrap(), set.digest());
}

#[test]
fn cifar10_as_jpeg_pictures() {
    let Some(path) = real("cifar10-jpeg") else { return };
    let clock = Instant::now();
    let set = load(&at("cifar10", &path), &Search::at("/nowhere")).unwrap();
    eprintln!("cifar10 from JPEG: {:.2} s", clock.elapsed().as_secs_f64());
    assert_eq!((set.len(), set.official_test(), set.images().channels), (60_000, 10_000, 3));
    let files: BTreeSet<&str> = (0..60_000).filter_map(|sample| set.file(SampleId(sample))).collect();
    assert!(files.len() == 60_000 && files.contains("train/airplane/0000.jpg"));
    assert!((50_000..60_000).all(|sample| set.file(SampleId(sample)).unwrap().starts_with("test/")));
    let n = set.normalisation().unwrap();
    for channel in 0..3 {
        let values = set.images().bytes[..50_000 * 3072].iter().skip(channel).step_by(3);
        let mean = values.map(|&v| u64::from(v)).sum::<u64>() as f64 / (50_000.0 * 1024.0) / 255.0;
        assert!((mean - f64::from(n.mean[channel])).abs() < 2e-3, "channel {channel}: {mean}");
    }
}
