//! Rows and the nearest of some centres, kept while the centres move.
//!
//! A centre that has moved by m is at most m nearer to a row than it was, so a lower bound of a distance stays one if m
//! is taken off. Each row keeps such bounds, one for each group of centres, and looks only at groups whose bound falls
//! below the distance to its own centre. Where there is room every group is a single centre (Elkan, ICML 2003), else
//! centres that lie together share one (Ding et al., "Yinyang K-Means", ICML 2015). Centres that many rows look at go
//! through a matrix product. The nearest centres, and the bits of the distances, are those of looking at every pair.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use querist_protocol::{Fault, Metric};

use crate::accelerator::RowTerms;
use crate::control::Pacer;
use crate::distance;
use crate::filter::{Filter, TILE_ROWS, Tile};
use crate::memory::{Charge, Charged};
use crate::points::Points;
use crate::simd::for_each_cpu;
use crate::workers::Workers;

const METRIC: Metric = Metric::SqEuclidean;

/// Bounds are whole numbers of a unit that is the row's own; this one stands for all that are as large or larger.
const LARGEST: u16 = u16::MAX;
/// The largest bound, in the largest distance that the row saw first. What it exceeds 1 by is room for centres to move.
const REACH: f64 = 4.0;

/// Of this many rows one is asked which centres many rows look at.
const SAMPLED: usize = 16;
/// A product with a centre costs as much as looking at a row in this many.
const PRODUCT_SHARE: usize = 4;

/// No centre yet.
const NONE: u32 = u32::MAX;

/// The nearest centre of each row, the lowest among equals, and the squared distance to it.
#[derive(Debug)]
pub(crate) struct Assignment {
    points: Arc<Points>,
    /// The centres of the last call.
    centres: Option<Points>,
    clusters: Charged<u32>,
    distances: Charged<f64>,
    groups: Groups,
    /// Lower bounds of distances, not squared, by row and group; a row's own centre does not count. None with a device.
    bounds: Charged<u16>,
    units: Charged<f64>,
    /// Clusters that a row joined or left in the last call.
    changed: Vec<bool>,
}

/// Centres that share a bound.
#[derive(Debug)]
struct Groups {
    /// Centres by group.
    members: Vec<u32>,
    /// Where the members of each group end.
    ends: Vec<usize>,
    /// The group of each centre.
    of: Vec<u32>,
    /// How far some centre of a group has moved since the first call, at most: what is taken off its bounds.
    moved: Vec<f64>,
}

/// One call.
struct Look<'a> {
    points: &'a Points,
    centres: &'a Points,
    groups: &'a Groups,
    /// Centres that have moved; all of them in the first call.
    moved: &'a [bool],
    is_first: bool,
    /// More than the relative rounding of a distance.
    hair: f64,
}

/// Centres that many rows look at, in the order of groups.
struct Popular {
    centres: Vec<u32>,
    points: Points,
    /// Where each group lies among them, if it does.
    places: Vec<Range<u32>>,
}

/// What is kept of one row.
struct Row<'a> {
    number: usize,
    cluster: &'a mut u32,
    distance: &'a mut f64,
    bounds: &'a mut [u16],
    unit: &'a mut f64,
}

/// What is kept of a block of rows.
struct Block<'a> {
    first: usize,
    clusters: &'a mut [u32],
    distances: &'a mut [f64],
    bounds: &'a mut [u16],
    units: &'a mut [f64],
}

