//! Whether settings can be trained with.

use querist_core::LearnError;
use querist_core::config::{Adversarial, EnsembleConfig, Init, ModelConfig, ModelName, Optimiser, Recipe};

use crate::fault::config;
use crate::model::Architecture;
use crate::plan::contradiction;

/// Bounds of the run file's schema, kept here too: counts of steps must not overflow.
const MOST_EPOCHS: usize = 100_000;
const LARGEST_MINIBATCH: usize = 65_536;

/// What is for pictures, where there are embeddings in their place, and the other way round.
pub(crate) fn rows(are_rows: bool, recipe: &Recipe, model: &ModelConfig) -> Result<(), LearnError> {
    match (are_rows, model.name == ModelName::Head) {
        (true, true) => {}
        (false, false) => return Ok(()),
        (true, false) => {
            return config(
                "the dataset has embeddings and no pictures; set `model.name = \"head\"`, the head alone, which \
                 `model.head_hidden` and `model.normalise` shape",
            );
        }
        (false, true) => {
            return config(
                "model.name = head is for the dataset `embeddings`; for pictures name a network, and with \
                 `model.weights` and `recipe.train = \"head\"` the head alone is trained",
            );
        }
    }
    if !recipe.augment.is_empty() {
        return config("recipe.augment changes pictures, and the dataset has embeddings; set `recipe.augment = []`");
    }
    match &model.weights {
        Some(_) => config("model.weights is for a network, and model.name = head has none; leave it out"),
        None => Ok(()),
    }
}

/// Settings that would train in silence to no good, or fail only in the middle.
pub(crate) fn recipe(recipe: &Recipe, architecture: &Architecture, model: &ModelConfig) -> Result<(), LearnError> {
    let at_least_0 = |name: &str, value: f64| match value.is_finite() && value >= 0.0 {
        true => Ok(()),
        false => config(format!("recipe.{name} is {value}, expected 0 or more")),
    };
    let within = |name: &str, value: f64, most: f64| match (0.0..=most).contains(&value) {
        true => Ok(()),
        false => config(format!("recipe.{name} is {value}, expected 0 to {most}")),
    };
    at_least_0("lr", recipe.lr)?;
    at_least_0("weight_decay", recipe.weight_decay)?;
    at_least_0("gamma", recipe.gamma)?;
    at_least_0("clamp_gradient", recipe.clamp_gradient.unwrap_or(0.0))?;
    at_least_0("clip_norm", recipe.clip_norm.unwrap_or(0.0))?;
    at_least_0("head_lr", recipe.head_lr.unwrap_or(0.0))?;
    within("peak", recipe.peak, 1.0)?;
    within("label_smoothing", recipe.label_smoothing, 0.99)?;
    if recipe.step_epochs == 0 {
        return config("recipe.step_epochs is 0, expected 1 or more");
    }
    contradiction(recipe).or_else(config)?;
    if recipe.init == Init::Pretrained && model.weights.is_none() && model.name != ModelName::Head {
        return config(
            "recipe.init is `pretrained`, but model.weights names no file of weights; name one, or choose `reinit`",
        );
    }
    if !(0.0..1.0).contains(&recipe.momentum) {
        return config(format!("recipe.momentum is {}, expected 0 or more and below 1", recipe.momentum));
    }
    if recipe.optimiser == Optimiser::Sgd && recipe.nesterov && recipe.momentum == 0.0 {
        return config("recipe.nesterov needs recipe.momentum above 0");
    }
    if !(1..=MOST_EPOCHS).contains(&recipe.epochs) {
        return config(format!("recipe.epochs is {}, expected 1 to {MOST_EPOCHS}", recipe.epochs));
    }
    if recipe.warmup > recipe.epochs {
        return config(format!("recipe.warmup is {}, more than recipe.epochs = {}", recipe.warmup, recipe.epochs));
    }
    let smallest = architecture.smallest_minibatch();
    if !(smallest..=LARGEST_MINIBATCH).contains(&recipe.minibatch) {
        let (found, name) = (recipe.minibatch, architecture.label());
        return config(format!(
            "recipe.minibatch is {found}, but model.name = {name} takes {smallest} to {LARGEST_MINIBATCH}"
        ));
    }
    Ok(())
}

pub(crate) fn ensemble(ensemble: &EnsembleConfig, are_rows: bool) -> Result<(), LearnError> {
    if are_rows && ensemble.adversarial != Adversarial::None {
        return config("ensemble.adversarial changes pictures, and the dataset has embeddings; leave it out");
    }
    let EnsembleConfig { fgsm_eps, vat_eps, vat_xi, vat_iters, .. } = *ensemble;
    for (name, value, least, most) in [
        ("fgsm_eps", fgsm_eps, 0.0, 1.0),
        ("vat_eps", vat_eps, 0.0, 1000.0),
        ("vat_xi", vat_xi, 1e-9, 10.0),
        ("vat_iters", f64::from(vat_iters), 1.0, 100.0),
    ] {
        if !(least..=most).contains(&value) {
            return config(format!("ensemble.{name} is {value}, expected {least} to {most}"));
        }
    }
    Ok(())
}
