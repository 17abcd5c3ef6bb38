//! The networks: encoder and decoder of a variational autoencoder, and the discriminator.

use querist_sdk_torch::prelude::*;
use querist_sdk_torch::tch::nn::{self, Init, Module, ModuleT};
use querist_sdk_torch::{Task, tch::nn::init::DEFAULT_KAIMING_NORMAL};

/// Stages of the encoder, each of which halves both sides.
const CHANNELS: [i64; 4] = [128, 256, 512, 1024];
/// What both sides are padded to a multiple of.
const MULTIPLE: i64 = 1 << CHANNELS.len();
/// Units of the discriminator's hidden layers.
const HIDDEN: i64 = 512;

/// Sizes of the images that the autoencoder sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Channels.
    pub channels: i64,
    /// Height after scaling, before padding.
    pub height: i64,
    /// Width after scaling, before padding.
    pub width: i64,
    /// What a black pixel is, channel by channel; 0 where that is not known.
    pub black: Vec<f32>,
}

impl Shape {
    /// The task's images, each side scaled down to `longest` where it is longer.
    pub fn of(task: &Task, longest: u32) -> Self {
        let side = |side: u32| i64::from(side.min(longest));
        Self {
            channels: i64::from(task.channels),
            height: side(task.height),
            width: side(task.width),
            black: task.black.clone(),
        }
    }

    /// Height and width with their padding.
    pub fn padded(&self) -> (i64, i64) {
        let up = |side: i64| (side + MULTIPLE - 1) / MULTIPLE * MULTIPLE;
        (up(self.height), up(self.width))
    }

    /// Rows above and columns left of the image; what is left of the padding lies below and right.
    fn offset(&self) -> (i64, i64) {
        let (height, width) = self.padded();
        ((height - self.height) / 2, (width - self.width) / 2)
    }

    /// Scales images down and pads them with black: `[n, channels, h, w]` to the padded size.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn fit(&self, images: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = images.size4()?;
        let scaled = match (height, width) == (self.height, self.width) {
            true => images.shallow_clone(),
            false => images.f_adaptive_avg_pool2d([self.height, self.width])?,
        };
        let (full_height, full_width) = self.padded();
        if (full_height, full_width) == (self.height, self.width) {
            return Ok(scaled);
        }
        let (top, left) = self.offset();
        let (bottom, right) = (full_height - self.height - top, full_width - self.width - left);
        // Black is not 0 after normalisation, and not the same in every channel.
        let mut black = self.black.clone();
        black.resize(self.channels as usize, 0.0);
        let black = Tensor::f_from_slice(&black)?.f_to_device(images.device())?.f_view([1, self.channels, 1, 1])?;
        let padded = scaled.f_sub(&black)?.f_constant_pad_nd([left, right, top, bottom])?;
        Ok(padded.f_add(&black)?)
    }

    /// The image without its padding.
    ///
    /// # Errors
    /// If it has another size.
    pub fn inner(&self, padded: &Tensor) -> Result<Tensor> {
        let (top, left) = self.offset();
        Ok(padded.f_narrow(2, top, self.height)?.f_narrow(3, left, self.width)?)
    }
}

fn conv_config(stride: i64, padding: i64, bias: bool) -> nn::ConvConfig {
    nn::ConvConfig { stride, padding, bias, ws_init: DEFAULT_KAIMING_NORMAL, ..nn::ConvConfig::default() }
}

fn deconv_config(stride: i64, padding: i64, bias: bool) -> nn::ConvTransposeConfig {
    nn::ConvTransposeConfig { stride, padding, bias, ws_init: DEFAULT_KAIMING_NORMAL, ..Default::default() }
}

fn linear(path: nn::Path, inputs: i64, outputs: i64) -> nn::Linear {
    let config = nn::LinearConfig { ws_init: DEFAULT_KAIMING_NORMAL, bs_init: Some(Init::Const(0.0)), bias: true };
    nn::linear(path, inputs, outputs, config)
}

fn norm(path: nn::Path, channels: i64) -> nn::BatchNorm {
    nn::batch_norm2d(path, channels, nn::BatchNormConfig { ws_init: Init::Const(1.0), ..Default::default() })
}

/// The variational autoencoder: an encoder of four stages that halve and two heads, and a decoder that doubles.
#[derive(Debug)]
pub struct Vae {
    encoder: Vec<(nn::Conv2D, nn::BatchNorm)>,
    mean: nn::Linear,
    log_variance: nn::Linear,
    start: nn::Linear,
    decoder: Vec<(nn::ConvTranspose2D, nn::BatchNorm)>,
    image: nn::ConvTranspose2D,
    /// Height and width at which the decoder starts.
    start_size: (i64, i64),
}

