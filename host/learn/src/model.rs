//! Models: a body that embeds images, and a head.

mod bayesian;
mod cnn;
mod efficientnet;
mod given;
mod head;
mod lenet;
mod mlp;
mod resnet;
mod small;
mod spec;
mod squeezenet;
mod unit;
mod vgg;
mod vit;

use querist_core::LearnError;
use querist_core::config::{InitScheme, ModelConfig, ModelName, Precision, Stem};
use querist_torchx::TorchError;
use querist_torchx::ambient::Bf16;
use tch::{Device, Kind, TchError, Tensor};

use crate::backbone::Backbone;
use crate::fault::{Doing, config};
use crate::layer::{Mode, Pass, Seen, channels_last};
use crate::parameters::Parameters;
pub(crate) use given::HEAD;
pub(crate) use head::Head;
use head::{HeadShape, MOST_HIDDEN};
pub(crate) use spec::names_of;
use spec::{Make, Spec, spec};

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

    /// What dropout inside the body drops, in the order in which it runs.
    fn drops(&self) -> &[Drop] {
        &[]
    }

    /// Whether a pass that keeps layers sees all that have weights.
    fn records_layers(&self) -> bool {
        true
    }
}

/// A dropout inside a body.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drop {
    /// Units, or channels, of which each is dropped or not.
    pub(crate) units: i64,
    /// Share that is dropped.
    pub(crate) share: f64,
    /// Whether whole channels are dropped.
    pub(crate) channels: bool,
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
#[derive(Debug, Clone)]
pub(crate) struct Architecture {
    spec: &'static Spec,
    /// The network from a file, where it is none of this program's.
    backbone: Option<Backbone>,
    stem: Stem,
    init: InitScheme,
    dropout: f64,
    head_hidden: Option<u32>,
    normalise: bool,
    fixed: bool,
    images: ImageShape,
    /// Of an embedding.
    width: i64,
    classes: i64,
    precision: Precision,
}

impl Architecture {
    /// Checks that the model can be built for these images.
    ///
    /// # Errors
    /// If the images do not fit it or an option is out of range.
    pub(crate) fn new(options: &ModelConfig, images: ImageShape, classes: i64) -> Result<Self, LearnError> {
        if options.name.is_in_file() {
            let label = spec(options.name).label;
            return config(format!("model.name = {label} needs `model.file`, the file of the network"));
        }
        Self::build_of(options, None, images, classes)
    }

    /// The same with a network from a file.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub(crate) fn brought(
        options: &ModelConfig,
        backbone: Backbone,
        images: ImageShape,
        classes: i64,
    ) -> Result<Self, LearnError> {
        backbone.check_images(spec(options.name).label, images)?;
        Self::build_of(options, Some(backbone), images, classes)
    }

    fn build_of(
        options: &ModelConfig,
        backbone: Option<Backbone>,
        images: ImageShape,
        classes: i64,
    ) -> Result<Self, LearnError> {
        let spec = spec(options.name);
        check_images(spec, images)?;
        let stem = match (spec.stem, options.stem) {
            (None, Some(_)) => {
                return config(format!(
                    "model.stem is set, but model.name = {} has no choice of stems, which {} have; leave it out",
                    spec.label,
                    names_of(|spec| spec.stem.is_some())
                ));
            }
            (Some(default), chosen) => chosen.unwrap_or(default.of(images)),
            (None, None) => Stem::Cifar,
        };
        let dropout = options.dropout();
        if !(0.0..1.0).contains(&dropout) {
            return config(format!("model.dropout is {dropout}, expected 0 or more and below 1"));
        }
        let head_hidden = options.head_hidden;
        if let Some(units) = head_hidden.filter(|units| !(1..=MOST_HIDDEN).contains(units)) {
            return config(format!("model.head_hidden is {units}, expected 1 to {MOST_HIDDEN} units"));
        }
        let init = if options.init == InitScheme::Default { spec.init } else { options.init };
        let (precision, normalise) = (Precision::Float32, options.normalise);
        // Rows that are embeddings already come as images of one pixel.
        let width = match (&backbone, options.name) {
            (Some(backbone), _) => backbone.width(),
            (None, ModelName::Head) => images.channels,
            (None, _) => spec.width,
        };
        let fixed = false;
        Ok(Self {
            spec,
            backbone,
            stem,
            init,
            dropout,
            head_hidden,
            normalise,
            fixed,
            images,
            width,
            classes,
            precision,
        })
    }

    /// Its row of the table.
    pub(crate) fn spec(&self) -> &'static Spec {
        self.spec
    }

    /// The fewest samples that a training step can use.
    pub(crate) fn smallest_minibatch(&self) -> usize {
        // A body that stays as it is needs no statistics.
        if self.fixed { 1 } else { self.spec.smallest_minibatch }
    }

    /// The name as users write it.
    pub(crate) fn label(&self) -> &'static str {
        self.spec.label
    }

    /// Channels of each stage map; none where the model has no stages.
    pub(crate) fn stages(&self) -> &'static [i64] {
        self.spec.stages
    }

    /// Width of an embedding.
    pub(crate) fn width(&self) -> i64 {
        self.width
    }

    /// The network from a file, where it is none of this program's.
    pub(crate) fn backbone(&self) -> Option<&Backbone> {
        self.backbone.as_ref()
    }

    /// Whether gradients go through the body.
    pub(crate) fn is_differentiable(&self) -> bool {
        self.backbone.as_ref().is_none_or(Backbone::is_differentiable)
    }

    /// Whether anything is dropped in training, so that draws differ.
    pub(crate) fn has_dropout(&self) -> bool {
        self.dropout > 0.0 || self.spec.drops_inside
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

    /// The same with a body that nothing changes, in training or between rounds.
    pub(crate) fn with_fixed_body(self) -> Self {
        Self { fixed: true, ..self }
    }

    /// The same with a body that computes in these numbers.
    pub(crate) fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Numbers in which the body computes.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// What changes an embedding of the body, beside weights and images, in words.
    pub(crate) fn of_body(&self) -> String {
        let Self { stem, normalise, precision, images, .. } = self;
        let name = self.spec.label;
        format!("{name}, stem {stem:?}, of length 1 {normalise}, {precision:?}, images {images:?}")
    }

    /// A model with fresh weights from libtorch's generator.
    pub(crate) fn build(&self, device: Device) -> Result<Model, LearnError> {
        self.build_from(device, || Ok(()))
    }

    /// A model with fresh weights from libtorch's generator, which `seeded` puts to its start.
    ///
    /// Before the head of a body that stays as it is, it starts again: what is drawn for such a body counts for
    /// nothing, so that a head starts alike on images and on embeddings of them.
    pub(crate) fn build_from(
        &self,
        device: Device,
        seeded: impl Fn() -> Result<(), LearnError>,
    ) -> Result<Model, LearnError> {
        seeded()?;
        let parameters = Parameters::new(device).with_channels_last(self.precision != Precision::Float32);
        let mut parameters = parameters.with_init(self.init);
        let make = Make { images: self.images, stem: self.stem };
        let body = match &self.backbone {
            Some(backbone) => backbone.body(&mut parameters, device),
            None => (self.spec.build)(&mut parameters, make),
        };
        let body = body.doing("building the model")?;
        let body = if self.normalise { boxed(unit::Unit(body)) } else { body };
        if self.fixed {
            seeded()?;
        }
        let width = self.width();
        let hidden = self.head_hidden.map(i64::from);
        let shape = HeadShape { width, hidden, classes: self.classes, dropout: self.dropout };
        let head = Head::new(&mut parameters, shape).doing("building the model")?;
        Ok(Model { parameters, body, head, width, fixed: self.fixed, precision: self.precision })
    }
}

