//! Small Bayesian networks: dropout that stays on for draws from the posterior.
//!
//! Kirsch, van Amersfoort and Gal, "BatchBALD", NeurIPS 2019: dropout after both convolutions and after the hidden
//! layer. Gal, Islam and Ghahramani, "Deep Bayesian Active Learning with Image Data", ICML 2017: dropout of a quarter
//! after the pooling, of a half before the last layer. Draws of one network at a time are what strategies call
//! coherent: one mask a draw, for all samples.

use tch::{TchError, Tensor};

use super::spec::{Make, Spec};
use super::{Body, Drop, boxed};
use crate::layer::{Conv, ConvShape, Linear, Pass, halve};
use crate::parameters::Parameters;

pub(super) const BATCH_BALD: Spec = Spec {
    // 16 pixels become 12, 6, 2 and 1.
    smallest_side: 16,
    stages: &[32, 64],
    drops_inside: true,
    ..Spec::new("bayesian-cnn", WIDTH, |p, make| BatchBald::new(p, make).map(boxed))
};

pub(super) const GAL: Spec = Spec {
    // 8 pixels become 5, 2 and 1.
    smallest_side: 8,
    stages: &[32, 32],
    drops_inside: true,
    ..Spec::new("gal-cnn", WIDTH, |p, make| Gal::new(p, make).map(boxed))
};

const WIDTH: i64 = 128;

const DROPPED: [Drop; 2] =
    [Drop { units: 32, share: 0.5, channels: true }, Drop { units: 64, share: 0.5, channels: true }];

/// 32 and 64 channels of 5x5, each dropped and halved before its ReLU, and a linear layer to 128.
struct BatchBald {
    conv1: Conv,
    conv2: Conv,
    fc1: Linear,
}

impl BatchBald {
    fn new(parameters: &mut Parameters, make: Make) -> Result<Self, TchError> {
        let shape = |inputs, outputs| ConvShape { inputs, outputs, kernel: 5, stride: 1, padding: 0 };
        let conv1 = Conv::new(parameters, "conv1", shape(make.images.channels, 32))?;
        let conv2 = Conv::new(parameters, "conv2", shape(32, 64))?;
        let side = |pixels: i64| ((pixels - 4) / 2 - 4) / 2;
        let inputs = 64 * side(make.images.height) * side(make.images.width);
        Ok(Self { conv1, conv2, fc1: Linear::new(parameters, "fc1", inputs, WIDTH)? })
    }
}

impl Body for BatchBald {
    fn drops(&self) -> &[Drop] {
        &DROPPED
    }

    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let x = self.conv1.forward(images, pass)?;
        let x = halve(&pass.drop_channels(&x, DROPPED[0].share)?)?.f_relu_()?;
        let x = pass.tap(x);
        let x = self.conv2.forward(&x, pass)?;
        let x = halve(&pass.drop_channels(&x, DROPPED[1].share)?)?.f_relu_()?;
        let x = pass.tap(x);
        let x = self.fc1.forward(&x.f_flatten(1, -1)?, pass)?;
        pass.relu(x)
    }
}

/// Two 4x4 convolutions of 32 channels, halved once, and a linear layer to 128.
struct Gal {
    conv1: Conv,
    conv2: Conv,
    fc1: Linear,
    dropped: [Drop; 1],
}

impl Gal {
    fn new(parameters: &mut Parameters, make: Make) -> Result<Self, TchError> {
        let shape = |inputs, outputs| ConvShape { inputs, outputs, kernel: 4, stride: 1, padding: 0 };
        let conv1 = Conv::new(parameters, "conv1", shape(make.images.channels, 32))?;
        let conv2 = Conv::new(parameters, "conv2", shape(32, 32))?;
        let side = |pixels: i64| (pixels - 6) / 2;
        let units = 32 * side(make.images.height) * side(make.images.width);
        let fc1 = Linear::new(parameters, "fc1", units, WIDTH)?;
        Ok(Self { conv1, conv2, fc1, dropped: [Drop { units, share: 0.25, channels: false }] })
    }
}

impl Body for Gal {
    fn drops(&self) -> &[Drop] {
        &self.dropped
    }

    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let x = self.conv1.forward(images, pass)?;
        let x = pass.relu(x)?;
        let x = pass.tap(x);
        let x = self.conv2.forward(&x, pass)?;
        let x = halve(&pass.relu(x)?)?;
        let x = pass.tap(x);
        let x = pass.drop_units(&x.f_flatten(1, -1)?, self.dropped[0].share)?;
        let x = self.fc1.forward(&x, pass)?;
        pass.relu(x)
    }
}
