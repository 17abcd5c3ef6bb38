//! Gradients of single samples.
//!
//! In eval mode no sample feels another, so one backward pass of a batch's summed losses gives, at each layer's output,
//! the gradients of the samples one below the other. With the layer's inputs they make every sample's gradient of the
//! layer's weights, whose squares are summed without keeping the gradients themselves. Where the layers of a body are
//! not known, each sample has a backward pass of its own.

mod squares;

use std::ops::Range;

use querist_core::{LearnError, SampleId};
use querist_torchx::ambient::GradMode;
use tch::{Kind, TchError, Tensor};

use crate::fault::Doing;
use crate::images::ImageStore;
use crate::infer::{Blocks, Source, embedded, fill, network_inputs};
use crate::layer::{Mode, Seen, channels_last};
use crate::model::Model;
use crate::rows::{Rows, Scratch};

/// Images of one backward pass: few enough for what goes through the layers to stay near, enough to share the weights.
const BLOCK: i64 = 32;

const DOING: &str = "computing gradients of samples";

/// What is differentiated, of the class probabilities p of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// The entropy of p.
    Entropy,
    /// The cross-entropy of each class; their norms are averaged over p (expected gradient length).
    Egl,
}

/// How the norms of the weight tensors become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// The sum of the norms of the tensors.
    TensorSum,
    /// The norm of all of them as one vector.
    Global,
}

/// How gradient norms of samples are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Norms {
    pub(crate) scheme: Scheme,
    pub(crate) join: Join,
}

/// For each sample the norm of the gradient over all weights, in eval mode, `[samples]`.
pub(crate) fn of_samples(
    model: &Model,
    images: &ImageStore,
    samples: &[SampleId],
    norms: Norms,
    mut done: impl FnMut(usize) -> Result<(), LearnError>,
) -> Result<Vec<f32>, LearnError> {
    let mut all = Vec::with_capacity(samples.len());
    let work = |model: &Model, inputs: Tensor, _: Range<usize>| {
        in_blocks(model, &inputs, |images, _| norms.of_block(model, images))
    };
    Blocks::of(model, images, samples).each(
        |ids| network_inputs(images, ids),
        work,
        |rows, found| {
            all.extend(crate::parameters::values(&found)?);
            done(rows.len())
        },
    )?;
    Ok(all)
}

/// For each sample the gradient of its predicted class's cross-entropy at the embedding, through the head in eval mode,
/// `[samples, width]`.
pub(crate) fn at_embeddings(
    model: &Model,
    images: &ImageStore,
    samples: &[SampleId],
    scratch: &Scratch,
    mut done: impl FnMut(usize) -> Result<(), LearnError>,
) -> Result<Rows, LearnError> {
    let mut rows = scratch.rows(samples.len() * model.width())?;
    let source = Source::of(model, images);
    let is_embedded = source.is_embedded();
    let work = |model: &Model, inputs: Tensor, _: Range<usize>| {
        let embeddings = tch::no_grad(|| embedded(model, inputs, is_embedded))?;
        block_at_embeddings(model, &embeddings)
    };
    Blocks::of(model, images, samples).each(
        |ids| source.inputs(ids),
        work,
        |place, gradients| {
            fill(&mut rows, &place, model.width(), &gradients).doing(DOING)?;
            done(place.len())
        },
    )?;
    Ok(rows)
}

fn block_at_embeddings(model: &Model, embeddings: &Tensor) -> Result<Tensor, TchError> {
    let predicted = {
        let _no_grad = tch::no_grad_guard();
        model.classify(embeddings, Mode::Eval)?.f_argmax(1, true)?
    };
    model.head().gradients(embeddings, &predicted)
}

/// For each image the norm of the gradient, over all weights, of `-sum_c targets_c log softmax(logits)_c`, in eval
/// mode.
///
/// `images` is `[n, channels, height, width]`, `targets` is `f32 [n, classes]`; the result is `f32 [n]`.
pub(crate) fn norms(model: &Model, images: &Tensor, targets: &Tensor) -> Result<Tensor, TchError> {
    in_blocks(model, images, |images, start| {
        let pass = Recorded::new(model, images)?;
        let targets = targets.f_detach()?.f_narrow(0, start, images.size()[0])?;
        pass.norms(&pass.loss(|log_probs| log_probs.f_mul(&targets))?, Join::Global, false)
    })
}

