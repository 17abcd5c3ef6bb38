//! A loss module in the hooks of the task's training.

use querist_sdk_torch::prelude::*;

use crate::loss_module::{LossModule, Settings};

/// How a module learns beside the task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Weight of the module's loss beside the task's.
    pub weight: f64,
    /// First epoch in which the task's model no longer feels the module's loss; 60 % of the epochs and `beyond` more
    /// where there is none.
    pub cut: Option<u32>,
    /// Epochs beyond 60 % of them.
    pub beyond: u32,
    /// Epoch from which on the module's learning rate is a tenth; 80 % of the epochs where there is none.
    pub milestone: Option<u32>,
}

impl Schedule {
    /// First epoch without the module's gradient in the model, of `epochs`: 120 of 200.
    pub fn cut(&self, epochs: u32) -> u32 {
        self.cut.unwrap_or(tenths(epochs, 6).saturating_add(self.beyond))
    }

    /// The module's learning rate in an epoch, of `epochs`, where the first one's is `lr`.
    pub fn rate(&self, lr: f64, epoch: u32, epochs: u32) -> f64 {
        if epoch < self.milestone.unwrap_or(tenths(epochs, 8)) { lr } else { 0.1 * lr }
    }
}

/// So many tenths, rounded down.
fn tenths(epochs: u32, count: u64) -> u32 {
    (u64::from(epochs) * count / 10) as u32
}

/// A module that learns from the losses of the task's samples while the task trains, and what its strategy does in the
/// hooks named as its methods.
pub struct LossHooks {
    module: LossModule,
    schedule: Schedule,
    lr: f64,
    trained: bool,
}

impl LossHooks {
    /// The hooks that it needs.
    pub const HOOKS: Hooks =
        Hooks { plan_round: true, batch_loss: true, batch_step: true, train_end: true, ..Hooks::NONE };

    /// With a module of fresh weights.
    ///
    /// # Errors
    /// As [`LossModule::new`].
    pub fn new(settings: &Settings, schedule: Schedule, round: &Round) -> Result<Self> {
        let module = LossModule::new(settings, &round.task().stage_channels, round.task().device)?;
        Ok(Self { module, schedule, lr: settings.lr, trained: false })
    }

    /// What it needs of a round's training: stage maps, and losses of single samples.
    pub fn plan_round(&self) -> TrainOverrides {
        TrainOverrides { stage_maps: true, sample_losses: true, ..TrainOverrides::default() }
    }

    /// What is added to a minibatch's loss. `loss` is given the module's predictions and the task's losses, `f32 [n]`
    /// both, and says what these predictions cost, or nothing where there is nothing to compare.
    ///
    /// # Errors
    /// As `loss`, and if the minibatch lacks what [`Self::plan_round`] asks for.
    pub fn batch_loss(
        &self,
        round: &Round,
        minibatch: &Minibatch,
        loss: impl FnOnce(&Tensor, &Tensor) -> Result<Option<Tensor>>,
    ) -> Result<Loss> {
        let is_cut = minibatch.epoch >= self.schedule.cut(round.task().epochs);
        let losses = minibatch.losses.as_ref().ok_or_else(|| Error::failed("the minibatch has no sample losses"))?;
        match loss(&self.module.predict(&minibatch.stages, is_cut)?, losses)? {
            Some(loss) => Ok(Loss::extra(loss.f_mul_scalar(self.schedule.weight)?)),
            None => Ok(Loss::none()),
        }
    }

    /// Steps the module: its gradients came with the backward pass that the task's came with.
    pub fn batch_step(&mut self, round: &Round, epoch: u32) {
        self.module.step(self.schedule.rate(self.lr, epoch, round.task().epochs));
    }

    /// Training is over.
    pub fn train_end(&mut self) {
        self.trained = true;
    }

    /// The module as training left it; `name` is what messages call it.
    ///
    /// # Errors
    /// If no training ended in this round.
    pub fn trained(&self, name: &str) -> Result<&LossModule> {
        match self.trained {
            true => Ok(&self.module),
            false => Err(Error::failed(format!(
                "the {name} was not trained: ask for a batch after training in the same round"
            ))),
        }
    }
}
