//! What a strategy that uses images and the model may ask for.

mod embedded;
mod figures;
mod guard;
mod passes;
mod streams;
mod tensor;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;

use querist_core::config::Recipe;
use querist_core::{Handed, HostServices, ServiceError, ServiceScope};
use querist_protocol::abi;
use querist_protocol::philox::Stream;
use querist_torchx::ambient::Ambient;
use tch::{Device, Tensor};

use crate::images::ImageStore;
use crate::model::{Architecture, Model};
pub use embedded::{EmbeddedServices, EmbeddedTask};
use streams::Streams;
use tensor::given;
pub(crate) use tensor::{array, lend, none, taken};

/// Names the plugin's random numbers while a model is trained.
const TRAINING: &str = "training";

/// Services of one round, while it trains or while it is queried.
pub(crate) struct Services<'a> {
    base: Base<'a>,
    model: Option<&'a Model>,
    previous: Option<&'a Model>,
    /// Every tensor of the model, in the order of its names.
    watched: Vec<Tensor>,
    /// Training or query, which names the plugin's random numbers of libtorch.
    part: &'static str,
    /// Whether a training pass of the model moves its running statistics: only where training itself goes on.
    statistics_move: Cell<bool>,
    streams: RefCell<Streams>,
    metrics: RefCell<BTreeMap<String, f64>>,
    /// Images to train on that were handed in.
    synthetic: RefCell<Vec<Handed>>,
    /// Where the plugin's own generators stand; `None` until they are first used.
    random: RefCell<Option<Ambient>>,
}

/// What all services of a learner share.
#[derive(Clone, Copy)]
pub(crate) struct Base<'a> {
    pub(crate) images: &'a ImageStore,
    pub(crate) architecture: &'a Architecture,
    pub(crate) recipe: &'a Recipe,
    pub(crate) scope: ServiceScope<'a>,
}

impl<'a> Services<'a> {
    /// Services of a training, before there is a model.
    pub(crate) fn of_training(base: Base<'a>) -> Self {
        Self::new(base, TRAINING, 0)
    }

    /// Services of a query.
    pub(crate) fn of_query(base: Base<'a>) -> Self {
        // A stream that a plugin kept from training must not pass for one of the query.
        Self::new(base, "query", 1 << 31)
    }

    fn new(base: Base<'a>, part: &'static str, first_stream: u32) -> Self {
        Self {
            base,
            model: None,
            previous: None,
            watched: Vec::new(),
            part,
            statistics_move: Cell::new(false),
            streams: RefCell::new(Streams::from(first_stream)),
            metrics: RefCell::default(),
            synthetic: RefCell::default(),
            random: RefCell::default(),
        }
    }

    /// The same with a model.
    pub(crate) fn with_model(mut self, model: &'a Model) -> Self {
        self.watched = model.parameters().named().map(|(_, tensor)| tensor.shallow_clone()).collect();
        self.model = Some(model);
        self
    }

    /// The same with the model of the round before.
    pub(crate) fn with_previous(mut self, previous: Option<&'a Model>) -> Self {
        self.previous = previous;
        self
    }

    /// Runs `work`, in which training passes that the plugin asks for move the model's running statistics.
    ///
    /// That is so for `batch_loss` alone: a forward pass of unlabelled images there is part of training, as in the
    /// peers' code. Everywhere else a training pass uses the statistics of its own images and leaves the model as it
    /// is.
    pub(crate) fn while_statistics_move<T>(&self, work: impl FnOnce() -> T) -> T {
        self.statistics_move.set(true);
        let result = work();
        self.statistics_move.set(false);
        result
    }

    fn device(&self) -> Device {
        self.base.images.device()
    }

    fn cuda(&self) -> Option<usize> {
        match self.device() {
            Device::Cuda(index) => Some(index),
            _ => None,
        }
    }

    fn numbers(&self, kind: &str, tag: &str) -> Stream {
        let ServiceScope { streams, round, .. } = self.base.scope;
        streams.stream(&format!("{kind}/{tag}"), round)
    }
}