/// `work(images, first)` block by block, `f32 [n]`.
fn in_blocks(
    model: &Model,
    images: &Tensor,
    work: impl Fn(&Tensor, i64) -> Result<Tensor, TchError>,
) -> Result<Tensor, TchError> {
    let n = images.size().first().copied().unwrap_or(0);
    let size = if model.records_layers() { BLOCK } else { 1 };
    let block = |start: i64| work(&images.f_narrow(0, start, size.min(n - start))?, start);
    let blocks = (0..n).step_by(size as usize).map(block).collect::<Result<Vec<_>, _>>()?;
    match blocks.is_empty() {
        true => Tensor::f_zeros([0], (Kind::Float, images.device())),
        false => Tensor::f_cat(&blocks, 0)?.f_to_kind(Kind::Float),
    }
}

impl Norms {
    fn of_block(self, model: &Model, images: &Tensor) -> Result<Tensor, TchError> {
        let pass = Recorded::new(model, images)?;
        match self.scheme {
            Scheme::Entropy => {
                let loss = pass.loss(|log_probs| log_probs.f_exp()?.f_mul(log_probs))?;
                pass.norms(&loss, self.join, false)
            }
            Scheme::Egl => {
                let probs = pass.log_probs.f_detach()?.f_exp()?.f_to_kind(Kind::Double)?;
                let mut total = Tensor::f_zeros([images.size()[0]], (Kind::Double, images.device()))?;
                for class in 0..probs.size()[1] {
                    let loss = pass.loss(|log_probs| log_probs.f_select(1, class))?;
                    let lengths = pass.norms(&loss, self.join, true)?;
                    total = total.f_add_(&lengths.f_mul(&probs.f_select(1, class)?)?)?;
                }
                Ok(total)
            }
        }
    }
}

/// A forward pass with what went through the layers.
struct Recorded {
    layers: Layers,
    log_probs: Tensor,
}

/// What is differentiated at.
enum Layers {
    /// Outputs of layers.
    Seen(Vec<Seen>),
    /// The weights themselves, of a single image.
    Unseen(Vec<Tensor>),
}

impl Recorded {
    fn new(model: &Model, images: &Tensor) -> Result<Self, TchError> {
        let _grad = GradMode::set(true);
        let images = images.f_detach()?;
        // Convolutions in single precision are faster so on the CPU, and not on a GPU.
        let images = if images.device().is_cuda() { images } else { channels_last(&images)? };
        if !model.records_layers() {
            let weights = model.parameters().weights().iter().map(Tensor::shallow_clone).collect();
            let logits = model.forward(&images, Mode::Eval, false)?.logits;
            return Ok(Self { layers: Layers::Unseen(weights), log_probs: logits.f_log_softmax(1, None)? });
        }
        let (logits, layers) = model.recorded(&images)?;
        let seen: usize = layers.iter().map(|seen| seen.layer.weights()).sum();
        assert_eq!(seen, model.parameters().weights().len(), "every weight belongs to a layer that a pass records");
        Ok(Self { layers: Layers::Seen(layers), log_probs: logits.f_log_softmax(1, None)? })
    }

    /// Minus the sum of what `part` makes of the log-probabilities.
    fn loss(&self, part: impl Fn(&Tensor) -> Result<Tensor, TchError>) -> Result<Tensor, TchError> {
        let _grad = GradMode::set(true);
        part(&self.log_probs)?.f_sum(None)?.f_neg()
    }

    /// For each sample the norm of the loss's gradient, `f64 [n]`.
    fn norms(&self, loss: &Tensor, join: Join, goes_on: bool) -> Result<Tensor, TchError> {
        let squares = Tensor::f_stack(&self.squares(loss, goes_on)?, 0)?;
        let sum = |parts: &Tensor| parts.f_sum_dim_intlist(0, false, None);
        match join {
            Join::Global => sum(&squares)?.f_sqrt(),
            Join::TensorSum => sum(&squares.f_sqrt()?),
        }
    }

    /// For each weight tensor the samples' squared norms of its gradient, `f64 [n]`.
    fn squares(&self, loss: &Tensor, goes_on: bool) -> Result<Vec<Tensor>, TchError> {
        let layers = match &self.layers {
            Layers::Seen(layers) => layers,
            Layers::Unseen(weights) => return of_weights(loss, weights, goes_on),
        };
        let outputs: Vec<&Tensor> = layers.iter().map(|seen| &seen.output).collect();
        let gradients = Tensor::f_run_backward(&[loss], &outputs, goes_on, false)?;
        let _no_grad = GradMode::set(false);
        let mut all = Vec::with_capacity(2 * gradients.len());
        for (seen, gradient) in layers.iter().zip(&gradients) {
            all.extend(squares::of_layer(seen, gradient)?);
        }
        Ok(all)
    }
}

