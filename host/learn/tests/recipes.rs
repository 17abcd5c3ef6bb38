//! Recipes as the learner trains by them, on images made here.

mod common;

use common::{bars, ids, labelled, learner, model, quick, settings};
use querist_core::config::{
    AtLeast, Augmentation, Averaging, EpochSamples, Evaluation, Init, Jitter, ModelName, Optimiser, RandAugment,
    Recipe, ResizedCrop, Stop, Trained,
};
use querist_core::progress::Silent;
use querist_core::{Dataset, FitTask, Fitted, Label, LearnError, Learner, Round, SampleId};
use querist_learn::TorchLearner;
use safetensors::SafeTensors;

type Tensors = Vec<(String, Vec<u8>)>;

fn tensors(file: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(file).unwrap();
    let mut all: Tensors = file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect();
    all.sort();
    all
}

/// The names of tensors that differ.
fn changed(a: &[u8], b: &[u8]) -> Vec<String> {
    let pairs = tensors(a).into_iter().zip(tensors(b));
    pairs.filter(|(a, b)| a.1 != b.1).map(|((name, _), _)| name).collect()
}

fn fit(learner: &mut TorchLearner, round: u32) -> Result<Fitted, LearnError> {
    learner.fit(FitTask::plain(Round(round), &labelled(0..20)), &Silent)
}

fn fit_with(learner: &mut TorchLearner, validation: &[(SampleId, Label)]) -> Result<Fitted, LearnError> {
    let train = labelled(0..20);
    learner.fit(FitTask { validation, ..FitTask::plain(Round(0), &train) }, &Silent)
}

fn dataset() -> Dataset {
    bars(60, 16, 3)
}

/// A rate of almost nothing: what differs from the start was not the start.
fn still(init: Init) -> Recipe {
    Recipe { lr: 1e-8, weight_decay: 0.0, epochs: 1, init, ..quick() }
}

/// Batch-norm statistics move in any training, and start afresh where the rest does.
#[test]
fn rounds_start_where_the_recipe_says() {
    let data = dataset();
    let two_rounds = |init| {
        let mut learner = learner(&data, ModelName::Resnet18, &still(init));
        let rounds = [0, 1].map(|round| {
            fit(&mut learner, round).unwrap();
            learner.model().unwrap()
        });
        let values = |file: &[u8], name: &str| -> Vec<f32> {
            let bytes = tensors(file).into_iter().find(|(other, _)| other == name).unwrap().1;
            bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
        };
        ["conv1.weight", "head.weight"].map(|name| {
            let [a, b] = rounds.each_ref().map(|file| values(file, name));
            a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4)
        })
    };
    assert_eq!(two_rounds(Init::Reinit), [false, false]);
    assert_eq!(two_rounds(Init::SameInit), [true, true]);
    assert_eq!(two_rounds(Init::Warm), [true, true]);
    assert_eq!(two_rounds(Init::HeadOnly), [true, false]);
}

#[test]
fn what_is_not_at_hand_is_no_start() {
    let data = dataset();
    for init in [Init::Warm, Init::HeadOnly] {
        let error = fit(&mut learner(&data, ModelName::Cnn, &still(init)), 2).unwrap_err().to_string();
        assert!(error.contains("round 2 starts from the model of round 1"), "{error}");
    }
    let settings_error = |recipe: &Recipe| {
        let cnn = model(ModelName::Cnn);
        TorchLearner::new(&data, &ids(0..60), &settings(&cnn, recipe)).err().unwrap().to_string()
    };
    let error = settings_error(&still(Init::Pretrained));
    assert!(error.contains("model.weights"), "{error}");
    let error = settings_error(&Recipe { keep_optimiser: true, ..quick() });
    assert!(error.contains("init = \"warm\""), "{error}");
}

/// Three rounds in one process are three rounds in three.
#[test]
fn optimisers_go_on_in_another_process() {
    let data = dataset();
    for optimiser in [Optimiser::Sgd, Optimiser::Adam] {
        let recipe = Recipe { optimiser, lr: 1e-3, init: Init::Warm, keep_optimiser: true, ..quick() };
        let mut whole = learner(&data, ModelName::Cnn, &recipe);
        let (mut model, mut state) = (Vec::new(), None);
        for round in 0..3 {
            fit(&mut whole, round).unwrap();
            let mut parted = learner(&data, ModelName::Cnn, &recipe);
            if let Some(state) = state {
                parted.restore(&model, &Default::default()).unwrap();
                parted.restore_optimiser(state);
            }
            fit(&mut parted, round).unwrap();
            (model, state) = (parted.model().unwrap(), parted.optimiser().unwrap());
            assert_eq!(changed(&model, &whole.model().unwrap()), [""; 0], "{optimiser:?}, round {round}");
        }
        let mut without = learner(&data, ModelName::Cnn, &recipe);
        without.restore(&model, &Default::default()).unwrap();
        let error = fit(&mut without, 3).unwrap_err().to_string();
        assert!(error.contains("recipe.keep_optimiser"), "{error}");
        // It is of use: Adam's means or SGD's momentum would else start from nothing.
        let fresh = Recipe { keep_optimiser: false, ..recipe };
        let mut fresh = learner(&data, ModelName::Cnn, &fresh);
        (0..3).for_each(|round| drop(fit(&mut fresh, round).unwrap()));
        assert_ne!(changed(&model, &fresh.model().unwrap()), [""; 0]);
    }
}

