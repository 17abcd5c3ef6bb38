//! The variational autoencoder and the discriminator, in adversarial training.

use std::cell::RefCell;

use querist_sdk_torch::prelude::*;
use querist_sdk_torch::tch::nn::{self, OptimizerConfig};

use crate::networks::{Discriminator, Shape, Vae};
use crate::{KlReduction, TrainTransform};

/// What the networks are trained for.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// Dimensions of the latent space.
    pub latent: i64,
    /// Width of the condition that decoder and discriminator see beside each latent code.
    pub condition: i64,
    /// Weight of the Kullback-Leibler divergence.
    pub beta: f64,
    /// How the divergences become one number.
    pub kl_reduction: KlReduction,
    /// Weight of the adversarial loss of the autoencoder.
    pub adversary_weight: f64,
    /// Learning rate of the autoencoder's Adam.
    pub lr_vae: f64,
    /// Learning rate of the discriminator's Adam.
    pub lr_discriminator: f64,
}

/// Images of one kind, labelled or unlabelled.
#[derive(Debug)]
pub struct Batch {
    /// `f32 [n, channels, height, width]`.
    pub images: Tensor,
    /// The condition of each; nothing where it has no width.
    pub condition: Option<Condition>,
}

/// What the networks see beside the latent code of each image, `f32 [n, condition]`.
#[derive(Debug)]
pub struct Condition {
    /// Of the decoder.
    pub decoder: Tensor,
    /// Of the discriminator.
    pub discriminator: Tensor,
}

impl From<Tensor> for Batch {
    fn from(images: Tensor) -> Self {
        Self { images, condition: None }
    }
}

impl Batch {
    fn decoder_input(&self, codes: Tensor) -> Result<Tensor> {
        beside(codes, self.condition.as_ref().map(|condition| &condition.decoder))
    }

    fn discriminator_input(&self, codes: Tensor) -> Result<Tensor> {
        beside(codes, self.condition.as_ref().map(|condition| &condition.discriminator))
    }
}

fn beside(codes: Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
    Ok(match condition {
        Some(condition) => Tensor::f_cat(&[&codes, condition], 1)?,
        None => codes,
    })
}

/// A labelled and an unlabelled batch.
#[derive(Debug)]
pub struct Pair {
    /// L of the losses.
    pub labelled: Batch,
    /// U of the losses.
    pub unlabelled: Batch,
}

/// Asked between passes, whether to go on.
pub type GoOn<'a> = &'a dyn Fn() -> Result<()>;

/// Autoencoder and discriminator with their optimisers.
pub struct Adversaries {
    objective: Objective,
    shape: Shape,
    vae_store: nn::VarStore,
    discriminator_store: nn::VarStore,
    vae: Vae,
    discriminator: Discriminator,
    vae_optimiser: nn::Optimizer,
    discriminator_optimiser: nn::Optimizer,
}

