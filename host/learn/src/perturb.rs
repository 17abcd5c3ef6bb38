//! Logits of copies of the model with noise in their weights.
//!
//! Every tensor called `weight` (of convolutions, linear layers and norms, but neither biases nor running statistics)
//! becomes `W + scale |W| / |Z| Z` in copy k, with Z standard normal. A copy is one network for all rows. The model
//! itself is not touched.
//!
//! Li, Yang, Gu, Zhan, Wang, Xu and Xu, "Deep Active Learning with Noise Stability", AAAI 2024 (arXiv 2205.13340).

use querist_core::{LearnError, SampleId};
use querist_protocol::math;
use querist_protocol::philox::Stream;
use tch::{TchError, Tensor};

use crate::ensemble::Predicting;
use crate::fault::Doing;
use crate::infer::{Wanted, predict};
use crate::model::Model;
use crate::rows::{Rows, Scratch};

const DOING: &str = "predicting with noise in the weights";

/// How many copies, and how much noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Noise {
    pub(crate) copies: usize,
    /// Length of the noise as a share of that of the weights.
    pub(crate) scale: f64,
}

impl Eq for Noise {}

/// Copies at most; a request for more is a mistake.
pub(crate) const MOST_COPIES: usize = 200;

/// Logits by row, copy and class, `[samples, copies, classes]`. `stream` gives the noise of a copy.
pub(crate) fn logits(
    with: Predicting<'_>,
    samples: &[SampleId],
    noise: Noise,
    stream: impl Fn(usize) -> Stream,
    scratch: &Scratch,
    mut done: impl FnMut(usize) -> Result<(), LearnError>,
) -> Result<Rows, LearnError> {
    let (classes, width) = (with.classes, noise.copies * with.classes);
    let mut rows = scratch.rows(samples.len() * width)?;
    let copy = with.architecture.build(with.images.device())?;
    for at in 0..noise.copies {
        copy.parameters().copy_from(with.task.parameters()).doing(DOING)?;
        jog(&copy, noise.scale, &mut stream(at)).doing(DOING)?;
        let logits = predict(&copy, with.images, samples, Wanted::LOGITS, &Scratch::memory(), &mut done)?.logits;
        for (row, logits) in rows.chunks_exact_mut(width).zip(logits.chunks_exact(classes)) {
            row[at * classes..(at + 1) * classes].copy_from_slice(logits);
        }
    }
    Ok(rows)
}

/// Adds noise to the weights, tensor by tensor in the order of the layers.
fn jog(model: &Model, scale: f64, numbers: &mut Stream) -> Result<(), TchError> {
    let _no_grad = tch::no_grad_guard();
    for (name, tensor) in model.parameters().named() {
        if !(name == "weight" || name.ends_with(".weight")) {
            continue;
        }
        let values = normals(tensor.numel(), numbers);
        let squares: f64 = values.iter().map(|&z| f64::from(z) * f64::from(z)).sum();
        let length = tensor.f_to_kind(tch::Kind::Double)?.f_norm()?.f_double_value(&[])?;
        if squares > 0.0 {
            let noise =
                Tensor::f_from_slice(&values)?.f_view(tensor.size().as_slice())?.f_to_device(tensor.device())?;
            let mut weights = tensor.shallow_clone();
            let _ = weights.f_add_(&noise.f_mul_scalar(scale * length / squares.sqrt())?)?;
        }
    }
    Ok(())
}

/// Standard normal numbers, by Marsaglia's polar method.
fn normals(count: usize, numbers: &mut Stream) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let (u, v) = (2.0 * numbers.next_uniform() - 1.0, 2.0 * numbers.next_uniform() - 1.0);
        let s = u * u + v * v;
        if s > 0.0 && s < 1.0 {
            let factor = (-2.0 * math::ln(s) / s).sqrt();
            values.extend([(u * factor) as f32, (v * factor) as f32]);
        }
    }
    values.truncate(count);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_standard_normal() {
        let values = normals(20_001, &mut Stream::new(1, 2));
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / 20_001.0;
        let square = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>() / 20_001.0;
        assert!(values.len() == 20_001 && mean.abs() < 0.03 && (square - 1.0).abs() < 0.05, "{mean}, {square}");
    }
}
