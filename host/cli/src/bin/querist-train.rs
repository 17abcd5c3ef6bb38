//! `querist-train`: the part of `querist` that trains, with libtorch.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use querist::{Body, EmbeddedTask, KeptEmbeddings, Trainer};
use querist_core::config::{ModelConfig, ModelName, RunConfig, Trained, WeightsConfig};
use querist_core::progress::Progress;
use querist_core::{Array, Dataset, HostServices, LearnError, Learner, SampleId};
use querist_kernels::Accelerator;
use querist_learn::{Backbone, CPU, EmbeddedServices, Settings, TorchAccelerator, TorchLearner, onnx_library};
use querist_loader::TorchBuild;
use querist_protocol::Shown;
use querist_torchx::runtime;

struct Torch;

impl Trainer for Torch {
    fn learner(
        &self,
        dataset: &Dataset,
        pool: &[SampleId],
        config: &RunConfig,
        scratch: Option<&Path>,
        body: Option<&Body>,
        say: &dyn Fn(&str),
    ) -> Result<Box<dyn Learner>, LearnError> {
        let mut learner = learner(dataset, pool, config, body)?.with_ensemble(&config.experiment.ensemble)?;
        if let (Some(Body { bytes, sidecar: None, .. }), Some(weights)) = (body, &config.experiment.model.weights) {
            let said = format!("model.weights = {}", weights.file());
            let in_file = |error| match error {
                LearnError::Config(message) => LearnError::Config(format!("{said}: {message}")),
                other => other,
            };
            let (with_weights, report) = learner.with_weights(bytes, weights.prefix()).map_err(in_file)?;
            say(&format!("{said}: {report}"));
            learner = with_weights;
        }
        if let (Some(body), Some(kept)) = (body, KeptEmbeddings::from_env()) {
            let prefix = config.experiment.model.weights.as_ref().and_then(WeightsConfig::prefix);
            let name = format!("{} with prefix {prefix:?}", body.digests());
            learner = learner.keeping_embeddings(Box::new(kept), name);
        }
        Ok(Box::new(match scratch {
            Some(folder) => learner.with_scratch(folder, config.experiment.compute.memory.0),
            None => learner,
        }))
    }

    fn embeddings(
        &self,
        dataset: &Dataset,
        pool: &[SampleId],
        config: &RunConfig,
        body: &Body,
        samples: &[SampleId],
        progress: &dyn Progress,
    ) -> Result<Array, LearnError> {
        let mut config = config.clone();
        // Nothing is trained, whatever the recipe says of it.
        config.experiment.recipe.train = Trained::Head;
        let (values, width) = learner(dataset, pool, &config, Some(body))?.embeddings(samples, progress)?;
        Array::f32(vec![samples.len(), width], values).map_err(|error| LearnError::Config(error.to_string()))
    }

    fn frozen(
        &self,
        dataset: &Dataset,
        pool: &[SampleId],
        config: &RunConfig,
        (model, file): (&ModelConfig, &[u8]),
        samples: &[SampleId],
        progress: &dyn Progress,
    ) -> Result<Array, LearnError> {
        let learner = learner(dataset, pool, config, None)?;
        let (values, width) = learner.frozen_embeddings(model, file, samples, progress)?;
        Array::f32(vec![samples.len(), width], values).map_err(|error| LearnError::Config(error.to_string()))
    }

    fn embed(
        &self,
        dataset: &Dataset,
        pool: &[SampleId],
        config: &RunConfig,
        (model, file): (&ModelConfig, &[u8]),
        samples: &[SampleId],
        progress: &dyn Progress,
    ) -> Result<Array, LearnError> {
        let learner = learner(dataset, pool, config, None)?;
        let (values, width) = learner.fast_embeddings(model, file, samples, progress)?;
        Array::f32(vec![samples.len(), width], values).map_err(|error| LearnError::Config(error.to_string()))
    }

    fn embedded<'a>(
        &self,
        task: EmbeddedTask<'a>,
        device: &str,
        threads: usize,
    ) -> Result<Box<dyn HostServices + 'a>, LearnError> {
        let EmbeddedTask { scope, classes, pool, labelled } = task;
        let task = querist_learn::EmbeddedTask { scope, classes, pool, labelled };
        Ok(Box::new(EmbeddedServices::new(task, device, threads)?))
    }

    fn accelerator(&self, device: &str) -> Result<Option<Arc<dyn Accelerator>>, LearnError> {
        if device == CPU {
            return Ok(None);
        }
        Ok(Some(Arc::new(TorchAccelerator::new(device)?)))
    }

    fn torch(&self) -> Option<TorchBuild> {
        let version = runtime::describe().version.to_owned();
        Some(TorchBuild { version, cxx11: runtime::CXX11_STRINGS })
    }

    fn describe(&self) -> String {
        let torch = runtime::describe();
        let folder = torch.folder.as_ref().map_or("unknown".to_owned(), |folder| folder.display().to_string());
        let onnx = match onnx_library() {
            Ok(library) => library.display().to_string(),
            Err(_) => "not there; only models in ONNX files need it (`cargo xtask setup --onnx`)".to_owned(),
        };
        format!("libtorch     {} in {folder}\nGPU          {}\nONNX Runtime {onnx}\n", torch.version, torch.cuda)
    }
}

fn learner(
    dataset: &Dataset,
    pool: &[SampleId],
    config: &RunConfig,
    body: Option<&Body>,
) -> Result<TorchLearner, LearnError> {
    if dataset.is_listed() {
        let message = "only a learner of your own can read what the ids of the dataset stand for; set `learner`";
        return Err(LearnError::Config(message.to_owned()));
    }
    let (device, others) = config.experiment.compute.device.split();
    let settings = Settings {
        model: &config.experiment.model,
        recipe: &config.experiment.recipe,
        seeds: config.seeds,
        device,
        precision: config.experiment.compute.precision,
        threads: config.experiment.compute.threads(),
    };
    let Some(Body { bytes, sidecar: Some(sidecar), .. }) = body else {
        return TorchLearner::new(dataset, pool, &settings)?.with_devices(others);
    };
    if !others.is_empty() {
        let message = "a network from a file works on one device; give compute.device one";
        return Err(LearnError::Config(message.to_owned()));
    }
    runtime::init();
    let file = config.experiment.model.file.as_deref().unwrap_or_default();
    let in_file = |error| match error {
        LearnError::Config(message) => LearnError::Config(format!("model.file = {}: {message}", Shown::name(file))),
        other => other,
    };
    let backbone = match config.experiment.model.name {
        ModelName::Onnx => Backbone::onnx(bytes, sidecar, &onnx_library()?, settings.threads),
        _ => Backbone::torchscript(bytes.clone(), sidecar),
    };
    TorchLearner::with_backbone(dataset, pool, &settings, backbone.map_err(in_file)?)
}

fn main() -> ExitCode {
    // Before anything asks libtorch about CUDA: it caches the first answer.
    runtime::init();
    querist::train(&Torch)
}
