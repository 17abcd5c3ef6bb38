//! Norms of single images' gradients on one thread, by the learner's service and by a backward pass for each image.
//!
//! Run with `cargo bench -p querist-learn --profile dev --bench gradients`. The two sides run in turns, and the fewest
//! processor seconds of each are the figure.

use querist_core::config::{ModelConfig, ModelName, Precision, Recipe};
use querist_core::progress::Silent;
use querist_core::{FitTask, HostServices, Label, Learner, Round, SampleId, Seeds, ServiceError, ServiceScope};
use querist_learn::{Settings, TorchLearner};
use querist_protocol::abi;
use querist_torch_testkit::{noise, processor_seconds};
use tch::{Device, Kind, Tensor};

const THREADS: usize = 1;
const REPEATS: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (name, side, channels, count) in
        [(ModelName::Lenet, 32, 3, 256), (ModelName::Cnn, 32, 3, 256), (ModelName::Resnet18, 32, 3, 32)]
    {
        let dataset = noise(64, side, channels);
        let samples: Vec<SampleId> = (0..64).map(SampleId).collect();
        let model = ModelConfig::of(name);
        let recipe = Recipe { epochs: 1, ..Recipe::default() };
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
        learner.fit(FitTask::plain(Round(0), &labelled), &Silent)?;
        let scope = ServiceScope {
            round: Round(0),
            pool: &[],
            labelled: &[],
            initial: 0,
            batch: 0,
            streams: Seeds::new(0).strategy("none"),
        };
        let services = learner.services(scope).ok_or("a learner with services")?;
        let (side, channels) = (side as i64, channels as i64);
        let images = Tensor::randn([count, channels, side, side], (Kind::Float, Device::Cpu));
        let targets = Tensor::randn([count, 10], (Kind::Float, Device::Cpu)).softmax(1, Kind::Float);
        let (mut batched, mut single) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..REPEATS {
            let clock = processor_seconds();
            // SAFETY: both tensors live, and the result is given.
            let _norms = unsafe { taken(services.gradient_norms(lent(&images), lent(&targets))?) };
            batched = batched.min(processor_seconds() - clock);
            let clock = processor_seconds();
            one_by_one(&*services, &images, &targets)?;
            single = single.min(processor_seconds() - clock);
        }
        let rate = |seconds: f64| count as f64 / seconds;
        println!(
            "{name:?}: {:.0} images a processor second, one by one {:.0}, {:.2} times as many",
            rate(batched),
            rate(single),
            single / batched
        );
    }
    Ok(())
}

fn one_by_one(services: &dyn HostServices, images: &Tensor, targets: &Tensor) -> Result<Vec<Tensor>, ServiceError> {
    // SAFETY: tensors of a result are given.
    let weights: Vec<Tensor> = services.parameters()?.into_iter().map(|weight| unsafe { taken(weight) }).collect();
    let norm = |at: i64| {
        let image = images.narrow(0, at, 1);
        // SAFETY: the image lives, and tensors of the result are given.
        let (logits, _embeddings) = unsafe {
            let out = services.forward(lent(&image), abi::FORWARD_GRAD)?;
            (taken(out.logits), taken(out.embeddings))
        };
        let loss = -(logits.log_softmax(1, Kind::Float) * targets.narrow(0, at, 1)).sum(Kind::Float);
        let gradients = Tensor::run_backward(&[loss], &weights, false, false);
        let squares: Vec<Tensor> = gradients.iter().map(|gradient| gradient.square().sum(Kind::Float)).collect();
        Ok(Tensor::stack(&squares, 0).sum(Kind::Float).sqrt())
    };
    (0..images.size()[0]).map(norm).collect()
}

fn lent(tensor: &Tensor) -> abi::Tensor {
    tensor.as_ptr().cast_mut().cast()
}

/// # Safety
/// The tensor was given.
unsafe fn taken(tensor: abi::Tensor) -> Tensor {
    // SAFETY: promised by the caller.
    unsafe { Tensor::from_ptr(tensor.cast()) }
}
