//! Training a model from the start.

use std::ops::Range;
use std::time::Instant;

use querist_core::config::Recipe;
use querist_core::observer::{Phase, Progress};
use querist_core::record::EpochRecord;
use querist_core::{Label, LearnError, Round, SampleId, Seeds};
use querist_protocol::philox::Stream;
use querist_torchx::random;
use tch::{Kind, Reduction, TchError, Tensor};

use crate::augment::Augmenter;
use crate::fault::{Doing, config};
use crate::images::ImageStore;
use crate::model::{Architecture, Model};
use crate::optimiser::Optimiser;
use crate::parameters::values;
use crate::schedule::rate;

const DOING: &str = "training";

/// What stays the same from round to round.
pub(crate) struct Trainer<'a> {
    pub(crate) images: &'a ImageStore,
    pub(crate) architecture: &'a Architecture,
    pub(crate) recipe: &'a Recipe,
    pub(crate) seeds: &'a Seeds,
}

impl Trainer<'_> {
    /// A model trained from fresh weights on the labelled samples.
    pub(crate) fn train(
        &self,
        round: Round,
        labelled: &[(SampleId, Label)],
        progress: &dyn Progress,
    ) -> Result<(Model, Vec<EpochRecord>), LearnError> {
        self.check_size(labelled.len())?;
        random::seed(self.seeds.model_stream("weights", round).next_bits()).doing("seeding the weights")?;
        let model = self.architecture.build(self.images.device())?;
        random::seed(self.seeds.model_stream("dropout", round).next_bits()).doing("seeding dropout")?;
        let optimiser = Optimiser::new(self.recipe, model.parameters().weights()).doing("building the optimiser")?;
        let mut fit = Fit {
            trainer: self,
            data: LabelledSet::new(self.images, labelled)?,
            minibatches: minibatches(labelled.len(), self.recipe.minibatch, self.architecture.smallest_minibatch()),
            augmenter: Augmenter::new(&self.recipe.augment, self.images.shape(), self.images.device()).doing(DOING)?,
            order: self.seeds.model_stream("order", round),
            augment: self.seeds.model_stream("augment", round),
            optimiser,
            model,
            step: 0,
        };
        let epochs = (0..self.recipe.epochs).map(|epoch| fit.epoch(epoch, progress)).collect::<Result<Vec<_>, _>>()?;
        // The losses show what the steps before them did; only the weights show the last one.
        if !fit.model.parameters().are_finite().doing(DOING)? {
            return Err(LearnError::Diverged { epoch: self.recipe.epochs.saturating_sub(1), loss: f64::NAN });
        }
        Ok((fit.model, epochs))
    }

    fn check_size(&self, samples: usize) -> Result<(), LearnError> {
        let smallest = self.architecture.smallest_minibatch();
        if samples >= smallest.max(1) {
            return Ok(());
        }
        let name = self.architecture.label();
        config(format!(
            "{samples} labelled samples, but model.name = {name} needs {smallest} or more; raise `budget.initial`{}",
            if smallest > 1 { " or choose a model without batch-norm" } else { "" }
        ))
    }
}

/// Minibatches of `size` consecutive positions, the last one short; one shorter than `smallest` joins the one before.
pub(crate) fn minibatches(samples: usize, size: usize, smallest: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> =
        (0..samples).step_by(size).map(|start| start..samples.min(start + size)).collect();
    if let [.., before, last] = ranges.as_mut_slice()
        && last.len() < smallest
    {
        before.end = samples;
        ranges.pop();
    }
    ranges
}

/// The labelled set on the device, both `i64 [samples]`.
struct LabelledSet {
    ids: Tensor,
    labels: Tensor,
    len: usize,
}

impl LabelledSet {
    fn new(images: &ImageStore, labelled: &[(SampleId, Label)]) -> Result<Self, LearnError> {
        let labels: Vec<i64> = labelled.iter().map(|(_, label)| i64::from(label.0)).collect();
        Ok(Self {
            ids: images.index(labelled.iter().map(|&(sample, _)| sample))?,
            labels: Tensor::f_from_slice(&labels).and_then(|t| t.f_to_device(images.device())).doing(DOING)?,
            len: labelled.len(),
        })
    }
}

/// One run of training.
struct Fit<'a> {
    trainer: &'a Trainer<'a>,
    model: Model,
    optimiser: Optimiser,
    data: LabelledSet,
    minibatches: Vec<Range<usize>>,
    augmenter: Option<Augmenter>,
    order: Stream,
    augment: Stream,
    step: usize,
}

