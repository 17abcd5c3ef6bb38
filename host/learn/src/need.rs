//! What this learner can compute for a strategy.

use std::fmt;

use querist_core::LearnError;
use querist_protocol::{Need, names};

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
}

/// How to meet `need`.
///
/// # Errors
/// [`LearnError::Need`] where this learner cannot.
pub(crate) fn resolve(need: &Need) -> Result<Feature, LearnError> {
    let (bare, _) = need.split_labelled();
    let feature = match (need.name(), bare) {
        (names::LABELLED_LABELS | names::ORACLE_LABELS, _) => Feature::Labels,
        (names::HEAD_W, _) => Feature::HeadWeights,
        (names::HEAD_B, _) => Feature::HeadBiases,
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
    use super::*;

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
            assert_eq!(resolve(&text.parse().unwrap()).unwrap(), feature, "{text}");
        }
        for (text, part) in [
            ("mc_log_probs(T=10)", "model.dropout"),
            ("labelled.mc_log_probs(T=10)", "model.dropout"),
            ("member_log_probs(M=5)", "ensemble"),
            ("grad_norm", "gradients"),
            ("calibration.logits", "calibration"),
            ("logits(T=3)", "no arguments"),
        ] {
            let error = resolve(&text.parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(text), "{error}");
        }
    }
}
