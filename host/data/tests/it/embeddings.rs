//! Embeddings in the place of pictures: files, shards, and what is wrong with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use querist_core::array::{Array, Values};
use querist_core::config::{DatasetConfig, EmbeddingsConfig, Files, VariantConfig};
use querist_core::{Dataset, SampleId, Seeds, Split};
use querist_data::arrays::{write_npy, write_safetensors};
use querist_data::{DataError, Search, check, load, vary};
use tempfile::TempDir;

use crate::arrays::npy;
use crate::{at, message, put};

fn one(file: &str) -> Files {
    Files::One(file.to_owned())
}

fn parts(train: &str, labels: &str) -> EmbeddingsConfig {
    EmbeddingsConfig {
        train: one(train),
        train_labels: one(labels),
        validation: None,
        validation_labels: None,
        test: None,
        test_labels: None,
        classes: None,
    }
}

fn config(folder: &Path, files: EmbeddingsConfig) -> DatasetConfig {
    DatasetConfig { embeddings: Some(files), ..at("embeddings", folder) }
}

fn read(config: &DatasetConfig) -> Result<Dataset, DataError> {
    load(config, &Search::at("/nowhere"))
}

fn row(set: &Dataset, sample: u64) -> Vec<f32> {
    set.embeddings().unwrap().row(SampleId(sample)).to_vec()
}

/// Six rows to train on, two to test on, all of width 2.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let rows: Vec<f32> = (0..12).map(|value| value as f32).collect();
    write_npy(&at("train.npy"), &[6, 2], &rows).unwrap();
    write_npy(&at("train-labels.npy"), &[6], &[0i64, 1, 2, 0, 1, 2]).unwrap();
    write_npy(&at("test.npy"), &[2, 2], &[0.5f64, 1.5, 2.5, 3.5]).unwrap();
    write_npy(&at("test-labels.npy"), &[2], &[2u32, 0]).unwrap();
    folder
}

fn with_test() -> EmbeddingsConfig {
    let (test, test_labels) = (Some(one("test.npy")), Some(one("test-labels.npy")));
    EmbeddingsConfig { test, test_labels, ..parts("train.npy", "train-labels.npy") }
}

#[test]
fn rows_take_the_place_of_pictures() {
    let folder = folder();
    let set = read(&config(folder.path(), with_test())).unwrap();
    assert_eq!((set.len(), set.official_test(), set.classes(), set.images().image_len()), (8, 2, 3, 0));
    assert_eq!((row(&set, 1), row(&set, 7)), (vec![2.0, 3.0], vec![2.5, 3.5]), "training rows first, f64 rounded");
    assert_eq!(set.class_names(), ["0", "1", "2"]);
    put(folder.path().join("names.txt"), "ape\nbee\ncat\n");
    let named = EmbeddingsConfig { classes: Some("names.txt".to_owned()), ..with_test() };
    let named = read(&config(folder.path(), named)).unwrap();
    assert_eq!(named.class_names(), ["ape", "bee", "cat"]);
    // Values, labels and parts are all in the digest.
    let other = |files| read(&config(folder.path(), files)).unwrap().digest().to_owned();
    write_npy(&folder.path().join("other.npy"), &[2], &[1u32, 0]).unwrap();
    let labels = EmbeddingsConfig { test_labels: Some(one("other.npy")), ..with_test() };
    write_npy(&folder.path().join("wide.npy"), &[2, 2], &[0.5f32, 1.5, 2.5, 3.25]).unwrap();
    let values = EmbeddingsConfig { test: Some(one("wide.npy")), ..with_test() };
    let (test, test_labels) = (with_test().test, with_test().test_labels);
    let part = EmbeddingsConfig {
        validation: test,
        validation_labels: test_labels,
        test: None,
        test_labels: None,
        ..with_test()
    };
    let digests = [set.digest().to_owned(), named.digest().to_owned(), other(labels), other(values), other(part)];
    assert_eq!(digests.iter().collect::<std::collections::BTreeSet<_>>().len(), 5, "{digests:?}");
    let report = check(&config(folder.path(), with_test()), &Search::at("/nowhere")).unwrap();
    assert!(report.summary.unwrap().to_string().contains("embeddings: 2 values"));
}

