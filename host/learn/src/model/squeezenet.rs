//! SqueezeNet 1.1.
//!
//! Iandola, Han, Moskewicz, Ashraf, Dally and Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters",
//! arXiv 1602.07360, in the form of the authors' version 1.1. Tensors carry torchvision's names, but for the head. That
//! is one linear layer of the pooled features, as everywhere here; torchvision's convolution has as many weights, and
//! cuts class scores off at 0 before it pools them.

use querist_core::config::InitScheme;
use tch::{TchError, Tensor};

use super::spec::{Make, Spec};
use super::{Body, boxed};
use crate::layer::{Conv, ConvShape, Pass};
use crate::parameters::Parameters;
use crate::weights::Layout;

pub(super) const SPEC: Spec = Spec {
    // 17 pixels become 8, 4, 2 and 1.
    smallest_side: 17,
    stages: &[128, 256, 384, 512],
    // As torchvision draws them. By the rule of single layers a signal would be lost on its way through so many without
    // a norm, and the network would not learn.
    init: InitScheme::Kaiming,
    layouts: &[Layout::head("torchvision", "classifier.1")],
    ..Spec::new("squeezenet1-1", 512, |p, make| Squeezenet::new(p, make).map(boxed))
};

/// Place in torchvision's list of layers, channels of the squeeze and of each expansion, and whether pooling comes
/// before it.
const FIRES: [(usize, i64, i64, bool); 8] = [
    (3, 16, 64, true),
    (4, 16, 64, false),
    (6, 32, 128, true),
    (7, 32, 128, false),
    (9, 48, 192, true),
    (10, 48, 192, false),
    (11, 64, 256, false),
    (12, 64, 256, false),
];

/// Fires after which there is a tap.
const TAPPED: [usize; 4] = [4, 7, 10, 12];

struct Squeezenet {
    stem: Conv,
    fires: Vec<Fire>,
}

struct Fire {
    squeeze: Conv,
    narrow: Conv,
    wide: Conv,
    pools: bool,
    tapped: bool,
}

impl Squeezenet {
    fn new(parameters: &mut Parameters, make: Make) -> Result<Self, TchError> {
        let shape = ConvShape { inputs: make.images.channels, outputs: 64, kernel: 3, stride: 2, padding: 0 };
        let stem = Conv::new(parameters, "features.0", shape)?;
        let mut inputs = 64;
        let mut fires = Vec::with_capacity(FIRES.len());
        for (place, squeezed, expanded, pools) in FIRES {
            let mut conv = |part: &str, inputs, outputs, kernel: i64| {
                let shape = ConvShape { inputs, outputs, kernel, stride: 1, padding: kernel / 2 };
                Conv::new(parameters, &format!("features.{place}.{part}"), shape)
            };
            let squeeze = conv("squeeze", inputs, squeezed, 1)?;
            let narrow = conv("expand1x1", squeezed, expanded, 1)?;
            let wide = conv("expand3x3", squeezed, expanded, 3)?;
            fires.push(Fire { squeeze, narrow, wide, pools, tapped: TAPPED.contains(&place) });
            inputs = 2 * expanded;
        }
        Ok(Self { stem, fires })
    }
}

impl Body for Squeezenet {
    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let x = self.stem.forward(images, pass)?;
        let mut x = pass.relu(x)?;
        for fire in &self.fires {
            if fire.pools {
                x = x.f_max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], true)?;
            }
            x = fire.forward(&x, pass)?;
            if fire.tapped {
                x = pass.tap(x);
            }
        }
        x.f_mean_dim([2, 3].as_slice(), false, None)
    }
}

impl Fire {
    fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let mut rectified = |conv: &Conv, x: &Tensor| {
            let y = conv.forward(x, pass)?;
            pass.relu(y)
        };
        let x = rectified(&self.squeeze, x)?;
        Tensor::f_cat(&[rectified(&self.narrow, &x)?, rectified(&self.wide, &x)?], 1)
    }
}
