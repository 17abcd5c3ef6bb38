//! Autoencoder and discriminator in training against each other.

use querist_sdk_torch::prelude::*;
use querist_sdk_torch::tch::nn::{self, OptimizerConfig};

use crate::network::{Autoencoder, Discriminator, Shape};
use crate::params::KlReduction;

/// What the game is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Dimensions of the latent space.
    pub latent: i64,
    /// Numbers that decoder and discriminator are told of each image.
    pub told: i64,
    /// Weight of the divergence.
    pub beta: f64,
    /// How the divergences become one number.
    pub kl_reduction: KlReduction,
    /// Weight of the adversarial part of the autoencoder's loss.
    pub adversary_weight: f64,
    /// Learning rates of the Adams of autoencoder and discriminator.
    pub rates: [f64; 2],
}

/// Images with what the networks are told of them.
#[derive(Debug)]
pub struct Batch {
    /// `f32 [n, channels, height, width]`.
    pub images: Tensor,
    /// What decoder and discriminator are told of each, `f32 [n, told]`; nothing where `told` is 0.
    pub told: Option<[Tensor; 2]>,
}

impl From<Tensor> for Batch {
    fn from(images: Tensor) -> Self {
        Self { images, told: None }
    }
}

impl Batch {
    fn decoder(&self, codes: Tensor) -> Result<Tensor> {
        beside(codes, self.told.as_ref().map(|told| &told[0]))
    }

    fn discriminator(&self, codes: Tensor) -> Result<Tensor> {
        beside(codes, self.told.as_ref().map(|told| &told[1]))
    }
}

fn beside(codes: Tensor, told: Option<&Tensor>) -> Result<Tensor> {
    Ok(match told {
        Some(told) => Tensor::f_cat(&[&codes, told], 1)?,
        None => codes,
    })
}

/// Both networks with their optimisers.
pub struct Game {
    rules: Rules,
    shape: Shape,
    autoencoder_store: nn::VarStore,
    discriminator_store: nn::VarStore,
    autoencoder: Autoencoder,
    discriminator: Discriminator,
    autoencoder_steps: nn::Optimizer,
    discriminator_steps: nn::Optimizer,
}

