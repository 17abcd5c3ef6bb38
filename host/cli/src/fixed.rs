//! Fixed embeddings, from a file of arrays or a frozen model.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use querist_core::config::{FixedConfig, FixedFile, FrozenModel, RunConfig};
use querist_core::progress::Progress;
use querist_core::{Dataset, FixedEmbeddings, SampleId, Values};
use querist_data::arrays::{Kind, read_array};
use querist_files::Links;
use sha2::{Digest, Sha256};

use crate::trainer::Trainer;

/// Bytes of a frozen model at most.
const MAX_MODEL: u64 = 8 << 30;

/// Fixed embeddings with what identifies them.
pub struct Fixed {
    /// The embeddings.
    pub embeddings: FixedEmbeddings,
    /// SHA-256 of the files they come from, in hex.
    pub digest: String,
}

/// Reads the embeddings that a run file names; every sample of `pool` must have a row.
pub fn read(
    source: &FixedConfig,
    dataset: &Dataset,
    pool: &[SampleId],
    config: &RunConfig,
    progress: &dyn Progress,
    trainer: &dyn Trainer,
) -> Result<Fixed> {
    let mut hash = Sha256::new();
    let samples = dataset.len();
    let embeddings = match source {
        FixedConfig::File(FixedFile { file, ids }) => {
            let array = read_array(Path::new(file), Some("fixed_embeddings"), Kind::F32)
                .with_context(|| format!("fixed_embeddings.file = {file}"))?;
            digest(file, &mut hash)?;
            let ids = ids.as_deref().map(|file| digest(file, &mut hash).and_then(|()| read_ids(file))).transpose()?;
            FixedEmbeddings::new(&array, ids.as_deref(), samples, pool).with_context(|| file.clone())?
        }
        FixedConfig::Frozen(FrozenModel { model, name }) => {
            let bytes = querist_files::read(Path::new(model), Links::Follow, MAX_MODEL);
            let bytes = bytes.with_context(|| format!("fixed_embeddings.model = {model}"))?;
            hash.update(&bytes);
            let frozen = trainer.frozen(dataset, pool, config, *name, &bytes, progress);
            let array = frozen.with_context(|| format!("fixed_embeddings.model = {model}"))?;
            FixedEmbeddings::new(&array, None, samples, pool).with_context(|| model.clone())?
        }
    };
    Ok(Fixed { embeddings, digest: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect() })
}

fn read_ids(file: &str) -> Result<Vec<u64>> {
    let array = read_array(Path::new(file), Some("ids"), Kind::U64)
        .with_context(|| format!("fixed_embeddings.ids = {file}"))?;
    match (array.values(), array.shape()) {
        (Values::U64(ids), [_]) => Ok(ids.to_vec()),
        (_, shape) => bail!("fixed_embeddings.ids = {file} has shape {shape:?}; ids are a list"),
    }
}

/// Hashes a whole file, whatever member of it is read.
fn digest(file: &str, hash: &mut Sha256) -> Result<()> {
    let whole = if Path::new(file).exists() { file } else { file.rsplit_once('#').map_or(file, |(whole, _)| whole) };
    let mut reader = querist_files::open(Path::new(whole), Links::Follow)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match reader.read(&mut block).with_context(|| whole.to_owned())? {
            0 => return Ok(()),
            read => hash.update(&block[..read]),
        }
    }
}
