//! What every architecture promises.

use querist_core::config::ModelName;

use super::*;
use crate::parameters::values;

fn architecture(name: ModelName, channels: i64, side: i64) -> Result<Architecture, LearnError> {
    let shape = ImageShape { channels, height: side, width: side };
    Architecture::new(&ModelConfig::of(name), shape, 10)
}

fn weights(model: &Model) -> usize {
    model.parameters().weights().iter().map(Tensor::numel).sum()
}

/// Values in the weights of a model of so many classes.
fn sizes(options: &ModelConfig, channels: i64, side: i64, classes: i64) -> usize {
    let shape = ImageShape { channels, height: side, width: side };
    weights(&Architecture::new(options, shape, classes).unwrap().build(Device::Cpu).unwrap())
}

#[test]
fn models_have_the_published_sizes() {
    querist_torchx::runtime::set_threads(1).unwrap();
    for (name, channels, side, classes, published) in [
        // The figures that the recipes' publications give for ten classes.
        (ModelName::Resnet18, 3, 32, 10, 11_173_962),
        (ModelName::Resnet18By16, 3, 32, 10, 701_466),
        // (25 + 1) 10 + (250 + 1) 20 + (320 + 1) 50 + (50 + 1) 10.
        (ModelName::Lenet, 1, 28, 10, 21_840),
        // (27 + 1) 32 + 2 (288 + 1) 32 + (1152 + 1) 400 + (400 + 1) 50 + (50 + 1) 10.
        (ModelName::SvhnCnn, 3, 32, 10, 501_152),
        // (75 + 1) 32 + (800 + 1) 32 + (800 + 1) 64 + (1024 + 1) 50 + (50 + 1) 10.
        (ModelName::CifarCnn, 3, 32, 10, 131_088),
        // (25 + 1) 32 + (800 + 1) 64 + (1024 + 1) 128 + (128 + 1) 10.
        (ModelName::BayesianCnn, 1, 28, 10, 184_586),
        // (16 + 1) 32 + (512 + 1) 32 + (3872 + 1) 128 + (128 + 1) 10.
        (ModelName::GalCnn, 1, 28, 10, 513_994),
        (ModelName::Vgg16BnLinear, 3, 32, 10, 14_728_266),
        // torchvision's.
        (ModelName::Resnet34, 3, 224, 1000, 21_797_672),
        (ModelName::Resnet50, 3, 224, 1000, 25_557_032),
        (ModelName::Resnet101, 3, 224, 1000, 44_549_160),
        (ModelName::Resnet152, 3, 224, 1000, 60_192_808),
        (ModelName::Squeezenet, 3, 224, 1000, 1_235_496),
        (ModelName::Vgg16Bn, 3, 224, 1000, 138_365_992),
        // timm's.
        (ModelName::VitS16, 3, 224, 1000, 22_050_664),
        // DINOv2's own figure, 86,580,480, counts a mask token, which only its pre-training uses.
        (ModelName::VitB14, 3, 518, 10, 86_579_712 + 7_690),
        (ModelName::EfficientnetLite0, 3, 224, 1000, 4_652_008),
    ] {
        assert_eq!(sizes(&ModelConfig::of(name), channels, side, classes), published, "{name:?}");
    }
    let stem = ModelConfig { stem: Some(Stem::Imagenet), ..ModelConfig::of(ModelName::Resnet18) };
    assert_eq!(sizes(&stem, 3, 224, 1000), 11_689_512);
}

