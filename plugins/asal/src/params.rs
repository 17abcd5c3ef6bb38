//! Parameters.

use querist_sdk_torch::prelude::*;

/// Which pair of networks is trained against each other.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Gan {
    /// Residual networks; the critic estimates a distance, under a penalty on its gradient (WGAN-GP).
    #[default]
    WganGp,
    /// Plain convolutions; the discriminator estimates probabilities (DCGAN). Smaller, for digits and the like.
    Dcgan,
}

/// In which features a generated image and one of the pool are compared.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MatchFeatures {
    /// Brightness of each pixel.
    Gray,
    /// Each value of each pixel.
    Rgb,
    /// Codes of an autoencoder that is trained on the pool in the first round.
    Autoencoder,
    /// What the critic or discriminator sees before its last layer.
    Discriminator,
    /// Embeddings of the task's model, which move from round to round.
    #[default]
    Classifier,
}

params! {
    /// Parameters of ASAL.
    pub struct AsalParams {
        /// Dimensions of the generator's input.
        #[schemars(range(min = 2, max = 4096))]
        pub latent_dim: u32 = 128,
        /// Which pair of networks is trained against each other, once, in the first round.
        pub gan: Gan = Gan::WganGp,
        /// Steps of the generator.
        #[schemars(range(min = 1, max = 100_000_000))]
        pub gan_iterations: u32 = 100_000,
        /// Side of generated images, 4 times a power of two from 8 on; images are scaled to it and back.
        #[schemars(range(min = 8, max = 256))]
        pub gan_size: u32 = 32,
        /// Channels of the networks.
        #[schemars(range(min = 4, max = 2048))]
        pub gan_channels: u32 = 128,
        /// Images of a batch.
        #[schemars(range(min = 2, max = 65_536))]
        pub batch_size: u32 = 64,
        /// Learning rate of both Adams.
        #[schemars(range(min = 0.0))]
        pub lr_gan: f64 = 2e-4,
        /// Steps of the critic before each of the generator, under `gan = "wgan-gp"`.
        #[schemars(range(min = 1, max = 1000))]
        pub critic_steps: u32 = 5,
        /// Weight of the gradient penalty, under `gan = "wgan-gp"`.
        #[schemars(range(min = 0.0, max = 1e6))]
        pub gp_weight: f64 = 10.0,
        /// Steps that a generated image is made more uncertain by.
        #[schemars(range(max = 1_000_000))]
        pub z_steps: u32 = 100,
        /// Learning rate of the Adam of these steps.
        #[schemars(range(min = 0.0))]
        pub z_lr: f64 = 0.01,
        /// In which features a generated image and one of the pool are compared.
        pub match_features: MatchFeatures = MatchFeatures::Classifier,
        /// Principal components that are kept of them; all where there are no more.
        #[schemars(range(min = 1, max = 65_536))]
        pub pca_dim: u32 = 50,
        /// Steps of the autoencoder, under `match_features = "autoencoder"`.
        #[schemars(range(min = 1, max = 100_000_000))]
        pub autoencoder_iterations: u32 = 10_000,
        /// Images generated for each wanted sample, of which the most uncertain are matched.
        #[schemars(range(min = 1, max = 1000))]
        pub samples_per_pick: u32 = 1,
    }
}

impl AsalParams {
    /// Sizes of the networks, for images of so many channels.
    pub fn sizes(&self, channels: u32) -> Sizes {
        Sizes {
            gan: self.gan,
            latent: i64::from(self.latent_dim),
            side: i64::from(self.gan_size),
            width: i64::from(self.gan_channels),
            channels: i64::from(channels),
        }
    }
}

/// Sizes of the networks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    /// Which pair.
    pub gan: Gan,
    /// Dimensions of the generator's input.
    pub latent: i64,
    /// Side of generated images.
    pub side: i64,
    /// Channels of the networks.
    pub width: i64,
    /// Channels of images.
    pub channels: i64,
}

impl Strategy for AsalParams {
    const ID: &'static str = "asal";
    const SUMMARY: &'static str = "Samples most like images that were generated for the model to be uncertain of";
    const PAPER: &'static str = "Mayer and Timofte, Adversarial Sampling for Active Learning, WACV 2020";
    const COST: &'static str = "gan_iterations of a generative network once, z_steps of its input for each wanted \
                                sample, then nearest samples by exact search; memory for the network and N features.";
    const ALIASES: &'static [&'static str] = &["ASAL"];
    const RANKS_ALL: bool = false;

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::IMAGES).with("min_side", 4)]
    }

    fn check(&self) -> Result<(), String> {
        match self.gan_size.is_power_of_two() {
            true => Ok(()),
            false => Err(format!("gan_size is {}, expected 8, 16, 32, 64, 128 or 256", self.gan_size)),
        }
    }
}
