//! Runs in the executable without libtorch: those whose learner is a program of the user's own.

use std::path::Path;
use std::sync::Arc;

use querist_core::config::{FixedConfig, ModelConfig, RunConfig};
use querist_core::progress::Progress;
use querist_core::{Array, Dataset, HostServices, LearnError, Learner, SampleId};
use querist_kernels::Accelerator;
use querist_loader::TorchBuild;

use crate::body::Body;
use crate::trainer::{EmbeddedTask, Trainer};

/// A trainer that has no libtorch.
pub struct WithoutTorch;

/// Whether nothing of a run needs libtorch.
pub fn suffices(config: &RunConfig) -> bool {
    let experiment = &config.experiment;
    let is_frozen = matches!(experiment.fixed_embeddings, Some(FixedConfig::Frozen(_)));
    experiment.learner.is_some() && !is_frozen && experiment.compute.device.split().0 == "cpu"
}

fn refuse<T>(what: &str) -> Result<T, LearnError> {
    Err(LearnError::Config(format!("{what} needs libtorch, which `querist-train` has")))
}

impl Trainer for WithoutTorch {
    fn learner(
        &self,
        _: &Dataset,
        _: &[SampleId],
        _: &RunConfig,
        _: Option<&Path>,
        _: Option<&Body>,
        _: &dyn Fn(&str),
    ) -> Result<Box<dyn Learner>, LearnError> {
        refuse("a model of this program")
    }

    fn embeddings(
        &self,
        _: &Dataset,
        _: &[SampleId],
        _: &RunConfig,
        _: &Body,
        _: &[SampleId],
        _: &dyn Progress,
    ) -> Result<Array, LearnError> {
        refuse("a network from a file")
    }

    fn frozen(
        &self,
        _: &Dataset,
        _: &[SampleId],
        _: &RunConfig,
        _: (&ModelConfig, &[u8]),
        _: &[SampleId],
        _: &dyn Progress,
    ) -> Result<Array, LearnError> {
        refuse("a frozen model")
    }

    fn embed(
        &self,
        _: &Dataset,
        _: &[SampleId],
        _: &RunConfig,
        _: (&ModelConfig, &[u8]),
        _: &[SampleId],
        _: &dyn Progress,
    ) -> Result<Array, LearnError> {
        refuse("a frozen model")
    }

    fn embedded<'a>(&self, _: EmbeddedTask<'a>, _: &str, _: usize) -> Result<Box<dyn HostServices + 'a>, LearnError> {
        refuse("a strategy that trains")
    }

    fn accelerator(&self, device: &str) -> Result<Option<Arc<dyn Accelerator>>, LearnError> {
        if device == "cpu" { Ok(None) } else { refuse("a device beside the CPU") }
    }

    fn torch(&self) -> Option<TorchBuild> {
        None
    }

    fn describe(&self) -> String {
        "libtorch     none in this executable\n".to_owned()
    }
}
