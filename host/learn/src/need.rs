//! What this learner can compute for a strategy.

use std::fmt;

use querist_core::LearnError;
use querist_protocol::{Giver, Need, names};

use crate::draws::{Draws, MOST_DRAWS};
use crate::ensemble::{FEWEST_MEMBERS, MOST_MEMBERS};
use crate::gradient::{Join, Norms, Scheme};
use crate::model::{Architecture, HEAD, ImageShape, names_of};
use crate::perturb::{MOST_COPIES, Noise};

/// How a need is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Class scores of samples.
    Logits,
    /// Inputs of the head of samples.
    Embeddings,
    /// Inputs of the last layer of samples, where those are no embeddings.
    Penultimate,
    /// Weights of a linear head.
    HeadWeights,
    /// Biases of a linear head.
    HeadBiases,
    /// Labels, and what belongs to held-out samples, which the loop adds itself.
    OfTheLoop,
    /// Something of model, images or training, or the head itself: no array.
    Condition,
    /// Log-probabilities with dropout on.
    Draws(Draws),
    /// Norms of gradients.
    GradNorm(Norms),
    /// Gradients of the predicted class's cross-entropy at the embedding.
    GradEmbeddings,
    /// Log-probabilities of so many members of an ensemble.
    Members(usize),
    /// Logits of copies with noise in their weights.
    Perturbed(Noise),
}

/// How to meet `need`.
///
/// # Errors
/// [`LearnError::Need`] where this learner cannot.
pub(crate) fn resolve(need: &Need, model: &Architecture) -> Result<Feature, LearnError> {
    let kind = need.array();
    let feature = match (kind.map(|kind| kind.giver), kind.map_or(need.name(), |kind| kind.name)) {
        (Some(Giver::Loop), _) => Feature::OfTheLoop,
        (_, names::HEAD | names::SYNTHETIC_IMAGES) => Feature::Condition,
        (_, names::STAGE_MAPS) => stage_maps(need, model)?,
        (_, names::IMAGES) => return images(need, model),
        (_, names::HEAD_W) => linear(need, model, Feature::HeadWeights)?,
        (_, names::HEAD_B) => linear(need, model, Feature::HeadBiases)?,
        (_, names::MC_LOG_PROBS | names::TARGET_MC_LOG_PROBS) => return draws(need, model),
        (_, names::MEMBER_LOG_PROBS) => return members(need),
        (_, names::PERTURBED_LOGITS) => return perturbed(need),
        (_, names::GRAD_NORM) => return grad_norm(need),
        (_, names::GRAD_EMBEDDINGS) => Feature::GradEmbeddings,
        (_, names::LOGITS) => Feature::Logits,
        (_, names::PENULTIMATE) if model.head_hidden().is_some() => Feature::Penultimate,
        // Fixed embeddings are asked for here only where none are configured: then those of the model stand in.
        (_, names::EMBEDDINGS | names::PENULTIMATE | names::FIXED_EMBEDDINGS) => Feature::Embeddings,
        _ => return refuse(need, "no array of this learner has this name"),
    };
    if *need != Need::new(need.name()) {
        return refuse(need, format_args!("`{}` takes no arguments", need.name()));
    }
    Ok(feature)
}

/// What only a head of one linear layer has.
fn linear(need: &Need, model: &Architecture, feature: Feature) -> Result<Feature, LearnError> {
    match model.head_hidden() {
        None => Ok(feature),
        Some(units) => refuse(
            need,
            format_args!(
                "a linear head has it, but model.head_hidden = {units} puts a hidden layer into the head; leave \
                 `model.head_hidden` out"
            ),
        ),
    }
}

/// Draws with dropout: `mc_log_probs(T=10)`, `mc_log_probs(T=10, coherent)`, `target.mc_log_probs(T=10, n=100)`.
fn draws(need: &Need, model: &Architecture) -> Result<Feature, LearnError> {
    if !model.has_dropout() {
        return refuse(
            need,
            format_args!(
                "model.name = {} drops nothing, so all draws would be equal; set `model.dropout` above 0, or choose {}",
                model.label(),
                names_of(|spec| spec.drops_inside)
            ),
        );
    }
    let Some(count) = need.arg("T").and_then(|text| text.parse().ok()) else {
        return refuse(need, "it does not say how many draws: `mc_log_probs(T=10)`");
    };
    if !(1..=MOST_DRAWS).contains(&count) {
        return refuse(need, format_args!("T = {count}, expected 1 to {MOST_DRAWS} draws"));
    }
    let mut plain = Need::new(need.name()).with("T", count);
    if need.name() == names::TARGET_MC_LOG_PROBS
        && let Some(size) = need.arg("n")
    {
        if !size.parse::<usize>().is_ok_and(|size| size > 0) {
            return refuse(need, format_args!("n = {size}, expected 1 or more targets"));
        }
        plain = plain.with("n", size);
    }
    match need {
        _ if *need == plain => Ok(Feature::Draws(Draws { count, coherent: false })),
        _ if *need == plain.with_flag("coherent") => Ok(Feature::Draws(Draws { count, coherent: true })),
        _ => refuse(need, "its arguments are `T` and `coherent`, and for targets `n`"),
    }
}

