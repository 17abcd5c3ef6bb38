//! Outputs of models as arrays of a strategy.

use querist_core::{Array, Buffer, LearnError};
use querist_protocol::Need;
use tch::Tensor;

use crate::fault::{Doing, config};
use crate::infer::{Outputs, Wanted};
use crate::layer::Linear;
use crate::model::Model;
use crate::need::Feature;
use crate::parameters::{shape, values};

/// Outputs of one side, pool or labelled, that several arrays may share.
pub(super) struct Shared {
    pub(super) samples: usize,
    pub(super) logits: Buffer<f32>,
    pub(super) embeddings: Buffer<f32>,
    pub(super) penultimate: Buffer<f32>,
}

impl Shared {
    pub(super) fn new(outputs: Outputs, samples: usize) -> Self {
        let Outputs { logits, embeddings, penultimate } = outputs;
        let (logits, embeddings) = (logits.into_buffer(), embeddings.into_buffer());
        Self { samples, logits, embeddings, penultimate: penultimate.into_buffer() }
    }
}

/// What the needs of one side ask for.
pub(super) fn wanted(needs: &[(&Need, Feature)], labelled: bool) -> Wanted {
    let of_side = |feature| needs.iter().any(|&(need, f)| f == feature && need.split_labelled().1 == labelled);
    Wanted {
        logits: of_side(Feature::Logits),
        embeddings: of_side(Feature::Embeddings),
        penultimate: of_side(Feature::Penultimate),
    }
}

/// The one layer of a linear head; [`resolve`] refuses what needs it where there is none.
pub(super) fn linear_head(model: &Model) -> Result<&Linear, LearnError> {
    model.head().linear().map_or_else(|| config("the head is not one linear layer"), Ok)
}

pub(super) fn rows_array(rows: usize, width: usize, values: &Buffer<f32>) -> Result<Array, LearnError> {
    Array::f32(vec![rows, width], values.clone()).doing("shaping an array")
}

pub(super) fn tensor_array(tensor: &Tensor) -> Result<Array, LearnError> {
    Array::f32(shape(tensor), values(tensor)?).doing("shaping an array")
}
