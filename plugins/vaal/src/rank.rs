//! How a ranker learns which of two samples has the larger loss.

use querist_sdk_torch::prelude::*;
use querist_torch_parts::{Ties, differences, pair_loss};

/// What a pair of samples costs whose ranks are r and whose losses are l.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RankLoss {
    /// Cross-entropy of sigmoid(r_i - r_j) with whether l_i > l_j.
    #[default]
    Bce,
    /// The margin less r_i - r_j in the right direction, where that is positive: the loss of learning loss.
    Hinge,
}

/// Mean cost of the pairs (i, n - 1 - i) of ranks and losses, `f32 [n]` both; the losses are held fixed. `None` where there
/// is no pair. A pair of equal losses should have equal ranks under `bce`, and costs nothing under `hinge`.
///
/// # Errors
/// If the two are not of one length.
pub fn rank_loss(ranks: &Tensor, losses: &Tensor, rule: RankLoss, margin: f64) -> Result<Option<Tensor>> {
    if rule == RankLoss::Hinge {
        return pair_loss(ranks, losses, margin, Ties::Skip);
    }
    if ranks.numel() < 2 {
        return Ok(None);
    }
    let larger = differences(&losses.f_detach()?)?.f_sign()?.f_add_scalar(1.0)?.f_mul_scalar(0.5)?;
    let (ahead, none) = (differences(ranks)?, None::<Tensor>);
    Ok(Some(ahead.f_binary_cross_entropy_with_logits(&larger, none.as_ref(), none.as_ref(), tch::Reduction::Mean)?))
}