impl Assignment {
    /// Room for rows and the given number of centres, of which there are some. Bounds take at most a quarter of the
    /// memory that the query has left.
    pub(crate) fn new(workers: &Workers, points: Arc<Points>, centres: usize) -> Result<Self, Fault> {
        let (control, rows) = (workers.control(), points.len());
        // A device looks at all pairs before bounds say which.
        let has_device = !points.are_far() && workers.device_for(rows, centres, points.width()).is_some();
        let room = control.limits().memory.saturating_sub(control.memory()) / 4;
        let groups = if has_device { 0 } else { (room / (2 * rows.max(1) as u64)).clamp(1, centres as u64) as usize };
        Ok(Self {
            clusters: Charged::filled(control, rows, NONE)?,
            distances: Charged::filled(control, rows, f64::INFINITY)?,
            bounds: Charged::filled(control, crate::check::product(rows, groups)?, 0)?,
            units: Charged::filled(control, rows, 0.0)?,
            groups: Groups { members: Vec::new(), ends: vec![0; groups], of: vec![0; centres], moved: Vec::new() },
            changed: vec![true; centres],
            centres: None,
            points,
        })
    }

    /// Forgets the centres.
    pub(crate) fn reset(&mut self) {
        self.centres = None;
        self.clusters.fill(NONE);
        self.distances.fill(f64::INFINITY);
        // Bounds of 0 rule nothing out.
        self.bounds.fill(0);
        self.units.fill(0.0);
        self.changed.fill(true);
    }

    /// The nearest centre of each row.
    pub(crate) fn clusters(&self) -> &[u32] {
        &self.clusters
    }

    /// The squared distance of each row to it.
    pub(crate) fn distances(&self) -> &[f64] {
        &self.distances
    }

    /// Whether the last call took a row into the cluster or out of it.
    pub(crate) fn has_changed(&self, cluster: usize) -> bool {
        self.changed[cluster]
    }

    /// Assigns the rows to these centres, which are those of the last call, moved.
    pub(crate) fn assign(&mut self, workers: &Workers, centres: Points) -> Result<(), Fault> {
        if self.groups.ends.is_empty() {
            return self.assign_anew(workers, &centres);
        }
        let hair = (self.points.width() as f64 + 64.0) * f64::EPSILON;
        let is_first = self.centres.is_none();
        let moved = match self.centres.take() {
            Some(before) => self.groups.move_to(&before, &centres, hair),
            None => {
                self.groups = Groups::new(workers, &centres, self.groups.ends.len())?;
                vec![true; centres.len()]
            }
        };
        let groups = &self.groups;
        let look = Look { points: &self.points, centres: &centres, groups, moved: &moved, is_first, hair };
        let popular = self.popular(workers, &look)?;
        let filter = match &popular {
            Some(popular) => Filter::new(workers, look.points, &popular.points, METRIC)?,
            None => None,
        };
        let products = filter.as_ref().zip(popular.as_ref());
        let changed: Vec<AtomicBool> = moved.iter().map(|_| AtomicBool::new(false)).collect();
        let width = groups.ends.len();
        let mut blocks: Vec<Block> = (self.clusters.chunks_mut(TILE_ROWS).enumerate())
            .zip(self.distances.chunks_mut(TILE_ROWS))
            .zip(self.bounds.chunks_mut(TILE_ROWS * width).zip(self.units.chunks_mut(TILE_ROWS)))
            .map(|(((at, clusters), distances), (bounds, units))| Block {
                first: at * TILE_ROWS,
                clusters,
                distances,
                bounds,
                units,
            })
            .collect();
        workers.fill(&mut blocks, 1, |_, blocks| {
            blocks.iter_mut().try_for_each(|block| look.settle(workers, products, block, &changed))
        })?;
        self.changed = changed.into_iter().map(AtomicBool::into_inner).collect();
        self.centres = Some(centres);
        Ok(())
    }

    /// Assigns the rows without bounds of earlier calls.
    fn assign_anew(&mut self, workers: &Workers, centres: &Points) -> Result<(), Fault> {
        let (distances, clusters) = distance::nearest(workers, &self.points, centres, METRIC)?;
        self.changed.fill(false);
        for (&before, &after) in self.clusters.iter().zip(clusters.iter()).filter(|(before, after)| before != after) {
            for cluster in [before, after].into_iter().filter(|&cluster| cluster != NONE) {
                self.changed[cluster as usize] = true;
            }
        }
        (self.distances, self.clusters) = (distances, clusters);
        Ok(())
    }

