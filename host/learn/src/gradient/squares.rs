//! Squared norms of single samples' gradients, from what went into a layer and the gradients at its output.

use tch::{Device, Kind, TchError, Tensor};

use crate::layer::{LAYER_NORM_EPS, Layer, Seen};

/// For each sample the squared norm of the gradient of each of a layer's weight tensors, `f64 [n]`; `gradient` is that
/// of the layer's output.
pub(super) fn of_layer(seen: &Seen, gradient: &Tensor) -> Result<Vec<Tensor>, TchError> {
    match &seen.layer {
        Layer::Linear if seen.input.dim() == 3 => of_tokens(&seen.input, gradient),
        // The weights' gradient is an outer product.
        Layer::Linear => {
            let bias = squared(gradient)?;
            Ok(vec![bias.f_mul(&squared(&seen.input)?)?, bias])
        }
        Layer::Norm { mean, variance, eps } => {
            let mut moved = seen.input.f_sub(&mean.f_view([1, -1, 1, 1])?)?;
            let weight = over_pixels(&moved.f_mul_(gradient)?)?;
            let scale = variance.f_add_scalar(*eps)?.f_rsqrt()?;
            Ok(vec![squared(&weight.f_mul(&scale)?)?, squared(&over_pixels(gradient)?)?])
        }
        &Layer::Conv { kernel, stride, padding, bias } => {
            let weight = Window { kernel, stride, padding }.squares(&seen.input, gradient)?;
            match bias {
                true => Ok(vec![weight, squared(&over_pixels(gradient)?)?]),
                false => Ok(vec![weight]),
            }
        }
        // Each channel as a sample of its own, with one input and one output.
        &Layer::Depthwise { kernel, stride, padding } => {
            let (n, channels, ..) = seen.input.size4()?;
            let apart = |x: &Tensor| x.f_contiguous()?.f_flatten(0, 1)?.f_unsqueeze(1);
            let squares = Window { kernel, stride, padding }.squares(&apart(&seen.input)?, &apart(gradient)?)?;
            Ok(vec![squares.f_view([n, channels])?.f_sum_dim_intlist(1, false, None)?])
        }
        Layer::TokenNorm => {
            let width = seen.input.size().last().copied().unwrap_or(1);
            let normalised =
                seen.input.f_layer_norm([width], None::<&Tensor>, None::<&Tensor>, LAYER_NORM_EPS, true)?;
            Ok(vec![squared(&over_tokens(&normalised.f_mul(gradient)?)?)?, squared(&over_tokens(gradient)?)?])
        }
        Layer::Scale => Ok(vec![squared(&over_tokens(&seen.input.f_mul(gradient)?)?)?]),
        Layer::Positions => Ok(vec![squared(&gradient.f_narrow(1, 0, 1)?)?, squared(gradient)?]),
    }
}

/// A linear layer of tokens `[n, tokens, inputs]`: its weights' gradient is a sum of outer products, whose squared norm
/// comes from the inner products of inputs with each other and of gradients with each other.
fn of_tokens(input: &Tensor, gradient: &Tensor) -> Result<Vec<Tensor>, TchError> {
    let gram = |x: &Tensor| x.f_bmm(&x.f_transpose(1, 2)?);
    let products = gram(input)?.f_mul_(&gram(gradient)?)?.f_flatten(1, -1)?;
    // A square, which rounding may take below 0.
    let weight = products.f_sum_dim_intlist(1, false, Kind::Double)?.f_clamp_min(0.0)?;
    Ok(vec![weight, squared(&over_tokens(gradient)?)?])
}

/// Sums over the tokens of `[n, tokens, width]`, `[n, width]`; a row without tokens is one.
fn over_tokens(values: &Tensor) -> Result<Tensor, TchError> {
    if values.dim() == 2 { Ok(values.shallow_clone()) } else { values.f_sum_dim_intlist(1, false, None) }
}

/// What a square convolution sees at once.
#[derive(Debug, Clone, Copy)]
struct Window {
    kernel: i64,
    stride: i64,
    padding: i64,
}

