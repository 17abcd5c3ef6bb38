//! Two hidden layers on the raw pixels.

use tch::{TchError, Tensor};

use super::{Body, ImageShape};
use crate::layer::{Linear, Pass};
use crate::parameters::Parameters;

const HIDDEN: i64 = 256;
pub(super) const WIDTH: i64 = 128;

/// 256 and 128 units; the second layer is the embedding.
pub(super) struct Mlp {
    hidden: Linear,
    embedding: Linear,
}

impl Mlp {
    pub(super) fn new(parameters: &mut Parameters, images: ImageShape) -> Result<Self, TchError> {
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
