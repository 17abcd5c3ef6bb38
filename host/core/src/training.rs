//! Strategies that use images and the model, or take part in training: what learner and strategy ask of each other.
//!
//! Tensors cross as the addresses of [`abi`]; what lies behind them is for those who know libtorch. A tensor in an
//! argument is lent for the call, a tensor in a result is given away.

use std::collections::BTreeMap;

use querist_protocol::{TrainOverrides, abi};

use crate::failure::{QueryError, ServiceError};
use crate::ids::{Label, Round, SampleId};
use crate::progress::Progress;
use crate::seed::Streams;
use crate::synthetic::Handed;

/// What a strategy's services are about.
#[derive(Clone, Copy)]
pub struct ServiceScope<'a> {
    /// The round.
    pub round: Round,
    /// Unlabelled samples, ascending: the rows of the query.
    pub pool: &'a [SampleId],
    /// Labelled samples with their labels, ascending.
    pub labelled: &'a [(SampleId, Label)],
    /// Samples that were labelled at the start of the run.
    pub initial: usize,
    /// Samples to ask for; 0 where nothing is asked.
    pub batch: usize,
    /// The strategy's random numbers.
    pub streams: Streams,
}

/// What the learner does for a strategy that uses images and the model.
///
/// Nothing of it shows a label of the pool, or a picture outside pool and labelled set.
pub trait HostServices {
    /// Runs `call`, which calls plugin code, with the plugin's own random numbers, and puts back afterwards what plugin
    /// code may have moved: grad mode, generators, threads, default dtype. Says which task parameters it changed.
    ///
    /// # Errors
    /// If the task's model was changed, or the library failed. `call` has run all the same.
    fn guarded(&self, call: &mut dyn FnMut()) -> Result<(), ServiceError>;

    /// The round with its samples.
    fn scope(&self) -> ServiceScope<'_>;

    /// Facts about the task.
    fn task(&self) -> abi::Task;

    /// Opens a stream of images. `rows` are those of the pool where `spec.of` is 2; pointers in `spec` are not looked
    /// at.
    ///
    /// # Errors
    /// If a setting has no meaning or too many streams are open.
    fn open_stream(&self, spec: &abi::StreamSpec, tag: &str, rows: &[u32]) -> Result<u32, ServiceError>;

    /// The next batch; null tensors at the end.
    ///
    /// # Errors
    /// If the stream is unknown or the device fails.
    fn next_batch(&self, stream: u32) -> Result<abi::ImageBatch, ServiceError>;

    /// Closes a stream; unknown ones are ignored.
    fn close_stream(&self, stream: u32);

    /// A forward pass of the task's model.
    ///
    /// # Errors
    /// If the images do not fit, there is no such model, or the device fails.
    ///
    /// # Safety
    /// `images` is the address of a live tensor.
    unsafe fn forward(&self, images: abi::Tensor, flags: u32) -> Result<abi::Outputs, ServiceError>;

    /// Logits of embeddings.
    ///
    /// # Errors
    /// As for [`HostServices::forward`].
    ///
    /// # Safety
    /// `embeddings` is the address of a live tensor.
    unsafe fn head_forward(&self, embeddings: abi::Tensor, flags: u32) -> Result<abi::Tensor, ServiceError>;

    /// The parameters, as references to the same storage.
    ///
    /// # Errors
    /// If there is no model.
    fn parameters(&self) -> Result<Vec<abi::Tensor>, ServiceError>;

    /// Norms of per-image gradients; see [`abi::TorchApi::gradient_norms`].
    ///
    /// # Errors
    /// As for [`HostServices::forward`].
    ///
    /// # Safety
    /// `images` and `targets` are addresses of live tensors.
    unsafe fn gradient_norms(&self, images: abi::Tensor, targets: abi::Tensor) -> Result<abi::Tensor, ServiceError>;

    /// Gives a tensor back that crossed to a plugin and was not taken.
    ///
    /// # Safety
    /// `tensor` was given away by this learner, or by the plugin, and nobody else uses it.
    unsafe fn release(&self, tensor: abi::Tensor);

    /// Records a named figure of this round.
    ///
    /// # Errors
    /// If it is not finite or there are too many.
    fn log_metric(&self, name: &str, value: f64) -> Result<(), ServiceError>;

    /// The figures recorded so far.
    fn metrics(&self) -> BTreeMap<String, f64>;

    /// Hands in images to train on; see [`abi::TorchApi::add_synthetic`].
    ///
    /// # Errors
    /// If there are more than are to be picked, a row is handed in twice or is none, or the images are not what is
    /// expected; outside a query always.
    ///
    /// # Safety
    /// As for [`HostServices::forward`].
    unsafe fn add_synthetic(&self, rows: &[u32], images: abi::Tensor) -> Result<(), ServiceError>;

    /// Takes the images that were handed in so far, in their order. Their rows are rows of the query.
    fn take_synthetic(&self) -> Vec<Handed>;
}

/// What the learner asks of a strategy that takes part in training. Errors carry the strategy's identity.
///
/// The calls of one round come in this order: `plan_round`, `train_begin`, then for each epoch `epoch_begin`, for each
/// minibatch `batch_loss` and `batch_step`, `epoch_end`, then `train_end`. The query follows.
#[expect(clippy::missing_errors_doc, reason = "all fail alike: the plugin gave no answer or broke a rule")]
pub trait TrainingHooks {
    /// Which of the calls are worth making.
    fn present(&self) -> HooksPresent;

    /// What this strategy changes in the training of this round. It is begun anew, with its state of the round before.
    fn plan_round(
        &mut self,
        services: &dyn HostServices,
        state: Option<&[u8]>,
        progress: &dyn Progress,
    ) -> Result<TrainOverrides, QueryError>;

    /// The model is built.
    fn train_begin(&mut self, services: &dyn HostServices) -> Result<(), QueryError>;

    /// An epoch begins.
    fn epoch_begin(&mut self, services: &dyn HostServices, epoch: u32) -> Result<(), QueryError>;

    /// What is added to the loss of a minibatch.
    fn batch_loss(&mut self, services: &dyn HostServices, minibatch: &abi::Minibatch) -> Result<abi::Loss, QueryError>;

    /// The optimiser has stepped.
    fn batch_step(&mut self, services: &dyn HostServices, epoch: u32, step: u32) -> Result<(), QueryError>;

    /// An epoch is over.
    fn epoch_end(
        &mut self,
        services: &dyn HostServices,
        epoch: u32,
        figures: &abi::EpochFigures,
    ) -> Result<(), QueryError>;

    /// Training is over.
    fn train_end(&mut self, services: &dyn HostServices) -> Result<(), QueryError>;

    /// An error of this strategy with its identity, for what the learner finds wrong in an answer.
    fn broke_rule(&self, message: String) -> QueryError;
}

/// Which hooks a strategy has; the others are not called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named like the calls")]
pub struct HooksPresent {
    pub train_begin: bool,
    pub epoch_begin: bool,
    pub batch_loss: bool,
    pub batch_step: bool,
    pub epoch_end: bool,
    pub train_end: bool,
}
