//! How the model is trained.

mod augment;
mod options;
mod presets;

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use augment::{Augmentation, Jitter, RandAugment, ResizedCrop};
pub use options::{AtLeast, Averaging, EpochSamples, Evaluation, Init, Optimiser, Pass, Schedule, Stop, Trained};

use crate::schema;

/// How the model is trained. What is left out comes from the preset, then from the default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = presets::with_layers)]
pub struct Recipe {
    /// Optimiser.
    pub optimiser: Optimiser,
    /// Learning rate. A preset's rate counts only with the preset's optimiser.
    #[schemars(range(min = 1e-8, max = 100.0))]
    pub lr: f64,
    /// Learning rate of the head, which follows the same schedule; `lr` where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1e-8, max = 100.0))]
    pub head_lr: Option<f64>,
    /// Momentum of SGD.
    #[schemars(range(min = 0.0, max = 0.9999))]
    pub momentum: f64,
    /// Nesterov momentum.
    pub nesterov: bool,
    /// L2 penalty on every parameter.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight_decay: f64,
    /// Whether the penalty is on biases and on scales and shifts of normalisation layers, too.
    pub decay_norm_bias: bool,
    /// Schedule of the learning rate.
    pub schedule: Schedule,
    /// Epochs at whose start `multi-step` lowers the rate.
    #[schemars(length(max = 100))]
    pub milestones: Vec<usize>,
    /// Factor of `multi-step` and `step`.
    #[schemars(range(min = 1e-6, max = 1.0))]
    pub gamma: f64,
    /// Epochs after which `step` lowers the rate, again and again.
    #[schemars(range(min = 1, max = 100000))]
    pub step_epochs: usize,
    /// Share of all steps at which the rate of `one-cycle` is highest.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub peak: f64,
    /// Epochs over which the rate rises linearly from 0.
    pub warmup: usize,
    /// Passes over the labelled set.
    #[schemars(range(min = 1, max = 100000))]
    pub epochs: usize,
    /// What an epoch goes over: `labelled`, `longest`, a number of samples, or `{ at_least = N }` samples.
    pub epoch_length: EpochSamples,
    /// Samples in a minibatch. The last, short one is used too.
    #[schemars(range(min = 1, max = 65536))]
    pub minibatch: usize,
    /// Whether the last, short minibatch of an epoch is left out, unless it is the only one.
    pub drop_last: bool,
    /// Whether a minibatch with an odd number of samples loses its last: for losses over pairs. `minibatch` is then
    /// even.
    pub even_minibatch: bool,
    /// Bound of each element of the gradient: what is beyond becomes it. No bound where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1e-12, max = 1e6))]
    pub clamp_gradient: Option<f64>,
    /// Bound of the gradient's length over all parameters: a longer one is shortened. No bound where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1e-12, max = 1e6))]
    pub clip_norm: Option<f64>,
    /// Share of each label that is spread evenly over all classes.
    #[schemars(range(min = 0.0, max = 0.99))]
    pub label_smoothing: f64,
    /// When training ends before the last epoch: `none`, `{ train_accuracy = 0.99 }`, `{ loss_change = 5e-4 }` or
    /// `{ patience = 10 }`.
    pub stop: Stop,
    /// Which epoch's weights are the round's model.
    pub evaluate: Evaluation,
    /// Where a round's training starts.
    pub init: Init,
    /// Whether the optimiser goes on where it stood at the end of the round before, momentum and all; only with `init =
    /// "warm"`. The schedule begins anew.
    pub keep_optimiser: bool,
    /// What is trained.
    pub train: Trained,
    /// Averages of weights: `none`, `{ ema = 0.999 }` or `{ swa = 0.75 }`.
    pub average: Averaging,
    /// Random changes of training images.
    #[schemars(length(max = 8))]
    pub augment: Vec<Augmentation>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            optimiser: Optimiser::Sgd,
            lr: 0.05,
            head_lr: None,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 5e-4,
            decay_norm_bias: true,
            schedule: Schedule::Constant,
            milestones: Vec::new(),
            gamma: 0.1,
            step_epochs: 30,
            peak: 0.25,
            warmup: 0,
            epochs: 30,
            epoch_length: EpochSamples::default(),
            minibatch: 64,
            drop_last: false,
            even_minibatch: false,
            clamp_gradient: None,
            clip_norm: None,
            label_smoothing: 0.0,
            stop: Stop::None,
            evaluate: Evaluation::Last,
            init: Init::Reinit,
            keep_optimiser: false,
            train: Trained::All,
            average: Averaging::None,
            augment: Vec::new(),
        }
    }
}

impl Recipe {
    /// The key that makes labels of the validation set take part in training, if one does.
    pub fn uses_validation(&self) -> Option<&'static str> {
        match (self.stop, self.evaluate) {
            (Stop::Patience(_), _) => Some("recipe.stop = { patience = ... }"),
            (_, Evaluation::BestValidation) => Some("recipe.evaluate = \"best-validation\""),
            _ => None,
        }
    }

    /// The share of a mixture's images, where images are mixed.
    pub fn mixup(&self) -> Option<f64> {
        self.augment.iter().find_map(|augmentation| match augmentation {
            Augmentation::Mixup(alpha) => Some(*alpha),
            _ => None,
        })
    }
}