/// One row of the table: what it says is what the body does.
#[test]
fn rows_agree_with_their_bodies_and_their_names() {
    querist_torchx::runtime::set_threads(1).unwrap();
    for name in ModelName::ALL.into_iter().filter(|name| !name.is_in_file()) {
        let row = spec(name);
        assert_eq!(serde_json::to_value(name).unwrap(), row.label);
        let side = row.side_step.max(row.smallest_side);
        let model = architecture(name, 3, side).unwrap().build(Device::Cpu).unwrap();
        assert_eq!(!model.drops().is_empty(), row.drops_inside, "{name:?}");
        let norms = model.parameters().named().any(|(name, _)| name.ends_with("running_var"));
        assert_eq!(row.smallest_minibatch, if norms { 2 } else { 1 }, "{name:?}");
        if row.smallest_side > 1 {
            let error = architecture(name, 3, row.smallest_side - 1).unwrap_err().to_string();
            assert!(error.contains(row.label), "{error}");
        }
    }
}

#[test]
fn stems_follow_the_images_where_none_is_chosen() {
    let stem = |name, side, chosen| {
        let shape = ImageShape { channels: 3, height: side, width: side + 8 };
        let options = ModelConfig { stem: chosen, ..ModelConfig::of(name) };
        Architecture::new(&options, shape, 10).map(|architecture| architecture.stem)
    };
    assert_eq!(stem(ModelName::Resnet50, 63, None).unwrap(), Stem::Cifar);
    assert_eq!(stem(ModelName::Resnet50, 64, None).unwrap(), Stem::Imagenet);
    assert_eq!(stem(ModelName::Resnet50, 224, Some(Stem::Cifar)).unwrap(), Stem::Cifar);
    // Runs of before had this one.
    assert_eq!(stem(ModelName::Resnet18, 224, None).unwrap(), Stem::Cifar);
    let error = stem(ModelName::Cnn, 32, Some(Stem::Cifar)).unwrap_err().to_string();
    assert!(error.contains("model.stem") && error.contains("`resnet18`"), "{error}");
}

