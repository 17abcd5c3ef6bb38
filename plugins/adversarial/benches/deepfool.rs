//! DeepFool over many images at once and one image at a time, on one CPU thread: processor seconds of a query, in
//! turns.
//!
//! Run with `cargo bench -p strategy-adversarial --profile dev --bench deepfool`. The fewest of the repeats is the
//! figure.

use querist_core::config::{ModelName, Optimiser, Recipe};
use querist_core::dataset::DatasetParts;
use querist_core::progress::Silent;
use querist_core::{Dataset, Images};
use querist_torch_testkit::{Bench, InProcess, processor_seconds};
use serde_json::json;
use strategy_adversarial::PACKAGE;

const LABELLED: usize = 64;
/// Images that are attacked.
const POOL: usize = 128;
const REPEATS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    for name in [ModelName::Lenet, ModelName::Cnn] {
        let label = format!("{name:?}").to_lowercase();
        if filter.as_ref().is_some_and(|filter| !label.contains(filter)) {
            continue;
        }
        let recipe = Recipe { optimiser: Optimiser::Adam, lr: 0.002, epochs: 5, minibatch: 16, ..Recipe::default() };
        let mut bench = Bench::new(&levels(LABELLED + POOL)?, LABELLED, POOL / 2, name, &recipe);
        bench.fit(None)?;
        let query = |batch: usize| -> Result<_, Box<dyn std::error::Error>> {
            let mut strategy = InProcess::new(&PACKAGE, "adversarial-deepfool", &json!({ "batch_size": batch }))?;
            let start = processor_seconds();
            let selection = bench.query(&mut strategy, &Silent)?;
            Ok((processor_seconds() - start, selection))
        };
        let (mut together, mut alone) = (f64::INFINITY, f64::INFINITY);
        let mut largest = 0.0f64;
        for _ in 0..REPEATS {
            let (seconds, batched) = query(POOL)?;
            together = together.min(seconds);
            let (seconds, single) = query(1)?;
            alone = alone.min(seconds);
            let pairs = batched.scores.iter().zip(&single.scores);
            largest = pairs.map(|(a, b)| (a / b - 1.0).abs()).fold(largest, f64::max);
        }
        println!(
            "{label}: {:.0} images a processor second, one by one {:.0}, {:.2} times as many; lengths differ by at \
             most {largest:.1e} of themselves",
            POOL as f64 / together,
            POOL as f64 / alone,
            alone / together
        );
    }
    Ok(())
}

/// Noise with one bright line, at a height that is the class's, of ten.
fn levels(count: usize) -> Result<Dataset, Box<dyn std::error::Error>> {
    const SIDE: usize = 28;
    let mut bytes = Vec::with_capacity(count * SIDE * SIDE);
    let mut noise = 1u32;
    for image in 0..count {
        for pixel in 0..SIDE * SIDE {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let lit = pixel / SIDE == 4 + 2 * (image % 10);
            bytes.push((noise >> 25) as u8 + if lit { 100 } else { 0 });
        }
    }
    Ok(Dataset::new(DatasetParts {
        name: "levels".to_owned(),
        images: Images { bytes: bytes.into(), count, height: SIDE, width: SIDE, channels: 1 },
        labels: (0..count as u32).map(|i| i % 10).collect(),
        official_validation: 0,
        official_test: 0,
        class_names: (0..10).map(|class| class.to_string()).collect(),
        normalisation: None,
        files: vec![],
    })?)
}