impl HostServices for Services<'_> {
    fn guarded(&self, call: &mut dyn FnMut()) -> Result<(), ServiceError> {
        self.run_guarded(call)
    }

    fn scope(&self) -> ServiceScope<'_> {
        self.base.scope
    }

    fn task(&self) -> abi::Task {
        let Base { images, architecture, recipe, scope } = self.base;
        let shape = images.shape();
        let mut stage_channels = [0; abi::MAX_STAGES];
        for (to, &from) in stage_channels.iter_mut().zip(architecture.stages()) {
            *to = number(from);
        }
        let (mut black, mut white) = ([0.0; abi::MAX_CHANNELS], [0.0; abi::MAX_CHANNELS]);
        for ((black, white), &[low, high]) in black.iter_mut().zip(&mut white).zip(images.range()) {
            (*black, *white) = (low, high);
        }
        abi::Task {
            round: scope.round.0,
            labelled: number(scope.labelled.len()),
            initial: number(scope.initial),
            pool: number(scope.pool.len()),
            batch: number(scope.batch),
            classes: number(architecture.classes()),
            channels: number(shape.channels),
            height: number(shape.height),
            width: number(shape.width),
            epochs: number(recipe.epochs),
            minibatch: number(recipe.minibatch),
            embedding: number(architecture.width()),
            weight_decay: recipe.weight_decay,
            device: self.cuda().map_or(-1, |index| i32::try_from(index).unwrap_or(i32::MAX)),
            stages: number(architecture.stages().len()),
            stage_channels,
            black,
            white,
        }
    }

    fn open_stream(&self, spec: &abi::StreamSpec, tag: &str, rows: &[u32]) -> Result<u32, ServiceError> {
        self.open_images(spec, tag, rows)
    }

    fn next_batch(&self, stream: u32) -> Result<abi::ImageBatch, ServiceError> {
        self.next_images(stream)
    }

    fn close_stream(&self, stream: u32) {
        self.streams.borrow_mut().close(stream);
    }

    unsafe fn forward(&self, images: abi::Tensor, flags: u32) -> Result<abi::Outputs, ServiceError> {
        // SAFETY: promised by the caller.
        unsafe { self.run_model(images, flags) }
    }

    unsafe fn head_forward(&self, embeddings: abi::Tensor, flags: u32) -> Result<abi::Tensor, ServiceError> {
        // SAFETY: promised by the caller.
        unsafe { self.run_head(embeddings, flags) }
    }

    fn parameters(&self) -> Result<Vec<abi::Tensor>, ServiceError> {
        Ok(self.model_for(0)?.parameters().weights().iter().map(|weight| given(weight.shallow_clone())).collect())
    }

    unsafe fn gradient_norms(&self, images: abi::Tensor, targets: abi::Tensor) -> Result<abi::Tensor, ServiceError> {
        // SAFETY: promised by the caller.
        unsafe { self.norms(images, targets) }
    }

    unsafe fn release(&self, tensor: abi::Tensor) {
        // SAFETY: the caller owns it.
        drop(unsafe { taken(tensor) });
    }

    fn log_metric(&self, name: &str, value: f64) -> Result<(), ServiceError> {
        figures::take_figure(&mut self.metrics.borrow_mut(), name, value)
    }

    unsafe fn add_synthetic(&self, rows: &[u32], images: abi::Tensor) -> Result<(), ServiceError> {
        // SAFETY: promised by the caller.
        unsafe { self.take_images(rows, images) }
    }

    fn take_synthetic(&self) -> Vec<Handed> {
        self.synthetic.take()
    }

    fn metrics(&self) -> BTreeMap<String, f64> {
        self.metrics.borrow().clone()
    }
}

fn refuse<T>(reason: impl Display) -> Result<T, ServiceError> {
    Err(ServiceError(reason.to_string()))
}

/// A count that fits: sizes of images and sets are far below the bound.
fn number(n: impl TryInto<u32>) -> u32 {
    n.try_into().unwrap_or(u32::MAX)
}
