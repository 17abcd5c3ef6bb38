//! Images made here, and learners over them.
#![allow(dead_code, reason = "not every test file uses all of it")]

use querist_core::config::{ModelConfig, ModelName, Recipe, RecipeConfig};
use querist_core::{Dataset, Label, SampleId, Seeds};
use querist_learn::{Settings, TorchLearner};
<<<<<<< HEAD
use querist_protocol::philox::Stream;

/// Noise with one bright bar: upright in class 0, level in class 1. Labels alternate.
pub fn bars(count: usize, side: usize, channels: usize) -> Dataset {
    let mut stream = Stream::new(11, 0);
    let mut bytes = Vec::with_capacity(count * side * side * channels);
    for image in 0..count {
        let bar = stream.next_below(side as u64) as usize;
        for y in 0..side {
            for x in 0..side {
                let lit = if image % 2 == 0 { x == bar } else { y == bar };
                for _ in 0..channels {
                    bytes.push(stream.next_below(100) as u8 + if lit { 100 } else { 0 });
                }
            }
        }
    }
    Dataset::new(DatasetParts {
        name: "bars".to_owned(),
        images: Images { bytes: bytes.into(), count, height: side, width: side, channels },
        labels: (0..count as u32).map(|i| i % 2).collect(),
        official_validation: 0,
        official_test: 0,
        class_names: vec!["upright".to_owned(), "level".to_owned()],
        normalisation: None,
        files: vec![],
    })
    .unwrap()
}
=======
pub use querist_torch_testkit::bars;
use querist_torch_testkit::{shift, threads};
>>>>>>> wt-paths

pub fn ids(range: std::ops::Range<u64>) -> Vec<SampleId> {
    range.map(SampleId).collect()
}

pub fn labelled(range: std::ops::Range<u64>) -> Vec<(SampleId, Label)> {
    range.map(|id| (SampleId(id), Label((id % 2) as u32))).collect()
}

pub fn quick() -> RecipeConfig {
    RecipeConfig { epochs: Some(2), minibatch: Some(8), ..RecipeConfig::default() }
}

pub fn model(name: ModelName) -> ModelConfig {
    ModelConfig::of(name)
}

/// Seeds that a run of the tests can shift.
pub fn seeds(root: u64) -> Seeds {
    Seeds::new(root + shift())
}

pub fn settings<'a>(model: &'a ModelConfig, recipe: &'a Recipe) -> Settings<'a> {
    Settings { model, recipe, seeds: seeds(3), device: "cpu", threads: threads() }
}

pub fn learner(dataset: &Dataset, name: ModelName, recipe: &RecipeConfig) -> TorchLearner {
    let pool = ids(0..dataset.len() as u64);
    TorchLearner::new(dataset, &pool, &settings(&model(name), &recipe.resolve())).unwrap()
}
