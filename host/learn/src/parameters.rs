//! The tensors of a model, by name, in the order of the layers.

use std::collections::BTreeMap;

use querist_core::LearnError;
use querist_core::config::InitScheme;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::{Device, Kind, TchError, Tensor};

use crate::fault::{Doing, config};
use crate::layer::channels_last;

/// Longest header of a model's file, in bytes; that of a ResNet has some ten thousand.
const MAX_HEADER: u64 = 1 << 20;

/// Weights that training changes, and buffers that only follow it (batch-norm statistics). All are `f32`.
pub(crate) struct Parameters {
    device: Device,
    /// Whether weights of convolutions hold the channels of a pixel together.
    channels_last: bool,
    init: InitScheme,
    weight_names: Vec<String>,
    weights: Vec<Tensor>,
    buffers: Vec<(String, Tensor)>,
}

impl Parameters {
    pub(crate) fn new(device: Device) -> Self {
        let (weight_names, weights, buffers) = (Vec::new(), Vec::new(), Vec::new());
        Self { device, channels_last: false, init: InitScheme::Default, weight_names, weights, buffers }
    }

    /// The same, where weights of convolutions are to hold the channels of a pixel together, or not.
    pub(crate) fn with_channels_last(self, channels_last: bool) -> Self {
        Self { channels_last, ..self }
    }

    /// The same, where weights are drawn by this scheme.
    pub(crate) fn with_init(self, init: InitScheme) -> Self {
        Self { init, ..self }
    }

    /// Weights of a convolution or a linear layer, `[outputs, inputs, ..]`; by default uniform in (-bound, bound).
    pub(crate) fn weight(&mut self, name: String, shape: &[i64], bound: f64) -> Result<Tensor, TchError> {
        match self.init {
            InitScheme::Default => self.uniform(name, shape, bound),
            _ => self.by_scheme(name, shape),
        }
    }

    /// Biases; by default uniform in (-bound, bound).
    pub(crate) fn bias(&mut self, name: String, outputs: i64, bound: f64) -> Result<Tensor, TchError> {
        match self.init {
            InitScheme::Default => self.uniform(name, &[outputs], bound),
            _ => self.constant(name, &[outputs], 0.0),
        }
    }

    /// Weights of a linear layer of a transformer; by default a normal that is cut off.
    pub(crate) fn narrow_weight(&mut self, name: String, shape: &[i64]) -> Result<Tensor, TchError> {
        match self.init {
            InitScheme::Default => self.truncated(name, shape),
            _ => self.by_scheme(name, shape),
        }
    }

    /// Whatever the scheme, a normal of deviation 0.02, drawn anew beyond 2, as transformers have it. A value lies
    /// beyond a hundred deviations, so nothing is ever cut off.
    pub(crate) fn truncated(&mut self, name: String, shape: &[i64]) -> Result<Tensor, TchError> {
        self.normal(name, shape, 0.02)
    }

    fn by_scheme(&mut self, name: String, shape: &[i64]) -> Result<Tensor, TchError> {
        let field: i64 = shape[2..].iter().product();
        let (fan_in, fan_out) = ((shape[1] * field) as f64, (shape[0] * field) as f64);
        match self.init {
            InitScheme::Xavier => self.uniform(name, shape, (6.0 / (fan_in + fan_out)).sqrt()),
            _ => self.normal(name, shape, (2.0 / fan_in).sqrt()),
        }
    }

    fn normal(&mut self, name: String, shape: &[i64], deviation: f64) -> Result<Tensor, TchError> {
        let values = Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?.f_normal_(0.0, deviation)?;
        self.add(name, &values)
    }

    /// A weight uniform in (-bound, bound).
    fn uniform(&mut self, name: String, shape: &[i64], bound: f64) -> Result<Tensor, TchError> {
        // Drawn on the CPU, so that every device starts from the same weights.
        let values = Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?.f_uniform_(-bound, bound)?;
        self.add(name, &values)
    }

    /// A weight of equal values.
    pub(crate) fn constant(&mut self, name: String, shape: &[i64], value: f64) -> Result<Tensor, TchError> {
        let values = Tensor::f_full(shape, value, (Kind::Float, Device::Cpu))?;
        self.add(name, &values)
    }

    fn add(&mut self, name: String, values: &Tensor) -> Result<Tensor, TchError> {
        let values = values.f_to_device(self.device)?;
        let values = if self.channels_last && values.dim() == 4 { channels_last(&values)? } else { values };
        let weight = values.f_set_requires_grad(true)?;
        self.weight_names.push(name);
        self.weights.push(weight.shallow_clone());
        Ok(weight)
    }

