//! Whole fits with a strategy that takes part in training, timed for benches.

use std::error::Error;

use querist_core::config::{ModelName, Recipe};

use crate::{Bench, InProcess, bars, processor_seconds};

/// Samples in a minibatch.
pub const MINIBATCH: usize = 64;

/// Networks with the side and channels of their images, minibatches an epoch, epochs and repeats.
const CASES: [(ModelName, usize, usize, usize, usize, usize); 2] =
    [(ModelName::Cnn, 28, 1, 20, 2, 5), (ModelName::Resnet18, 32, 3, 2, 1, 3)];

/// Prints minibatches a processor second of whole fits, the best of the repeats, of the networks whose name has
/// `filter` in it.
///
/// `strategy` is made for a number of epochs. With `unlabelled`, the pool holds as many samples as are labelled.
///
/// # Errors
/// If the strategy cannot be made or does not train.
pub fn print_fits(
    what: &str,
    filter: Option<&str>,
    unlabelled: bool,
    strategy: impl Fn(usize) -> Result<InProcess, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    for (name, side, channels, minibatches, epochs, repeats) in CASES {
        let label = format!("{name:?}").to_lowercase();
        if filter.is_some_and(|filter| !label.contains(filter)) {
            continue;
        }
        let labelled = minibatches * MINIBATCH;
        let (pool, batch) = if unlabelled { (labelled, MINIBATCH) } else { (0, 0) };
        let data = bars(labelled + pool, side, channels);
        let recipe = Recipe { lr: 0.01, epochs, minibatch: MINIBATCH, ..Recipe::default() };
        let mut best = f64::INFINITY;
        for _ in 0..repeats {
            let mut bench = Bench::new(&data, labelled, batch, name, &recipe);
            let mut strategy = strategy(epochs)?;
            let start = processor_seconds();
            bench.fit(Some(&mut strategy))?;
            best = best.min(processor_seconds() - start);
        }
        println!("{label} with {what}: {:.3} minibatches a processor second", (minibatches * epochs) as f64 / best);
    }
    Ok(())
}
