//! A strategy's part in training.

use querist_core::QueryError;
use querist_core::{HooksPresent, LearnError, ServiceScope, TrainingHooks};
use querist_protocol::{UnlabelledStream, abi};
use tch::{Kind, Reduction, TchError, Tensor};

use crate::fault::{Doing, reason};
use crate::images::ImageStore;
use crate::model::Forward;
use crate::parameters::values;
use crate::plan::Plan;
use crate::services::{Services, array, lend, none, taken};
use crate::stream::{Loader, Order, Turns};

const DOING: &str = "training with the strategy's part";

/// A strategy that takes part in the training of a round.
pub(crate) struct Live<'a> {
    hooks: &'a mut dyn TrainingHooks,
    present: HooksPresent,
    services: &'a Services<'a>,
    stage_maps: bool,
    sample_losses: bool,
    unlabelled: Option<Beside<'a>>,
    /// What the strategy added in this epoch, `f32 [steps]`, from the first time it adds something.
    extras: Option<Tensor>,
    /// Steps of an epoch.
    steps: usize,
}

/// The pool's images beside each minibatch.
struct Beside<'a> {
    images: &'a ImageStore,
    scope: ServiceScope<'a>,
    size: Option<usize>,
    order: Order,
    loader: Loader,
}

/// One minibatch of the task, after its forward pass.
pub(crate) struct Step<'a> {
    pub(crate) epoch: usize,
    pub(crate) step: usize,
    pub(crate) images: &'a Tensor,
    pub(crate) labels: &'a Tensor,
    pub(crate) out: &'a Forward,
    /// Mean cross-entropy.
    pub(crate) loss: &'a Tensor,
}

impl<'a> Live<'a> {
    pub(crate) fn new(
        hooks: &'a mut dyn TrainingHooks,
        services: &'a Services<'a>,
        plan: &Plan,
        images: &'a ImageStore,
        scope: ServiceScope<'a>,
        steps: usize,
    ) -> Result<Self, LearnError> {
        let unlabelled = match plan.unlabelled.filter(|_| !scope.pool.is_empty()) {
            Some(stream) => Some(Beside::new(stream, plan, images, scope).doing(DOING)?),
            None => None,
        };
        Ok(Self {
            present: hooks.present(),
            hooks,
            services,
            stage_maps: plan.stage_maps,
            sample_losses: plan.sample_losses,
            unlabelled,
            extras: None,
            steps,
        })
    }

    /// Whether a forward pass should hand out stage maps.
    pub(crate) fn stage_maps(&self) -> bool {
        self.stage_maps
    }

    pub(crate) fn train_begin(&mut self) -> Result<(), QueryError> {
        if self.present.train_begin { self.hooks.train_begin(self.services) } else { Ok(()) }
    }

    pub(crate) fn epoch_begin(&mut self, epoch: usize) -> Result<(), QueryError> {
        self.extras = None;
        if self.present.epoch_begin { self.hooks.epoch_begin(self.services, number(epoch)) } else { Ok(()) }
    }

    pub(crate) fn batch_step(&mut self, epoch: usize, step: usize) -> Result<(), QueryError> {
        let (epoch, step) = (number(epoch), number(step));
        if self.present.batch_step { self.hooks.batch_step(self.services, epoch, step) } else { Ok(()) }
    }

    pub(crate) fn epoch_end(&mut self, epoch: usize, figures: &abi::EpochFigures) -> Result<(), QueryError> {
        if self.present.epoch_end { self.hooks.epoch_end(self.services, number(epoch), figures) } else { Ok(()) }
    }

    pub(crate) fn train_end(&mut self) -> Result<(), QueryError> {
        if self.present.train_end { self.hooks.train_end(self.services) } else { Ok(()) }
    }

    /// The loss to minimise where the strategy changes it; `None` where it is the task's own.
    pub(crate) fn loss(&mut self, step: &Step<'_>) -> Result<Option<Tensor>, LearnError> {
        if !self.present.batch_loss {
            return Ok(None);
        }
        let unlabelled = match &mut self.unlabelled {
            Some(beside) => Some(beside.next(step.labels.numel())?),
            None => None,
        };
        let losses = self.sample_losses.then(|| sample_losses(step)).transpose().doing(DOING)?;
        let (stages, stage_count) = array(step.out.stages.iter().map(lend));
        let minibatch = abi::Minibatch {
            epoch: number(step.epoch),
            step: number(step.step),
            images: lend(step.images),
            labels: lend(step.labels),
            logits: lend(&step.out.logits),
            embeddings: lend(&step.out.embeddings),
            losses: losses.as_ref().map_or(none(), lend),
            unlabelled: unlabelled.as_ref().map_or(none(), lend),
            stages,
            stage_count,
        };
        let Self { hooks, services, .. } = self;
        let answer = services.while_statistics_move(|| hooks.batch_loss(*services, &minibatch))?;
        // SAFETY: a tensor in an answer is given away.
        let extra = unsafe { taken(answer.extra) };
        self.total(step, extra, answer.task_scale)
    }