/// Reads a recipe as files write it, with presets and old names.
pub(super) fn in_layers<'de, D: Deserializer<'de>>(from: D) -> Result<Recipe, D::Error> {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| schemars::schema_for!(Recipe).to_value());
    let mut value = Value::deserialize(from)?;
    schema::fill(&SCHEMA, &mut value);
    serde_json::from_value(value).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::config::{Experiment, schemas};
    use crate::schema::Schema;

    use super::*;

    fn file(recipe: &Value) -> Value {
        let budget = json!({"initial": 1, "batch": 1, "rounds": 1});
        json!({"version": 1, "dataset": {"name": "digits"}, "budget": budget, "recipe": recipe})
    }

    fn read(recipe: Value) -> Recipe {
        serde_json::from_value::<Experiment>(file(&recipe)).unwrap().recipe
    }

    #[test]
    fn a_preset_sets_defaults_only() {
        let recipe = read(json!({"preset": "uwe", "epochs": 3}));
        assert_eq!((recipe.lr, recipe.nesterov, recipe.epochs, recipe.gamma), (0.02, true, 3, 0.5));
        assert_eq!(read(serde_json::to_value(&recipe).unwrap()), recipe);
        let other = read(json!({"preset": "uwe", "optimiser": "adam"}));
        assert_eq!((other.lr, other.epochs), (1e-3, 100), "a preset's rate belongs to its optimiser");
        assert_eq!(read(json!({})), Recipe::default());
        assert_eq!(read(json!({"preset": "ift780"})).lr, 1e-4);
    }

    #[test]
    fn old_names_of_presets_keep_working() {
        for (old, name) in [("s0", "al-baselines"), ("s1", "cure-lab"), ("s3", "ift780"), ("s4", "uwe")] {
            let (old, new) = (read(json!({"preset": old})), read(json!({"preset": name})));
            assert_eq!(old, new);
            assert_ne!(old, Recipe::default());
        }
    }

    /// As the five systems and the papers have them.
    #[test]
    fn presets_are_the_published_settings() {
        let of = |preset: &str| read(json!({ "preset": preset }));
        let cure = of("cure-lab");
        assert_eq!((cure.clamp_gradient, cure.stop), (Some(0.1), Stop::LossChange(5e-4)));
        assert_eq!((cure.lr, cure.minibatch, cure.milestones), (0.1, 256, vec![80, 120]));
        let digits = of("cure-lab-mnist");
        assert_eq!((digits.milestones, digits.augment), (vec![20, 40], vec![Augmentation::Flip]));
        let ift = of("ift780");
        assert_eq!((ift.init, ift.keep_optimiser, ift.minibatch, ift.weight_decay), (Init::Warm, true, 50, 0.0));
        let linear = of("low-budget-linear");
        assert_eq!((linear.train, linear.optimiser, linear.lr), (Trained::Head, Optimiser::Adam, 0.01));
        assert_eq!(of("low-budget-entropy").lr, 0.001);
        let tuned = of("low-budget-finetune");
        assert_eq!((tuned.lr, tuned.head_lr, tuned.init), (1e-4, Some(0.01), Init::Pretrained));
        let scratch = of("low-budget-scratch");
        assert_eq!((scratch.milestones, scratch.weight_decay, scratch.lr), (vec![30, 60, 90], 1e-4, 0.1));
        assert_eq!(of("alfa").stop, Stop::TrainAccuracy(0.99));
        assert_eq!(of("vaal").evaluate, Evaluation::BestValidation);
        assert!(of("ll4al").even_minibatch && of("realistic").schedule == Schedule::Cosine);
        assert_eq!(of("fast-cifar").schedule, Schedule::OneCycle);
    }

    #[test]
    fn choices_with_numbers_are_tables() {
        let schema = Schema::new(schemas().remove("study").unwrap()).unwrap();
        let problems = |recipe: &Value| {
            let found = schema.problems(&file(recipe));
            found.into_iter().filter(|problem| problem.pointer.starts_with("/recipe")).count()
        };
        let rich = json!({
            "stop": {"patience": 3}, "average": {"ema": 0.99}, "epoch_length": {"at_least": 500},
            "augment": ["crop", "flip", {"rotate": 15}, {"jitter": {"hue": 0.1}}, {"resized-crop": {}}],
        });
        assert_eq!(problems(&rich), 0, "{:?}", schema.problems(&file(&rich)));
        let recipe = read(rich);
        assert_eq!((recipe.stop, recipe.average), (Stop::Patience(3), Averaging::Ema(0.99)));
        assert_eq!(recipe.augment[2], Augmentation::Rotate(15.0));
        assert_eq!(recipe.epoch_length, EpochSamples::AtLeast(AtLeast { at_least: 500 }));
        assert_eq!(read(json!({"epoch_length": 700})).epoch_length, EpochSamples::Samples(700));
        assert_eq!(read(json!({"epoch_length": "longest"})).epoch_length, EpochSamples::Pass(Pass::Longest));
        // What is written of it is read the same.
        assert_eq!(read(serde_json::to_value(&recipe).unwrap()), recipe);
        let wrong = [
            json!({"stop": "soon"}),
            json!({"stop": {"patience": 0}}),
            json!({"evaluate": "best-test"}),
            json!({"augment": [{"rotate": 400}]}),
            json!({"augment": [{"jitter": {"hues": 0.1}}]}),
            json!({"epoch_length": 0}),
            json!({"label_smoothing": 1.0}),
            json!({"average": {"swa": 1}}),
        ];
        for recipe in wrong {
            assert!(problems(&recipe) > 0, "{recipe}");
        }
    }
}
