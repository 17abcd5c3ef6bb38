//! Averages of weights over the steps of a training.
//!
//! A running mean: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992. The mean of the
//! last epochs: Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, "Averaging Weights Leads to Wider Optima and Better
//! Generalization", UAI 2018 (arXiv 1803.05407).

use querist_core::LearnError;
use querist_core::config::Averaging;
use querist_torchx::optimiser::lerp;
use tch::{TchError, Tensor};

use crate::fault::Doing;
use crate::layer::Mode;
use crate::model::Model;

const DOING: &str = "averaging weights";

/// Share of a minibatch's statistics that a training pass takes over into the running ones.
const TAKEN_OVER: f64 = 0.1;

/// The average so far.
pub(crate) struct Average {
    kind: Averaging,
    /// Epochs of the training.
    epochs: usize,
    /// Weights and buffers of the model.
    model: Vec<Tensor>,
    /// Their averages.
    means: Vec<Tensor>,
    /// What went in so far: steps or epochs.
    count: u64,
}

impl Average {
    /// `None` where nothing is averaged.
    pub(crate) fn new(kind: Averaging, epochs: usize, model: &Model) -> Result<Option<Self>, LearnError> {
        if kind == Averaging::None {
            return Ok(None);
        }
        let tensors: Vec<Tensor> =
            model.parameters().named().map(|(_, tensor)| tensor.f_detach()).collect::<Result<_, _>>().doing(DOING)?;
        let means = copies(&tensors).doing(DOING)?;
        Ok(Some(Self { kind, epochs, model: tensors, means, count: 0 }))
    }

    /// A step was taken.
    pub(crate) fn step(&mut self) -> Result<(), LearnError> {
        let Averaging::Ema(kept) = self.kind else { return Ok(()) };
        self.count += 1;
        // The first steps would else be remembered for long.
        let kept = kept.min(self.count as f64 / (self.count as f64 + 9.0));
        lerp(&self.means, &self.model, 1.0 - kept).doing(DOING)
    }

    /// An epoch is over.
    pub(crate) fn epoch(&mut self, epoch: usize) -> Result<(), LearnError> {
        let Averaging::Swa(from) = self.kind else { return Ok(()) };
        if ((epoch + 1) as f64) <= from * self.epochs as f64 {
            return Ok(());
        }
        self.count += 1;
        lerp(&self.means, &self.model, 1.0 / self.count as f64).doing(DOING)
    }

    /// Swaps the model's values with their averages; twice is nothing.
    pub(crate) fn swap(&mut self) -> Result<(), LearnError> {
        let _no_grad = tch::no_grad_guard();
        let mut swapped = || {
            for (value, mean) in self.model.iter_mut().zip(&mut self.means) {
                let kept = copy(value)?;
                value.f_copy_(mean)?;
                mean.f_copy_(&kept)?;
            }
            Ok::<_, TchError>(())
        };
        swapped().doing(DOING)
    }

    /// Whether something went in, and statistics of batch-norm have to be measured for what came out.
    pub(crate) fn wants_statistics(&self) -> bool {
        matches!(self.kind, Averaging::Swa(_)) && self.count > 0
    }
}

/// Measures the running statistics of batch-norm as the mean over these minibatches, which the model takes in turn.
pub(crate) fn measure_statistics(
    model: &Model,
    minibatches: impl Iterator<Item = Result<Tensor, TchError>>,
) -> Result<(), LearnError> {
    let _no_grad = tch::no_grad_guard();
    let parameters = model.parameters();
    let buffers: Vec<Tensor> =
        parameters.named().skip(parameters.weights().len()).map(|(_, buffer)| buffer.shallow_clone()).collect();
    if buffers.is_empty() {
        return Ok(());
    }
    let measured = || {
        let mut sums = buffers.iter().map(Tensor::f_zeros_like).collect::<Result<Vec<_>, _>>()?;
        let mut count = 0.0;
        for images in minibatches {
            for buffer in &buffers {
                let _ = buffer.shallow_clone().f_zero_()?;
            }
            model.forward(&images?, Mode::Train, false)?;
            count += 1.0;
            for (sum, buffer) in sums.iter_mut().zip(&buffers) {
                let _ = sum.f_add_(buffer)?;
            }
        }
        for (sum, buffer) in sums.iter().zip(&buffers) {
            buffer.shallow_clone().f_copy_(&sum.f_div_scalar(TAKEN_OVER * count)?)?;
        }
        Ok::<_, TchError>(())
    };
    measured().doing("measuring batch-norm statistics")
}