impl Adversaries {
    /// With fresh weights.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(objective: Objective, shape: Shape, device: Device) -> Result<Self> {
        let (vae_store, discriminator_store) = (nn::VarStore::new(device), nn::VarStore::new(device));
        let Objective { latent, condition, lr_vae, lr_discriminator, .. } = objective;
        Ok(Self {
            vae: Vae::new(&vae_store.root(), &shape, latent, condition),
            discriminator: Discriminator::new(&discriminator_store.root(), latent + condition),
            vae_optimiser: nn::Adam::default().build(&vae_store, lr_vae)?,
            discriminator_optimiser: nn::Adam::default().build(&discriminator_store, lr_discriminator)?,
            objective,
            shape,
            vae_store,
            discriminator_store,
        })
    }

    /// Numbers that training changes, of autoencoder and discriminator.
    pub fn parameters(&self) -> [usize; 2] {
        [&self.vae_store, &self.discriminator_store]
            .map(|store| store.trainable_variables().iter().map(Tensor::numel).sum())
    }

    /// One update of the autoencoder. Returns the loss, without reading it.
    ///
    /// # Errors
    /// If libtorch fails or `go_on` says so.
    pub fn step_vae(&mut self, pair: &Pair, go_on: GoOn<'_>) -> Result<Tensor> {
        self.vae_optimiser.zero_grad();
        let mut total = Tensor::f_zeros([], (Kind::Float, pair.labelled.images.device()))?;
        for batch in [&pair.labelled, &pair.unlabelled] {
            go_on()?;
            let loss = self.vae_loss(batch)?;
            go_on()?;
            // Gradients add up, and each half frees its graph before the next one is made.
            loss.f_backward()?;
            total = total.f_add(&loss.f_detach()?)?;
        }
        self.vae_optimiser.step();
        Ok(total)
    }

    /// A batch's share of the autoencoder's loss: reconstruction, divergence and adversarial loss.
    fn vae_loss(&self, batch: &Batch) -> Result<Tensor> {
        let images = self.shape.fit(&batch.images)?;
        let (mean, log_variance) = self.vae.encode(&images, true)?;
        let noise = mean.f_randn_like()?;
        let codes = log_variance.f_mul_scalar(0.5)?.f_exp()?.f_mul(&noise)?.f_add(&mean)?;
        let reconstructed = self.vae.decode(&batch.decoder_input(codes)?, true)?;
        let loss = reconstruction(&self.shape, &reconstructed, &images)?;
        let divergence = kl(&mean, &log_variance, self.objective.kl_reduction)?.f_mul_scalar(self.objective.beta)?;
        // To pass for labelled, whichever they are.
        let log_odds = self.discriminator.forward(&batch.discriminator_input(mean)?)?;
        let adversarial = cross_entropy(&log_odds, true)?.f_mul_scalar(self.objective.adversary_weight)?;
        Ok(loss.f_add(&divergence)?.f_add(&adversarial)?)
    }

    /// One update of the discriminator. Returns the loss, without reading it.
    ///
    /// # Errors
    /// As for [`Adversaries::step_vae`].
    pub fn step_discriminator(&mut self, pair: &Pair, go_on: GoOn<'_>) -> Result<Tensor> {
        let codes = |batch: &Batch| -> Result<Tensor> {
            go_on()?;
            let _no_grad = tch::no_grad_guard();
            batch.discriminator_input(self.vae.encode(&self.shape.fit(&batch.images)?, true)?.0)
        };
        let (labelled, unlabelled) = (codes(&pair.labelled)?, codes(&pair.unlabelled)?);
        self.step_discriminator_on(&labelled, &unlabelled)
    }

    /// One update of the discriminator on codes `[n, latent + condition]` of labelled and of unlabelled images.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn step_discriminator_on(&mut self, labelled: &Tensor, unlabelled: &Tensor) -> Result<Tensor> {
        // The autoencoder's update left gradients here too.
        self.discriminator_optimiser.zero_grad();
        let of_labelled = cross_entropy(&self.discriminator.forward(labelled)?, true)?;
        let of_unlabelled = cross_entropy(&self.discriminator.forward(unlabelled)?, false)?;
        let loss = of_labelled.f_add(&of_unlabelled)?;
        loss.f_backward()?;
        self.discriminator_optimiser.step();
        Ok(loss.f_detach()?)
    }

    /// For each image the log-odds that it is unlabelled, in eval mode.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn score(&self, batch: &Batch) -> Result<Vec<f64>> {
        let _no_grad = tch::no_grad_guard();
        let (mean, _) = self.vae.encode(&self.shape.fit(&batch.images)?, false)?;
        self.score_codes(&batch.discriminator_input(mean)?)
    }

    /// For each code `[latent + condition]` the log-odds that its image is unlabelled.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn score_codes(&self, codes: &Tensor) -> Result<Vec<f64>> {
        let _no_grad = tch::no_grad_guard();
        floats(&self.discriminator.forward(codes)?.f_neg()?)
    }
}

