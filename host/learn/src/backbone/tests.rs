//! Files that are what they should be, and files that are wrong in one way each.
//!
//! `examples/backbones/fixtures.py` made them, and says what PyTorch makes of the same pictures.

use std::path::PathBuf;

use querist_core::config::{
    Adversarial, Averaging, EnsembleConfig, Init, ModelConfig, ModelName, Optimiser, Precision, Recipe, Trained,
};
use querist_core::dataset::{DatasetParts, Images, Normalisation};
use querist_core::progress::Silent;
use querist_core::{Dataset, FeatureTask, FitTask, Label, Learner, Round, SampleId, Seeds};
use querist_protocol::{Need, TrainOverrides};

use super::*;
use crate::{Settings, TorchLearner};

const SIDE: usize = 8;

fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/backbones").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sidecar(embedding: OutputName) -> Sidecar {
    Sidecar {
        version: 1,
        size: SIDE as u32,
        channels: 3,
        resize: None,
        fit: Default::default(),
        filter: Default::default(),
        mean: vec![0.4, 0.5, 0.6],
        std: vec![0.2, 0.25, 0.3],
        batch: None,
        outputs: querist_core::config::SidecarOutputs { embedding, logits: None },
    }
}

fn called(name: &str) -> Sidecar {
    sidecar(OutputName::Name(name.to_owned()))
}

/// The library, where `cargo xtask setup --onnx` has fetched it.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn library() -> Option<PathBuf> {
    let found = onnx_library().ok();
    if found.is_none() {
        eprintln!("SKIPPED: no ONNX Runtime; `cargo xtask setup --onnx` fetches it");
    }
    found
}

fn script(name: &str, sidecar: &Sidecar) -> Result<Backbone, String> {
    querist_torchx::runtime::set_threads(1).unwrap();
    Backbone::torchscript(data(name), sidecar).map_err(|error| error.to_string())
}

fn tiny() -> Backbone {
    script("tiny.pt", &called("embedding")).unwrap()
}

/// The pictures of `fixtures.py`.
fn pictures(count: usize, channels: usize) -> Images {
    let bytes: Vec<u8> = (0..count * SIDE * SIDE * channels).map(|at| (at * 37 % 251) as u8).collect();
    Images { bytes: bytes.into(), count, height: SIDE, width: SIDE, channels }
}

fn dataset_of(images: Images) -> Dataset {
    let (count, channels) = (images.count, images.channels);
    Dataset::new(DatasetParts {
        name: "pictures".to_owned(),
        images,
        labels: (0..count as u32).map(|at| at % 2).collect(),
        official_validation: 0,
        official_test: 0,
        class_names: vec!["even".to_owned(), "odd".to_owned()],
        normalisation: Some(Normalisation { mean: vec![0.0; channels], std: vec![1.0; channels] }),
        files: Vec::new(),
    })
    .unwrap()
}

/// Two classes: bright in the first or in the last channel.
fn colours(count: usize) -> Dataset {
    let mut images = pictures(count, 3);
    let mut bytes = images.bytes.to_vec();
    for (at, image) in bytes.chunks_mut(SIDE * SIDE * 3).enumerate() {
        for pixel in image.chunks_mut(3) {
            pixel.iter_mut().for_each(|value| *value /= 4);
            pixel[2 * (at % 2)] += 180;
        }
    }
    images.bytes = bytes.into();
    dataset_of(images)
}

fn ids(range: std::ops::Range<u64>) -> Vec<SampleId> {
    range.map(SampleId).collect()
}

fn labelled(range: std::ops::Range<u64>) -> Vec<(SampleId, Label)> {
    range.map(|id| (SampleId(id), Label((id % 2) as u32))).collect()
}

fn recipe(train: Trained) -> Recipe {
    let optimiser = Optimiser::Adam;
    Recipe { epochs: 4, minibatch: 8, lr: 0.02, optimiser, weight_decay: 0.0, train, ..Recipe::default() }
}

fn learner(
    dataset: &Dataset,
    model: &ModelConfig,
    recipe: &Recipe,
    backbone: Backbone,
) -> Result<TorchLearner, String> {
    let (seeds, precision) = (Seeds::new(3), Precision::Float32);
    let settings = Settings { model, recipe, seeds, device: "cpu", precision, threads: 1 };
    let made = TorchLearner::with_backbone(dataset, &ids(0..dataset.len() as u64), &settings, backbone);
    made.map_err(|error| error.to_string())
}

