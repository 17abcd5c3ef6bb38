//! Training a model.

use std::ops::Range;
use std::time::Instant;

use querist_core::config::{EnsembleConfig, Init, Trained};
use querist_core::fitted::EpochRecord;
use querist_core::progress::{Phase, Progress};
use querist_core::{Label, LearnError, Round, SampleId, Seeds, Synthetic};
use querist_protocol::abi;
use querist_protocol::philox::Stream;
use querist_torchx::random;
use tch::{Kind, Reduction, TchError, Tensor};

use crate::adversary::{Adversary, Source};
use crate::augment::{Augmenter, Draws, Mixed};
use crate::averaging::{Average, measure_statistics};
use crate::fault::{Doing, config};
use crate::hooks::{self, Live, Step};
use crate::images::ImageStore;
use crate::labelled::LabelledSet;
use crate::layer::Mode;
use crate::minibatches::{Layout, minibatches};
use crate::model::{Forward, Model};
use crate::optimiser::{Optimiser, Stood, groups};
use crate::parameters::values;
use crate::plan::Plan;
use crate::replicas::Replicas;
use crate::schedule::rate;
use crate::watch::{EpochEnd, Watch, accuracy, looked_at};

const DOING: &str = "training";

/// The training of one round.
pub(crate) struct Trainer<'a> {
    pub(crate) images: &'a ImageStore,
    pub(crate) plan: &'a Plan,
    pub(crate) seeds: &'a Seeds,
    pub(crate) round: Round,
    pub(crate) labelled: &'a [(SampleId, Label)],
    /// The validation set, which only some recipes look at.
    pub(crate) validation: &'a [(SampleId, Label)],
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
        let goes_on = self.plan.goes_on(self.round, before.is_some())?;
        let round = self.plan.weights_round(self.round);
        let bits = self.seeds.model_stream("weights", round).next_bits();
        let seeded = || random::seed(bits).doing("seeding the weights");
        let model = self.plan.architecture.build_from(self.images.device(), seeded)?;
        if let Some(pretrained) = self.pretrained {
            model.parameters().copy_body_from(pretrained.parameters()).doing("copying pretrained weights")?;
        }
        if let Some(before) = before.filter(|_| goes_on) {
            let (to, from) = (model.parameters(), before.parameters());
            let copied = if self.plan.init == Init::Warm { to.copy_from(from) } else { to.copy_body_from(from) };
            copied.doing("copying the weights of the round before")?;
        }
        Ok(model)
    }

    /// Steps of an epoch.
    pub(crate) fn steps(&self) -> usize {
        self.layout().minibatches.len()
    }

    fn layout(&self) -> Layout {
        let Plan { recipe, architecture, epoch_length, .. } = self.plan;
        let longest = hooks::longest(self.plan, self.pool.len());
        Layout::new(recipe, self.len(), architecture.smallest_minibatch(), *epoch_length, longest)
    }

    /// Trains the model on the labelled samples and synthetic images, with the strategy's part where it has one, and
    /// with the optimiser of the round before where that goes on.
    pub(crate) fn train<'l>(
        &'l self,
        model: &'l Model,
        mut live: Option<Live<'l>>,
        stood: Stood,
        progress: &dyn Progress,
    ) -> Result<Outcome, LearnError> {
        let recipe = &self.plan.recipe;
        let validation = looked_at(recipe, self.validation)?;
        if let Some(live) = &mut live {
            live.train_begin()?;
        }
        let replicas = Replicas::new(&self.plan.architecture, self.images.others())?;
        random::seed(self.seeds.model_stream("dropout", self.round).next_bits()).doing("seeding dropout")?;
        let optimiser = Optimiser::new(recipe, groups(recipe, model.parameters())).doing("building the optimiser")?;
        let mut fit = Fit {
            trainer: self,
            data: LabelledSet::new(self.images, self.labelled, self.synthetic)?,
            layout: self.layout(),
            augmenter: Augmenter::new(&recipe.augment, self.images.shape(), self.images.device()).doing(DOING)?,
            order: self.seeds.model_stream("order", self.round),
            augment: self.seeds.model_stream("augment", self.round),
            optimiser: optimiser.standing_at(self.goes_on_from(stood)?)?,
            model,
            replicas,
            live,
            adversary: self.adversary()?,
            average: Average::new(recipe.average, recipe.epochs, model)?,
            validation,
            step: 0,
        };
        let mut watch = Watch::new(recipe);
        let mut epochs = Vec::new();
        for epoch in 0..recipe.epochs {
            let (record, end) = fit.epoch(epoch, progress)?;
            epochs.push(record);
            if fit.watched(&mut watch, end)? {
                break;
            }
        }
        fit.settle(watch)?;
        // The losses show what the steps before them did; only the weights show the last one.
        if !model.parameters().are_finite().doing(DOING)? {
            return Err(LearnError::Diverged { epoch: epochs.len().saturating_sub(1), loss: f64::NAN });
        }
        if let Some(live) = &mut fit.live {
            live.train_end()?;
        }
        Ok(Outcome { epochs, optimiser: fit.optimiser, validation: validation.len() })
    }

    /// Where the optimiser starts.
    fn goes_on_from(&self, stood: Stood) -> Result<Stood, LearnError> {
        match (self.plan.recipe.keep_optimiser && self.round.0 > 0, stood) {
            (false, _) => Ok(Stood::Nowhere),
            (true, Stood::Nowhere) => config(format!(
                "recipe.keep_optimiser goes on with the optimiser of round {}, which is not at hand: run from round 0 \
                 in one go",
                self.round.0 - 1
            )),
            (true, stood) => Ok(stood),
        }
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

/// What a training leaves behind.
pub(crate) struct Outcome {
    pub(crate) epochs: Vec<EpochRecord>,
    pub(crate) optimiser: Optimiser,
    /// Labels of the validation set that took part.
    pub(crate) validation: usize,
}

/// One run of training.
struct Fit<'a> {
    trainer: &'a Trainer<'a>,
    model: &'a Model,
    /// Copies on other devices that share the work.
    replicas: Option<Replicas>,
    live: Option<Live<'a>>,
    adversary: Option<Adversary<'a>>,
    optimiser: Optimiser,
    data: LabelledSet,
    /// Of one epoch, which may go over the labelled set more than once.
    layout: Layout,
    augmenter: Option<Augmenter>,
    order: Stream,
    augment: Stream,
    average: Option<Average>,
    /// Held-out samples that the recipe looks at after each epoch.
    validation: &'a [(SampleId, Label)],
    step: usize,
}

