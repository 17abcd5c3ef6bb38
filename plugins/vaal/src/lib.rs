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
//! - In `ta-vaal` a ranker learns beside the task which of two samples has the larger loss; decoder and discriminator
//!   are told the rank of each image. Kim, Park, Kim and Chun, "Task-Aware Variational Adversarial Active Learning",
//!   CVPR 2021 (arXiv 2002.04709).
#![deny(missing_docs)]

mod duel;
mod game;
mod network;
mod params;
mod rank;
mod ta_vaal;
mod vaal;

pub use game::{Batch, Game, Rules, kl, reconstruction};
pub use network::{Autoencoder, Discriminator, Shape};
pub use params::{KlReduction, TrainTransform};
use querist_sdk_torch::prelude::*;
pub use rank::{RankLoss, rank_loss};
pub use ta_vaal::{DiscRank, TaVaal, TaVaalParams};
pub use vaal::{Vaal, VaalParams};

torch_package!(Vaal, TaVaal);
