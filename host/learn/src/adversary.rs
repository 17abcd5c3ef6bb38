//! Losses on images that were changed to be hard, for the members of an ensemble.
//!
//! `fgsm` moves every pixel by a fixed step in the direction that raises the cross-entropy and learns the label there
//! too: Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep
//! Ensembles", NIPS 2017 (arXiv 1612.01474). `vat` looks for the small change of an unlabelled image that moves the
//! prediction most, by power iteration, and learns to predict there what it predicts here: Miyato, Maeda, Koyama and
//! Ishii, "Virtual Adversarial Training", TPAMI 2018 (arXiv 1704.03976).
//!
//! All these passes are training passes that leave the running statistics of batch-norm alone: those belong to the
//! images as they are.

use querist_core::config::{Adversarial, EnsembleConfig, Recipe};
use querist_core::{LearnError, Round, SampleId, Seeds};
use querist_protocol::Transform;
use tch::{Kind, Reduction, TchError, Tensor};

use crate::fault::Doing;
use crate::images::ImageStore;
use crate::layer::Mode;
use crate::model::Model;
use crate::stream::{Loader, Order, Turns};

const DOING: &str = "training on adversarial images";

/// What is added to the loss of a minibatch.
pub(crate) enum Adversary<'a> {
    Fgsm(Fgsm),
    Vat(Box<Vat<'a>>),
}

/// Whence adversarial images come.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) images: &'a ImageStore,
    pub(crate) pool: &'a [SampleId],
    pub(crate) recipe: &'a Recipe,
    pub(crate) seeds: &'a Seeds,
    pub(crate) round: Round,
    /// The fewest images that a training pass can take.
    pub(crate) smallest: usize,
}

impl<'a> Adversary<'a> {
    /// The one that the config asks for. Virtual adversarial training has no part where the pool has no images left for
    /// it.
    pub(crate) fn new(config: &EnsembleConfig, source: Source<'a>) -> Result<Option<Self>, LearnError> {
        match config.adversarial {
            Adversarial::None => Ok(None),
            Adversarial::Fgsm => Ok(Some(Self::Fgsm(Fgsm::new(config, source.images).doing(DOING)?))),
            Adversarial::Vat if source.pool.len() < source.smallest.max(1) => Ok(None),
            Adversarial::Vat => Ok(Some(Self::Vat(Box::new(Vat::new(config, source).doing(DOING)?)))),
        }
    }

    /// Whether the gradient of the images is wanted.
    pub(crate) fn differentiates_images(&self) -> bool {
        matches!(self, Self::Fgsm(_))
    }

    /// The loss to add, a scalar on the graph; `loss` is the mean cross-entropy of the images.
    pub(crate) fn loss(
        &mut self,
        model: &Model,
        images: &Tensor,
        labels: &Tensor,
        loss: &Tensor,
    ) -> Result<Tensor, LearnError> {
        match self {
            Self::Fgsm(fgsm) => fgsm.loss(model, images, labels, loss).doing(DOING),
            Self::Vat(vat) => vat.loss(model),
        }
    }
}

/// The fast gradient sign method.
pub(crate) struct Fgsm {
    /// How far a pixel of each channel moves, `[1, channels, 1, 1]`.
    step: Tensor,
}

impl Fgsm {
    fn new(config: &EnsembleConfig, images: &ImageStore) -> Result<Self, TchError> {
        let steps: Vec<f32> =
            images.range().iter().map(|[low, high]| (config.fgsm_eps * f64::from(high - low)) as f32).collect();
        Ok(Self { step: Tensor::f_from_slice(&steps)?.f_view([1, -1, 1, 1])?.f_to_device(images.device())? })
    }

    fn loss(&self, model: &Model, images: &Tensor, labels: &Tensor, loss: &Tensor) -> Result<Tensor, TchError> {
        let gradient = Tensor::f_run_backward(&[loss], &[images], true, false)?.swap_remove(0);
        let moved = images.f_detach()?.f_add(&gradient.f_sign()?.f_mul(&self.step)?)?;
        let logits = model.forward(&moved, Mode::TrainStill, false)?.logits;
        logits.f_cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0)
    }
}

/// Virtual adversarial training.
pub(crate) struct Vat<'a> {
    search: Search,
    images: &'a ImageStore,
    pool: &'a [SampleId],
    minibatch: usize,
    order: Order,
    loader: Loader,
}

impl<'a> Vat<'a> {
    fn new(config: &EnsembleConfig, source: Source<'a>) -> Result<Self, TchError> {
        let numbers = |tag| source.seeds.model_stream(tag, source.round);
        let positions = (0..source.pool.len() as u32).collect();
        let turns = Turns { shuffle: true, infinite: true, drop_last: true };
        Ok(Self {
            search: Search { eps: config.vat_eps, xi: config.vat_xi, iterations: config.vat_iters },
            images: source.images,
            pool: source.pool,
            minibatch: source.recipe.minibatch,
            order: Order::new(positions, turns, numbers("unlabelled")),
            loader: Loader::new(Transform::Train, source.recipe, source.images, numbers("unlabelled-augment"))?,
        })
    }

