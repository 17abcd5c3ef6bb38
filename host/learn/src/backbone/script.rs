//! TorchScript files: trained and queried as the networks of this program are.

use std::collections::BTreeSet;
use std::sync::Arc;

use querist_core::LearnError;
use querist_core::config::OutputName;
use querist_protocol::Shown;
use querist_torchx::TorchError;
use querist_torchx::ambient::GradMode;
use querist_torchx::script::{Script, ScriptMode, ScriptOutput};
use tch::{Device, Kind, TchError, Tensor};

use super::{Inputs, embeddings, named, torch};
use crate::fault::{config, reason};
use crate::layer::{Mode, Pass};
use crate::model::Body;
use crate::parameters::Parameters;

/// What names of its tensors start with.
const PREFIX: &str = "body.";

/// A file whose tensors were looked at.
#[derive(Clone)]
pub(super) struct ScriptFile {
    bytes: Arc<[u8]>,
    /// Names of the parameters on which the embedding depends; those of a head of its own are none of them.
    trained: BTreeSet<String>,
}

impl ScriptFile {
    pub(super) fn load(bytes: Vec<u8>) -> Result<Self, LearnError> {
        let script = match Script::load(&bytes, Device::Cpu) {
            Ok(script) => script,
            Err(error) => {
                let said = Shown::sentence(&reason(&error)).to_string();
                return config(format!(
                    "no TorchScript file of libtorch's version ({said}); write it with `torch.jit.save`, as \
                     `examples/backbones/export_torchscript.py` does"
                ));
            }
        };
        let tensors = script.tensors().or_else(|error| config(reason(&error)))?;
        let short = tensors.iter().find(|one| one.is_parameter && one.tensor.kind() != Kind::Float);
        if let Some(short) = short {
            return config(format!(
                "its weights {} are of type {:?}, expected Float; export it in single precision",
                Shown::name(&short.name),
                short.tensor.kind()
            ));
        }
        let parameters = tensors.into_iter().filter(|one| one.is_parameter && one.tensor.requires_grad());
        Ok(Self { bytes: bytes.into(), trained: parameters.map(|one| one.name).collect() })
    }

    /// The same, of which only that is trained on which the embedding of these images depends.
    pub(super) fn where_used(self, inputs: Inputs, output: OutputName, images: &Tensor) -> Result<Self, LearnError> {
        let mut parameters = Parameters::new(Device::Cpu);
        let body = self.body(&mut parameters, inputs, output, Device::Cpu).or_else(|error| config(reason(&error)))?;
        let _grad = GradMode::set(true);
        let embeddings = body.embed(images, &mut Pass::new(Mode::TrainStill));
        let embeddings = embeddings.or_else(|error| config(format!("in training mode: {}", reason(&error))))?;
        if !embeddings.requires_grad() {
            return Ok(Self { trained: BTreeSet::new(), ..self });
        }
        let back = embeddings.f_sum(Kind::Float).and_then(|sum| sum.f_backward());
        back.or_else(|error| config(format!("no gradient goes through it: {}", reason(&error))))?;
        let used = parameters.named().filter(|(_, tensor)| tensor.grad().defined());
        let names = used.filter_map(|(name, _)| name.strip_prefix(PREFIX)).map(str::to_owned).collect();
        Ok(Self { trained: names, ..self })
    }

    pub(super) fn is_trainable(&self) -> bool {
        !self.trained.is_empty()
    }

    /// The network anew, as it is in the file.
    pub(super) fn body(
        &self,
        parameters: &mut Parameters,
        inputs: Inputs,
        output: OutputName,
        device: Device,
    ) -> Result<ScriptBody, TchError> {
        let script = Script::load(&self.bytes, device).or_else(torch)?;
        for one in script.tensors().or_else(torch)? {
            // Counters and tables of indices are no weights, and stay as the file has them.
            if one.tensor.f_kind()? == Kind::Float {
                let is_weight = one.is_parameter && self.trained.contains(&one.name);
                parameters.adopt(format!("{PREFIX}{}", one.name), one.tensor, is_weight);
            }
        }
        Ok(ScriptBody { script, inputs, output })
    }
}

/// The network as the body of a model.
pub(super) struct ScriptBody {
    script: Script,
    inputs: Inputs,
    output: OutputName,
}

impl Body for ScriptBody {
    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let mode = match pass.mode() {
            Mode::Eval => ScriptMode::Eval,
            Mode::Train => ScriptMode::Train,
            Mode::TrainStill => ScriptMode::TrainStill,
        };
        let output = match &self.output {
            OutputName::Name(name) => ScriptOutput::Name(name),
            OutputName::Place(place) => ScriptOutput::Position(*place),
        };
        let refused = |error: TorchError| {
            torch(format!("its output {}: {}", named(&self.output), Shown::sentence(&reason(&error))))
        };
        let found = self.script.forward(&self.inputs.of(images)?, mode, output).or_else(refused)?;
        embeddings(&found, images.size()[0])
    }

    fn records_layers(&self) -> bool {
        false
    }
}
