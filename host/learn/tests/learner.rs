//! The learner as the loop uses it, on images made here.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};

use common::{bars, ids, labelled, learner, model, quick, seeds, settings};
use querist_core::config::{Augmentation, ModelConfig, ModelName, Optimiser, Recipe};
use querist_core::progress::{Cancelled, Phase, Progress, Silent};
use querist_core::{FeatureTask, FitTask, Label, LearnError, Learner, Round, SampleId, Seeds};
use querist_learn::{BLOCK, Settings, TorchLearner};
use querist_protocol::Need;
use querist_torch_testkit::{at_least, at_most, device};
use querist_torchx::runtime::{self, Cuda};
use safetensors::SafeTensors;

fn config_error<T>(result: Result<T, LearnError>, parts: &[&str]) {
    match result {
        Err(LearnError::Config(message)) => {
            for part in parts {
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
        }
        Err(other) => panic!("expected a configuration error, got: {other}"),
        Ok(_) => panic!("expected an error that says {parts:?}"),
    }
}

#[test]
fn every_model_learns_bars() {
    let dataset = bars(900, 16, 1);
    for (name, samples, recipe) in [
        (ModelName::Cnn, 300, Recipe { epochs: 15, minibatch: 32, ..quick() }),
        (ModelName::Mlp, 600, Recipe { epochs: 40, minibatch: 32, ..quick() }),
        (ModelName::Lenet, 300, Recipe { optimiser: Optimiser::Adam, lr: 2e-3, epochs: 25, ..quick() }),
        // Larger steps, or of fewer images, throw it off at some seeds.
        (ModelName::Resnet18, 200, Recipe { lr: 0.005, epochs: 4, minibatch: 16, ..quick() }),
    ] {
        let mut learner = learner(&dataset, name, &recipe);
        let epochs = learner.fit(FitTask::plain(Round(0), &labelled(0..samples)), &Silent).unwrap().epochs;
        assert_eq!(epochs.len(), recipe.epochs);
        at_most(&format!("{name:?}, loss left"), epochs.last().unwrap().loss / epochs[0].loss, 0.9);
        let logits = learner.logits(&ids(600..900), &Silent).unwrap();
        let right = logits.chunks(2).enumerate().filter(|(i, row)| (row[1] > row[0]) == (i % 2 == 1)).count();
        at_least(&format!("{name:?}, right of 300"), right as f64, 240.0);
    }
}

/// Dropout, batch-norm, crop and flip all take part.
#[test]
fn the_same_seeds_give_the_same_bits() {
    let dataset = bars(40, 16, 3);
    let recipe = Recipe { augment: vec![Augmentation::Crop, Augmentation::Flip], ..quick() };
    for name in [ModelName::Lenet, ModelName::Resnet18] {
        let run = |seeds: Seeds, round: u32| {
            let model = model(name);
            let settings = Settings { seeds, ..settings(&model, &recipe) };
            let mut learner = TorchLearner::new(&dataset, &ids(0..40), &settings).unwrap();
            let epochs = learner.fit(FitTask::plain(Round(round), &labelled(0..20)), &Silent).unwrap().epochs;
            let losses: Vec<f64> = epochs.iter().map(|epoch| epoch.loss).collect();
            (learner.model().unwrap(), learner.logits(&ids(20..40), &Silent).unwrap(), losses)
        };
        let first = run(seeds(3), 0);
        assert!(first == run(seeds(3), 0), "{name:?} does not repeat");
        // The root does not enter where the model's seed is fixed.
        let fixed = |root| Seeds { root, model: Some(3), ..Seeds::default() };
        assert!(run(fixed(8), 0) == run(fixed(9), 0));
        assert!(first.0 != run(seeds(4), 0).0, "{name:?}: the seed does not enter");
        assert!(first.0 != run(seeds(3), 1).0, "{name:?}: the round does not enter");
    }
}

/// Anything that survived the first training, batch-norm statistics above all, would show.
#[test]
fn a_second_fit_starts_afresh() {
    let dataset = bars(40, 8, 1);
    let mut used = learner(&dataset, ModelName::Resnet18, &quick());
    used.fit(FitTask::plain(Round(0), &labelled(0..40)), &Silent).unwrap();
    used.logits(&ids(0..40), &Silent).unwrap();
    used.fit(FitTask::plain(Round(1), &labelled(0..20)), &Silent).unwrap();
    let mut fresh = learner(&dataset, ModelName::Resnet18, &quick());
    fresh.fit(FitTask::plain(Round(1), &labelled(0..20)), &Silent).unwrap();
    assert!(used.model().unwrap() == fresh.model().unwrap());
}

#[test]
fn predicting_changes_nothing_and_agrees_with_itself() {
    let dataset = bars(40, 16, 1);
    // One has dropout in two places, the other batch-norm.
    for name in [ModelName::Lenet, ModelName::Resnet18] {
        let mut learner = learner(&dataset, name, &quick());
        learner.fit(FitTask::plain(Round(0), &labelled(0..20)), &Silent).unwrap();
        let before = learner.model().unwrap();
        let needs: Vec<Need> = ["logits", "embeddings", "fixed_embeddings", "labelled.logits", "labelled.embeddings"]
            .into_iter()
            .chain(["head.w", "head.b", "labelled.labels"])
            .map(|text| text.parse().unwrap())
            .collect();
        learner.check_needs(&needs).unwrap();
        let (pool, taken) = (ids(20..40), ids(0..20));
        let arrays = learner
            .features(FeatureTask { needs: &needs, pool: &pool, labelled: &taken, target: &[] }, &Silent)
            .unwrap();
        assert_eq!(arrays.len(), needs.len() - 1, "labels are the loop's to give");
        let array = |name: &str| arrays[name].as_f32().unwrap().to_vec();
        assert_eq!(learner.logits(&pool, &Silent).unwrap(), array("logits"));
        assert_eq!(learner.logits(&taken, &Silent).unwrap(), array("labelled.logits"));
        assert_eq!(array("embeddings"), array("fixed_embeddings"));
        assert!(learner.model().unwrap() == before, "{name:?}: predicting moved the weights or statistics");

        // logits = embeddings W' + b: the embedding is what the head sees, without dropout.
        let (embeddings, w, b) = (array("embeddings"), array("head.w"), array("head.b"));
        let width = arrays["embeddings"].shape()[1];
        assert_eq!(arrays["head.w"].shape(), [2, width]);
        for (row, logits) in embeddings.chunks(width).zip(array("logits").chunks(2)) {
            for class in 0..2 {
                let product = row.iter().zip(&w[class * width..]).map(|(x, w)| f64::from(*x) * f64::from(*w));
                let expected = product.sum::<f64>() + f64::from(b[class]);
                assert!((expected - f64::from(logits[class])).abs() < 1e-4 * (1.0 + expected.abs()));
            }
        }
        // A sample's outputs do not depend on what is beside it in the block.
        let backwards: Vec<SampleId> = pool.iter().rev().copied().collect();
        let turned = learner.logits(&backwards, &Silent).unwrap();
        for (a, b) in turned.chunks(2).rev().flatten().zip(array("logits")) {
            assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{a} {b}");
        }
    }
}

/// Work cut at block borders is the same work.
#[test]
fn blocks_can_be_shared_out() {
    let dataset = bars(2 * BLOCK + 100, 8, 1);
    let mut learner = learner(&dataset, ModelName::Cnn, &quick());
    learner.fit(FitTask::plain(Round(0), &labelled(0..20)), &Silent).unwrap();
    let whole = learner.logits(&ids(0..dataset.len() as u64), &Silent).unwrap();
    let mut parts = Vec::new();
    for range in [0..BLOCK as u64, BLOCK as u64..dataset.len() as u64] {
        parts.extend(learner.logits(&ids(range), &Silent).unwrap());
    }
    assert_eq!(whole, parts);
}

/// Counts reports and stops at one.
struct Stopper {
    at: u64,
    seen: AtomicU64,
}

impl Progress for Stopper {
    fn report(&self, phase: Phase, done: u64, total: u64) -> Result<(), Cancelled> {
        assert_eq!((phase, total), (Phase::Fit, 10));
        self.seen.store(done, Ordering::Relaxed);
        if done == self.at { Err(Cancelled) } else { Ok(()) }
    }
}

#[test]
fn training_reports_every_step_and_stops_within_one() {
    let dataset = bars(40, 8, 1);
    // 37 samples in minibatches of 8: the fifth holds 5. Two epochs make ten steps.
    let mut learner = learner(&dataset, ModelName::Cnn, &quick());
    let never = Stopper { at: u64::MAX, seen: AtomicU64::new(0) };
    learner.fit(FitTask::plain(Round(0), &labelled(0..37)), &never).unwrap();
    assert_eq!(never.seen.into_inner(), 10);
    for at in [0, 3, 10] {
        let stopper = Stopper { at, seen: AtomicU64::new(99) };
        let result = learner.fit(FitTask::plain(Round(0), &labelled(0..37)), &stopper);
        assert!(matches!(result, Err(LearnError::Cancelled(_))));
        assert_eq!(stopper.seen.into_inner(), at);
        // A model of an earlier fit would pass for this one's.
        config_error(learner.logits(&ids(0..1), &Silent), &["no model is fitted"]);
        config_error(learner.model(), &["no model is fitted"]);
    }
}

#[test]
fn a_lone_last_sample_is_trained_on_without_statistics_of_one() {
    // On 1x1 feature maps batch-norm of one sample would divide by a spread of 0.
    let dataset = bars(9, 8, 1);
    let mut learner = learner(&dataset, ModelName::Resnet18, &quick());
    learner.fit(FitTask::plain(Round(0), &labelled(0..9)), &Silent).unwrap();
    assert!(learner.logits(&ids(0..9), &Silent).unwrap().iter().all(|v| v.is_finite()));
    config_error(
        learner.fit(FitTask::plain(Round(0), &labelled(0..1)), &Silent),
        &["1 labelled", "resnet18", "2 or more"],
    );
}

#[test]
fn divergence_is_told_with_its_epoch() {
    let dataset = bars(40, 8, 1);
    let recipe = Recipe { lr: 100.0, epochs: 50, ..quick() };
    let result = learner(&dataset, ModelName::Cnn, &recipe).fit(FitTask::plain(Round(0), &labelled(0..40)), &Silent);
    match result {
        Err(LearnError::Diverged { epoch, loss }) => assert!(epoch < 50 && !loss.is_finite()),
        other => panic!("expected divergence, got {other:?}"),
    }
}

#[test]
fn settings_that_do_not_fit_are_refused_before_training() {
    let dataset = bars(10, 8, 1);
    let build = |model: &ModelConfig, recipe: &Recipe, change: fn(&mut Settings<'_>)| {
        let mut settings = settings(model, recipe);
        change(&mut settings);
        TorchLearner::new(&dataset, &ids(0..10), &settings)
    };
    let cnn = model(ModelName::Cnn);
    config_error(build(&cnn, &quick(), |s| s.device = "tpu"), &["compute.device", "`tpu`"]);
    config_error(build(&cnn, &quick(), |s| s.threads = 0), &["compute.threads", "0"]);
    config_error(build(&model(ModelName::Lenet), &quick(), |_| ()), &["lenet", "16x16", "8x8"]);
    let one = Recipe { minibatch: 1, ..quick() };
    config_error(build(&model(ModelName::Resnet18), &one, |_| ()), &["recipe.minibatch is 1", "takes 2 to"]);
    build(&cnn, &one, |_| ()).map(|_| ()).unwrap();
    for (recipe, part) in [
        (Recipe { epochs: usize::MAX, ..quick() }, "recipe.epochs"),
        (Recipe { minibatch: usize::MAX, ..quick() }, "recipe.minibatch"),
        (Recipe { warmup: 3, ..quick() }, "recipe.warmup is 3"),
        (Recipe { lr: f64::NAN, ..quick() }, "recipe.lr is NaN"),
    ] {
        config_error(build(&cnn, &recipe, |_| ()), &[part]);
    }
    let nesterov = Recipe { momentum: 0.0, nesterov: true, ..quick() };
    config_error(build(&cnn, &nesterov, |_| ()), &["recipe.nesterov", "recipe.momentum"]);
    let dropout = ModelConfig { dropout: Some(1.0), ..cnn.clone() };
    config_error(build(&dropout, &quick(), |_| ()), &["model.dropout"]);
    runtime::init();
    if runtime::describe().cuda == Cuda::NotInstalled {
        config_error(build(&cnn, &quick(), |s| s.device = "cuda:0"), &["cuda:0", "libtorch_cuda.so"]);
    }

    let mut learner = learner(&dataset, ModelName::Cnn, &quick());
    config_error(learner.logits(&ids(0..1), &Silent), &["no model is fitted"]);
    // Without a label there is nothing to train, and a model all the same.
    assert!(learner.fit(FitTask::plain(Round(0), &[]), &Silent).unwrap().epochs.is_empty());
    config_error(learner.fit(FitTask::plain(Round(0), &[(SampleId(0), Label(2))]), &Silent), &["label 2", "2 classes"]);
    config_error(learner.fit(FitTask::plain(Round(0), &labelled(9..11)), &Silent), &["sample 10", "10 images"]);
}

#[test]
fn the_model_file_holds_every_tensor_by_name() {
    let dataset = bars(20, 8, 1);
    let mut learner = learner(&dataset, ModelName::Resnet18, &quick());
    learner.fit(FitTask::plain(Round(0), &labelled(0..20)), &Silent).unwrap();
    let bytes = learner.model().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    // 20 convolutions, 20 batch-norms of 4 tensors, 1 head of 2.
    assert_eq!(file.len(), 20 + 20 * 4 + 2);
    assert_eq!(file.tensor("layer2.0.downsample.0.weight").unwrap().shape(), [128, 64, 1, 1]);
    let mean = file.tensor("bn1.running_mean").unwrap();
    assert!(mean.data().iter().any(|&byte| byte != 0), "training moves the running statistics");
    let head = file.tensor("head.weight").unwrap();
    let arrays =
        learner.features(FeatureTask { needs: &[Need::new("head.w")], ..FeatureTask::default() }, &Silent).unwrap();
    let expected: Vec<u8> = arrays["head.w"].as_f32().unwrap().iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(head.data(), expected);
    assert_eq!(learner.backend(), format!("libtorch 2.11.0 {}, 1 thread", device()));
    assert_eq!(learner.take_peak_memory().is_some(), device() != "cpu");
}
