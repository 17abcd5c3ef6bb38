//! Predictions and embeddings in eval mode.

use std::ops::Range;

use querist_core::progress::{Phase, Progress};
use querist_core::{LearnError, SampleId};
use tch::{TchError, Tensor};

use crate::fault::Doing;
use crate::images::ImageStore;
use crate::model::Model;
use crate::replicas::Replicas;
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
    let source = Source::of(model, images);
    let (is_embedded, width) = (source.is_embedded(), model.width());
    let work = |model: &Model, inputs: Tensor, _: Range<usize>| {
        let _no_grad = tch::no_grad_guard();
        let embeddings = embedded(model, inputs, is_embedded)?;
        let last = if wanted.penultimate || wanted.logits { Some(model.penultimate(&embeddings)?) } else { None };
        let logits = last.as_ref().filter(|_| wanted.logits).map(|inputs| model.head().last(inputs)).transpose()?;
        Ok(OfBlock { embeddings, penultimate: last, logits })
    };
    Blocks::of(model, images, samples).each(
        |ids| source.inputs(ids),
        work,
        |rows, block| {
            if wanted.embeddings {
                fill(&mut outputs.embeddings, &rows, width, &block.embeddings).doing(DOING)?;
            }
            if let Some(inputs) = block.penultimate.filter(|_| wanted.penultimate) {
                fill(&mut outputs.penultimate, &rows, last_width, &inputs).doing(DOING)?;
            }
            if let Some(logits) = block.logits {
                let classes = model.classes();
                check_finite(fill(&mut outputs.logits, &rows, classes, &logits).doing(DOING)?, &samples[rows.clone()])?;
            }
            done(rows.len())
        },
    )?;
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

/// What a block gave, on its device.
struct OfBlock {
    embeddings: Tensor,
    penultimate: Option<Tensor>,
    logits: Option<Tensor>,
}

/// Samples in blocks of a size, and the model that works on them.
pub(crate) struct Blocks<'a> {
    pub(crate) model: &'a Model,
    pub(crate) images: &'a ImageStore,
    pub(crate) samples: &'a [SampleId],
    pub(crate) size: usize,
    /// Copies of the model on other devices, where there are any.
    pub(crate) replicas: Option<&'a Replicas>,
}

impl<'a> Blocks<'a> {
    /// Blocks of the usual size, on all devices of the images.
    pub(crate) fn of(model: &'a Model, images: &'a ImageStore, samples: &'a [SampleId]) -> Self {
        Self { model, images, samples, size: BLOCK, replicas: images.replicas_of(model) }
    }

    /// Does `work` with the `inputs` of each block, whose rows it is told, and hands what comes of it to `take`, in
    /// order. Where several devices share the work, each has a block at a time; blocks of images in a file are read
    /// while the ones before them are worked on.
    pub(crate) fn each<R: Send>(
        &self,
        inputs: impl Fn(&Tensor) -> Result<Tensor, TchError>,
        work: impl Fn(&Model, Tensor, Range<usize>) -> Result<R, TchError> + Sync,
        mut take: impl FnMut(Range<usize>, R) -> Result<(), LearnError>,
    ) -> Result<(), LearnError> {
        const DOING: &str = "running the model on samples";
        let Self { model, images, samples, size, replicas } = *self;
        if let Some(replicas) = replicas {
            replicas.take_values(model).doing(DOING)?;
        }
        let at_once = replicas.map_or(1, Replicas::devices);
        let starts: Vec<usize> = (0..samples.len()).step_by(size).collect();
        let rows = |start: usize| start..samples.len().min(start + size);
        let mut waves = starts.chunks(at_once).peekable();
        while let Some(wave) = waves.next() {
            let mut given = Vec::with_capacity(wave.len());
            for &start in wave {
                let ids = images.index(samples[rows(start)].iter().copied())?;
                given.push(inputs(&ids).doing(DOING)?);
            }
            if images.is_read() {
                for &start in waves.peek().copied().unwrap_or_default() {
                    images.announce(&samples[rows(start)].iter().map(|id| id.0 as i64).collect::<Vec<_>>());
                }
            }
            let found = match replicas {
                Some(replicas) => replicas.each(model, given, |at, model, inputs| work(model, inputs, rows(wave[at]))),
                None => given.into_iter().zip(wave).map(|(inputs, &start)| work(model, inputs, rows(start))).collect(),
            };
            for (&start, found) in wave.iter().zip(found.doing(DOING)?) {
                take(rows(start), found)?;
            }
        }
        Ok(())
    }
}

/// Where the inputs of blocks come from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    images: &'a ImageStore,
    /// Embeddings that are kept.
    kept: Option<&'a Tensor>,
}

impl<'a> Source<'a> {
    /// Embeddings that are kept, where the model's body is the one that they are of; images elsewhere.
    pub(crate) fn of(model: &Model, images: &'a ImageStore) -> Self {
        Self { images, kept: images.embedded().filter(|_| model.is_fixed()) }
    }

    /// Images, whatever is kept.
    pub(crate) fn pictures(images: &'a ImageStore) -> Self {
        Self { images, kept: None }
    }

    /// Whether its inputs are embeddings.
    pub(crate) fn is_embedded(self) -> bool {
        self.kept.is_some()
    }

    /// The inputs of samples, by ids on the device.
    pub(crate) fn inputs(self, ids: &Tensor) -> Result<Tensor, TchError> {
        match self.kept {
            Some(embeddings) => embeddings.f_index_select(0, ids),
            None => network_inputs(self.images, ids),
        }
    }
}

/// Embeddings, in eval mode, of what a [`Source`] gave.
pub(crate) fn embedded(model: &Model, inputs: Tensor, is_embedded: bool) -> Result<Tensor, TchError> {
    if is_embedded { Ok(inputs) } else { model.embed(&inputs) }
}

/// Images as a model takes them, by ids on the device.
pub(crate) fn network_inputs(images: &ImageStore, ids: &Tensor) -> Result<Tensor, TchError> {
    images.normalise(&images.gather(ids)?)
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
