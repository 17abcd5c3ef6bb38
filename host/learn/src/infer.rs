//! Predictions and embeddings in eval mode.

use querist_core::observer::{Phase, Progress};
use querist_core::{LearnError, SampleId};
use tch::{TchError, Tensor};

use crate::fault::Doing;
use crate::images::ImageStore;
use crate::layer::Mode;
use crate::model::Model;

/// Samples in one forward pass.
///
/// Fixed, because libtorch may sum in another order for another size: work shared out by whole blocks then gives the
/// same numbers as work done in one place.
pub const BLOCK: usize = 512;

/// Which outputs are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) logits: bool,
    pub(crate) embeddings: bool,
}

/// Outputs by row, in the order of the samples; empty where they were not wanted.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// `[samples, classes]`.
    pub(crate) logits: Vec<f32>,
    /// `[samples, width]`.
    pub(crate) embeddings: Vec<f32>,
}

/// One forward pass a block: no augmentation, no dropout, batch-norm with its running statistics.
pub(crate) fn predict(
    model: &Model,
    images: &ImageStore,
    samples: &[SampleId],
    wanted: Wanted,
    mut done: impl FnMut(usize) -> Result<(), LearnError>,
) -> Result<Outputs, LearnError> {
    const DOING: &str = "predicting";
    let _no_grad = tch::no_grad_guard();
    let mut outputs = Outputs::default();
    if wanted.embeddings {
        outputs.embeddings.reserve_exact(samples.len() * model.width());
    }
    for block in samples.chunks(BLOCK) {
        let ids = images.index(block.iter().copied())?;
        let embeddings = embed(model, images, &ids).doing(DOING)?;
        if wanted.embeddings {
            append(&mut outputs.embeddings, &embeddings).doing(DOING)?;
        }
        if wanted.logits {
            let start = outputs.logits.len();
            append(&mut outputs.logits, &model.classify(&embeddings, Mode::Eval).doing(DOING)?).doing(DOING)?;
            check_finite(&outputs.logits[start..], block)?;
        }
        done(block.len())?;
    }
    Ok(outputs)
}

/// Reports blocks as they are done.
pub(crate) fn reporter(
    progress: &dyn Progress,
    phase: Phase,
    total: usize,
) -> impl FnMut(usize) -> Result<(), LearnError> {
    let mut done = 0;
    move |samples| {
        done += samples;
        Ok(progress.report(phase, done as u64, total as u64)?)
    }
}

fn embed(model: &Model, images: &ImageStore, ids: &Tensor) -> Result<Tensor, TchError> {
    model.embed(&images.normalise(&images.gather(ids)?)?)
}

fn append(rows: &mut Vec<f32>, block: &Tensor) -> Result<(), TchError> {
    let start = rows.len();
    rows.resize(start + block.numel(), 0.0);
    block.f_copy_data(&mut rows[start..], block.numel())
}

fn check_finite(logits: &[f32], block: &[SampleId]) -> Result<(), LearnError> {
    match logits.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(LearnError::Backend {
            doing: "predicting",
            reason: format!(
                "a logit of sample {} is {}; the model's values are too large: lower `recipe.lr`",
                block[at * block.len() / logits.len()],
                logits[at]
            ),
        }),
    }
}
