//! Average linkage by nearest neighbours of each other.
//!
//! For squared Euclidean distance the average over all pairs of two clusters is the squared distance of their means
//! plus the variance of each, so clusters are kept as means and no distances are stored. A cluster's nearest neighbour
//! stays the nearest until one of the two merges, because a merged cluster is no nearer than the nearer of its parts.
//! So neighbours are remembered, all clusters that are each other's nearest merge in one round, and new neighbours are
//! looked for many at a time, from single-precision products. Where rounds merge too little, as with many equal
//! distances, a chain of nearest neighbours goes on. Plain Euclidean distance does not come apart like that and needs
//! every distance.

use std::ops::Range;

use querist_protocol::{Fault, FaultCode, Merge, Metric};

use crate::control::Pacer;
use crate::filter::{Filter, TILE_ROWS};
use crate::matrix::Matrix;
use crate::memory::Charged;
use crate::points::Points;
use crate::workers::Workers;

const METRIC: Metric = Metric::SqEuclidean;

/// Centres that one task looks at where single precision gives no bounds.
const BLOCK: usize = 512;

/// Every merge, after those of its parts.
pub(crate) fn average(workers: &Workers, rows: &Matrix, metric: Metric) -> Result<Vec<Merge>, Fault> {
    let equals = equals(rows);
    match metric {
        Metric::SqEuclidean => Chain::new(Means::new(workers, rows)?, rows.rows()).merges(workers, &equals),
        Metric::Euclidean => Chain::new(Distances::new(workers, rows)?, rows.rows()).merges(workers, &equals),
        Metric::Cosine => Err(Fault::new(
            FaultCode::BadArgument,
            "average linkage has no cosine metric; of normalised rows it is half that of `sq-euclidean`",
        )),
    }
}

/// Rows that equal a lower one, with the lowest of these. They merge first, at height 0: as everyone's nearest
/// neighbour their lowest row would otherwise have to be looked for again after each merge.
fn equals(rows: &Matrix) -> Vec<(u32, u32)> {
    let compare = |a: u32, b: u32| bits(&rows.row(a as usize)).cmp(bits(&rows.row(b as usize)));
    let mut order: Vec<u32> = (0..rows.rows() as u32).collect();
    order.sort_unstable_by(|&a, &b| compare(a, b).then(a.cmp(&b)));
    let groups = order.chunk_by(|&a, &b| compare(a, b).is_eq());
    groups.flat_map(|group| group[1..].iter().map(|&row| (group[0], row))).collect()
}

fn bits(row: &[f32]) -> impl Iterator<Item = u32> {
    row.iter().map(|value| value.to_bits())
}

/// Clusters by the lowest of their rows, and the distances between them.
trait Clusters {
    /// The nearest other cluster of each of some clusters: the lowest among equals. There is another one.
    fn nearest(&self, workers: &Workers, of: &[u32]) -> Result<Vec<(f64, u32)>, Fault>;

    /// Merges two clusters into the lower one.
    fn merge(&mut self, workers: &Workers, low: u32, high: u32) -> Result<(), Fault>;

    /// Clusters that are looked at together where that pays.
    const TOGETHER: usize;
}

/// A round is worth its looks if it takes no more than this many for a merge.
const WORTHWHILE: usize = 24;

/// What is remembered of a cluster.
#[derive(Debug, Clone, Copy)]
struct Known {
    is_alive: bool,
    is_in_chain: bool,
    /// The nearest other cluster and its distance, until one of the two merges.
    nearest: Option<(f64, u32)>,
    /// Whether that was ever asked for.
    was_used: bool,
}

/// Clusters that each are the nearest neighbour of the one before.
struct Chain<C> {
    clusters: C,
    known: Vec<Known>,
    chain: Vec<u32>,
    /// Where the next stale cluster is looked for.
    cursor: usize,
    /// Neighbours that were looked for and asked for, and those that were lost before.
    useful: u64,
    wasted: u64,
    looks: u64,
}