/// What one epoch trains on, in the order it is drawn in, and where its figures gather; all on the device.
struct Epoch {
    ids: Tensor,
    labels: Tensor,
    /// `i64 [3, samples]`; see [`Augmenter::draw`].
    moves: Option<Tensor>,
    /// `f32 [minibatches]`: mean loss of each.
    losses: Tensor,
    /// `i64 [samples]`: predicted classes.
    predictions: Tensor,
}

impl Fit<'_> {
    fn epoch(&mut self, epoch: usize, progress: &dyn Progress) -> Result<EpochRecord, LearnError> {
        let clock = Instant::now();
        let mut state = self.draw_epoch().doing(DOING)?;
        let steps = self.minibatches.len() * self.trainer.recipe.epochs;
        let mut lr = 0.0;
        for at in 0..self.minibatches.len() {
            progress.report(Phase::Fit, self.step as u64, steps as u64)?;
            lr = rate(self.trainer.recipe, self.step, self.minibatches.len());
            self.minibatch(at, &mut state).doing(DOING)?;
            self.optimiser.step(self.model.parameters().weights(), lr).doing(DOING)?;
            self.step += 1;
        }
        progress.report(Phase::Fit, self.step as u64, steps as u64)?;
        let (loss, accuracy) = self.figures(&state)?;
        if !loss.is_finite() {
            return Err(LearnError::Diverged { epoch, loss });
        }
        Ok(EpochRecord { epoch, loss, accuracy, extra_loss: None, lr, seconds: clock.elapsed().as_secs_f64() })
    }

    /// Draws the order and the augmentations of an epoch and sends them in one go.
    fn draw_epoch(&mut self) -> Result<Epoch, TchError> {
        let device = self.trainer.images.device();
        let mut order: Vec<i64> = (0..self.data.len as i64).collect();
        self.order.shuffle(&mut order);
        let order = Tensor::f_from_slice(&order)?.f_to_device(device)?;
        let moves = match &self.augmenter {
            Some(augmenter) => Some(augmenter.draw(&mut self.augment, self.data.len)?),
            None => None,
        };
        Ok(Epoch {
            ids: self.data.ids.f_index_select(0, &order)?,
            labels: self.data.labels.f_index_select(0, &order)?,
            moves,
            losses: Tensor::f_zeros([self.minibatches.len() as i64], (Kind::Float, device))?,
            predictions: Tensor::f_zeros([self.data.len as i64], (Kind::Int64, device))?,
        })
    }

    /// One forward and backward pass; leaves the gradients in the weights.
    fn minibatch(&self, at: usize, epoch: &mut Epoch) -> Result<(), TchError> {
        let (start, len) = (self.minibatches[at].start as i64, self.minibatches[at].len() as i64);
        let images = self.trainer.images;
        let mut bytes = images.gather(&epoch.ids.f_narrow(0, start, len)?)?;
        if let (Some(augmenter), Some(moves)) = (&self.augmenter, &epoch.moves) {
            bytes = augmenter.apply(&bytes, &moves.f_narrow(1, start, len)?)?;
        }
        let labels = epoch.labels.f_narrow(0, start, len)?;
        let logits = self.model.train_logits(&images.normalise(&bytes)?)?;
        let loss = logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0)?;
        loss.f_backward()?;
        let _no_grad = tch::no_grad_guard();
        epoch.losses.f_select(0, at as i64)?.f_copy_(&loss)?;
        epoch.predictions.f_narrow(0, start, len)?.f_copy_(&logits.f_argmax(1, false)?)
    }

    /// Mean loss and share of right predictions over the samples of an epoch. Reads the device.
    fn figures(&self, epoch: &Epoch) -> Result<(f64, f64), LearnError> {
        let losses = values(&epoch.losses)?;
        let total: f64 =
            losses.iter().zip(&self.minibatches).map(|(&l, range)| f64::from(l) * range.len() as f64).sum();
        let right = epoch
            .predictions
            .f_eq_tensor(&epoch.labels)
            .and_then(|hits| hits.f_sum(Kind::Int64)?.f_int64_value(&[]))
            .doing(DOING)?;
        let samples = self.data.len as f64;
        Ok((total / samples, right as f64 / samples))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_in_one_minibatch() {
        let ends = |samples, size, smallest| {
            let ranges = minibatches(samples, size, smallest);
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start) && ranges[0].start == 0);
            ranges.into_iter().map(|range| range.end).collect::<Vec<_>>()
        };
        assert_eq!(ends(5, 2, 1), [2, 4, 5]);
        assert_eq!(ends(5, 2, 2), [2, 5]);
        assert_eq!(ends(4, 2, 2), [2, 4]);
        assert_eq!(ends(3, 64, 2), [3]);
        // A single short minibatch has none before it to join.
        assert_eq!(ends(1, 64, 2), [1]);
    }
}
