//! Layers, initialised as PyTorch initialises its own.
//!
//! Weights of convolutions and linear layers are uniform within `1 / sqrt(fan_in)`: Kaiming's rule with `a = sqrt(5)`,
//! whose bound `sqrt(2 / (1 + 5)) sqrt(3 / fan_in)` is just that. So are their biases.

use std::cell::OnceCell;
use std::collections::VecDeque;

use tch::{Kind, TchError, Tensor};

use crate::parameters::Parameters;

/// How a forward pass treats dropout and batch-norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Dropout on; statistics of the minibatch, which also move the running ones.
    Train,
    /// Dropout on; statistics of the minibatch, and the running ones stay.
    TrainStill,
    /// Dropout off; the running statistics.
    Eval,
}

impl Mode {
    /// Whether dropout and minibatch statistics are on.
    pub(crate) fn is_training(self) -> bool {
        self != Self::Eval
    }
}

/// One pass through a model: how layers run, and what is kept of them.
pub(crate) struct Pass {
    mode: Mode,
    maps: Option<Vec<Tensor>>,
    layers: Option<Vec<Seen>>,
    /// Masks of the dropouts to come, in their order; none where they are drawn.
    masks: Option<VecDeque<Tensor>>,
    /// Whether batch-norms are taken into the convolutions before them.
    folds: bool,
}

/// What went through a layer with weights. Later operations may add to the output in place, which leaves its gradient
/// what it is, and do nothing else to it.
pub(crate) struct Seen {
    pub(crate) layer: Layer,
    pub(crate) input: Tensor,
    pub(crate) output: Tensor,
}

/// What a layer's gradients depend on, beside input and output.
pub(crate) enum Layer {
    /// A square convolution.
    Conv { kernel: i64, stride: i64, padding: i64, bias: bool },
    /// A square convolution of each channel with a kernel of its own.
    Depthwise { kernel: i64, stride: i64, padding: i64 },
    /// A linear layer with a bias, of rows or of rows of tokens.
    Linear,
    /// Batch-norm in eval mode, with its running statistics.
    Norm { mean: Tensor, variance: Tensor, eps: f64 },
    /// Layer-norm over the last dimension.
    TokenNorm,
    /// A factor for each value of a token.
    Scale,
    /// A class token before those of the input, and the position added to each.
    Positions,
}

impl Layer {
    /// How many tensors of weights it has.
    pub(crate) fn weights(&self) -> usize {
        match self {
            Self::Conv { bias: false, .. } | Self::Depthwise { .. } | Self::Scale => 1,
            Self::Conv { .. } | Self::Linear | Self::Norm { .. } | Self::TokenNorm | Self::Positions => 2,
        }
    }
}

impl Pass {
    /// A pass that keeps nothing.
    pub(crate) fn new(mode: Mode) -> Self {
        Self { mode, maps: None, layers: None, masks: None, folds: false }
    }

    /// A pass in eval mode through weights that never change again. Convolutions take the batch-norms after them in,
    /// which leaves out a reading and a writing of every map, and moves results by a rounding.
    pub(crate) fn folding() -> Self {
        Self { folds: true, ..Self::new(Mode::Eval) }
    }

    /// A pass in eval mode whose dropouts multiply by these masks, one after the other.
    pub(crate) fn masked(masks: Vec<Tensor>) -> Self {
        Self { masks: Some(masks.into()), ..Self::new(Mode::Eval) }
    }

    /// Dropout of whole channels: by the pass's next mask if it has one, else at random while training.
    pub(crate) fn drop_channels(&mut self, x: &Tensor, share: f64) -> Result<Tensor, TchError> {
        match self.masks.as_mut().and_then(VecDeque::pop_front) {
            Some(mask) => x.f_mul(&mask),
            None => x.f_feature_dropout(share, self.is_training()),
        }
    }

    /// Dropout of single units of `[n, units]`, likewise.
    pub(crate) fn drop_units(&mut self, x: &Tensor, share: f64) -> Result<Tensor, TchError> {
        match self.masks.as_mut().and_then(VecDeque::pop_front) {
            Some(mask) => x.f_mul(&mask),
            None => x.f_dropout(share, self.is_training()),
        }
    }