fn of_script(recipe: &Recipe) -> TorchLearner {
    learner(&colours(60), &ModelConfig::of(ModelName::Torchscript), recipe, tiny()).unwrap()
}

/// How far values lie from PyTorch's, as a share of the largest.
fn apart_from_pytorch(found: &[f32], output: &str) -> f64 {
    let all: serde_json::Value = serde_json::from_slice(&data("expected.json")).unwrap();
    let rows = all[output].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
    let expected: Vec<f64> = rows.map(|value| value.as_f64().unwrap()).collect();
    assert_eq!(found.len(), expected.len(), "{output}");
    let largest = expected.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    found.iter().zip(&expected).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max) / largest
}

fn features(backbone: Backbone, name: ModelName) -> Vec<f32> {
    let dataset = dataset_of(pictures(7, 3));
    let learner = learner(&dataset, &ModelConfig::of(name), &recipe(Trained::Head), backbone).unwrap();
    learner.embeddings(&ids(0..7), &Silent).unwrap().0
}

#[test]
fn features_of_a_script_are_those_of_pytorch() {
    for (name, output, expected) in [
        ("tiny.pt", OutputName::Name("embedding".to_owned()), "embedding"),
        ("tiny.pt", OutputName::Name("logits".to_owned()), "logits"),
        ("pair.pt", OutputName::Place(1), "embedding"),
        ("pair.pt", OutputName::Place(0), "logits"),
    ] {
        let backbone = script(name, &sidecar(output)).unwrap();
        let apart = apart_from_pytorch(&features(backbone, ModelName::Torchscript), expected);
        assert!(apart < 1e-5, "{name} {expected}: {apart}");
    }
}

#[test]
fn features_of_an_onnx_file_are_those_of_pytorch_whatever_fits_into_one_pass() {
    let Some(library) = library() else { return };
    querist_torchx::runtime::set_threads(1).unwrap();
    let of = |name: &str, sidecar: &Sidecar| Backbone::onnx(&data(name), sidecar, &library, 1).unwrap();
    let by_place = |place| sidecar(OutputName::Place(place));
    let in_twos = Sidecar { batch: Some(2), ..called("embedding") };
    for (backbone, expected) in [
        (of("tiny.onnx", &called("embedding")), "embedding"),
        (of("tiny.onnx", &called("logits")), "logits"),
        (of("tiny.onnx", &by_place(1)), "logits"),
        (of("tiny.onnx", &in_twos), "embedding"),
        // Seven pictures in passes of four, which the file asks for.
        (of("four.onnx", &called("embedding")), "embedding"),
    ] {
        let apart = apart_from_pytorch(&features(backbone, ModelName::Onnx), expected);
        assert!(apart < 1e-5, "{expected}: {apart}");
    }
}

#[test]
fn a_head_learns_on_an_onnx_file_and_everything_that_needs_no_gradient_works() {
    let Some(library) = library() else { return };
    querist_torchx::runtime::set_threads(1).unwrap();
    let onnx = || Backbone::onnx(&data("tiny.onnx"), &called("embedding"), &library, 1).unwrap();
    let model = ModelConfig { dropout: Some(0.3), ..ModelConfig::of(ModelName::Onnx) };
    let dataset = colours(60);
    let head = Recipe { epochs: 40, lr: 0.1, ..recipe(Trained::Head) };
    let fitted = || {
        let mut learner = learner(&dataset, &model, &head, onnx()).unwrap();
        learner.fit(FitTask::plain(Round(0), &labelled(0..30)), &Silent).unwrap();
        learner
    };
    let mut one = fitted();
    let logits = one.logits(&ids(30..60), &Silent).unwrap();
    assert_eq!(logits, fitted().logits(&ids(30..60), &Silent).unwrap());
    let right = logits.chunks(2).enumerate().filter(|(at, row)| (row[1] > row[0]) == (at % 2 == 1)).count();
    assert!(right >= 27, "{right} of 30");
    let needs: Vec<Need> =
        ["embeddings", "mc_log_probs(T=4)", "grad_norm", "grad_embeddings"].map(|need| need.parse().unwrap()).to_vec();
    one.check_needs(&needs).unwrap();
    let (pool, labelled_ids) = (ids(30..60), ids(0..30));
    let task = FeatureTask { needs: &needs, pool: &pool, labelled: &labelled_ids, target: &[] };
    let arrays = one.features(task, &Silent).unwrap();
    assert_eq!(arrays["grad_norm"].shape(), [30]);
    assert!(arrays["grad_norm"].as_f32().unwrap().iter().all(|norm| *norm > 0.0));
    // Only a head is in the model's file.
    let kept = one.model().unwrap();
    assert_eq!(safetensors::SafeTensors::deserialize(&kept).unwrap().len(), 2);
    let mut restored = learner(&dataset, &model, &head, onnx()).unwrap();
    restored.restore(&kept, &TrainOverrides::default()).unwrap();
    assert_eq!(restored.logits(&pool, &Silent).unwrap(), logits);
}