    fn loss(&mut self, model: &Model) -> Result<Tensor, LearnError> {
        let samples = self.order.next(self.minibatch).iter().map(|&at| self.pool[at as usize]);
        let images = self.loader.load(self.images, samples)?;
        self.search.divergence(model, &images).doing(DOING)
    }
}

/// How the worst change of an image is found.
struct Search {
    /// Its length.
    eps: f64,
    /// Length of a trial.
    xi: f64,
    /// Trials.
    iterations: u32,
}

impl Search {
    /// Mean divergence of the prediction at the worst change from the prediction at the image itself.
    fn divergence(&self, model: &Model, images: &Tensor) -> Result<Tensor, TchError> {
        let log_probs =
            |images: &Tensor| model.forward(images, Mode::TrainStill, false)?.logits.f_log_softmax(1, Kind::Float);
        let here = {
            let _no_grad = tch::no_grad_guard();
            log_probs(images)?
        };
        let probs = here.f_exp()?;
        let apart = |change: &Tensor, length: f64| {
            let there = log_probs(&images.f_add(&change.f_mul_scalar(length)?)?)?;
            probs.f_mul(&here.f_sub(&there)?)?.f_sum(Kind::Float)
        };
        let mut direction = unit(&images.f_randn_like()?)?;
        for _ in 0..self.iterations {
            let trial = direction.f_detach()?.f_set_requires_grad(true)?;
            let gradient = Tensor::f_run_backward(&[apart(&trial, self.xi)?], &[&trial], false, false)?;
            direction = unit(&gradient[0])?;
        }
        apart(&direction.f_detach()?, self.eps)?.f_div_scalar(images.size()[0])
    }
}

/// Each image divided by its length; one without a direction stays 0.
fn unit(images: &Tensor) -> Result<Tensor, TchError> {
    // Gradients of a tiny trial are tiny: the largest value goes first, so that squares do not vanish.
    let largest = images.f_abs()?.f_amax([1, 2, 3].as_slice(), true)?.f_clamp_min(f64::from(f32::MIN_POSITIVE))?;
    let scaled = images.f_div(&largest)?;
    let length = scaled.f_square()?.f_sum_dim_intlist([1, 2, 3].as_slice(), true, Kind::Float)?.f_sqrt()?;
    scaled.f_div(&length.f_clamp_min(1.0)?)
}

#[cfg(test)]
mod tests {
    use querist_core::config::{ModelConfig, ModelName};
    use tch::Device;

    use super::*;
    use crate::model::{Architecture, ImageShape};

    fn small_model() -> (Model, Tensor) {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(4).unwrap();
        let shape = ImageShape { channels: 1, height: 8, width: 8 };
        let options = ModelConfig::of(ModelName::Mlp);
        let model = Architecture::new(&options, shape, 3).unwrap().build(Device::Cpu).unwrap();
        (model, Tensor::randn([6, 1, 8, 8], (Kind::Float, Device::Cpu)))
    }

    fn cross_entropy(model: &Model, images: &Tensor, labels: &Tensor) -> Tensor {
        let logits = model.forward(images, Mode::Train, false).unwrap().logits;
        logits.cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0)
    }

    /// The step is the steepest of its size: no other signs raise a loss that is nearly flat over the step further.
    #[test]
    fn a_signed_step_raises_the_loss_more_than_random_signs() {
        let (model, images) = small_model();
        let images = images.set_requires_grad(true);
        let labels = Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2]);
        let loss = cross_entropy(&model, &images, &labels);
        let fgsm = Fgsm { step: Tensor::full([1, 1, 1, 1], 1e-2, (Kind::Float, Device::Cpu)) };
        let found = fgsm.loss(&model, &images, &labels, &loss).unwrap();
        assert!(found.requires_grad());
        for _ in 0..20 {
            let signs = images.randn_like().sign() * 1e-2;
            let other = cross_entropy(&model, &(images.detach() + signs), &labels);
            assert!(
                found.double_value(&[]) > other.double_value(&[]) && found.double_value(&[]) > loss.double_value(&[])
            );
        }
        let still = Fgsm { step: Tensor::zeros([1, 1, 1, 1], (Kind::Float, Device::Cpu)) };
        let same = still.loss(&model, &images, &labels, &loss).unwrap();
        assert!((same.double_value(&[]) - loss.double_value(&[])).abs() < 1e-6);
    }

    #[test]
    fn virtual_changes_move_predictions_more_than_random_ones() {
        let (model, images) = small_model();
        let divergence =
            |xi, eps, iterations| Search { eps, xi, iterations }.divergence(&model, &images).unwrap().double_value(&[]);
        // Small enough for the divergence to be quadratic, where the power iteration has its meaning.
        let found = divergence(1e-2, 0.1, 3);
        let at_random = divergence(1e-2, 0.1, 0);
        assert!(found > 1.5 * at_random && at_random > 0.0, "{found} {at_random}");
        assert!(divergence(1e-2, 0.0, 1).abs() < 1e-7, "no change, no divergence");
        assert!(divergence(1e-6, 2.5, 1) > 0.0, "the published settings find a direction");
    }
}