    /// The centres that so many rows look at that a product is faster, judged by a sample of the rows.
    fn popular(&self, workers: &Workers, look: &Look<'_>) -> Result<Option<Popular>, Fault> {
        let (groups, rows) = (look.groups, self.points.len());
        let sample = rows.div_ceil(SAMPLED);
        let mut counts = vec![0; groups.ends.len()];
        if look.is_first {
            counts.fill(sample);
        } else {
            const AT_ONCE: usize = 64;
            let lists = workers.map(sample.div_ceil(AT_ONCE), |part| {
                let mut found = Vec::new();
                for at in part * AT_ONCE..((part + 1) * AT_ONCE).min(sample) {
                    let (row, width) = (at * SAMPLED, groups.ends.len());
                    let distance = look.own_distance(row, self.clusters[row], self.distances[row]);
                    let bounds = &self.bounds[row * width..][..width];
                    each_open(bounds, &groups.moved, self.units[row], look.threshold(distance), &mut found);
                }
                Ok(found)
            })?;
            lists.iter().flatten().for_each(|&group| counts[group as usize] += 1);
        }
        let (mut centres, mut places) = (Vec::new(), Vec::with_capacity(counts.len()));
        for (group, &count) in counts.iter().enumerate() {
            let start = centres.len();
            if count * PRODUCT_SHARE >= sample {
                centres.extend(groups.members(group));
            }
            places.push(start as u32..centres.len() as u32);
        }
        if centres.is_empty() {
            return Ok(None);
        }
        let points = look.centres.gather(workers, &centres)?;
        Ok(Some(Popular { centres, points, places }))
    }
}

impl Groups {
    /// Puts centres into groups: each to the nearest of as many first ones as there are groups.
    fn new(workers: &Workers, centres: &Points, count: usize) -> Result<Self, Fault> {
        let all: Vec<u32> = (0..centres.len() as u32).collect();
        let of = if count == centres.len() {
            all.clone()
        } else {
            let leaders = centres.gather(workers, &all[..count])?;
            distance::nearest(workers, centres, &leaders, METRIC)?.1.to_vec()
        };
        let mut members = all;
        members.sort_by_key(|&centre| of[centre as usize]);
        let ends = (0..count).map(|group| members.partition_point(|&centre| of[centre as usize] as usize <= group));
        Ok(Self { ends: ends.collect(), members, of, moved: vec![0.0; count] })
    }

    fn members(&self, group: usize) -> &[u32] {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        &self.members[start..self.ends[group]]
    }

    /// Takes note of how far the centres have moved, and tells which have.
    fn move_to(&mut self, before: &Points, centres: &Points, hair: f64) -> Vec<bool> {
        let steps: Vec<f64> = (0..centres.len())
            .map(|centre| before.raw_distance(METRIC, centre, centres, centre).sqrt() * (1.0 + hair))
            .collect();
        for group in 0..self.ends.len() {
            let step = self.members(group).iter().map(|&centre| steps[centre as usize]).fold(0.0, f64::max);
            if step > 0.0 {
                // Rounded up, so that differences between two calls are never too small.
                self.moved[group] = (self.moved[group] + step).next_up();
            }
        }
        steps.iter().map(|&step| step > 0.0).collect()
    }
}