#[test]
fn what_an_onnx_file_cannot_do_is_refused() {
    let Some(library) = library() else { return };
    querist_torchx::runtime::set_threads(1).unwrap();
    let load = |name: &str, sidecar: &Sidecar| {
        Backbone::onnx(&data(name), sidecar, &library, 1).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let said = |found: String, parts: &[&str]| {
        for part in parts {
            assert!(found.contains(part), "`{part}` is not in: {found}");
        }
    };
    said(load("tiny.onnx", &called("features")), &["no output `features`", "embedding, logits"]);
    said(load("tiny.onnx", &sidecar(OutputName::Place(2))), &["no output 2"]);
    let unknown = Some(OutputName::Name("scores".to_owned()));
    let mut with_logits = called("embedding");
    with_logits.outputs.logits = unknown;
    said(load("tiny.onnx", &with_logits), &["`scores`", "`outputs.logits`"]);
    said(load("tiny.onnx", &Sidecar { size: 16, ..called("embedding") }), &["[3, 8, 8]", "[3, 16, 16]", "`size`"]);
    let grey = Sidecar { channels: 1, mean: vec![0.5], std: vec![0.5], ..called("embedding") };
    said(load("tiny.onnx", &grey), &["[3, 8, 8]", "[1, 8, 8]"]);
    said(load("four.onnx", &Sidecar { batch: Some(8), ..called("embedding") }), &["takes 4 images", "batch = 8"]);
    said(load("double.onnx", &called("embedding")), &["expected images in single precision"]);
    said(load("wide.onnx", &called("embedding")), &["its output `embedding`", "expected a tensor in single precision"]);
    let cut = &data("tiny.onnx")[..900];
    let error = Backbone::onnx(cut, &called("embedding"), &library, 1).err().unwrap().to_string();
    said(error, &["ONNX Runtime cannot use it", "export it anew"]);
    let error = Backbone::onnx(b"no network", &called("embedding"), &library, 1).err().unwrap().to_string();
    said(error, &["ONNX Runtime cannot use it"]);

    let onnx = || Backbone::onnx(&data("tiny.onnx"), &called("embedding"), &library, 1).unwrap();
    let model = ModelConfig::of(ModelName::Onnx);
    let refused = |recipe: &Recipe| learner(&colours(8), &model, recipe, onnx()).err().unwrap();
    said(refused(&recipe(Trained::All)), &["recipe.train = \"head\"", "TorchScript"]);
    let learner = learner(&colours(8), &model, &recipe(Trained::Head), onnx()).unwrap();
    let adversarial = EnsembleConfig { adversarial: Adversarial::Fgsm, ..EnsembleConfig::default() };
    said(learner.with_ensemble(&adversarial).err().unwrap().to_string(), &["ensemble.adversarial", "`none`"]);
}

#[test]
fn a_library_that_is_missing_or_no_onnx_runtime_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let refused =
        |path: &Path| Backbone::onnx(&data("tiny.onnx"), &called("embedding"), path, 1).err().unwrap().to_string();
    let path = folder.path().join("libonnxruntime.so");
    let missing = refused(&path);
    assert!(missing.contains("libonnxruntime.so") && missing.contains("setup --onnx"), "{missing}");
    std::fs::write(&path, "text").unwrap();
    let text = refused(&path);
    assert!(text.contains("cannot be used as ONNX Runtime"), "{text}");
    // A library that says it is version 1.10.
    let source = folder.path().join("old.c");
    let old = folder.path().join("libold.so");
    let code = "static const char* version(void) { return \"1.10.0\"; }\n\
                static const void* api(unsigned v) { (void)v; return 0; }\n\
                static const struct { const void* (*a)(unsigned); const char* (*v)(void); } base = { api, version };\n\
                const void* OrtGetApiBase(void) { return &base; }\n";
    std::fs::write(&source, code).unwrap();
    let built = std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&old, &source]).status();
    assert!(built.unwrap().success());
    let old = refused(&old);
    assert!(old.contains("1.10.0") && old.contains("1.24") && old.contains("QUERIST_ONNXRUNTIME"), "{old}");
}