    /// ReLU of a layer's output; in place where nobody asks for the output itself.
    pub(crate) fn relu(&self, mut x: Tensor) -> Result<Tensor, TchError> {
        if self.layers.is_some() { x.f_relu() } else { x.f_relu_() }
    }

    /// ReLU cut off at 6, likewise.
    pub(crate) fn relu6(&self, mut x: Tensor) -> Result<Tensor, TchError> {
        if self.layers.is_some() { x.f_relu6() } else { x.f_relu6_() }
    }

    /// A pass that keeps stage maps.
    pub(crate) fn tapped(mode: Mode) -> Self {
        Self { maps: Some(Vec::new()), ..Self::new(mode) }
    }

    /// A pass that keeps what goes through its layers.
    pub(crate) fn recorded(mode: Mode) -> Self {
        Self { layers: Some(Vec::new()), ..Self::new(mode) }
    }

    /// How it treats dropout and batch-norm.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether dropout and minibatch statistics are on.
    pub(crate) fn is_training(&self) -> bool {
        self.mode.is_training()
    }

    /// Keeps a stage map: the output of a stage after its ReLU, `[n, channels, height, width]`. No later operation of
    /// the body may write into it.
    pub(crate) fn tap(&mut self, map: Tensor) -> Tensor {
        if let Some(maps) = &mut self.maps {
            maps.push(map.shallow_clone());
        }
        map
    }

    /// The stage maps.
    pub(crate) fn into_maps(self) -> Vec<Tensor> {
        self.maps.unwrap_or_default()
    }

    /// The layers, in the order in which they ran.
    pub(crate) fn into_layers(self) -> Vec<Seen> {
        self.layers.unwrap_or_default()
    }

    pub(crate) fn see(&mut self, layer: impl FnOnce() -> Layer, input: &Tensor, output: Tensor) -> Tensor {
        if let Some(layers) = &mut self.layers {
            layers.push(Seen { layer: layer(), input: input.shallow_clone(), output: output.shallow_clone() });
        }
        output
    }
}

/// Added to variances before their root in batch-norm.
const NORM_EPS: f64 = 1e-5;

/// Added to variances before their root in layer-norm.
pub(crate) const LAYER_NORM_EPS: f64 = 1e-6;

/// Shape of a square convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvShape {
    pub(crate) inputs: i64,
    pub(crate) outputs: i64,
    pub(crate) kernel: i64,
    pub(crate) stride: i64,
    pub(crate) padding: i64,
}

/// A two-dimensional convolution.
pub(crate) struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    kernel: i64,
    stride: i64,
    padding: i64,
    depthwise: bool,
    /// Weight and bias with the batch-norm after it, once a pass has folded it.
    folded: OnceCell<(Tensor, Tensor)>,
}

impl Conv {
    /// A convolution with a bias.
    pub(crate) fn new(parameters: &mut Parameters, name: &str, shape: ConvShape) -> Result<Self, TchError> {
        let mut conv = Self::without_bias(parameters, name, shape)?;
        let bound = bound(shape.inputs * shape.kernel * shape.kernel);
        conv.bias = Some(parameters.bias(format!("{name}.bias"), shape.outputs, bound)?);
        Ok(conv)
    }

    /// A convolution whose shift is left to the batch-norm after it.
    pub(crate) fn without_bias(parameters: &mut Parameters, name: &str, shape: ConvShape) -> Result<Self, TchError> {
        let ConvShape { inputs, outputs, kernel, stride, padding } = shape;
        let bound = bound(inputs * kernel * kernel);
        let weight = parameters.weight(format!("{name}.weight"), &[outputs, inputs, kernel, kernel], bound)?;
        Ok(Self { weight, bias: None, kernel, stride, padding, depthwise: false, folded: OnceCell::new() })
    }

    /// A convolution of each of `shape.outputs` channels with a kernel of its own; `shape.inputs` is 1.
    pub(crate) fn depthwise(parameters: &mut Parameters, name: &str, shape: ConvShape) -> Result<Self, TchError> {
        let shape = ConvShape { inputs: 1, ..shape };
        Ok(Self { depthwise: true, ..Self::without_bias(parameters, name, shape)? })
    }

