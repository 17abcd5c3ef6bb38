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
    let clusters = query.classes().clamp(1, count.max(1));
    let options = KmeansOptions { restarts: 5, ..KmeansOptions::new(clusters) };
    let clustering = rows.kmeans(None, options, &query.stream("radius", StreamScope::Run)?)?;
    let clusters = clustering.read(0, count)?;
    // A hair more, so that a whole number of rows is not lost to rounding.
    let impure = ((1.0 - alpha) * f64::from(count) + 1e-9).floor() as usize;
    let rank = impure.min((count as usize).saturating_sub(1));
    // Distances of some rows to some others are no smaller than those to all, so they tell how deep a row may lie to
    // matter; rows that lie deeper have no part in the pairs that do.
    let depths = depths(rows, &clustering.centres()?, &clusters)?;
    let mut by_depth: Vec<u32> = (0..count).collect();
    by_depth.sort_by(|&a, &b| depths[a as usize].total_cmp(&depths[b as usize]));
    by_depth.truncate(2 * rank + 256);
    let most = nearest_others(query, rows, &clusters, by_depth)?.get(rank).copied().unwrap_or(f64::INFINITY);
    let shallow = (0..count).filter(|&row| depths[row as usize] <= most * (1.0 + 1e-9)).collect();
    Ok(nearest_others(query, rows, &clusters, shallow)?.get(rank).copied().unwrap_or(2.0))
}

/// How deep each row lies in its own cluster: the least distance to the plane half-way between its centre and another
/// one, rounded down. The distance of rows of two clusters is at least the sum of their depths.
fn depths(rows: &Matrix, centres: &Matrix, clusters: &[u32]) -> Result<Vec<f64>> {
    let own = rows.distance_reduce(centres, Metric::SqEuclidean, Reduction::Min)?.to_vec()?;
    let mut depths = vec![f64::INFINITY; own.len()];
    for cluster in 0..centres.shape()?.0 {
        let centre = centres.gather(&[cluster])?;
        let others = rows.distance_reduce(&centre, Metric::SqEuclidean, Reduction::Min)?.to_vec()?;
        let gaps = centres.distance_reduce(&centre, Metric::Euclidean, Reduction::Min)?.to_vec()?;
        for (row, depth) in depths.iter_mut().enumerate().filter(|(row, _)| clusters[*row] != cluster) {
            let gap = gaps[clusters[row] as usize];
            // Squared distances of rows of norm 1 are known to 1e-12 and better.
            let found = if gap > 0.0 { (others[row] - own[row] - 1e-11) / (2.0 * gap) } else { 0.0 };
            *depth = depth.min(found * (1.0 - 1e-9));
        }
    }
    Ok(depths)
}

/// Distance of each of some rows to the nearest of them in another cluster, ascending; no more than there are such.
fn nearest_others(query: &Query, rows: &Matrix, clusters: &[u32], some: Vec<u32>) -> Result<Vec<f64>> {
    let mut distances = Vec::with_capacity(some.len());
    let classes = query.classes();
    for cluster in 0..classes {
        let (own, others): (Vec<u32>, Vec<u32>) = some.iter().partition(|&&row| clusters[row as usize] == cluster);
        if own.is_empty() || others.is_empty() {
            continue;
        }
        let (own, others) = (rows.gather(&own)?, rows.gather(&others)?);
        distances.extend(own.distance_reduce(&others, Metric::Euclidean, Reduction::Min)?.to_vec()?);
        query.progress(u64::from(cluster), u64::from(classes))?;
    }
    distances.sort_unstable_by(f64::total_cmp);
    Ok(distances)
}
