//! Minibatches a second of training on the CPU, to compare with `peer_training.py`.
//!
//! Run with `cargo bench -p querist-learn --profile dev`. The best of the repeats is the figure: everything else on the
//! machine only ever takes time away.

use std::time::Instant;

use querist_core::config::{ModelConfig, ModelName, Precision, Recipe};
use querist_core::progress::Silent;
use querist_core::{FitTask, Label, Learner, Round, SampleId, Seeds};
use querist_learn::{Settings, TorchLearner};
use querist_torch_testkit::noise;

/// Of both sides, unless `QUERIST_BENCH_THREADS` says otherwise.
const THREADS: usize = 2;
const MINIBATCH: usize = 64;

struct Case {
    name: ModelName,
    side: usize,
    channels: usize,
    minibatches: usize,
    repeats: usize,
}

const CASES: [Case; 5] = [
    Case { name: ModelName::Cnn, side: 28, channels: 1, minibatches: 60, repeats: 12 },
    Case { name: ModelName::Resnet18, side: 32, channels: 3, minibatches: 4, repeats: 6 },
    Case { name: ModelName::Vgg16Bn, side: 32, channels: 3, minibatches: 4, repeats: 6 },
    Case { name: ModelName::Squeezenet, side: 64, channels: 3, minibatches: 8, repeats: 6 },
    Case { name: ModelName::VitS16, side: 64, channels: 3, minibatches: 4, repeats: 6 },
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo bench` passes arguments of its own; a filter is the name of a model.
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    for case in &CASES {
        let label = format!("{:?}", case.name).to_lowercase();
        if filter.as_ref().is_none_or(|filter| label.contains(filter)) {
            println!("{label} {:.2} minibatches/s", measure(case)?);
        }
    }
    Ok(())
}

/// The fastest epoch; the first, in which libtorch picks its kernels, is left out.
fn measure(case: &Case) -> Result<f64, Box<dyn std::error::Error>> {
    let count = case.minibatches * MINIBATCH;
    let dataset = noise(count, case.side, case.channels);
    let samples: Vec<SampleId> = (0..count as u64).map(SampleId).collect();
    let model = ModelConfig::of(case.name);
    let recipe = Recipe { lr: 0.01, epochs: case.repeats + 1, minibatch: MINIBATCH, ..Recipe::default() };
    let asked = std::env::var("QUERIST_BENCH_THREADS").ok().and_then(|text| text.parse().ok());
    let settings = Settings {
        model: &model,
        recipe: &recipe,
        seeds: Seeds::new(0),
        device: "cpu",
        precision: Precision::Float32,
        threads: asked.unwrap_or(THREADS),
    };
    let mut learner = TorchLearner::new(&dataset, &samples, &settings)?;
    let labelled: Vec<(SampleId, Label)> = samples.iter().map(|&id| (id, Label((id.0 % 10) as u32))).collect();
    let clock = Instant::now();
    let epochs = learner.fit(FitTask::plain(Round(0), &labelled), &Silent)?.epochs;
    eprintln!("{:?}: {:.1} s in all", case.name, clock.elapsed().as_secs_f64());
    let best = epochs.iter().skip(1).map(|epoch| epoch.seconds).fold(f64::INFINITY, f64::min);
    Ok(case.minibatches as f64 / best)
}
