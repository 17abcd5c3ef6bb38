//! What an author implements.

use querist_protocol::abi::EpochFigures;
use querist_protocol::{Selection, TrainOverrides};
use querist_sdk::Query;
use tch::Tensor;

use crate::error::{Error, Result};
use crate::round::Round;

/// A strategy that lives through one round: its networks, its optimisers and whatever else it carries.
///
/// The calls of one round come in this order: `new`, `plan_round`, `train_begin`, then for each epoch `epoch_begin`,
/// for each minibatch `batch_loss` and `batch_step`, `epoch_end`, then `train_end`, `query` and `save_state`. A
/// strategy without hooks is made at the query. A hook is called only if [`TorchStrategy::HOOKS`] names it.
#[expect(clippy::missing_errors_doc, reason = "all alike: if the strategy has no answer")]
pub trait TorchStrategy: Sized + 'static {
    /// Its parameters, with id, needs and description.
    type Params: querist_sdk::Strategy;
    /// Which of the hooks it has.
    const HOOKS: Hooks;
    /// The parameter that most lowers the memory that it takes: named to the user where a device is full.
    const MEMORY: &'static str = "batch_size";

    /// The strategy at the start of a round. `state` is what it saved in the round before. Networks are made here or
    /// in `train_begin`.
    fn new(params: Self::Params, round: &Round, state: Option<&[u8]>) -> Result<Self>;

    /// What it changes in the training of this round. There is no model yet.
    fn plan_round(&mut self, _round: &Round) -> Result<TrainOverrides> {
        Err(unwritten("plan_round"))
    }

    /// The model is built, nothing is trained.
    fn train_begin(&mut self, _round: &Round) -> Result<()> {
        Err(unwritten("train_begin"))
    }

    /// An epoch begins; the first is 0.
    fn epoch_begin(&mut self, _round: &Round, _epoch: u32) -> Result<()> {
        Err(unwritten("epoch_begin"))
    }

    /// What is added to the loss of a minibatch, after its forward pass and before the backward pass. Networks of the
    /// strategy that the extra loss depends on receive their gradients in the same backward pass.
    fn batch_loss(&mut self, _round: &Round, _minibatch: &Minibatch) -> Result<Loss> {
        Err(unwritten("batch_loss"))
    }

    /// The host's optimiser has stepped: the place to step optimisers of the strategy's own.
    fn batch_step(&mut self, _round: &Round, _epoch: u32, _step: u32) -> Result<()> {
        Err(unwritten("batch_step"))
    }

    /// An epoch is over.
    fn epoch_end(&mut self, _round: &Round, _epoch: u32, _figures: &EpochFigures) -> Result<()> {
        Err(unwritten("epoch_end"))
    }

    /// Training is over.
    fn train_end(&mut self, _round: &Round) -> Result<()> {
        Err(unwritten("train_end"))
    }

    /// Exactly [`Query::wanted`] distinct rows of the pool, in pick order. At least one is wanted, and fewer than there
    /// are unless the strategy [ranks all](querist_sdk::Strategy::RANKS_ALL).
    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection>;

    /// What to hand back in the next round; `None` keeps nothing.
    fn save_state(&mut self, _round: &Round) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

fn unwritten(hook: &str) -> Error {
    Error::failed(format!("the strategy's HOOKS name `{hook}`, but it has none"))
}

/// Which hooks a strategy has. A hook that is not named here is never called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "named like the hooks")]
pub struct Hooks {
    pub plan_round: bool,
    pub train_begin: bool,
    pub epoch_begin: bool,
    pub batch_loss: bool,
    pub batch_step: bool,
    pub epoch_end: bool,
    pub train_end: bool,
}

impl Hooks {
    /// No hook: the strategy takes no part in training.
    pub const NONE: Self = Self {
        plan_round: false,
        train_begin: false,
        epoch_begin: false,
        batch_loss: false,
        batch_step: false,
        epoch_end: false,
        train_end: false,
    };

    /// Whether there is any.
    pub const fn any(self) -> bool {
        let Self { plan_round, train_begin, epoch_begin, batch_loss, batch_step, epoch_end, train_end } = self;
        plan_round || train_begin || epoch_begin || batch_loss || batch_step || epoch_end || train_end
    }
}

/// A training minibatch of the task, after its forward pass. Its tensors are the task's own: never write into them.
#[derive(Debug)]
pub struct Minibatch {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Minibatch of the epoch, from 0.
    pub step: u32,
    /// `f32 [n, channels, height, width]`, augmented and normalised.
    pub images: Tensor,
    /// `i64 [n]`.
    pub labels: Tensor,
    /// `f32 [n, classes]`, on the graph.
    pub logits: Tensor,
    /// `f32 [n, width]`, on the graph, before dropout.
    pub embeddings: Tensor,
    /// `f32 [n]`: cross-entropy of each sample, on the graph; where the plan asks for `sample_losses`.
    pub losses: Option<Tensor>,
    /// `f32 [m, channels, height, width]` of the pool; where the plan asks for `unlabelled` and the pool is not empty.
    pub unlabelled: Option<Tensor>,
    /// Stage maps, `f32 [n, channels, height, width]` each, on the graph; where the plan asks for `stage_maps`.
    pub stages: Vec<Tensor>,
}

/// What [`TorchStrategy::batch_loss`] answers.
#[derive(Debug)]
pub struct Loss {
    /// A scalar `f32 []` on the graph that is added to the task's loss.
    pub extra: Option<Tensor>,
    /// What the task's mean cross-entropy is multiplied with, in [0, 1].
    pub task_scale: f64,
}

impl Loss {
    /// The task's loss as it is.
    pub fn none() -> Self {
        Self { extra: None, task_scale: 1.0 }
    }

    /// The task's loss with this one added.
    pub fn extra(extra: Tensor) -> Self {
        Self { extra: Some(extra), task_scale: 1.0 }
    }
}

/// What PyTorch's own linear and convolutional layers of so many `inputs` a unit start from, weights and biases alike:
/// uniform within `1 / sqrt(inputs)`.
pub fn uniform(inputs: i64) -> tch::nn::Init {
    let bound = 1.0 / (inputs as f64).sqrt();
    tch::nn::Init::Uniform { lo: -bound, up: bound }
}

/// A linear layer that starts as PyTorch's own do.
pub fn linear(path: tch::nn::Path, inputs: i64, outputs: i64) -> tch::nn::Linear {
    let start = uniform(inputs);
    tch::nn::linear(path, inputs, outputs, tch::nn::LinearConfig { ws_init: start, bs_init: Some(start), bias: true })
}

/// Gradients of a scalar with respect to `inputs`, of their shapes; on the graph themselves if `create_graph`.
///
/// Unlike a backward pass this leaves nothing in the task's parameters, and the graph of `of` stays.
///
/// # Errors
/// If `of` does not depend on an input.
pub fn grad(of: &Tensor, inputs: &[Tensor], create_graph: bool) -> Result<Vec<Tensor>> {
    Ok(Tensor::f_run_backward(&[of], inputs, true, create_graph)?)
}
