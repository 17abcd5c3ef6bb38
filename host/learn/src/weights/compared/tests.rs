//! Outputs beside those of other libraries, with their weights.
//!
//! `examples/weights/reference.py` makes the files of the many, `lite0_reference.py` that of the one with published
//! weights, which `cargo xtask setup --weights` fetches.

use std::path::{Path, PathBuf};

use querist_core::config::{ModelConfig, ModelName, Stem};
use safetensors::SafeTensors;
use tch::{Device, Kind};

use super::source::Source;
use super::*;
use crate::layer::Mode;
use crate::model::ImageShape;

/// How far an output may be from another library's, as a share of the largest.
const CLOSE: f64 = 1e-4;

fn off(found: &Tensor, expected: &Tensor) -> f64 {
    (found - expected).abs().max().double_value(&[]) / expected.abs().max().double_value(&[]).max(1.0)
}

/// A model with the body and head of a file.
fn loaded(options: &ModelConfig, side: i64, classes: i64, file: &[u8]) -> (Model, Report, bool) {
    querist_torchx::runtime::set_threads(1).unwrap();
    let shape = ImageShape { channels: 3, height: side, width: side };
    let architecture = Architecture::new(options, shape, classes).unwrap();
    let model = architecture.build(Device::Cpu).unwrap();
    let report = read_body(&model, &architecture, file, None).unwrap_or_else(|error| panic!("{error}"));
    let has_head = read_head(&model, &architecture, file).is_ok();
    (model, report, has_head)
}

fn there(path: PathBuf, how: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no {}; {how}", path.display());
    None
}

#[test]
fn outputs_are_those_of_other_libraries() {
    let how = "write it with examples/weights/reference.py and say in QUERIST_WEIGHTS_REFERENCE where";
    let folder = std::env::var_os("QUERIST_WEIGHTS_REFERENCE").map_or_else(|| "references".into(), PathBuf::from);
    let Some(folder) = there(folder, how) else { return };
    for (case, name) in [
        ("resnet18", ModelName::Resnet18),
        ("resnet34", ModelName::Resnet34),
        ("resnet50", ModelName::Resnet50),
        ("resnet101", ModelName::Resnet101),
        ("resnet152", ModelName::Resnet152),
        ("resnet50-hugging-face", ModelName::Resnet50),
        ("squeezenet1-1", ModelName::Squeezenet),
        ("vgg16-bn", ModelName::Vgg16Bn),
        ("vit-s16", ModelName::VitS16),
        ("vit-s16-hugging-face", ModelName::VitS16),
        ("vit-b14", ModelName::VitB14),
        ("vit-b14-of-518", ModelName::VitB14),
        ("vit-b14-hugging-face", ModelName::VitB14),
        ("efficientnet-lite0", ModelName::EfficientnetLite0),
    ] {
        let read = |what: &str| std::fs::read(folder.join(format!("{case}.{what}.safetensors"))).unwrap();
        let (weights, outputs) = (read("weights"), read("outputs"));
        let outputs = Source::read(&outputs).unwrap();
        let images = outputs.tensor("images").unwrap();
        let logits = outputs.has("logits").then(|| outputs.tensor("logits").unwrap());
        let classes = logits.as_ref().map_or(10, |logits| logits.size()[1]);
        let is_resnet = case.starts_with("resnet");
        let stem = Some(Stem::Imagenet).filter(|_| is_resnet);
        let options = ModelConfig { stem, ..ModelConfig::of(name) };
        let (model, report, has_head) = loaded(&options, images.size()[2], classes, &weights);
        let _no_grad = tch::no_grad_guard();
        let out = model.forward(&images, Mode::Eval, false).unwrap();
        let of_embeddings = off(&out.embeddings, &outputs.tensor("embeddings").unwrap());
        eprintln!("{case}: {report}");
        eprintln!("{case}: embeddings off by {of_embeddings:.1e}");
        assert!(of_embeddings < CLOSE, "{case}: {of_embeddings}");
        assert_eq!(logits.is_some(), has_head, "{case}");
        if let Some(logits) = logits {
            let of_logits = off(&out.logits, &logits);
            eprintln!("{case}: logits off by {of_logits:.1e}");
            assert!(of_logits < CLOSE, "{case}: {of_logits}");
        }
    }
}

/// The published weights of EfficientNet-Lite0 give what PyTorch gives on four real pictures.
#[test]
fn published_weights_give_the_features_and_logits_of_pytorch() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let weights = root.join("../../.weights/efficientnet-lite0.safetensors");
    let Some(weights) = there(weights, "fetch it with `cargo xtask setup --weights`") else { return };
    let reference = std::fs::read(root.join("tests/data/efficientnet-lite0.safetensors")).unwrap();
    let (bytes, expected) = (SafeTensors::deserialize(&reference).unwrap(), Source::read(&reference).unwrap());
    let (model, report, has_head) =
        loaded(&ModelConfig::of(ModelName::EfficientnetLite0), 224, 1000, &std::fs::read(weights).unwrap());
    assert!(has_head && report.unexpected.is_empty() && report.head == 2, "{report}");
    let images = bytes.tensor("images").unwrap();
    let images = Tensor::from_data_size(images.data(), &[4, 3, 32, 32], Kind::Uint8).to_kind(Kind::Float) / 255.0;
    let per_channel = |values: [f32; 3]| Tensor::from_slice(&values).view([1, 3, 1, 1]);
    let images = images.upsample_bilinear2d([224, 224], false, None, None);
    let images = (images - per_channel([0.485, 0.456, 0.406])) / per_channel([0.229, 0.224, 0.225]);
    let _no_grad = tch::no_grad_guard();
    let out = model.forward(&images, Mode::Eval, false).unwrap();
    for (what, found) in [("embeddings", &out.embeddings), ("logits", &out.logits)] {
        let expected = expected.tensor(what).unwrap();
        let apart = (found - &expected).abs().max().double_value(&[]);
        eprintln!("{what} off by {apart:.1e}, largest {:.2}", expected.abs().max().double_value(&[]));
        assert!(apart < CLOSE, "{what}: {apart}");
    }
}
