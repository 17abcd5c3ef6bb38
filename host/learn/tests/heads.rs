//! Heads of one layer and of two: their arrays, files and refusals.

mod common;

use common::*;
use querist_core::config::{ModelConfig, ModelName};
use querist_core::progress::Silent;
use querist_core::{Array, FeatureTask, FitTask, Learner, Round};
use querist_learn::TorchLearner;
use querist_protocol::Need;
use safetensors::SafeTensors;

const HIDDEN: usize = 9;
const NAMES: [ModelName; 4] = [ModelName::Cnn, ModelName::Lenet, ModelName::Mlp, ModelName::Resnet18];

fn with_hidden(name: ModelName, units: usize) -> ModelConfig {
    ModelConfig { head_hidden: Some(units as u32), ..model(name) }
}

fn fitted(model: &ModelConfig) -> TorchLearner {
    let dataset = bars(40, 16, 1);
    let mut learner = TorchLearner::new(&dataset, &ids(0..40), &settings(model, &quick())).unwrap();
    learner.fit(FitTask::plain(Round(0), &labelled(0..20)), &Silent).unwrap();
    learner
}

fn arrays(learner: &mut TorchLearner, needs: &[&str]) -> impl Fn(&str) -> Array + use<> {
    let needs: Vec<Need> = needs.iter().map(|need| need.parse().unwrap()).collect();
    learner.check_needs(&needs).unwrap();
    let task = FeatureTask { needs: &needs, pool: &ids(20..40), labelled: &ids(0..20), target: &[] };
    let arrays = learner.features(task, &Silent).unwrap();
    move |name| arrays[name].clone()
}

fn floats(array: &Array) -> Vec<f64> {
    array.as_f32().unwrap().iter().map(|&value| f64::from(value)).collect()
}

/// A linear layer read from a model file.
struct Layer {
    weight: Vec<f64>,
    bias: Vec<f64>,
}

impl Layer {
    fn read(file: &SafeTensors<'_>, name: &str) -> Self {
        let tensor = |part: &str| {
            let bytes = file.tensor(&format!("{name}.{part}")).unwrap().data().to_vec();
            bytes.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
        };
        Self { weight: tensor("weight"), bias: tensor("bias") }
    }

    fn of(&self, x: &[f64]) -> Vec<f64> {
        let row = |(w, b): (&[f64], &f64)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b;
        self.weight.chunks(x.len()).zip(&self.bias).map(row).collect()
    }
}

#[track_caller]
fn close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{what}: {a} {b}");
    }
}

#[test]
fn a_hidden_layer_lies_between_embedding_and_logits() {
    for name in NAMES {
        let mut learner = fitted(&with_hidden(name, HIDDEN));
        let needs = ["logits", "embeddings", "penultimate", "grad_embeddings", "labelled.penultimate"];
        let array = arrays(&mut learner, &needs);
        let bytes = learner.model().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let (hidden, last) = (Layer::read(&file, "head.hidden"), Layer::read(&file, "head.last"));
        assert!(file.tensor("head.weight").is_err());
        let width = array("embeddings").shape()[1];
        assert_eq!(array("penultimate").shape(), [20, HIDDEN]);
        assert_eq!(array("labelled.penultimate").shape(), [20, HIDDEN]);
        let relu = |x: Vec<f64>| x.into_iter().map(|x| x.max(0.0)).collect::<Vec<_>>();
        let logits_of = |z: &[f64]| last.of(&relu(hidden.of(z)));
        let (embeddings, penultimate) = (floats(&array("embeddings")), floats(&array("penultimate")));
        let (logits, gradients) = (floats(&array("logits")), floats(&array("grad_embeddings")));
        for (row, z) in embeddings.chunks(width).enumerate() {
            let label = format!("{name:?} row {row}");
            close(&penultimate[row * HIDDEN..][..HIDDEN], &relu(hidden.of(z)), &label);
            close(&logits[row * 2..][..2], &logits_of(z), &label);
            // The loss of the predicted class, along the gradient and across.
            let own = usize::from(logits[row * 2 + 1] > logits[row * 2]);
            let loss = |z: &[f64]| {
                let l = logits_of(z);
                (l[1 - own] - l[own]).exp().ln_1p()
            };
            let gradient = &gradients[row * width..][..width];
            for d in (0..width).step_by(width / 5) {
                let moved = |by: f64| {
                    loss(&z.iter().enumerate().map(|(at, z)| if at == d { z + by } else { *z }).collect::<Vec<_>>())
                };
                let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
                assert!((slope - gradient[d]).abs() < 1e-4 * (1.0 + slope.abs()), "{label}: {slope} {}", gradient[d]);
            }
        }
    }
}

