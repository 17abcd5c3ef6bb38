//! Embeddings of length 1.

use tch::{Kind, TchError, Tensor};

use super::{Body, Drop};
use crate::layer::Pass;

/// Shorter embeddings are divided by this: one of zeros stays one.
const SHORTEST: f64 = 1e-12;

/// A body whose embeddings are divided by their length.
pub(super) struct Unit(pub(super) Box<dyn Body>);

impl Body for Unit {
    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        let embeddings = self.0.embed(images, pass)?.f_to_kind(Kind::Float)?;
        let lengths = embeddings.f_norm_scalaropt_dim(2.0, 1, true)?.f_clamp_min(SHORTEST)?;
        embeddings.f_div(&lengths)
    }

    fn drops(&self) -> &[Drop] {
        self.0.drops()
    }

    fn records_layers(&self) -> bool {
        self.0.records_layers()
    }
}
