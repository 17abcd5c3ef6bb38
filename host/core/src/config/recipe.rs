//! How the model is trained.

use std::sync::LazyLock;

use querist_protocol::layers::{Layer, PRESET, write_layers};
use schemars::{JsonSchema, Schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::schema;

/// Optimisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Optimiser {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with betas 0.9 and 0.999.
    Adam,
}

/// How the learning rate changes after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The rate stays as it is.
    Constant,
    /// Times `gamma` at each of `milestones`.
    MultiStep,
    /// Half a cosine down to 0 at the last step.
    Cosine,
}

/// Random changes of training images, drawn anew in every epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Augmentation {
    /// Pad by an eighth of the side (4 of 32) with zeros and cut out the original size anywhere.
    Crop,
    /// Mirror left and right with probability 1/2.
    Flip,
}

/// How the model is trained. What is left out comes from the preset, then from the default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(transform = with_layers)]
pub struct Recipe {
    /// Optimiser.
    pub optimiser: Optimiser,
    /// Learning rate. A preset's rate counts only with the preset's optimiser.
    #[schemars(range(min = 1e-8, max = 100.0))]
    pub lr: f64,
    /// Momentum of SGD.
    #[schemars(range(min = 0.0, max = 0.9999))]
    pub momentum: f64,
    /// Nesterov momentum.
    pub nesterov: bool,
    /// L2 penalty on every parameter.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub weight_decay: f64,
    /// Schedule of the learning rate.
    pub schedule: Schedule,
    /// Epochs at whose start `multi-step` lowers the rate.
    #[schemars(length(max = 100))]
    pub milestones: Vec<usize>,
    /// Factor of `multi-step`.
    #[schemars(range(min = 1e-6, max = 1.0))]
    pub gamma: f64,
    /// Epochs over which the rate rises linearly from 0.
    pub warmup: usize,
    /// Passes over the labelled set.
    #[schemars(range(min = 1, max = 100000))]
    pub epochs: usize,
    /// Samples in a minibatch. The last, short one is used too.
    #[schemars(range(min = 1, max = 65536))]
    pub minibatch: usize,
    /// Random changes of training images.
    #[schemars(length(max = 2))]
    pub augment: Vec<Augmentation>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            optimiser: Optimiser::Sgd,
            lr: 0.05,
            momentum: 0.9,
            nesterov: false,
            weight_decay: 5e-4,
            schedule: Schedule::Constant,
            milestones: Vec::new(),
            gamma: 0.1,
            warmup: 0,
            epochs: 30,
            minibatch: 64,
            augment: Vec::new(),
        }
    }
}

/// The recipes of published systems, and what depends on the optimiser.
fn layers() -> Vec<Layer<Recipe>> {
    let rate = |preset, optimiser: Optimiser, set| Layer::when(PRESET, preset, set).and("optimiser", optimiser);
    vec![
        Layer::preset(
            "al-baselines",
            "euphoria0-0/Active-Learning-for-Image-Classification: SGD 0.1, momentum 0.9, weight decay 5e-4, 200 \
             epochs of minibatches of 128, a tenth of the rate from epoch 160, crops and flips.",
            |recipe: &mut Recipe| in_steps(recipe, 200, 128, &[160]),
        )
        .once_called(PRESET, "s0"),
        Layer::preset(
            "cure-lab",
            "cure-lab/deep-active-learning: as `al-baselines`, 100 epochs, a tenth of the rate from epochs 80 and 120.",
            |recipe: &mut Recipe| in_steps(recipe, 100, 128, &[80, 120]),
        )
        .once_called(PRESET, "s1"),
        Layer::preset(
            "ift780",
            "sgiardl/ActiveLearning: Adam 1e-4, weight decay 0, 50 epochs of minibatches of 50, a constant rate, no \
             augmentation.",
            |recipe: &mut Recipe| {
                recipe.optimiser = Optimiser::Adam;
                (recipe.weight_decay, recipe.epochs, recipe.minibatch) = (0.0, 50, 50);
            },
        )
        .once_called(PRESET, "s3"),
        Layer::preset(
            "uwe",
            "He-Yinan/UWE: SGD 0.02 with Nesterov momentum 0.9, weight decay 5e-4, 100 epochs of minibatches of 256, \
             half the rate from epochs 60 and 80, crops and flips.",
            |recipe: &mut Recipe| {
                in_steps(recipe, 100, 256, &[60, 80]);
                (recipe.nesterov, recipe.gamma) = (true, 0.5);
            },
        )
        .once_called(PRESET, "s4"),
        // A preset's rate belongs to its optimiser.
        rate("al-baselines", Optimiser::Sgd, |recipe: &mut Recipe| recipe.lr = 0.1),
        rate("cure-lab", Optimiser::Sgd, |recipe| recipe.lr = 0.1),
        rate("ift780", Optimiser::Adam, |recipe| recipe.lr = 1e-4),
        rate("uwe", Optimiser::Sgd, |recipe| recipe.lr = 0.02),
        Layer::when("optimiser", Optimiser::Adam, |recipe| recipe.lr = 1e-3),
    ]
}

fn in_steps(recipe: &mut Recipe, epochs: usize, minibatch: usize, milestones: &[usize]) {
    (recipe.epochs, recipe.minibatch) = (epochs, minibatch);
    recipe.schedule = Schedule::MultiStep;
    recipe.milestones = milestones.to_vec();
    recipe.augment = vec![Augmentation::Crop, Augmentation::Flip];
}

fn with_layers(schema: &mut Schema) {
    let mut value = std::mem::take(schema).to_value();
    write_layers(&mut value, &layers());
    *schema = Schema::try_from(value).unwrap_or_default();
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

    use crate::config::Experiment;

    use super::*;

    fn read(recipe: Value) -> Recipe {
        let budget = json!({"initial": 1, "batch": 1, "rounds": 1});
        let file = json!({"version": 1, "dataset": {"name": "digits"}, "budget": budget, "recipe": recipe});
        serde_json::from_value::<Experiment>(file).unwrap().recipe
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
}