#[test]
fn a_head_alone_leaves_the_body() {
    let data = dataset();
    let untouched = |epochs| {
        let recipe = Recipe { train: Trained::Head, epochs, ..quick() };
        let mut learner = learner(&data, ModelName::Resnet18, &recipe);
        let fitted = fit(&mut learner, 0).unwrap();
        (learner.model().unwrap(), fitted)
    };
    let ((one, _), (many, fitted)) = (untouched(1), untouched(12));
    assert_eq!(changed(&one, &many), ["head.bias", "head.weight"]);
    assert!(fitted.epochs[11].loss < fitted.epochs[0].loss);
}

#[test]
fn trainings_end_and_epochs_count_as_told() {
    let data = dataset();
    let recipe = Recipe { epochs: 40, stop: Stop::TrainAccuracy(0.95), ..quick() };
    let epochs = fit(&mut learner(&data, ModelName::Cnn, &recipe), 0).unwrap().epochs;
    let (last, before) = epochs.split_last().unwrap();
    assert!(last.accuracy >= 0.95 && before.iter().all(|epoch| epoch.accuracy < 0.95));
    // A validation set that is looked at is counted, and its accuracy kept.
    let validation = labelled(40..60);
    for recipe in [
        Recipe { epochs: 30, stop: Stop::Patience(3), ..quick() },
        Recipe { evaluate: Evaluation::BestValidation, average: Averaging::Ema(0.9), ..quick() },
    ] {
        let mut learner = learner(&data, ModelName::Cnn, &recipe);
        let fitted = fit_with(&mut learner, &validation).unwrap();
        assert_eq!(fitted.validation_labels, 20);
        let accuracies: Vec<f64> = fitted.epochs.iter().map(|epoch| epoch.validation.unwrap()).collect();
        let best = accuracies.iter().copied().fold(0.0, f64::max);
        if recipe.evaluate == Evaluation::BestValidation {
            let logits = learner.logits(&ids(40..60), &Silent).unwrap();
            let right = logits.chunks(2).enumerate().filter(|(i, row)| (row[1] > row[0]) == (i % 2 == 1)).count();
            assert!((right as f64 / 20.0 - best).abs() < 1e-9, "{right} of 20, best {best}");
        } else if accuracies.len() < 30 {
            let first_best = accuracies.iter().position(|&accuracy| accuracy == best).unwrap();
            assert_eq!(accuracies.len(), first_best + 4);
        }
        let error = fit(&mut learner, 0).unwrap_err().to_string();
        assert!(error.contains("`dataset.validation`"), "{error}");
    }
    // One that is not looked at costs nothing.
    assert_eq!(fit_with(&mut learner(&data, ModelName::Cnn, &quick()), &validation).unwrap().validation_labels, 0);
}

/// Every new setting changes something, repeats, and trains.
#[test]
fn every_setting_takes_part_and_repeats() {
    let data = bars(60, 8, 3);
    let run = |recipe: &Recipe| {
        let mut learner = learner(&data, ModelName::Resnet18, recipe);
        fit(&mut learner, 0).unwrap();
        assert!(learner.logits(&ids(0..60), &Silent).unwrap().iter().all(|logit| logit.is_finite()));
        learner.model().unwrap()
    };
    let base = quick();
    let plain = run(&base);
    let augmented = |augmentation| Recipe { augment: vec![augmentation], ..base.clone() };
    let jitter = Jitter { brightness: 0.2, contrast: 0.2, saturation: 0.2, hue: 0.1 };
    for recipe in [
        Recipe { head_lr: Some(0.001), ..base.clone() },
        Recipe { decay_norm_bias: false, weight_decay: 0.1, ..base.clone() },
        Recipe { epoch_length: EpochSamples::Samples(50), ..base.clone() },
        Recipe { epoch_length: EpochSamples::AtLeast(AtLeast { at_least: 33 }), ..base.clone() },
        Recipe { drop_last: true, ..base.clone() },
        Recipe { clamp_gradient: Some(1e-3), ..base.clone() },
        Recipe { clip_norm: Some(1e-2), ..base.clone() },
        Recipe { label_smoothing: 0.2, ..base.clone() },
        Recipe { average: Averaging::Ema(0.9), ..base.clone() },
        Recipe { average: Averaging::Swa(0.0), ..base.clone() },
        Recipe { optimiser: Optimiser::Adamw, lr: 1e-3, ..base.clone() },
        augmented(Augmentation::Rotate(15.0)),
        augmented(Augmentation::ResizedCrop(ResizedCrop::default())),
        augmented(Augmentation::Jitter(jitter)),
        augmented(Augmentation::RandAugment(RandAugment::default())),
        augmented(Augmentation::Cutout(3)),
        augmented(Augmentation::Mixup(0.4)),
    ] {
        let once = run(&recipe);
        assert!(!changed(&once, &plain).is_empty(), "{recipe:?} changes nothing");
        assert!(changed(&once, &run(&recipe)).is_empty(), "{recipe:?} does not repeat");
    }
    let even = Recipe { even_minibatch: true, ..base };
    assert!(changed(&run(&even), &plain).is_empty(), "20 samples in minibatches of 8 are even");
}
