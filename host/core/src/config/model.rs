//! The task model, and an ensemble of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Network architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ModelName {
    /// Three convolutions and a 128-wide embedding, for small grey images.
    Cnn,
    /// Two 5x5 convolutions with dropout and a 50-wide embedding.
    Lenet,
    /// Two hidden layers on the raw pixels.
    Mlp,
    /// ResNet-18; the 3x3 stem for 32-pixel images unless `stem` says otherwise.
    Resnet18,
    /// ResNet-18 with a quarter of the channels: 16, 32, 64 and 128.
    #[serde(rename = "resnet18-16")]
    Resnet18By16,
    /// ResNet-34.
    Resnet34,
    /// ResNet-50: blocks of three convolutions, the stride in the middle one.
    Resnet50,
    /// ResNet-101.
    Resnet101,
    /// ResNet-152.
    Resnet152,
    /// SqueezeNet 1.1, the mean of the last feature map as its embedding.
    #[serde(rename = "squeezenet1-1")]
    Squeezenet,
    /// VGG-16 with batch-norm and two hidden layers of 4096 units, each with dropout.
    Vgg16Bn,
    /// VGG-16 with batch-norm and nothing between its 512 features and the logits.
    Vgg16BnLinear,
    /// Three 3x3 convolutions and layers of 400 and 50 units, as several systems use for SVHN.
    SvhnCnn,
    /// Three 5x5 convolutions and a layer of 50 units, as several systems use for CIFAR-10.
    CifarCnn,
    /// The Bayesian network of BatchBALD: dropout after both 5x5 convolutions and after the layer of 128 units.
    BayesianCnn,
    /// The network of Gal and others (2017): two 4x4 convolutions and a layer of 128 units, dropout 0.25 and 0.5.
    GalCnn,
    /// Vision transformer S/16, as timm lays it out.
    #[serde(rename = "vit-s16")]
    VitS16,
    /// Vision transformer B/14 with layer scale, as DINOv2 lays it out, without registers.
    #[serde(rename = "vit-b14")]
    VitB14,
    /// EfficientNet-Lite0 with TensorFlow's padding.
    EfficientnetLite0,
    /// The network in the ONNX file `file`, which stays as it is; it needs `recipe.train = "head"`.
    Onnx,
    /// The network in the TorchScript file `file`.
    Torchscript,
    /// No body: the head alone, on the rows of a dataset `embeddings`.
    Head,
}

impl ModelName {
    /// Every architecture.
    pub const ALL: [Self; 22] = [
        Self::Cnn,
        Self::Lenet,
        Self::Mlp,
        Self::Resnet18,
        Self::Resnet18By16,
        Self::Resnet34,
        Self::Resnet50,
        Self::Resnet101,
        Self::Resnet152,
        Self::Squeezenet,
        Self::Vgg16Bn,
        Self::Vgg16BnLinear,
        Self::SvhnCnn,
        Self::CifarCnn,
        Self::BayesianCnn,
        Self::GalCnn,
        Self::VitS16,
        Self::VitB14,
        Self::EfficientnetLite0,
        Self::Onnx,
        Self::Torchscript,
        Self::Head,
    ];

    /// Whether the network comes with its code from a file.
    pub fn is_in_file(self) -> bool {
        matches!(self, Self::Onnx | Self::Torchscript)
    }

    /// Probability that an input of the last linear layer is dropped where none is set.
    pub fn default_dropout(self) -> f64 {
        match self {
            Self::Lenet
            | Self::Squeezenet
            | Self::Vgg16Bn
            | Self::SvhnCnn
            | Self::CifarCnn
            | Self::BayesianCnn
            | Self::GalCnn => 0.5,
            Self::VitS16 | Self::EfficientnetLite0 => 0.2,
            _ => 0.0,
        }
    }
}

/// What a residual network does before its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stem {
    /// One 3x3 convolution of stride 1, for images of about 32 pixels.
    Cifar,
    /// A 7x7 convolution of stride 2 and pooling, for images of 64 pixels and more, and for published weights.
    Imagenet,
}

/// How weights are drawn before training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InitScheme {
    /// As PyTorch draws those of the same layer: uniform within 1/sqrt(fan-in), biases too; in transformers a normal
    /// of deviation 0.02, cut off, with biases of 0. SqueezeNet, which learns nothing from that, starts as with
    /// `kaiming`.
    #[default]
    Default,
    /// Normal with variance 2/fan-in (He and others, 2015), biases 0.
    Kaiming,
    /// Uniform within sqrt(6 / (fan-in + fan-out)) (Glorot and Bengio, 2010), biases 0.
    Xavier,
}

/// A file of weights that the body of the model starts from: `.safetensors`, or what PyTorch's `torch.save` wrote as a
/// zip archive (`.pt`, `.pth`). The head starts afresh. Names and prefixes of torchvision, timm, Hugging Face, MoCo-v2
/// and CompRess are known; a file that lacks a single tensor of the body is refused. It is read from the working
/// folder; its SHA-256 is in the header, and a run goes on only with the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum WeightsConfig {
    /// The file.
    File(String),
    /// The file, with options.
    Table(WeightsFile),
}

/// A file of weights, with options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightsFile {
    /// The file.
    pub file: String,
    /// What names in the file start with before those of the network: only such tensors are read. The known prefixes
    /// are tried where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub prefix: Option<String>,
}

impl WeightsConfig {
    /// The file.
    pub fn file(&self) -> &str {
        match self {
            Self::File(file) | Self::Table(WeightsFile { file, .. }) => file,
        }
    }

    /// What names of its tensors start with, where that was said.
    pub fn prefix(&self) -> Option<&str> {
        match self {
            Self::File(_) => None,
            Self::Table(table) => table.prefix.as_deref(),
        }
    }
}