/// For each weight tensor the squared norm of the gradient of one sample's loss, `f64 [1]`.
fn of_weights(loss: &Tensor, weights: &[Tensor], goes_on: bool) -> Result<Vec<Tensor>, TchError> {
    let gradients = Tensor::f_run_backward(&[loss], weights, goes_on, false)?;
    let _no_grad = GradMode::set(false);
    let square = |gradient: &Tensor| match gradient.defined() {
        true => gradient.f_to_kind(Kind::Double)?.f_square()?.f_sum(None)?.f_view([1]),
        // A weight that the loss does not depend on.
        false => Tensor::f_zeros([1], (Kind::Double, loss.device())),
    };
    gradients.iter().map(square).collect()
}

#[cfg(test)]
mod tests {
    use querist_core::config::{ModelConfig, ModelName, Precision};
    use tch::Device;

    use super::*;
    use crate::model::{Architecture, ImageShape};
    use crate::parameters::values;

    /// By a backward pass of its own: the norms of the weight tensors.
    fn tensor_norms(model: &Model, image: &Tensor, loss: impl Fn(&Tensor) -> Tensor) -> Vec<f64> {
        let logits = model.forward(image, Mode::Eval, false).unwrap().logits;
        let loss = loss(&logits.log_softmax(1, Kind::Float));
        let gradients = Tensor::run_backward(&[loss], model.parameters().weights(), false, false);
        gradients.iter().map(|g| g.square().sum(Kind::Double).double_value(&[]).sqrt()).collect()
    }

