//! Arrays that do not come from the task model: fixed embeddings, and whatever else a user has of the samples.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use querist_core::config::{FixedConfig, FixedFile, FrozenModel, ModelConfig, RunConfig};
use querist_core::digest::hex;
use querist_core::progress::Progress;
use querist_core::{Dataset, FixedArray, FixedArrays, SampleId, Values};
use querist_data::arrays::{Kind, read_array};
use querist_files::Links;
use querist_protocol::names;
use sha2::{Digest, Sha256};

use crate::body::MAX_MODEL;
use crate::exit::Usage;
use crate::trainer::Trainer;

/// The arrays of a run with what identifies them.
#[derive(Default)]
pub struct Fixed {
    /// The arrays.
    pub arrays: FixedArrays,
    /// SHA-256 of the files that each comes from, in hex.
    pub digests: BTreeMap<String, String>,
}

/// Reads the arrays that a run file names; where they are of samples, every sample of `pool` must have a row.
pub fn read(
    dataset: &Dataset,
    pool: &[SampleId],
    config: &RunConfig,
    progress: &dyn Progress,
    trainer: &dyn Trainer,
) -> Result<Fixed> {
    let experiment = &config.experiment;
    let mut all = Fixed::default();
    for (name, file) in &experiment.arrays {
        all.add_file(name, &format!("arrays.\"{name}\""), file, dataset, pool)?;
    }
    match &experiment.fixed_embeddings {
        Some(FixedConfig::File(file)) => {
            all.add_file(names::FIXED_EMBEDDINGS, "fixed_embeddings", file, dataset, pool)?;
        }
        Some(FixedConfig::Frozen(FrozenModel { model, name, stem })) => {
            let said = || format!("fixed_embeddings.model = {model}");
            if name.is_in_file() {
                let message = "fixed_embeddings.name is `onnx` or `torchscript`: write the embeddings with `querist \
                               embed`, and name that file in `fixed_embeddings.file`";
                return Err(Usage(message.to_owned()).into());
            }
            let bytes = querist_files::read(Path::new(model), Links::Follow, MAX_MODEL).with_context(said)?;
            let samples: Vec<SampleId> = (0..dataset.len() as u64).map(SampleId).collect();
            let options = ModelConfig { stem: *stem, ..ModelConfig::of(*name) };
            let array =
                trainer.frozen(dataset, pool, config, (&options, &bytes), &samples, progress).with_context(said)?;
            let array = FixedArray::new(names::FIXED_EMBEDDINGS, &array, None, dataset.len(), pool);
            all.add(names::FIXED_EMBEDDINGS, array.with_context(|| model.clone())?, Sha256::new_with_prefix(&bytes));
        }
        None => {}
    }
    Ok(all)
}

impl Fixed {
    fn add(&mut self, name: &str, array: FixedArray, hash: Sha256) {
        self.arrays.insert(name.to_owned(), array);
        self.digests.insert(name.to_owned(), hex(&hash.finalize()));
    }

    /// Adds the array `name` of a file, which stands at `key` of the run file.
    fn add_file(
        &mut self,
        name: &str,
        key: &str,
        FixedFile { file, ids }: &FixedFile,
        dataset: &Dataset,
        pool: &[SampleId],
    ) -> Result<()> {
        let mut hash = Sha256::new();
        let member = name.rsplit('.').next();
        let array = read_array(Path::new(file), member, Kind::F32).with_context(|| format!("{key}.file = {file}"))?;
        digest(file, &mut hash)?;
        let numbers = |file: &str| digest(file, &mut hash).and_then(|()| read_ids(key, file));
        let ids = ids.as_deref().map(numbers).transpose()?;
        let array = FixedArray::new(name, &array, ids.as_deref(), dataset.len(), pool);
        self.add(name, array.with_context(|| file.clone())?, hash);
        Ok(())
    }
}

fn read_ids(key: &str, file: &str) -> Result<Vec<u64>> {
    let said = || format!("{key}.ids = {file}");
    let array = read_array(Path::new(file), Some("ids"), Kind::U64).with_context(said)?;
    match (array.values(), array.shape()) {
        (Values::U64(ids), [_]) => Ok(ids.to_vec()),
        (_, shape) => bail!("{} has shape {shape:?}; ids are a list", said()),
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
