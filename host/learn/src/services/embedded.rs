//! What a strategy may ask for that looks at nothing of an image but its embedding, where there are only those.

use std::cell::RefCell;
use std::collections::BTreeMap;

use querist_core::{Array, Handed, HostServices, LearnError, ServiceError, ServiceScope};
use querist_protocol::abi;
use querist_torchx::ambient::Ambient;
use querist_torchx::runtime;
use tch::{Device, Kind, Tensor};

use super::guard::Own;
use super::tensor::{array, given, lent, none, taken};
use super::{figures, number, refuse};
use crate::device;
use crate::fault::{Doing, config};
use crate::parameters::shape;
use crate::plan::LARGEST_MINIBATCH;
use crate::stream::{Order, Turns};

/// Streams that may be open at once.
const MOST_STREAMS: usize = 64;

/// What is asked, of samples of which there are embeddings and no images.
pub struct EmbeddedTask<'a> {
    /// The round, its samples by ascending ids, and the strategy's random numbers.
    pub scope: ServiceScope<'a>,
    /// Classes of the task.
    pub classes: usize,
    /// Embeddings of the pool, `f32 [pool, width]`.
    pub pool: &'a Array,
    /// Embeddings of the labelled set, `f32 [labelled, width]`.
    pub labelled: &'a Array,
}

/// Services in which an image is its embedding: streams give rows of embeddings without labels, and a forward pass
/// gives them back. Picks are those of a run with a model of these embeddings.
pub struct EmbeddedServices<'a> {
    task: EmbeddedTask<'a>,
    /// `f32 [samples, width]` on the device: labelled, pool.
    embeddings: [Tensor; 2],
    open: RefCell<BTreeMap<u32, Open>>,
    metrics: RefCell<BTreeMap<String, f64>>,
    random: RefCell<Option<Ambient>>,
}

struct Open {
    set: usize,
    batch: usize,
    order: Order,
}

impl<'a> EmbeddedServices<'a> {
    /// Puts the embeddings on the device.
    ///
    /// # Errors
    /// If there is no such device, or arrays and samples do not fit each other.
    pub fn new(task: EmbeddedTask<'a>, device: &str, threads: usize) -> Result<Self, LearnError> {
        runtime::init();
        runtime::set_threads(threads).or_else(|error| config(format!("--threads: {error}")))?;
        let device = device::parse(device, &runtime::describe().cuda)?;
        let [labelled, pool] = [
            rows("labelled.embeddings", task.labelled, task.scope.labelled.len(), device)?,
            rows("embeddings", task.pool, task.scope.pool.len(), device)?,
        ];
        let widths = [&labelled, &pool].map(|tensor| tensor.size()[1]);
        if widths[0] != widths[1] && labelled.size()[0] > 0 {
            return config(format!(
                "`embeddings` have {} columns and `labelled.embeddings` {}, expected as many",
                widths[1], widths[0]
            ));
        }
        Ok(Self {
            task,
            embeddings: [labelled, pool],
            open: RefCell::default(),
            metrics: RefCell::default(),
            random: RefCell::default(),
        })
    }

    fn device(&self) -> Device {
        self.embeddings[1].device()
    }

    fn cuda(&self) -> Option<usize> {
        match self.device() {
            Device::Cuda(index) => Some(index),
            _ => None,
        }
    }

    fn width(&self) -> i64 {
        self.embeddings[1].size()[1]
    }

    /// # Safety
    /// `tensor` is null or the address of a live tensor.
    unsafe fn embedding(&self, tensor: abi::Tensor) -> Result<Tensor, ServiceError> {
        // SAFETY: promised by the caller.
        let tensor = unsafe { lent(tensor) }?;
        match tensor.size().as_slice() {
            [_, width] if *width == self.width() && tensor.kind() == Kind::Float => Ok(tensor),
            _ => refuse(format!(
                "a forward pass of {:?} values of type {:?}: here are no images, and a stream gives embeddings [n, {}]",
                shape(&tensor),
                tensor.kind(),
                self.width()
            )),
        }
    }
}

/// An array of embeddings as a tensor.
fn rows(name: &str, array: &Array, samples: usize, device: Device) -> Result<Tensor, LearnError> {
    let (Some(values), &[found, width]) = (array.as_f32(), array.shape()) else {
        return config(format!("`{name}` has shape {:?}, expected floats [samples, width]", array.shape()));
    };
    if found != samples {
        return config(format!("`{name}` has {found} rows for {samples} samples"));
    }
    Tensor::f_from_slice(values)
        .and_then(|values| values.f_view([found as i64, width as i64])?.f_to_device(device))
        .doing("putting embeddings on the device")
}

/// What has no place here.
fn no_model<T>(what: &str) -> Result<T, ServiceError> {
    refuse(format!("it asks for {what}, and here are embeddings and nothing else: ask it in a run"))
}

