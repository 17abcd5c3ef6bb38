//! Tensors of a file of weights by their names: safetensors, or what `torch.save` wrote.

use std::collections::BTreeMap;

use querist_core::LearnError;
use querist_protocol::Shown;
use querist_torchx::pickle;
use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

use super::DOING;
use crate::fault::{Doing, config, reason};

/// Longest header, in bytes: reading one takes a dozen times its length.
const MAX_HEADER: u64 = 4 << 20;

/// A file.
pub(super) enum Source<'a> {
    Safetensors(SafeTensors<'a>),
    Pickled(BTreeMap<String, Tensor>),
}

/// How a file of another kind becomes one that can be read.
const CONVERT: &str = "make a safetensors file of it: `python3 examples/weights/convert.py FILE NEW.safetensors`";

impl<'a> Source<'a> {
    /// Reads the names.
    ///
    /// # Errors
    /// If it is neither kind of file.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, LearnError> {
        if bytes.starts_with(b"PK\x03\x04") {
            return match pickle::tensors(bytes) {
                Ok(tensors) if tensors.is_empty() => config(format!("a checkpoint without tensors; {CONVERT}")),
                Ok(tensors) => Ok(Self::Pickled(tensors)),
                Err(error) => {
                    let said = Shown::sentence(&reason(&error)).to_string();
                    config(format!("a checkpoint that libtorch does not read ({said}); {CONVERT}"))
                }
            };
        }
        // A pickle starts with its protocol; PyTorch before 1.6 wrote several, one after the other.
        if matches!(bytes, [0x80, 2..=5, ..]) {
            return config(format!("a checkpoint of PyTorch before 1.6, which libtorch does not read; {CONVERT}"));
        }
        let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        if header > MAX_HEADER {
            return config(format!(
                "neither a safetensors file nor a checkpoint of PyTorch: its header would have {header} bytes, at most \
                 {MAX_HEADER} are read"
            ));
        }
        Ok(Self::Safetensors(SafeTensors::deserialize(bytes).doing(DOING)?))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Safetensors(file) => file.tensor(name).is_ok(),
            Self::Pickled(tensors) => tensors.contains_key(name),
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Self::Safetensors(file) => {
                let mut names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
                names.sort();
                names
            }
            Self::Pickled(tensors) => tensors.keys().cloned().collect(),
        }
    }

    /// A tensor, in single precision on the CPU.
    ///
    /// # Errors
    /// If its values are no floating-point numbers.
    pub(super) fn tensor(&self, name: &str) -> Result<Tensor, LearnError> {
        let wrong =
            |kind: String| config(format!("{} holds {kind}, expected floating-point numbers", Shown::name(name)));
        let values = match self {
            Self::Safetensors(file) => {
                let view = file.tensor(name).doing(DOING)?;
                let kind = match view.dtype() {
                    Dtype::F64 => Kind::Double,
                    Dtype::F32 => Kind::Float,
                    Dtype::F16 => Kind::Half,
                    Dtype::BF16 => Kind::BFloat16,
                    other => return wrong(format!("{other:?}")),
                };
                let sizes: Vec<i64> = view.shape().iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX)).collect();
                Tensor::f_from_data_size(view.data(), &sizes, kind).doing(DOING)?
            }
            Self::Pickled(tensors) => match tensors.get(name) {
                Some(tensor) => tensor.shallow_clone(),
                None => return config(format!("no tensor {}", Shown::name(name))),
            },
        };
        match values.f_kind().doing(DOING)? {
            Kind::Double | Kind::Float | Kind::Half | Kind::BFloat16 => {
                values.f_to_kind(Kind::Float).and_then(|values| values.f_contiguous()).doing(DOING)
            }
            other => wrong(format!("{other:?}")),
        }
    }
}