impl<C: Clusters> Chain<C> {
    fn new(clusters: C, count: usize) -> Self {
        let fresh = Known { is_alive: true, is_in_chain: false, nearest: None, was_used: false };
        Self { clusters, known: vec![fresh; count], chain: Vec::new(), cursor: 0, useful: 0, wasted: 0, looks: 0 }
    }

    fn merges(mut self, workers: &Workers, equals: &[(u32, u32)]) -> Result<Vec<Merge>, Fault> {
        let count = self.known.len();
        let mut merges = Vec::with_capacity(count.saturating_sub(1));
        if count < 2 {
            return Ok(merges);
        }
        for &(left, right) in equals {
            self.clusters.merge(workers, left, right)?;
            self.known[right as usize].is_alive = false;
            merges.push(Merge { left, right, height: 0.0 });
        }
        let mut stale: Vec<u32> = (0..count as u32).filter(|&row| self.known[row as usize].is_alive).collect();
        if merges.len() + 1 == count {
            return Ok(merges);
        }
        loop {
            for part in stale.chunks(C::TOGETHER) {
                self.look(workers, part)?;
            }
            let before = merges.len();
            self.merge_pairs(workers, &mut merges)?;
            let merged = merges.len() - before;
            let is_stale = |&cluster: &u32| {
                let known = &self.known[cluster as usize];
                known.is_alive && known.nearest.is_none()
            };
            stale = (0..count as u32).filter(is_stale).collect();
            if merged * WORTHWHILE < stale.len() || merges.len() + 1 == count {
                break;
            }
        }
        let mut lowest = 0;
        while merges.len() + 1 < count {
            workers.control().check()?;
            if self.chain.is_empty() {
                while !self.known[lowest].is_alive {
                    lowest += 1;
                }
                self.push(lowest as u32);
            }
            let top = self.chain[self.chain.len() - 1];
            let (distance, next) = self.nearest(workers, top)?;
            let before = self.chain.len().checked_sub(2).map(|at| self.chain[at]);
            match before {
                // The one before is as near as any; rounding may name another one of the chain.
                Some(before) if self.is_as_near(before, top, distance) || self.known[next as usize].is_in_chain => {
                    let height = self.known[before as usize].nearest.map_or(distance, |(d, _)| d);
                    let (left, right) = (before.min(top), before.max(top));
                    merges.push(Merge { left, right, height });
                    self.merge(workers, left, right)?;
                }
                _ => self.push(next),
            }
        }
        Ok(merges)
    }

    /// Merges all clusters that are each other's nearest.
    fn merge_pairs(&mut self, workers: &Workers, merges: &mut Vec<Merge>) -> Result<(), Fault> {
        let nearest =
            |cluster: u32| self.known[cluster as usize].nearest.filter(|_| self.known[cluster as usize].is_alive);
        let is_mutual = |a: u32, b: u32| a < b && nearest(b).is_some_and(|(_, back)| back == a);
        let of =
            |left: u32| nearest(left).filter(|&(_, right)| is_mutual(left, right)).map(|(d, right)| (left, right, d));
        let pairs: Vec<(u32, u32, f64)> = (0..self.known.len() as u32).filter_map(of).collect();
        let mut has_merged = vec![false; self.known.len()];
        for &(left, right, height) in &pairs {
            self.clusters.merge(workers, left, right)?;
            merges.push(Merge { left, right, height });
            self.known[right as usize].is_alive = false;
            self.known[left as usize].nearest = None;
            (has_merged[left as usize], has_merged[right as usize]) = (true, true);
        }
        for known in &mut self.known {
            if known.nearest.is_some_and(|(_, nearest)| has_merged[nearest as usize]) {
                known.nearest = None;
            }
        }
        Ok(())
    }

    fn push(&mut self, cluster: u32) {
        self.known[cluster as usize].is_in_chain = true;
        self.chain.push(cluster);
    }

    /// Whether `before`, whose nearest neighbour is `top`, is no farther from it than `distance`.
    fn is_as_near(&self, before: u32, top: u32, distance: f64) -> bool {
        self.known[before as usize].nearest.is_some_and(|(d, nearest)| nearest == top && d <= distance)
    }