/// Copies of tensors as they are now.
pub(crate) fn copies(tensors: &[Tensor]) -> Result<Vec<Tensor>, TchError> {
    let _no_grad = tch::no_grad_guard();
    tensors.iter().map(copy).collect()
}

fn copy(tensor: &Tensor) -> Result<Tensor, TchError> {
    let mut copy = tensor.f_detach()?.f_empty_like()?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use querist_core::config::{ModelConfig, ModelName};
    use tch::{Device, Kind};

    use super::*;
    use crate::model::{Architecture, ImageShape};

    fn model(name: ModelName) -> Model {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(2).unwrap();
        let shape = ImageShape { channels: 1, height: 8, width: 8 };
        Architecture::new(&ModelConfig::of(name), shape, 3).unwrap().build(Device::Cpu).unwrap()
    }

    fn set(model: &Model, value: f64) {
        let _no_grad = tch::no_grad_guard();
        for (_, tensor) in model.parameters().named() {
            let _ = tensor.shallow_clone().fill_(value);
        }
    }

    fn values(model: &Model) -> (f64, f64) {
        let all = model.parameters().named().map(|(_, t)| (t.min().double_value(&[]), t.max().double_value(&[])));
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (l, h)| (low.min(l), high.max(h)))
    }

    /// Weights 1, 2, 3 after three steps or epochs.
    #[test]
    fn averages_by_hand() {
        let model = model(ModelName::Mlp);
        set(&model, 0.0);
        let mut ema = Average::new(Averaging::Ema(0.15), 4, &model).unwrap().unwrap();
        let mut swa = Average::new(Averaging::Swa(0.5), 4, &model).unwrap().unwrap();
        for step in 0..4u8 {
            set(&model, f64::from(step) + 1.0);
            ema.step().unwrap();
            swa.epoch(usize::from(step)).unwrap();
        }
        // Shares kept: 1/10, 2/11 > 0.15, so 0.15 from the second step on.
        let mut expected = 0.9;
        for value in [2.0, 3.0, 4.0] {
            expected = 0.15 * expected + 0.85 * value;
        }
        ema.swap().unwrap();
        let (low, high) = values(&model);
        assert!((low - expected).abs() < 1e-5 && (high - expected).abs() < 1e-5, "{low} {high}, expected {expected}");
        ema.swap().unwrap();
        assert_eq!(values(&model), (4.0, 4.0), "swapped back");
        // Epochs 2 and 3 of 0 to 3.
        swa.swap().unwrap();
        assert_eq!(values(&model), (3.5, 3.5));
        assert!(swa.wants_statistics() && !ema.wants_statistics());
    }

    /// One minibatch as a whole: its statistics are those that an epoch of training would come to.
    #[test]
    fn statistics_are_the_means_over_minibatches() {
        let model = model(ModelName::Resnet18);
        let images = [1, 2].map(|_| Tensor::randn([6, 1, 8, 8], (Kind::Float, Device::Cpu)));
        let (_, weight) = model.parameters().named().find(|(name, _)| *name == "conv1.weight").unwrap();
        let means = images.each_ref().map(|x| {
            let maps = x.f_conv2d(weight, None::<Tensor>, [1, 1], [1, 1], [1, 1], 1).unwrap();
            maps.mean_dim([0i64, 2, 3].as_slice(), false, Kind::Float).detach()
        });
        measure_statistics(&model, images.iter().map(|x| Ok(x.shallow_clone()))).unwrap();
        let (_, found) = model.parameters().named().find(|(name, _)| *name == "bn1.running_mean").unwrap();
        let off = (found - (&means[0] + &means[1]) / 2.0).abs().max().double_value(&[]);
        assert!(off < 1e-5, "off by {off}");
    }
}
