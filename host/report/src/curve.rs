//! What is compared: curves, each of one strategy, one seed and one setting.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::statistics::CurvePoint;

/// What else was chosen, by key: `dataset.name` = `mnist`, `budget.batch` = `100`. Curves are compared where it is the
/// same.
pub type Setting = BTreeMap<String, String>;

/// What pairs the curves of two strategies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum Seed {
    /// A root seed.
    Number(u64),
    /// Anything else that has a name, such as two seeds.
    Text(String),
}

impl Seed {
    /// A number where the text is one.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Text(text.to_owned()), Self::Number)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(seed) => write!(f, "{seed}"),
            Self::Text(seed) => f.write_str(seed),
        }
    }
}

/// One finished run, as far as statistics go.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// What else was chosen.
    pub setting: Setting,
    /// Name of the strategy with its parameters; curves of one label and setting are a group.
    pub label: String,
    /// What pairs it with curves of other strategies.
    pub seed: Seed,
    /// (labelled samples, accuracy), the counts ascending.
    pub points: Vec<CurvePoint>,
    /// Whether it is of the upper baseline, by which strategies are measured and which is none.
    pub is_upper: bool,
}

impl Curve {
    /// The points at these counts.
    pub(crate) fn at(&self, counts: &[usize]) -> Vec<CurvePoint> {
        self.points.iter().copied().filter(|(labelled, _)| counts.binary_search(labelled).is_ok()).collect()
    }
}

/// Labelled counts that all these curves have, ascending.
pub(crate) fn common_counts<'a>(curves: impl IntoIterator<Item = &'a Curve>) -> Vec<usize> {
    let mut curves = curves.into_iter();
    let first = curves.next().map(|curve| curve.points.iter().map(|point| point.0).collect()).unwrap_or_default();
    curves.fold(first, |mut common: Vec<usize>, curve| {
        common.retain(|count| curve.points.binary_search_by_key(count, |point| point.0).is_ok());
        common
    })
}

/// The mean of curves at their common counts.
pub(crate) fn mean_curve(curves: &[Vec<CurvePoint>]) -> Vec<CurvePoint> {
    let Some(first) = curves.first() else { return Vec::new() };
    let mean = |at: usize| curves.iter().map(|curve| curve[at].1).sum::<f64>() / curves.len() as f64;
    first.iter().enumerate().map(|(at, point)| (point.0, mean(at))).collect()
}
