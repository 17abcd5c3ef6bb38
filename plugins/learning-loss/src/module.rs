//! The module that predicts losses.

use querist_sdk_torch::prelude::*;
use querist_sdk_torch::tch::nn::{self, Module, OptimizerConfig};

use crate::{LearningLossParams, Ties};

/// Predicts the loss of each sample from the stage maps of the task's model.
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
    pub fn new(params: &LearningLossParams, channels: &[i64], device: Device) -> Result<Self> {
        if channels.is_empty() {
            return Err(Error::failed("the model hands out no stage maps; choose `cnn`, `lenet` or `resnet18`"));
        }
        let store = nn::VarStore::new(device);
        let (root, width) = (store.root(), i64::from(params.interm_dim));
        let linear = |name: &str, inputs: i64, outputs: i64| nn::linear(&root / name, inputs, outputs, initial(inputs));
        let taps = channels.iter().enumerate().map(|(i, &c)| linear(&format!("tap{i}"), c, width)).collect();
        let output = linear("output", width * channels.len() as i64, 1);
        let sgd = nn::Sgd { momentum: params.momentum, dampening: 0.0, wd: params.weight_decay, nesterov: false };
        let optimiser = sgd.build(&store, params.lr)?;
        Ok(Self { store, taps, output, optimiser })
    }

    /// Numbers that training changes.
    pub fn parameters(&self) -> usize {
        self.store.trainable_variables().iter().map(Tensor::numel).sum()
    }

    /// Predicted losses `f32 [n]` of stage maps `f32 [n, channels, height, width]`; `detached` from the model's graph.
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

/// Weights and biases uniform within `1 / sqrt(inputs)`, as PyTorch's own linear layers start.
fn initial(inputs: i64) -> nn::LinearConfig {
    let bound = 1.0 / (inputs as f64).sqrt();
    let uniform = nn::Init::Uniform { lo: -bound, up: bound };
    nn::LinearConfig { ws_init: uniform, bs_init: Some(uniform), bias: true }
}

/// Mean over the pairs (i, b - 1 - i) of `max(0, margin - s (r_i - r_j))`, with s the sign of `l_i - l_j`.
///
/// `predicted` (r) and `losses` (l) are `f32 [n]`; the losses are held fixed. The last sample of an odd number is left
/// out. `None` where there is no pair.
///
/// # Errors
/// If the two are not of one length.
pub fn pair_loss(predicted: &Tensor, losses: &Tensor, margin: f64, ties: Ties) -> Result<Option<Tensor>> {
    let pairs = predicted.size().first().copied().unwrap_or(0) / 2;
    if pairs == 0 {
        return Ok(None);
    }
    // r_i - r_j of every pair.
    let differences =
        |values: &Tensor| values.f_narrow(0, 0, pairs)?.f_sub(&values.f_narrow(0, pairs, pairs)?.f_flip([0])?);
    let order = differences(&losses.f_detach()?)?;
    let sign = match ties {
        Ties::Skip => order.f_sign()?,
        Ties::Smaller => order.f_gt(0.0)?.f_to_kind(Kind::Float)?.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?,
    };
    let hinge = sign.f_mul(&differences(predicted)?)?.f_neg()?.f_add_scalar(margin)?.f_relu()?;
    // A tie has sign 0, and with it weight 0.
    Ok(Some(hinge.f_mul(&sign.f_abs()?)?.f_mean(Kind::Float)?))
}
