//! The tensors of a model, by name, in the order of the layers.

use std::collections::BTreeMap;

use querist_core::LearnError;
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
    weight_names: Vec<String>,
    weights: Vec<Tensor>,
    buffers: Vec<(String, Tensor)>,
}

impl Parameters {
    pub(crate) fn new(device: Device) -> Self {
        Self { device, channels_last: false, weight_names: Vec::new(), weights: Vec::new(), buffers: Vec::new() }
    }

    /// The same, where weights of convolutions are to hold the channels of a pixel together, or not.
    pub(crate) fn with_channels_last(self, channels_last: bool) -> Self {
        Self { channels_last, ..self }
    }

    /// A weight uniform in (-bound, bound).
    pub(crate) fn uniform(&mut self, name: String, shape: &[i64], bound: f64) -> Result<Tensor, TchError> {
        // Drawn on the CPU, so that every device starts from the same weights.
        let values = Tensor::f_empty(shape, (Kind::Float, Device::Cpu))?.f_uniform_(-bound, bound)?;
        self.weight(name, &values)
    }

    /// A weight of equal values.
    pub(crate) fn constant(&mut self, name: String, shape: &[i64], value: f64) -> Result<Tensor, TchError> {
        let values = Tensor::f_full(shape, value, (Kind::Float, Device::Cpu))?;
        self.weight(name, &values)
    }

    fn weight(&mut self, name: String, values: &Tensor) -> Result<Tensor, TchError> {
        let values = values.f_to_device(self.device)?;
        let values = if self.channels_last && values.dim() == 4 { channels_last(&values)? } else { values };
        let weight = values.f_set_requires_grad(true)?;
        self.weight_names.push(name);
        self.weights.push(weight.shallow_clone());
        Ok(weight)
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

    /// Reads all tensors from a safetensors file.
    pub(crate) fn read_safetensors(&self, bytes: &[u8]) -> Result<(), LearnError> {
        self.read(bytes, |_| true)
    }

    /// Reads all tensors but those of the head.
    pub(crate) fn read_body(&self, bytes: &[u8]) -> Result<(), LearnError> {
        self.read(bytes, |name| !name.starts_with("head."))
    }

    fn read(&self, bytes: &[u8], wanted: impl Fn(&str) -> bool) -> Result<(), LearnError> {
        // Reading a header takes a dozen times its length.
        let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        if header > MAX_HEADER {
            return config(format!("a model file with a header of {header} bytes, at most {MAX_HEADER} are read"));
        }
        let file = SafeTensors::deserialize(bytes).doing("reading a model")?;
        let _no_grad = tch::no_grad_guard();
        let expected = self.named().filter(|(name, _)| wanted(name)).count();
        let found = file.names().into_iter().filter(|name| wanted(name)).count();
        if found != expected {
            return config(format!("a model file of {found} tensors, expected {expected}: it is of another model"));
        }
        for (name, tensor) in self.named().filter(|(name, _)| wanted(name)) {
            let view = file.tensor(name).doing("reading a model")?;
            if view.dtype() != Dtype::F32 || view.shape() != shape(tensor) {
                let (kind, found) = (view.dtype(), view.shape());
                return config(format!(
                    "a model file whose `{name}` is {kind:?} {found:?}, expected F32 {:?}: it is of another model",
                    shape(tensor)
                ));
            }
            let values =
                view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            let values = Tensor::f_from_slice(&values.collect::<Vec<f32>>());
            let values = values.and_then(|values| values.f_view(tensor.size().as_slice()));
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