    /// The nearest neighbour of a cluster, looked for where it is not known.
    fn nearest(&mut self, workers: &Workers, cluster: u32) -> Result<(f64, u32), Fault> {
        loop {
            let known = &mut self.known[cluster as usize];
            if let Some(nearest) = known.nearest {
                self.useful += u64::from(!std::mem::replace(&mut known.was_used, true));
                return Ok(nearest);
            }
            let batch = self.stale_from(cluster);
            self.look(workers, &batch)?;
        }
    }

    /// A stale cluster, with others that are stale where looking ahead is mostly of use.
    fn stale_from(&mut self, cluster: u32) -> Vec<u32> {
        let mut batch = vec![cluster];
        self.looks += 1;
        // Looking ahead costs a small part of looking alone. Now and then it is tried again.
        if self.wasted > 8 * (self.useful + 64) && !self.looks.is_multiple_of(64) {
            return batch;
        }
        for _ in 0..self.known.len() {
            if batch.len() == C::TOGETHER {
                break;
            }
            self.cursor = (self.cursor + 1) % self.known.len();
            let known = &self.known[self.cursor];
            if known.is_alive && known.nearest.is_none() && self.cursor as u32 != cluster {
                batch.push(self.cursor as u32);
            }
        }
        batch
    }

    fn look(&mut self, workers: &Workers, clusters: &[u32]) -> Result<(), Fault> {
        let found = self.clusters.nearest(workers, clusters)?;
        for (&cluster, nearest) in clusters.iter().zip(found) {
            let known = &mut self.known[cluster as usize];
            (known.nearest, known.was_used) = (Some(nearest), false);
        }
        Ok(())
    }

    /// Merges the last two of the chain.
    fn merge(&mut self, workers: &Workers, low: u32, high: u32) -> Result<(), Fault> {
        self.clusters.merge(workers, low, high)?;
        for cluster in [low, high] {
            self.known[cluster as usize].is_in_chain = false;
        }
        self.chain.truncate(self.chain.len() - 2);
        self.known[high as usize].is_alive = false;
        self.known[low as usize].nearest = None;
        for known in &mut self.known {
            if known.is_alive && known.nearest.is_some_and(|(_, nearest)| nearest == low || nearest == high) {
                self.wasted += u64::from(!known.was_used);
                known.nearest = None;
            }
        }
        Ok(())
    }
}

/// Clusters as means in `f32`, with the variance around them, in places that are closed up as clusters merge.
struct Means {
    means: Points,
    /// Mean squared distance of the rows of each cluster to its mean; infinite where the cluster is merged away.
    variances: Charged<f64>,
    sizes: Charged<f64>,
    /// The cluster in each place, ascending.
    names: Vec<u32>,
    /// The place of each cluster.
    places: Vec<u32>,
    alive: usize,
}

impl Means {
    fn new(workers: &Workers, rows: &Matrix) -> Result<Self, Fault> {
        let control = workers.control();
        let own = Matrix::of_values(Charged::copied(control, &rows.values())?, rows.rows(), rows.columns());
        let names: Vec<u32> = (0..rows.rows() as u32).collect();
        Ok(Self {
            means: Points::plain(workers, own)?,
            variances: Charged::filled(control, rows.rows(), 0.0)?,
            sizes: Charged::filled(control, rows.rows(), 1.0)?,
            places: names.clone(),
            alive: names.len(),
            names,
        })
    }

    /// Closes up the places of clusters that are merged away.
    fn close_up(&mut self, workers: &Workers) -> Result<(), Fault> {
        let kept: Vec<u32> =
            (0..self.names.len() as u32).filter(|&place| self.variances[place as usize] < f64::INFINITY).collect();
        let Some(means) = self.means.as_plain() else { return Ok(()) };
        let control = workers.control();
        let of = |values: &[f64]| kept.iter().map(|&place| values[place as usize]).collect::<Vec<f64>>();
        let (variances, sizes) = (of(&self.variances), of(&self.sizes));
        let names: Vec<u32> = kept.iter().map(|&place| self.names[place as usize]).collect();
        self.means = Points::plain(workers, means.gather(workers, &kept)?)?;
        self.variances = Charged::copied(control, &variances)?;
        self.sizes = Charged::copied(control, &sizes)?;
        for (place, &name) in names.iter().enumerate() {
            self.places[name as usize] = place as u32;
        }
        self.names = names;
        Ok(())
    }

