//! Files of datasets in the forms of others: pickles, MATLAB's files, Parquet tables and shards of pictures.

use std::fs;
use std::path::Path;

use querist_core::config::DatasetConfig;
use querist_data::{Search, load};

use crate::bounded;
use crate::pictures::archive;
use crate::runs::in_memory;

/// Reads a dataset, which is refused in a few words or holds what its counts say.
fn read(name: &str, place: &Path, nothing: &Path, size: Option<u32>) {
    let path = place.to_str().map(str::to_owned);
    let config = DatasetConfig { path, size, ..DatasetConfig::named(name) };
    match load(&config, &Search::at(nothing)) {
        Ok(dataset) => {
            let images = dataset.images();
            assert_eq!(images.bytes.len(), dataset.len() * images.image_len());
            assert!(dataset.official_test() <= dataset.len() && dataset.classes() > 1);
        }
        Err(error) => bounded(&error.to_string()),
    }
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("the folder is ours");
    fs::write(path, bytes).expect("the folder is ours");
}

/// A byte that chooses whose pickles they are, then one that takes the place of all of them.
pub fn pickles(data: &[u8]) {
    let Some((&whose, file)) = data.split_first() else { return };
    let batches = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"];
    in_memory(|folder| {
        let set = folder.join("set");
        if whose % 2 == 0 {
            for part in ["train", "val", "test"] {
                put(&set, &format!("mini-imagenet-cache-{part}.pkl"), file);
            }
            return read("mini-imagenet", &set, folder, None);
        }
        batches.iter().for_each(|batch| put(&set, &format!("cifar-10-batches-py/{batch}"), file));
        read("cifar10", &set, folder, None);
    });
}

/// A MATLAB file of digits, to train on and to test on.
pub fn matlab(data: &[u8]) {
    in_memory(|folder| {
        let set = folder.join("set");
        ["train", "test"].iter().for_each(|part| put(&set, &format!("{part}_32x32.mat"), data));
        read("svhn", &set, folder, None);
    });
}

/// A Parquet table.
pub fn tables(data: &[u8]) {
    in_memory(|folder| {
        put(folder, "set/train.parquet", data);
        read("parquet", &folder.join("set"), folder, Some(4));
    });
}

/// A byte that chooses as for archives, then a shard of pictures with their labels.
pub fn shards(data: &[u8]) {
    let Some((name, bytes)) = archive(data) else { return };
    in_memory(|folder| {
        put(folder, name, &bytes);
        read("webdataset", &folder.join(name), folder, Some(4));
    });
}
