//! TorchScript files: trained and queried as the networks of this program are.

use querist_core::LearnError;
use querist_core::config::OutputName;
use querist_protocol::Shown;
use querist_torchx::TorchError;
use querist_torchx::script::{Script, ScriptMode, ScriptOutput};
use tch::{Device, Kind, TchError, Tensor};

use super::{Inputs, embeddings, named, torch};
use crate::fault::{config, reason};
use crate::layer::{Mode, Pass};
use crate::model::Body;
use crate::parameters::Parameters;

/// A file whose tensors were looked at.
pub(super) struct ScriptFile {
    bytes: Vec<u8>,
    is_trainable: bool,
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
        let is_trainable = tensors.iter().any(|one| one.is_parameter && one.tensor.requires_grad());
        drop(script);
        Ok(Self { bytes, is_trainable })
    }

    pub(super) fn is_trainable(&self) -> bool {
        self.is_trainable
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
                let is_weight = one.is_parameter && one.tensor.requires_grad();
                parameters.adopt(format!("body.{}", one.name), one.tensor, is_weight);
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
