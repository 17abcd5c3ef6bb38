//! TA-VAAL as a strategy.

use querist_sdk_torch::prelude::*;
use querist_torch_parts::{LossModule, Settings};

use crate::duel::{Duel, nothing_to_choose};
use crate::game::{Batch, Rules};
use crate::params::{KlReduction, TrainTransform};
use crate::rank::{RankLoss, rank_loss};

/// What the discriminator is told of an image's rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiscRank {
    /// The ranker's number.
    Raw,
    /// Its sigmoid, which the decoder is always told.
    Sigmoid,
}

/// Parameters of TA-VAAL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TaVaalParams {
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
    /// How many rows of the pool are looked at, drawn at random; all where it has no more.
    #[schemars(range(min = 1))]
    pub subset_size: Option<u32>,
    /// What happens to training images.
    pub train_transform: TrainTransform,
    /// Longest side of the images that the autoencoder sees: larger ones are scaled down.
    #[schemars(range(min = 16, max = 4096))]
    pub vae_size: u32,
    /// Weight of the ranker's loss beside the task's.
    #[schemars(range(min = 0.0))]
    pub weight: f64,
    /// What a pair of samples costs the ranker.
    pub rank_loss: RankLoss,
    /// How far apart the ranks of a pair should be under `rank_loss = "hinge"`.
    #[schemars(range(min = 0.0))]
    pub margin: f64,
    /// First epoch in which the task's model no longer feels the ranker's loss. 60 % of the epochs where it
    /// is left out.
    #[schemars(range(max = 100_000))]
    pub epoch_loss: Option<u32>,
    /// What the discriminator is told of an image's rank.
    pub disc_rank: DiscRank,
    /// Units of the ranker's linear layer after each stage.
    #[schemars(range(min = 1, max = 65_536))]
    pub interm_dim: u32,
    /// Learning rate of the ranker's SGD.
    #[schemars(range(min = 0.0))]
    pub lr_ranker: f64,
    /// Momentum of the ranker's SGD, below 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub momentum: f64,
    /// Weight decay of the ranker's SGD.
    #[schemars(range(min = 0.0))]
    pub weight_decay: f64,
    /// Epoch from which on the ranker's learning rate is a tenth. 80 % of the epochs where it is left out.
    #[schemars(range(max = 100_000))]
    pub milestone: Option<u32>,
}

impl Default for TaVaalParams {
    fn default() -> Self {
        Self {
            latent_dim: 32,
            beta: 1.0,
            adversary_weight: 1.0,
            lr_vae: 5e-4,
            lr_disc: 5e-4,
            vae_steps: 1,
            adv_steps: 1,
            epochs: 100,
            batch_size: 128,
            iterations: None,
            kl_reduction: KlReduction::Mean,
            subset_size: Some(10_000),
            train_transform: TrainTransform::Eval,
            vae_size: 64,
            weight: 1.0,
            rank_loss: RankLoss::Bce,
            margin: 1.0,
            epoch_loss: None,
            disc_rank: DiscRank::Raw,
            interm_dim: 128,
            lr_ranker: 0.1,
            momentum: 0.9,
            weight_decay: 5e-4,
            milestone: None,
        }
    }
}

impl TaVaalParams {
    /// First epoch without the ranker's gradient in the model, of `epochs`: 120 of 200.
    pub fn cut(&self, epochs: u32) -> u32 {
        self.epoch_loss.unwrap_or(share(epochs, 6))
    }

    /// The ranker's learning rate in an epoch, of `epochs`.
    pub fn rate(&self, epoch: u32, epochs: u32) -> f64 {
        let milestone = self.milestone.unwrap_or(share(epochs, 8));
        if epoch < milestone { self.lr_ranker } else { 0.1 * self.lr_ranker }
    }

    /// Iterations over so many images, labelled and unlabelled.
    pub fn iterations(&self, images: u64) -> u64 {
        let by_epochs = u64::from(self.epochs) * images / u64::from(self.batch_size);
        self.iterations.map_or(by_epochs, u64::from).max(1)
    }

    /// What the networks play for.
    pub fn rules(&self) -> Rules {
        Rules {
            latent: i64::from(self.latent_dim),
            told: 1,
            beta: self.beta,
            kl_reduction: self.kl_reduction,
            adversary_weight: self.adversary_weight,
            rates: [self.lr_vae, self.lr_disc],
        }
    }

    fn ranker(&self) -> Settings {
        Settings {
            units: self.interm_dim,
            lr: self.lr_ranker,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
        }
    }
}

/// So many tenths, rounded down.
fn share(epochs: u32, tenths: u64) -> u32 {
    (u64::from(epochs) * tenths / 10) as u32
}

