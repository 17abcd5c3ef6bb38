//! A variational autoencoder and a discriminator are trained against each other on labelled and unlabelled images; the
//! samples with the highest probability of being unlabelled are selected.
//!
//! For a labelled batch L and an unlabelled batch U, with R the mean squared error of the reconstruction and KL the
//! distance of the posterior from the standard normal, the autoencoder minimises
//! `R(L) + beta KL(L) + R(U) + beta KL(U) + adversary_weight (-E log D(mu_L) - E log D(mu_U))` and the discriminator
//! `-E log D(mu_L) - E log (1 - D(mu_U))`. The discriminator always sees the mean of the posterior, never a sample.
//!
//! - In `vaal` the task's model plays no part. Sinha, Ebrahimi and Darrell, "Variational Adversarial Active Learning",
//!   ICCV 2019 (arXiv 1904.00370).
//! - In `ta-vaal` a ranker learns beside the task which of two samples has the larger loss; the rank of each image is a
//!   condition of decoder and discriminator. Kim, Park, Kim and Chun, "Task-Aware Variational Adversarial Active
//!   Learning", CVPR 2021 (arXiv 2002.04709).

// More than 150 lines: it holds two strategies, and the networks that both of them train.
#![deny(missing_docs)]

mod networks;
mod training;

use querist_sdk_torch::prelude::*;
use querist_torch_parts::{LossHooks, LossModule, Schedule, Settings, Ties, differences, pair_loss};

pub use networks::{Discriminator, Shape, Vae};
use training::Training;
pub use training::{Adversaries, Batch, Condition, Objective, Pair, kl, reconstruction};

/// How the divergences of a batch and its latent dimensions become one number.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = with_underscores)]
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

params! {
    /// Parameters of VAAL.
    pub struct VaalParams {
        /// Dimensions of the latent space.
        #[schemars(range(min = 2, max = 512))]
        pub latent_dim: u32 = 32,
        /// Weight of the divergence.
        #[schemars(range(min = 0.0))]
        pub beta: f64 = 1.0,
        /// Weight of the adversarial part of the autoencoder's loss.
        #[schemars(range(min = 0.0))]
        pub adversary_weight: f64 = 1.0,
        /// Learning rate of the autoencoder's Adam.
        #[schemars(range(min = 0.0))]
        pub lr_vae: f64 = 5e-4,
        /// Learning rate of the discriminator's Adam.
        #[schemars(range(min = 0.0))]
        pub lr_disc: f64 = 5e-4,
        /// Updates of the autoencoder in an iteration, each on a batch pair of its own.
        #[schemars(range(min = 1, max = 1000))]
        pub vae_steps: u32 = 2,
        /// Updates of the discriminator in an iteration, on the last batch pair.
        #[schemars(range(min = 1, max = 1000))]
        pub adv_steps: u32 = 1,
        /// Passes over labelled and unlabelled images together, which give the number of iterations.
        #[schemars(range(min = 1, max = 100_000))]
        pub epochs: u32 = 100,
        /// Images of a batch of each kind.
        #[schemars(range(min = 2, max = 65_536))]
        pub batch_size: u32 = 128,
        /// Iterations. `epochs` times the number of images over `batch_size` where it is left out.
        #[schemars(range(min = 1, max = 100_000_000))]
        pub iterations: Option<u32> = None,
        /// How the divergences become one number.
        pub kl_reduction: KlReduction = KlReduction::Sum,
        /// How many rows of the pool are looked at, drawn at random; all where it is left out.
        #[schemars(range(min = 1))]
        pub subset_size: Option<u32> = None,
        /// What happens to training images.
        pub train_transform: TrainTransform = TrainTransform::Train,
        /// Longest side of the images that the autoencoder sees: larger ones are scaled down.
        #[schemars(range(min = 16, max = 4096))]
        pub vae_size: u32 = 64,
    }
}