impl Look<'_> {
    /// The distance of a row to its own centre, where that may have moved.
    fn own_distance(&self, row: usize, cluster: u32, before: f64) -> f64 {
        if self.is_first || !self.moved[cluster as usize] {
            return before;
        }
        self.points.raw_distance(METRIC, row, self.centres, cluster as usize)
    }

    /// A centre farther than this has a larger squared distance than this one, whatever rounding did.
    fn threshold(&self, distance: f64) -> f64 {
        distance.sqrt() * (1.0 + self.hair)
    }

    /// At most the true distance, from a squared one or from a lower bound of it.
    fn length(&self, squared: f64) -> f64 {
        squared.max(0.0).sqrt() * (1.0 - self.hair)
    }

    /// Settles the rows of one block.
    fn settle(
        &self,
        workers: &Workers,
        products: Option<(&Filter<'_>, &Popular)>,
        block: &mut Block<'_>,
        changed: &[AtomicBool],
    ) -> Result<(), Fault> {
        let mut pacer = Pacer::new(workers.control());
        let before = block.clusters.to_vec();
        // By row: groups to look at, then places among the popular centres.
        let mut open = vec![Vec::new(); before.len()];
        let _room = Charge::of::<[u32; 2]>(workers.control(), before.len() * self.groups.of.len())?;
        for (i, open) in open.iter_mut().enumerate() {
            let row = block.row(i);
            pacer.spend(self.points.width() + row.bounds.len() / 4)?;
            *row.distance = self.own_distance(row.number, *row.cluster, *row.distance);
            if self.is_first {
                open.extend(0..row.bounds.len() as u32);
            } else {
                each_open(row.bounds, &self.groups.moved, *row.unit, self.threshold(*row.distance), open);
            }
        }
        if let Some(products) = products {
            self.look_through_products(workers, products, block, &mut open)?;
        }
        for (i, open) in open.iter().enumerate() {
            let mut row = block.row(i);
            for &group in open {
                self.look_at_group(&mut row, group as usize, &mut pacer)?;
            }
        }
        for (&before, &after) in before.iter().zip(&*block.clusters).filter(|(before, after)| before != after) {
            changed[after as usize].store(true, Ordering::Relaxed);
            if before != NONE {
                changed[before as usize].store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Looks at popular centres, and strikes their groups off the lists.
    fn look_through_products(
        &self,
        workers: &Workers,
        (filter, popular): (&Filter<'_>, &Popular),
        block: &mut Block<'_>,
        open: &mut [Vec<u32>],
    ) -> Result<(), Fault> {
        let mut places = vec![Vec::new(); open.len()];
        for (i, (open, places)) in open.iter_mut().zip(&mut places).enumerate() {
            let row = block.row(i);
            open.retain(|&group| {
                let range = popular.places[group as usize].clone();
                if !range.is_empty() {
                    row.bounds[group as usize] = LARGEST;
                }
                places.extend(range.clone());
                range.is_empty()
            });
        }
        if places.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let terms: Vec<RowTerms> = (0..open.len()).map(|i| filter.row_terms(block.first + i)).collect();
        let mut tile = filter.tile();
        let mut lows = Vec::new();
        let mut pacer = Pacer::new(workers.control());
        for centres in filter.centre_blocks() {
            let rows = block.first..block.first + open.len();
            filter.multiply(&mut tile, rows, centres.clone(), workers.control())?;
            lows.resize(centres.len(), 0.0);
            for (i, places) in places.iter().enumerate() {
                let start = places.partition_point(|&place| (place as usize) < centres.start);
                let end = places.partition_point(|&place| (place as usize) < centres.end);
                if start < end {
                    let products = (filter, &tile, &terms[i], i);
                    let here = (&places[start..end], centres.start, &popular.centres[..]);
                    self.look_at_tile(&mut block.row(i), products, here, &mut lows, &mut pacer)?;
                }
            }
        }
        Ok(())
    }

    /// Looks at some of a tile's centres: `places` among the popular ones, of which the tile's begin at `first`.
    fn look_at_tile(
        &self,
        row: &mut Row<'_>,
        (filter, tile, terms, i): (&Filter<'_>, &Tile, &RowTerms, usize),
        (places, first, popular): (&[u32], usize, &[u32]),
        lows: &mut [f64],
        pacer: &mut Pacer<'_>,
    ) -> Result<(), Fault> {
        filter.lows(tile, i, terms, lows);
        if *row.unit == 0.0 {
            let farthest = lows.iter().copied().fold(0.0, f64::max).sqrt();
            *row.unit = farthest * REACH / f64::from(LARGEST);
        }
        let mut limit = row.distance.min(terms.high + filter.smallest_high(tile, i, terms));
        for &place in places {
            let (low, centre) = (lows[place as usize - first], popular[place as usize]);
            if low <= limit {
                pacer.spend(self.points.width() + 1)?;
                self.look_at(row, centre);
                limit = limit.min(*row.distance);
            } else if centre != *row.cluster {
                self.keep(row, centre, self.length(low));
            }
        }
        Ok(())
    }

    /// Looks at every centre of a group, if by now its bound does not rule it out.
    fn look_at_group(&self, row: &mut Row<'_>, group: usize, pacer: &mut Pacer<'_>) -> Result<(), Fault> {
        let bound = f64::from(row.bounds[group]) * *row.unit - self.groups.moved[group];
        if bound > self.threshold(*row.distance) {
            return Ok(());
        }
        row.bounds[group] = LARGEST;
        for &centre in self.groups.members(group) {
            pacer.spend(self.points.width() + 1)?;
            self.look_at(row, centre);
        }
        Ok(())
    }

    /// Looks at one centre: it becomes the row's own, or its bound is kept.
    fn look_at(&self, row: &mut Row<'_>, centre: u32) {
        if centre == *row.cluster {
            return;
        }
        let distance = self.points.raw_distance(METRIC, row.number, self.centres, centre as usize);
        if *row.unit == 0.0 {
            *row.unit = distance.sqrt() * REACH / f64::from(LARGEST);
        }
        let own = (*row.distance, *row.cluster);
        if distance < own.0 || (distance == own.0 && centre < own.1) {
            (*row.distance, *row.cluster) = (distance, centre);
            if own.1 != NONE {
                self.keep(row, own.1, self.length(own.0));
            }
        } else {
            self.keep(row, centre, self.length(distance));
        }
    }

    /// Keeps in mind that a centre which is not the row's own is at least so far away.
    #[inline]
    fn keep(&self, row: &mut Row<'_>, centre: u32, length: f64) {
        let group = self.groups.of[centre as usize] as usize;
        if *row.unit > 0.0 {
            // Both the cast and the hair round down; larger numbers become the largest.
            let bound = (length + self.groups.moved[group]) * (1.0 - self.hair) / *row.unit;
            row.bounds[group] = row.bounds[group].min(bound as u16);
        } else {
            row.bounds[group] = 0;
        }
    }
}

impl Block<'_> {
    fn row(&mut self, i: usize) -> Row<'_> {
        let width = self.bounds.len() / self.clusters.len();
        Row {
            number: self.first + i,
            cluster: &mut self.clusters[i],
            distance: &mut self.distances[i],
            bounds: &mut self.bounds[i * width..][..width],
            unit: &mut self.units[i],
        }
    }
}

/// Adds the groups of a row whose bounds do not rule them out, ascending.
fn each_open(bounds: &[u16], moved: &[f64], unit: f64, threshold: f64, open: &mut Vec<u32>) {
    const AT_ONCE: usize = 64;
    for (at, (bounds, moved)) in bounds.chunks(AT_ONCE).zip(moved.chunks(AT_ONCE)).enumerate() {
        if any_open(bounds, moved, unit, threshold) {
            let is_open = |(_, (bound, moved)): &(usize, (&u16, &f64))| f64::from(**bound) * unit - *moved <= threshold;
            let found = bounds.iter().zip(moved).enumerate().filter(is_open);
            open.extend(found.map(|(i, _)| (at * AT_ONCE + i) as u32));
        }
    }
}

for_each_cpu! {
    fn any_open(bounds: &[u16], moved: &[f64], unit: f64, threshold: f64) -> bool {
        let mut any = false;
        for (&bound, &moved) in bounds.iter().zip(moved) {
            any |= f64::from(bound) * unit - moved <= threshold;
        }
        any
    }
}
