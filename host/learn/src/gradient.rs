//! Gradients of single samples.

use tch::{Kind, TchError, Tensor};

use crate::layer::Mode;
use crate::model::Model;
use querist_torchx::ambient::GradMode;

/// For each image the norm of the gradient, over all weights, of `-sum_c targets_c log softmax(logits)_c`, in eval mode.
///
/// `images` is `[n, channels, height, width]`, `targets` is `f32 [n, classes]`; the result is `f32 [n]`.
pub(crate) fn norms(model: &Model, images: &Tensor, targets: &Tensor) -> Result<Tensor, TchError> {
    let n = images.size().first().copied().unwrap_or(0);
    let norms = (0..n).map(|at| norm(model, &images.f_narrow(0, at, 1)?, &targets.f_narrow(0, at, 1)?));
    let norms = norms.collect::<Result<Vec<_>, _>>()?;
    match norms.is_empty() {
        true => Tensor::f_zeros([0], (Kind::Float, images.device())),
        false => Tensor::f_stack(&norms, 0),
    }
}

/// Of one image, `f32 []`.
fn norm(model: &Model, image: &Tensor, targets: &Tensor) -> Result<Tensor, TchError> {
    let _grad = GradMode::set(true);
    let logits = model.forward(&image.f_detach()?, Mode::Eval, false)?.logits;
    let loss = logits.f_log_softmax(1, None)?.f_mul(&targets.f_detach()?)?.f_sum(None)?.f_neg()?;
    let gradients = Tensor::f_run_backward(&[loss], model.parameters().weights(), false, false)?;
    let squares = gradients.iter().map(|g| g.f_square()?.f_sum(Kind::Double)).collect::<Result<Vec<_>, _>>()?;
    Tensor::f_stack(&squares, 0)?.f_sum(Kind::Double)?.f_sqrt()?.f_to_kind(Kind::Float)
}
