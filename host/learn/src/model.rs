//! Models: a body that embeds images, and a head.

mod cnn;
mod head;
mod lenet;
mod mlp;
mod resnet;

use querist_core::LearnError;
use querist_core::config::{ModelConfig, ModelName, Precision};
use querist_torchx::TorchError;
use querist_torchx::ambient::Bf16;
use tch::{Device, Kind, TchError, Tensor};

use crate::fault::{Doing, config};
use crate::layer::{Mode, Pass, Seen, channels_last};
use crate::parameters::Parameters;
pub(crate) use head::Head;
use head::{HeadShape, MOST_HIDDEN};

/// Sizes of the images that a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageShape {
    pub(crate) channels: i64,
    pub(crate) height: i64,
    pub(crate) width: i64,
}

/// What turns images into embeddings.
pub(crate) trait Body: Send {
    /// `[n, channels, height, width]` to `[n, width]`. Every stage's output goes through [`Pass::tap`].
    fn embed(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError>;

    /// Channels that dropout inside the body drops whole, with its share; `None` where there is none.
    fn channel_dropout(&self) -> Option<(i64, f64)> {
        None
    }
}

/// What a forward pass gives; all on the graph where gradients are recorded.
pub(crate) struct Forward {
    /// `[n, classes]`.
    pub(crate) logits: Tensor,
    /// `[n, width]`, before dropout.
    pub(crate) embeddings: Tensor,
    /// Stage maps; none unless asked for.
    pub(crate) stages: Vec<Tensor>,
}

/// What is fixed about a model before it has weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Architecture {
    name: ModelName,
    dropout: f64,
    head_hidden: Option<u32>,
    images: ImageShape,
    classes: i64,
    precision: Precision,
}

impl Architecture {
    /// Checks that the model can be built for these images.
    ///
    /// # Errors
    /// If the images are too small for it or an option is out of range.
    pub(crate) fn new(options: &ModelConfig, images: ImageShape, classes: i64) -> Result<Self, LearnError> {
        let smallest = match options.name {
            ModelName::Cnn => cnn::SMALLEST_SIDE,
            ModelName::Lenet => lenet::SMALLEST_SIDE,
            ModelName::Mlp | ModelName::Resnet18 => 1,
        };
        let name = options.name;
        if images.height.min(images.width) < smallest {
            return config(format!(
                "model.name = {} needs images of at least {smallest}x{smallest} pixels, but they are {}x{}; set \
                 `dataset.size` or choose `mlp`",
                label(name),
                images.height,
                images.width
            ));
        }
        let dropout = options.dropout();
        if !(0.0..1.0).contains(&dropout) {
            return config(format!("model.dropout is {dropout}, expected 0 or more and below 1"));
        }
        let head_hidden = options.head_hidden;
        if let Some(units) = head_hidden.filter(|units| !(1..=MOST_HIDDEN).contains(units)) {
            return config(format!("model.head_hidden is {units}, expected 1 to {MOST_HIDDEN} units"));
        }
        Ok(Self { name, dropout, head_hidden, images, classes, precision: Precision::Float32 })
    }

    /// The fewest samples that a training step can use: batch-norm has no statistics of one.
    pub(crate) fn smallest_minibatch(&self) -> usize {
        if self.name == ModelName::Resnet18 { 2 } else { 1 }
    }

