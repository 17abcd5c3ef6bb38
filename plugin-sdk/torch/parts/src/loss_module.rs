//! A module beside the task's model that predicts a number of each sample from the model's stage maps.

use querist_sdk_torch::linear;
use querist_sdk_torch::prelude::*;
use querist_sdk_torch::tch::nn::{self, Module, OptimizerConfig};

/// What a pair of equal losses counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ties {
    /// Nothing.
    Skip,
    /// As if the first loss were the smaller one.
    Smaller,
}

/// Size and training of the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Units of the linear layer after each stage.
    pub units: u32,
    /// Learning rate of SGD, until [`LossModule::step`] gets another.
    pub lr: f64,
    /// Its momentum.
    pub momentum: f64,
    /// Its weight decay.
    pub weight_decay: f64,
}

/// Predicts a number of each sample, such as its loss, from the stage maps of the task's model.
///
/// Each map is averaged over its pixels and passes a linear layer and a ReLU; one linear layer over all of them gives
/// the number.
pub struct LossModule {
    store: nn::VarStore,
    taps: Vec<nn::Linear>,
    output: nn::Linear,
    optimiser: nn::Optimizer,
}

impl LossModule {
    /// A module with fresh weights for maps of these channels.
    ///
    /// # Errors
    /// If the model has no stages or the device no room.
    pub fn new(settings: &Settings, channels: &[i64], device: Device) -> Result<Self> {
        if channels.is_empty() {
            return Err(Error::failed("the model hands out no stage maps; choose `cnn`, `lenet` or `resnet18`"));
        }
        let store = nn::VarStore::new(device);
        let (root, width) = (store.root(), i64::from(settings.units));
        let tap = |(i, &channels): (usize, &i64)| linear(&root / format!("tap{i}"), channels, width);
        let taps = channels.iter().enumerate().map(tap).collect();
        let output = linear(&root / "output", width * channels.len() as i64, 1);
        let sgd = nn::Sgd { momentum: settings.momentum, dampening: 0.0, wd: settings.weight_decay, nesterov: false };
        let optimiser = sgd.build(&store, settings.lr)?;
        Ok(Self { store, taps, output, optimiser })
    }

    /// Numbers that training changes.
    pub fn parameters(&self) -> usize {
        self.store.trainable_variables().iter().map(Tensor::numel).sum()
    }

    /// Predictions `f32 [n]` of stage maps `f32 [n, channels, height, width]`; `detached` from the model's graph.
    ///
    /// # Errors
    /// If the maps are not those that the module was made for.
    pub fn predict(&self, stages: &[Tensor], detached: bool) -> Result<Tensor> {
        if stages.len() != self.taps.len() {
            return Err(Error::failed(format!("{} stage maps, expected {}", stages.len(), self.taps.len())));
        }
        let taps = self.taps.iter().zip(stages).map(|(tap, map)| {
            let map = if detached { map.f_detach()? } else { map.shallow_clone() };
            Ok(tap.forward(&map.f_mean_dim([2, 3].as_slice(), false, None)?).f_relu_()?)
        });
        let taps = taps.collect::<Result<Vec<_>>>()?;
        Ok(self.output.forward(&Tensor::f_cat(&taps, 1)?).f_squeeze_dim(1)?)
    }

    /// Steps the weights by their gradients at rate `lr`, and forgets the gradients.
    pub fn step(&mut self, lr: f64) {
        self.optimiser.set_lr(lr);
        self.optimiser.step();
        self.optimiser.zero_grad();
    }
}

/// For every pair (i, n - 1 - i) of values `[n]` the difference of the first and the second, `[n / 2]`. The last of an
/// odd number of values is left out.
///
/// # Errors
/// If libtorch fails.
pub fn differences(values: &Tensor) -> Result<Tensor> {
    let pairs = values.size().first().copied().unwrap_or(0) / 2;
    Ok(values.f_narrow(0, 0, pairs)?.f_sub(&values.f_narrow(0, pairs, pairs)?.f_flip([0])?)?)
}

/// Mean over the pairs (i, b - 1 - i) of `max(0, margin - s (r_i - r_j))`, with s the sign of `l_i - l_j`.
///
/// `predicted` (r) and `losses` (l) are `f32 [n]`; the losses are held fixed. The last sample of an odd number is left
/// out. `None` where there is no pair.
///
/// # Errors
/// If the two are not of one length.
pub fn pair_loss(predicted: &Tensor, losses: &Tensor, margin: f64, ties: Ties) -> Result<Option<Tensor>> {
    if predicted.numel() < 2 {
        return Ok(None);
    }
    let order = differences(&losses.f_detach()?)?;
    let sign = match ties {
        Ties::Skip => order.f_sign()?,
        Ties::Smaller => order.f_gt(0.0)?.f_to_kind(Kind::Float)?.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?,
    };
    let hinge = sign.f_mul(&differences(predicted)?)?.f_neg()?.f_add_scalar(margin)?.f_relu()?;
    // A tie has sign 0, and with it weight 0.
    Ok(Some(hinge.f_mul(&sign.f_abs()?)?.f_mean(Kind::Float)?))
}
