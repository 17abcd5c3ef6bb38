//! Training a model.

use std::ops::Range;
use std::time::Instant;

use querist_core::config::EnsembleConfig;
use querist_core::fitted::EpochRecord;
use querist_core::progress::{Phase, Progress};
use querist_core::{Label, LearnError, Round, SampleId, Seeds, Synthetic};
use querist_protocol::abi;
use querist_protocol::philox::Stream;
use querist_torchx::random;
use tch::{Kind, Reduction, TchError, Tensor};

use crate::adversary::{Adversary, Source};
use crate::augment::Augmenter;
use crate::fault::{Doing, config};
use crate::hooks::{self, Live, Step};
use crate::images::ImageStore;
use crate::layer::Mode;
use crate::model::Model;
use crate::optimiser::Optimiser;
use crate::parameters::values;
use crate::plan::Plan;
use crate::schedule::rate;

const DOING: &str = "training";

/// The training of one round.
pub(crate) struct Trainer<'a> {
    pub(crate) images: &'a ImageStore,
    pub(crate) plan: &'a Plan,
    pub(crate) seeds: &'a Seeds,
    pub(crate) round: Round,
    pub(crate) labelled: &'a [(SampleId, Label)],
    /// Images that strategies made, which are trained on beside them.
    pub(crate) synthetic: &'a [Synthetic],
    /// Unlabelled samples, which may set the length of an epoch.
    pub(crate) pool: &'a [SampleId],
    /// Whether adversarial images take part, and how.
    pub(crate) ensemble: Option<&'a EnsembleConfig>,
    /// The body that a fresh model starts from, where there is one.
    pub(crate) pretrained: Option<&'a Model>,
}