/// Members of an ensemble: `member_log_probs(M=5)`.
fn members(need: &Need) -> Result<Feature, LearnError> {
    let Some(count) = need.arg("M").and_then(|text| text.parse().ok()) else {
        return refuse(need, "it does not say how many members: `member_log_probs(M=5)`");
    };
    if !(FEWEST_MEMBERS..=MOST_MEMBERS).contains(&count) {
        return refuse(
            need,
            format_args!("an ensemble of {count} members, expected {FEWEST_MEMBERS} to {MOST_MEMBERS}; set `members`"),
        );
    }
    match *need == Need::new(need.name()).with("M", count) {
        true => Ok(Feature::Members(count)),
        false => refuse(need, "its one argument is `M`"),
    }
}

/// Copies with noise in their weights: `perturbed_logits(K=30, scale=0.001)`.
fn perturbed(need: &Need) -> Result<Feature, LearnError> {
    let Some(copies) = need.arg("K").and_then(|text| text.parse().ok()) else {
        return refuse(need, "it does not say how many copies: `perturbed_logits(K=30, scale=0.001)`");
    };
    if !(1..=MOST_COPIES).contains(&copies) {
        return refuse(need, format_args!("K = {copies}, expected 1 to {MOST_COPIES} copies"));
    }
    let text = need.arg("scale").unwrap_or("0.001");
    let Some(scale) = text.parse().ok().filter(|scale: &f64| *scale > 0.0 && *scale <= 1.0) else {
        return refuse(need, format_args!("scale = {text}, expected a number above 0, at most 1"));
    };
    let plain = Need::new(need.name()).with("K", copies);
    match *need == plain || *need == plain.with("scale", text) {
        true => Ok(Feature::Perturbed(Noise { copies, scale })),
        false => refuse(need, "its arguments are `K` and `scale`"),
    }
}

/// Norms of gradients: `grad_norm(scheme=entropy, norm=tensor-sum)`; both may be left out.
fn grad_norm(need: &Need) -> Result<Feature, LearnError> {
    let scheme = match need.arg("scheme") {
        None | Some("entropy" | "expected") => Scheme::Entropy,
        Some("egl") => Scheme::Egl,
        Some(other) => return refuse(need, format_args!("scheme = {other}, expected `entropy`, `expected` or `egl`")),
    };
    let join = match need.arg("norm") {
        None | Some("tensor-sum") => Join::TensorSum,
        Some("global") => Join::Global,
        Some(other) => return refuse(need, format_args!("norm = {other}, expected `tensor-sum` or `global`")),
    };
    let known = ["scheme", "norm"].into_iter().filter_map(|key| Some((key, need.arg(key)?)));
    match *need == known.fold(Need::new(need.name()), |plain, (key, value)| plain.with(key, value)) {
        true => Ok(Feature::GradNorm(Norms { scheme, join })),
        false => refuse(need, "its arguments are `scheme` and `norm`"),
    }
}

/// A model that hands out the outputs of its stages.
fn stage_maps(need: &Need, model: &Architecture) -> Result<Feature, LearnError> {
    match model.stages().len() {
        0 if model.label() == HEAD => refuse(
            need,
            "the dataset has embeddings and no pictures, so no network has stages; choose another strategy",
        ),
        0 => refuse(
            need,
            format_args!(
                "model.name = {} has no stages; choose {}",
                model.label(),
                names_of(|spec| !spec.stages.is_empty())
            ),
        ),
        _ => Ok(Feature::Condition),
    }
}