/// What one epoch trains on, in the order it is drawn in, and where its figures gather; all on the device.
struct Epoch {
    ids: Tensor,
    labels: Tensor,
    /// The ids again, where images are read from a file by them.
    rows: Vec<i64>,
    /// What happens to each image.
    draws: Option<Draws>,
    /// `f32 [minibatches]`: mean loss of each.
    losses: Tensor,
    /// `i64 [samples]`: predicted classes.
    predictions: Tensor,
}

/// A minibatch before its forward pass.
struct Inputs {
    /// Images, or their embeddings where those are kept.
    images: Tensor,
    labels: Tensor,
    /// With which other images and labels each was mixed.
    mixed: Option<Mixed>,
}

impl Fit<'_> {
    fn epoch(&mut self, epoch: usize, progress: &dyn Progress) -> Result<(EpochRecord, EpochEnd), LearnError> {
        let clock = Instant::now();
        let recipe = &self.trainer.plan.recipe;
        if let Some(live) = &mut self.live {
            live.epoch_begin(epoch)?;
        }
        let mut state = self.draw_epoch().doing(DOING)?;
        let steps = self.layout.minibatches.len() * recipe.epochs;
        let mut lr = 0.0;
        for at in 0..self.layout.minibatches.len() {
            progress.report(Phase::Fit, self.step as u64, steps as u64)?;
            lr = rate(recipe, self.step, self.layout.minibatches.len());
            self.minibatch(epoch, at, &mut state)?;
            self.optimiser.step(lr).doing(DOING)?;
            self.step += 1;
            if let Some(average) = &mut self.average {
                average.step()?;
            }
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
        if let Some(average) = &mut self.average {
            average.epoch(epoch)?;
        }
        let validation = self.validate(steps, progress)?;
        let summed_loss = losses.iter().map(|&loss| f64::from(loss)).sum();
        let seconds = clock.elapsed().as_secs_f64();
        let record = EpochRecord { epoch, loss, accuracy, extra_loss, validation, lr, seconds };
        Ok((record, EpochEnd { accuracy, summed_loss, validation }))
    }

    /// Accuracy on the validation set, where the recipe looks at it: of the average where there is one.
    fn validate(&mut self, steps: usize, progress: &dyn Progress) -> Result<Option<f64>, LearnError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        if let Some(average) = &mut self.average {
            average.swap()?;
        }
        let at = (Phase::Fit, self.step as u64, steps as u64);
        let found = accuracy(self.model, self.trainer.images, self.validation, progress, at)?;
        if let Some(average) = &mut self.average {
            average.swap()?;
        }
        Ok(Some(found))
    }

    /// Whether this epoch was the last. What is kept of it is the average where there is one.
    fn watched(&mut self, watch: &mut Watch, end: EpochEnd) -> Result<bool, LearnError> {
        let Some(average) = self.average.as_mut().filter(|_| end.validation.is_some()) else {
            return watch.epoch(end, self.model);
        };
        average.swap()?;
        let is_last = watch.epoch(end, self.model)?;
        average.swap()?;
        Ok(is_last)
    }

    /// Gives the model the weights that count: those of the best epoch, or their average.
    fn settle(&mut self, watch: Watch) -> Result<(), LearnError> {
        if let Some(mut average) = self.average.take() {
            average.swap()?;
            // A body that is not trained keeps its statistics, too.
            if average.wants_statistics() && self.trainer.plan.recipe.train == Trained::All {
                self.measure_statistics()?;
            }
        }
        watch.settle(self.model)
    }

    fn measure_statistics(&self) -> Result<(), LearnError> {
        let Plan { recipe, architecture, .. } = self.trainer.plan;
        let all = minibatches(self.data.len, recipe.minibatch, architecture.smallest_minibatch());
        let images = self.trainer.images;
        let inputs = all.into_iter().map(|range| {
            let ids = self.data.ids.f_narrow(0, range.start as i64, range.len() as i64)?;
            images.normalise(&images.values(&ids, None, self.data.synthetic.as_ref())?)
        });
        measure_statistics(self.model, inputs)
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
            pass.truncate(self.layout.pass.min(samples - order.len()));
            order.append(&mut pass);
        }
        let rows = self.data.rows_at(&order);
        let order = Tensor::f_from_slice(&order)?.f_to_device(device)?;
        let draws = match &self.augmenter {
            Some(augmenter) => {
                let mut draws = augmenter.draw(&mut self.augment, samples)?;
                draws.share_out(&self.layout.minibatches, device)?;
                Some(draws)
            }
            None => None,
        };
        Ok(Epoch {
            ids: self.data.ids.f_index_select(0, &order)?,
            labels: self.data.labels.f_index_select(0, &order)?,
            rows,
            draws,
            losses: Tensor::f_zeros([self.layout.minibatches.len() as i64], (Kind::Float, device))?,
            predictions: Tensor::f_zeros([samples as i64], (Kind::Int64, device))?,
        })
    }

    /// Samples of an epoch.
    fn samples(&self) -> usize {
        self.layout.samples()
    }

    /// One forward and backward pass; leaves the gradients in the weights.
    fn minibatch(&mut self, number: usize, at: usize, epoch: &mut Epoch) -> Result<(), LearnError> {
        let Inputs { images, labels, mixed } = self.inputs(at, epoch).doing(DOING)?;
        let images = match self.adversary.as_ref().is_some_and(Adversary::differentiates_images) {
            true => images.f_set_requires_grad(true).doing(DOING)?,
            false => images,
        };
        let stages = self.live.as_ref().is_some_and(Live::stage_maps);
        let out = self.forward(&images, stages).doing(DOING)?;
        let smoothing = self.trainer.plan.recipe.label_smoothing;
        let loss = match &mixed {
            None => out.logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, smoothing),
            Some(mixed) => mixed.loss(&out.logits, &labels, smoothing),
        };
        let loss = loss.doing(DOING)?;
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
        if let Some(replicas) = &self.replicas {
            replicas.collect_gradients(self.model)?;
        }
        self.note(at, epoch, &loss, &out.logits).doing(DOING)
    }

    /// Embeddings of all images that this training starts from, in the place of images; none where it looks at those.
    fn embedded(&self) -> Option<&Tensor> {
        let looks = self.live.is_some() || self.adversary.is_some() || self.augmenter.is_some();
        let is_plain = !looks && self.data.synthetic.is_none() && self.model.is_fixed();
        self.trainer.images.embedded().filter(|_| is_plain)
    }

    /// A training pass: of the whole model, or of the head on a body in eval mode.
    fn forward(&self, images: &Tensor, stages: bool) -> Result<Forward, TchError> {
        if self.trainer.plan.recipe.train == Trained::All {
            return match &self.replicas {
                Some(replicas) => replicas.forward(self.model, images, Mode::Train, stages),
                None => self.model.forward(images, Mode::Train, stages),
            };
        }
        let embeddings = match self.embedded() {
            Some(_) => images.shallow_clone(),
            None => tch::no_grad(|| self.model.embed(images))?,
        };
        let logits = self.model.classify(&embeddings, Mode::Train)?;
        Ok(Forward { logits, embeddings, stages: Vec::new() })
    }

    /// Network inputs and labels of a minibatch.
    fn inputs(&self, at: usize, epoch: &Epoch) -> Result<Inputs, TchError> {
        let range: &Range<usize> = &self.layout.minibatches[at];
        let (start, len) = (range.start as i64, range.len() as i64);
        let images = self.trainer.images;
        if let Some(embeddings) = self.embedded() {
            let images = embeddings.f_index_select(0, &epoch.ids.f_narrow(0, start, len)?)?;
            return Ok(Inputs { images, labels: epoch.labels.f_narrow(0, start, len)?, mixed: None });
        }
        let ids = epoch.ids.f_narrow(0, start, len)?;
        let rows = epoch.rows.get(range.clone());
        let mut values = images.values(&ids, rows, self.data.synthetic.as_ref())?;
        if let Some(next) = self.layout.minibatches.get(at + 1).and_then(|next| epoch.rows.get(next.clone())) {
            images.announce(next);
        }
        let mut mixed = None;
        if let (Some(augmenter), Some(draws)) = (&self.augmenter, &epoch.draws) {
            values = augmenter.apply(&values, draws, range.clone())?;
            mixed = draws.mixed(range.clone())?;
        }
        let labels = epoch.labels.f_narrow(0, start, len)?;
        let images = images.normalise(&values)?;
        let images = match &mixed {
            Some(mixed) => mixed.images(&images)?,
            None => images,
        };
        Ok(Inputs { images, labels, mixed })
    }

    /// Keeps a minibatch's figures on the device.
    fn note(&self, at: usize, epoch: &mut Epoch, loss: &Tensor, logits: &Tensor) -> Result<(), TchError> {
        let (start, len) = (self.layout.minibatches[at].start as i64, self.layout.minibatches[at].len() as i64);
        let _no_grad = tch::no_grad_guard();
        epoch.losses.f_select(0, at as i64)?.f_copy_(loss)?;
        epoch.predictions.f_narrow(0, start, len)?.f_copy_(&logits.f_argmax(1, false)?)
    }

    /// Mean loss and share of right predictions over the samples of an epoch. Reads the device.
    fn figures(&self, epoch: &Epoch, losses: &[f32]) -> Result<(f64, f64), LearnError> {
        let total: f64 =
            losses.iter().zip(&self.layout.minibatches).map(|(&l, range)| f64::from(l) * range.len() as f64).sum();
        let right = epoch
            .predictions
            .f_eq_tensor(&epoch.labels)
            .and_then(|hits| hits.f_sum(Kind::Int64)?.f_int64_value(&[]))
            .doing(DOING)?;
        let samples = self.samples() as f64;
        Ok((total / samples, right as f64 / samples))
    }
}