/// How the squared norm of a convolution's weight gradient is computed. That gradient is the product of the gradient at
/// the output, `[outputs, places]`, and the patches that the kernel saw, `[places, kernel * kernel * inputs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// From the product itself.
    Product,
    /// From the inner products of patches with each other and of output gradients with each other, place by place. The
    /// patches' are sums of inner products of pixels, so nothing is unfolded.
    Gram,
}

impl Window {
    /// For each sample the squared norm of the weight's gradient, `f64 [n]`, of inputs `[n, inputs, height, width]` and
    /// gradients `[n, outputs, height', width']`.
    fn squares(self, input: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
        let form = self.form(input, gradient)?;
        let n = input.size()[0];
        let group = (working_set(input.device()) / self.floats(form, input, gradient)?.max(1)).clamp(1, n.max(1));
        let of_group = |start: i64| {
            let part = |whole: &Tensor| whole.f_narrow(0, start, group.min(n - start));
            self.by(form, &part(input)?, &part(gradient)?)
        };
        let groups = (0..n).step_by(group as usize).map(of_group).collect::<Result<Vec<_>, _>>()?;
        match groups.is_empty() {
            true => Tensor::f_zeros([0], (Kind::Double, input.device())),
            false => Tensor::f_cat(&groups, 0),
        }
    }

    fn by(self, form: Form, input: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
        match form {
            Form::Product => self.by_product(input, gradient),
            Form::Gram => self.by_gram(input, gradient),
        }
    }

    /// The cheaper form, in multiplications. Copying a patch costs about half of its product; a value of the patches'
    /// inner products goes through memory several times, which takes about as long as `PASSES` multiplications.
    fn form(self, input: &Tensor, gradient: &Tensor) -> Result<Form, TchError> {
        const PASSES: f64 = 140.0;
        let ((_, inputs, height, width), (_, outputs, ..)) = (input.size4()?, gradient.size4()?);
        let [inputs, outputs, pixels, places, padded, taps] = [
            inputs,
            outputs,
            height * width,
            self.places(gradient)?,
            self.padded(height) * self.padded(width),
            self.kernel * self.kernel,
        ]
        .map(|count| count as f64);
        let product = 1.5 * places * outputs * inputs * taps;
        let gram = places * places * outputs + pixels * pixels * inputs + PASSES * padded * padded;
        Ok(if gram < product { Form::Gram } else { Form::Product })
    }

    /// Values of the largest array that a sample needs.
    fn floats(self, form: Form, input: &Tensor, gradient: &Tensor) -> Result<i64, TchError> {
        let (_, inputs, height, width) = input.size4()?;
        Ok(match form {
            Form::Product => self.places(gradient)? * inputs * self.kernel * self.kernel,
            Form::Gram => (self.padded(height) * self.padded(width)).pow(2),
        })
    }

    fn padded(self, side: i64) -> i64 {
        side + 2 * self.padding
    }

    fn places(self, gradient: &Tensor) -> Result<i64, TchError> {
        let (_, _, height, width) = gradient.size4()?;
        Ok(height * width)
    }

    fn by_product(self, input: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
        squared(&gradient.f_flatten(2, 3)?.f_bmm(&self.patches(input, gradient)?)?)
    }

    /// What the kernel saw, `[n, places, kernel * kernel * inputs]`, in whichever order of the last axis is copied
    /// faster.
    fn patches(self, input: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
        const FEW_CHANNELS: i64 = 4;
        let Self { kernel, stride, padding } = self;
        let (n, inputs, height, width) = input.size4()?;
        if inputs < FEW_CHANNELS {
            return input.f_im2col([kernel; 2], [1, 1], [padding; 2], [stride; 2])?.f_transpose(1, 2);
        }
        let (_, _, rows, columns) = gradient.size4()?;
        // With the channels of a pixel side by side a kernel's row is one run of memory.
        let pixels = input.f_permute([0, 2, 3, 1])?.f_constant_pad_nd([0, 0, padding, padding, padding, padding])?;
        let row = self.padded(width) * inputs;
        let sizes = [n, rows, columns, kernel, kernel * inputs];
        let strides = [self.padded(height) * row, stride * row, stride * inputs, row, 1];
        let runs = pixels.f_contiguous()?.f_as_strided(sizes, strides, None)?;
        runs.f_reshape([n, rows * columns, kernel * kernel * inputs])
    }