#[test]
fn shards_and_formats_come_to_the_same_rows() {
    let folder = folder();
    let whole = read(&config(folder.path(), parts("train.npy", "train-labels.npy"))).unwrap();
    // Halves of a float, in three shards whose numbers have other lengths.
    let halves = |from: u16| -> Vec<u8> { (from..from + 4).flat_map(|v| half(v).to_le_bytes()).collect() };
    for (shard, name) in [(0u16, "s-9.npy"), (1, "s-10.npy"), (2, "s-11.npy")] {
        put(folder.path().join(name), npy("<f2", false, "(2, 2)", &halves(shard * 4)));
    }
    let floats = Array::f32(vec![6, 2], (0..12).map(|value| value as f32).collect::<Vec<_>>()).unwrap();
    let labels = Array::new(vec![6], Values::U32(vec![0, 1, 2, 0, 1, 2].into())).unwrap();
    let arrays = BTreeMap::from([("rows".to_owned(), floats), ("classes".to_owned(), labels)]);
    write_safetensors(&folder.path().join("all.safetensors"), &arrays).unwrap();
    let several = Files::Several(["s-9.npy", "s-10.npy", "s-11.npy"].map(str::to_owned).to_vec());
    for files in [
        parts("s-*.npy", "train-labels.npy"),
        EmbeddingsConfig { train: several, ..parts("", "train-labels.npy") },
        parts("all.safetensors#rows", "all.safetensors#classes"),
    ] {
        let found = read(&config(folder.path(), files.clone())).unwrap();
        assert_eq!(found.digest(), whole.digest(), "{files:?}");
    }
}

/// Small whole numbers as half floats.
fn half(value: u16) -> u16 {
    match value.checked_ilog2() {
        None => 0,
        Some(exponent) => ((15 + exponent as u16) << 10) | ((value << (10 - exponent)) & 0x3ff),
    }
}

#[test]
fn what_is_wrong_is_told_with_its_file() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    write_npy(&at("wide.npy"), &[2, 3], &[0f32; 6]).unwrap();
    write_npy(&at("nan.npy"), &[3, 2], &[0.0, 1.0, 2.0, f32::NAN, 4.0, 5.0]).unwrap();
    write_npy(&at("flat.npy"), &[4], &[0f32; 4]).unwrap();
    write_npy(&at("negative.npy"), &[6], &[0i64, 1, 2, 0, -1, 2]).unwrap();
    write_npy(&at("few.npy"), &[5], &[0u32, 1, 2, 0, 1]).unwrap();
    write_npy(&at("part-1-of-3.npy"), &[3, 2], &[0f32; 6]).unwrap();
    write_npy(&at("part-3-of-3.npy"), &[3, 2], &[0f32; 6]).unwrap();
    put(at("one.txt"), "only\n");
    let several = |files: &[&str]| {
        let train = Files::Several(files.iter().map(|&file| file.to_owned()).collect());
        EmbeddingsConfig { train, ..parts("", "train-labels.npy") }
    };
    let cases = [
        (several(&["train.npy", "wide.npy"]), vec!["wide.npy: rows of 3 values; expected 2 as in `train.npy`"]),
        (parts("nan.npy", "train-labels.npy"), vec!["nan.npy, row 1", "NaN in column 1"]),
        (parts("flat.npy", "train-labels.npy"), vec!["flat.npy", "`[rows, width]`"]),
        (parts("train.npy", "few.npy"), vec!["few.npy: 5 labels", "6, one for each row of train.npy"]),
        (parts("train.npy", "negative.npy"), vec!["negative.npy"]),
        (parts("part-*-of-3.npy", "train-labels.npy"), vec!["part-2-of-3.npy: missing", "2 of 3 shards"]),
        (parts("none.npy", "train-labels.npy"), vec!["none.npy", "`dataset.embeddings.train`"]),
        (parts("train.npy", "none.npy"), vec!["none.npy", "`dataset.embeddings.train_labels`"]),
        (EmbeddingsConfig { test_labels: None, ..with_test() }, vec!["`dataset.embeddings.test_labels`, too"]),
        (EmbeddingsConfig { test: None, ..with_test() }, vec!["`dataset.embeddings.test`, too"]),
        (EmbeddingsConfig { test: Some(one("wide.npy")), ..with_test() }, vec!["wide.npy", "2 as in `train.npy`"]),
        (
            EmbeddingsConfig { classes: Some("one.txt".to_owned()), ..parts("train.npy", "train-labels.npy") },
            vec!["1 classes"],
        ),
    ];
    for (files, expected) in cases {
        let text = message(read(&config(folder.path(), files)), folder.path());
        expected.iter().for_each(|part| assert!(text.contains(part), "{part}: {text}"));
    }
    let neither = message(read(&DatasetConfig::named("embeddings")), folder.path());
    assert!(neither.contains("`dataset.path`") && neither.contains("`dataset.embeddings`"), "{neither}");
    let sized = DatasetConfig { size: Some(32), ..config(folder.path(), with_test()) };
    assert!(message(read(&sized), folder.path()).contains("`dataset.size` is for pictures"));
    let stranger = DatasetConfig { embeddings: Some(with_test()), ..DatasetConfig::named("digits") };
    assert!(message(read(&stranger), folder.path()).contains("`dataset.embeddings` is for `embeddings`"));
}

