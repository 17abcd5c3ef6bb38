//! Gradients of single samples.
//!
//! In eval mode no sample feels another, so one backward pass of a batch's summed losses gives, at each layer's output,
//! the gradients of the samples one below the other. With the layer's inputs they make every sample's gradient of the
//! layer's weights, whose squares are summed without keeping the gradients themselves.

use querist_torchx::ambient::GradMode;
use tch::{Kind, TchError, Tensor};

use crate::layer::{Layer, NORM_EPS, Seen};
use crate::model::Model;

/// Images of one backward pass: the widest layers unfold to some megabytes an image.
const BLOCK: i64 = 32;

/// For each image the norm of the gradient, over all weights, of `-sum_c targets_c log softmax(logits)_c`, in eval mode.
///
/// `images` is `[n, channels, height, width]`, `targets` is `f32 [n, classes]`; the result is `f32 [n]`.
pub(crate) fn norms(model: &Model, images: &Tensor, targets: &Tensor) -> Result<Tensor, TchError> {
    let n = images.size().first().copied().unwrap_or(0);
    let block = |start: i64| {
        let len = BLOCK.min(n - start);
        block_norms(model, &images.f_narrow(0, start, len)?, &targets.f_narrow(0, start, len)?)
    };
    let blocks = (0..n).step_by(BLOCK as usize).map(block).collect::<Result<Vec<_>, _>>()?;
    match blocks.is_empty() {
        true => Tensor::f_zeros([0], (Kind::Float, images.device())),
        false => Tensor::f_cat(&blocks, 0),
    }
}

fn block_norms(model: &Model, images: &Tensor, targets: &Tensor) -> Result<Tensor, TchError> {
    let (layers, gradients) = {
        let _grad = GradMode::set(true);
        let (logits, layers) = model.recorded(&images.f_detach()?)?;
        let loss = logits.f_log_softmax(1, None)?.f_mul(&targets.f_detach()?)?.f_sum(None)?.f_neg()?;
        let outputs: Vec<&Tensor> = layers.iter().map(|seen| &seen.output).collect();
        let gradients = Tensor::f_run_backward(&[loss], &outputs, false, false)?;
        (layers, gradients)
    };
    let _no_grad = GradMode::set(false);
    let seen: usize = layers.iter().map(|seen| seen.layer.weights()).sum();
    assert_eq!(seen, model.parameters().weights().len(), "every weight belongs to a layer that a pass records");
    let mut total = Tensor::f_zeros([images.size()[0]], (Kind::Double, images.device()))?;
    for (seen, gradient) in layers.iter().zip(&gradients) {
        total = total.f_add_(&squares(seen, gradient)?)?;
    }
    total.f_sqrt()?.f_to_kind(Kind::Float)
}

/// For each sample the squared norm of the gradient of a layer's weights, `f64 [n]`; `gradient` is that of its output.
fn squares(seen: &Seen, gradient: &Tensor) -> Result<Tensor, TchError> {
    match &seen.layer {
        // The weights' gradient is an outer product.
        Layer::Linear => squared(gradient)?.f_mul(&squared(&seen.input)?.f_add_scalar(1.0)?),
        Layer::Norm { mean, variance } => {
            let per_channel = |values: &Tensor| values.f_view([1, -1, 1, 1]);
            let scale = variance.f_add_scalar(NORM_EPS)?.f_rsqrt()?;
            let normal = seen.input.f_sub(&per_channel(mean)?)?.f_mul(&per_channel(&scale)?)?;
            let over_pixels = |values: &Tensor| squared(&values.f_sum_dim_intlist([2, 3].as_slice(), false, None)?);
            over_pixels(gradient)?.f_add(&over_pixels(&gradient.f_mul(&normal)?)?)
        }
        Layer::Conv { kernel, stride, padding, bias } => {
            let (kernel, stride, padding) = ([*kernel; 2], [*stride; 2], [*padding; 2]);
            let patches = seen.input.f_im2col(kernel, [1, 1], padding, stride)?;
            let gradient = gradient.f_flatten(2, 3)?;
            let weights = product_squares(&gradient, &patches)?;
            match bias {
                true => weights.f_add(&squared(&gradient.f_sum_dim_intlist(2, false, None)?)?),
                false => Ok(weights),
            }
        }
    }
}