/// Images, at least `min_side` pixels high and wide where that is given.
fn images(need: &Need, model: &Architecture) -> Result<Feature, LearnError> {
    if model.label() == HEAD {
        return refuse(need, "the dataset has embeddings and no pictures; choose a strategy that works on arrays");
    }
    let plain = match need.has_flag(names::EMBEDDED) {
        true => Need::new(need.name()).with_flag(names::EMBEDDED),
        false => Need::new(need.name()),
    };
    let side = need.arg("min_side");
    if *need != side.map_or(plain.clone(), |side| plain.with("min_side", side)) {
        return refuse(need, "the arguments of `images` are `min_side` and `embedded`");
    }
    let Some(side) = side else { return Ok(Feature::Condition) };
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

fn refuse<T>(need: &Need, reason: impl fmt::Display) -> Result<T, LearnError> {
    Err(LearnError::Need { need: need.to_string(), reason: reason.to_string() })
}

#[cfg(test)]
mod tests {
    use querist_core::config::{ModelConfig, ModelName};

    use super::*;

    fn model(name: ModelName) -> Architecture {
        let shape = ImageShape { channels: 1, height: 20, width: 16 };
        Architecture::new(&ModelConfig::of(name), shape, 10).unwrap()
    }

    #[test]
    fn conditions_hold_or_say_what_to_change() {
        let resolve = |name, text: &str| resolve(&text.parse().unwrap(), &model(name));
        for text in ["stage_maps", "images", "images(min_side=16)", "images(embedded)", "images(embedded, min_side=16)"]
        {
            assert_eq!(resolve(ModelName::Cnn, text).unwrap(), Feature::Condition, "{text}");
        }
        for (text, part) in [
            ("stage_maps", "choose `cnn`, `lenet`, `resnet18`"),
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
    fn draws_ask_for_a_model_that_drops_something() {
        let need = |text: &str| resolve(&text.parse().unwrap(), &model(ModelName::Lenet));
        let draws = |count, coherent| Feature::Draws(Draws { count, coherent });
        assert_eq!(need("mc_log_probs(T=10)").unwrap(), draws(10, false));
        assert_eq!(need("labelled.mc_log_probs(T=3, coherent)").unwrap(), draws(3, true));
        assert_eq!(need("target.mc_log_probs(T=3, coherent, n=9)").unwrap(), draws(3, true));
        for (text, part) in [
            ("mc_log_probs", "how many"),
            ("mc_log_probs(T=0)", "1 to 1000"),
            ("mc_log_probs(T=2, x)", "`T` and `coherent`"),
            ("mc_log_probs(T=2, n=5)", "`T` and `coherent`"),
            ("target.mc_log_probs(T=2, n=0)", "1 or more targets"),
        ] {
            let error = need(text).unwrap_err().to_string();
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
            ("grad_norm", Feature::GradNorm(Norms { scheme: Scheme::Entropy, join: Join::TensorSum })),
            (
                "grad_norm(scheme=egl, norm=global)",
                Feature::GradNorm(Norms { scheme: Scheme::Egl, join: Join::Global }),
            ),
            ("labelled.grad_embeddings", Feature::GradEmbeddings),
            ("perturbed_logits(K=30, scale=0.001)", Feature::Perturbed(Noise { copies: 30, scale: 1e-3 })),
            ("labelled.perturbed_logits(K=1)", Feature::Perturbed(Noise { copies: 1, scale: 1e-3 })),
            ("member_log_probs(M=5)", Feature::Members(5)),
            ("labelled.member_log_probs(M=100)", Feature::Members(100)),
            ("labelled.labels", Feature::OfTheLoop),
            ("calibration.logits", Feature::OfTheLoop),
        ] {
            assert_eq!(resolve(&text.parse().unwrap(), &model(ModelName::Cnn)).unwrap(), feature, "{text}");
        }
        for (text, part) in [
            ("mc_log_probs(T=10)", "model.dropout"),
            ("labelled.mc_log_probs(T=10)", "model.dropout"),
            ("member_log_probs(M=1)", "2 to 100; set `members`"),
            ("member_log_probs(M=101)", "2 to 100"),
            ("member_log_probs", "how many members"),
            ("member_log_probs(M=5, x)", "`M`"),
            ("perturbed_logits", "how many copies"),
            ("perturbed_logits(K=201)", "1 to 200"),
            ("perturbed_logits(K=2, scale=0)", "above 0, at most 1"),
            ("perturbed_logits(K=2, x)", "`K` and `scale`"),
            ("grad_norm(scheme=x)", "`entropy`, `expected` or `egl`"),
            ("grad_norm(norm=x)", "`tensor-sum` or `global`"),
            ("grad_norm(scheme=egl, x=1)", "`scheme` and `norm`"),
            ("grad_norm(scheme)", "`scheme` and `norm`"),
            ("target.mc_log_probs(T=10)", "model.dropout"),
            ("head.w(x)", "no arguments"),
            ("logits(T=3)", "no arguments"),
        ] {
            let error = resolve(&text.parse().unwrap(), &model(ModelName::Cnn)).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
    }
}