fn boxed<B: Body + 'static>(body: B) -> Box<dyn Body> {
    Box::new(body)
}

fn check_images(spec: &Spec, images: ImageShape) -> Result<(), LearnError> {
    let (ImageShape { height, width, .. }, Spec { label, smallest_side, side_step, .. }) = (images, spec);
    if height.min(width) < *smallest_side {
        return config(format!(
            "model.name = {label} needs images of at least {smallest_side}x{smallest_side} pixels, but they are \
             {height}x{width}; set `dataset.size` or choose `mlp`"
        ));
    }
    if height % side_step != 0 || width % side_step != 0 {
        return config(format!(
            "model.name = {label} cuts images into patches of {side_step}x{side_step} pixels, but they are \
             {height}x{width}; set `dataset.size` to a multiple of {side_step}"
        ));
    }
    Ok(())
}

/// A body and a head with their weights.
pub(crate) struct Model {
    parameters: Parameters,
    body: Box<dyn Body>,
    head: Head,
    width: i64,
    fixed: bool,
    precision: Precision,
}

impl Model {
    /// Whether its body is the one that every model of the run has.
    pub(crate) fn is_fixed(&self) -> bool {
        self.fixed
    }

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
        // Rows that are embeddings already are no images, and nothing is computed of them.
        if self.precision == Precision::Float32 || images.dim() != 4 {
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

    /// The same of a model whose weights stay as they are from the first such pass on, faster and a rounding off.
    pub(crate) fn embed_folded(&self, images: &Tensor) -> Result<Tensor, TchError> {
        if images.device().is_cuda() {
            return self.through_body(images, &mut Pass::folding());
        }
        self.through_body(&channels_last(images)?, &mut Pass::folding())
    }

    /// Logits `[n, classes]` of embeddings.
    pub(crate) fn classify(&self, embeddings: &Tensor, mode: Mode) -> Result<Tensor, TchError> {
        self.head.logits(embeddings, &mut Pass::new(mode))
    }

    /// Inputs of the last linear layer in eval mode.
    pub(crate) fn penultimate(&self, embeddings: &Tensor) -> Result<Tensor, TchError> {
        self.head.penultimate(embeddings, &mut Pass::new(Mode::Eval))
    }

    /// What dropout inside the body drops.
    pub(crate) fn drops(&self) -> &[Drop] {
        self.body.drops()
    }

    /// Whether [`Self::recorded`] sees every layer with weights.
    pub(crate) fn records_layers(&self) -> bool {
        self.body.records_layers()
    }

    /// Embeddings in eval mode, with a mask for each dropout of the body.
    pub(crate) fn embed_masked(&self, images: &Tensor, masks: Vec<Tensor>) -> Result<Tensor, TchError> {
        self.through_body(images, &mut Pass::masked(masks))
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
mod tests;