/// For each sample the sum of squares of `a b'`, for `a` `[n, p, l]` and `b` `[n, q, l]`: from the product itself, or from
/// `tr(a' a b' b)` where pixels are few.
fn product_squares(a: &Tensor, b: &Tensor) -> Result<Tensor, TchError> {
    let ((_, p, pixels), (_, q, _)) = (a.size3()?, b.size3()?);
    if pixels * (p + q) < p * q {
        let gram = |x: &Tensor| x.f_transpose(1, 2)?.f_bmm(x);
        return gram(a)?.f_mul(&gram(b)?)?.f_flatten(1, 2)?.f_sum_dim_intlist(1, false, Kind::Double);
    }
    squared(&a.f_bmm(&b.f_transpose(1, 2)?)?)
}

/// For each row the sum of squares, `f64 [n]`.
fn squared(rows: &Tensor) -> Result<Tensor, TchError> {
    rows.f_flatten(1, -1)?.f_square()?.f_sum_dim_intlist(1, false, Kind::Double)
}

#[cfg(test)]
mod tests {
    use querist_core::config::{ModelConfig, ModelName};
    use tch::Device;

    use super::*;
    use crate::layer::Mode;
    use crate::model::{Architecture, ImageShape};
    use crate::parameters::values;

    /// By a backward pass of its own.
    fn norm(model: &Model, image: &Tensor, targets: &Tensor) -> f64 {
        let logits = model.forward(image, Mode::Eval, false).unwrap().logits;
        let loss = -(logits.log_softmax(1, Kind::Float) * targets).sum(Kind::Float);
        let gradients = Tensor::run_backward(&[loss], model.parameters().weights(), false, false);
        gradients.iter().map(|g| g.square().sum(Kind::Double).double_value(&[])).sum::<f64>().sqrt()
    }

    #[test]
    fn norms_are_those_of_single_backward_passes() {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(7).unwrap();
        for name in [ModelName::Cnn, ModelName::Lenet, ModelName::Mlp, ModelName::Resnet18] {
            let shape = ImageShape { channels: 3, height: 20, width: 16 };
            let architecture = Architecture::new(&ModelConfig { name, dropout: None }, shape, 5).unwrap();
            let model = architecture.build(Device::Cpu).unwrap();
            // Running statistics and weights of batch-norm that are not where they start.
            for (name, tensor) in model.parameters().named() {
                if name.contains("bn") || name.contains("downsample.1") {
                    let _no_grad = tch::no_grad_guard();
                    let _ = tensor.shallow_clone().uniform_(0.5, 1.5);
                }
            }
            // More than a block, of which the last is short.
            let images = Tensor::randn([BLOCK + 5, 3, 20, 16], (Kind::Float, Device::Cpu));
            let targets = Tensor::randn([BLOCK + 5, 5], (Kind::Float, Device::Cpu)).softmax(1, Kind::Float);
            let found = values(&norms(&model, &images, &targets).unwrap()).unwrap();
            for (at, found) in found.into_iter().enumerate() {
                let (image, target) = (images.narrow(0, at as i64, 1), targets.narrow(0, at as i64, 1));
                let expected = norm(&model, &image, &target);
                assert!((f64::from(found) / expected - 1.0).abs() < 1e-4, "{name:?} {at}: {found} {expected}");
            }
            assert!(model.parameters().weights().iter().all(|weight| !weight.grad().defined()));
            assert_eq!(norms(&model, &images.narrow(0, 0, 0), &targets.narrow(0, 0, 0)).unwrap().size(), [0]);
        }
    }
}
