//! Two hidden layers on the raw pixels.

use tch::{TchError, Tensor};

use super::spec::{Make, Spec};
use super::{Body, boxed};
use crate::layer::{Linear, Pass};
use crate::parameters::Parameters;

pub(super) const SPEC: Spec = Spec::new("mlp", WIDTH, |p, make| Mlp::new(p, make).map(boxed));

const HIDDEN: i64 = 256;
const WIDTH: i64 = 128;

/// 256 and 128 units; the second layer is the embedding.
struct Mlp {
    hidden: Linear,
    embedding: Linear,
}

impl Mlp {
    fn new(parameters: &mut Parameters, make: Make) -> Result<Self, TchError> {
        let images = make.images;
        let pixels = images.channels * images.height * images.width;
        let hidden = Linear::new(parameters, "hidden", pixels, HIDDEN)?;
        let embedding = Linear::new(parameters, "embedding", HIDDEN, WIDTH)?;
        Ok(Self { hidden, embedding })
    }
}

impl Body for Mlp {
    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let x = self.hidden.forward(&images.f_flatten(1, -1)?, pass)?;
        let x = self.embedding.forward(&pass.relu(x)?, pass)?;
        pass.relu(x)
    }
}
