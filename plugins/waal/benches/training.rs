//! Minibatches a processor second of training with WAAL on one CPU thread, to compare with `peer.py`.
//!
//! Run with `cargo bench -p strategy-waal --profile dev --bench training`, in turns with the other side. A fit is timed
//! whole; the best of the repeats is the figure.

use querist_core::config::{ModelName, Recipe};
use querist_torch_testkit::{Bench, InProcess, bars, processor_seconds};
use serde_json::json;
use strategy_waal::PACKAGE;

const MINIBATCH: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    for (name, side, channels, minibatches, epochs, repeats) in
        [(ModelName::Cnn, 28, 1, 20, 2, 5), (ModelName::Resnet18, 32, 3, 2, 1, 3)]
    {
        let label = format!("{name:?}").to_lowercase();
        if filter.as_ref().is_some_and(|filter| !label.contains(filter)) {
            continue;
        }
        let labelled = minibatches * MINIBATCH;
        let data = bars(2 * labelled, side, channels);
        let recipe = Recipe { lr: 0.01, epochs, minibatch: MINIBATCH, ..Recipe::default() };
        let mut best = f64::INFINITY;
        for _ in 0..repeats {
            let mut bench = Bench::new(&data, labelled, MINIBATCH, name, &recipe);
            let mut strategy = InProcess::new(&PACKAGE, "waal", &json!({ "epoch_length": "labelled" }))?;
            let start = processor_seconds();
            bench.fit(Some(&mut strategy))?;
            best = best.min(processor_seconds() - start);
        }
        println!("{label} with waal: {:.3} minibatches a processor second", (minibatches * epochs) as f64 / best);
    }
    Ok(())
}