    /// Distance of the clusters in two places.
    fn distance(&self, a: u32, b: u32) -> f64 {
        let raw = self.means.raw_distance(METRIC, a as usize, &self.means, b as usize);
        // The sum of variances first, so that both clusters see the same distance.
        raw + (self.variances[a as usize] + self.variances[b as usize])
    }

    /// The nearest of a block of places, by lower bounds of squared distances of the means.
    fn nearest_of(
        &self,
        own: u32,
        range: &Range<usize>,
        lows: &mut [f64],
        pacer: &mut Pacer<'_>,
    ) -> Result<(f64, u32), Fault> {
        for (low, variance) in lows.iter_mut().zip(&self.variances[range.clone()]) {
            // Infinite for what is merged away.
            *low += variance;
        }
        if let Some(own) = (own as usize).checked_sub(range.start).filter(|&own| own < lows.len()) {
            lows[own] = f64::INFINITY;
        }
        // The sum above, the one in `distance` and this one are rounded apart.
        let bound = |low: f64| (low + self.variances[own as usize]) - low.abs() * 1e-12;
        let mut best = (f64::INFINITY, u32::MAX);
        let promising = (0..lows.len()).min_by(|&a, &b| lows[a].total_cmp(&lows[b]));
        if let Some(promising) = promising.filter(|&at| lows[at] < f64::INFINITY) {
            pacer.spend(self.means.width() + 1)?;
            best = (self.distance(own, (range.start + promising) as u32), (range.start + promising) as u32);
        }
        for (at, &low) in lows.iter().enumerate() {
            let other = (range.start + at) as u32;
            if low < f64::INFINITY && bound(low) <= best.0 && other != best.1 {
                pacer.spend(self.means.width() + 1)?;
                let distance = self.distance(own, other);
                if distance < best.0 || distance == best.0 && other < best.1 {
                    best = (distance, other);
                }
            }
        }
        Ok(best)
    }
}

impl Clusters for Means {
    const TOGETHER: usize = TILE_ROWS;

    fn nearest(&self, workers: &Workers, of: &[u32]) -> Result<Vec<(f64, u32)>, Fault> {
        let Some(means) = self.means.as_plain() else { return Ok(Vec::new()) };
        let of: Vec<u32> = of.iter().map(|&cluster| self.places[cluster as usize]).collect();
        let points = Points::plain(workers, means.gather(workers, &of)?)?;
        let filter = Filter::new(workers, &points, &self.means, METRIC)?;
        let blocks: Vec<Range<usize>> = match &filter {
            Some(filter) => filter.centre_blocks().collect(),
            None => (0..means.rows()).step_by(BLOCK).map(|at| at..(at + BLOCK).min(means.rows())).collect(),
        };
        let parts = workers.map(blocks.len(), |block| {
            let range = &blocks[block];
            let mut pacer = Pacer::new(workers.control());
            let mut tile = match &filter {
                Some(filter) => {
                    let mut tile = filter.tile();
                    filter.multiply(&mut tile, 0..of.len(), range.clone(), workers.control())?;
                    Some(tile)
                }
                None => None,
            };
            let mut lows = vec![0.0; range.len()];
            let mut found = Vec::with_capacity(of.len());
            for (i, &own) in of.iter().enumerate() {
                lows.fill(0.0);
                if let (Some(filter), Some(tile)) = (&filter, &mut tile) {
                    filter.lows(tile, i, &filter.row_terms(i), &mut lows);
                }
                found.push(self.nearest_of(own, range, &mut lows, &mut pacer)?);
            }
            Ok(found)
        })?;
        let nearer = |a: (f64, u32), b: (f64, u32)| if b.0 < a.0 { b } else { a };
        let best = |i: usize| parts.iter().map(|part| part[i]).fold((f64::INFINITY, u32::MAX), nearer);
        let named = |i: usize| {
            let (distance, place) = best(i);
            let own = self.names[of[i] as usize];
            settled(own, (distance, self.names.get(place as usize).copied().unwrap_or(u32::MAX)))
        };
        (0..of.len()).map(named).collect()
    }

