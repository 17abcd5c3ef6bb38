//! Types that host and plugin both speak of.
//!
//! Made from `plugin-sdk/wit` by `cargo xtask boundary`; do not edit.

use serde::{Deserialize, Serialize};

/// A choice that crosses C tables as its number, from 0.
pub trait Numbered: Copy + Sized + 'static {
    /// What it is called in messages.
    const NAME: &'static str;
    /// Every choice, by its number.
    const ALL: &'static [Self];
    /// Its number.
    fn number(self) -> u32;
}

/// Why the host refused a call of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultCode {
    /// The handle is unknown, released, or names another kind of object.
    BadHandle,
    /// A row or position lies outside the object.
    BadIndex,
    /// Shapes do not fit each other.
    BadShape,
    /// An argument has no meaning for this call.
    BadArgument,
    /// The array was not declared among the strategy's needs, or does not exist in this query.
    NotDeclared,
    /// The call would pass a limit on memory, handles, output or log.
    Quota,
    /// The query ran past its time limit.
    Deadline,
    /// The user cancelled the query.
    Cancelled,
    /// A value is NaN or infinite where a finite one is required.
    NonFinite,
}

impl Numbered for FaultCode {
    const NAME: &'static str = "fault code";
    const ALL: &'static [Self] = &[
        Self::BadHandle,
        Self::BadIndex,
        Self::BadShape,
        Self::BadArgument,
        Self::NotDeclared,
        Self::Quota,
        Self::Deadline,
        Self::Cancelled,
        Self::NonFinite,
    ];

    fn number(self) -> u32 {
        self as u32
    }
}

/// Importance of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// For the plugin's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth acting on.
    Warning,
}

impl Numbered for LogLevel {
    const NAME: &'static str = "log level";
    const ALL: &'static [Self] = &[Self::Debug, Self::Info, Self::Warning];

    fn number(self) -> u32 {
        self as u32
    }
}

/// Distance between rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Sum of squared differences.
    SqEuclidean,
    /// Its square root.
    Euclidean,
    /// 1 - cosine of the angle; a row of norm 0 is at distance 1 from everything but another such row, where it is 0.
    Cosine,
}

impl Numbered for Metric {
    const NAME: &'static str = "metric";
    const ALL: &'static [Self] = &[Self::SqEuclidean, Self::Euclidean, Self::Cosine];

    fn number(self) -> u32 {
        self as u32
    }
}

/// What to keep of a row's distances to a set of centres.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// The smallest distance.
    Min,
    /// The number of the nearest centre; the lowest among equals.
    Argmin,
    /// The sum of distances, in centre order.
    Sum,
    /// How many centres are nearer than this radius (strictly).
    CountWithin(f64),
}

impl Reduction {
    /// As C tables have it: the number of the case, and what it holds.
    pub fn parts(self) -> (u32, f64) {
        match self {
            Self::Min => (0, 0.0),
            Self::Argmin => (1, 0.0),
            Self::Sum => (2, 0.0),
            Self::CountWithin(value) => (3, value),
        }
    }

    /// The case of this number; `None` if there is none.
    pub fn of_parts(number: u32, value: f64) -> Option<Self> {
        Some(match number {
            0 => Self::Min,
            1 => Self::Argmin,
            2 => Self::Sum,
            3 => Self::CountWithin(value),
            _ => return None,
        })
    }
}

/// Uncertainty of a class distribution given by logits; always larger = more uncertain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uncertainty {
    /// 1 - p1, with -ln(p1) to break ties.
    LeastConfidence,
    /// -(p1 - p2), with 1 - margin in its exact form to break ties.
    Margin,
    /// p2 / p1, with ln(p2 / p1) to break ties.
    Ratio,
    /// Shannon entropy in nats, with 1 - p1 to break ties.
    Entropy,
}

impl Numbered for Uncertainty {
    const NAME: &'static str = "uncertainty";
    const ALL: &'static [Self] = &[Self::LeastConfidence, Self::Margin, Self::Ratio, Self::Entropy];

    fn number(self) -> u32 {
        self as u32
    }
}

/// Whether the round enters a stream's randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamScope {
    /// Fresh values in every round.
    Round,
    /// The same values in every round of a run.
    Run,
}

impl Numbered for StreamScope {
    const NAME: &'static str = "stream scope";
    const ALL: &'static [Self] = &[Self::Round, Self::Run];

    fn number(self) -> u32 {
        self as u32
    }
}

/// How k-means places its first centres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Each next centre is drawn with probability proportional to its squared distance from the nearest one.
    KmeansPlusPlus,
    /// Distinct rows, each equally likely.
    RandomPoints,
}

impl Numbered for Init {
    const NAME: &'static str = "init";
    const ALL: &'static [Self] = &[Self::KmeansPlusPlus, Self::RandomPoints];

    fn number(self) -> u32 {
        self as u32
    }
}

/// Settings of Lloyd's algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KmeansOptions {
    /// Number of clusters, at most the number of rows.
    pub clusters: u32,
    /// Restarts; the lowest inertia wins, then the earliest.
    pub restarts: u32,
    /// Iterations of one restart at most.
    pub max_iterations: u32,
    /// A restart ends when inertia falls by less than this share of itself.
    pub tolerance: f64,
    /// Placement of the first centres.
    pub init: Init,
}

/// Form of a similarity that falls with the Euclidean distance d of two rows, from 1 at 0; h is its width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SimilarityKind {
    /// exp(-(d / h)²).
    Rbf,
    /// exp(-d / h).
    Laplace,
    /// (1 + 2 (d / h)²) ^ -0.75.
    Student,
    /// 1 / (1 + d²), whatever h.
    Cauchy,
    /// 1 where d < h, else 0.
    TopHat,
}

impl Numbered for SimilarityKind {
    const NAME: &'static str = "similarity kind";
    const ALL: &'static [Self] = &[Self::Rbf, Self::Laplace, Self::Student, Self::Cauchy, Self::TopHat];

    fn number(self) -> u32 {
        self as u32
    }
}

/// A similarity of two rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Similarity {
    /// Its form.
    pub kind: SimilarityKind,
    /// Its width h, between 1e-100 and 1e100.
    pub width: f64,
}

/// One step of a hierarchical clustering. A cluster is named by the lowest of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Merge {
    /// The cluster that the merged one is named after.
    pub left: u32,
    /// The other one, a larger number.
    pub right: u32,
    /// Their distance.
    pub height: f64,
}

/// How a design weighs information.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DesignOptions {
    /// Columns of a row's factor; the factor's values are `[blocks, rank]`.
    pub rank: u32,
    /// Multiple of the identity that the information starts from; above 0.
    pub ridge: f64,
    /// Weight of a labelled row's information.
    pub labelled_weight: f64,
    /// Weight of an added row's information.
    pub added_weight: f64,
}

/// Plain facts about the query at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryInfo {
    /// Rows that are visible: the pool, or one tile of it for a scorer.
    pub rows: u32,
    /// Pool row of the first visible row; 0 unless this is a tile.
    pub first_row: u32,
    /// Samples in the labelled set.
    pub labelled_rows: u32,
    /// Classes of the task, whether or not labels of each were seen.
    pub classes: u32,
    /// Samples to select.
    pub batch: u32,
    /// Round of the run, from 0.
    pub round: u32,
}
