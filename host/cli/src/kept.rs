//! Embeddings by bodies that no training changes, kept from run to run.
//!
//! They lie in `embeddings` in the cache folder, under a key of the weights, the network, the dataset as it was decoded
//! and split, the normalisation and the machine's way to compute ([`querist_files::kept`]).

use querist_core::KeepsEmbeddings;
use querist_files::kept::{Found, Sort, Store};
use querist_files::shown;
use sha2::{Digest, Sha256};

use crate::output;

const SORT: Sort = Sort { magic: b"querist embeds 1", ending: "embeddings", large: "mapped", most_bytes: 16 << 30 };

/// The folder of the user in which embeddings are kept.
pub struct KeptEmbeddings(Store);

impl KeptEmbeddings {
    /// `embeddings` in `$QUERIST_CACHE`, else in `querist` in the user's cache folder, where one is known.
    pub fn from_env() -> Option<Self> {
        Some(Self(Store::at(querist_files::cache_folder()?.join("embeddings"), SORT)))
    }

    fn key(of: &str) -> [u8; 32] {
        Sha256::new().chain_update(SORT.magic).chain_update(of).finalize().into()
    }
}

impl KeepsEmbeddings for KeptEmbeddings {
    fn read(&self, of: &str, values: usize) -> Option<Vec<f32>> {
        let entry = self.0.entry(Self::key(of));
        // What is not there needs no memory.
        if !entry.path().exists() {
            return None;
        }
        let mut rows = vec![0f32; values];
        match entry.read(bytemuck::cast_slice_mut(&mut rows)) {
            Found::Nothing => None,
            Found::Damaged => {
                let file = shown(&entry.path()).into_string();
                output::note(&format!("warning: {file} is damaged; the embeddings in it are computed anew"));
                None
            }
            Found::Whole => {
                output::note("embeddings of the body, which is not trained: from the cache");
                Some(rows)
            }
        }
    }

    fn write(&self, of: &str, values: &[f32]) {
        let entry = self.0.entry(Self::key(of));
        let said = match entry.write(bytemuck::cast_slice(values)) {
            Ok(true) => "kept in the cache".to_owned(),
            Ok(false) => "not kept, since there is no room in the cache".to_owned(),
            Err(error) => format!("not kept: {error}"),
        };
        output::note(&format!("embeddings of the body, which is not trained: computed, and {said}"));
    }
}