    fn merge(&mut self, workers: &Workers, low: u32, high: u32) -> Result<(), Fault> {
        let (a, b) = (self.places[low as usize] as usize, self.places[high as usize] as usize);
        let (n, m) = (self.sizes[a], self.sizes[b]);
        let total = n + m;
        let apart = self.means.raw_distance(METRIC, a, &self.means, b);
        let within = (n * self.variances[a] + m * self.variances[b]) / total;
        self.variances[a] = within + (n / total) * (m / total) * apart;
        self.variances[b] = f64::INFINITY;
        self.sizes[a] = total;
        self.means.move_towards(a, b, m / total)?;
        self.alive -= 1;
        if 2 * self.alive < self.names.len() { self.close_up(workers) } else { Ok(()) }
    }
}

/// A neighbour that was found. Distances that overflow leave none.
fn settled(own: u32, nearest: (f64, u32)) -> Result<(f64, u32), Fault> {
    if nearest.1 == u32::MAX {
        return Err(Fault::new(FaultCode::NonFinite, format!("distances of the cluster of row {own} overflow")));
    }
    Ok(nearest)
}

/// Clusters as all average distances between them.
struct Distances {
    /// Row by row below the diagonal; infinite where a cluster is merged away.
    values: Charged<f64>,
    sizes: Charged<f64>,
}

impl Distances {
    fn new(workers: &Workers, rows: &Matrix) -> Result<Self, Fault> {
        let (control, count) = (workers.control(), rows.rows());
        let points = Points::plain(workers, rows.clone())?;
        let mut values = Charged::filled(control, crate::check::product(count, count.saturating_sub(1))? / 2, 0.0)?;
        let mut rest = &mut *values;
        let mut lines = Vec::with_capacity(count);
        for row in 0..count {
            let (line, after) = rest.split_at_mut(row);
            lines.push(line);
            rest = after;
        }
        workers.fill(&mut lines, 16, |start, lines| {
            let mut pacer = Pacer::new(control);
            for (i, line) in lines.iter_mut().enumerate() {
                for (other, value) in line.iter_mut().enumerate() {
                    pacer.spend(points.width() + 1)?;
                    *value = points.raw_distance(METRIC, start + i, &points, other).sqrt();
                }
            }
            Ok(())
        })?;
        drop(lines);
        Ok(Self { values, sizes: Charged::filled(control, count, 1.0)? })
    }

    fn place(a: usize, b: usize) -> usize {
        let (low, high) = (a.min(b), a.max(b));
        high * (high - 1) / 2 + low
    }
}

impl Clusters for Distances {
    const TOGETHER: usize = 1;

    fn nearest(&self, workers: &Workers, of: &[u32]) -> Result<Vec<(f64, u32)>, Fault> {
        let mut pacer = Pacer::new(workers.control());
        let mut found = Vec::with_capacity(of.len());
        for &own in of {
            pacer.spend(self.sizes.len())?;
            let mut best = (f64::INFINITY, u32::MAX);
            for other in (0..self.sizes.len()).filter(|&other| other != own as usize) {
                let distance = self.values[Self::place(own as usize, other)];
                if distance < best.0 {
                    best = (distance, other as u32);
                }
            }
            found.push(settled(own, best)?);
        }
        Ok(found)
    }

    fn merge(&mut self, _: &Workers, low: u32, high: u32) -> Result<(), Fault> {
        let (a, b) = (low as usize, high as usize);
        let (n, m) = (self.sizes[a], self.sizes[b]);
        for other in (0..self.sizes.len()).filter(|&other| other != a && other != b) {
            let (to_a, to_b) = (Self::place(a, other), Self::place(b, other));
            self.values[to_a] = (n * self.values[to_a] + m * self.values[to_b]) / (n + m);
            self.values[to_b] = f64::INFINITY;
        }
        self.values[Self::place(a, b)] = f64::INFINITY;
        self.sizes[a] = n + m;
        Ok(())
    }
}
