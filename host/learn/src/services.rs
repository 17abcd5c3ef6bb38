//! What a strategy that uses images and the model may ask for.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::mem::ManuallyDrop;

use querist_core::config::Recipe;
use querist_core::{Handed, HostServices, SampleId, ServiceError, ServiceScope};
use querist_protocol::philox::Stream;
use querist_protocol::{Shown, Transform, abi, is_showable};
use querist_torchx::ambient::{Ambient, GradMode, Marks};
use querist_torchx::optimiser::clear_gradients;
use querist_torchx::random;
use tch::{Device, Kind, Tensor};

use crate::gradient;
use crate::images::ImageStore;
use crate::layer::Mode;
use crate::model::{Architecture, Model};
use crate::parameters;
use crate::plan::LARGEST_MINIBATCH;
use crate::stream::{Loader, Order, Turns};

/// Streams that may be open at once.
const MOST_STREAMS: usize = 64;
/// Figures of a round.
const MOST_METRICS: usize = 256;
/// Bytes of a figure's name.
const LONGEST_NAME: usize = 64;

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

struct Streams {
    open: BTreeMap<u32, ImageStream>,
    next: u32,
}

/// Which set a stream goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Labelled,
    Pool,
}

struct ImageStream {
    of: Of,
    batch: usize,
    order: Order,
    loader: Loader,
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
            streams: RefCell::new(Streams { open: BTreeMap::new(), next: first_stream }),
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

    /// Puts the plugin's own generators in place of the host's.
    fn enter_random(&self) -> Result<(), ServiceError> {
        match &*self.random.borrow() {
            Some(own) => own.restore_random(),
            None => random::seed(self.numbers("torch", self.part).next_bits()),
        }
        .or_else(refuse)
    }

    fn marks(&self) -> Result<Marks, ServiceError> {
        Marks::of(&self.watched).or_else(refuse)
    }

    /// The model's tensors at these positions, for people.
    fn names(&self, positions: &[usize]) -> String {
        let all: Vec<&str> = self.model.map_or(Vec::new(), |model| model.parameters().named().map(|n| n.0).collect());
        let named: Vec<String> = positions.iter().take(3).map(|&at| format!("`{}`", all[at])).collect();
        match positions.len().saturating_sub(3) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }

