//! Training with the ranker of TA-VAAL, and iterations of its autoencoder and discriminator, on one CPU thread, to compare
//! with `peer.py`.
//!
//! Run with `cargo bench -p strategy-vaal --profile dev --bench training`, in turns with the other side. Fits are timed
//! whole; an iteration is what a query takes longer for each one more. The best of the repeats is the figure.

use querist_core::config::{ModelName, Recipe};
use querist_core::observer::Silent;
use querist_torch_testkit::{Bench, InProcess, bars, processor_seconds};
use serde_json::json;
use strategy_vaal::PACKAGE;

const MINIBATCH: usize = 64;
/// Images of each kind in an iteration.
const BATCH: usize = 32;
/// More iterations of the longer query.
const MORE: u32 = 3;
const REPEATS: usize = 3;

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
        let data = bars(labelled, side, channels);
        let mut best = f64::INFINITY;
        for _ in 0..repeats {
            let mut bench = Bench::new(&data, labelled, 0, name, &recipe(epochs));
            // The model feels the ranker in every epoch.
            let mut strategy = InProcess::new(&PACKAGE, "ta-vaal", &json!({ "epoch_loss": epochs + 1 }))?;
            let start = processor_seconds();
            bench.fit(Some(&mut strategy))?;
            best = best.min(processor_seconds() - start);
        }
        println!("{label} with ta-vaal: {:.3} minibatches a processor second", (minibatches * epochs) as f64 / best);
    }
    if filter.is_none_or(|filter| filter == "iteration") {
        let (short, long) = (query(1)?, query(1 + MORE)?);
        println!("an iteration of ta-vaal: {:.3} processor seconds", (long - short) / f64::from(MORE));
    }
    Ok(())
}

fn recipe(epochs: usize) -> Recipe {
    Recipe { lr: 0.01, epochs, minibatch: MINIBATCH, ..Recipe::default() }
}

/// Processor seconds of a query of so many iterations.
fn query(iterations: u32) -> Result<f64, Box<dyn std::error::Error>> {
    let data = bars(4 * BATCH, 32, 3);
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        let mut bench = Bench::new(&data, 2 * BATCH, 1, ModelName::Cnn, &recipe(1));
        let params = json!({ "iterations": iterations, "batch_size": BATCH });
        let mut strategy = InProcess::new(&PACKAGE, "ta-vaal", &params)?;
        bench.fit(Some(&mut strategy))?;
        let start = processor_seconds();
        bench.query(&mut strategy, &Silent)?;
        best = best.min(processor_seconds() - start);
    }
    Ok(best)
}
