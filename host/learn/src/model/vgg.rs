//! VGG-16 with batch-norm.
//!
//! Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015. Tensors
//! carry torchvision's names, but for the head. With hidden layers it is torchvision's network; images below 224 pixels
//! give maps of less than 7 pixels, of which the mean is taken, so that 32 pixels give the form that VAAL uses. Without
//! hidden layers it is the form that BADGE uses.

use tch::{TchError, Tensor};

use super::spec::{Make, Spec};
use super::{Body, Drop, boxed};
use crate::layer::{BatchNorm, Conv, ConvShape, Linear, Pass, halve};
use crate::parameters::Parameters;
use crate::weights::Layout;

const BASE: Spec = Spec {
    smallest_side: 32,
    smallest_minibatch: 2,
    stages: &[64, 128, 256, 512, 512],
    ..Spec::new("vgg16-bn-linear", 512, |p, make| Vgg::new(p, make, false).map(boxed))
};

pub(super) const WITH_HIDDEN: Spec = Spec {
    label: "vgg16-bn",
    width: HIDDEN,
    drops_inside: true,
    layouts: &[Layout::head("torchvision", "classifier.6")],
    build: |p, make| Vgg::new(p, make, true).map(boxed),
    ..BASE
};

pub(super) const LINEAR: Spec =
    Spec { layouts: &[Layout::head("BADGE", "classifier"), Layout::head("torchvision", "classifier.6")], ..BASE };

/// Channels of each stage, and its convolutions.
const STAGES: [(i64, usize); 5] = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)];

/// Units of a hidden layer.
const HIDDEN: i64 = 4096;

/// Side of the map that the hidden layers of large images take.
const LARGE: i64 = 7;

/// Of the first hidden layer; what the second gives is the embedding, of which the head drops.
const DROPPED: Drop = Drop { units: HIDDEN, share: 0.5, channels: false };

struct Vgg {
    stages: Vec<Vec<(Conv, BatchNorm)>>,
    hidden: Option<(Linear, Linear)>,
    side: i64,
}

impl Vgg {
    fn new(parameters: &mut Parameters, make: Make, hidden: bool) -> Result<Self, TchError> {
        let mut inputs = make.images.channels;
        let mut place = 0;
        let mut stages = Vec::with_capacity(STAGES.len());
        for (outputs, count) in STAGES {
            let mut stage = Vec::with_capacity(count);
            for _ in 0..count {
                let shape = ConvShape { inputs, outputs, kernel: 3, stride: 1, padding: 1 };
                let conv = Conv::new(parameters, &format!("features.{place}"), shape)?;
                stage.push((conv, BatchNorm::new(parameters, &format!("features.{}", place + 1), outputs)?));
                // A convolution, its norm and its ReLU.
                (inputs, place) = (outputs, place + 3);
            }
            stages.push(stage);
            // The pooling.
            place += 1;
        }
        let shorter = make.images.height.min(make.images.width) / 32;
        let side = if hidden && shorter >= LARGE { LARGE } else { 1 };
        let hidden = match hidden {
            false => None,
            true => Some((
                Linear::new(parameters, "classifier.0", 512 * side * side, HIDDEN)?,
                Linear::new(parameters, "classifier.3", HIDDEN, HIDDEN)?,
            )),
        };
        Ok(Self { stages, hidden, side })
    }

    /// The map as a row, of `side` x `side` pixels.
    fn pooled(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (_, _, height, width) = x.size4()?;
        match (self.side, height == self.side && width == self.side) {
            (_, true) => x.f_flatten(1, -1),
            (1, _) => x.f_mean_dim([2, 3].as_slice(), false, None),
            (side, _) => x.f_adaptive_avg_pool2d([side, side])?.f_flatten(1, -1),
        }
    }
}

impl Body for Vgg {
    fn drops(&self) -> &[Drop] {
        if self.hidden.is_some() { &[DROPPED] } else { &[] }
    }

    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let mut x = images.shallow_clone();
        for stage in &self.stages {
            for (conv, norm) in stage {
                let y = conv.normed(norm, &x, pass)?;
                x = pass.relu(y)?;
            }
            x = pass.tap(halve(&x)?);
        }
        let x = self.pooled(&x)?;
        let Some((first, second)) = &self.hidden else { return Ok(x) };
        let x = first.forward(&x, pass)?;
        let x = pass.relu(x)?;
        let x = pass.drop_units(&x, DROPPED.share)?;
        let x = second.forward(&x, pass)?;
        pass.relu(x)
    }
}
