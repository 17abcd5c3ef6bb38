//! Residual networks.
//!
//! He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. Blocks of three convolutions have
//! their stride in the middle one, as torchvision's. Tensors carry torchvision's names, but for the head.

use querist_core::config::Stem;
use tch::{TchError, Tensor};

use super::spec::{DefaultStem, Make, Spec};
use super::{Body, boxed};
use crate::layer::{BatchNorm, Conv, ConvShape, Pass};
use crate::parameters::Parameters;
use crate::weights::Layout;

/// Sizes of a network.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Channels of each stage's 3x3 convolutions.
    widths: [i64; 4],
    /// Blocks of each stage.
    blocks: [usize; 4],
    /// Whether a block is 1x1, 3x3, 1x1 with four times the channels at its end.
    bottleneck: bool,
}

const WIDTHS: [i64; 4] = [64, 128, 256, 512];
const WIDE: [i64; 4] = [256, 512, 1024, 2048];

const fn plain(blocks: [usize; 4]) -> Sizes {
    Sizes { widths: WIDTHS, blocks, bottleneck: false }
}

const fn deep(blocks: [usize; 4]) -> Sizes {
    Sizes { widths: WIDTHS, blocks, bottleneck: true }
}

const BASE: Spec = Spec {
    smallest_minibatch: 2,
    stages: &WIDTHS,
    stem: Some(DefaultStem::ImagenetFrom(64)),
    layouts: &[Layout::head("torchvision", "fc"), HUGGING_FACE],
    ..Spec::new("resnet18", WIDTHS[3], |p, make| Resnet::new(p, make, plain([2, 2, 2, 2])).map(boxed))
};

/// Runs of before there was a choice had the small stem, whatever their images.
pub(super) const RESNET18: Spec = Spec { stem: Some(DefaultStem::Cifar), ..BASE };

pub(super) const RESNET18_16: Spec = Spec {
    label: "resnet18-16",
    stem: Some(DefaultStem::Cifar),
    stages: &[16, 32, 64, 128],
    width: 128,
    build: |p, make| {
        let sizes = Sizes { widths: [16, 32, 64, 128], ..plain([2, 2, 2, 2]) };
        Resnet::new(p, make, sizes).map(boxed)
    },
    ..BASE
};

pub(super) const RESNET34: Spec =
    Spec { label: "resnet34", build: |p, make| Resnet::new(p, make, plain([3, 4, 6, 3])).map(boxed), ..BASE };

pub(super) const RESNET50: Spec = Spec {
    label: "resnet50",
    stages: &WIDE,
    width: WIDE[3],
    build: |p, make| Resnet::new(p, make, deep([3, 4, 6, 3])).map(boxed),
    ..BASE
};

pub(super) const RESNET101: Spec = Spec {
    label: "resnet101",
    stages: &WIDE,
    width: WIDE[3],
    build: |p, make| Resnet::new(p, make, deep([3, 4, 23, 3])).map(boxed),
    ..BASE
};

pub(super) const RESNET152: Spec = Spec {
    label: "resnet152",
    stages: &WIDE,
    width: WIDE[3],
    build: |p, make| Resnet::new(p, make, deep([3, 8, 36, 3])).map(boxed),
    ..BASE
};

/// `ResNetForImageClassification` and `ResNetModel`.
const HUGGING_FACE: Layout = Layout {
    name: "Hugging Face",
    prefixes: &["resnet."],
    head: "classifier.1",
    names: &[
        ("conv1", "embedder.embedder.convolution"),
        ("bn1", "embedder.embedder.normalization"),
        ("layer#.#.conv#", "encoder.stages.-.layers.=.layer.-.convolution"),
        ("layer#.#.bn#", "encoder.stages.-.layers.=.layer.-.normalization"),
        ("layer#.#.downsample.0", "encoder.stages.-.layers.=.shortcut.convolution"),
        ("layer#.#.downsample.1", "encoder.stages.-.layers.=.shortcut.normalization"),
    ],
    rename: None,
};

/// Stem, four stages of blocks, mean over pixels.
struct Resnet {
    stem: Conv,
    stem_norm: BatchNorm,
    pools: bool,
    stages: Vec<Vec<Block>>,
}

