//! Networks that somebody brings in a file, with what stands beside it.

mod library;
mod onnx;
mod script;

use std::fmt::{self, Display};
use std::path::Path;
use std::sync::Arc;

use querist_core::LearnError;
use querist_core::config::{OutputName, Sidecar};
use tch::{Device, Kind, TchError, Tensor};

use crate::fault::{config, reason};
use crate::model::{Body, ImageShape};
use crate::parameters::Parameters;
pub use library::onnx_library;
use onnx::Onnx;
use script::ScriptFile;

/// A network from a file, whose code was run once to see what it gives.
#[derive(Clone)]
pub struct Backbone {
    network: Network,
    sidecar: Arc<Sidecar>,
    width: i64,
}

#[derive(Clone)]
enum Network {
    Onnx(Arc<Onnx>),
    Script(Arc<ScriptFile>),
}

impl fmt::Debug for Backbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_differentiable() { "TorchScript" } else { "ONNX" };
        f.debug_struct("Backbone").field("kind", &kind).field("width", &self.width).finish_non_exhaustive()
    }
}

/// Images of the passes that a network is tried with: a size that was built into it shows.
const TRIED: [i64; 2] = [2, 3];

/// How far rows of one image may lie apart, as a share of the largest value.
const MOST_APART: f64 = 1e-3;

impl Backbone {
    /// The network of an ONNX file, which the library of ONNX Runtime at `library` runs on so many threads of the CPU.
    ///
    /// # Errors
    /// [`LearnError::Config`] if the library cannot be used, the file holds no such network, or it does not do what the
    /// sidecar says.
    pub fn onnx(bytes: &[u8], sidecar: &Sidecar, library: &Path, threads: usize) -> Result<Self, LearnError> {
        checked(sidecar)?;
        let onnx = Onnx::load(bytes, sidecar, library, threads)?;
        Self::tried(Network::Onnx(Arc::new(onnx)), sidecar)
    }

    /// The network of a TorchScript file.
    ///
    /// # Errors
    /// [`LearnError::Config`] if the file holds no such network, or it does not do what the sidecar says.
    pub fn torchscript(bytes: Vec<u8>, sidecar: &Sidecar) -> Result<Self, LearnError> {
        checked(sidecar)?;
        if sidecar.batch.is_some() {
            return config("sidecar: `batch` is for ONNX files; a TorchScript network takes minibatches as they come");
        }
        let whole = Self::tried(Network::Script(Arc::new(ScriptFile::load(bytes)?)), sidecar)?;
        let Network::Script(file) = &whole.network else { return Ok(whole) };
        let (inputs, images) = Inputs::new(sidecar, Device::Cpu)
            .and_then(|inputs| Ok((inputs, whole.trial_images(TRIED[0])?)))
            .or_else(config_of)?;
        let used = ScriptFile::clone(file).where_used(inputs, sidecar.outputs.embedding.clone(), &images)?;
        Ok(Self { network: Network::Script(Arc::new(used)), ..whole })
    }

    fn tried(network: Network, sidecar: &Sidecar) -> Result<Self, LearnError> {
        let untried = Self { network, sidecar: Arc::new(sidecar.clone()), width: 0 };
        let width = untried.try_it()?;
        Ok(Self { width, ..untried })
    }

    /// Width of an embedding.
    pub(crate) fn width(&self) -> i64 {
        self.width
    }

    /// Whether gradients go through it.
    pub(crate) fn is_differentiable(&self) -> bool {
        matches!(self.network, Network::Script(_))
    }

    /// Whether there is anything to train in it.
    pub(crate) fn is_trainable(&self) -> bool {
        match &self.network {
            Network::Onnx(_) => false,
            Network::Script(file) => file.is_trainable(),
        }
    }

    /// Checks that it takes these images.
    pub(crate) fn check_images(&self, label: &str, images: ImageShape) -> Result<(), LearnError> {
        let Sidecar { size, channels, .. } = *self.sidecar;
        let ImageShape { height, width, channels: found } = images;
        if height != i64::from(size) || width != i64::from(size) {
            return config(format!(
                "model.name = {label}: its sidecar says that it takes images of {size}x{size} pixels, but they are \
                 {height}x{width}; set `dataset.size = {size}`"
            ));
        }
        match (channels, found) {
            (3, 1 | 3) | (1, 1) => Ok(()),
            _ => config(format!(
                "model.name = {label}: its sidecar says that it takes images of {channels} channels, but they have \
                 {found}; choose a network for these, or correct the sidecar"
            )),
        }
    }

    /// A body with weights of its own on `device`, which are added to `parameters`.
    pub(crate) fn body(&self, parameters: &mut Parameters, device: Device) -> Result<Box<dyn Body>, TchError> {
        let inputs = Inputs::new(&self.sidecar, device)?;
        let output = self.sidecar.outputs.embedding.clone();
        Ok(match &self.network {
            Network::Onnx(onnx) => Box::new(onnx::OnnxBody::new(Arc::clone(onnx), inputs, device)),
            Network::Script(file) => Box::new(file.body(parameters, inputs, output, device)?),
        })
    }