#[test]
fn schemes_draw_what_they_say() {
    querist_torchx::runtime::set_threads(1).unwrap();
    querist_torchx::random::seed(5).unwrap();
    let of = |name, init, tensor: &str| {
        let options = ModelConfig { init, ..ModelConfig::of(name) };
        let shape = ImageShape { channels: 3, height: 32, width: 32 };
        let model = Architecture::new(&options, shape, 10).unwrap().build(Device::Cpu).unwrap();
        let (_, found) = model.parameters().named().find(|(name, _)| *name == tensor).unwrap();
        values(found).unwrap().into_iter().map(f64::from).collect::<Vec<_>>()
    };
    let deviation = |values: &[f64]| (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
    let most = |values: &[f64]| values.iter().fold(0.0f64, |most, v| most.max(v.abs()));
    // 800 inputs and 1600 outputs of a 5x5 field; five standard errors of 51,200 values are 1.6 %.
    let kaiming = of(ModelName::CifarCnn, InitScheme::Kaiming, "conv3.weight");
    let expected = (2.0 / 800.0f64).sqrt();
    assert!((deviation(&kaiming) / expected - 1.0).abs() < 0.02 && most(&kaiming) > 3.0 * expected);
    let xavier = of(ModelName::CifarCnn, InitScheme::Xavier, "conv3.weight");
    let bound = (6.0 / 2400.0f64).sqrt();
    assert!(most(&xavier) <= bound && (deviation(&xavier) * 3f64.sqrt() / bound - 1.0).abs() < 0.02);
    for init in [InitScheme::Kaiming, InitScheme::Xavier] {
        assert_eq!(most(&of(ModelName::CifarCnn, init, "fc1.bias")), 0.0);
        assert_eq!(most(&of(ModelName::CifarCnn, init, "head.bias")), 0.0);
    }
    assert!(most(&of(ModelName::CifarCnn, InitScheme::Default, "fc1.bias")) > 0.0);
    let narrow = of(ModelName::VitS16, InitScheme::Default, "blocks.3.mlp.fc1.weight");
    assert!((deviation(&narrow) / 0.02 - 1.0).abs() < 0.02);
    // 64 inputs of a 3x3 field: what is not kept as large as it came in is lost after so many layers.
    let expand = of(ModelName::Squeezenet, InitScheme::Default, "features.12.expand3x3.weight");
    assert!((deviation(&expand) / (2.0 / 576.0f64).sqrt() - 1.0).abs() < 0.02);
}

#[test]
fn every_model_takes_the_sizes_it_promises() {
    querist_torchx::runtime::set_threads(1).unwrap();
    for (name, sides) in [
        (ModelName::Cnn, &[4, 8, 9, 28, 32][..]),
        (ModelName::Lenet, &[16, 28, 32]),
        (ModelName::Mlp, &[1, 8, 32]),
        (ModelName::Resnet18, &[1, 8, 32]),
        (ModelName::Resnet18By16, &[1, 32]),
        (ModelName::Resnet34, &[1, 64]),
        (ModelName::Resnet50, &[32, 70]),
        (ModelName::Squeezenet, &[17, 32, 65]),
        (ModelName::Vgg16BnLinear, &[32, 63]),
        (ModelName::Vgg16Bn, &[32, 64]),
        (ModelName::SvhnCnn, &[14, 32]),
        (ModelName::CifarCnn, &[20, 32]),
        (ModelName::BayesianCnn, &[16, 28]),
        (ModelName::GalCnn, &[8, 28]),
        (ModelName::VitS16, &[16, 48]),
        (ModelName::VitB14, &[14, 28]),
        (ModelName::EfficientnetLite0, &[1, 33, 64]),
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

/// A network in which all pictures end as the same has nothing to learn from.
#[test]
fn no_network_loses_the_picture_on_its_way() {
    querist_torchx::runtime::set_threads(1).unwrap();
    querist_torchx::random::seed(2).unwrap();
    // Two are too large for a test; the blocks of ViT-B/14 begin at almost nothing on purpose (layer scale).
    let left_out = [ModelName::Head, ModelName::Resnet101, ModelName::Resnet152, ModelName::VitB14];
    let is_tried = |name: &ModelName| !name.is_in_file() && !left_out.contains(name);
    for name in ModelName::ALL.into_iter().filter(is_tried) {
        let model = architecture(name, 3, 32).unwrap().build(Device::Cpu).unwrap();
        let images = Tensor::randn([8, 3, 32, 32], (Kind::Float, Device::Cpu));
        let embeddings = model.forward(&images, Mode::TrainStill, false).unwrap().embeddings;
        let apart = &embeddings - embeddings.mean_dim([0].as_slice(), true, None);
        let share = apart.norm().double_value(&[]) / embeddings.norm().double_value(&[]);
        assert!(share > 0.02, "{name:?}: {share}");
    }
}

/// A map that a later operation wrote into could not be differentiated, or would hold something else.
#[test]
fn stage_maps_are_rectified_and_stay_as_they_were_handed_out() {
    querist_torchx::runtime::set_threads(1).unwrap();
    querist_torchx::random::seed(2).unwrap();
    let with_stages = ModelName::ALL.into_iter().filter(|name| !spec(*name).stages.is_empty());
    for name in with_stages.filter(|name| ![ModelName::Resnet101, ModelName::Resnet152].contains(name)) {
        let model = architecture(name, 1, 32).unwrap().build(Device::Cpu).unwrap();
        let images = Tensor::randn([4, 1, 32, 32], (Kind::Float, Device::Cpu));
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
    for (name, side) in [
        (ModelName::Cnn, 16),
        (ModelName::Lenet, 16),
        (ModelName::Mlp, 16),
        (ModelName::Resnet18, 16),
        (ModelName::Squeezenet, 32),
        (ModelName::VitS16, 32),
    ] {
        let of = |precision| {
            querist_torchx::random::seed(2).unwrap();
            architecture(name, 3, side).unwrap().with_precision(precision).build(Device::Cpu).unwrap()
        };
        let (exact, short) = (of(Precision::Float32), of(Precision::Bf16));
        querist_torchx::random::seed(3).unwrap();
        let images = Tensor::randn([8, 3, side, side], (Kind::Float, Device::Cpu));
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
