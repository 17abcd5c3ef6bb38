//! A learner on several devices beside one on one: here all are the CPU, which may be named more than once.

mod common;

use common::{bars, ids, labelled, quick, settings};
use querist_core::config::{Augmentation, ModelConfig, ModelName, Recipe, Trained};
use querist_core::progress::Silent;
use querist_core::{Dataset, FeatureTask, FitTask, LearnError, Learner, Round};
use querist_learn::{BLOCK, TorchLearner};
use querist_protocol::Need;

fn learner(dataset: &Dataset, model: &ModelConfig, recipe: &Recipe, others: usize) -> TorchLearner {
    let settings = settings(model, recipe);
    let devices = vec![settings.device.to_owned(); others];
    TorchLearner::new(dataset, &ids(0..dataset.len() as u64), &settings).unwrap().with_devices(&devices).unwrap()
}

fn is_cpu() -> bool {
    querist_torch_testkit::device() == "cpu"
}

/// Losses of the epochs, logits of samples, and arrays, of a training of 37 samples in minibatches of 8.
type Seen = (Vec<f64>, Vec<f32>, Vec<Vec<f32>>);

fn seen(mut learner: TorchLearner, needs: &[&str]) -> Seen {
    let epochs = learner.fit(FitTask::plain(Round(0), &labelled(0..37)), &Silent).unwrap().epochs;
    let needs: Vec<Need> = needs.iter().map(|need| need.parse().unwrap()).collect();
    // More blocks than devices, and a short one at the end.
    let pool = ids(0..2 * BLOCK as u64 + 77);
    let task = FeatureTask { needs: &needs, pool: &pool, ..FeatureTask::default() };
    let arrays = learner.features(task, &Silent).unwrap();
    let arrays = needs.iter().map(|need| arrays[need.name()].as_f32().unwrap().to_vec()).collect();
    (epochs.iter().map(|epoch| epoch.loss).collect(), learner.logits(&pool, &Silent).unwrap(), arrays)
}

fn close(left: &[f32], right: &[f32], most: f32, what: &str) {
    assert_eq!(left.len(), right.len(), "{what}");
    let off = left.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(off <= most, "{what} is off by {off}");
}

/// 37 samples in minibatches of 8 end with one of 5. Everything random is drawn once for a minibatch, whatever takes
/// part of it.
#[test]
fn a_run_is_that_of_one_device() {
    if !is_cpu() {
        return;
    }
    let dataset = bars(2 * BLOCK + 200, 16, 3);
    let augment = vec![Augmentation::Crop, Augmentation::Flip, Augmentation::Cutout(4), Augmentation::Mixup(0.4)];
    let recipe = Recipe { minibatch: 8, epochs: 3, augment, label_smoothing: 0.1, ..quick() };
    let needs = ["logits", "embeddings", "grad_norm(scheme=entropy, norm=global)", "grad_embeddings"];
    for name in [ModelName::Cnn, ModelName::Mlp] {
        let model = ModelConfig::of(name);
        let one = seen(learner(&dataset, &model, &recipe, 0), &needs);
        for others in [1, 2] {
            let several = seen(learner(&dataset, &model, &recipe, others), &needs);
            for (one, several) in one.0.iter().zip(&several.0) {
                assert!((one - several).abs() < 1e-5, "{name:?}: a loss of {several}, expected {one}");
            }
            close(&one.1, &several.1, 1e-4, "a logit");
            for (at, need) in needs.iter().enumerate() {
                close(&one.2[at], &several.2[at], 1e-4, need);
            }
        }
    }
}

/// With dropout and batch-norm runs differ from those of one device, and each is what it is again.
#[test]
fn a_run_on_several_devices_repeats_itself() {
    if !is_cpu() {
        return;
    }
    let dataset = bars(2 * BLOCK + 200, 16, 3);
    let model = ModelConfig { dropout: Some(0.25), ..ModelConfig::of(ModelName::Resnet18By16) };
    let recipe = Recipe { minibatch: 8, epochs: 2, ..quick() };
    let run = |others| seen(learner(&dataset, &model, &recipe, others), &["mc_log_probs(T=3)"]);
    let (one, two, again) = (run(0), run(1), run(1));
    assert_eq!(two, again);
    assert_ne!(one.0, two.0);
}

/// A head on a body that stays is trained where the embeddings are.
#[test]
fn a_head_is_trained_on_the_first() {
    if !is_cpu() {
        return;
    }
    let dataset = bars(2 * BLOCK + 200, 16, 3);
    let model = ModelConfig::of(ModelName::Cnn);
    let recipe = Recipe { minibatch: 8, epochs: 3, train: Trained::Head, ..quick() };
    assert_eq!(seen(learner(&dataset, &model, &recipe, 0), &[]), seen(learner(&dataset, &model, &recipe, 1), &[]));
}

#[test]
fn devices_are_checked_and_named() {
    if !is_cpu() {
        return;
    }
    let (dataset, model, recipe) = (bars(20, 8, 1), ModelConfig::of(ModelName::Cnn), quick());
    let of = |others: &[&str]| {
        let others: Vec<String> = others.iter().map(|&name| name.to_owned()).collect();
        TorchLearner::new(&dataset, &ids(0..20), &settings(&model, &recipe)).unwrap().with_devices(&others)
    };
    assert!(of(&["cpu", "cpu"]).unwrap().backend().contains(" cpu cpu cpu, "));
    for (others, said) in [(&["cuda:9"][..], "cuda:9"), (&["tpu"], "`tpu`")] {
        match of(others) {
            Err(LearnError::Config(message)) => {
                assert!(message.contains("compute.device") && message.contains(said), "{message}");
            }
            _ => panic!("expected an error that says {said}"),
        }
    }
}
