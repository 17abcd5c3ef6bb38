//! What a strategy costs that takes part in training and does nothing: two guarded calls a minibatch.
//!
//! Run with `cargo bench -p querist-learn --profile dev --bench hooks`. The best of the repeats is the figure.

use std::time::Instant;

use querist_core::config::{ModelConfig, ModelName, Precision, Recipe};
use querist_core::progress::Silent;
use querist_core::{FitTask, Label, Learner, Round, SampleId, Seeds, ServiceScope};
use querist_learn::{Settings, TorchLearner};
use querist_torch_testkit::noise;

const THREADS: usize = 2;
const MINIBATCH: usize = 64;
/// Calls of one measurement, and measurements.
const CALLS: usize = 500;
const REPEATS: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (name, side, channels, minibatches) in [(ModelName::Cnn, 28, 1, 60), (ModelName::Resnet18, 32, 3, 4)] {
        let dataset = noise(minibatches * MINIBATCH, side, channels);
        let samples: Vec<SampleId> = (0..dataset.len() as u64).map(SampleId).collect();
        let model = ModelConfig::of(name);
        let recipe = Recipe { lr: 0.01, epochs: 6, minibatch: MINIBATCH, ..Recipe::default() };
        let settings = Settings {
            model: &model,
            recipe: &recipe,
            seeds: Seeds::new(0),
            device: "cpu",
            precision: Precision::Float32,
            threads: THREADS,
        };
        let mut learner = TorchLearner::new(&dataset, &samples, &settings)?;
        let labelled: Vec<(SampleId, Label)> = samples.iter().map(|&id| (id, Label((id.0 % 10) as u32))).collect();
        let epochs = learner.fit(FitTask::plain(Round(0), &labelled), &Silent)?.epochs;
        let epoch = epochs.iter().skip(1).map(|epoch| epoch.seconds).fold(f64::INFINITY, f64::min);
        let (minibatch, call) = (epoch / minibatches as f64, guarded(&learner)?);
        println!(
            "{name:?}: a minibatch {:.2} ms, an empty guarded call {:.1} us, two of them {:.2} %",
            1e3 * minibatch,
            1e6 * call,
            100.0 * 2.0 * call / minibatch
        );
    }
    Ok(())
}

/// Seconds of a guarded call that does nothing.
fn guarded(learner: &TorchLearner) -> Result<f64, Box<dyn std::error::Error>> {
    let scope = ServiceScope {
        round: Round(0),
        pool: &[],
        labelled: &[],
        initial: 0,
        batch: 0,
        streams: Seeds::new(0).strategy("none"),
    };
    let services = learner.services(scope).ok_or("a learner with services")?;
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        let clock = Instant::now();
        for _ in 0..CALLS {
            services.guarded(&mut || ())?;
        }
        best = best.min(clock.elapsed().as_secs_f64() / CALLS as f64);
    }
    Ok(best)
}