    fn model_for(&self, flags: u32) -> Result<&'a Model, ServiceError> {
        let known = abi::FORWARD_TRAIN | abi::FORWARD_GRAD | abi::FORWARD_STAGES | abi::FORWARD_PREVIOUS;
        if flags & !known != 0 {
            return refuse(format!("flags {flags:#x} of a forward pass have no meaning beyond {known:#x}"));
        }
        let previous = flags & abi::FORWARD_PREVIOUS != 0;
        match (previous, self.model, self.previous) {
            (false, Some(model), _) | (true, _, Some(model)) => Ok(model),
            (false, None, _) => refuse("there is no model yet: it is built after `plan_round`"),
            (true, _, None) => refuse(
                "no model of the round before is at hand: set `keep_previous_model` in the plan of every round, and do \
                 without in round 0",
            ),
        }
    }

    /// How a pass with these flags treats dropout and batch-norm.
    fn mode(&self, flags: u32) -> Mode {
        let training = flags & abi::FORWARD_TRAIN != 0;
        let own = flags & abi::FORWARD_PREVIOUS == 0;
        match (training, own && self.statistics_move.get()) {
            (false, _) => Mode::Eval,
            (true, true) => Mode::Train,
            (true, false) => Mode::TrainStill,
        }
    }

    /// Checks that a tensor of the plugin has this shape (`-1` is any size), is of floats and on the model's device.
    fn check(&self, what: &str, tensor: &Tensor, shape: &[i64]) -> Result<(), ServiceError> {
        let size = tensor.size();
        let fits = size.len() == shape.len() && size.iter().zip(shape).all(|(n, want)| *want == -1 || n == want);
        if !fits {
            return refuse(format!("{what} have shape {size:?}, expected {}", Shape(shape)));
        }
        let (kind, device) = (tensor.f_kind().or_else(refuse)?, tensor.device());
        if kind != Kind::Float {
            return refuse(format!("{what} are of type {kind:?}, expected Float"));
        }
        if device != self.device() {
            return refuse(format!("{what} are on {device:?}, expected {:?}", self.device()));
        }
        Ok(())
    }

    fn image_shape(&self) -> [i64; 4] {
        let shape = self.base.images.shape();
        [-1, shape.channels, shape.height, shape.width]
    }

    fn set(&self, of: Of) -> usize {
        match of {
            Of::Labelled => self.base.scope.labelled.len(),
            Of::Pool => self.base.scope.pool.len(),
        }
    }

    fn sample(&self, of: Of, position: u32) -> SampleId {
        match of {
            Of::Labelled => self.base.scope.labelled[position as usize].0,
            Of::Pool => self.base.scope.pool[position as usize],
        }
    }

    fn stream_of(&self, spec: &abi::StreamSpec, tag: &str, rows: &[u32]) -> Result<ImageStream, ServiceError> {
        let (of, positions) = match spec.of {
            0 => (Of::Labelled, count_up(self.set(Of::Labelled))),
            1 => (Of::Pool, count_up(self.set(Of::Pool))),
            2 => (Of::Pool, rows.to_vec()),
            other => return refuse(format!("a stream of kind {other} has no meaning, expected 0, 1 or 2")),
        };
        let set = self.set(of);
        if let Some(row) = positions.iter().find(|&&row| row as usize >= set) {
            return refuse(format!("a stream asks for row {row} of a pool of {set}"));
        }
        let transform = match spec.transform {
            0 => Transform::Train,
            1 => Transform::Eval,
            other => return refuse(format!("a stream's transform {other} has no meaning, expected 0 or 1")),
        };
        let batch = spec.batch as usize;
        if !(1..=LARGEST_MINIBATCH).contains(&batch) {
            return refuse(format!("a stream's batch is {batch}, expected 1 to {LARGEST_MINIBATCH}"));
        }
        if spec.infinite && positions.is_empty() {
            return refuse("an infinite stream of no images never gives one: ask for a finite one");
        }
        let turns = Turns { shuffle: spec.shuffle, infinite: spec.infinite, drop_last: spec.drop_last };
        let order = Order::new(positions, turns, self.numbers("order", tag));
        let augment = self.numbers("augment", tag);
        let loader = Loader::new(transform, self.base.recipe, self.base.images, augment).or_else(refuse)?;
        Ok(ImageStream { of, batch, order, loader })
    }

    fn batch(&self, stream: &mut ImageStream) -> Result<abi::ImageBatch, ServiceError> {
        let ImageStream { of, batch, order, loader } = stream;
        let positions = order.next(*batch);
        if positions.is_empty() {
            return Ok(abi::ImageBatch { images: none(), labels: none(), rows: none() });
        }
        let images = loader
            .load(self.base.images, positions.iter().map(|&position| self.sample(*of, position)))
            .or_else(refuse)?;
        let whole = |values: Vec<i64>| Tensor::f_from_slice(&values).or_else(refuse);
        let labels = match of {
            Of::Pool => None,
            Of::Labelled => {
                let of_position = |&position: &u32| i64::from(self.base.scope.labelled[position as usize].1.0);
                let labels = whole(positions.iter().map(of_position).collect())?;
                Some(labels.f_to_device(self.device()).or_else(refuse)?)
            }
        };
        let rows = whole(positions.iter().map(|&position| i64::from(position)).collect())?;
        Ok(abi::ImageBatch { images: given(images), labels: labels.map_or(none(), given), rows: given(rows) })
    }
}

