//! EfficientNet-Lite0: EfficientNet without squeeze-and-excitation, with ReLU6, for fixed stem and head.
//!
//! Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, and the Lite
//! variants of the TPU repository. Padding and the norms' epsilon are TensorFlow's, so that the published weights fit.
//! Tensors carry timm's names, but for the head.

use tch::{TchError, Tensor};

use super::spec::{Make, Spec};
use super::{Body, boxed};
use crate::layer::{BatchNorm, Conv, ConvShape, Pass};
use crate::parameters::Parameters;
use crate::weights::Layout;

pub(super) const LITE0: Spec = Spec {
    smallest_minibatch: 2,
    layouts: &[
        Layout::head("timm", "classifier"),
        Layout { name: "lukemelas", prefixes: &[], head: "_fc", names: &[], rename: Some(lukemelas) },
    ],
    ..Spec::new("efficientnet-lite0", WIDTH, |p, make| Efficientnet::new(p, make).map(boxed))
};

const WIDTH: i64 = 1280;
const EPS: f64 = 1e-3;

/// Blocks, kernel, stride of the first block, expansion, channels.
const STAGES: [(usize, i64, i64, i64, i64); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

/// A tensor's name in the ports that count blocks through, as `efficientnet_lite_pytorch` does.
fn lukemelas(name: &str) -> Option<String> {
    let Some(rest) = name.strip_prefix("blocks.") else {
        let (layer, part) = name.rsplit_once('.')?;
        let layer = match layer {
            "conv_stem" => "_conv_stem",
            "bn1" => "_bn0",
            "conv_head" => "_conv_head",
            "bn2" => "_bn1",
            _ => return None,
        };
        return Some(format!("{layer}.{part}"));
    };
    let mut parts = rest.splitn(3, '.');
    let (stage, block, rest) =
        (parts.next()?.parse::<usize>().ok()?, parts.next()?.parse::<usize>().ok()?, parts.next()?);
    let before: usize = STAGES.get(..stage)?.iter().map(|stage| stage.0).sum();
    let (layer, part) = rest.split_once('.')?;
    // The first stage does not expand.
    let layer = match (stage, layer) {
        (0, "conv_dw") | (1.., "conv_dw") => "_depthwise_conv",
        (0, "bn1") | (1.., "bn2") => "_bn1",
        (0, "conv_pw") | (1.., "conv_pwl") => "_project_conv",
        (0, "bn2") | (1.., "bn3") => "_bn2",
        (1.., "conv_pw") => "_expand_conv",
        (1.., "bn1") => "_bn0",
        _ => return None,
    };
    Some(format!("_blocks.{}.{layer}.{part}", before + block))
}

struct Efficientnet {
    stem: Step,
    blocks: Vec<Block>,
    head: Step,
}

/// A convolution and its norm.
struct Step {
    conv: Conv,
    norm: BatchNorm,
    kernel: i64,
    stride: i64,
}

struct Block {
    /// All but the last are rectified.
    steps: Vec<Step>,
    residual: bool,
}

/// A convolution from so many channels to so many; depthwise where those are no inputs.
struct Shape {
    inputs: Option<i64>,
    outputs: i64,
    kernel: i64,
    stride: i64,
}

impl Step {
    fn new(parameters: &mut Parameters, conv: &str, norm: &str, shape: &Shape) -> Result<Self, TchError> {
        let &Shape { inputs, outputs, kernel, stride } = shape;
        let padded = ConvShape { inputs: inputs.unwrap_or(1), outputs, kernel, stride, padding: 0 };
        let conv = match inputs {
            Some(_) => Conv::without_bias(parameters, conv, padded)?,
            None => Conv::depthwise(parameters, conv, padded)?,
        };
        Ok(Self { conv, norm: BatchNorm::with_eps(parameters, norm, outputs, EPS)?, kernel, stride })
    }

    fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        self.conv.normed(&self.norm, &padded(x, self.kernel, self.stride)?, pass)
    }
}

/// TensorFlow's padding: as many outputs as inputs over the stride, the odd pixel at the end.
fn padded(x: &Tensor, kernel: i64, stride: i64) -> Result<Tensor, TchError> {
    let (_, _, height, width) = x.size4()?;
    let around = |side: i64| {
        let outputs = (side + stride - 1) / stride;
        let all = ((outputs - 1) * stride + kernel - side).max(0);
        [all / 2, all - all / 2]
    };
    let ([top, bottom], [left, right]) = (around(height), around(width));
    if [top, bottom, left, right] == [0; 4] {
        return Ok(x.shallow_clone());
    }
    x.f_constant_pad_nd([left, right, top, bottom])
}

impl Efficientnet {
    fn new(parameters: &mut Parameters, make: Make) -> Result<Self, TchError> {
        let shape = Shape { inputs: Some(make.images.channels), outputs: 32, kernel: 3, stride: 2 };
        let stem = Step::new(parameters, "conv_stem", "bn1", &shape)?;
        let mut inputs = 32;
        let mut blocks = Vec::new();
        for (stage, (count, kernel, first, expansion, outputs)) in STAGES.into_iter().enumerate() {
            for block in 0..count {
                let stride = if block == 0 { first } else { 1 };
                let shape = Shape { inputs: Some(inputs), outputs, kernel, stride };
                blocks.push(Block::new(parameters, &format!("blocks.{stage}.{block}"), &shape, expansion)?);
                inputs = outputs;
            }
        }
        let shape = Shape { inputs: Some(inputs), outputs: WIDTH, kernel: 1, stride: 1 };
        Ok(Self { stem, blocks, head: Step::new(parameters, "conv_head", "bn2", &shape)? })
    }
}

impl Body for Efficientnet {
    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let x = self.stem.forward(images, pass)?;
        let mut x = pass.relu6(x)?;
        for block in &self.blocks {
            x = block.forward(&x, pass)?;
        }
        let x = self.head.forward(&x, pass)?;
        pass.relu6(x)?.f_mean_dim([2, 3].as_slice(), false, None)
    }
}

impl Block {
    fn new(parameters: &mut Parameters, name: &str, shape: &Shape, expansion: i64) -> Result<Self, TchError> {
        let &Shape { inputs, outputs, kernel, stride } = shape;
        let inputs = inputs.unwrap_or(1);
        let inner = inputs * expansion;
        let point = |inputs, outputs| Shape { inputs: Some(inputs), outputs, kernel: 1, stride: 1 };
        let wide = Shape { inputs: None, outputs: inner, kernel, stride };
        let parts = match expansion {
            1 => vec![("conv_dw", wide), ("conv_pw", point(inner, outputs))],
            _ => vec![("conv_pw", point(inputs, inner)), ("conv_dw", wide), ("conv_pwl", point(inner, outputs))],
        };
        let steps = (1..).zip(parts).map(|(at, (conv, shape))| {
            Step::new(parameters, &format!("{name}.{conv}"), &format!("{name}.bn{at}"), &shape)
        });
        Ok(Self { steps: steps.collect::<Result<_, _>>()?, residual: stride == 1 && inputs == outputs })
    }

    fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let mut y = x.shallow_clone();
        for (at, step) in self.steps.iter().enumerate() {
            if at > 0 {
                y = pass.relu6(y)?;
            }
            y = step.forward(&y, pass)?;
        }
        if self.residual { y.f_add_(x) } else { Ok(y) }
    }
}
