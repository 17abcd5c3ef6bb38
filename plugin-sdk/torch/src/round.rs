//! The round at hand: facts, images, model, random numbers and reports.

use querist_protocol::philox::Stream;
use querist_protocol::{LogLevel, StreamScope, abi};
use querist_sdk::Host;
use tch::{Device, Tensor};

use crate::calls::Calls;
use crate::error::{Error, Result};
use crate::stream::{Images, Of};

/// What a strategy may know of the task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Round of the run, from 0.
    pub round: u32,
    /// Labelled samples.
    pub labelled: u32,
    /// Samples that were labelled at the start of the run.
    pub initial: u32,
    /// Unlabelled samples.
    pub pool: u32,
    /// Samples to select; 0 where nothing is queried.
    pub batch: u32,
    /// Classes.
    pub classes: u32,
    /// Channels of an image.
    pub channels: u32,
    /// Height of an image.
    pub height: u32,
    /// Width of an image.
    pub width: u32,
    /// Epochs of the task's training.
    pub epochs: u32,
    /// Labelled samples of a training minibatch.
    pub minibatch: u32,
    /// Width of an embedding.
    pub embedding: u32,
    /// The recipe's weight decay.
    pub weight_decay: f64,
    /// Where the model and all tensors are.
    pub device: Device,
    /// Channels of each stage map of the model; none where it has no stages.
    pub stage_channels: Vec<i64>,
    /// What a black pixel becomes by normalisation, channel by channel; of the first four channels.
    pub black: Vec<f32>,
    /// What a white pixel becomes.
    pub white: Vec<f32>,
}

impl Task {
    fn of(task: &abi::Task) -> Self {
        let channels = (task.channels as usize).min(abi::MAX_CHANNELS);
        let stages = (task.stages as usize).min(abi::MAX_STAGES);
        Self {
            round: task.round,
            labelled: task.labelled,
            initial: task.initial,
            pool: task.pool,
            batch: task.batch,
            classes: task.classes,
            channels: task.channels,
            height: task.height,
            width: task.width,
            epochs: task.epochs,
            minibatch: task.minibatch,
            embedding: task.embedding,
            weight_decay: task.weight_decay,
            device: usize::try_from(task.device).map_or(Device::Cpu, Device::Cuda),
            stage_channels: task.stage_channels[..stages].iter().map(|&channels| i64::from(channels)).collect(),
            black: task.black[..channels].to_vec(),
            white: task.white[..channels].to_vec(),
        }
    }
}

/// The host's side of one call: what a strategy may ask for in it.
pub struct Round<'a> {
    calls: &'a dyn Calls,
    host: Host,
    task: Task,
}

impl<'a> Round<'a> {
    /// The round as seen through these calls.
    #[doc(hidden)]
    pub fn new(calls: &'a dyn Calls, host: Host) -> Result<Self> {
        let task = Task::of(&calls.task()?);
        Ok(Self { calls, host, task })
    }

    pub(crate) fn calls(&self) -> &dyn Calls {
        self.calls
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// Facts about the task.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// A stream of images, to be set up and opened.
    pub fn images<'s>(&'s self, of: Of<'s>) -> Images<'s> {
        Images::new(self, of)
    }

    /// A forward pass of the task's model on images, `f32 [n, channels, height, width]`: in eval mode and without
    /// gradients, unless asked otherwise.
    pub fn forward<'s>(&'s self, images: &'s Tensor) -> Forward<'s> {
        Forward { round: self, images, flags: 0 }
    }

    /// Logits `f32 [n, classes]` of embeddings `f32 [n, width]`, in eval mode; on the graph if `grad`.
    ///
    /// # Errors
    /// If there is no model yet or the embeddings do not fit.
    pub fn head_forward(&self, embeddings: &Tensor, grad: bool) -> Result<Tensor> {
        let flags = if grad { abi::FORWARD_GRAD } else { 0 };
        // SAFETY: tensors of a result are given.
        unsafe { given(self.calls.head_forward(embeddings, flags)?) }
    }

    /// The model's parameters, to take gradients with respect to. They are the task's own: never write into them.
    ///
    /// # Errors
    /// If there is no model yet.
    pub fn parameters(&self) -> Result<Vec<Tensor>> {
        // SAFETY: tensors of a result are given.
        self.calls.parameters()?.into_iter().map(|tensor| unsafe { given(tensor) }).collect()
    }

    /// For each image the norm of the gradient, over all parameters, of cross-entropy with these target distributions
    /// (`f32 [n, classes]`), in eval mode: `f32 [n]`.
    ///
    /// # Errors
    /// If there is no model yet or shapes do not fit.
    pub fn gradient_norms(&self, images: &Tensor, targets: &Tensor) -> Result<Tensor> {
        // SAFETY: tensors of a result are given.
        unsafe { given(self.calls.gradient_norms(images, targets)?) }
    }

    /// The random numbers of this name: the same for the same run, strategy and round, whatever else was drawn.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn rng(&self, name: &str) -> Result<Stream> {
        let calls = self.host.calls();
        let stream = calls.stream(name, StreamScope::Round)?;
        // The generator lives here from now on, so that it outlasts the call; two draws of 53 bits make its key.
        let drawn = calls.stream_uniforms(stream, 2)?;
        calls.release(stream);
        let [high, low] = drawn[..] else { return Err(Error::failed("the host gave no random numbers")) };
        let bits = |uniform: f64| (uniform * (1u64 << 32) as f64) as u64;
        Ok(Stream::new(bits(high) << 32 | bits(low), 0))
    }