/// Reconstruction loss: mean squared error over all values of the images, their padding left out.
///
/// # Errors
/// If sizes do not fit.
pub fn reconstruction(shape: &Shape, reconstructed: &Tensor, images: &Tensor) -> Result<Tensor> {
    Ok(shape.inner(reconstructed)?.f_sub(&shape.inner(images)?)?.f_square()?.f_mean(Kind::Float)?)
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
fn cross_entropy(log_odds: &Tensor, labelled: bool) -> Result<Tensor> {
    let against = if labelled { log_odds.f_neg()? } else { log_odds.shallow_clone() };
    Ok(against.f_softplus()?.f_mean(Kind::Float)?)
}

/// Makes a batch of images `[n, channels, height, width]`, with their conditions.
pub(crate) type MakeBatch<'a> = &'a dyn Fn(Tensor) -> Result<Batch>;

/// A training over the images of a round, to be run.
pub(crate) struct Training {
    pub(crate) objective: Objective,
    /// Longest side of the images that the autoencoder sees.
    pub(crate) longest_side: u32,
    /// Images of a batch of each kind.
    pub(crate) batch_size: u32,
    pub(crate) iterations: u64,
    /// Updates of the autoencoder in an iteration.
    pub(crate) vae_steps: u32,
    /// Updates of the discriminator in an iteration.
    pub(crate) discriminator_steps: u32,
    pub(crate) transform: TrainTransform,
}

impl Training {
    /// Trains fresh networks on labelled images and on these rows of the pool. For each row the discriminator's
    /// certainty that it is unlabelled, as log-odds.
    pub(crate) fn run(self, round: &Round, rows: &[u32], make: MakeBatch<'_>) -> Result<Vec<f64>> {
        let task = round.task();
        if task.labelled < 2 {
            return Err(Error::failed("2 labelled samples or more are needed to tell the pool from"));
        }
        let mut adversaries =
            Adversaries::new(self.objective.clone(), Shape::of(task, self.longest_side), task.device)?;
        self.train(round, rows, &mut adversaries, make)?;
        self.score(round, rows, &adversaries, make)
    }

    fn train(&self, round: &Round, rows: &[u32], adversaries: &mut Adversaries, make: MakeBatch<'_>) -> Result<()> {
        let labelled = self.stream(round, Of::Labelled, "labelled")?;
        let unlabelled = self.stream(round, Of::Rows(rows), "unlabelled")?;
        let next_pair = || -> Result<Pair> {
            let labelled = next(&labelled, round, make)?;
            Ok(Pair { labelled, unlabelled: next(&unlabelled, round, make)? })
        };
        let pace = RefCell::new(Pace::new("iterations", "a lower `iterations` or `epochs`", self.iterations));
        for iteration in 0..self.iterations {
            // Asked between passes, the longest stretches of work, so that the user need not wait for an iteration.
            let go_on = || pace.borrow_mut().report(round, iteration);
            let mut pair = next_pair()?;
            let (mut vae_loss, mut discriminator_loss) = (None, None);
            for step in 0..self.vae_steps {
                if step > 0 {
                    pair = next_pair()?;
                }
                vae_loss = Some(adversaries.step_vae(&pair, &go_on)?);
            }
            for _ in 0..self.discriminator_steps {
                discriminator_loss = Some(adversaries.step_discriminator(&pair, &go_on)?);
            }
            if iteration + 1 == self.iterations {
                // Networks that diverged end here: a figure must be finite.
                for (loss, name) in [(vae_loss, "autoencoder_loss"), (discriminator_loss, "discriminator_loss")] {
                    let Some(loss) = loss else { continue };
                    round.log_metric(name, loss.f_double_value(&[])?)?;
                }
            }
        }
        round.progress(self.iterations, self.iterations)?;
        labelled.close(round)?;
        unlabelled.close(round)
    }

    fn stream(&self, round: &Round, of: Of, tag: &str) -> Result<ImageStream> {
        let stream = round.images(of).batch(self.batch_size).shuffled(tag).infinite().drop_last();
        match self.transform {
            TrainTransform::Train => stream.augmented().open(),
            TrainTransform::Eval => stream.open(),
        }
    }

    /// In eval mode and of unchanged images.
    fn score(&self, round: &Round, rows: &[u32], adversaries: &Adversaries, make: MakeBatch<'_>) -> Result<Vec<f64>> {
        let mut scores = Vec::with_capacity(rows.len());
        let stream = round.images(Of::Rows(rows)).batch(self.batch_size).open()?;
        while let Some(batch) = stream.next(round)? {
            scores.extend(adversaries.score(&make(batch.images)?)?);
            round.progress(scores.len() as u64, rows.len() as u64)?;
        }
        Ok(scores)
    }
}

fn next(stream: &ImageStream, round: &Round, make: MakeBatch<'_>) -> Result<Batch> {
    let batch = stream.next(round)?;
    make(batch.ok_or_else(|| Error::failed("an infinite stream of images ended"))?.images)
}