impl VaalParams {
    /// What the networks are trained for.
    pub fn objective(&self) -> Objective {
        Objective {
            latent: i64::from(self.latent_dim),
            condition: 0,
            beta: self.beta,
            kl_reduction: self.kl_reduction,
            adversary_weight: self.adversary_weight,
            lr_vae: self.lr_vae,
            lr_discriminator: self.lr_disc,
        }
    }

    /// Iterations over so many images, labelled and unlabelled.
    pub fn iterations(&self, images: u64) -> u64 {
        let by_epochs = u64::from(self.epochs) * images / u64::from(self.batch_size);
        self.iterations.map_or(by_epochs, u64::from).max(1)
    }

    /// The training over so many images of the pool beside the labelled ones.
    fn training(&self, round: &Round, unlabelled: usize) -> Training {
        Training {
            objective: self.objective(),
            longest_side: self.vae_size,
            batch_size: self.batch_size,
            iterations: self.iterations(u64::from(round.task().labelled) + unlabelled as u64),
            vae_steps: self.vae_steps,
            discriminator_steps: self.adv_steps,
            transform: self.train_transform,
        }
    }
}

impl Strategy for VaalParams {
    const ID: &'static str = "vaal";
    const SUMMARY: &'static str = "Samples whose latent codes a discriminator tells from those of the labelled ones";
    const PAPER: &'static str = "Sinha et al., Variational Adversarial Active Learning, ICCV 2019";
    const COST: &'static str = "Iterations of an autoencoder and a discriminator, about half a billion multiply-adds \
                                an image of 32 x 32; memory for both and one batch.";
    const ALIASES: &'static [&'static str] = &["VAAL"];
    const RANKS_ALL: bool = false;

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
        let rows = round.subset(self.0.subset_size)?;
        let log_odds = self.0.training(round, rows.len()).run(round, &rows, &|images| Ok(images.into()))?;
        largest(&rows, &log_odds, query.wanted())
    }
}

/// What the discriminator sees of an image's rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiscRank {
    /// The ranker's number.
    Raw,
    /// Its sigmoid, which the decoder always sees.
    Sigmoid,
}

/// What a pair of samples costs whose ranks are r and whose losses are l.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RankLoss {
    /// Cross-entropy of sigmoid(r_i - r_j) with whether l_i > l_j.
    #[default]
    Bce,
    /// The margin less r_i - r_j in the right direction, where that is positive: the loss of learning loss.
    Hinge,
}

/// Mean cost of the pairs (i, n - 1 - i) of ranks and losses, `f32 [n]` both; the losses are held fixed. `None` where
/// there is no pair. A pair of equal losses should have equal ranks under `bce`, and costs nothing under `hinge`.
///
/// # Errors
/// If the two are not of one length.
pub fn rank_loss(ranks: &Tensor, losses: &Tensor, rule: RankLoss, margin: f64) -> Result<Option<Tensor>> {
    if rule == RankLoss::Hinge {
        return pair_loss(ranks, losses, margin, Ties::Skip);
    }
    if ranks.numel() < 2 {
        return Ok(None);
    }
    let larger = differences(&losses.f_detach()?)?.f_sign()?.f_add_scalar(1.0)?.f_mul_scalar(0.5)?;
    let (ahead, none) = (differences(ranks)?, None::<Tensor>);
    Ok(Some(ahead.f_binary_cross_entropy_with_logits(&larger, none.as_ref(), none.as_ref(), tch::Reduction::Mean)?))
}

