//! Lloyd's algorithm with restarts.
//!
//! Centres are `f32`; a mean is summed in `f64` in row order and rounded once. Assignments, distances and inertia are
//! those to the rounded centres, so what is read back is what was computed with.

use std::sync::Arc;

use querist_protocol::philox::Stream;
use querist_protocol::{Fault, Init, KmeansOptions, Metric};

use crate::assignment::Assignment;
use crate::check;
use crate::control::Pacer;
use crate::matrix::{Matrix, rows_per_task};
use crate::memory::Charged;
use crate::nearest::Nearest;
use crate::points::Points;
use crate::rank;
use crate::simd;
use crate::workers::Workers;

const METRIC: Metric = Metric::SqEuclidean;
/// Values of rows that are read at once where means are taken of rows that are not in memory.
const FAR_VALUES: usize = 1 << 20;

/// A partition of rows into clusters.
#[derive(Debug)]
pub(crate) struct Clustering {
    centres: Matrix,
    clusters: Charged<u32>,
    /// Squared distance of each row to its centre.
    distances: Charged<f64>,
    inertia: f64,
}

/// What does not change between restarts.
struct Problem<'a> {
    workers: &'a Workers,
    points: Arc<Points>,
    rows: &'a Matrix,
    weights: Option<Arc<Charged<f64>>>,
    options: KmeansOptions,
}

/// Clusters the rows; see [`querist_protocol::HostCalls::kmeans`].
pub(crate) fn kmeans(
    workers: &Workers,
    rows: &Matrix,
    weights: Option<Arc<Charged<f64>>>,
    options: KmeansOptions,
    stream: &mut Stream,
) -> Result<Clustering, Fault> {
    check_options(rows, weights.as_ref().map(|weights| &***weights), options)?;
    let points = Arc::new(Points::plain(workers, rows.clone())?);
    let mut assignment = Assignment::new(workers, Arc::clone(&points), options.clusters as usize)?;
    let problem = Problem { workers, points, rows, weights, options };
    let mut best = problem.restart(&mut assignment, stream)?;
    for _ in 1..options.restarts {
        let next = problem.restart(&mut assignment, stream)?;
        if next.inertia < best.inertia {
            best = next;
        }
    }
    Ok(best)
}

fn check_options(rows: &Matrix, weights: Option<&[f64]>, options: KmeansOptions) -> Result<(), Fault> {
    check::argument((1..=rows.rows()).contains(&(options.clusters as usize)), || {
        format!("asked for {} clusters of {} rows; at least 1 and at most the rows", options.clusters, rows.rows())
    })?;
    check::argument(options.restarts > 0 && options.max_iterations > 0, || {
        "k-means needs at least 1 restart and 1 iteration".to_owned()
    })?;
    check::argument(options.tolerance.is_finite() && options.tolerance >= 0.0, || {
        format!("the tolerance is {}, but it must be finite and at least 0", options.tolerance)
    })?;
    if let Some(weights) = weights {
        check::same(weights.len(), rows.rows(), "length of the weights")?;
        check::weights(weights)?;
    }
    Ok(())
}

