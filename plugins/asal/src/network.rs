//! Generators and critics.

use querist_sdk_torch::prelude::*;
use querist_sdk_torch::tch::nn::{self, Init, Module, ModuleT};
use querist_sdk_torch::{linear, uniform};

use crate::params::{Gan, Sizes};

/// Side at which a generator starts.
const START: i64 = 4;
/// Side at which the residual critic ends.
const END: i64 = 8;
/// Slope of the discriminator's units below 0.
const LEAK: f64 = 0.2;
/// Standard deviation of the weights of plain convolutions at the start.
const DCGAN_DEVIATION: f64 = 0.02;

fn conv(path: nn::Path, from: i64, to: i64, kernel: i64) -> nn::Conv2D {
    let start = uniform(from * kernel * kernel);
    let config = nn::ConvConfig { padding: kernel / 2, ws_init: start, bs_init: start, ..nn::ConvConfig::default() };
    nn::conv2d(path, from, to, kernel, config)
}

fn norm(path: nn::Path, channels: i64) -> nn::BatchNorm {
    nn::batch_norm2d(path, channels, nn::BatchNormConfig { ws_init: Init::Const(1.0), ..Default::default() })
}

/// A residual block that doubles both sides: conv, batch-norm and ReLU twice, beside a 1x1 convolution.
#[derive(Debug)]
struct Up {
    convs: [nn::Conv2D; 2],
    norms: [nn::BatchNorm; 2],
    shortcut: nn::Conv2D,
}

impl Up {
    fn new(path: &nn::Path, width: i64) -> Self {
        Self {
            convs: [conv(path / "conv0", width, width, 3), conv(path / "conv1", width, width, 3)],
            norms: [norm(path / "norm0", width), norm(path / "norm1", width)],
            shortcut: conv(path / "shortcut", width, width, 1),
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let (_, _, height, width) = x.size4()?;
        let doubled = x.f_upsample_nearest2d([2 * height, 2 * width], None, None)?;
        let mut y = doubled.shallow_clone();
        for (conv, norm) in self.convs.iter().zip(&self.norms) {
            y = norm.forward_t(&conv.forward(&y), train).f_relu()?;
        }
        Ok(y.f_add(&self.shortcut.forward(&doubled))?)
    }
}

/// A residual block that halves both sides, without batch-norm: the penalty is on the gradient of each image.
#[derive(Debug)]
struct Down {
    convs: [nn::Conv2D; 2],
    shortcut: nn::Conv2D,
}

impl Down {
    fn new(path: &nn::Path, width: i64) -> Self {
        Self {
            convs: [conv(path / "conv0", width, width, 3), conv(path / "conv1", width, width, 3)],
            shortcut: conv(path / "shortcut", width, width, 1),
        }
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.convs[0].forward(&x.f_relu()?).f_relu()?;
        let sum = self.convs[1].forward(&y).f_add(&self.shortcut.forward(x))?;
        let (_, _, height, width) = sum.size4()?;
        Ok(sum.f_adaptive_avg_pool2d([height / 2, width / 2])?)
    }
}

/// Makes images of latent codes.
#[derive(Debug)]
pub struct Generator {
    sizes: Sizes,
    start: nn::Linear,
    body: Raising,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of them")]
enum Raising {
    Residual { blocks: Vec<Up>, norm: nn::BatchNorm, image: nn::Conv2D },
    Plain { norms: Vec<nn::BatchNorm>, convs: Vec<nn::ConvTranspose2D> },
}

impl Generator {
    /// With fresh weights.
    pub fn new(path: &nn::Path, sizes: Sizes) -> Self {
        let doublings = (sizes.side / START).ilog2() as i64;
        let Sizes { latent, width, channels, .. } = sizes;
        let body = match sizes.gan {
            Gan::WganGp => Raising::Residual {
                blocks: (0..doublings).map(|i| Up::new(&(path / format!("up{i}")), width)).collect(),
                norm: norm(path / "norm", width),
                image: conv(path / "image", width, channels, 3),
            },
            Gan::Dcgan => {
                let at = |i: i64| plain_width(width, doublings - i);
                let config = nn::ConvTransposeConfig {
                    stride: 2,
                    padding: 1,
                    ws_init: Init::Randn { mean: 0.0, stdev: DCGAN_DEVIATION },
                    ..Default::default()
                };
                let raise = |i: i64| {
                    let to = if i + 1 == doublings { channels } else { at(i + 1) };
                    nn::conv_transpose2d(path / format!("raise{i}"), at(i), to, 4, config)
                };
                Raising::Plain {
                    norms: (0..doublings).map(|i| norm(path / format!("norm{i}"), at(i))).collect(),
                    convs: (0..doublings).map(raise).collect(),
                }
            }
        };
        let first = match sizes.gan {
            Gan::WganGp => width,
            Gan::Dcgan => plain_width(width, doublings),
        };
        Self { sizes, start: linear(path / "start", latent, first * START * START), body }
    }

    /// Dimensions of a latent code.
    pub fn latent(&self) -> i64 {
        self.sizes.latent
    }