#[test]
fn a_script_is_trained_kept_and_restored_as_a_network_of_this_program() {
    let fitted = |recipe: &Recipe| {
        let mut learner = of_script(recipe);
        learner.fit(FitTask::plain(Round(0), &labelled(0..40)), &Silent).unwrap();
        learner
    };
    let plain = recipe(Trained::All);
    let mut one = fitted(&plain);
    let kept = one.model().unwrap();
    assert!(kept == fitted(&plain).model().unwrap(), "the same training gives the same bits");
    let fresh = tiny();
    let mut untrained = Parameters::new(Device::Cpu);
    drop(fresh.body(&mut untrained, Device::Cpu).unwrap());
    let file = safetensors::SafeTensors::deserialize(&kept).unwrap();
    // The module's own head has no part in the embedding, so nothing trains it.
    let own_head = ["body.head.weight", "body.head.bias"];
    for (name, before) in untrained.named() {
        let after = file.tensor(name).unwrap();
        let before: Vec<u8> = crate::parameters::values(before).unwrap().iter().flat_map(|v| v.to_le_bytes()).collect();
        // Weights are trained, statistics of batch-norm follow.
        assert_eq!(before == after.data(), own_head.contains(&name), "{name}");
    }
    assert!(file.names().contains(&"body.body.norm.running_mean"));
    let logits = one.logits(&ids(40..60), &Silent).unwrap();
    let mut restored = of_script(&plain);
    restored.restore(&kept, &TrainOverrides::default()).unwrap();
    assert_eq!(restored.logits(&ids(40..60), &Silent).unwrap(), logits);
}

#[test]
fn rounds_of_a_script_start_as_the_recipe_says() {
    let body = |file: &[u8]| {
        let file = safetensors::SafeTensors::deserialize(file).unwrap();
        (
            file.tensor("body.body.conv.weight").unwrap().data().to_vec(),
            file.tensor("head.weight").unwrap().data().to_vec(),
        )
    };
    // Without a step to take, a model is where it started.
    let still = |init| Recipe { init, lr: 0.0, epochs: 1, ..recipe(Trained::All) };
    let second = |init| {
        let mut learner = of_script(&still(init));
        learner.fit(FitTask::plain(Round(0), &labelled(0..40)), &Silent).unwrap();
        let first = body(&learner.model().unwrap());
        learner.fit(FitTask::plain(Round(1), &labelled(0..40)), &Silent).unwrap();
        (first, body(&learner.model().unwrap()))
    };
    let mut untrained = Parameters::new(Device::Cpu);
    drop(tiny().body(&mut untrained, Device::Cpu).unwrap());
    let weight = untrained.named().find(|(name, _)| *name == "body.body.conv.weight").unwrap().1.shallow_clone();
    let of_file: Vec<u8> = crate::parameters::values(&weight).unwrap().iter().flat_map(|v| v.to_le_bytes()).collect();
    for init in [Init::Reinit, Init::SameInit, Init::Pretrained] {
        let (first, second) = second(init);
        assert!(first.0 == of_file && second.0 == of_file, "{init:?}: the body is the file's");
        assert_eq!(first.1 == second.1, init == Init::SameInit, "{init:?}: heads are drawn");
    }
    let goes_on = |init| {
        let mut learner = of_script(&Recipe { init, ..recipe(Trained::All) });
        learner.fit(FitTask::plain(Round(0), &labelled(0..40)), &Silent).unwrap();
        let first = learner.model().unwrap();
        let mut next = of_script(&still(init));
        next.restore(&first, &TrainOverrides::default()).unwrap();
        next.fit(FitTask::plain(Round(1), &labelled(0..40)), &Silent).unwrap();
        (body(&first), body(&next.model().unwrap()))
    };
    for init in [Init::Warm, Init::HeadOnly] {
        let (first, second) = goes_on(init);
        assert!(first.0 == second.0 && first.0 != of_file, "{init:?}");
        assert_eq!(first.1 == second.1, init == Init::Warm, "{init:?}");
    }
}