impl Game {
    /// With fresh weights.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(rules: Rules, shape: Shape, device: Device) -> Result<Self> {
        let (autoencoder_store, discriminator_store) = (nn::VarStore::new(device), nn::VarStore::new(device));
        let Rules { latent, told, rates, .. } = rules;
        Ok(Self {
            autoencoder: Autoencoder::new(&autoencoder_store.root(), &shape, latent, told),
            discriminator: Discriminator::new(&discriminator_store.root(), latent + told),
            autoencoder_steps: nn::Adam::default().build(&autoencoder_store, rates[0])?,
            discriminator_steps: nn::Adam::default().build(&discriminator_store, rates[1])?,
            rules,
            shape,
            autoencoder_store,
            discriminator_store,
        })
    }

    /// Numbers that training changes, of autoencoder and discriminator.
    pub fn parameters(&self) -> [usize; 2] {
        [&self.autoencoder_store, &self.discriminator_store]
            .map(|store| store.trainable_variables().iter().map(Tensor::numel).sum())
    }

    /// One update of the autoencoder on a labelled and an unlabelled batch. `go_on` is asked between passes. Returns the
    /// loss, without reading it.
    ///
    /// # Errors
    /// If libtorch fails or `go_on` says so.
    pub fn step_autoencoder(&mut self, batches: &[Batch; 2], go_on: &dyn Fn() -> Result<()>) -> Result<Tensor> {
        self.autoencoder_steps.zero_grad();
        let mut total = Tensor::f_zeros([], (Kind::Float, batches[0].images.device()))?;
        for batch in batches {
            go_on()?;
            let loss = self.loss(batch)?;
            go_on()?;
            // Gradients add up, and each half frees its graph before the next one is made.
            loss.f_backward()?;
            total = total.f_add(&loss.f_detach()?)?;
        }
        self.autoencoder_steps.step();
        Ok(total)
    }

    /// One batch's share of the autoencoder's loss.
    fn loss(&self, batch: &Batch) -> Result<Tensor> {
        let images = self.shape.fit(&batch.images)?;
        let (mean, log_variance) = self.autoencoder.encode(&images, true)?;
        let noise = mean.f_randn_like()?;
        let codes = log_variance.f_mul_scalar(0.5)?.f_exp()?.f_mul(&noise)?.f_add(&mean)?;
        let rebuilt = self.autoencoder.decode(&batch.decoder(codes)?, true)?;
        let loss = reconstruction(&self.shape, &rebuilt, &images)?;
        let divergence = kl(&mean, &log_variance, self.rules.kl_reduction)?.f_mul_scalar(self.rules.beta)?;
        // To pass for labelled, whichever they are.
        let odds = self.discriminator.forward(&batch.discriminator(mean)?)?;
        let deceit = bce(&odds, true)?.f_mul_scalar(self.rules.adversary_weight)?;
        Ok(loss.f_add(&divergence)?.f_add(&deceit)?)
    }

    /// One update of the discriminator on a labelled and an unlabelled batch.
    ///
    /// # Errors
    /// As for [`Game::step_autoencoder`].
    pub fn step_discriminator(&mut self, batches: &[Batch; 2], go_on: &dyn Fn() -> Result<()>) -> Result<Tensor> {
        let mut codes = Vec::with_capacity(2);
        for batch in batches {
            go_on()?;
            let _no_grad = tch::no_grad_guard();
            codes.push(batch.discriminator(self.autoencoder.encode(&self.shape.fit(&batch.images)?, true)?.0)?);
        }
        self.step_discriminator_on(&codes[0], &codes[1])
    }

    /// One update of the discriminator on codes `[n, latent + told]` of labelled and of unlabelled images.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn step_discriminator_on(&mut self, labelled: &Tensor, unlabelled: &Tensor) -> Result<Tensor> {
        // The autoencoder's update left gradients here too.
        self.discriminator_steps.zero_grad();
        let told_apart = [(labelled, true), (unlabelled, false)];
        let [first, second] = told_apart.map(|(codes, truth)| bce(&self.discriminator.forward(codes)?, truth));
        let loss = first?.f_add(&second?)?;
        loss.f_backward()?;
        self.discriminator_steps.step();
        Ok(loss.f_detach()?)
    }

    /// For each image the log-odds that it is unlabelled, in eval mode.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn score(&self, batch: &Batch) -> Result<Vec<f64>> {
        let _no_grad = tch::no_grad_guard();
        let (mean, _) = self.autoencoder.encode(&self.shape.fit(&batch.images)?, false)?;
        self.score_codes(&batch.discriminator(mean)?)
    }

    /// For each code `[latent + told]` the log-odds that its image is unlabelled.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn score_codes(&self, codes: &Tensor) -> Result<Vec<f64>> {
        let _no_grad = tch::no_grad_guard();
        floats(&self.discriminator.forward(codes)?.f_neg()?)
    }
}

/// Mean squared error over all values of the images, their padding left out.
///
/// # Errors
/// If sizes do not fit.
pub fn reconstruction(shape: &Shape, rebuilt: &Tensor, images: &Tensor) -> Result<Tensor> {
    Ok(shape.inner(rebuilt)?.f_sub(&shape.inner(images)?)?.f_square()?.f_mean(Kind::Float)?)
}

/// Divergence of normal distributions from the standard one, `-1/2 (1 + log_variance - mean^2 - exp(log_variance))`,
/// reduced over `[n, latent]`.
///
/// # Errors
/// If sizes do not fit.
pub fn kl(mean: &Tensor, log_variance: &Tensor, reduction: KlReduction) -> Result<Tensor> {
    let each = log_variance.f_add_scalar(1.0)?.f_sub(&mean.f_square()?)?.f_sub(&log_variance.f_exp()?)?;
    let each = each.f_mul_scalar(-0.5)?;
    Ok(match reduction {
        KlReduction::Sum => each.f_sum(Kind::Float)?,
        KlReduction::Mean => each.f_mean(Kind::Float)?,
        KlReduction::SumDim => each.f_sum_dim_intlist(1, false, Kind::Float)?.f_mean(Kind::Float)?,
    })
}

/// Mean of `-log p` of the truth, for log-odds `[n]` of being labelled: the softplus of the odds against it.
fn bce(logits: &Tensor, labelled: bool) -> Result<Tensor> {
    let against = if labelled { logits.f_neg()? } else { logits.shallow_clone() };
    Ok(against.f_softplus()?.f_mean(Kind::Float)?)
}
