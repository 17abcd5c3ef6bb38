//! The table of architectures: all that is fixed about one stands in one row, beside the code that builds it.

use querist_core::config::{InitScheme, ModelName, Stem};
use tch::TchError;

use super::{Body, ImageShape, bayesian, cnn, efficientnet, given, lenet, mlp, resnet, small, squeezenet, vgg, vit};
use crate::parameters::Parameters;
use crate::weights::Layout;

/// Makes a body, whose weights it adds.
pub(crate) type Build = fn(&mut Parameters, Make) -> Result<Box<dyn Body>, TchError>;

/// What is fixed about an architecture.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The name as users write it.
    pub(crate) label: &'static str,
    /// Pixels of the shorter side at least.
    pub(crate) smallest_side: i64,
    /// Sides are multiples of this.
    pub(crate) side_step: i64,
    /// Samples of a minibatch at least; batch-norm has no statistics of one.
    pub(crate) smallest_minibatch: usize,
    /// Channels of each stage map, in the order in which the body taps them.
    pub(crate) stages: &'static [i64],
    /// Width of an embedding.
    pub(crate) width: i64,
    /// Whether the body itself drops units or channels.
    pub(crate) drops_inside: bool,
    /// The stem where none is chosen; none for a body without a choice.
    pub(crate) stem: Option<DefaultStem>,
    /// How weights are drawn by default.
    pub(crate) init: InitScheme,
    /// Names of its tensors in files of others, beside its own.
    pub(crate) layouts: &'static [Layout],
    /// Makes the body.
    pub(crate) build: Build,
}

impl Spec {
    /// A row with the values that most bodies share.
    pub(super) const fn new(label: &'static str, width: i64, build: Build) -> Self {
        Self {
            label,
            smallest_side: 1,
            side_step: 1,
            smallest_minibatch: 1,
            stages: &[],
            width,
            drops_inside: false,
            stem: None,
            init: InitScheme::Default,
            layouts: &[],
            build,
        }
    }
}

/// What a body is built for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Make {
    pub(crate) images: ImageShape,
    pub(crate) stem: Stem,
}

/// The stem where none is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefaultStem {
    /// That of small images.
    Cifar,
    /// That of large images from so many pixels on.
    ImagenetFrom(i64),
}

impl DefaultStem {
    /// The stem for these images.
    pub(crate) fn of(self, images: ImageShape) -> Stem {
        match self {
            Self::ImagenetFrom(side) if images.height.min(images.width) >= side => Stem::Imagenet,
            _ => Stem::Cifar,
        }
    }
}

/// Networks from files: what else is fixed about them stands in the file.
const IN_ONNX: Spec = Spec::new("onnx", 0, without_file);
/// It may have batch-norm, which nobody sees from here.
const IN_TORCHSCRIPT: Spec = Spec { smallest_minibatch: 2, ..Spec::new("torchscript", 0, without_file) };

fn without_file(_: &mut Parameters, _: Make) -> Result<Box<dyn Body>, TchError> {
    Err(TchError::Torch("the network's file was not read".to_owned()))
}

/// The row of an architecture.
pub(crate) fn spec(name: ModelName) -> &'static Spec {
    match name {
        ModelName::Cnn => &cnn::SPEC,
        ModelName::Lenet => &lenet::SPEC,
        ModelName::Mlp => &mlp::SPEC,
        ModelName::Resnet18 => &resnet::RESNET18,
        ModelName::Resnet18By16 => &resnet::RESNET18_16,
        ModelName::Resnet34 => &resnet::RESNET34,
        ModelName::Resnet50 => &resnet::RESNET50,
        ModelName::Resnet101 => &resnet::RESNET101,
        ModelName::Resnet152 => &resnet::RESNET152,
        ModelName::Squeezenet => &squeezenet::SPEC,
        ModelName::Vgg16Bn => &vgg::WITH_HIDDEN,
        ModelName::Vgg16BnLinear => &vgg::LINEAR,
        ModelName::SvhnCnn => &small::SVHN,
        ModelName::CifarCnn => &small::CIFAR,
        ModelName::BayesianCnn => &bayesian::BATCH_BALD,
        ModelName::GalCnn => &bayesian::GAL,
        ModelName::VitS16 => &vit::S16,
        ModelName::VitB14 => &vit::B14,
        ModelName::EfficientnetLite0 => &efficientnet::LITE0,
        ModelName::Onnx => &IN_ONNX,
        ModelName::Torchscript => &IN_TORCHSCRIPT,
        ModelName::Head => &given::SPEC,
    }
}

/// Names of the architectures of which `is_one` holds: "`a`, `b` or `c`".
pub(crate) fn names_of(is_one: impl Fn(&Spec) -> bool) -> String {
    let mut names: Vec<String> = ModelName::ALL
        .into_iter()
        .map(spec)
        .filter(|spec| is_one(spec))
        .map(|spec| format!("`{}`", spec.label))
        .collect();
    let last = names.pop().unwrap_or_default();
    if names.is_empty() { last } else { format!("{} or {last}", names.join(", ")) }
}