impl HostServices for EmbeddedServices<'_> {
    fn guarded(&self, call: &mut dyn FnMut()) -> Result<(), ServiceError> {
        let ServiceScope { streams, round, .. } = self.task.scope;
        let seed = streams.stream("torch/query", round);
        Own { random: &self.random, seed, cuda: self.cuda() }.run(call)
    }

    fn scope(&self) -> ServiceScope<'_> {
        self.task.scope
    }

    fn task(&self) -> abi::Task {
        let ServiceScope { round, pool, labelled, initial, batch, .. } = self.task.scope;
        abi::Task {
            round: round.0,
            labelled: number(labelled.len()),
            initial: number(initial),
            pool: number(pool.len()),
            batch: number(batch),
            classes: number(self.task.classes),
            channels: 0,
            height: 0,
            width: 0,
            epochs: 0,
            minibatch: 0,
            embedding: number(self.width()),
            weight_decay: 0.0,
            device: self.cuda().map_or(-1, |index| i32::try_from(index).unwrap_or(i32::MAX)),
            stages: 0,
            stage_channels: [0; abi::MAX_STAGES],
            black: [0.0; abi::MAX_CHANNELS],
            white: [0.0; abi::MAX_CHANNELS],
        }
    }

    fn open_stream(&self, spec: &abi::StreamSpec, tag: &str, rows: &[u32]) -> Result<u32, ServiceError> {
        let set = usize::from(spec.of != 0);
        let samples = number(self.embeddings[set].size()[0]);
        let positions = match spec.of {
            0 | 1 => (0..samples).collect(),
            2 => rows.to_vec(),
            other => return refuse(format!("a stream of kind {other} has no meaning, expected 0, 1 or 2")),
        };
        if let Some(row) = positions.iter().find(|&&row| row >= samples) {
            return refuse(format!("a stream asks for row {row} of a pool of {samples}"));
        }
        if spec.transform != 1 {
            return no_model("images with the training transform");
        }
        let batch = spec.batch as usize;
        if !(1..=LARGEST_MINIBATCH).contains(&batch) {
            return refuse(format!("a stream's batch is {batch}, expected 1 to {LARGEST_MINIBATCH}"));
        }
        if spec.infinite && positions.is_empty() {
            return refuse("an infinite stream of no images never gives one: ask for a finite one");
        }
        let mut open = self.open.borrow_mut();
        if open.len() == MOST_STREAMS {
            return refuse(format!("{MOST_STREAMS} streams are open already; close some"));
        }
        let ServiceScope { streams, round, .. } = self.task.scope;
        let turns = Turns { shuffle: spec.shuffle, infinite: spec.infinite, drop_last: spec.drop_last };
        let order = Order::new(positions, turns, streams.stream(&format!("order/{tag}"), round));
        let handle = open.last_key_value().map_or(0, |(last, _)| last + 1);
        open.insert(handle, Open { set, batch, order });
        Ok(handle)
    }

    fn next_batch(&self, stream: u32) -> Result<abi::ImageBatch, ServiceError> {
        let mut open = self.open.borrow_mut();
        let Some(Open { set, batch, order }) = open.get_mut(&stream) else {
            return refuse(format!("no stream has the number {stream}"));
        };
        let positions: Vec<i64> = order.next(*batch).iter().copied().map(i64::from).collect();
        if positions.is_empty() {
            return Ok(abi::ImageBatch { images: none(), labels: none(), rows: none() });
        }
        let whole = |values: &[i64]| Tensor::f_from_slice(values).or_else(refuse);
        let rows = whole(&positions)?;
        let index = rows.f_to_device(self.device()).or_else(refuse)?;
        let images = self.embeddings[*set].f_index_select(0, &index).or_else(refuse)?;
        Ok(abi::ImageBatch { images: given(images), labels: none(), rows: given(rows) })
    }

    fn close_stream(&self, stream: u32) {
        self.open.borrow_mut().remove(&stream);
    }

    unsafe fn forward(&self, images: abi::Tensor, flags: u32) -> Result<abi::Outputs, ServiceError> {
        if flags != 0 {
            return no_model("a pass of another kind than in eval mode");
        }
        // SAFETY: promised by the caller.
        let embeddings = unsafe { self.embedding(images) }?;
        let logits = Tensor::f_zeros([embeddings.size()[0], 0], (Kind::Float, self.device())).or_else(refuse)?;
        let (stages, stage_count) = array(std::iter::empty());
        Ok(abi::Outputs { logits: given(logits), embeddings: given(embeddings), stages, stage_count })
    }

    unsafe fn head_forward(&self, _: abi::Tensor, _: u32) -> Result<abi::Tensor, ServiceError> {
        no_model("the head")
    }

    fn parameters(&self) -> Result<Vec<abi::Tensor>, ServiceError> {
        no_model("the model's parameters")
    }

    unsafe fn gradient_norms(&self, _: abi::Tensor, _: abi::Tensor) -> Result<abi::Tensor, ServiceError> {
        no_model("gradients of the model")
    }

    unsafe fn release(&self, tensor: abi::Tensor) {
        // SAFETY: the caller owns it.
        drop(unsafe { taken(tensor) });
    }

    fn log_metric(&self, name: &str, value: f64) -> Result<(), ServiceError> {
        figures::take_figure(&mut self.metrics.borrow_mut(), name, value)
    }

    fn metrics(&self) -> BTreeMap<String, f64> {
        self.metrics.borrow().clone()
    }

    unsafe fn add_synthetic(&self, _: &[u32], _: abi::Tensor) -> Result<(), ServiceError> {
        no_model("training on images that it makes")
    }

    fn take_synthetic(&self) -> Vec<Handed> {
        Vec::new()
    }
}