impl HostServices for Services<'_> {
    fn guarded(&self, call: &mut dyn FnMut()) -> Result<(), ServiceError> {
        let before = Ambient::save(self.cuda()).or_else(refuse)?;
        let put_back = PutBack(&before);
        let marks = self.marks()?;
        self.enter_random()?;
        let grad = GradMode::set(true);
        call();
        drop(grad);
        *self.random.borrow_mut() = Some(Ambient::save(self.cuda()).or_else(refuse)?);
        std::mem::forget(put_back);
        before.restore().or_else(refuse)?;
        if let Some(model) = self.model {
            // What a backward pass of the plugin left there would be added to the task's next step.
            clear_gradients(model.parameters().weights()).or_else(refuse)?;
        }
        let changed = marks.changed(&self.marks()?);
        if changed.is_empty() {
            return Ok(());
        }
        refuse(format!(
            "it changed the task's model in place ({}); only the host trains it: return an extra loss instead, or work \
             on copies",
            self.names(&changed)
        ))
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
        let stream = self.stream_of(spec, tag, rows)?;
        let mut streams = self.streams.borrow_mut();
        if streams.open.len() == MOST_STREAMS {
            return refuse(format!("{MOST_STREAMS} streams are open already; close some"));
        }
        let handle = streams.next;
        let Some(next) = handle.checked_add(1) else { return refuse("too many streams were opened") };
        streams.next = next;
        streams.open.insert(handle, stream);
        Ok(handle)
    }

    fn next_batch(&self, stream: u32) -> Result<abi::ImageBatch, ServiceError> {
        match self.streams.borrow_mut().open.get_mut(&stream) {
            Some(stream) => self.batch(stream),
            None => refuse(format!("no stream has the number {stream}")),
        }
    }

    fn close_stream(&self, stream: u32) {
        self.streams.borrow_mut().open.remove(&stream);
    }

    unsafe fn forward(&self, images: abi::Tensor, flags: u32) -> Result<abi::Outputs, ServiceError> {
        let model = self.model_for(flags)?;
        // SAFETY: promised by the caller.
        let images = unsafe { lent(images) }?;
        self.check("images", &images, &self.image_shape())?;
        let stages = flags & abi::FORWARD_STAGES != 0;
        if stages && self.base.architecture.stages().is_empty() {
            return refuse(format!("model.name = {} has no stage maps", self.base.architecture.label()));
        }
        let _grad = GradMode::set(flags & abi::FORWARD_GRAD != 0);
        let out = model.forward(&images, self.mode(flags), stages).or_else(refuse)?;
        let (maps, stage_count) = array(out.stages.into_iter().map(given));
        Ok(abi::Outputs { logits: given(out.logits), embeddings: given(out.embeddings), stages: maps, stage_count })
    }

    unsafe fn head_forward(&self, embeddings: abi::Tensor, flags: u32) -> Result<abi::Tensor, ServiceError> {
        let model = self.model_for(flags)?;
        // SAFETY: promised by the caller.
        let embeddings = unsafe { lent(embeddings) }?;
        self.check("embeddings", &embeddings, &[-1, self.base.architecture.width()])?;
        let _grad = GradMode::set(flags & abi::FORWARD_GRAD != 0);
        Ok(given(model.classify(&embeddings, self.mode(flags)).or_else(refuse)?))
    }

    fn parameters(&self) -> Result<Vec<abi::Tensor>, ServiceError> {
        Ok(self.model_for(0)?.parameters().weights().iter().map(|weight| given(weight.shallow_clone())).collect())
    }

    unsafe fn gradient_norms(&self, images: abi::Tensor, targets: abi::Tensor) -> Result<abi::Tensor, ServiceError> {
        let model = self.model_for(0)?;
        // SAFETY: promised by the caller.
        let (images, targets) = unsafe { (lent(images)?, lent(targets)?) };
        self.check("images", &images, &self.image_shape())?;
        let rows = images.size()[0];
        self.check("targets", &targets, &[rows, self.base.architecture.classes()])?;
        Ok(given(gradient::norms(model, &images, &targets).or_else(refuse)?))
    }

    unsafe fn release(&self, tensor: abi::Tensor) {
        // SAFETY: the caller owns it.
        drop(unsafe { taken(tensor) });
    }

    fn log_metric(&self, name: &str, value: f64) -> Result<(), ServiceError> {
        let mut metrics = self.metrics.borrow_mut();
        if !(1..=LONGEST_NAME).contains(&name.len()) {
            return refuse(format!("a figure's name has {} bytes, expected 1 to {LONGEST_NAME}", name.len()));
        }
        if !is_showable(name) {
            return refuse(format!("the figure's name `{}` holds characters that cannot be shown", Shown::name(name)));
        }
        if !value.is_finite() {
            return refuse(format!("the figure `{name}` is {value}, expected a finite one"));
        }
        if metrics.len() == MOST_METRICS && !metrics.contains_key(name) {
            return refuse(format!("`{name}` would be figure {}, more than {MOST_METRICS}", MOST_METRICS + 1));
        }
        metrics.insert(name.to_owned(), value);
        Ok(())
    }

    unsafe fn add_synthetic(&self, rows: &[u32], images: abi::Tensor) -> Result<(), ServiceError> {
        // SAFETY: promised by the caller.
        let images = unsafe { lent(images) }?;
        self.check("synthetic images", &images, &self.image_shape())?;
        if self.part == TRAINING {
            return refuse("images to train on are handed in inside a query, with the rows that it picks");
        }
        let count = images.size()[0];
        if count != rows.len() as i64 {
            return refuse(format!("{count} synthetic images for {} rows, expected one for each", rows.len()));
        }
        let mut handed = self.synthetic.borrow_mut();
        let (pool, most) = (self.base.scope.pool.len(), self.base.scope.batch.min(self.base.scope.pool.len()));
        if handed.len() + rows.len() > most {
            return refuse(format!(
                "{} synthetic images, more than the {most} samples that the query picks",
                handed.len() + rows.len()
            ));
        }
        let mut seen: BTreeSet<u32> = handed.iter().map(|image| image.row).collect();
        if let Some(row) = rows.iter().find(|&&row| row as usize >= pool || !seen.insert(row)) {
            return refuse(format!("a synthetic image for row {row}, expected distinct rows of a pool of {pool}"));
        }
        let values = self.base.images.denormalise(&images.detach()).or_else(refuse)?;
        let values = parameters::values(&values).or_else(refuse)?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let row = rows[at * rows.len() / values.len()];
            return refuse(format!("the synthetic image for row {row} has a value that is {}", values[at]));
        }
        let floats = values.len() / rows.len().max(1);
        let of_row = |(&row, values): (&u32, &[f32])| Handed { row, values: values.into() };
        handed.extend(rows.iter().zip(values.chunks(floats.max(1))).map(of_row));
        Ok(())
    }

    fn take_synthetic(&self) -> Vec<Handed> {
        self.synthetic.take()
    }

    fn metrics(&self) -> BTreeMap<String, f64> {
        self.metrics.borrow().clone()
    }
}