#[test]
fn gradients_through_a_script_are_those_of_single_passes() {
    let architecture = {
        let shape = ImageShape { channels: 3, height: 8, width: 8 };
        crate::model::Architecture::brought(&ModelConfig::of(ModelName::Torchscript), tiny(), shape, 4).unwrap()
    };
    querist_torchx::random::seed(4).unwrap();
    let model = architecture.build(Device::Cpu).unwrap();
    let images = Tensor::rand([3, 3, 8, 8], (Kind::Float, Device::Cpu));
    let targets = Tensor::rand([3, 4], (Kind::Float, Device::Cpu)).softmax(1, Kind::Float);
    let found = crate::parameters::values(&crate::gradient::norms(&model, &images, &targets).unwrap()).unwrap();
    for (at, found) in found.into_iter().enumerate() {
        let (image, target) = (images.narrow(0, at as i64, 1), targets.narrow(0, at as i64, 1));
        let loss =
            -(model.forward(&image, crate::layer::Mode::Eval, false).unwrap().logits.log_softmax(1, Kind::Float)
                * target)
                .sum(Kind::Float);
        loss.backward();
        let square = |weight: &Tensor| match weight.grad() {
            grad if grad.defined() => grad.square().sum(Kind::Double).double_value(&[]),
            _ => 0.0,
        };
        let expected = model.parameters().weights().iter().map(square).sum::<f64>().sqrt();
        for weight in model.parameters().weights() {
            weight.shallow_clone().zero_grad();
        }
        assert!(expected > 1e-3 && (f64::from(found) / expected - 1.0).abs() < 1e-4, "{at}: {found} {expected}");
    }
}

/// As in training, but that the running statistics stay, while a pass before it waits to be differentiated.
#[test]
fn a_pass_that_leaves_statistics_alone_does() {
    let mut parameters = Parameters::new(Device::Cpu);
    let body = tiny().body(&mut parameters, Device::Cpu).unwrap();
    let mean = parameters.named().find(|(name, _)| name.ends_with("running_mean")).unwrap().1.shallow_clone();
    let images = Tensor::rand([6, 3, 8, 8], (Kind::Float, Device::Cpu));
    let pass = |mode| body.embed(&images, &mut crate::layer::Pass::new(mode)).unwrap();
    let before = mean.copy();
    querist_torchx::random::seed(1).unwrap();
    let still = pass(crate::layer::Mode::TrainStill);
    assert!(mean.equal(&before));
    let eval = pass(crate::layer::Mode::Eval);
    assert!(!still.allclose(&eval, 1e-3, 1e-3, false), "statistics of the minibatch");
    querist_torchx::random::seed(1).unwrap();
    let moved = pass(crate::layer::Mode::Train);
    assert!(moved.equal(&still) && !mean.equal(&before));
    still.sum(Kind::Float).backward();
}