    /// The task's loss times `scale` plus `extra`; no operation where neither changes anything.
    fn total(&mut self, step: &Step<'_>, extra: Option<Tensor>, scale: f64) -> Result<Option<Tensor>, LearnError> {
        if !(0.0..=1.0).contains(&scale) {
            return self.broken(step, format!("scales the task's loss by {scale}, expected 0 to 1"));
        }
        let scaled = if scale == 1.0 { None } else { Some(step.loss.f_mul_scalar(scale).doing(DOING)?) };
        let Some(extra) = extra else { return Ok(scaled) };
        if let Some(wrong) = wrong_with(&extra, step.loss).doing(DOING)? {
            return self.broken(step, wrong);
        }
        self.record(&extra, step.step).doing(DOING)?;
        Ok(Some(scaled.as_ref().unwrap_or(step.loss).f_add(&extra).doing(DOING)?))
    }

    fn record(&mut self, extra: &Tensor, step: usize) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        let extras = match &mut self.extras {
            Some(extras) => extras,
            none => none.insert(Tensor::f_zeros([self.steps as i64], (Kind::Float, extra.device()))?),
        };
        extras.f_select(0, step as i64)?.f_copy_(extra).map(|_| ())
    }

    /// An error of the backward pass, which only runs differently from the task's own because of the strategy.
    pub(crate) fn backward_failed(&self, epoch: usize, step: usize, error: &TchError) -> LearnError {
        let message = format!(
            "the backward pass with its extra loss failed in epoch {epoch}, minibatch {step}: {}; an extra loss must \
             not run backward itself, nor write into the minibatch's tensors",
            reason(error)
        );
        LearnError::Strategy(self.hooks.broke_rule(message))
    }

    /// What the strategy added in each minibatch of the epoch. Reads the device.
    pub(crate) fn extras(&self) -> Result<Option<Vec<f32>>, LearnError> {
        self.extras.as_ref().map(values).transpose()
    }

    /// An extra loss that is not finite.
    pub(crate) fn not_finite(&self, epoch: usize, step: usize, value: f32) -> LearnError {
        LearnError::Strategy(
            self.hooks.broke_rule(format!("its extra loss is {value} in epoch {epoch}, minibatch {step}")),
        )
    }

    fn broken<T>(&self, step: &Step<'_>, what: String) -> Result<T, LearnError> {
        let message = format!("`batch_loss` of epoch {}, minibatch {} {what}", step.epoch, step.step);
        Err(LearnError::Strategy(self.hooks.broke_rule(message)))
    }
}

/// What makes an extra loss unusable.
fn wrong_with(extra: &Tensor, loss: &Tensor) -> Result<Option<String>, TchError> {
    if !extra.defined() {
        return Ok(Some("gives an undefined tensor as extra loss; return none instead".to_owned()));
    }
    let (size, kind, device) = (extra.size(), extra.f_kind()?, extra.device());
    Ok(if !size.is_empty() {
        Some(format!("gives an extra loss of shape {size:?}, expected a scalar of shape []"))
    } else if kind != Kind::Float {
        Some(format!("gives an extra loss of type {kind:?}, expected Float"))
    } else if device != loss.device() {
        Some(format!("gives an extra loss on {device:?}, expected {:?}", loss.device()))
    } else if !extra.requires_grad() {
        Some(
            "gives an extra loss that is on no graph, so it would change nothing; return none instead, or compute it \
             from tensors that need gradients"
                .to_owned(),
        )
    } else {
        None
    })
}

/// Cross-entropy of each sample, `f32 [n]`; apart from the task's own loss, which stays the operation it is.
fn sample_losses(step: &Step<'_>) -> Result<Tensor, TchError> {
    step.out.logits.f_cross_entropy_loss::<Tensor>(step.labels, None, Reduction::None, -100, 0.0)
}

impl<'a> Beside<'a> {
    fn new(
        stream: UnlabelledStream,
        plan: &Plan,
        images: &'a ImageStore,
        scope: ServiceScope<'a>,
    ) -> Result<Self, TchError> {
        let numbers = |kind: &str| scope.streams.stream(&format!("{kind}/beside minibatches"), scope.round);
        let turns = Turns { shuffle: true, infinite: true, drop_last: true };
        Ok(Self {
            images,
            scope,
            size: stream.minibatch.map(|size| size as usize),
            order: Order::new((0..number(scope.pool.len())).collect(), turns, numbers("order")),
            loader: Loader::new(stream.transform, &plan.recipe, images, numbers("augment"))?,
        })
    }

    /// As many images as asked for, else as are labelled; the whole pool where it is smaller.
    fn next(&mut self, labelled: usize) -> Result<Tensor, LearnError> {
        let positions = self.order.next(self.size.unwrap_or(labelled));
        self.loader.load(self.images, positions.iter().map(|&position| self.scope.pool[position as usize]))
    }
}

/// Steps of a pass over the pool.
pub(crate) fn longest(plan: &Plan, pool: usize) -> usize {
    let beside =
        plan.unlabelled.and_then(|stream| stream.minibatch).map_or(plan.recipe.minibatch, |size| size as usize);
    pool.div_ceil(beside)
}

/// A count that fits: epochs and steps are far below the bound.
fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