    /// `[n, inputs, height, width]` to `[n, outputs, height', width']`.
    pub(crate) fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let Self { kernel, stride, padding, depthwise, .. } = *self;
        let y = self.by(x, &self.weight, self.bias.as_ref())?;
        let layer = || match depthwise {
            true => Layer::Depthwise { kernel, stride, padding },
            false => Layer::Conv { kernel, stride, padding, bias: self.bias.is_some() },
        };
        Ok(pass.see(layer, x, y))
    }

    /// The convolution, and the batch-norm of its outputs.
    pub(crate) fn normed(&self, norm: &BatchNorm, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        if !pass.folds {
            return norm.forward(&self.forward(x, pass)?, pass);
        }
        let (weight, bias) = match self.folded.get() {
            Some(folded) => folded,
            None => {
                let folded = self.fold(norm)?;
                self.folded.get_or_init(|| folded)
            }
        };
        self.by(x, weight, Some(bias))
    }

    fn by(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let Self { stride, padding, depthwise, .. } = *self;
        let groups = if depthwise { weight.size()[0] } else { 1 };
        x.f_conv2d(weight, bias, [stride, stride], [padding, padding], [1, 1], groups)
    }

    /// Weight and bias of the convolution that does what this one and `norm` do in eval mode.
    fn fold(&self, norm: &BatchNorm) -> Result<(Tensor, Tensor), TchError> {
        let _no_grad = tch::no_grad_guard();
        let double = |tensor: &Tensor| tensor.f_to_kind(Kind::Double);
        let factor = double(&norm.weight)?.f_div(&double(&norm.variance)?.f_add_scalar(norm.eps)?.f_sqrt()?)?;
        let start = match &self.bias {
            None => double(&norm.mean)?.f_neg()?,
            Some(bias) => double(bias)?.f_sub(&double(&norm.mean)?)?,
        };
        let weight = double(&self.weight)?.f_mul(&factor.f_view([-1, 1, 1, 1])?)?.f_to_kind(Kind::Float)?;
        let bias = start.f_mul(&factor)?.f_add(&double(&norm.bias)?)?.f_to_kind(Kind::Float)?;
        Ok((channels_last(&weight)?, bias))
    }
}

/// A linear layer with a bias.
pub(crate) struct Linear {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
}

impl Linear {
    pub(crate) fn new(parameters: &mut Parameters, name: &str, inputs: i64, outputs: i64) -> Result<Self, TchError> {
        let weight = parameters.weight(format!("{name}.weight"), &[outputs, inputs], bound(inputs))?;
        let bias = parameters.bias(format!("{name}.bias"), outputs, bound(inputs))?;
        Ok(Self { weight, bias })
    }

    /// A layer of a transformer: a normal that is cut off, and biases of 0.
    pub(crate) fn narrow(parameters: &mut Parameters, name: &str, inputs: i64, outputs: i64) -> Result<Self, TchError> {
        let weight = parameters.narrow_weight(format!("{name}.weight"), &[outputs, inputs])?;
        let bias = parameters.constant(format!("{name}.bias"), &[outputs], 0.0)?;
        Ok(Self { weight, bias })
    }

    /// The same weights under another name.
    pub(crate) fn share(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone() }
    }

    /// `[.., inputs]` to `[.., outputs]`.
    pub(crate) fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        Ok(pass.see(|| Layer::Linear, x, x.f_linear(&self.weight, Some(&self.bias))?))
    }
}

/// Batch normalisation over channels.
pub(crate) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: f64,
}

impl BatchNorm {
    pub(crate) fn new(parameters: &mut Parameters, name: &str, channels: i64) -> Result<Self, TchError> {
        Self::with_eps(parameters, name, channels, NORM_EPS)
    }

    /// One that adds `eps` to variances before their root.
    pub(crate) fn with_eps(parameters: &mut Parameters, name: &str, channels: i64, eps: f64) -> Result<Self, TchError> {
        Ok(Self {
            eps,
            weight: parameters.constant(format!("{name}.weight"), &[channels], 1.0)?,
            bias: parameters.constant(format!("{name}.bias"), &[channels], 0.0)?,
            mean: parameters.buffer(format!("{name}.running_mean"), &[channels], 0.0)?,
            variance: parameters.buffer(format!("{name}.running_var"), &[channels], 1.0)?,
        })
    }

