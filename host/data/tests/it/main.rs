//! Datasets and arrays through the public interface: small files made here, and real ones where they are.

mod arrays;
mod decoding;
mod embeddings;
mod folders;
mod formats;
mod hostile;
mod labelled;
mod order;
mod pictures;
mod real;
mod sets;
mod shards;

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use querist_core::config::DatasetConfig;

/// A configuration of a dataset that lies at `path`.
pub fn at(name: &str, path: &Path) -> DatasetConfig {
    DatasetConfig { path: Some(path.display().to_string()), ..DatasetConfig::named(name) }
}

/// The bytes as one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Writes a file, with the folders above it.
pub fn put(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The text of an error, with the folder of this test left out.
pub fn message<T>(result: Result<T, querist_data::DataError>, folder: &Path) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => {
            error.to_string().replace(&format!("{}/", folder.display()), "").replace(&folder.display().to_string(), ".")
        }
    }
}