impl Trainer<'_> {
    /// The model before its first step: with fresh weights, or with those of the round before.
    pub(crate) fn build(&self, before: Option<&Model>) -> Result<Model, LearnError> {
        self.check_size()?;
        let warm = self.plan.starts_warm(self.round, before.is_some())?;
        let round = self.plan.weights_round(self.round);
        random::seed(self.seeds.model_stream("weights", round).next_bits()).doing("seeding the weights")?;
        let model = self.plan.architecture.build(self.images.device())?;
        if let Some(pretrained) = self.pretrained {
            model.parameters().copy_body_from(pretrained.parameters()).doing("copying pretrained weights")?;
        }
        if let Some(before) = before.filter(|_| warm) {
            model.parameters().copy_from(before.parameters()).doing("copying the weights of the round before")?;
        }
        Ok(model)
    }

    /// Steps of an epoch.
    pub(crate) fn steps(&self) -> usize {
        hooks::steps(self.plan, self.minibatches().len(), self.pool.len())
    }

    /// Trains the model on the labelled samples and synthetic images, with the strategy's part where it has one.
    pub(crate) fn train<'l>(
        &'l self,
        model: &'l Model,
        mut live: Option<Live<'l>>,
        progress: &dyn Progress,
    ) -> Result<Vec<EpochRecord>, LearnError> {
        let recipe = &self.plan.recipe;
        if let Some(live) = &mut live {
            live.train_begin()?;
        }
        random::seed(self.seeds.model_stream("dropout", self.round).next_bits()).doing("seeding dropout")?;
        let mut fit = Fit {
            trainer: self,
            data: LabelledSet::new(self.images, self.labelled, self.synthetic)?,
            minibatches: cycled(&self.minibatches(), self.steps()),
            augmenter: Augmenter::new(&recipe.augment, self.images.shape(), self.images.device()).doing(DOING)?,
            order: self.seeds.model_stream("order", self.round),
            augment: self.seeds.model_stream("augment", self.round),
            optimiser: Optimiser::new(recipe, model.parameters().weights()).doing("building the optimiser")?,
            model,
            live,
            adversary: self.adversary()?,
            step: 0,
        };
        let epochs = (0..recipe.epochs).map(|epoch| fit.epoch(epoch, progress)).collect::<Result<Vec<_>, _>>()?;
        // The losses show what the steps before them did; only the weights show the last one.
        if !model.parameters().are_finite().doing(DOING)? {
            return Err(LearnError::Diverged { epoch: recipe.epochs.saturating_sub(1), loss: f64::NAN });
        }
        if let Some(live) = &mut fit.live {
            live.train_end()?;
        }
        Ok(epochs)
    }

    fn adversary(&self) -> Result<Option<Adversary<'_>>, LearnError> {
        let Some(config) = self.ensemble else { return Ok(None) };
        let Plan { recipe, architecture, .. } = self.plan;
        let (images, pool, seeds, round) = (self.images, self.pool, self.seeds, self.round);
        let smallest = architecture.smallest_minibatch();
        Adversary::new(config, Source { images, pool, recipe, seeds, round, smallest })
    }

    /// Images of one pass.
    fn len(&self) -> usize {
        self.labelled.len() + self.synthetic.len()
    }

    /// Minibatches of one pass over labelled samples and synthetic images.
    fn minibatches(&self) -> Vec<Range<usize>> {
        let Plan { recipe, architecture, .. } = self.plan;
        minibatches(self.len(), recipe.minibatch, architecture.smallest_minibatch())
    }

    fn check_size(&self) -> Result<(), LearnError> {
        let (samples, smallest) = (self.labelled.len(), self.plan.architecture.smallest_minibatch());
        if samples >= smallest.max(1) {
            return Ok(());
        }
        let name = self.plan.architecture.label();
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

/// The first `steps` minibatches of pass after pass, at positions that go on from one pass to the next.
fn cycled(pass: &[Range<usize>], steps: usize) -> Vec<Range<usize>> {
    let samples = pass.last().map_or(0, |range| range.end);
    (0..steps)
        .map(|step| {
            let (passes, range) = (step / pass.len(), &pass[step % pass.len()]);
            range.start + passes * samples..range.end + passes * samples
        })
        .collect()
}

/// The labelled set on the device, ids and labels both `i64 [samples]`; synthetic images go on after its last sample.
struct LabelledSet {
    ids: Tensor,
    labels: Tensor,
    /// `f32 [synthetic, channels, height, width]`, where there are any.
    synthetic: Option<Tensor>,
    len: usize,
}

impl LabelledSet {
    fn new(images: &ImageStore, labelled: &[(SampleId, Label)], synthetic: &[Synthetic]) -> Result<Self, LearnError> {
        let all = labelled.iter().map(|(_, label)| label).chain(synthetic.iter().map(|image| &image.label));
        let labels: Vec<i64> = all.map(|label| i64::from(label.0)).collect();
        let ids = images.index(labelled.iter().map(|&(sample, _)| sample))?;
        let on_device = |tensor: Result<Tensor, TchError>| tensor.and_then(|t| t.f_to_device(images.device()));
        let first = images.first_synthetic();
        let made = (first..first + synthetic.len() as i64).collect::<Vec<_>>();
        Ok(Self {
            ids: on_device(Tensor::f_from_slice(&made)).and_then(|made| Tensor::f_cat(&[ids, made], 0)).doing(DOING)?,
            labels: on_device(Tensor::f_from_slice(&labels)).doing(DOING)?,
            synthetic: images.upload_synthetic(synthetic)?,
            len: labels.len(),
        })
    }
}

/// One run of training.
struct Fit<'a> {
    trainer: &'a Trainer<'a>,
    model: &'a Model,
    live: Option<Live<'a>>,
    adversary: Option<Adversary<'a>>,
    optimiser: Optimiser,
    data: LabelledSet,
    /// Of one epoch, which may go over the labelled set more than once.
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
        let recipe = &self.trainer.plan.recipe;
        if let Some(live) = &mut self.live {
            live.epoch_begin(epoch)?;
        }
        let mut state = self.draw_epoch().doing(DOING)?;
        let steps = self.minibatches.len() * recipe.epochs;
        let mut lr = 0.0;
        for at in 0..self.minibatches.len() {
            progress.report(Phase::Fit, self.step as u64, steps as u64)?;
            lr = rate(recipe, self.step, self.minibatches.len());
            self.minibatch(epoch, at, &mut state)?;
            self.optimiser.step(self.model.parameters().weights(), lr).doing(DOING)?;
            self.step += 1;
            if let Some(live) = &mut self.live {
                live.batch_step(epoch, at)?;
            }
        }
        progress.report(Phase::Fit, self.step as u64, steps as u64)?;
        let losses = values(&state.losses)?;
        let extra_loss = self.extra_loss(epoch, &losses)?;
        let (loss, accuracy) = self.figures(&state, &losses)?;
        if !loss.is_finite() {
            return Err(LearnError::Diverged { epoch, loss });
        }
        if let Some(live) = &mut self.live {
            live.epoch_end(epoch, &abi::EpochFigures { loss, accuracy, lr })?;
        }
        Ok(EpochRecord { epoch, loss, accuracy, extra_loss, lr, seconds: clock.elapsed().as_secs_f64() })
    }

    /// Mean of what the strategy added to the loss. Reads the device.
    ///
    /// A value that is not finite is the strategy's fault if the task's own loss was finite until then.
    fn extra_loss(&self, epoch: usize, losses: &[f32]) -> Result<Option<f64>, LearnError> {
        let Some(live) = &self.live else { return Ok(None) };
        let Some(extras) = live.extras()? else { return Ok(None) };
        let pairs = losses.iter().zip(&extras).enumerate();
        if let Some((step, (loss, extra))) = pairs.into_iter().find(|(_, (l, x))| !l.is_finite() || !x.is_finite())
            && loss.is_finite()
        {
            return Err(live.not_finite(epoch, step, *extra));
        }
        Ok(Some(extras.iter().map(|&extra| f64::from(extra)).sum::<f64>() / extras.len() as f64))
    }

    /// Draws the order and the augmentations of an epoch and sends them in one go.
    fn draw_epoch(&mut self) -> Result<Epoch, TchError> {
        let device = self.trainer.images.device();
        let samples = self.samples();
        let mut order: Vec<i64> = Vec::with_capacity(samples);
        while order.len() < samples {
            let mut pass: Vec<i64> = (0..self.data.len as i64).collect();
            self.order.shuffle(&mut pass);
            pass.truncate(samples - order.len());
            order.append(&mut pass);
        }
        let order = Tensor::f_from_slice(&order)?.f_to_device(device)?;
        let moves = match &self.augmenter {
            Some(augmenter) => Some(augmenter.draw(&mut self.augment, samples)?),
            None => None,
        };
        Ok(Epoch {
            ids: self.data.ids.f_index_select(0, &order)?,
            labels: self.data.labels.f_index_select(0, &order)?,
            moves,
            losses: Tensor::f_zeros([self.minibatches.len() as i64], (Kind::Float, device))?,
            predictions: Tensor::f_zeros([samples as i64], (Kind::Int64, device))?,
        })
    }

    /// Samples of an epoch.
    fn samples(&self) -> usize {
        self.minibatches.last().map_or(0, |range| range.end)
    }

    /// One forward and backward pass; leaves the gradients in the weights.
    fn minibatch(&mut self, number: usize, at: usize, epoch: &mut Epoch) -> Result<(), LearnError> {
        let (images, labels) = self.inputs(at, epoch).doing(DOING)?;
        let images = match self.adversary.as_ref().is_some_and(Adversary::differentiates_images) {
            true => images.f_set_requires_grad(true).doing(DOING)?,
            false => images,
        };
        let stages = self.live.as_ref().is_some_and(Live::stage_maps);
        let out = self.model.forward(&images, Mode::Train, stages).doing(DOING)?;
        let loss = out.logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, 0.0).doing(DOING)?;
        let step = Step { epoch: number, step: at, images: &images, labels: &labels, out: &out, loss: &loss };
        let changed = match &mut self.live {
            Some(live) => live.loss(&step)?,
            None => None,
        };
        match (&changed, &self.live) {
            (Some(total), Some(live)) => {
                total.f_backward().map_err(|error| live.backward_failed(number, at, &error))?;
            }
            _ => match &mut self.adversary {
                None => loss.f_backward().doing(DOING)?,
                Some(adversary) => {
                    let extra = adversary.loss(self.model, &images, &labels, &loss)?;
                    loss.f_add(&extra).and_then(|total| total.f_backward()).doing(DOING)?;
                }
            },
        }
        self.note(at, epoch, &loss, &out.logits).doing(DOING)
    }

    /// Network inputs and labels of a minibatch.
    fn inputs(&self, at: usize, epoch: &Epoch) -> Result<(Tensor, Tensor), TchError> {
        let (start, len) = (self.minibatches[at].start as i64, self.minibatches[at].len() as i64);
        let images = self.trainer.images;
        let mut bytes = images.values(&epoch.ids.f_narrow(0, start, len)?, self.data.synthetic.as_ref())?;
        if let (Some(augmenter), Some(moves)) = (&self.augmenter, &epoch.moves) {
            bytes = augmenter.apply(&bytes, &moves.f_narrow(1, start, len)?)?;
        }
        Ok((images.normalise(&bytes)?, epoch.labels.f_narrow(0, start, len)?))
    }

    /// Keeps a minibatch's figures on the device.
    fn note(&self, at: usize, epoch: &mut Epoch, loss: &Tensor, logits: &Tensor) -> Result<(), TchError> {
        let (start, len) = (self.minibatches[at].start as i64, self.minibatches[at].len() as i64);
        let _no_grad = tch::no_grad_guard();
        epoch.losses.f_select(0, at as i64)?.f_copy_(loss)?;
        epoch.predictions.f_narrow(0, start, len)?.f_copy_(&logits.f_argmax(1, false)?)
    }

    /// Mean loss and share of right predictions over the samples of an epoch. Reads the device.
    fn figures(&self, epoch: &Epoch, losses: &[f32]) -> Result<(f64, f64), LearnError> {
        let total: f64 =
            losses.iter().zip(&self.minibatches).map(|(&l, range)| f64::from(l) * range.len() as f64).sum();
        let right = epoch
            .predictions
            .f_eq_tensor(&epoch.labels)
            .and_then(|hits| hits.f_sum(Kind::Int64)?.f_int64_value(&[]))
            .doing(DOING)?;
        let samples = self.samples() as f64;
        Ok((total / samples, right as f64 / samples))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_follow_each_other() {
        let cycle =
            |steps| cycled(&minibatches(5, 2, 1), steps).into_iter().map(|r| (r.start, r.end)).collect::<Vec<_>>();
        assert_eq!(cycle(3), [(0, 2), (2, 4), (4, 5)]);
        assert_eq!(cycle(5), [(0, 2), (2, 4), (4, 5), (5, 7), (7, 9)]);
    }

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