impl Resnet {
    fn new(parameters: &mut Parameters, make: Make, sizes: Sizes) -> Result<Self, TchError> {
        let (channels, first) = (make.images.channels, sizes.widths[0]);
        let pools = make.stem == Stem::Imagenet;
        let shape = match make.stem {
            Stem::Cifar => three_by_three(channels, first, 1),
            Stem::Imagenet => ConvShape { inputs: channels, outputs: first, kernel: 7, stride: 2, padding: 3 },
        };
        let stem = Conv::without_bias(parameters, "conv1", shape)?;
        let stem_norm = BatchNorm::new(parameters, "bn1", first)?;
        let mut stages = Vec::with_capacity(sizes.widths.len());
        let mut inputs = first;
        for (stage, (width, count)) in sizes.widths.into_iter().zip(sizes.blocks).enumerate() {
            let mut blocks = Vec::with_capacity(count);
            for block in 0..count {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = format!("layer{}.{block}", stage + 1);
                let shapes = shapes(inputs, width, stride, sizes.bottleneck);
                blocks.push(Block::new(parameters, &name, &shapes, stride)?);
                inputs = shapes.last().map_or(inputs, |shape| shape.outputs);
            }
            stages.push(blocks);
        }
        Ok(Self { stem, stem_norm, pools, stages })
    }
}

impl Body for Resnet {
    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let x = self.stem.normed(&self.stem_norm, images, pass)?;
        let mut x = pass.relu(x)?;
        if self.pools {
            x = x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        }
        for stage in &self.stages {
            for block in stage {
                x = block.forward(&x, pass)?;
            }
            x = pass.tap(x);
        }
        x.f_mean_dim([2, 3].as_slice(), false, None)
    }
}

/// Convolutions beside a shortcut.
struct Block {
    convs: Vec<(Conv, BatchNorm)>,
    shortcut: Option<(Conv, BatchNorm)>,
}

impl Block {
    fn new(parameters: &mut Parameters, name: &str, shapes: &[ConvShape], stride: i64) -> Result<Self, TchError> {
        let mut convs = Vec::with_capacity(shapes.len());
        for (at, &shape) in (1..).zip(shapes) {
            let conv = Conv::without_bias(parameters, &format!("{name}.conv{at}"), shape)?;
            convs.push((conv, BatchNorm::new(parameters, &format!("{name}.bn{at}"), shape.outputs)?));
        }
        let inputs = shapes.first().map_or(0, |shape| shape.inputs);
        let outputs = shapes.last().map_or(0, |shape| shape.outputs);
        let shortcut = if stride == 1 && inputs == outputs {
            None
        } else {
            let shape = ConvShape { inputs, outputs, kernel: 1, stride, padding: 0 };
            let conv = Conv::without_bias(parameters, &format!("{name}.downsample.0"), shape)?;
            Some((conv, BatchNorm::new(parameters, &format!("{name}.downsample.1"), outputs)?))
        };
        Ok(Self { convs, shortcut })
    }

    fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let mut y = x.shallow_clone();
        for (at, (conv, norm)) in self.convs.iter().enumerate() {
            if at > 0 {
                y = pass.relu(y)?;
            }
            y = conv.normed(norm, &y, pass)?;
        }
        let sum = match &self.shortcut {
            None => y.f_add_(x)?,
            Some((conv, norm)) => y.f_add_(&conv.normed(norm, x, pass)?)?,
        };
        pass.relu(sum)
    }
}

fn shapes(inputs: i64, width: i64, stride: i64, bottleneck: bool) -> Vec<ConvShape> {
    if !bottleneck {
        return vec![three_by_three(inputs, width, stride), three_by_three(width, width, 1)];
    }
    let point = |inputs, outputs| ConvShape { inputs, outputs, kernel: 1, stride: 1, padding: 0 };
    vec![point(inputs, width), three_by_three(width, width, stride), point(width, 4 * width)]
}

fn three_by_three(inputs: i64, outputs: i64, stride: i64) -> ConvShape {
    ConvShape { inputs, outputs, kernel: 3, stride, padding: 1 }
}
