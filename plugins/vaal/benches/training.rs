//! Training with the ranker of TA-VAAL, and iterations of its autoencoder and discriminator, on one CPU thread, to
//! compare with `peer.py`.
//!
//! Run with `cargo bench -p strategy-vaal --profile dev --bench training`, in turns with the other side. Fits are timed
//! whole; an iteration is what a query takes longer for each one more. The best of the repeats is the figure.

use querist_core::config::{ModelName, Recipe};
use querist_core::progress::Silent;
use querist_torch_testkit::{Bench, InProcess, MINIBATCH, bars, print_fits, processor_seconds};
use serde_json::json;
use strategy_vaal::PACKAGE;

/// Images of each kind in an iteration.
const BATCH: usize = 32;
/// More iterations of the longer query.
const MORE: u32 = 3;
const REPEATS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    // The model feels the ranker in every epoch.
    print_fits("ta-vaal", filter.as_deref(), false, |epochs| {
        Ok(InProcess::new(&PACKAGE, "ta-vaal", &json!({ "epoch_loss": epochs + 1 }))?)
    })?;
    if filter.is_none_or(|filter| filter == "iteration") {
        let (short, long) = (query(1)?, query(1 + MORE)?);
        println!("an iteration of ta-vaal: {:.3} processor seconds", (long - short) / f64::from(MORE));
    }
    Ok(())
}

/// Processor seconds of a query of so many iterations.
fn query(iterations: u32) -> Result<f64, Box<dyn std::error::Error>> {
    let data = bars(4 * BATCH, 32, 3);
    let recipe = Recipe { lr: 0.01, epochs: 1, minibatch: MINIBATCH, ..Recipe::default() };
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        let mut bench = Bench::new(&data, 2 * BATCH, 1, ModelName::Cnn, &recipe);
        let params = json!({ "iterations": iterations, "batch_size": BATCH });
        let mut strategy = InProcess::new(&PACKAGE, "ta-vaal", &params)?;
        bench.fit(Some(&mut strategy))?;
        let start = processor_seconds();
        bench.query(&mut strategy, &Silent)?;
        best = best.min(processor_seconds() - start);
    }
    Ok(best)
}