    fn by_gram(self, input: &Tensor, gradient: &Tensor) -> Result<Tensor, TchError> {
        let gram = |x: &Tensor| {
            let x = x.f_flatten(2, 3)?;
            x.f_transpose(1, 2)?.f_bmm(&x)
        };
        let (n, _, height, width) = input.size4()?;
        let (_, _, rows, columns) = gradient.size4()?;
        let of_pixels = gram(input)?.f_view([n, height, width, height, width])?.f_constant_pad_nd([self.padding; 8])?;
        // Two patches' inner product: the sum over the kernel of those of the pixels that lie under the same weight.
        let of_rows = self.over_kernel(&of_pixels, [1, 3], rows)?;
        let of_patches = self.over_kernel(&of_rows, [2, 4], columns)?;
        let products = of_patches.f_flatten(1, 4)?.f_mul_(&gram(gradient)?.f_flatten(1, 2)?)?;
        // A square, which rounding may take below 0.
        products.f_sum_dim_intlist(1, false, Kind::Double)?.f_clamp_min(0.0)
    }

    /// Sums the diagonal of a kernel's positions along a pair of axes, which shrink to `places`.
    fn over_kernel(self, values: &Tensor, axes: [i64; 2], places: i64) -> Result<Tensor, TchError> {
        let shifted = |by: i64| {
            let end = by + (places - 1) * self.stride + 1;
            values.f_slice(axes[0], by, end, self.stride)?.f_slice(axes[1], by, end, self.stride)
        };
        let mut sum = shifted(0)?.f_contiguous()?;
        for by in 1..self.kernel {
            sum = sum.f_add_(&shifted(by)?)?;
        }
        Ok(sum)
    }
}

/// Values that are worked on at once: on the CPU what stays in a core's cache.
fn working_set(device: Device) -> i64 {
    if device.is_cuda() { 1 << 26 } else { 1 << 19 }
}

/// Sums over the pixels of each channel, `[n, channels]`.
fn over_pixels(values: &Tensor) -> Result<Tensor, TchError> {
    values.f_sum_dim_intlist([2, 3].as_slice(), false, None)
}

/// For each row the sum of squares, `f64 [n]`.
fn squared(rows: &Tensor) -> Result<Tensor, TchError> {
    rows.f_flatten(1, -1)?.f_square()?.f_sum_dim_intlist(1, false, Kind::Double)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both forms, in memory of either order, against the gradients that libtorch computes one sample at a time.
    #[test]
    fn both_forms_give_the_norm_of_the_weight_gradient() {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(3).unwrap();
        for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (5, 1, 0), (5, 2, 2), (1, 2, 0), (2, 3, 1)] {
            for inputs in [1, 6] {
                let window = Window { kernel, stride, padding };
                let images = Tensor::randn([3, inputs, 9, 7], (Kind::Float, Device::Cpu));
                let weight = Tensor::randn([4, inputs, kernel, kernel], (Kind::Float, Device::Cpu));
                let weight = weight.set_requires_grad(true);
                let outputs = images.conv2d(&weight, None::<&Tensor>, [stride; 2], [padding; 2], [1, 1], 1);
                let gradient = outputs.randn_like();
                for at in 0..3 {
                    let one = (outputs.narrow(0, at, 1) * gradient.narrow(0, at, 1)).sum(Kind::Float);
                    let expected = Tensor::run_backward(&[one], &[&weight], true, false)[0].square().sum(Kind::Double);
                    let expected = expected.double_value(&[]);
                    let turned = images.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
                    for images in [&images, &turned] {
                        let chosen = window.squares(images, &gradient).unwrap().double_value(&[at]);
                        let by = |form| window.by(form, images, &gradient).unwrap().double_value(&[at]);
                        for found in [by(Form::Product), by(Form::Gram), chosen] {
                            let error = (found / expected - 1.0).abs();
                            assert!(error < 1e-5, "{window:?} {inputs} {at}: {found} {expected}");
                        }
                    }
                }
            }
        }
    }
}
