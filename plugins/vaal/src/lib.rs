//! A variational autoencoder and a discriminator are trained against each other on labelled and unlabelled images; the
//! samples that the discriminator is surest are unlabelled are asked. The task's model plays no part.
//!
//! For a labelled batch L and an unlabelled batch U, with R the mean squared error of the reconstruction and KL the
//! distance of the posterior from the standard normal, the autoencoder minimises
//! `R(L) + beta KL(L) + R(U) + beta KL(U) + adversary_weight (-E log D(mu_L) - E log D(mu_U))` and the discriminator
//! `-E log D(mu_L) - E log (1 - D(mu_U))`. The discriminator always sees the mean of the posterior, never a sample.
//!
//! Sinha, Ebrahimi and Darrell, "Variational Adversarial Active Learning", ICCV 2019 (arXiv 1904.00370).
#![deny(missing_docs)]

mod game;
mod network;

use std::cell::RefCell;

pub use game::{Game, kl, reconstruction};
pub use network::{Autoencoder, Discriminator, Shape};
use querist_sdk_torch::prelude::*;

/// Where paper and the authors' released code differ, whose values are the defaults.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// The paper's.
    Paper,
    /// The released code's.
    #[default]
    Peer,
}

/// How the divergences of a batch and its latent dimensions become one number.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KlReduction {
    /// Summed over both, as the authors' code has it. The posterior is then all but pinned to the prior.
    #[default]
    Sum,
    /// Mean over both.
    Mean,
    /// Summed over dimensions, mean over the batch.
    SumDim,
}

/// What happens to training images.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TrainTransform {
    /// The recipe's crops and flips.
    #[default]
    Train,
    /// Nothing.
    Eval,
}

/// Parameters of VAAL.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VaalParams {
    /// Sets the default of `batch_size`.
    pub profile: Profile,
    /// Dimensions of the latent space.
    #[schemars(range(min = 2, max = 512))]
    pub latent_dim: u32,
    /// Weight of the divergence.
    #[schemars(range(min = 0.0))]
    pub beta: f64,
    /// Weight of the adversarial part of the autoencoder's loss.
    #[schemars(range(min = 0.0))]
    pub adversary_weight: f64,
    /// Learning rate of the autoencoder's Adam.
    #[schemars(range(min = 0.0))]
    pub lr_vae: f64,
    /// Learning rate of the discriminator's Adam.
    #[schemars(range(min = 0.0))]
    pub lr_disc: f64,
    /// Updates of the autoencoder in an iteration, each on a batch pair of its own.
    #[schemars(range(min = 1, max = 1000))]
    pub vae_steps: u32,
    /// Updates of the discriminator in an iteration, on the last batch pair.
    #[schemars(range(min = 1, max = 1000))]
    pub adv_steps: u32,
    /// Passes over labelled and unlabelled images together, which give the number of iterations.
    #[schemars(range(min = 1, max = 100_000))]
    pub epochs: u32,
    /// Images of a batch of each kind. Null: 128; 64 in profile `paper`.
    #[schemars(range(min = 2, max = 65_536))]
    pub batch_size: Option<u32>,
    /// Iterations. Null: `epochs` times the number of images over `batch_size`.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub iterations: Option<u32>,
    /// How the divergences become one number.
    pub kl_reduction: KlReduction,
    /// How many rows of the pool are looked at, drawn at random; null for all.
    #[schemars(range(min = 1))]
    pub subset_size: Option<u32>,
    /// What happens to training images.
    pub train_transform: TrainTransform,
    /// Longest side of the images that the autoencoder sees: larger ones are scaled down. Null: 64.
    #[schemars(range(min = 16, max = 4096))]
    pub vae_size: Option<u32>,
}

impl Default for VaalParams {
    fn default() -> Self {
        Self {
            profile: Profile::Peer,
            latent_dim: 32,
            beta: 1.0,
            adversary_weight: 1.0,
            lr_vae: 5e-4,
            lr_disc: 5e-4,
            vae_steps: 2,
            adv_steps: 1,
            epochs: 100,
            batch_size: None,
            iterations: None,
            kl_reduction: KlReduction::Sum,
            subset_size: None,
            train_transform: TrainTransform::Train,
            vae_size: None,
        }
    }
}

impl VaalParams {
    /// Images of a batch of each kind.
    pub fn batch(&self) -> u32 {
        self.batch_size.unwrap_or(match self.profile {
            Profile::Paper => 64,
            Profile::Peer => 128,
        })
    }