    /// Images `[n, channels, side, side]` in [-1, 1] of codes `[n, latent]`.
    ///
    /// # Errors
    /// If the codes are of another width.
    pub fn forward(&self, codes: &Tensor, train: bool) -> Result<Tensor> {
        let x = self.start.forward(codes);
        let mut x = x.f_view([codes.size()[0], -1, START, START])?;
        match &self.body {
            Raising::Residual { blocks, norm, image } => {
                for block in blocks {
                    x = block.forward(&x, train)?;
                }
                x = image.forward(&norm.forward_t(&x, train).f_relu()?);
            }
            Raising::Plain { norms, convs } => {
                for (norm, conv) in norms.iter().zip(convs) {
                    x = conv.forward(&norm.forward_t(&x, train).f_relu()?);
                }
            }
        }
        Ok(x.f_tanh()?)
    }
}

/// Channels of the plain networks `level` doublings of the side away from the image.
fn plain_width(width: i64, level: i64) -> i64 {
    // Half as wide as asked at the narrowest, and no wider than four times that.
    (width / 2) << (level - 1).clamp(0, 2)
}

/// Judges images: how real they look.
#[derive(Debug)]
pub struct Critic {
    body: Lowering,
    output: nn::Linear,
}

#[derive(Debug)]
enum Lowering {
    Residual { first: nn::Conv2D, blocks: Vec<Down> },
    Plain { convs: Vec<nn::Conv2D>, norms: Vec<nn::BatchNorm> },
}

impl Critic {
    /// With fresh weights.
    pub fn new(path: &nn::Path, sizes: Sizes) -> Self {
        let Sizes { width, channels, side, .. } = sizes;
        match sizes.gan {
            Gan::WganGp => {
                let halvings = (side / END).ilog2();
                let blocks = (0..halvings).map(|i| Down::new(&(path / format!("down{i}")), width)).collect();
                let first = conv(path / "first", channels, width, 3);
                Self { body: Lowering::Residual { first, blocks }, output: linear(path / "output", width, 1) }
            }
            Gan::Dcgan => {
                let halvings = (side / START).ilog2() as i64;
                let to = |i: i64| plain_width(width, i + 1);
                let config = nn::ConvConfig {
                    stride: 2,
                    padding: 1,
                    ws_init: Init::Randn { mean: 0.0, stdev: DCGAN_DEVIATION },
                    ..nn::ConvConfig::default()
                };
                let lower = |i: i64| {
                    let from = if i == 0 { channels } else { to(i - 1) };
                    nn::conv2d(path / format!("lower{i}"), from, to(i), 4, config)
                };
                let norms = (1..halvings).map(|i| norm(path / format!("norm{i}"), to(i))).collect();
                let flat = to(halvings - 1) * START * START;
                let convs = (0..halvings).map(lower).collect();
                Self { body: Lowering::Plain { convs, norms }, output: linear(path / "output", flat, 1) }
            }
        }
    }

    /// What the last layer sees of images, `[n, features]`.
    ///
    /// # Errors
    /// If the images are of another size.
    pub fn features(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        Ok(match &self.body {
            Lowering::Residual { first, blocks } => {
                let mut x = first.forward(images);
                for block in blocks {
                    x = block.forward(&x)?;
                }
                x.f_relu()?.f_mean_dim([2, 3].as_slice(), false, None)?
            }
            Lowering::Plain { convs, norms } => {
                let mut x = images.shallow_clone();
                for (i, conv) in convs.iter().enumerate() {
                    x = conv.forward(&x);
                    // None after the first convolution.
                    if let Some(norm) = i.checked_sub(1).and_then(|before| norms.get(before)) {
                        x = norm.forward_t(&x, train);
                    }
                    x = x.f_maximum(&x.f_mul_scalar(LEAK)?)?;
                }
                x.f_flatten(1, -1)?
            }
        })
    }

    /// How real images look, `[n]`: a number of the critic, or the discriminator's log-odds.
    ///
    /// # Errors
    /// As for [`Critic::features`].
    pub fn judge(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        Ok(self.output.forward(&self.features(images, train)?).f_squeeze_dim(1)?)
    }
}

/// Codes of images by a network that rebuilds them.
#[derive(Debug)]
pub struct Autoencoder {
    convs: [nn::Conv2D; 2],
    code: nn::Linear,
    start: nn::Linear,
    raises: [nn::ConvTranspose2D; 2],
    side: i64,
}

/// Channels after the first and second convolution of the autoencoder, and dimensions of its codes.
const AUTOENCODER: [i64; 3] = [32, 64, 128];

impl Autoencoder {
    /// With fresh weights.
    pub fn new(path: &nn::Path, sizes: Sizes) -> Self {
        let [first, second, code] = AUTOENCODER;
        let side = sizes.side / 4;
        let config = nn::ConvConfig { stride: 2, padding: 1, ..nn::ConvConfig::default() };
        let lower = |name: &str, from: i64, to: i64| {
            let start = uniform(from * 16);
            nn::conv2d(path / name, from, to, 4, nn::ConvConfig { ws_init: start, bs_init: start, ..config })
        };
        let raise = |name: &str, from: i64, to: i64| {
            let config =
                nn::ConvTransposeConfig { stride: 2, padding: 1, ws_init: uniform(to * 16), ..Default::default() };
            nn::conv_transpose2d(path / name, from, to, 4, config)
        };
        Self {
            convs: [lower("lower0", sizes.channels, first), lower("lower1", first, second)],
            code: linear(path / "code", second * side * side, code),
            start: linear(path / "start", code, second * side * side),
            raises: [raise("raise0", second, first), raise("raise1", first, sizes.channels)],
            side,
        }
    }

    /// Codes `[n, 128]` of images.
    ///
    /// # Errors
    /// If the images are of another size.
    pub fn encode(&self, images: &Tensor) -> Result<Tensor> {
        let x = self.convs[1].forward(&self.convs[0].forward(images).f_relu()?).f_relu()?;
        Ok(self.code.forward(&x.f_flatten(1, -1)?))
    }

    /// Images of codes.
    ///
    /// # Errors
    /// If the codes are of another width.
    pub fn decode(&self, codes: &Tensor) -> Result<Tensor> {
        let x = self.start.forward(codes).f_relu()?.f_view([-1, AUTOENCODER[1], self.side, self.side])?;
        Ok(self.raises[1].forward(&self.raises[0].forward(&x).f_relu()?).f_tanh()?)
    }
}