params! {
    /// Parameters of TA-VAAL.
    pub struct TaVaalParams {
        /// Dimensions of the latent space.
        #[schemars(range(min = 2, max = 512))]
        pub latent_dim: u32 = 32,
        /// Weight of the divergence.
        #[schemars(range(min = 0.0))]
        pub beta: f64 = 1.0,
        /// Weight of the adversarial part of the autoencoder's loss.
        #[schemars(range(min = 0.0))]
        pub adversary_weight: f64 = 1.0,
        /// Learning rate of the autoencoder's Adam.
        #[schemars(range(min = 0.0))]
        pub lr_vae: f64 = 5e-4,
        /// Learning rate of the discriminator's Adam.
        #[schemars(range(min = 0.0))]
        pub lr_disc: f64 = 5e-4,
        /// Updates of the autoencoder in an iteration, each on a batch pair of its own.
        #[schemars(range(min = 1, max = 1000))]
        pub vae_steps: u32 = 1,
        /// Updates of the discriminator in an iteration, on the last batch pair.
        #[schemars(range(min = 1, max = 1000))]
        pub adv_steps: u32 = 1,
        /// Passes over labelled and unlabelled images together, which give the number of iterations.
        #[schemars(range(min = 1, max = 100_000))]
        pub epochs: u32 = 100,
        /// Images of a batch of each kind.
        #[schemars(range(min = 2, max = 65_536))]
        pub batch_size: u32 = 128,
        /// Iterations. `epochs` times the number of images over `batch_size` where it is left out.
        #[schemars(range(min = 1, max = 100_000_000))]
        pub iterations: Option<u32> = None,
        /// How the divergences become one number.
        pub kl_reduction: KlReduction = KlReduction::Mean,
        /// How many rows of the pool are looked at, drawn at random; all where it has no more.
        #[schemars(range(min = 1))]
        pub subset_size: Option<u32> = Some(10_000),
        /// What happens to training images.
        pub train_transform: TrainTransform = TrainTransform::Eval,
        /// Longest side of the images that the autoencoder sees: larger ones are scaled down.
        #[schemars(range(min = 16, max = 4096))]
        pub vae_size: u32 = 64,
        /// Weight of the ranker's loss beside the task's.
        #[schemars(range(min = 0.0))]
        pub weight: f64 = 1.0,
        /// What a pair of samples costs the ranker.
        pub rank_loss: RankLoss = RankLoss::Bce,
        /// How far apart the ranks of a pair should be under `rank_loss = "hinge"`.
        #[schemars(range(min = 0.0))]
        pub margin: f64 = 1.0,
        /// First epoch in which the task's model no longer feels the ranker's loss. 60 % of the epochs where it
        /// is left out.
        #[schemars(range(max = 100_000))]
        pub epoch_loss: Option<u32> = None,
        /// What the discriminator sees of an image's rank.
        pub disc_rank: DiscRank = DiscRank::Raw,
        /// Units of the ranker's linear layer after each stage.
        #[schemars(range(min = 1, max = 65_536))]
        pub interm_dim: u32 = 128,
        /// Learning rate of the ranker's SGD.
        #[schemars(range(min = 0.0))]
        pub lr_ranker: f64 = 0.1,
        /// Momentum of the ranker's SGD, below 1.
        #[schemars(range(min = 0.0, max = 1.0))]
        pub momentum: f64 = 0.9,
        /// Weight decay of the ranker's SGD.
        #[schemars(range(min = 0.0))]
        pub weight_decay: f64 = 5e-4,
        /// Epoch from which on the ranker's learning rate is a tenth. 80 % of the epochs where it is left out.
        #[schemars(range(max = 100_000))]
        pub milestone: Option<u32> = None,
    }
}

impl TaVaalParams {
    /// Size and training of the ranker.
    fn ranker(&self) -> Settings {
        Settings {
            units: self.interm_dim,
            lr: self.lr_ranker,
            momentum: self.momentum,
            weight_decay: self.weight_decay,
        }
    }
    /// How the ranker learns beside the task.
    pub fn schedule(&self) -> Schedule {
        Schedule { weight: self.weight, cut: self.epoch_loss, beyond: 0, milestone: self.milestone }
    }

