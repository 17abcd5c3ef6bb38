//! Predictions and embeddings in eval mode.

use std::ops::Range;

use querist_core::progress::{Phase, Progress};
use querist_core::{LearnError, SampleId};
use tch::{TchError, Tensor};

use crate::fault::Doing;
use crate::images::ImageStore;
use crate::model::Model;
use crate::rows::{Rows, Scratch};

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
    pub(crate) penultimate: bool,
}

impl Wanted {
    /// Logits alone.
    pub(crate) const LOGITS: Self = Self { logits: true, embeddings: false, penultimate: false };
    /// Embeddings alone.
    pub(crate) const EMBEDDINGS: Self = Self { logits: false, embeddings: true, penultimate: false };
}

/// Outputs by row, in the order of the samples; empty where they were not wanted.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// `[samples, classes]`.
    pub(crate) logits: Rows,
    /// `[samples, width]`.
    pub(crate) embeddings: Rows,
    /// Inputs of the last layer, `[samples, width of that]`.
    pub(crate) penultimate: Rows,
}

/// One forward pass a block: no augmentation, no dropout, batch-norm with its running statistics.
pub(crate) fn predict(
    model: &Model,
    images: &ImageStore,
    samples: &[SampleId],
    wanted: Wanted,
    scratch: &Scratch,
    mut done: impl FnMut(usize) -> Result<(), LearnError>,
) -> Result<Outputs, LearnError> {
    const DOING: &str = "predicting";
    let _no_grad = tch::no_grad_guard();
    let mut outputs = Outputs::default();
    if wanted.embeddings {
        outputs.embeddings = scratch.rows(samples.len() * model.width())?;
    }
    let last_width = model.head().last_width();
    if wanted.penultimate {
        outputs.penultimate = scratch.rows(samples.len() * last_width)?;
    }
    if wanted.logits {
        outputs.logits = scratch.rows(samples.len() * model.classes())?;
    }
    for (at, block) in samples.chunks(BLOCK).enumerate() {
        let rows = at * BLOCK..at * BLOCK + block.len();
        let ids = images.index(block.iter().copied())?;
        let embeddings = embed(model, images, &ids).doing(DOING)?;
        if wanted.embeddings {
            fill(&mut outputs.embeddings, &rows, model.width(), &embeddings).doing(DOING)?;
        }
        if wanted.penultimate || wanted.logits {
            let inputs = model.penultimate(&embeddings).doing(DOING)?;
            if wanted.penultimate {
                fill(&mut outputs.penultimate, &rows, last_width, &inputs).doing(DOING)?;
            }
            if wanted.logits {
                let logits = model.head().last(&inputs).doing(DOING)?;
                check_finite(fill(&mut outputs.logits, &rows, model.classes(), &logits).doing(DOING)?, block)?;
            }
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

/// Embeddings of images in eval mode: those that are kept, where the body is the one that they are of.
pub(crate) fn embed(model: &Model, images: &ImageStore, ids: &Tensor) -> Result<Tensor, TchError> {
    match images.embedded().filter(|_| model.is_fixed()) {
        Some(embeddings) => embeddings.f_index_select(0, ids),
        None => model.embed(&images.normalise(&images.gather(ids)?)?),
    }
}

/// Puts the values of a block of rows into their place, and gives that back.
pub(crate) fn fill<'a>(
    values: &'a mut Rows,
    rows: &Range<usize>,
    width: usize,
    block: &Tensor,
) -> Result<&'a [f32], TchError> {
    let place = &mut values[rows.start * width..rows.end * width];
    block.f_copy_data(place, place.len())?;
    Ok(place)
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
