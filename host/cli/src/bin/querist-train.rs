//! `querist-train`: the part of `querist` that trains, with libtorch.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use querist::{KeptEmbeddings, Trainer, WeightsOfRun};
use querist_core::config::{ModelConfig, RunConfig};
use querist_core::progress::Progress;
use querist_core::{Array, Dataset, LearnError, Learner, SampleId};
use querist_kernels::Accelerator;
use querist_learn::{CPU, Settings, TorchAccelerator, TorchLearner};
use querist_loader::TorchBuild;
use querist_torchx::runtime;

struct Torch;

impl Trainer for Torch {
    fn learner(
        &self,
        dataset: &Dataset,
        pool: &[SampleId],
        config: &RunConfig,
        scratch: Option<&Path>,
        weights: Option<&WeightsOfRun>,
        say: &dyn Fn(&str),
    ) -> Result<Box<dyn Learner>, LearnError> {
        let mut learner = learner(dataset, pool, config)?.with_ensemble(&config.experiment.ensemble)?;
        if let (Some(file), Some(weights)) = (weights, &config.experiment.model.weights) {
            let said = format!("model.weights = {}", weights.file());
            let in_file = |error| match error {
                LearnError::Config(message) => LearnError::Config(format!("{said}: {message}")),
                other => other,
            };
            let (with_weights, report) = learner.with_weights(&file.bytes, weights.prefix()).map_err(in_file)?;
            say(&format!("{said}: {report}"));
            learner = with_weights;
            if let Some(kept) = KeptEmbeddings::from_env() {
                let name = format!("{} with prefix {:?}", file.digest, weights.prefix());
                learner = learner.keeping_embeddings(Box::new(kept), name);
            }
        }
        Ok(Box::new(match scratch {
            Some(folder) => learner.with_scratch(folder, config.experiment.compute.memory.0),
            None => learner,
        }))
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
        let (values, width) = learner(dataset, pool, config)?.frozen_embeddings(model, file, samples, progress)?;
        Array::f32(vec![samples.len(), width], values).map_err(|error| LearnError::Config(error.to_string()))
    }

    fn accelerator(&self, device: &str) -> Result<Option<Arc<dyn Accelerator>>, LearnError> {
        if device == CPU {
            return Ok(None);
        }
        Ok(Some(Arc::new(TorchAccelerator::new(device)?)))
    }

    fn torch(&self) -> TorchBuild {
        TorchBuild { version: runtime::describe().version.to_owned(), cxx11: runtime::CXX11_STRINGS }
    }

    fn describe(&self) -> String {
        let torch = runtime::describe();
        let folder = torch.folder.as_ref().map_or("unknown".to_owned(), |folder| folder.display().to_string());
        format!("libtorch     {} in {folder}\nGPU          {}\n", torch.version, torch.cuda)
    }
}

fn learner(dataset: &Dataset, pool: &[SampleId], config: &RunConfig) -> Result<TorchLearner, LearnError> {
    let settings = Settings {
        model: &config.experiment.model,
        recipe: &config.experiment.recipe,
        seeds: config.seeds,
        device: &config.experiment.compute.device,
        precision: config.experiment.compute.precision,
        threads: config.experiment.compute.threads(),
    };
    TorchLearner::new(dataset, pool, &settings)
}

fn main() -> ExitCode {
    // Before anything asks libtorch about CUDA: it caches the first answer.
    runtime::init();
    querist::train(&Torch)
}
