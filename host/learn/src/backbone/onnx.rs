//! ONNX files, run on the CPU by ONNX Runtime and never trained.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};
use querist_core::LearnError;
use querist_core::config::{OutputName, Sidecar};
use querist_protocol::Shown;
use tch::{Device, Kind, TchError, Tensor};

use super::{Inputs, embeddings, library, named, torch};
use crate::fault::config;
use crate::layer::Pass;
use crate::model::Body;
use crate::parameters::values;

/// Images of one pass where neither file nor sidecar says: what goes through the layers of a large network stays small.
const BATCH: usize = 64;

/// Names of outputs in a message.
const MOST_NAMES: usize = 20;

/// A network.
pub(super) struct Onnx {
    session: Mutex<Session>,
    input: String,
    output: String,
    batch: Batch,
}

/// Images of one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Batch {
    size: usize,
    /// Whether it takes no other number.
    is_fixed: bool,
}

impl Onnx {
    pub(super) fn load(bytes: &[u8], sidecar: &Sidecar, library: &Path, threads: usize) -> Result<Self, LearnError> {
        let environment = library::load(library)?;
        let session = builder(&environment, threads).and_then(|mut builder| builder.commit_from_memory(bytes));
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                return config(format!(
                    "ONNX Runtime cannot use it ({}); export it anew, in single precision and with its weights inside \
                     the file",
                    Shown::sentence(&error.to_string())
                ));
            }
        };
        let (input, dimensions) = input(&session)?;
        let batch = batch(&dimensions, sidecar)?;
        let output = output(&session, &sidecar.outputs.embedding, "embedding")?;
        if let Some(logits) = &sidecar.outputs.logits {
            self::output(&session, logits, "logits")?;
        }
        Ok(Self { session: Mutex::new(session), input, output, batch })
    }

    /// Embeddings of network inputs `f32 [n, channels, height, width]` on the CPU.
    fn run(&self, inputs: &Tensor) -> Result<Tensor, TchError> {
        let (n, channels, height, width) = inputs.size4()?;
        let each = (channels * height * width) as usize;
        let mut pixels = values(inputs).or_else(torch)?;
        let Batch { size, is_fixed } = self.batch;
        if is_fixed {
            // A pass that is not full is filled up with black; no row depends on another.
            pixels.resize((n as usize).next_multiple_of(size) * each, 0.0);
        }
        let mut rows = Vec::new();
        for pass in pixels.chunks(size * each) {
            let count = pass.len() / each;
            rows.push(self.pass(pass, [count as i64, channels, height, width])?);
        }
        match rows.is_empty() {
            true => torch("no images"),
            false => Tensor::f_cat(&rows, 0)?.f_narrow(0, 0, n),
        }
    }

    fn pass(&self, pixels: &[f32], shape: [i64; 4]) -> Result<Tensor, TchError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let said = |error: ort::Error| TchError::Torch(Shown::sentence(&error.to_string()).to_string());
        let input = TensorRef::from_array_view((shape, pixels)).map_err(said)?;
        let outputs = session.run(ort::inputs![self.input.as_str() => input]).map_err(said)?;
        let Some(output) = outputs.get(&self.output) else { return torch("it gave no embedding") };
        let (found, floats) = output.try_extract_tensor::<f32>().map_err(said)?;
        let found: Vec<i64> = found.iter().copied().collect();
        embeddings(&Tensor::f_from_slice(floats)?.f_view(found.as_slice())?, shape[0])
    }
}

fn builder(environment: &ort::environment::Environment, threads: usize) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(environment)?;
    // The same bits for the same number of threads; threads that wait sleep, as those of training do.
    Ok(builder
        .with_intra_threads(threads.max(1))?
        .with_inter_threads(1)?
        .with_deterministic_compute(true)?
        .with_intra_op_spinning(false)?)
}

/// The one input, and its dimensions: -1 where any number fits.
fn input(session: &Session) -> Result<(String, Vec<i64>), LearnError> {
    let inputs = session.inputs();
    let [input] = inputs else {
        return config(format!("it has {} inputs ({}), expected one, of images", inputs.len(), names(inputs)));
    };
    match input.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } if shape.len() == 4 => {
            Ok((input.name().to_owned(), shape.iter().copied().collect()))
        }
        other => config(format!(
            "its input {} is {}, expected images in single precision, [n, channels, height, width]",
            Shown::name(input.name()),
            Shown::sentence(&other.to_string())
        )),
    }
}