    /// What the networks are trained for.
    pub fn objective(&self) -> Objective {
        Objective {
            latent: i64::from(self.latent_dim),
            condition: 1,
            beta: self.beta,
            kl_reduction: self.kl_reduction,
            adversary_weight: self.adversary_weight,
            lr_vae: self.lr_vae,
            lr_discriminator: self.lr_disc,
        }
    }

    /// Iterations over so many images, labelled and unlabelled.
    pub fn iterations(&self, images: u64) -> u64 {
        let by_epochs = u64::from(self.epochs) * images / u64::from(self.batch_size);
        self.iterations.map_or(by_epochs, u64::from).max(1)
    }

    /// The training over so many images of the pool beside the labelled ones.
    fn training(&self, round: &Round, unlabelled: usize) -> Training {
        Training {
            objective: self.objective(),
            longest_side: self.vae_size,
            batch_size: self.batch_size,
            iterations: self.iterations(u64::from(round.task().labelled) + unlabelled as u64),
            vae_steps: self.vae_steps,
            discriminator_steps: self.adv_steps,
            transform: self.train_transform,
        }
    }
}

impl Strategy for TaVaalParams {
    const ID: &'static str = "ta-vaal";
    const SUMMARY: &'static str =
        "Samples whose latent codes, with their rank by loss, a discriminator tells from those of the labelled ones";
    const PAPER: &'static str = "Kim et al., Task-Aware Variational Adversarial Active Learning, CVPR 2021";
    const COST: &'static str = "A small module in every step of training, then iterations of an autoencoder and a \
                                discriminator; memory for both and one batch.";
    const ALIASES: &'static [&'static str] = &["tavaal", "TA-VAAL"];
    const RANKS_ALL: bool = false;

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
    ranker: LossHooks,
}

impl TorchStrategy for TaVaal {
    type Params = TaVaalParams;
    const HOOKS: Hooks = LossHooks::HOOKS;

    fn new(params: TaVaalParams, round: &Round, _: Option<&[u8]>) -> Result<Self> {
        let ranker = LossHooks::new(&params.ranker(), params.schedule(), round)?;
        Ok(Self { params, ranker })
    }

    fn plan_round(&mut self, _: &Round) -> Result<TrainOverrides> {
        Ok(self.ranker.plan_round())
    }

    fn batch_loss(&mut self, round: &Round, minibatch: &Minibatch) -> Result<Loss> {
        let Self { params, ranker } = self;
        let cost = |ranks: &Tensor, losses: &Tensor| rank_loss(ranks, losses, params.rank_loss, params.margin);
        ranker.batch_loss(round, minibatch, cost)
    }

    fn batch_step(&mut self, round: &Round, epoch: u32, _: u32) -> Result<()> {
        self.ranker.batch_step(round, epoch);
        Ok(())
    }

    fn train_end(&mut self, _: &Round) -> Result<()> {
        self.ranker.train_end();
        Ok(())
    }

    fn query(&mut self, round: &Round, query: &Query) -> Result<Selection> {
        let ranker = self.ranker.trained("ranker")?;
        let rows = round.subset(self.params.subset_size)?;
        let training = self.params.training(round, rows.len());
        let log_odds = training.run(round, &rows, &|images| self.ranked(round, ranker, images))?;
        largest(&rows, &log_odds, query.wanted())
    }
}

impl TaVaal {
    /// Images with their ranks, by the task's model and the ranker as training left them.
    fn ranked(&self, round: &Round, ranker: &LossModule, images: Tensor) -> Result<Batch> {
        let _no_grad = tch::no_grad_guard();
        let raw = ranker.predict(&round.forward(&images).stages().run()?.stages, true)?.f_unsqueeze(1)?;
        let decoder = raw.f_sigmoid()?;
        let discriminator = match self.params.disc_rank {
            DiscRank::Raw => raw,
            DiscRank::Sigmoid => decoder.shallow_clone(),
        };
        Ok(Batch { images, condition: Some(Condition { decoder, discriminator }) })
    }
}

torch_package!(Vaal, TaVaal);
