//! Four scores of how unsure a class distribution is, from logits.
//!
//! With p1 >= p2 the two largest probabilities: least confidence `1 - p1`, margin `-(p1 - p2)`, ratio `p2 / p1`,
//! entropy `-sum p ln p`. All are computed from logits so that saturated rows keep their order.
//!
//! Wang and Shang, "A New Active Labeling Method for Deep Learning", IJCNN 2014; margin: Joshi, Porikli and
//! Papanikolopoulos, "Multi-Class Active Learning for Image Classification", CVPR 2009.

use querist_sdk::prelude::*;

const WANG_SHANG: &str = "Wang and Shang, A New Active Labeling Method for Deep Learning, IJCNN 2014";
const JOSHI: &str =
    "Joshi, Porikli and Papanikolopoulos, Multi-Class Active Learning for Image Classification, CVPR 2009";

macro_rules! from_logits {
    ($(#[$doc:meta])* $name:ident, $id:literal, $measure:ident, $summary:literal, $paper:expr, $aliases:expr) => {
        $(#[$doc])*
        #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {}

        impl Strategy for $name {
            const ID: &'static str = $id;
            const SUMMARY: &'static str = $summary;
            const PAPER: &'static str = $paper;
            const COST: &'static str = "O(N C) time; O(N) memory.";
            const ALIASES: &'static [&'static str] = $aliases;

            fn needs(&self) -> Vec<Need> {
                vec![Need::new(names::LOGITS)]
            }
        }

        impl Scorer for $name {
            fn score(&self, tile: &Query) -> Result<Scores> {
                Ok(tile.matrix(names::LOGITS)?.uncertainty(Uncertainty::$measure)?.into())
            }
        }
    };
}

from_logits!(
    /// Parameters of least confidence: none.
    LeastConfidence,
    "least-confidence",
    LeastConfidence,
    "Samples whose most probable class is least probable",
    WANG_SHANG,
    &["least_confident", "LeastConfidence", "uncertainty", "confidence", "VarRatio"]
);
from_logits!(
    /// Parameters of margin sampling: none.
    Margin,
    "margin",
    Margin,
    "Samples with the smallest difference between the two most probable classes",
    JOSHI,
    &["margin_sampling", "MarginSampling"]
);
from_logits!(
    /// Parameters of best-versus-second-best by ratio: none.
    Bvsb,
    "bvsb",
    Ratio,
    "Samples with the largest ratio of the second most probable class to the first",
    JOSHI,
    &[]
);

/// Which end of the order entropy sampling selects.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The most uncertain first.
    #[default]
    Desc,
    /// The most certain first, as a control.
    Asc,
}

/// Parameters of entropy sampling.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [{}, {"order": "asc"}]))]
pub struct Entropy {
    /// Which end of the order is selected first.
    pub order: Order,
}

impl Strategy for Entropy {
    const ID: &'static str = "entropy";
    const SUMMARY: &'static str = "Samples whose predicted class distribution has the largest entropy";
    const PAPER: &'static str = WANG_SHANG;
    const COST: &'static str = "O(N C) time; O(N) memory.";
    const ALIASES: &'static [&'static str] = &["Max-Entropy", "entropy_sampling", "EntropySampling"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::LOGITS)]
    }
}

impl Scorer for Entropy {
    fn score(&self, tile: &Query) -> Result<Scores> {
        let scores = Scores::from(tile.matrix(names::LOGITS)?.uncertainty(Uncertainty::Entropy)?);
        match self.order {
            Order::Desc => Ok(scores),
            Order::Asc => {
                let negated = |vector: &Vector| -> Result<Vector> {
                    tile.vector(&vector.to_vec()?.iter().map(|score| -score).collect::<Vec<_>>())
                };
                let second = scores.second.as_ref().map(negated).transpose()?;
                Ok(Scores { primary: negated(&scores.primary)?, second })
            }
        }
    }
}

package!(scorers: [LeastConfidence, Margin, Bvsb, Entropy]);