    /// The name as users write it.
    pub(crate) fn label(&self) -> &'static str {
        label(self.name)
    }

    /// Channels of each stage map; none where the model has no stages.
    pub(crate) fn stages(&self) -> &'static [i64] {
        match self.name {
            ModelName::Cnn => &cnn::STAGES,
            ModelName::Lenet => &lenet::STAGES,
            ModelName::Mlp => &[],
            ModelName::Resnet18 => &resnet::WIDTHS,
        }
    }

    /// Width of an embedding.
    pub(crate) fn width(&self) -> i64 {
        match self.name {
            ModelName::Cnn => cnn::WIDTH,
            ModelName::Lenet => lenet::WIDTH,
            ModelName::Mlp => mlp::WIDTH,
            ModelName::Resnet18 => resnet::WIDTHS[resnet::WIDTHS.len() - 1],
        }
    }

    /// Whether anything is dropped in training, so that draws differ.
    pub(crate) fn has_dropout(&self) -> bool {
        self.dropout > 0.0 || self.name == ModelName::Lenet
    }

    /// Sizes of the images.
    pub(crate) fn images(&self) -> ImageShape {
        self.images
    }

    /// Classes of the task.
    pub(crate) fn classes(&self) -> i64 {
        self.classes
    }

    /// Units of the head's hidden layer; `None` where the head is one linear layer.
    pub(crate) fn head_hidden(&self) -> Option<u32> {
        self.head_hidden
    }

    /// The same with another share of the last layer's inputs dropped in training.
    pub(crate) fn with_dropout(self, dropout: f64) -> Self {
        Self { dropout, ..self }
    }

    /// The same with a body that computes in these numbers.
    pub(crate) fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Numbers in which the body computes.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// A model with fresh weights from libtorch's generator.
    pub(crate) fn build(&self, device: Device) -> Result<Model, LearnError> {
        let mut parameters = Parameters::new(device).with_channels_last(self.precision != Precision::Float32);
        let parts = match self.name {
            ModelName::Cnn => cnn::Cnn::new(&mut parameters, self.images).map(boxed),
            ModelName::Lenet => lenet::Lenet::new(&mut parameters, self.images).map(boxed),
            ModelName::Mlp => mlp::Mlp::new(&mut parameters, self.images).map(boxed),
            ModelName::Resnet18 => resnet::Resnet18::new(&mut parameters, self.images).map(boxed),
        };
        let body = parts.doing("building the model")?;
        let width = self.width();
        let hidden = self.head_hidden.map(i64::from);
        let shape = HeadShape { width, hidden, classes: self.classes, dropout: self.dropout };
        let head = Head::new(&mut parameters, shape).doing("building the model")?;
        Ok(Model { parameters, body, head, width, precision: self.precision })
    }
}

fn boxed<B: Body + 'static>(body: B) -> Box<dyn Body> {
    Box::new(body)
}

fn label(name: ModelName) -> &'static str {
    match name {
        ModelName::Cnn => "cnn",
        ModelName::Lenet => "lenet",
        ModelName::Mlp => "mlp",
        ModelName::Resnet18 => "resnet18",
    }
}

/// A body and a head with their weights.
pub(crate) struct Model {
    parameters: Parameters,
    body: Box<dyn Body>,
    head: Head,
    width: i64,
    precision: Precision,
}

impl Model {
    /// A forward pass, with the stage maps where they are wanted.
    pub(crate) fn forward(&self, images: &Tensor, mode: Mode, stages: bool) -> Result<Forward, TchError> {
        let mut pass = if stages { Pass::tapped(mode) } else { Pass::new(mode) };
        let embeddings = self.through_body(images, &mut pass)?;
        let logits = self.head.logits(&embeddings, &mut pass)?;
        let maps = pass.into_maps();
        let stages = match self.precision {
            Precision::Float32 => maps,
            _ => maps.iter().map(|map| map.f_to_kind(Kind::Float)?.f_contiguous()).collect::<Result<_, _>>()?,
        };
        Ok(Forward { logits, embeddings, stages })
    }