    fn join(norms: &[f64], join: Join) -> f64 {
        match join {
            Join::TensorSum => norms.iter().sum(),
            Join::Global => norms.iter().map(|norm| norm * norm).sum::<f64>().sqrt(),
        }
    }

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-4 * expected + 1e-7
    }

    /// They are of single precision, also where the body computes in shorter numbers otherwise.
    #[test]
    fn norms_are_of_single_precision() {
        querist_torchx::runtime::set_threads(1).unwrap();
        let shape = ImageShape { channels: 3, height: 16, width: 16 };
        let norms_with = |precision| {
            querist_torchx::random::seed(7).unwrap();
            let architecture = Architecture::new(&ModelConfig::of(ModelName::Resnet18), shape, 5).unwrap();
            let model = architecture.with_precision(precision).build(Device::Cpu).unwrap();
            let images = Tensor::randn([3, 3, 16, 16], (Kind::Float, Device::Cpu));
            let targets = Tensor::randn([3, 5], (Kind::Float, Device::Cpu)).softmax(1, Kind::Float);
            values(&norms(&model, &images, &targets).unwrap()).unwrap()
        };
        for (short, exact) in norms_with(Precision::Bf16).into_iter().zip(norms_with(Precision::Float32)) {
            assert!(close(f64::from(short), f64::from(exact)), "{short} {exact}");
        }
    }

    /// Running statistics and weights of norms that are not where they start.
    fn move_norms(model: &Model) {
        for (name, tensor) in model.parameters().named() {
            if ["bn", "downsample.1", "norm", "gamma"].iter().any(|part| name.contains(part)) {
                let _no_grad = tch::no_grad_guard();
                let _ = tensor.shallow_clone().uniform_(0.5, 1.5);
            }
        }
    }

    /// Layers that only some bodies have: convolutions of single channels, tokens, layer-norm, layer scale, positions.
    #[test]
    fn norms_of_every_kind_of_layer_are_those_of_single_backward_passes() {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(8).unwrap();
        for (name, height, width) in [
            (ModelName::BayesianCnn, 20, 16),
            (ModelName::Resnet50, 20, 16),
            (ModelName::Squeezenet, 24, 20),
            (ModelName::EfficientnetLite0, 20, 16),
            (ModelName::VitS16, 32, 16),
            (ModelName::VitB14, 28, 14),
        ] {
            let shape = ImageShape { channels: 3, height, width };
            let architecture = Architecture::new(&ModelConfig::of(name), shape, 3).unwrap();
            let model = architecture.build(Device::Cpu).unwrap();
            move_norms(&model);
            let images = Tensor::randn([2, 3, height, width], (Kind::Float, Device::Cpu));
            let pass = Recorded::new(&model, &images).unwrap();
            let squares = pass.squares(&pass.loss(|log_probs| log_probs.f_select(1, 0)).unwrap(), false).unwrap();
            for at in 0..2 {
                let image = images.narrow(0, at, 1);
                let expected = tensor_norms(&model, &image, |log_probs| -log_probs.select(1, 0).sum(Kind::Float));
                assert!(expected.iter().copied().fold(0.0, f64::max) > 1e-3, "{name:?}: {expected:?}");
                for (tensor, (found, expected)) in squares.iter().zip(expected).enumerate() {
                    let found = found.double_value(&[at]).sqrt();
                    let error = (found - expected).abs();
                    assert!(error <= 2e-3 * expected + 1e-6, "{name:?} {at} tensor {tensor}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn norms_are_those_of_single_backward_passes() {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(7).unwrap();
        for name in [ModelName::Cnn, ModelName::Lenet, ModelName::Mlp, ModelName::Resnet18] {
            let shape = ImageShape { channels: 3, height: 20, width: 16 };
            let head_hidden = Some(7).filter(|_| name != ModelName::Lenet);
            let options = ModelConfig { head_hidden, ..ModelConfig::of(name) };
            let architecture = Architecture::new(&options, shape, 5).unwrap();
            let model = architecture.build(Device::Cpu).unwrap();
            move_norms(&model);
            // More than a block, of which the last is short.
            let images = Tensor::randn([BLOCK + 5, 3, 20, 16], (Kind::Float, Device::Cpu));
            let targets = Tensor::randn([BLOCK + 5, 5], (Kind::Float, Device::Cpu)).softmax(1, Kind::Float);
            let found = values(&norms(&model, &images, &targets).unwrap()).unwrap();
            assert_eq!(found.len(), images.size()[0] as usize);
            // Both ends of both blocks.
            for (at, found) in found.into_iter().enumerate().filter(|(at, _)| [0, 1, 31, 32, 36].contains(at)) {
                let (image, target) = (images.narrow(0, at as i64, 1), targets.narrow(0, at as i64, 1));
                let each = tensor_norms(&model, &image, |log_probs| -(log_probs * &target).sum(Kind::Float));
                let expected = join(&each, Join::Global);
                assert!(close(f64::from(found), expected), "{name:?} {at}: {found} {expected}");
            }
            let pass = Recorded::new(&model, &images.narrow(0, 0, 3)).unwrap();
            let first_class = pass.loss(|log_probs| log_probs.f_select(1, 0)).unwrap();
            let of_tensors = pass.squares(&first_class, false).unwrap();
            for at in 0..3 {
                let image = images.narrow(0, at, 1);
                let expected = tensor_norms(&model, &image, |log_probs| -log_probs.select(1, 0).sum(Kind::Float));
                assert_eq!(of_tensors.len(), expected.len());
                for (tensor, (found, expected)) in of_tensors.iter().zip(expected).enumerate() {
                    let found = found.double_value(&[at]).sqrt();
                    assert!(close(found, expected), "{name:?} {at} tensor {tensor}: {found} {expected}");
                }
            }
            for norms in [Join::TensorSum, Join::Global].map(|join| Norms { scheme: Scheme::Entropy, join }) {
                let found =
                    values(&norms.of_block(&model, &images.narrow(0, 0, 3)).unwrap().to_kind(Kind::Float)).unwrap();
                for (at, found) in found.into_iter().enumerate() {
                    let entropy = |log_probs: &Tensor| -(log_probs.exp() * log_probs).sum(Kind::Float);
                    let each = tensor_norms(&model, &images.narrow(0, at as i64, 1), entropy);
                    let expected = join(&each, norms.join);
                    assert!(close(f64::from(found), expected), "{name:?} {norms:?} {at}: {found} {expected}");
                }
            }
            for norms in [Join::TensorSum, Join::Global].map(|join| Norms { scheme: Scheme::Egl, join }) {
                let image = images.narrow(0, 1, 1);
                let found = norms.of_block(&model, &image).unwrap().double_value(&[0]);
                let probs = model.forward(&image, Mode::Eval, false).unwrap().logits.softmax(1, Kind::Float);
                let expected: f64 = (0..5)
                    .map(|class| {
                        let each =
                            tensor_norms(&model, &image, |log_probs| -log_probs.select(1, class).sum(Kind::Float));
                        probs.double_value(&[0, class]) * join(&each, norms.join)
                    })
                    .sum();
                assert!(close(found, expected), "{name:?} {norms:?}: {found} {expected}");
            }
            assert!(model.parameters().weights().iter().all(|weight| !weight.grad().defined()));
            assert_eq!(norms(&model, &images.narrow(0, 0, 0), &targets.narrow(0, 0, 0)).unwrap().size(), [0]);
        }
    }
}