#[test]
fn what_a_script_cannot_do_is_refused() {
    for (name, sidecar, parts) in [
        ("tiny.pt", called("features"), &["`features`", "embedding", "logits"][..]),
        ("tiny.pt", sidecar(OutputName::Place(0)), &["dictionary"]),
        ("pair.pt", called("embedding"), &["a tuple of 2"]),
        ("pair.pt", sidecar(OutputName::Place(2)), &["a tuple of 2"]),
        ("four.pt", sidecar(OutputName::Place(0)), &["does not take 2 images", "first dimension of any size"]),
        ("maps.pt", sidecar(OutputName::Place(0)), &["shape [2, 2, 6, 6]", "[2, width]"]),
        ("minibatch.pt", sidecar(OutputName::Place(0)), &["with the images beside it"]),
        ("double.pt", sidecar(OutputName::Place(0)), &["Double", "single precision"]),
        ("tiny.pt", Sidecar { batch: Some(4), ..called("embedding") }, &["`batch`", "ONNX"]),
        ("tiny.pt", Sidecar { mean: vec![0.5], ..called("embedding") }, &["mean has 1 values"]),
        ("tiny.onnx", called("embedding"), &["no TorchScript file", "export_torchscript.py"]),
    ] {
        let error = script(name, &sidecar).err().unwrap_or_default();
        for part in parts {
            assert!(error.contains(part), "{name}: `{part}` is not in: {error}");
        }
    }
    let whole = data("tiny.pt");
    let cut = Backbone::torchscript(whole[..whole.len() / 2].to_vec(), &called("embedding")).err().unwrap().to_string();
    assert!(cut.contains("no TorchScript file"), "{cut}");
    let grey = Sidecar { channels: 1, mean: vec![0.5], std: vec![0.5], ..called("embedding") };
    let error = script("tiny.pt", &grey).err().unwrap();
    assert!(error.contains("does not take 2 images of 1 channels and 8x8 pixels"), "{error}");

    let model = ModelConfig::of(ModelName::Torchscript);
    let refused = |recipe: &Recipe, backbone: Backbone| learner(&colours(8), &model, recipe, backbone).err().unwrap();
    let frozen = script("frozen.pt", &sidecar(OutputName::Place(0))).unwrap();
    let error = refused(&recipe(Trained::All), frozen.clone());
    assert!(error.contains("torch.jit.freeze") && error.contains("\"head\""), "{error}");
    assert!(learner(&colours(8), &model, &recipe(Trained::Head), frozen).is_ok());
    let error = refused(&Recipe { average: Averaging::Swa(0.5), ..recipe(Trained::All) }, tiny());
    assert!(error.contains("use `ema`"), "{error}");
    let weights = Some(querist_core::config::WeightsConfig::File("a.safetensors".to_owned()));
    let both = ModelConfig { weights, ..model.clone() };
    let error = learner(&colours(8), &both, &recipe(Trained::All), tiny()).err().unwrap();
    assert!(error.contains("leave `model.weights` out"), "{error}");
    let stem = ModelConfig { stem: Some(querist_core::config::Stem::Cifar), ..model.clone() };
    assert!(learner(&colours(8), &stem, &recipe(Trained::All), tiny()).err().unwrap().contains("model.stem"));
}

#[test]
fn images_and_network_must_fit() {
    let model = ModelConfig::of(ModelName::Torchscript);
    let refused = |dataset: &Dataset| learner(dataset, &model, &recipe(Trained::All), tiny()).err().unwrap_or_default();
    let mut tall = pictures(8, 3);
    (tall.height, tall.width) = (16, 4);
    let error = refused(&dataset_of(tall));
    assert!(error.contains("8x8") && error.contains("16x4") && error.contains("dataset.size = 8"), "{error}");
    // Grey images are seen in three equal channels.
    assert_eq!(refused(&dataset_of(pictures(8, 1))), "");
    let whole = colours(8);
    let published = Dataset::new(DatasetParts {
        name: "p".to_owned(),
        images: whole.images().clone(),
        labels: (0..8).map(|at| at % 2).collect(),
        official_validation: 0,
        official_test: 0,
        class_names: vec!["a".to_owned(), "b".to_owned()],
        normalisation: Some(Normalisation { mean: vec![0.5; 3], std: vec![0.5; 3] }),
        files: Vec::new(),
    });
    let error = refused(&published.unwrap());
    assert!(error.contains("dataset.normalise = \"none\""), "{error}");
    let plain = Settings {
        model: &model,
        recipe: &recipe(Trained::All),
        seeds: Seeds::new(1),
        device: "cpu",
        precision: Precision::Float32,
        threads: 1,
    };
    let error = TorchLearner::new(&whole, &ids(0..8), &plain).err().unwrap().to_string();
    assert!(error.contains("needs `model.file`"), "{error}");
}