    /// Embeddings `f32 [n, width]`. Only the body computes in other numbers: heads are small, and what is made of their
    /// outputs needs the bits.
    fn through_body(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor, TchError> {
        if self.precision == Precision::Float32 {
            return self.body.embed(images, pass);
        }
        // Units for short numbers read channels of a pixel together.
        let images = channels_last(images)?;
        if self.precision == Precision::Tf32 {
            return self.body.embed(&images, pass);
        }
        let refused = |error: TorchError| TchError::Torch(error.to_string());
        let _bf16 = Bf16::enter(images.device().is_cuda()).map_err(refused)?;
        self.body.embed(&images, pass)?.f_to_kind(Kind::Float)
    }

    /// Logits `[n, classes]` in eval mode, and what went through each layer; in single precision throughout.
    pub(crate) fn recorded(&self, images: &Tensor) -> Result<(Tensor, Vec<Seen>), TchError> {
        let mut pass = Pass::recorded(Mode::Eval);
        let embeddings = self.body.embed(images, &mut pass)?;
        let logits = self.head.logits(&embeddings, &mut pass)?;
        Ok((logits, pass.into_layers()))
    }

    /// Embeddings `[n, width]` in eval mode: what the head sees, without dropout.
    pub(crate) fn embed(&self, images: &Tensor) -> Result<Tensor, TchError> {
        self.through_body(images, &mut Pass::new(Mode::Eval))
    }

    /// Logits `[n, classes]` of embeddings.
    pub(crate) fn classify(&self, embeddings: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        self.head.logits(embeddings, &mut Pass::new(mode))
    }

    /// Inputs of the last linear layer in eval mode.
    pub(crate) fn penultimate(&self, embeddings: &Tensor) -> Result<Tensor, TchError> {
        self.head.penultimate(embeddings, &mut Pass::new(Mode::Eval))
    }

    /// Channels that the body drops whole, with their share.
    pub(crate) fn channel_dropout(&self) -> Option<(i64, f64)> {
        self.body.channel_dropout()
    }

    /// Embeddings in eval mode, with the body's channels masked.
    pub(crate) fn embed_masked(&self, images: &Tensor, mask: Tensor) -> Result<Tensor, TchError> {
        self.through_body(images, &mut Pass::masked(mask))
    }

    /// Width of an embedding.
    pub(crate) fn width(&self) -> usize {
        usize::try_from(self.width).unwrap_or(0)
    }

    /// Classes of the task.
    pub(crate) fn classes(&self) -> usize {
        self.head.classes()
    }

    /// The part behind the embedding.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// All tensors.
    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn architecture(name: ModelName, channels: i64, side: i64) -> Result<Architecture, LearnError> {
        let shape = ImageShape { channels, height: side, width: side };
        Architecture::new(&ModelConfig::of(name), shape, 10)
    }

    fn weights(model: &Model) -> usize {
        model.parameters().weights().iter().map(Tensor::numel).sum()
    }

    #[test]
    fn models_have_the_published_sizes() {
        querist_torchx::runtime::set_threads(1).unwrap();
        let model = |name, channels, side| architecture(name, channels, side).unwrap().build(Device::Cpu).unwrap();
        // The figure that the recipes' publications give for ten classes.
        assert_eq!(weights(&model(ModelName::Resnet18, 3, 32)), 11_173_962);
        // (25 + 1) 10 + (250 + 1) 20 + (320 + 1) 50 + (50 + 1) 10.
        assert_eq!(weights(&model(ModelName::Lenet, 1, 28)), 21_840);
        assert_eq!(model(ModelName::Lenet, 1, 28).width(), 50);
        assert_eq!(model(ModelName::Cnn, 1, 28).width(), 128);
    }

    #[test]
    fn every_model_takes_the_sizes_it_promises() {
        querist_torchx::runtime::set_threads(1).unwrap();
        for (name, sides) in [
            (ModelName::Cnn, &[4, 8, 9, 28, 32][..]),
            (ModelName::Lenet, &[16, 28, 32]),
            (ModelName::Mlp, &[1, 8, 32]),
            (ModelName::Resnet18, &[1, 8, 32]),
        ] {
            for (&side, channels) in sides.iter().zip([1, 3].into_iter().cycle()) {
                let model = architecture(name, channels, side).unwrap().build(Device::Cpu).unwrap();
                let images = Tensor::zeros([3, channels, side, side], (Kind::Float, Device::Cpu));
                let embeddings = model.embed(&images).unwrap();
                assert_eq!(embeddings.size(), [3, model.width() as i64], "{name:?} {side}");
                assert_eq!(model.classify(&embeddings, Mode::Eval).unwrap().size(), [3, 10]);
                let out = model.forward(&images, Mode::Train, true).unwrap();
                assert_eq!(out.logits.size(), [3, 10]);
                assert_eq!(out.embeddings.size(), [3, model.width() as i64]);
                let channels: Vec<i64> = out.stages.iter().map(|map| map.size4().unwrap().1).collect();
                assert_eq!(channels, architecture(name, 1, side).unwrap().stages(), "{name:?} {side}");
            }
        }
    }

    /// A map that a later operation wrote into could not be differentiated, or would hold something else.
    #[test]
    fn stage_maps_are_rectified_and_stay_as_they_were_handed_out() {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(2).unwrap();
        for name in [ModelName::Cnn, ModelName::Lenet, ModelName::Resnet18] {
            let model = architecture(name, 1, 16).unwrap().build(Device::Cpu).unwrap();
            let images = Tensor::randn([4, 1, 16, 16], (Kind::Float, Device::Cpu));
            let out = model.forward(&images, Mode::TrainStill, true).unwrap();
            let mut extra = Tensor::zeros([], (Kind::Float, Device::Cpu));
            for map in &out.stages {
                assert!(map.min().double_value(&[]) >= 0.0 && map.max().double_value(&[]) > 0.0, "{name:?}");
                extra += map.square().mean(Kind::Float);
            }
            (extra + out.logits.sum(Kind::Float)).f_backward().unwrap();
            assert!(model.parameters().weights().iter().all(|weight| weight.grad().defined()), "{name:?}");
            // Handing maps out changes nothing.
            let plain = model.forward(&images, Mode::Eval, false).unwrap();
            assert_eq!(plain.logits, model.forward(&images, Mode::Eval, true).unwrap().logits);
        }
    }

    /// Running statistics move in one mode only; both training modes give the same outputs.
    #[test]
    fn a_still_pass_leaves_the_running_statistics() {
        querist_torchx::runtime::set_threads(1).unwrap();
        querist_torchx::random::seed(2).unwrap();
        let model = architecture(ModelName::Resnet18, 1, 8).unwrap().build(Device::Cpu).unwrap();
        let images = Tensor::randn([4, 1, 8, 8], (Kind::Float, Device::Cpu));
        let mean = || {
            let (_, mean) = model.parameters().named().find(|(name, _)| *name == "bn1.running_mean").unwrap();
            mean.copy()
        };
        let before = mean();
        let still = model.forward(&images, Mode::TrainStill, false).unwrap().logits;
        assert_eq!(mean(), before);
        let moved = model.forward(&images, Mode::Train, false).unwrap().logits;
        assert_eq!(still, moved);
        assert_ne!(mean(), before);
    }

    /// Bodies of other precisions give almost the same, in `f32` and laid out as ever, and learn as ever.
    #[test]
    fn short_numbers_stay_inside_the_body() {
        querist_torchx::runtime::set_threads(1).unwrap();
        for name in [ModelName::Cnn, ModelName::Lenet, ModelName::Mlp, ModelName::Resnet18] {
            let of = |precision| {
                querist_torchx::random::seed(2).unwrap();
                architecture(name, 3, 16).unwrap().with_precision(precision).build(Device::Cpu).unwrap()
            };
            let (exact, short) = (of(Precision::Float32), of(Precision::Bf16));
            querist_torchx::random::seed(3).unwrap();
            let images = Tensor::randn([8, 3, 16, 16], (Kind::Float, Device::Cpu));
            let [exact_out, out] = [&exact, &short].map(|model| model.forward(&images, Mode::Eval, true).unwrap());
            let all = |out: &Forward| {
                let (logits, embeddings) = (out.logits.shallow_clone(), out.embeddings.shallow_clone());
                out.stages.iter().map(Tensor::shallow_clone).chain([embeddings, logits]).collect::<Vec<_>>()
            };
            for (exact, short) in all(&exact_out).iter().zip(all(&out)) {
                assert!(short.kind() == Kind::Float && short.is_contiguous(), "{name:?}");
                let off = (exact - &short).abs().max().double_value(&[]) / exact.abs().max().double_value(&[]);
                assert!(off > 1e-7 && off < 0.03, "{name:?}: off by {off}");
            }
            assert_eq!(short.embed(&images).unwrap(), out.embeddings, "{name:?}");
            let loss = short.forward(&images, Mode::Train, false).unwrap().logits.square().mean(Kind::Float);
            loss.f_backward().unwrap();
            for weight in short.parameters().weights() {
                assert!(weight.kind() == Kind::Float && weight.grad().kind() == Kind::Float, "{name:?}");
                assert!(weight.grad().abs().sum(Kind::Float).double_value(&[]).is_finite(), "{name:?}");
            }
        }
    }

    #[test]
    fn images_too_small_are_refused_with_the_least_size() {
        for (name, side, least) in [(ModelName::Lenet, 8, "16x16"), (ModelName::Cnn, 3, "4x4")] {
            let error = architecture(name, 1, side).unwrap_err().to_string();
            assert!(error.contains(least) && error.contains(&format!("{side}x{side}")), "{error}");
        }
    }
}