impl Problem<'_> {
    fn restart(&self, now: &mut Assignment, stream: &mut Stream) -> Result<Clustering, Fault> {
        let control = self.workers.control();
        let first = match self.options.init {
            Init::KmeansPlusPlus => self.draw_spread(stream)?,
            Init::RandomPoints => self.draw_evenly(stream)?,
        };
        let mut centres = self.rows.gather(self.workers, &first)?;
        now.reset();
        let mut inertia = self.assign(now, &centres)?;
        for _ in 0..self.options.max_iterations {
            let moved;
            (centres, moved) = self.update(now, &centres)?;
            let before = std::mem::replace(&mut inertia, self.assign(now, &centres)?);
            if before - inertia <= self.options.tolerance * before && moved == 0 {
                break;
            }
        }
        let clusters = Charged::copied(control, now.clusters())?;
        let distances = Charged::copied(control, now.distances())?;
        Ok(Clustering { centres, clusters, distances, inertia })
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[row])
    }

    /// k-means++: the first row by weight, each next one by weight times squared distance; the lowest rows not yet
    /// taken where no weight is left.
    fn draw_spread(&self, stream: &mut Stream) -> Result<Vec<u32>, Fault> {
        let control = self.workers.control();
        let mut taken = Charged::filled(control, self.rows.rows(), false)?;
        let mut rows = Vec::new();
        let mut engine = Nearest::new(self.workers, Arc::clone(&self.points), METRIC, self.weights.clone())?;
        let mut lowest = 0;
        for step in 0..self.options.clusters {
            let u = stream.next_uniform();
            let drawn = match (step, &self.weights) {
                (0, Some(weights)) => rank::draw(weights, None, u)?,
                (0, None) => Some(((u * self.rows.rows() as f64) as u32).min(self.rows.rows() as u32 - 1)),
                _ => engine.draw(self.workers, Some(&taken), u)?,
            };
            while taken.get(lowest) == Some(&true) {
                lowest += 1;
            }
            let row = drawn.unwrap_or(lowest as u32);
            taken[row as usize] = true;
            engine.add(self.workers, &[row])?;
            rows.push(row);
        }
        Ok(rows)
    }

    /// Distinct rows, each equally likely.
    fn draw_evenly(&self, stream: &mut Stream) -> Result<Vec<u32>, Fault> {
        let count = self.rows.rows();
        let mut rows = Charged::filled(self.workers.control(), count, 0u32)?;
        for (row, out) in rows.iter_mut().enumerate() {
            *out = row as u32;
        }
        for i in 0..self.options.clusters as usize {
            rows.swap(i, i + stream.next_below((count - i) as u64) as usize);
        }
        Ok(rows[..self.options.clusters as usize].to_vec())
    }

    /// Each row goes to its nearest centre; the weighted sum of squared distances.
    fn assign(&self, now: &mut Assignment, centres: &Matrix) -> Result<f64, Fault> {
        now.assign(self.workers, Points::plain(self.workers, centres.clone())?)?;
        let distances = now.distances();
        let weighted = |row: usize| self.weight(row) * distances[row];
        let blocks = distances.len().div_ceil(rank::SUM_BLOCK);
        let sums = (0..blocks).map(|block| rank::block_sum(block, distances.len(), weighted));
        Ok(sums.fold(0.0, |total, sum| total + sum))
    }

    /// The weighted mean of each cluster; an empty cluster moves to the worst-served row of a cluster of several. Tells
    /// how many moved so.
    fn update(&self, now: &Assignment, before: &Matrix) -> Result<(Matrix, usize), Fault> {
        let control = self.workers.control();
        let (count, columns) = (self.options.clusters as usize, self.rows.columns());
        let members = Members::of(now.clusters(), count, self.workers)?;
        let mut values = Charged::copied(control, &before.values())?;
        if columns == 0 {
            return Ok((before.clone(), 0));
        }
        if self.rows.is_far() {
            self.far_means(now, &members, &mut values)?;
        } else {
            self.workers.fill(&mut values, columns, |start, centre| {
                let cluster = start / columns;
                // The mean of the same rows is the same.
                if !now.has_changed(cluster) {
                    return Ok(());
                }
                let mut sum = Sum { values: Charged::filled(control, columns, 0.0f64)?, total: 0.0 };
                let mut pacer = Pacer::new(control);
                for &row in members.rows(cluster) {
                    pacer.spend(columns)?;
                    sum.add(&self.rows.row(row as usize), self.weight(row as usize));
                }
                sum.write_mean(centre);
                Ok(())
            })?;
        }
        let mut moved = 0;
        let clusters = now.clusters();
        let mut sizes = sizes(clusters, count);
        let mut worst = self.worst_served(now.distances(), &sizes)?.into_iter();
        for cluster in 0..count {
            if sizes[cluster] > 0 {
                continue;
            }
            let fits = |&row: &u32| sizes[clusters[row as usize] as usize] > 1;
            let Some(row) = worst.find(fits) else { break };
            sizes[clusters[row as usize] as usize] -= 1;
            sizes[cluster] = 1;
            values[cluster * columns..][..columns].copy_from_slice(&self.rows.row(row as usize));
            moved += 1;
        }
        Ok((Matrix::of_values(values, count, columns), moved))
    }

    /// Means of clusters whose rows are read in blocks: each block once, in order, so that each sum has the order that
    /// it has in memory.
    fn far_means(&self, now: &Assignment, members: &Members, means: &mut [f32]) -> Result<(), Fault> {
        let (control, columns, rows) = (self.workers.control(), self.rows.columns(), self.rows.rows());
        let changed: Vec<usize> =
            (0..self.options.clusters as usize).filter(|&cluster| now.has_changed(cluster)).collect();
        let mut sums = Vec::with_capacity(changed.len());
        for &cluster in &changed {
            sums.push((cluster, Sum { values: Charged::filled(control, columns, 0.0f64)?, total: 0.0 }, 0usize));
        }
        let step = (FAR_VALUES / columns).clamp(1, rows.max(1));
        let mut block = Charged::filled(control, step * columns, 0.0f32)?;
        for first in (0..rows).step_by(step) {
            let count = step.min(rows - first);
            let here = &mut block[..count * columns];
            self.workers.fill(here, rows_per_task(columns) * columns, |start, out| {
                self.rows.read(first + start / columns, out)
            })?;
            let here = &block[..count * columns];
            self.workers.fill(&mut sums, 1, |_, sums| {
                let mut pacer = Pacer::new(control);
                for (cluster, sum, at) in sums {
                    let mut rest = members.rows(*cluster)[*at..].iter().map(|&row| row as usize);
                    while let Some(row) = rest.next().filter(|&row| row < first + count) {
                        pacer.spend(columns)?;
                        sum.add(&here[(row - first) * columns..][..columns], self.weight(row));
                        *at += 1;
                    }
                }
                Ok(())
            })?;
        }
        for (cluster, sum, _) in &sums {
            sum.write_mean(&mut means[cluster * columns..][..columns]);
        }
        Ok(())
    }

    /// Rows that are not at their centre, the farthest first; as many as could be needed.
    fn worst_served(&self, distances: &[f64], sizes: &[u32]) -> Result<Vec<u32>, Fault> {
        if sizes.iter().all(|&size| size > 0) {
            return Ok(Vec::new());
        }
        let mut rows = rank::top(self.workers, distances, None, distances.len(), None)?;
        rows.retain(|&row| distances[row as usize] > 0.0);
        Ok(rows)
    }
}