/// Asked about embeddings, the head says what the arrays say of their samples; it keeps saying it while the learner
/// goes on.
#[test]
fn a_head_that_is_asked_agrees_with_the_arrays() {
    for model in [model(ModelName::Mlp), with_hidden(ModelName::Lenet, HIDDEN)] {
        let mut learner = fitted(&model);
        let array = arrays(&mut learner, &["logits", "embeddings", "grad_embeddings", "head"]);
        let head = learner.head().unwrap();
        let embeddings = array("embeddings");
        let width = embeddings.shape()[1];
        assert_eq!((head.width(), head.classes()), (width, 2));
        let embeddings = embeddings.as_f32().unwrap().to_vec();
        let (mut logits, mut gradients) = (vec![0.0; 40], vec![0.0; embeddings.len()]);
        head.logits(&embeddings, &mut logits).unwrap();
        assert_eq!(logits, array("logits").as_f32().unwrap()[..]);
        let predicted: Vec<u32> = logits.chunks(2).map(|row| u32::from(row[1] > row[0])).collect();
        head.gradients(&embeddings, &predicted, &mut gradients).unwrap();
        assert_eq!(gradients, array("grad_embeddings").as_f32().unwrap()[..]);
        // With two classes the other one's gradient goes the other way, by the odds.
        let (other, mut turned) = (predicted.iter().map(|class| 1 - class).collect::<Vec<_>>(), gradients.clone());
        head.gradients(&embeddings, &other, &mut turned).unwrap();
        for (row, logits) in logits.chunks(2).enumerate() {
            let odds = f64::from((logits[0] - logits[1]).abs()).exp();
            let (a, b) = (&gradients[row * width..][..width], &turned[row * width..][..width]);
            for (a, b) in a.iter().zip(b) {
                assert!((f64::from(*a) * odds + f64::from(*b)).abs() < 1e-4 * (1.0 + f64::from(b.abs())), "{a} {b}");
            }
        }
        assert!(learner.model().unwrap() == fitted(&model).model().unwrap(), "asking leaves the weights as they are");
        // The next training makes weights of its own.
        learner.fit(FitTask::plain(Round(1), &labelled(0..10)), &Silent).unwrap();
        let mut again = vec![0.0; 40];
        head.logits(&embeddings, &mut again).unwrap();
        assert_eq!(again, logits);
    }
}

#[test]
fn what_a_linear_head_has_is_refused_with_the_option_that_takes_it_away() {
    let model = with_hidden(ModelName::Cnn, HIDDEN);
    let learner = TorchLearner::new(&bars(10, 8, 1), &ids(0..10), &settings(&model, &quick())).unwrap();
    for need in ["head.w", "head.b"] {
        let error = learner.check_needs(&[need.parse().unwrap()]).unwrap_err().to_string();
        assert!(error.contains(need) && error.contains("model.head_hidden = 9"), "{error}");
        assert!(error.contains("leave `model.head_hidden` out"), "{error}");
    }
    for units in [0, 65_537] {
        let model = with_hidden(ModelName::Cnn, units);
        let settings = quick();
        let refused = TorchLearner::new(&bars(10, 8, 1), &ids(0..10), &common::settings(&model, &settings));
        let error = refused.err().unwrap().to_string();
        assert!(error.contains(&format!("model.head_hidden is {units}")) && error.contains("1 to 65536"), "{error}");
    }
}

#[test]
fn a_linear_head_has_the_embeddings_as_its_last_inputs() {
    let array = arrays(&mut fitted(&model(ModelName::Lenet)), &["embeddings", "penultimate", "labelled.penultimate"]);
    assert_eq!(floats(&array("embeddings")), floats(&array("penultimate")));
    assert_eq!(array("labelled.penultimate").shape(), [20, 50]);
}

/// The body of a model file does for every head.
#[test]
fn bodies_and_whole_models_are_read_back() {
    let model = with_hidden(ModelName::Lenet, HIDDEN);
    let mut trained = fitted(&model);
    let file = trained.model().unwrap();
    let embeddings = floats(&arrays(&mut trained, &["embeddings"])("embeddings"));
    let plain = fitted(&common::model(ModelName::Mlp));
    let (rows, width) =
        plain.frozen_embeddings(&common::model(ModelName::Lenet), &file, &ids(20..40), &Silent).unwrap();
    assert_eq!(width, 50);
    assert_eq!(rows.into_iter().map(f64::from).collect::<Vec<_>>(), embeddings);

    let mut other = fitted(&model);
    let logits = trained.logits(&ids(0..40), &Silent).unwrap();
    other.fit(FitTask::plain(Round(1), &labelled(0..10)), &Silent).unwrap();
    assert_ne!(other.logits(&ids(0..40), &Silent).unwrap(), logits);
    other.restore(&file, &Default::default()).unwrap();
    assert_eq!(other.logits(&ids(0..40), &Silent).unwrap(), logits);
    // A model with another head is no such model.
    let mut linear = fitted(&common::model(ModelName::Lenet));
    assert!(linear.restore(&file, &Default::default()).is_err());
}