    /// Runs it on a few images, twice in passes of different sizes; the width of its embeddings.
    fn try_it(&self) -> Result<i64, LearnError> {
        let _no_grad = tch::no_grad_guard();
        let mut parameters = Parameters::new(Device::Cpu);
        let body = self.body(&mut parameters, Device::Cpu).or_else(config_of)?;
        let mut all = Vec::with_capacity(TRIED.len());
        for count in TRIED {
            let images = self.trial_images(count).or_else(config_of)?;
            let embeddings = body.embed(&images, &mut crate::layer::Pass::new(crate::layer::Mode::Eval));
            let embeddings = embeddings.or_else(|error| self.refused(count, &error))?;
            if !embeddings.f_isfinite().and_then(|all| all.f_all()).is_ok_and(|all| all.int64_value(&[]) != 0) {
                return config("its embedding of a grey picture has values that are not finite");
            }
            all.push(embeddings);
        }
        let width = all[0].size()[1];
        let [few, more] = [&all[0], &all[1]];
        let apart = (few - more.narrow(0, 0, TRIED[0])).abs().max().double_value(&[]);
        let largest = few.abs().max().double_value(&[]).max(1e-6);
        if apart > MOST_APART * largest {
            return config(format!(
                "its embedding of an image changes by {apart:.1e} with the images beside it, so that it would be \
                 another one in each minibatch; export the network in eval mode"
            ));
        }
        Ok(width)
    }

    fn refused(&self, count: i64, error: &TchError) -> Result<Tensor, LearnError> {
        let Sidecar { size, channels, .. } = *self.sidecar;
        config(format!(
            "it does not take {count} images of {channels} channels and {size}x{size} pixels: {}; correct the sidecar, \
             or export the network with a first dimension of any size",
            reason(error)
        ))
    }

    /// Images like those that it will see, each another one.
    fn trial_images(&self, count: i64) -> Result<Tensor, TchError> {
        let Sidecar { size, channels, .. } = *self.sidecar;
        let [side, channels] = [i64::from(size), i64::from(channels)];
        let steps = Tensor::f_arange(count * channels * side * side, (Kind::Float, Device::Cpu))?;
        steps.f_mul_scalar(0.37)?.f_sin()?.f_mul_scalar(0.5)?.f_add_scalar(0.5)?.f_view([count, channels, side, side])
    }
}

fn checked(sidecar: &Sidecar) -> Result<(), LearnError> {
    sidecar.check().or_else(|message| config(format!("sidecar: {message}")))
}

fn config_of<T>(error: TchError) -> Result<T, LearnError> {
    config(reason(&error))
}

fn torch<T>(message: impl Display) -> Result<T, TchError> {
    Err(TchError::Torch(message.to_string()))
}

/// An output as users write it.
fn named(output: &OutputName) -> String {
    match output {
        OutputName::Name(name) => format!("`{}`", querist_protocol::Shown::name(name)),
        OutputName::Place(place) => format!("{place}"),
    }
}

/// How pixels from 0 to 1 become what the network takes.
struct Inputs {
    channels: i64,
    /// `f32 [1, channels, 1, 1]`.
    mean: Tensor,
    std: Tensor,
}

impl Inputs {
    fn new(sidecar: &Sidecar, device: Device) -> Result<Self, TchError> {
        let channels = i64::from(sidecar.channels);
        let each = |values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Tensor::f_from_slice(&values)?.f_view([1, channels, 1, 1])?.f_to_device(device)
        };
        Ok(Self { channels, mean: each(&sidecar.mean)?, std: each(&sidecar.std)? })
    }

    fn of(&self, pixels: &Tensor) -> Result<Tensor, TchError> {
        let (n, found, height, width) = pixels.size4()?;
        let pixels = match found == self.channels {
            true => pixels.shallow_clone(),
            false => pixels.f_expand([n, self.channels, height, width], false)?,
        };
        pixels.f_sub(&self.mean)?.f_div(&self.std)
    }
}

/// Embeddings `f32 [n, width]` of what a network gave for `n` images.
fn embeddings(output: &Tensor, n: i64) -> Result<Tensor, TchError> {
    let size = output.size();
    if output.f_kind()? != Kind::Float {
        return torch(format!(
            "its embedding is of type {:?}, expected Float: export it in single precision",
            output.kind()
        ));
    }
    match size.as_slice() {
        [rows, width, rest @ ..] if *rows == n && *width > 0 && rest.iter().all(|&one| one == 1) => {
            output.f_reshape([n, *width])
        }
        _ => torch(format!("its embedding has shape {size:?}, expected [{n}, width]")),
    }
}

#[cfg(test)]
mod tests;