fn batch(dimensions: &[i64], sidecar: &Sidecar) -> Result<Batch, LearnError> {
    let Sidecar { size, channels, batch, .. } = *sidecar;
    let expected = [i64::from(channels), i64::from(size), i64::from(size)];
    if dimensions[1..].iter().zip(expected).any(|(&found, expected)| found > 0 && found != expected) {
        return config(format!(
            "it takes images {:?} (channels, height, width), but its sidecar says {expected:?}; correct `size` or \
             `channels` there, or export the network for such images",
            &dimensions[1..]
        ));
    }
    match (usize::try_from(dimensions[0]).ok().filter(|&fixed| fixed > 0), batch) {
        (Some(fixed), Some(said)) if fixed != said as usize => config(format!(
            "it takes {fixed} images in one pass and no other number, but its sidecar says `batch = {said}`; correct \
             that"
        )),
        (Some(size), _) => Ok(Batch { size, is_fixed: true }),
        (None, Some(said)) => Ok(Batch { size: said as usize, is_fixed: true }),
        (None, None) => Ok(Batch { size: BATCH, is_fixed: false }),
    }
}

/// The name of an output that the sidecar means.
fn output(session: &Session, wanted: &OutputName, key: &str) -> Result<String, LearnError> {
    let outputs = session.outputs();
    let found = match wanted {
        OutputName::Name(name) => outputs.iter().find(|output| output.name() == name),
        OutputName::Place(place) => outputs.get(*place as usize),
    };
    let Some(found) = found else {
        return config(format!(
            "it has no output {}, which its sidecar calls `outputs.{key}`; it has {}",
            named(wanted),
            names(outputs)
        ));
    };
    match found.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, .. } => Ok(found.name().to_owned()),
        other => config(format!(
            "its output {} is {}, expected a tensor in single precision",
            named(wanted),
            Shown::sentence(&other.to_string())
        )),
    }
}

fn names(all: &[Outlet]) -> String {
    let named: Vec<String> = all.iter().take(MOST_NAMES).map(|one| Shown::name(one.name()).to_string()).collect();
    if all.len() > named.len() { format!("{} and more", named.join(", ")) } else { named.join(", ") }
}

/// The network as the body of a model; it has no weights that anybody could change.
pub(super) struct OnnxBody {
    network: Arc<Onnx>,
    inputs: Inputs,
    device: Device,
}

impl OnnxBody {
    pub(super) fn new(network: Arc<Onnx>, inputs: Inputs, device: Device) -> Self {
        Self { network, inputs, device }
    }
}

impl Body for OnnxBody {
    fn embed(&self, images: &Tensor, _: &mut Pass) -> Result<Tensor, TchError> {
        let inputs = self.inputs.of(&images.f_detach()?.f_to_kind(Kind::Float)?)?;
        self.network.run(&inputs.f_to_device(Device::Cpu)?.f_contiguous()?)?.f_to_device(self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_file_and_sidecar_say_of_a_pass_must_agree() {
        let sidecar = |batch: Option<u32>| -> Sidecar {
            let file = serde_json::json!({
                "version": 1, "size": 32, "batch": batch, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0],
                "outputs": { "embedding": 0 },
            });
            serde_json::from_value(file).unwrap()
        };
        let of = |first: i64, said: Option<u32>| batch(&[first, 3, 32, 32], &sidecar(said));
        assert_eq!(of(-1, None).unwrap(), Batch { size: BATCH, is_fixed: false });
        assert_eq!(of(-1, Some(8)).unwrap(), Batch { size: 8, is_fixed: true });
        assert_eq!(of(4, None).unwrap(), Batch { size: 4, is_fixed: true });
        assert!(of(4, Some(8)).unwrap_err().to_string().contains("takes 4 images in one pass"));
        let wrong = batch(&[-1, 3, 28, 28], &sidecar(None)).unwrap_err().to_string();
        assert!(wrong.contains("[3, 28, 28]") && wrong.contains("[3, 32, 32]"), "{wrong}");
        assert!(batch(&[-1, -1, -1, -1], &sidecar(None)).is_ok());
    }
}
