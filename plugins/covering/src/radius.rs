//! The radius of balls: given, or estimated from clusters that stand in for classes.

use querist_sdk::prelude::*;

/// A radius between features of norm 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Radius {
    /// This one, above 0 and at most 2.
    Given(#[schemars(range(min = 0.0, max = 2.0))] f64),
    /// The largest one whose balls are pure enough when the clusters of k-means stand in for classes.
    Estimated(Estimate),
}

/// The word for an estimated radius.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Estimate {
    /// Estimate it.
    Estimate,
}

impl Radius {
    /// The default of a parameter that is estimated.
    pub(crate) const ESTIMATE: Self = Self::Estimated(Estimate::Estimate);

    /// Whether a given radius makes sense.
    pub(crate) fn check(&self, name: &str) -> Result<(), String> {
        match self {
            Self::Given(radius) if !(*radius > 0.0 && *radius <= 2.0) => {
                Err(format!("{name} is {radius}, but it must be above 0 and at most 2: features have norm 1"))
            }
            _ => Ok(()),
        }
    }
}

/// The radius at which a share `alpha` of `rows` have no row of another cluster in their ball.
///
/// A row's ball is pure up to its distance to the nearest row of another cluster, so the radius is one of these
/// distances: the one that as many rows undercut as may be impure. With a single cluster every ball is pure, and the
/// radius is the diameter of the sphere, 2.
pub(crate) fn estimate(query: &Query, rows: &Matrix, alpha: f64) -> Result<f64> {
    let (count, _) = rows.shape()?;
    let options = KmeansOptions {
        clusters: query.classes().clamp(1, count.max(1)),
        restarts: 5,
        max_iterations: 100,
        tolerance: 1e-4,
        init: Init::KmeansPlusPlus,
    };
    let clusters = rows.kmeans(None, options, &query.stream("radius", StreamScope::Run)?)?.read(0, count)?;
    let mut distances = Vec::with_capacity(count as usize);
    for cluster in 0..options.clusters {
        let (own, others): (Vec<u32>, Vec<u32>) = (0..count).partition(|&row| clusters[row as usize] == cluster);
        if own.is_empty() || others.is_empty() {
            continue;
        }
        let (own, others) = (rows.gather(&own)?, rows.gather(&others)?);
        distances.extend(own.distance_reduce(&others, Metric::Euclidean, Reduction::Min)?.to_vec()?);
        query.progress(u64::from(cluster), u64::from(options.clusters))?;
    }
    if distances.is_empty() {
        return Ok(2.0);
    }
    distances.sort_unstable_by(f64::total_cmp);
    // A hair more, so that a whole number of rows is not lost to rounding.
    let impure = ((1.0 - alpha) * f64::from(count) + 1e-9).floor() as usize;
    Ok(distances[impure.min(distances.len() - 1)])
}