    /// `size` rows of the pool, ascending, drawn without replacement from the random numbers `subset`; all rows where
    /// `size` is none or larger. Never fewer than are to be picked.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn subset(&self, size: Option<u32>) -> Result<Vec<u32>> {
        let pool = self.task.pool;
        let mut rows: Vec<u32> = (0..pool).collect();
        let size = size.unwrap_or(pool).max(self.task.batch.min(pool));
        if size < pool {
            self.rng("subset")?.shuffle(&mut rows);
            rows.truncate(size as usize);
            rows.sort_unstable();
        }
        Ok(rows)
    }

    /// Reports that `done` of `total` steps are over. Call it at least once a second.
    ///
    /// # Errors
    /// Once the user has cancelled or time is up; pass it on.
    pub fn progress(&self, done: u64, total: u64) -> Result<()> {
        Ok(self.host.calls().progress(done, total)?)
    }

    /// Writes a line to the run's log.
    ///
    /// # Errors
    /// If the log is full.
    pub fn log(&self, level: LogLevel, message: &str) -> Result<()> {
        Ok(self.host.calls().log(level, message)?)
    }

    /// Records a named figure of this round.
    ///
    /// # Errors
    /// If it is not finite or there are too many.
    pub fn log_metric(&self, name: &str, value: f64) -> Result<()> {
        Ok(self.calls.log_metric(name, value)?)
    }

    /// Hands in images to train on from the next round on, each with the label that the oracle gives for its row:
    /// normalised `f32 [n, channels, height, width]` for n distinct rows that this query picks. The strategy needs
    /// [`names::SYNTHETIC_IMAGES`](crate::prelude::names::SYNTHETIC_IMAGES).
    ///
    /// # Errors
    /// Outside `query`; if the images have another shape, type or device, or values that are not finite; if there are
    /// more than the query is to pick.
    pub fn add_synthetic(&self, rows: &[u32], images: &Tensor) -> Result<()> {
        Ok(self.calls.add_synthetic(rows, images)?)
    }
}

/// A forward pass to be run.
#[must_use = "it is run by `run`"]
pub struct Forward<'a> {
    round: &'a Round<'a>,
    images: &'a Tensor,
    flags: u32,
}

impl Forward<'_> {
    /// As in training: dropout on, batch-norm with the batch's statistics. In `batch_loss` such a pass also moves the
    /// model's running statistics; elsewhere it leaves the model as it is.
    pub fn train(mut self) -> Self {
        self.flags |= abi::FORWARD_TRAIN;
        self
    }

    /// Recorded for gradients.
    pub fn grad(mut self) -> Self {
        self.flags |= abi::FORWARD_GRAD;
        self
    }

    /// With stage maps.
    pub fn stages(mut self) -> Self {
        self.flags |= abi::FORWARD_STAGES;
        self
    }

    /// Of the model of the round before, which `keep_previous_model` in that round's plan keeps.
    pub fn previous(mut self) -> Self {
        self.flags |= abi::FORWARD_PREVIOUS;
        self
    }

    /// Runs it.
    ///
    /// # Errors
    /// If there is no such model, the images do not fit, or the device fails.
    pub fn run(self) -> Result<Outputs> {
        let out = self.round.calls.forward(self.images, self.flags)?;
        // SAFETY: tensors of a result are given.
        unsafe {
            let stages = &out.stages[..(out.stage_count as usize).min(abi::MAX_STAGES)];
            let stages = stages.iter().map(|&map| given(map)).collect::<Result<_>>()?;
            Ok(Outputs { logits: given(out.logits)?, embeddings: given(out.embeddings)?, stages })
        }
    }
}

/// What a forward pass gives.
#[derive(Debug)]
pub struct Outputs {
    /// `f32 [n, classes]`.
    pub logits: Tensor,
    /// `f32 [n, width]`: what the head sees, before dropout.
    pub embeddings: Tensor,
    /// Outputs of the stages after their ReLU, `f32 [n, channels, height, width]` each; none unless asked for.
    pub stages: Vec<Tensor>,
}

/// Takes a tensor that was given; `None` for a null address.
///
/// # Safety
/// `tensor` is null, or was given away and is used by nobody else.
pub(crate) unsafe fn maybe_given(tensor: abi::Tensor) -> Option<Tensor> {
    // SAFETY: promised by the caller.
    (!tensor.is_null()).then(|| unsafe { Tensor::from_ptr(tensor.cast()) })
}

/// Takes a tensor that was given.
///
/// # Errors
/// If its address is null.
///
/// # Safety
/// As for [`maybe_given`].
pub(crate) unsafe fn given(tensor: abi::Tensor) -> Result<Tensor> {
    // SAFETY: promised by the caller.
    unsafe { maybe_given(tensor) }.ok_or_else(|| Error::failed("the host gave no tensor"))
}