/// Puts things back also where plugin code unwound.
struct PutBack<'a>(&'a Ambient);

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        // Only while unwinding: there is nobody left to tell.
        let _ = self.0.restore();
    }
}

fn refuse<T>(reason: impl Display) -> Result<T, ServiceError> {
    Err(ServiceError(reason.to_string()))
}

fn count_up(n: usize) -> Vec<u32> {
    (0..number(n)).collect()
}

/// A count that fits: sizes of images and sets are far below the bound.
fn number(n: impl TryInto<u32>) -> u32 {
    n.try_into().unwrap_or(u32::MAX)
}

/// Stands for no tensor.
pub(crate) fn none() -> abi::Tensor {
    std::ptr::null_mut()
}

/// Gives a tensor away.
pub(crate) fn given(tensor: Tensor) -> abi::Tensor {
    ManuallyDrop::new(tensor).as_mut_ptr().cast()
}

/// Lends a tensor for as long as it lives.
pub(crate) fn lend(tensor: &Tensor) -> abi::Tensor {
    tensor.as_ptr().cast_mut().cast()
}

/// Another name for a tensor that was lent.
///
/// # Safety
/// `tensor` is null or the address of a live tensor.
unsafe fn lent(tensor: abi::Tensor) -> Result<Tensor, ServiceError> {
    if tensor.is_null() {
        return refuse("a tensor is missing: its address is null");
    }
    // SAFETY: promised by the caller.
    let tensor = unsafe { Tensor::clone_from_ptr(tensor.cast()) };
    if tensor.defined() { Ok(tensor) } else { refuse("a tensor is undefined") }
}

/// Takes a tensor that was given; `None` for a null address.
///
/// # Safety
/// `tensor` is null, or was given away and is used by nobody else.
pub(crate) unsafe fn taken(tensor: abi::Tensor) -> Option<Tensor> {
    // SAFETY: promised by the caller.
    (!tensor.is_null()).then(|| unsafe { Tensor::from_ptr(tensor.cast()) })
}

/// Addresses in a room of fixed size, and how many there are.
pub(crate) fn array(tensors: impl Iterator<Item = abi::Tensor>) -> ([abi::Tensor; abi::MAX_STAGES], u32) {
    let (mut room, mut count) = ([none(); abi::MAX_STAGES], 0);
    for (place, tensor) in room.iter_mut().zip(tensors) {
        *place = tensor;
        count += 1;
    }
    (room, count)
}

/// A shape in which -1 is any size.
struct Shape<'a>(&'a [i64]);

impl Display for Shape<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sizes: Vec<String> = self.0.iter().map(|&n| if n < 0 { "n".to_owned() } else { n.to_string() }).collect();
        write!(f, "[{}]", sizes.join(", "))
    }
}