#[test]
fn a_folder_as_embed_writes_it_is_read_whole() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    for shard in 1..=2u32 {
        let name = |what: &str| at(&format!("{what}-{shard}-of-2.npy"));
        write_npy(&name("embeddings"), &[3, 1], &[shard as f32; 3]).unwrap();
        write_npy(&name("labels"), &[3], &[0u32, 1, 1]).unwrap();
        write_npy(&name("splits"), &[3], &[[0u32, 0, 0], [1, 2, 2]][shard as usize - 1]).unwrap();
    }
    let config = crate::at("embeddings", folder.path());
    let set = read(&config).unwrap();
    assert_eq!((set.len(), set.official_validation(), set.official_test()), (6, 1, 2));
    assert_eq!((row(&set, 2), row(&set, 3)), (vec![1.0], vec![2.0]));
    write_npy(&at("splits-2-of-2.npy"), &[3], &[1u32, 0, 2]).unwrap();
    assert!(message(read(&config), folder.path()).contains("splits in another order"));
    fs::remove_file(at("labels-1-of-2.npy")).unwrap();
    assert!(message(read(&config), folder.path()).contains("labels-1-of-2.npy: missing"));
}

#[test]
fn variants_that_need_no_pictures_work() {
    let folder = folder();
    let config = |variant| DatasetConfig { variant: Some(variant), ..config(folder.path(), with_test()) };
    let varied = |variant| {
        let config = config(variant);
        let set = read(&config).unwrap();
        let seeds = Seeds::new(1);
        let split = Split::draw(&set, 0, None, seeds.split_stream()).unwrap();
        vary(&set, &split, &config, &Search::at("/nowhere"), &seeds).map(Option::unwrap)
    };
    let (set, split, _) = varied(VariantConfig { repeat: Some(2), ..VariantConfig::default() }).unwrap();
    assert_eq!((set.len(), split.pool.len()), (14, 12));
    assert_eq!((row(&set, 8), row(&set, 13)), (row(&set, 0), row(&set, 5)), "copies come behind the test rows");
    let (_, split, _) = varied(VariantConfig { subset: Some(3), ..VariantConfig::default() }).unwrap();
    assert_eq!(split.pool.len(), 3);
    let noisy = VariantConfig { repeat: Some(2), repeat_noise: 0.1, ..VariantConfig::default() };
    assert!(message(varied(noisy), folder.path()).contains("`repeat_noise` are for pictures"));
}