impl Vae {
    /// With fresh weights. The decoder sees a condition of this width beside each code.
    pub fn new(path: &nn::Path, shape: &Shape, latent: i64, condition: i64) -> Self {
        let (height, width) = shape.padded();
        let inputs = [shape.channels, CHANNELS[0], CHANNELS[1], CHANNELS[2]];
        let encoder = inputs.into_iter().zip(CHANNELS).enumerate().map(|(i, (from, to))| {
            let conv = nn::conv2d(path / format!("conv{i}"), from, to, 4, conv_config(2, 1, false));
            (conv, norm(path / format!("norm{i}"), to))
        });
        let deepest = CHANNELS[3];
        let flat = deepest * (height / MULTIPLE) * (width / MULTIPLE);
        let start_size = (height / 8, width / 8);
        let doubling = [(CHANNELS[3], CHANNELS[2]), (CHANNELS[2], CHANNELS[1]), (CHANNELS[1], CHANNELS[0])];
        let decoder = doubling.into_iter().enumerate().map(|(i, (from, to))| {
            let conv = nn::conv_transpose2d(path / format!("deconv{i}"), from, to, 4, deconv_config(2, 1, false));
            (conv, norm(path / format!("denorm{i}"), to))
        });
        Self {
            encoder: encoder.collect(),
            mean: linear(path / "mean", flat, latent),
            log_variance: linear(path / "log_variance", flat, latent),
            start: linear(path / "start", latent + condition, deepest * start_size.0 * start_size.1),
            decoder: decoder.collect(),
            image: nn::conv_transpose2d(path / "image", CHANNELS[0], shape.channels, 1, deconv_config(1, 0, true)),
            start_size,
        }
    }

    /// Mean and log-variance `[n, latent]` of the posterior of padded images.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn encode(&self, images: &Tensor, train: bool) -> Result<(Tensor, Tensor)> {
        let mut x = images.shallow_clone();
        for (conv, norm) in &self.encoder {
            x = norm.forward_t(&conv.forward(&x), train).f_relu_()?;
        }
        let x = x.f_flatten(1, -1)?;
        Ok((self.mean.forward(&x), self.log_variance.forward(&x)))
    }

    /// Padded images of latent codes with their conditions, `[n, latent + condition]`.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn decode(&self, codes: &Tensor, train: bool) -> Result<Tensor> {
        let (height, width) = self.start_size;
        let mut x = self.start.forward(codes).f_view([-1, CHANNELS[3], height, width])?;
        for (conv, norm) in &self.decoder {
            x = norm.forward_t(&conv.forward(&x), train).f_relu_()?;
        }
        Ok(self.image.forward(&x))
    }
}

/// Tells latent codes of labelled images from those of unlabelled ones.
#[derive(Debug)]
pub struct Discriminator {
    layers: [nn::Linear; 3],
}

impl Discriminator {
    /// With fresh weights, over codes of this width.
    pub fn new(path: &nn::Path, width: i64) -> Self {
        let layers = [
            linear(path / "hidden0", width, HIDDEN),
            linear(path / "hidden1", HIDDEN, HIDDEN),
            linear(path / "output", HIDDEN, 1),
        ];
        Self { layers }
    }

    /// Log-odds `[n]` that codes `[n, width]` are those of labelled images.
    ///
    /// # Errors
    /// If libtorch fails.
    pub fn forward(&self, codes: &Tensor) -> Result<Tensor> {
        let [first, second, output] = &self.layers;
        let x = second.forward(&first.forward(codes).f_relu_()?).f_relu_()?;
        Ok(output.forward(&x).f_squeeze_dim(1)?)
    }
}

#[cfg(test)]
mod tests {
    use querist_sdk_torch::floats;

    use super::*;

    /// A discriminator whose condition has no weight is that of VAAL.
    #[test]
    fn a_constant_rank_is_an_inert_input() {
        let _no_grad = tch::no_grad_guard();
        let stores = [nn::VarStore::new(Device::Cpu), nn::VarStore::new(Device::Cpu)];
        let plain = Discriminator::new(&stores[0].root(), 6);
        let conditioned = Discriminator::new(&stores[1].root(), 7);
        let (mut from, mut to) = (stores[0].variables(), stores[1].variables());
        for (name, weight) in &mut to {
            let source = from.remove(name).expect("of the same layers");
            match name.as_str() {
                "hidden0.weight" => weight.narrow(1, 0, 6).copy_(&source),
                _ => weight.copy_(&source),
            }
        }
        let codes = Tensor::randn([5, 6], (Kind::Float, Device::Cpu));
        let odds = |rank: f64| {
            let beside = Tensor::full([5, 1], rank, (Kind::Float, Device::Cpu));
            floats(&conditioned.forward(&Tensor::cat(&[&codes, &beside], 1)).unwrap()).unwrap()
        };
        let expected = floats(&plain.forward(&codes).unwrap()).unwrap();
        for (found, expected) in odds(0.0).iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert_ne!(odds(1.0), odds(0.0));
    }
}
