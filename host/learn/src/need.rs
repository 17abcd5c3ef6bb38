//! What this learner can compute for a strategy.

use std::fmt;

use querist_core::LearnError;
use querist_protocol::{Need, names};

use crate::model::{Architecture, ImageShape};

/// How a need is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Class scores of samples.
    Logits,
    /// Inputs of the head of samples.
    Embeddings,
    /// Weights of the head.
    HeadWeights,
    /// Biases of the head.
    HeadBiases,
    /// Labels, which the loop adds itself.
    Labels,
    /// A property of model or images, which needs no array.
    Condition,
}

/// How to meet `need`.
///
/// # Errors
/// [`LearnError::Need`] where this learner cannot.
pub(crate) fn resolve(need: &Need, model: &Architecture) -> Result<Feature, LearnError> {
    let (bare, _) = need.split_labelled();
    let feature = match (need.name(), bare) {
        (names::LABELLED_LABELS | names::ORACLE_LABELS, _) => Feature::Labels,
        (names::HEAD_W, _) => Feature::HeadWeights,
        (names::HEAD_B, _) => Feature::HeadBiases,
        (names::STAGE_MAPS, _) => stage_maps(need, model)?,
        (names::IMAGES, _) => return images(need, model),
        (_, names::LOGITS) => Feature::Logits,
        // No frozen backbone is configured, so the trained model's embeddings stand in, as the contract allows.
        (_, names::EMBEDDINGS | names::FIXED_EMBEDDINGS) => Feature::Embeddings,
        (_, other) => return refuse(need, reason(other)),
    };
    if *need != Need::new(need.name()) {
        return refuse(need, format_args!("`{}` takes no arguments", need.name()));
    }
    Ok(feature)
}

/// A model that hands out the outputs of its stages.
fn stage_maps(need: &Need, model: &Architecture) -> Result<Feature, LearnError> {
    match model.stages().len() {
        0 => refuse(
            need,
            format_args!("model.name = {} has no stages; choose `cnn`, `lenet` or `resnet18`", model.label()),
        ),
        _ => Ok(Feature::Condition),
    }
}

/// Images, at least `min_side` pixels high and wide where that is given.
fn images(need: &Need, model: &Architecture) -> Result<Feature, LearnError> {
    let Some(side) = need.arg("min_side") else {
        return match *need == Need::new(need.name()) {
            true => Ok(Feature::Condition),
            false => refuse(need, "the one argument of `images` is `min_side`"),
        };
    };
    if *need != Need::new(need.name()).with("min_side", side) {
        return refuse(need, "the one argument of `images` is `min_side`");
    }
    let ImageShape { height, width, .. } = model.images();
    match side.parse::<i64>() {
        Ok(side) if side <= height.min(width) => Ok(Feature::Condition),
        Ok(side) => refuse(
            need,
            format_args!("images of at least {side}x{side} pixels, but they are {height}x{width}; set `dataset.size`"),
        ),
        Err(_) => refuse(need, format_args!("min_side = {side} is no number of pixels")),
    }
}

fn reason(name: &str) -> &'static str {
    match name {
        names::MC_LOG_PROBS | names::TARGET_MC_LOG_PROBS => {
            "this learner makes no stochastic passes yet; they will ask for a model with `model.dropout` above 0"
        }
        names::MEMBER_LOG_PROBS => "this learner trains one model, not an ensemble",
        names::GRAD_NORM | names::GRAD_EMBEDDINGS => {
            "this learner computes no gradients of samples; `logits`, `embeddings` and `head.w` determine those of the \
             head"
        }
        names::CALIBRATION_LOGITS | names::CALIBRATION_LABELS => {
            "this learner keeps no calibration set; `dataset.validation` holds samples out, but only for evaluation"
        }
        _ => "no array of this learner has this name",
    }
}

fn refuse<T>(need: &Need, reason: impl fmt::Display) -> Result<T, LearnError> {
    Err(LearnError::Need { need: need.to_string(), reason: reason.to_string() })
}

#[cfg(test)]
mod tests {
    use querist_core::config::{ModelConfig, ModelName};

    use super::*;

    fn model(name: ModelName) -> Architecture {
        let shape = ImageShape { channels: 1, height: 20, width: 16 };
        Architecture::new(&ModelConfig { name, dropout: None }, shape, 10).unwrap()
    }

    #[test]
    fn conditions_hold_or_say_what_to_change() {
        let resolve = |name, text: &str| resolve(&text.parse().unwrap(), &model(name));
        for text in ["stage_maps", "images", "images(min_side=16)"] {
            assert_eq!(resolve(ModelName::Cnn, text).unwrap(), Feature::Condition, "{text}");
        }
        for (text, part) in [
            ("stage_maps", "choose `cnn`, `lenet` or `resnet18`"),
            ("images(min_side=17)", "they are 20x16; set `dataset.size`"),
            ("images(side=3)", "`min_side`"),
            ("images(min_side=2, x)", "`min_side`"),
            ("images(min_side=x)", "no number"),
            ("stage_maps(n=3)", "no"),
        ] {
            let error = resolve(ModelName::Mlp, text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
    }

    #[test]
    fn needs_are_met_or_refused_with_a_reason() {
        for (text, feature) in [
            ("logits", Feature::Logits),
            ("labelled.logits", Feature::Logits),
            ("labelled.embeddings", Feature::Embeddings),
            ("fixed_embeddings", Feature::Embeddings),
            ("labelled.fixed_embeddings", Feature::Embeddings),
            ("head.w", Feature::HeadWeights),
            ("head.b", Feature::HeadBiases),
            ("labelled.labels", Feature::Labels),
        ] {
            assert_eq!(resolve(&text.parse().unwrap(), &model(ModelName::Cnn)).unwrap(), feature, "{text}");
        }
        for (text, part) in [
            ("mc_log_probs(T=10)", "model.dropout"),
            ("labelled.mc_log_probs(T=10)", "model.dropout"),
            ("member_log_probs(M=5)", "ensemble"),
            ("grad_norm", "gradients"),
            ("calibration.logits", "calibration"),
            ("logits(T=3)", "no arguments"),
        ] {
            let error = resolve(&text.parse().unwrap(), &model(ModelName::Cnn)).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
    }
}
