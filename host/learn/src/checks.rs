//! Whether settings can be trained with.

use querist_core::LearnError;
use querist_core::config::{
    Adversarial, Averaging, EnsembleConfig, Init, ModelConfig, ModelName, Optimiser, Precision, Recipe, Trained,
};

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
    file(recipe, architecture, model)?;
    let has_no_body = model.name == ModelName::Head;
    if recipe.init == Init::Pretrained && model.weights.is_none() && !model.name.is_in_file() && !has_no_body {
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

/// Settings that a network from a file cannot have, and those that only such networks have.
fn file(recipe: &Recipe, architecture: &Architecture, model: &ModelConfig) -> Result<(), LearnError> {
    let name = architecture.label();
    let Some(backbone) = architecture.backbone() else {
        return match (&model.file, &model.sidecar) {
            (None, None) => Ok(()),
            _ => config(format!(
                "model.file and model.sidecar are for model.name = onnx or torchscript, not for {name}; for weights of \
                 {name} there is `model.weights`"
            )),
        };
    };
    if model.weights.is_some() {
        return config(format!("model.name = {name} has its weights in model.file; leave `model.weights` out"));
    }
    if !backbone.is_differentiable() && recipe.train != Trained::Head {
        return config(format!(
            "model.name = {name} is not trained: set recipe.train = \"head\", which trains a head on its embeddings, \
             or bring the network as TorchScript or its weights as safetensors"
        ));
    }
    if !backbone.is_differentiable() && architecture.precision() != Precision::Float32 {
        return config(format!(
            "model.name = {name} computes in the numbers of its file; leave `compute.precision` out, and export the \
             file with other numbers where you want them"
        ));
    }
    if recipe.train != Trained::Head && !backbone.is_trainable() {
        return config(format!(
            "model.name = {name}: the file has no weights that could be trained, as after `torch.jit.freeze`; export \
             it without that, or set recipe.train = \"head\""
        ));
    }
    if recipe.train != Trained::Head && matches!(recipe.average, Averaging::Swa(_)) {
        return config(format!(
            "recipe.average = {{ swa = ... }} measures statistics of batch-norm anew, which cannot be told from other \
             tensors of model.name = {name}; use `ema`"
        ));
    }
    Ok(())
}

pub(crate) fn ensemble(
    ensemble: &EnsembleConfig,
    architecture: &Architecture,
    are_rows: bool,
) -> Result<(), LearnError> {
    if are_rows && ensemble.adversarial != Adversarial::None {
        return config("ensemble.adversarial changes pictures, and the dataset has embeddings; leave it out");
    }
    if ensemble.adversarial != Adversarial::None && !architecture.is_differentiable() {
        return config(format!(
            "ensemble.adversarial needs gradients at images, which model.name = {} does not give; set it to `none`",
            architecture.label()
        ));
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
