//! Asking a strategy again about the arrays that a run kept of each round.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use querist_core::{Array, Arrays, Buffer, Position, Question, SampleId, StrategyKind, Values, candidates};
use querist_files::shown;
use querist_protocol::names;
use safetensors::{Dtype, SafeTensors};

use super::picked::Picked;
use super::strategy;
use crate::plugins::{self, Means, PluginArgs};
use crate::round_files::{FEATURES, STATE};
use crate::stored_run::{StoredRound, StoredRun};

/// What is not there to be asked about, if something is not.
pub fn lacks(stored: &StoredRun) -> Option<String> {
    let header = &stored.header;
    if header.strategy.is_upper() {
        return Some("the upper baseline tries batches on labels that no round keeps".to_owned());
    }
    if header.strategy.kind == StrategyKind::NativeTorch {
        return Some("the strategy takes part in the training".to_owned());
    }
    if header.needs.iter().any(|need| need == names::HEAD) {
        return Some("the strategy asks the model's head, which is no array".to_owned());
    }
    let is_there = |round: &StoredRound| {
        round.files.names(FEATURES) && round.files.folder().join(FEATURES).symlink_metadata().is_ok()
    };
    let asks_for_some = !header.needs.is_empty();
    let missing = stored.rounds.iter().find(|round| !round.outcomes.is_empty() && asks_for_some && !is_there(round));
    missing.map(|round| format!("round {} kept no arrays; `keep.features = \"all\"` keeps them", round.record.round))
}

/// The selections, made again one after the other.
pub fn replay(stored: &StoredRun, args: &PluginArgs) -> Result<Vec<Picked>> {
    let (config, header) = (&stored.config, &stored.header);
    let means = Means { limits: &config.experiment.limits, threads: header.threads, accelerator: None, torch: None };
    let mut ready = plugins::ready(&strategy(stored), means, args, None)?;
    let mut at = Position::start(&stored.split()?.pool, &stored.initial()?)?;
    let replaces = config.experiment.budget.replace;
    let (mut state, mut all) = (None, Vec::new());
    for round in stored.rounds.iter().filter(|round| !round.outcomes.is_empty()) {
        // Batches that take the place of those before are chosen as if there were none.
        let asked = if replaces { at.partition.started_over() } else { at.partition.clone() };
        let id = &header.strategy.id;
        let rows = candidates(&asked.pool(), config.strategy.subset_size, config.seeds, id, at.round);
        let mut labelled: Vec<SampleId> = asked.labelled().into_iter().map(|(sample, _)| sample).collect();
        if header.needs.iter().any(|need| need == names::LABELLED_REJECTED) {
            labelled.extend(asked.rejected());
            labelled.sort_unstable();
        }
        let arrays = arrays(round, &rows, &labelled, header.dataset.classes.len())?;
        let question = Question::new(&arrays, round.outcomes.len())
            .in_round(at.round)
            .with_seeds(config.seeds)
            .with_state(state.as_deref());
        let answer = ready.strategy.answer(&question)?;
        let acquired = question.check(&answer.selection).with_context(|| format!("round {}", at.round))?;
        all.push(Picked {
            round: at.round.0,
            ids: acquired.ids().iter().map(|sample| sample.0).collect(),
            scores: acquired.scores().to_vec(),
            accuracy: None,
        });
        state = round.files.bytes(STATE)?;
        at.advance(&round.outcomes, replaces)?;
    }
    Ok(all)
}

/// The arrays of a round, as the run kept them.
fn arrays(round: &StoredRound, rows: &[SampleId], labelled: &[SampleId], classes: usize) -> Result<Arrays> {
    let path = round.files.folder().join(FEATURES);
    let bytes = round.files.bytes(FEATURES)?;
    let named = match &bytes {
        Some(bytes) => named(bytes).with_context(|| shown(&path).into_string())?,
        None => BTreeMap::new(),
    };
    let numbers = |samples: &[SampleId]| Buffer::from(samples.iter().map(|sample| sample.0).collect::<Vec<_>>());
    Arrays::new(numbers(rows), numbers(labelled), classes, named).with_context(|| shown(&path).into_string())
}

/// The arrays of a safetensors file, by name.
pub fn named(bytes: &[u8]) -> Result<BTreeMap<String, Array>> {
    let tensors = SafeTensors::deserialize(bytes).context("it is no safetensors file")?;
    let array = |(name, tensor): (String, safetensors::tensor::TensorView<'_>)| {
        let (shape, data) = (tensor.shape().to_vec(), tensor.data());
        let word = |bytes: &[u8]| bytes.try_into().unwrap_or([0; 4]);
        let array = match tensor.dtype() {
            Dtype::F32 => {
                let values: Vec<f32> = data.chunks_exact(4).map(|bytes| f32::from_le_bytes(word(bytes))).collect();
                Array::f32(shape, values)?
            }
            Dtype::U32 => {
                let values: Vec<u32> = data.chunks_exact(4).map(|bytes| u32::from_le_bytes(word(bytes))).collect();
                Array::new(shape, Values::U32(values.into()))?
            }
            _ => bail!("an array is neither of single precision nor of labels"),
        };
        Ok((name, array))
    };
    tensors.tensors().into_iter().map(array).collect()
}
