//! The network of two 5x5 convolutions with dropout that many active-learning systems use for digits.

use tch::{TchError, Tensor};

use super::spec::{Make, Spec};
use super::{Body, Drop, boxed};
use crate::layer::{Conv, ConvShape, Linear, Pass, halve};
use crate::parameters::Parameters;

pub(super) const SPEC: Spec = Spec {
    // 16 pixels become 12, 6, 2 and 1.
    smallest_side: 16,
    stages: &STAGES,
    drops_inside: true,
    ..Spec::new("lenet", WIDTH, |p, make| Lenet::new(p, make).map(boxed))
};

/// Channels of the second convolution.
const DROPPED: Drop = Drop { units: STAGES[1], share: 0.5, channels: true };

/// Channels of the output of each block of convolution and halving.
const STAGES: [i64; 2] = [10, 20];

const WIDTH: i64 = 50;

/// 10 and 20 channels, each halved before its ReLU, and a linear layer to 50.
struct Lenet {
    conv1: Conv,
    conv2: Conv,
    embedding: Linear,
}

impl Lenet {
    fn new(parameters: &mut Parameters, make: Make) -> Result<Self, TchError> {
        let images = make.images;
        let shape = |inputs, outputs| ConvShape { inputs, outputs, kernel: 5, stride: 1, padding: 0 };
        let conv1 = Conv::new(parameters, "conv1", shape(images.channels, 10))?;
        let conv2 = Conv::new(parameters, "conv2", shape(10, 20))?;
        let side = |pixels: i64| ((pixels - 4) / 2 - 4) / 2;
        let embedding = Linear::new(parameters, "embedding", 20 * side(images.height) * side(images.width), WIDTH)?;
        Ok(Self { conv1, conv2, embedding })
    }
}

impl Body for Lenet {
    fn drops(&self) -> &[Drop] {
        &[DROPPED]
    }

    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let x = halve(&self.conv1.forward(images, pass)?)?.f_relu_()?;
        let x = pass.tap(x);
        let x = self.conv2.forward(&x, pass)?;
        let x = pass.drop_channels(&x, DROPPED.share)?;
        let x = pass.tap(halve(&x)?.f_relu_()?);
        let x = self.embedding.forward(&x.f_flatten(1, -1)?, pass)?;
        pass.relu(x)
    }
}