    /// Normalises by the statistics that the pass's mode asks for.
    pub(crate) fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        const MOMENTUM: f64 = 0.1;
        let mode = pass.mode;
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let (mean, variance) = match mode {
            Mode::TrainStill => (None, None),
            Mode::Train | Mode::Eval => (Some(&self.mean), Some(&self.variance)),
        };
        let y = x.f_batch_norm(weight, bias, mean, variance, mode.is_training(), MOMENTUM, self.eps, true)?;
        let layer =
            || Layer::Norm { mean: self.mean.shallow_clone(), variance: self.variance.shallow_clone(), eps: self.eps };
        Ok(pass.see(layer, x, y))
    }
}

/// Layer normalisation over the last dimension.
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    pub(crate) fn new(parameters: &mut Parameters, name: &str, width: i64) -> Result<Self, TchError> {
        Ok(Self {
            weight: parameters.constant(format!("{name}.weight"), &[width], 1.0)?,
            bias: parameters.constant(format!("{name}.bias"), &[width], 0.0)?,
        })
    }

    /// `[.., width]` to the same.
    pub(crate) fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let width = self.weight.size();
        let y = x.f_layer_norm(width, Some(&self.weight), Some(&self.bias), LAYER_NORM_EPS, true)?;
        Ok(pass.see(|| Layer::TokenNorm, x, y))
    }
}

/// 2x2 maximum pooling; odd rows and columns at the end are left out.
pub(crate) fn halve(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)
}

/// `[n, channels, height, width]` of the same values, with the channels of a pixel side by side in memory.
pub(crate) fn channels_last(tensor: &Tensor) -> Result<Tensor, TchError> {
    let (n, channels, height, width) = tensor.size4()?;
    let pixels = tensor.f_permute([0, 2, 3, 1])?.f_contiguous()?;
    // By their strides: of a single channel libtorch takes a permuted view for the common order.
    let strides = [height * width * channels, 1, width * channels, channels];
    pixels.f_as_strided([n, channels, height, width], strides, None)
}

fn bound(fan_in: i64) -> f64 {
    1.0 / (fan_in as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::parameters::values;

    /// A uniform variable within b has standard deviation b / sqrt(3); tch's own layers are 2.4 times wider.
    #[test]
    fn weights_spread_as_in_pytorch() {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(1).unwrap();
        let mut parameters = Parameters::new(Device::Cpu);
        let shape = ConvShape { inputs: 32, outputs: 64, kernel: 3, stride: 1, padding: 1 };
        let conv = Conv::new(&mut parameters, "conv", shape).unwrap();
        let linear = Linear::new(&mut parameters, "linear", 400, 300).unwrap();
        let norm = BatchNorm::new(&mut parameters, "norm", 7).unwrap();
        let conv_bias = conv.bias.unwrap();
        for (tensor, fan_in) in
            [(&conv.weight, 288.0), (&conv_bias, 288.0), (&linear.weight, 400.0), (&linear.bias, 400.0f64)]
        {
            let bound = 1.0 / fan_in.sqrt();
            let values: Vec<f64> = values(tensor).unwrap().into_iter().map(f64::from).collect();
            let n = values.len() as f64;
            assert!(values.iter().all(|v| v.abs() <= bound * (1.0 + 1e-6)));
            let std = (values.iter().map(|v| v * v).sum::<f64>() / n).sqrt();
            let expected = bound / 3f64.sqrt();
            // The square of a uniform variable varies by sqrt(4/5) of its mean; five standard errors of the estimate.
            let tolerance = 5.0 * 0.5 * (0.8f64 / n).sqrt();
            assert!((std / expected - 1.0).abs() < tolerance, "std {std}, expected {expected}");
        }
        assert_eq!(values(&norm.weight).unwrap(), [1.0; 7]);
        assert_eq!(values(&norm.bias).unwrap(), [0.0; 7]);
        assert_eq!(values(&norm.variance).unwrap(), [1.0; 7]);
        let names: Vec<&str> = parameters.named().map(|(name, _)| name).collect();
        let weights = ["conv.weight", "conv.bias", "linear.weight", "linear.bias", "norm.weight", "norm.bias"];
        assert_eq!(names[..6], weights);
        assert_eq!(names[6..], ["norm.running_mean", "norm.running_var"]);
    }
}