    /// Iterations over so many images, labelled and unlabelled.
    pub fn iterations(&self, images: u64) -> u64 {
        let by_epochs = u64::from(self.epochs) * images / u64::from(self.batch());
        self.iterations.map_or(by_epochs, u64::from).max(1)
    }

    /// Longest side of the images that the autoencoder sees.
    pub fn longest_side(&self) -> u32 {
        self.vae_size.unwrap_or(64)
    }
}

impl Strategy for VaalParams {
    const ID: &'static str = "vaal";
    const SUMMARY: &'static str = "Samples whose latent codes a discriminator tells from those of the labelled ones";
    const PAPER: &'static str = "Sinha et al., Variational Adversarial Active Learning, ICCV 2019";

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::IMAGES).with("min_side", 16)]
    }
}

/// VAAL in one round.
pub struct Vaal(VaalParams);

impl TorchStrategy for Vaal {
    type Params = VaalParams;
    const HOOKS: Hooks = Hooks::NONE;

    fn new(params: VaalParams, _: &Round, _: Option<&[u8]>) -> Result<Self> {
        Ok(Self(params))
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        if query.wanted() == query.rows() {
            // Nothing to choose.
            return Ok(Selection { rows: (0..query.rows()).collect(), ..Selection::default() });
        }
        if round.task().labelled < 2 {
            return Err(Error::failed("VAAL needs 2 labelled samples or more to tell the pool from"));
        }
        let rows = round.subset(self.0.subset_size)?;
        let mut game = Game::new(&self.0, Shape::of(round.task(), self.0.longest_side()), round.task().device)?;
        self.train(round, &rows, &mut game)?;
        let surely_unlabelled = score(round, &rows, &game, self.0.batch())?;
        largest(&rows, &surely_unlabelled, query.wanted())
    }
}

impl Vaal {
    fn train(&self, round: &Round, rows: &[u32], game: &mut Game) -> Result<()> {
        let labelled = self.stream(round, Of::Labelled, "labelled")?;
        let unlabelled = self.stream(round, Of::Rows(rows), "unlabelled")?;
        let pair = || -> Result<[Tensor; 2]> { Ok([images(&labelled, round)?, images(&unlabelled, round)?]) };
        let iterations = self.0.iterations(u64::from(round.task().labelled) + rows.len() as u64);
        let pace = RefCell::new(Pace::new("iterations", "`iterations` or `epochs`", iterations));
        for iteration in 0..iterations {
            // Asked between passes, the longest stretches of work, so that the user need not wait for an iteration.
            let go_on = || pace.borrow_mut().report(round, iteration);
            let mut batches = pair()?;
            let mut losses = [None, None];
            for step in 0..self.0.vae_steps {
                if step > 0 {
                    batches = pair()?;
                }
                losses[0] = Some(game.step_autoencoder(&batches, &go_on)?);
            }
            for _ in 0..self.0.adv_steps {
                losses[1] = Some(game.step_discriminator(&batches, &go_on)?);
            }
            if iteration + 1 == iterations {
                // Networks that diverged end here: a figure must be finite.
                for (loss, name) in losses.iter().flatten().zip(["autoencoder_loss", "discriminator_loss"]) {
                    round.log_metric(name, loss.f_double_value(&[])?)?;
                }
            }
        }
        round.progress(iterations, iterations)?;
        labelled.close(round)?;
        unlabelled.close(round)
    }

    fn stream(&self, round: &Round, of: Of, tag: &str) -> Result<ImageStream> {
        let stream = round.images(of).batch(self.0.batch()).shuffled(tag).infinite().drop_last();
        match self.0.train_transform {
            TrainTransform::Train => stream.augmented().open(),
            TrainTransform::Eval => stream.open(),
        }
    }
}

fn images(stream: &ImageStream, round: &Round) -> Result<Tensor> {
    let batch = stream.next(round)?;
    Ok(batch.ok_or_else(|| Error::failed("an infinite stream of images ended"))?.images)
}

/// For each row the discriminator's certainty that it is unlabelled, as log-odds; in eval mode.
fn score(round: &Round, rows: &[u32], game: &Game, batch: u32) -> Result<Vec<f64>> {
    let mut scores = Vec::with_capacity(rows.len());
    let stream = round.images(Of::Rows(rows)).batch(batch).open()?;
    while let Some(batch) = stream.next(round)? {
        scores.extend(game.score(&batch.images)?);
        round.progress(scores.len() as u64, rows.len() as u64)?;
    }
    Ok(scores)
}

torch_package!(Vaal);
