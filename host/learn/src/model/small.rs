//! Small networks without batch-norm that several active-learning systems use for SVHN and CIFAR-10.
//!
//! They are `Net2` and `Net3` of Kuan-Hao Huang's "DeepAL" and of the systems that took them over. Images of other
//! sizes than 32 pixels make the first linear layer wider or narrower.

use tch::{TchError, Tensor};

use super::spec::{Make, Spec};
use super::{Body, Drop, boxed};
use crate::layer::{Conv, ConvShape, Linear, Pass, halve};
use crate::parameters::Parameters;

pub(super) const SVHN: Spec = Spec {
    // 14 pixels become 12, 10, 5, 3 and 1.
    smallest_side: 14,
    stages: &[32, 32, 32],
    drops_inside: true,
    ..Spec::new("svhn-cnn", WIDTH, |p, make| {
        Small::new(p, make, Sizes { kernel: 3, last: 32, hidden: Some(400) }).map(boxed)
    })
};

pub(super) const CIFAR: Spec = Spec {
    // 20 pixels become 16, 12, 6, 2 and 1.
    smallest_side: 20,
    stages: &[32, 32, 64],
    ..Spec::new("cifar-cnn", WIDTH, |p, make| {
        Small::new(p, make, Sizes { kernel: 5, last: 64, hidden: None }).map(boxed)
    })
};

const WIDTH: i64 = 50;

/// Of the last convolution, where there is a hidden layer.
const DROPPED: Drop = Drop { units: 32, share: 0.5, channels: true };

#[derive(Debug, Clone, Copy)]
struct Sizes {
    kernel: i64,
    /// Channels of the last convolution; the two before have 32.
    last: i64,
    /// Units between the last map and the embedding.
    hidden: Option<i64>,
}

/// Three convolutions, the last two halved before their ReLU, and linear layers to the embedding.
struct Small {
    convs: [Conv; 3],
    hidden: Option<Linear>,
    embedding: Linear,
}

impl Small {
    fn new(parameters: &mut Parameters, make: Make, sizes: Sizes) -> Result<Self, TchError> {
        let Sizes { kernel, last, hidden } = sizes;
        let shape = |inputs, outputs| ConvShape { inputs, outputs, kernel, stride: 1, padding: 0 };
        let convs = [
            Conv::new(parameters, "conv1", shape(make.images.channels, 32))?,
            Conv::new(parameters, "conv2", shape(32, 32))?,
            Conv::new(parameters, "conv3", shape(32, last))?,
        ];
        let cut = kernel - 1;
        let side = |pixels: i64| ((pixels - 2 * cut) / 2 - cut) / 2;
        let inputs = last * side(make.images.height) * side(make.images.width);
        let (hidden, embedding) = match hidden {
            None => (None, Linear::new(parameters, "fc1", inputs, WIDTH)?),
            Some(units) => {
                let hidden = Linear::new(parameters, "fc1", inputs, units)?;
                (Some(hidden), Linear::new(parameters, "fc2", units, WIDTH)?)
            }
        };
        Ok(Self { convs, hidden, embedding })
    }
}

impl Body for Small {
    fn drops(&self) -> &[Drop] {
        if self.hidden.is_some() { &[DROPPED] } else { &[] }
    }

    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let [first, second, third] = &self.convs;
        let x = first.forward(images, pass)?;
        let x = pass.relu(x)?;
        let x = pass.tap(x);
        let x = halved(&second.forward(&x, pass)?)?;
        let x = pass.tap(x);
        let mut x = third.forward(&x, pass)?;
        if self.hidden.is_some() {
            x = pass.drop_channels(&x, DROPPED.share)?;
        }
        let x = pass.tap(halved(&x)?);
        let mut x = x.f_flatten(1, -1)?;
        if let Some(hidden) = &self.hidden {
            let y = hidden.forward(&x, pass)?;
            x = pass.relu(y)?;
        }
        let x = self.embedding.forward(&x, pass)?;
        pass.relu(x)
    }
}

/// Halved, then rectified.
fn halved(x: &Tensor) -> Result<Tensor, TchError> {
    halve(x)?.f_relu_()
}