    /// Takes a tensor over as it is: weights that are trained, or a buffer.
    pub(crate) fn adopt(&mut self, name: String, tensor: Tensor, is_weight: bool) {
        match is_weight {
            true => {
                self.weight_names.push(name);
                self.weights.push(tensor);
            }
            false => self.buffers.push((name, tensor)),
        }
    }

    /// A buffer of equal values.
    pub(crate) fn buffer(&mut self, name: String, shape: &[i64], value: f64) -> Result<Tensor, TchError> {
        let buffer = Tensor::f_full(shape, value, (Kind::Float, self.device))?;
        self.buffers.push((name, buffer.shallow_clone()));
        Ok(buffer)
    }

    /// The weights, in the order of the layers.
    pub(crate) fn weights(&self) -> &[Tensor] {
        &self.weights
    }

    /// Every tensor with its name, weights and buffers.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        let weights = self.weight_names.iter().zip(&self.weights).map(|(name, tensor)| (name.as_str(), tensor));
        weights.chain(self.buffers.iter().map(|(name, tensor)| (name.as_str(), tensor)))
    }

    /// Takes the values of another model of the same architecture over, weights and buffers.
    pub(crate) fn copy_from(&self, other: &Self) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        for ((_, to), (_, from)) in self.named().zip(other.named()) {
            to.shallow_clone().f_copy_(from)?;
        }
        Ok(())
    }

    /// Takes the values of another model of the same architecture over, but for the head.
    pub(crate) fn copy_body_from(&self, other: &Self) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        for ((name, to), (_, from)) in self.named().zip(other.named()) {
            if !is_head(name) {
                to.shallow_clone().f_copy_(from)?;
            }
        }
        Ok(())
    }

    /// Reads all tensors from a safetensors file of this architecture.
    pub(crate) fn read_safetensors(&self, bytes: &[u8]) -> Result<(), LearnError> {
        // Reading a header takes a dozen times its length.
        let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        if header > MAX_HEADER {
            return config(format!("a model file with a header of {header} bytes, at most {MAX_HEADER} are read"));
        }
        let file = SafeTensors::deserialize(bytes).doing("reading a model")?;
        let _no_grad = tch::no_grad_guard();
        let (expected, found) = (self.named().count(), file.names().len());
        if found != expected {
            return config(format!("a model file of {found} tensors, expected {expected}: it is of another model"));
        }
        for (name, tensor) in self.named() {
            let view = file.tensor(name).doing("reading a model")?;
            if view.dtype() != Dtype::F32 || view.shape() != shape(tensor) {
                let (kind, found) = (view.dtype(), view.shape());
                return config(format!(
                    "a model file whose `{name}` is {kind:?} {found:?}, expected F32 {:?}: it is of another model",
                    shape(tensor)
                ));
            }
            let values = Tensor::f_from_data_size(view.data(), &tensor.size(), Kind::Float);
            values.and_then(|values| tensor.shallow_clone().f_copy_(&values)).doing("reading a model")?;
        }
        Ok(())
    }

    /// Whether every value of every tensor is finite. Reads the device once.
    pub(crate) fn are_finite(&self) -> Result<bool, TchError> {
        let _no_grad = tch::no_grad_guard();
        let each = self.named().map(|(_, tensor)| tensor.f_isfinite()?.f_all()).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::f_stack(&each, 0)?.f_all()?.f_int64_value(&[])? != 0)
    }

    /// All tensors as a safetensors file, sorted by name.
    pub(crate) fn to_safetensors(&self) -> Result<Vec<u8>, LearnError> {
        let mut values = BTreeMap::new();
        for (name, tensor) in self.named() {
            values.insert(name, (shape(tensor), little_endian(tensor)?));
        }
        let mut views = Vec::with_capacity(values.len());
        for (name, (shape, bytes)) in &values {
            views.push((*name, TensorView::new(Dtype::F32, shape.clone(), bytes).doing("writing the model")?));
        }
        safetensors::serialize(views, None).doing("writing the model")
    }
}

/// Whether a tensor is of the head, which belongs to the classes of a task.
pub(crate) fn is_head(name: &str) -> bool {
    name == "head" || name.starts_with("head.")
}

/// Sizes of a tensor's dimensions.
pub(crate) fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor.size().into_iter().map(|n| usize::try_from(n).unwrap_or(0)).collect()
}

/// The values of an `f32` tensor, row-major.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f32>, LearnError> {
    let mut values = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel()).doing("reading a tensor back")?;
    Ok(values)
}

fn little_endian(tensor: &Tensor) -> Result<Vec<u8>, LearnError> {
    Ok(values(tensor)?.into_iter().flat_map(f32::to_le_bytes).collect())
}
