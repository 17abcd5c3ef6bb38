//! Minibatches a second of training with learning loss on the CPU, to compare with `peer.py`.
//!
//! Run with `cargo bench -p strategy-learning-loss --profile dev --bench training`, in turns with the other side. The
//! best of the repeats is the figure: everything else on the machine only ever takes time away.

use querist_core::config::{ModelConfig, ModelName, Precision, Recipe};
use querist_core::{Label, SampleId, Seeds};
use querist_learn::{Settings, TorchLearner};
use querist_torch_testkit::{Bench, InProcess, bars};
use serde_json::json;
use strategy_learning_loss::PACKAGE;

const THREADS: usize = 2;
const MINIBATCH: usize = 64;
/// Labels that nobody has: what is timed does not depend on them.
const CLASSES: u64 = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    for (name, side, channels, minibatches, repeats) in
        [(ModelName::Cnn, 28, 1, 60, 12), (ModelName::Resnet18, 32, 3, 4, 6)]
    {
        let label = format!("{name:?}").to_lowercase();
        if filter.as_ref().is_some_and(|filter| !label.contains(filter)) {
            continue;
        }
        for with in [false, true] {
            let dataset = bars(minibatches * MINIBATCH, side, channels);
            let samples: Vec<SampleId> = (0..dataset.len() as u64).map(SampleId).collect();
            let model = ModelConfig::of(name);
            let recipe = Recipe { lr: 0.01, epochs: repeats + 1, minibatch: MINIBATCH, ..Recipe::default() };
            let seeds = Seeds::new(0);
            let settings = Settings {
                model: &model,
                recipe: &recipe,
                seeds,
                device: "cpu",
                precision: Precision::Float32,
                threads: THREADS,
            };
            let learner = TorchLearner::new(&dataset, &samples, &settings)?;
            let labelled = samples.iter().map(|&id| (id, Label((id.0 % CLASSES) as u32))).collect();
            let mut bench = Bench { learner, labelled, pool: Vec::new(), batch: 0, seeds, round: 0, state: None };
            // The model feels the module in every epoch.
            let mut strategy = InProcess::new(&PACKAGE, "learning-loss", &json!({ "epoch_loss": repeats + 1 }))?;
            let fitted = bench.fit(with.then_some(&mut strategy as _))?;
            // In the first epoch libtorch picks its kernels.
            let best = fitted.epochs.iter().skip(1).map(|epoch| epoch.seconds).fold(f64::INFINITY, f64::min);
            let what = if with { "with learning loss" } else { "alone" };
            println!("{label} {what} {:.2} minibatches/s", minibatches as f64 / best);
        }
    }
    Ok(())
}
