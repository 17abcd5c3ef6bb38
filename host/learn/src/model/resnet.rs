//! ResNet-18 with the stem for 32-pixel images.
//!
//! He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. The stem is one 3x3 convolution
//! of stride 1 without pooling. Tensors carry torchvision's names, but for the head.

use tch::{TchError, Tensor};

use super::{Body, ImageShape};
use crate::layer::{BatchNorm, Conv, ConvShape, Pass};
use crate::parameters::Parameters;

/// Channels of each stage.
pub(super) const WIDTHS: [i64; 4] = [64, 128, 256, 512];

/// Blocks of a stage.
const BLOCKS: usize = 2;

/// Stem, four stages of two blocks each, mean over pixels.
pub(super) struct Resnet18 {
    stem: Conv,
    stem_norm: BatchNorm,
    blocks: Vec<Block>,
}

impl Resnet18 {
    pub(super) fn new(parameters: &mut Parameters, images: ImageShape) -> Result<Self, TchError> {
        let stem = Conv::without_bias(parameters, "conv1", three_by_three(images.channels, WIDTHS[0], 1))?;
        let stem_norm = BatchNorm::new(parameters, "bn1", WIDTHS[0])?;
        let mut blocks = Vec::with_capacity(WIDTHS.len() * BLOCKS);
        let mut inputs = WIDTHS[0];
        for (stage, outputs) in WIDTHS.into_iter().enumerate() {
            for block in 0..BLOCKS {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = format!("layer{}.{block}", stage + 1);
                blocks.push(Block::new(parameters, &name, inputs, outputs, stride)?);
                inputs = outputs;
            }
        }
        Ok(Self { stem, stem_norm, blocks })
    }
}

impl Body for Resnet18 {
    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let x = self.stem_norm.forward(&self.stem.forward(images, pass)?, pass)?;
        let mut x = pass.relu(x)?;
        for stage in self.blocks.chunks(BLOCKS) {
            for block in stage {
                x = block.forward(&x, pass)?;
            }
            x = pass.tap(x);
        }
        x.f_mean_dim([2, 3].as_slice(), false, None)
    }
}

/// Two convolutions beside a shortcut.
struct Block {
    conv1: Conv,
    norm1: BatchNorm,
    conv2: Conv,
    norm2: BatchNorm,
    shortcut: Option<(Conv, BatchNorm)>,
}

impl Block {
    fn new(parameters: &mut Parameters, name: &str, inputs: i64, outputs: i64, stride: i64) -> Result<Self, TchError> {
        let conv1 = Conv::without_bias(parameters, &format!("{name}.conv1"), three_by_three(inputs, outputs, stride))?;
        let norm1 = BatchNorm::new(parameters, &format!("{name}.bn1"), outputs)?;
        let conv2 = Conv::without_bias(parameters, &format!("{name}.conv2"), three_by_three(outputs, outputs, 1))?;
        let norm2 = BatchNorm::new(parameters, &format!("{name}.bn2"), outputs)?;
        let shortcut = if stride == 1 && inputs == outputs {
            None
        } else {
            let shape = ConvShape { inputs, outputs, kernel: 1, stride, padding: 0 };
            let conv = Conv::without_bias(parameters, &format!("{name}.downsample.0"), shape)?;
            Some((conv, BatchNorm::new(parameters, &format!("{name}.downsample.1"), outputs)?))
        };
        Ok(Self { conv1, norm1, conv2, norm2, shortcut })
    }

    fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let y = self.norm1.forward(&self.conv1.forward(x, pass)?, pass)?;
        let y = pass.relu(y)?;
        let mut y = self.norm2.forward(&self.conv2.forward(&y, pass)?, pass)?;
        let sum = match &self.shortcut {
            None => y.f_add_(x)?,
            Some((conv, norm)) => y.f_add_(&norm.forward(&conv.forward(x, pass)?, pass)?)?,
        };
        pass.relu(sum)
    }
}

fn three_by_three(inputs: i64, outputs: i64, stride: i64) -> ConvShape {
    ConvShape { inputs, outputs, kernel: 3, stride, padding: 1 }
}