/// A weighted sum of rows.
struct Sum {
    values: Charged<f64>,
    total: f64,
}

impl Sum {
    fn add(&mut self, row: &[f32], weight: f64) {
        self.total += weight;
        simd::add_scaled(&mut self.values, row, weight);
    }

    /// Without any weight the centre stays.
    fn write_mean(&self, centre: &mut [f32]) {
        if self.total > 0.0 {
            for (centre, sum) in centre.iter_mut().zip(self.values.iter()) {
                *centre = (sum / self.total) as f32;
            }
        }
    }
}

/// Rows by cluster.
struct Members {
    rows: Charged<u32>,
    ends: Vec<usize>,
}

impl Members {
    fn of(clusters: &[u32], count: usize, workers: &Workers) -> Result<Self, Fault> {
        let mut rows = Charged::filled(workers.control(), clusters.len(), 0u32)?;
        let mut ends = Vec::with_capacity(count);
        let mut end = 0;
        for size in sizes(clusters, count) {
            ends.push(end);
            end += size as usize;
        }
        for (row, &cluster) in clusters.iter().enumerate() {
            let at = &mut ends[cluster as usize];
            rows[*at] = row as u32;
            *at += 1;
        }
        Ok(Self { rows, ends })
    }

    /// Rows of a cluster, ascending.
    fn rows(&self, cluster: usize) -> &[u32] {
        let start = if cluster == 0 { 0 } else { self.ends[cluster - 1] };
        &self.rows[start..self.ends[cluster]]
    }
}

fn sizes(clusters: &[u32], count: usize) -> Vec<u32> {
    let mut sizes = vec![0; count];
    clusters.iter().for_each(|&cluster| sizes[cluster as usize] += 1);
    sizes
}

impl Clustering {
    /// Number of rows in each cluster.
    pub(crate) fn sizes(&self) -> Vec<u32> {
        sizes(&self.clusters, self.centres.rows())
    }

    /// The cluster of each row.
    pub(crate) fn clusters(&self) -> &[u32] {
        &self.clusters
    }

    /// The centres.
    pub(crate) fn centres(&self) -> &Matrix {
        &self.centres
    }

    /// Weighted sum of squared distances.
    pub(crate) fn inertia(&self) -> f64 {
        self.inertia
    }

    /// The member of each cluster nearest to its centre, the lowest row among equals.
    pub(crate) fn representatives(&self, excluded: Option<&[bool]>) -> Vec<Option<u32>> {
        let mut best: Vec<Option<u32>> = vec![None; self.centres.rows()];
        for (row, &cluster) in self.clusters.iter().enumerate() {
            if excluded.is_some_and(|excluded| excluded[row]) {
                continue;
            }
            let best = &mut best[cluster as usize];
            if best.is_none_or(|best| self.distances[row] < self.distances[best as usize]) {
                *best = Some(row as u32);
            }
        }
        best
    }
}