impl Strategy for TaVaalParams {
    const ID: &'static str = "ta-vaal";
    const SUMMARY: &'static str =
        "Samples whose latent codes, with their rank by loss, a discriminator tells from those of the labelled ones";
    const PAPER: &'static str = "Kim et al., Task-Aware Variational Adversarial Active Learning, CVPR 2021";
    const COST: &'static str = "A small module in every step of training, then iterations of an autoencoder and a discriminator; memory for both and one batch.";
    const ALIASES: &'static [&'static str] = &["tavaal"];

    fn layers() -> Vec<Layer<Self>> {
        let set = |params: &mut Self| params.disc_rank = DiscRank::Sigmoid;
        vec![
            Layer::preset("paper", "The paper's: the discriminator is given the sigmoid of the rank.", set)
                .once_called("profile", "paper"),
            Layer::preset("authors-code", "The released code's: the defaults.", |_: &mut Self| ())
                .once_called("profile", "peer"),
        ]
    }

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::STAGE_MAPS), Need::new(names::IMAGES).with("min_side", 16)]
    }

    fn check(&self) -> Result<(), String> {
        match self.momentum < 1.0 {
            true => Ok(()),
            false => Err(format!("momentum is {}, expected 0 or more and below 1", self.momentum)),
        }
    }
}

/// TA-VAAL in one round.
pub struct TaVaal {
    params: TaVaalParams,
    ranker: LossModule,
    trained: bool,
}

impl TorchStrategy for TaVaal {
    type Params = TaVaalParams;
    const HOOKS: Hooks = Hooks { plan_round: true, batch_loss: true, batch_step: true, train_end: true, ..Hooks::NONE };

    fn new(params: TaVaalParams, round: &Round, _: Option<&[u8]>) -> Result<Self> {
        let ranker = LossModule::new(&params.ranker(), &round.task().stage_channels, round.task().device)?;
        Ok(Self { params, ranker, trained: false })
    }

    fn plan_round(&mut self, _: &Round) -> Result<TrainOverrides> {
        Ok(TrainOverrides { stage_maps: true, sample_losses: true, ..TrainOverrides::default() })
    }

    fn batch_loss(&mut self, round: &Round, minibatch: &Minibatch) -> Result<Loss> {
        let cut = minibatch.epoch >= self.params.cut(round.task().epochs);
        let losses = minibatch.losses.as_ref().ok_or_else(|| Error::failed("the minibatch has no sample losses"))?;
        let ranks = self.ranker.predict(&minibatch.stages, cut)?;
        match rank_loss(&ranks, losses, self.params.rank_loss, self.params.margin)? {
            Some(loss) => Ok(Loss::extra(loss.f_mul_scalar(self.params.weight)?)),
            None => Ok(Loss::none()),
        }
    }

    fn batch_step(&mut self, round: &Round, epoch: u32, _: u32) -> Result<()> {
        // Its gradients came with the backward pass that the task's came with.
        self.ranker.step(self.params.rate(epoch, round.task().epochs));
        Ok(())
    }

    fn train_end(&mut self, _: &Round) -> Result<()> {
        self.trained = true;
        Ok(())
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        if !self.trained {
            return Err(Error::failed("the ranker was not trained: ask for a batch after training in the same round"));
        }
        if let Some(all) = nothing_to_choose(round, query)? {
            return Ok(all);
        }
        let rows = round.subset(self.params.subset_size)?;
        let duel = Duel {
            rules: self.params.rules(),
            longest_side: self.params.vae_size,
            batch: self.params.batch_size,
            iterations: self.params.iterations(u64::from(round.task().labelled) + rows.len() as u64),
            steps: [self.params.vae_steps, self.params.adv_steps],
            transform: self.params.train_transform,
        };
        let surely_unlabelled = duel.fight(round, &rows, &|images| self.ranked(round, images))?;
        largest(&rows, &surely_unlabelled, query.wanted())
    }
}

impl TaVaal {
    /// Images with their ranks, by the task's model and the ranker as training left them.
    fn ranked(&self, round: &Round, images: Tensor) -> Result<Batch> {
        let _no_grad = tch::no_grad_guard();
        let raw = self.ranker.predict(&round.forward(&images).stages().run()?.stages, true)?.f_unsqueeze(1)?;
        let sigmoid = raw.f_sigmoid()?;
        let told = match self.params.disc_rank {
            DiscRank::Raw => [sigmoid, raw],
            DiscRank::Sigmoid => [sigmoid.shallow_clone(), sigmoid],
        };
        Ok(Batch { images, told: Some(told) })
    }
}
