//! Minibatches a second of training on the CPU, to compare with `peer_training.py`; `compare_training.py` runs both in
//! turns.
//!
//! Run with `cargo bench -p querist-learn --profile dev`. The best of the repeats is the figure, by the clock and a
//! second of the processor: everything else on the machine only ever takes time away.

use std::sync::Mutex;
use std::time::Instant;

use querist_core::config::{ModelConfig, ModelName, Precision, Recipe};
use querist_core::progress::{Cancelled, Phase, Progress};
use querist_core::{FitTask, Label, Learner, Round, SampleId, Seeds};
use querist_learn::{Settings, TorchLearner};
use querist_torch_testkit::noise;
use rustix::time::{ClockId, clock_gettime};

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
            let (clock, processor) = measure(case)?;
            println!("{label} {clock:.3} minibatches/s, {processor:.3} a processor second");
        }
    }
    Ok(())
}

/// Processor seconds at the beginning of each epoch.
struct Marks {
    minibatches: usize,
    at: Mutex<Vec<f64>>,
}

impl Progress for Marks {
    fn report(&self, _: Phase, done: u64, _: u64) -> Result<(), Cancelled> {
        let mut at = self.at.lock().map_err(|_| Cancelled)?;
        if done as usize == at.len() * self.minibatches {
            at.push(processor());
        }
        Ok(())
    }
}

fn processor() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Minibatches a second of the fastest epoch, by the clock and by the processor; the first, in which libtorch picks its
/// kernels, is left out.
fn measure(case: &Case) -> Result<(f64, f64), Box<dyn std::error::Error>> {
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
    let marks = Marks { minibatches: case.minibatches, at: Mutex::default() };
    let epochs = learner.fit(FitTask::plain(Round(0), &labelled), &marks)?.epochs;
    eprintln!("{:?}: {:.1} s in all", case.name, clock.elapsed().as_secs_f64());
    let best = epochs.iter().skip(1).map(|epoch| epoch.seconds).fold(f64::INFINITY, f64::min);
    let marks = marks.at.into_inner()?;
    let least = marks.windows(2).skip(1).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    Ok((case.minibatches as f64 / best, case.minibatches as f64 / least))
}