/// The task model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Architecture.
    pub name: ModelName,
    /// The network itself, with `name = "onnx"` or `"torchscript"`. It is read from the working folder; its SHA-256 and
    /// that of its sidecar are in the header, and a run goes on only with the same. Such files are programs: use none
    /// that you would not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What says which images the network of `file` takes, and which of its outputs are what; the file of the same name
    /// that ends in `.toml` where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<String>,
    /// Probability that an input of the last linear layer is dropped while training: a value of the embedding, or of
    /// the head's hidden layer where it has one. The architecture's own default where it is left out: 0.5 for lenet,
    /// squeezenet1-1, vgg16-bn, svhn-cnn, cifar-cnn, bayesian-cnn and gal-cnn, 0.2 for vit-s16 and efficientnet-lite0,
    /// 0 for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: Option<f64>,
    /// Units of a hidden layer between embedding and logits: the head is then linear, ReLU, dropout, linear. One linear
    /// layer where it is left out, which some strategies need.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_536))]
    pub head_hidden: Option<u32>,
    /// What a residual network does before its blocks. Where it is left out, `cifar` for resnet18 and resnet18-16; for
    /// the others `imagenet` where images have 64 pixels or more on their shorter side, else `cifar`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem: Option<Stem>,
    /// How weights are drawn before training.
    #[serde(skip_serializing_if = "is_default")]
    pub init: InitScheme,
    /// Whether embeddings are divided by their length (with `recipe.train = "head"`, the normalised linear probe).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub normalise: bool,
    /// Weights that the body starts from, wherever it would start from fresh ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsConfig>,
}

fn is_default(init: &InitScheme) -> bool {
    *init == InitScheme::Default
}

impl ModelConfig {
    /// The architecture with every option at its default.
    pub fn of(name: ModelName) -> Self {
        let (stem, init, weights) = (None, InitScheme::Default, None);
        let (file, sidecar) = (None, None);
        Self { name, file, sidecar, dropout: None, head_hidden: None, stem, init, normalise: false, weights }
    }

    /// Probability that an input of the last linear layer is dropped, the architecture's own where none is set.
    pub fn dropout(&self) -> f64 {
        self.dropout.unwrap_or_else(|| self.name.default_dropout())
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self::of(ModelName::Cnn)
    }
}

/// What the members of an ensemble learn beside the cross-entropy of their minibatch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Adversarial {
    /// Nothing.
    #[default]
    None,
    /// The cross-entropy of the same images, each pixel moved by `fgsm_eps` in the direction that raises it.
    Fgsm,
    /// Predictions that stay the same under the worst small change of *unlabelled* images of the pool (virtual
    /// adversarial training).
    Vat,
}

/// Whose predictions are evaluated in a run that trains an ensemble.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Evaluate {
    /// The mean of the members' class probabilities.
    #[default]
    Mean,
    /// Those of the task model, which is trained without adversarial images.
    Task,
}

/// How members are trained where a strategy needs an ensemble (`ensemble-*`); without one this table does nothing. How
/// many members there are is the strategy's parameter `members`.
///
/// Each is trained by the recipe on the same labels, from weights and in an order of its own. The first is the task
/// model itself, unless adversarial images take part. Members wait in main memory; one at a time is on the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnsembleConfig {
    /// What members learn beside the cross-entropy of their minibatch; recorded, and shown in reports.
    pub adversarial: Adversarial,
    /// Change of a pixel under `fgsm`, as a share of the range of its channel.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub fgsm_eps: f64,
    /// Length of the change of an image under `vat`, in normalised pixels.
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub vat_eps: f64,
    /// Length of the trial change from which `vat` finds the worst direction.
    #[schemars(range(min = 1e-9, max = 10.0))]
    pub vat_xi: f64,
    /// Trials of `vat`: steps of the power iteration.
    #[schemars(range(min = 1, max = 100))]
    pub vat_iters: u32,
    /// Whose figures a round records.
    pub evaluate: Evaluate,
}

impl Default for EnsembleConfig {
    fn default() -> Self {
        Self {
            adversarial: Adversarial::None,
            fgsm_eps: 0.01,
            vat_eps: 2.5,
            vat_xi: 1e-6,
            vat_iters: 1,
            evaluate: Evaluate::Mean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list is written by hand; the schema is made of the type.
    #[test]
    fn every_architecture_is_listed() {
        let schema = schemars::schema_for!(ModelName).to_value();
        let all: Vec<_> = ModelName::ALL.iter().map(|name| serde_json::to_value(name).unwrap()).collect();
        let of_type: Vec<_> = schema["oneOf"].as_array().unwrap().iter().map(|one| one["const"].clone()).collect();
        assert_eq!(all, of_type);
    }

    #[test]
    fn weights_are_a_file_or_a_table() {
        let read = |text: &str| serde_json::from_str::<ModelConfig>(text);
        let short = read(r#"{ "weights": "a.safetensors" }"#).unwrap().weights.unwrap();
        assert_eq!((short.file(), short.prefix()), ("a.safetensors", None));
        let long = read(r#"{ "weights": { "file": "a.pt", "prefix": "teacher." } }"#).unwrap().weights.unwrap();
        assert_eq!((long.file(), long.prefix()), ("a.pt", Some("teacher.")));
        assert!(read(r#"{ "weights": { "file": "a.pt", "prefixes": "x" } }"#).is_err());
        assert!(read(r#"{ "init": "he" }"#).is_err() && read(r#"{ "stem": "7x7" }"#).is_err());
        // What is left out is not written, so that files of before stay what they are.
        assert_eq!(serde_json::to_string(&read("{}").unwrap()).unwrap(), r#"{"name":"cnn"}"#);
    }
}
