//! The members of composites, and parameters of the ways to combine that look at arrays themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A strategy that a composite asks, with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Id of the strategy.
    pub id: String,
    /// Its parameters.
    #[serde(default)]
    pub params: Map<String, Value>,
}

/// A member inside quotas of predicted classes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Balanced {
    /// The strategy that ranks the rows of each class.
    pub(crate) member: Member,
    /// `greedy` asks the member for each class's rows; `exact` finds the batch with the largest sum of its scores minus
    /// `lambda` times the distance from the quotas.
    #[serde(default)]
    pub(crate) form: Form,
    /// Shares of the classes among labels and picks.
    #[serde(default)]
    pub(crate) target: Shares,
    /// Classes that are served only when nothing else is left.
    #[serde(default)]
    #[schemars(length(max = 65_536))]
    pub(crate) ignore: Vec<u32>,
    /// Weight of the distance from the quotas, under `exact`.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0, max = 1e6))]
    pub(crate) lambda: f64,
    /// How scores are scaled, under `exact`.
    #[serde(default)]
    pub(crate) normalise: Scale,
}

fn one() -> f64 {
    1.0
}

/// How quotas meet scores.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// Quotas first.
    #[default]
    Greedy,
    /// Both in one sum.
    Exact,
}

/// Shares of classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Shares {
    /// By name.
    Named(Named),
    /// One number a class, at least 0; they are divided by their sum.
    Given(#[schemars(length(min = 1, max = 65_536))] Vec<f64>),
}

/// Shares by name.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Named {
    /// All alike.
    #[default]
    Uniform,
    /// As the pool is predicted.
    Pool,
}

impl Default for Shares {
    fn default() -> Self {
        Self::Named(Named::Uniform)
    }
}

/// How scores are scaled.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scale {
    /// From 0 to 1 over the pool.
    #[default]
    Range,
    /// By rank, from 0 to 1.
    Rank,
    /// Not at all.
    None,
}

/// One query with several wishes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mix {
    /// The wishes.
    #[schemars(length(min = 1, max = 16))]
    pub(crate) terms: Vec<Term>,
    /// Whether distances are those of embeddings of length 1.
    #[serde(default)]
    pub(crate) normalise: Lengths,
    /// Nothing nearer than this to anything labelled or picked is picked; 0 for no such bound.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1e30))]
    pub(crate) min_distance: f64,
    /// At most so many picks with one value of a column.
    #[serde(default)]
    pub(crate) at_most: Option<AtMost>,
}

impl Mix {
    pub(crate) fn is_unit(&self) -> bool {
        self.normalise == Lengths::L2
    }
}

/// What is done to the lengths of embeddings.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lengths {
    /// Nothing.
    #[default]
    None,
    /// They are divided by their Euclidean norm.
    L2,
}

/// A wish.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Term {
    /// What is wished for.
    pub(crate) kind: Kind,
    /// How much, beside the others.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0, max = 1000.0))]
    pub(crate) weight: f64,
    /// The strategy whose score it is (`score`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) member: Option<Member>,
    /// How values are scaled: `rank` for `score`, `minmax` for `toward`, `away` and `typical` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) normalise: Option<Scaling>,
    /// The rows that are pointed at, `query.NAME` (`toward`, `away`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rows: Option<String>,
    /// Shares of the predicted classes (`classes`); `uniform` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<Shares>,
    /// Neighbours (`typical`); 20 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) k: Option<u32>,
}

/// Kinds of wishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A large score of another strategy.
    Score,
    /// A place far from what is labelled or picked.
    Diversity,
    /// A predicted class that lacks labels.
    Classes,
    /// A place near rows that are pointed at.
    Toward,
    /// A place far from them.
    Away,
    /// A place where others are near.
    Typical,
}

impl Kind {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Diversity => "diversity",
            Self::Classes => "classes",
            Self::Toward => "toward",
            Self::Away => "away",
            Self::Typical => "typical",
        }
    }

    /// Whether it looks at embeddings.
    pub(crate) fn is_of_distance(self) -> bool {
        !matches!(self, Self::Score | Self::Classes)
    }
}

/// How values of a wish are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scaling {
    /// The share of other rows with smaller values, those with equal ones half.
    Rank,
    /// From 0 to 1 over the pool; 0 where all are equal.
    Minmax,
    /// Standard deviations from the mean; 0 where all are equal.
    Zscore,
}

/// A bound of picks with one value of a column.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AtMost {
    /// The column, `extra.NAME`, of whole numbers.
    pub(crate) group: String,
    /// How many.
    #[schemars(range(min = 1))]
    pub(crate) count: u32,
}

/// A member that sees only the neighbours of labelled samples.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seals {
    /// The strategy that picks among them.
    pub(crate) member: Member,
    /// Neighbours of each labelled sample.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) k: u32,
    /// Whether distances are those of embeddings of length 1.
    pub(crate) normalise: Lengths,
}

/// A member that sees only what is like some labelled samples of each class.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Anchors {
    /// The strategy that picks among it.
    pub(crate) member: Member,
    /// Anchors of each class.
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) anchors: u32,
    /// Neighbours of each anchor.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) k: u32,
    /// Samples that the member sees at most; a batch at least.
    #[schemars(range(min = 1))]
    pub(crate) max_pool: u32,
}

/// Members that are trusted as far as their picks turn out to be of rare classes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tailor {
    /// The strategies.
    #[schemars(length(min = 2, max = 32))]
    pub(crate) members: Vec<Member>,
    /// What is left of earlier counts after each round.
    #[schemars(range(min = 1e-9, max = 1.0))]
    pub(crate) decay: f64,
    /// Count of each class for each member before the first pick.
    #[schemars(range(min = 0.01, max = 100.0))]
    pub(crate) prior: f64,
    /// What a pick earns.
    pub(crate) reward: Reward,
}

/// What a pick of a class earns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reward {
    /// One over the labels of the class; minus that where it has more than half of all.
    Diversity,
    /// The same of every class.
    Positive,
}

/// Members that are trusted as far as the model is right on their picks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Albl {
    /// The strategies.
    #[schemars(length(min = 2, max = 31))]
    pub(crate) members: Vec<Member>,
    /// Whether chance is one more of them.
    pub(crate) uniform: bool,
    /// Probability with which the bounds of the rewards may fail.
    #[schemars(range(min = 1e-9, max = 0.999_999))]
    pub(crate) delta: f64,
    /// Rounds that the run is thought to have.
    #[schemars(range(min = 1))]
    pub(crate) horizon: u32,
}
