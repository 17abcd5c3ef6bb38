//! A module beside the task's model learns to predict the loss of each sample; the largest predictions are selected.
//!
//! The module looks at the model's stage maps: each is averaged over its pixels, passes a linear layer of `interm_dim`
//! units and a ReLU, and one linear layer over all of them gives the predicted loss r. Predictions are trained by pairs
//! of a minibatch, i with b - 1 - i: with l the task's loss of each sample, held fixed, and s = 1 where l_i > l_j, else
//! -1, a pair costs `max(0, margin - s (r_i - r_j))`. The mean over pairs times `weight` is added to the task's loss.
//! From epoch `epoch_loss` on the module trains on, but the model no longer feels it.
//!
//! Yoo and Kweon, "Learning Loss for Active Learning", CVPR 2019 (arXiv 1905.03677).
#![deny(missing_docs)]

use querist_sdk_torch::prelude::*;
use querist_torch_parts::LossHooks;
pub use querist_torch_parts::{LossModule, Schedule, Settings, Ties, pair_loss};

params! {
    /// Parameters of learning loss.
    pub struct LearningLossParams {
        /// How far apart the predictions of a pair should be.
        #[schemars(range(min = 0.0))]
        pub margin: f64 = 1.0,
        /// Weight of the module's loss beside the task's.
        #[schemars(range(min = 0.0))]
        pub weight: f64 = 1.0,
        /// First epoch in which the model no longer feels the module's loss. Where it is left out, 60 % of the epochs
        /// and `epochs_beyond` more.
        #[schemars(range(max = 100_000))]
        pub epoch_loss: Option<u32> = None,
        /// Epochs beyond 60 % of them for which the model feels the module's loss, where `epoch_loss` is left out.
        #[schemars(range(max = 100_000))]
        pub epochs_beyond: u32 = 0,
        /// What a pair of equal losses counts as.
        pub ties: Ties = Ties::Skip,
        /// Units of the linear layer after each stage.
        #[schemars(range(min = 1, max = 65_536))]
        pub interm_dim: u32 = 128,
        /// How many rows of the pool are looked at, drawn at random; all where it has no more.
        #[schemars(range(min = 1))]
        pub subset_size: Option<u32> = Some(10_000),
        /// Learning rate of the module's SGD.
        #[schemars(range(min = 0.0))]
        pub lr: f64 = 0.1,
        /// Momentum of the module's SGD, below 1.
        #[schemars(range(min = 0.0, max = 1.0))]
        pub momentum: f64 = 0.9,
        /// Weight decay of the module's SGD.
        #[schemars(range(min = 0.0))]
        pub weight_decay: f64 = 5e-4,
        /// Epoch from which on the module's learning rate is a tenth. 80 % of the epochs where it is left out.
        #[schemars(range(max = 100_000))]
        pub milestone: Option<u32> = None,
    }
}

impl LearningLossParams {
    /// Size and training of the module.
    pub fn module(&self) -> Settings {
        Settings { units: self.interm_dim, lr: self.lr, momentum: self.momentum, weight_decay: self.weight_decay }
    }

    /// How it learns beside the task.
    pub fn schedule(&self) -> Schedule {
        let Self { weight, epoch_loss: cut, epochs_beyond: beyond, milestone, .. } = *self;
        Schedule { weight, cut, beyond, milestone }
    }
}

impl Strategy for LearningLossParams {
    const ID: &'static str = "learning-loss";
    const SUMMARY: &'static str = "Samples with the largest loss, as predicted by a module that learns beside the task";
    const PAPER: &'static str = "Yoo and Kweon, Learning Loss for Active Learning, CVPR 2019";
    const COST: &'static str =
        "A small module in every step of training, and one pass over the subset; memory for one batch.";
    const ALIASES: &'static [&'static str] = &["learningloss", "LearningLoss", "lloss", "ll4al"];

    fn layers() -> Vec<Layer<Self>> {
        let text = "The authors' code: its comparison with `epoch_loss` is strict, and of a pair of equal losses the \
                    first counts as smaller.";
        let set = |params: &mut Self| (params.epochs_beyond, params.ties) = (1, Ties::Smaller);
        vec![
            Layer::preset("paper", "The paper's, with what it leaves open repaired: the defaults.", |_: &mut Self| ())
                .once_called("profile", "paper"),
            Layer::preset("authors-code", text, set).once_called("profile", "peer"),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::STAGE_MAPS)]
    }

    fn check(&self) -> Result<(), String> {
        match self.momentum < 1.0 {
            true => Ok(()),
            false => Err(format!("momentum is {}, expected 0 or more and below 1", self.momentum)),
        }
    }
}

/// Learning loss in one round.
pub struct LearningLoss {
    params: LearningLossParams,
    hooks: LossHooks,
}

impl TorchStrategy for LearningLoss {
    type Params = LearningLossParams;
    const HOOKS: Hooks = LossHooks::HOOKS;

    fn new(params: LearningLossParams, round: &Round, _: Option<&[u8]>) -> Result<Self> {
        let hooks = LossHooks::new(&params.module(), params.schedule(), round)?;
        Ok(Self { params, hooks })
    }

    fn plan_round(&mut self, _: &Round) -> Result<TrainOverrides> {
        Ok(self.hooks.plan_round())
    }

    fn batch_loss(&mut self, round: &Round, minibatch: &Minibatch) -> Result<Loss> {
        let Self { params, hooks } = self;
        hooks.batch_loss(round, minibatch, |predicted, losses| pair_loss(predicted, losses, params.margin, params.ties))
    }

    fn batch_step(&mut self, round: &Round, epoch: u32, _: u32) -> Result<()> {
        self.hooks.batch_step(round, epoch);
        Ok(())
    }

    fn train_end(&mut self, _: &Round) -> Result<()> {
        self.hooks.train_end();
        Ok(())
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        let module = self.hooks.trained("loss module")?;
        let _no_grad = tch::no_grad_guard();
        let rows = round.subset(self.params.subset_size)?;
        let mut predicted = Vec::with_capacity(rows.len());
        let stream = round.images(Of::Rows(&rows)).batch(256).open()?;
        while let Some(batch) = stream.next(round)? {
            let stages = round.forward(&batch.images).stages().run()?.stages;
            predicted.extend(floats(&module.predict(&stages, true)?)?);
            round.progress(predicted.len() as u64, rows.len() as u64)?;
        }
        largest(&rows, &predicted, query.wanted())
    }
}

torch_package!(LearningLoss);
