//! A small convolutional network for small images.

use tch::{TchError, Tensor};

use super::spec::{Make, Spec};
use super::{Body, boxed};
use crate::layer::{Conv, ConvShape, Linear, Pass, halve};
use crate::parameters::Parameters;

pub(super) const SPEC: Spec = Spec {
    // Two halvings must leave a pixel.
    smallest_side: 4,
    stages: &STAGES,
    ..Spec::new("cnn", WIDTH, |p, make| Cnn::new(p, make).map(boxed))
};

/// Channels of the output of each block of convolution and halving.
const STAGES: [i64; 3] = [32, 64, 64];

const WIDTH: i64 = 128;

/// Side to which the last feature map is halved, so that images of 8 to 32 pixels make embeddings of like cost.
const LAST_SIDE: i64 = 4;

/// Three 3x3 convolutions of 32, 64 and 64 channels, the first two halved, and a linear layer to the embedding.
struct Cnn {
    convs: [Conv; 3],
    halvings: usize,
    embedding: Linear,
}

impl Cnn {
    fn new(parameters: &mut Parameters, make: Make) -> Result<Self, TchError> {
        let images = make.images;
        let shape = |inputs, outputs| ConvShape { inputs, outputs, kernel: 3, stride: 1, padding: 1 };
        let convs = [
            Conv::new(parameters, "conv1", shape(images.channels, STAGES[0]))?,
            Conv::new(parameters, "conv2", shape(STAGES[0], STAGES[1]))?,
            Conv::new(parameters, "conv3", shape(STAGES[1], STAGES[2]))?,
        ];
        let (mut height, mut width) = (images.height / 4, images.width / 4);
        let mut halvings = 0;
        while height.min(width) > LAST_SIDE {
            (height, width, halvings) = (height / 2, width / 2, halvings + 1);
        }
        let embedding = Linear::new(parameters, "embedding", STAGES[2] * height * width, WIDTH)?;
        Ok(Self { convs, halvings, embedding })
    }
}

impl Body for Cnn {
    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let [first, second, third] = &self.convs;
        let x = first.forward(images, pass)?;
        let x = halve(&pass.relu(x)?)?;
        let x = pass.tap(x);
        let x = second.forward(&x, pass)?;
        let x = halve(&pass.relu(x)?)?;
        let x = pass.tap(x);
        let x = third.forward(&x, pass)?;
        let mut x = pass.relu(x)?;
        for _ in 0..self.halvings {
            x = halve(&x)?;
        }
        let x = pass.tap(x);
        let x = self.embedding.forward(&x.f_flatten(1, -1)?, pass)?;
        pass.relu(x)
    }
}
