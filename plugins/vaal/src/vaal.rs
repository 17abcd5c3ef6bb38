//! VAAL as a strategy.

use querist_sdk_torch::prelude::*;

use crate::duel::{Duel, nothing_to_choose};
use crate::game::Rules;
use crate::params::{KlReduction, TrainTransform};

/// Parameters of VAAL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VaalParams {
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
    /// Images of a batch of each kind.
    #[schemars(range(min = 2, max = 65_536))]
    pub batch_size: u32,
    /// Iterations. `epochs` times the number of images over `batch_size` where it is left out.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub iterations: Option<u32>,
    /// How the divergences become one number.
    pub kl_reduction: KlReduction,
    /// How many rows of the pool are looked at, drawn at random; all where it is left out.
    #[schemars(range(min = 1))]
    pub subset_size: Option<u32>,
    /// What happens to training images.
    pub train_transform: TrainTransform,
    /// Longest side of the images that the autoencoder sees: larger ones are scaled down.
    #[schemars(range(min = 16, max = 4096))]
    pub vae_size: u32,
}

impl Default for VaalParams {
    fn default() -> Self {
        Self {
            latent_dim: 32,
            beta: 1.0,
            adversary_weight: 1.0,
            lr_vae: 5e-4,
            lr_disc: 5e-4,
            vae_steps: 2,
            adv_steps: 1,
            epochs: 100,
            batch_size: 128,
            iterations: None,
            kl_reduction: KlReduction::Sum,
            subset_size: None,
            train_transform: TrainTransform::Train,
            vae_size: 64,
        }
    }
}

impl VaalParams {
    /// Iterations over so many images, labelled and unlabelled.
    pub fn iterations(&self, images: u64) -> u64 {
        let by_epochs = u64::from(self.epochs) * images / u64::from(self.batch_size);
        self.iterations.map_or(by_epochs, u64::from).max(1)
    }

    /// What the networks play for.
    pub fn rules(&self) -> Rules {
        Rules {
            latent: i64::from(self.latent_dim),
            told: 0,
            beta: self.beta,
            kl_reduction: self.kl_reduction,
            adversary_weight: self.adversary_weight,
            rates: [self.lr_vae, self.lr_disc],
        }
    }
}

impl Strategy for VaalParams {
    const ID: &'static str = "vaal";
    const SUMMARY: &'static str = "Samples whose latent codes a discriminator tells from those of the labelled ones";
    const PAPER: &'static str = "Sinha et al., Variational Adversarial Active Learning, ICCV 2019";
    const COST: &'static str = "Iterations of an autoencoder and a discriminator, about half a billion multiply-adds an image of 32 x 32; memory for both and one batch.";

    fn layers() -> Vec<Layer<Self>> {
        let set = |params: &mut Self| params.batch_size = 64;
        vec![
            Layer::preset("paper", "The paper's: batches of 64.", set).once_called("profile", "paper"),
            Layer::preset("authors-code", "The released code's: the defaults.", |_: &mut Self| ())
                .once_called("profile", "peer"),
        ]
    }

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
        if let Some(all) = nothing_to_choose(round, query)? {
            return Ok(all);
        }
        let rows = round.subset(self.0.subset_size)?;
        let images = u64::from(round.task().labelled) + rows.len() as u64;
        let duel = Duel {
            rules: self.0.rules(),
            longest_side: self.0.vae_size,
            batch: self.0.batch_size,
            iterations: self.0.iterations(images),
            steps: [self.0.vae_steps, self.0.adv_steps],
            transform: self.0.train_transform,
        };
        let surely_unlabelled = duel.fight(round, &rows, &|images| Ok(images.into()))?;
        largest(&rows, &surely_unlabelled, query.wanted())
    }
}
