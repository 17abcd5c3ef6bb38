//! Images made here, and learners over them.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::sync::LazyLock;

use querist_core::config::{ModelConfig, ModelName, Precision, Recipe};
use querist_core::{Dataset, Label, SampleId, Seeds};
use querist_learn::{Settings, TorchLearner};
pub use querist_torch_testkit::bars;
use querist_torch_testkit::{device, shift, threads};

pub fn ids(range: std::ops::Range<u64>) -> Vec<SampleId> {
    range.map(SampleId).collect()
}

pub fn labelled(range: std::ops::Range<u64>) -> Vec<(SampleId, Label)> {
    range.map(|id| (SampleId(id), Label((id % 2) as u32))).collect()
}

pub fn quick() -> Recipe {
    Recipe { epochs: 2, minibatch: 8, ..Recipe::default() }
}

pub fn model(name: ModelName) -> ModelConfig {
    ModelConfig::of(name)
}

static DEVICE: LazyLock<String> = LazyLock::new(device);

/// Seeds that a run of the tests can shift.
pub fn seeds(root: u64) -> Seeds {
    Seeds::new(root + shift())
}

pub fn settings<'a>(model: &'a ModelConfig, recipe: &'a Recipe) -> Settings<'a> {
    Settings {
        model,
        recipe,
        seeds: seeds(3),
        device: DEVICE.as_str(),
        precision: Precision::Float32,
        threads: threads(),
    }
}

pub fn learner(dataset: &Dataset, name: ModelName, recipe: &Recipe) -> TorchLearner {
    let pool = ids(0..dataset.len() as u64);
    TorchLearner::new(dataset, &pool, &settings(&model(name), recipe)).unwrap()
}
