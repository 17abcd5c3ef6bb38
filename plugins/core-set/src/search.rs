//! The search for the smallest radius among realised distances.

use querist_sdk::prelude::*;

use crate::program::{self, Answer, Limits};

/// Points, the distances between them, and those to the nearest labelled sample.
pub struct Pool {
    count: usize,
    distances: Vec<f64>,
    known: Vec<f64>,
}

/// What a search ends with.
#[derive(Debug)]
pub struct Found {
    /// The picks, at most as many as are wanted.
    pub picks: Vec<usize>,
    /// Their radius.
    pub radius: f64,
    /// Radius of the picks that the search started from.
    pub greedy: f64,
    /// No picks have a smaller radius than this.
    pub lower_bound: f64,
    /// Whether the picks are proven to be best.
    pub is_optimal: bool,
    /// Programs that were solved.
    pub programs: u64,
}

impl Pool {
    /// All distances between rows, and given ones to what is labelled.
    pub fn new(rows: &Matrix, known: Vec<f64>) -> Result<Self> {
        let (count, width) = (known.len(), rows.shape()?.1 as usize);
        let mut values = Vec::with_capacity(count * width);
        rows.for_each_block(|_, block| {
            values.extend_from_slice(block);
            Ok(())
        })?;
        let row = |i: usize| &values[i * width..(i + 1) * width];
        let mut distances = vec![0.0; count * count];
        for i in 0..count {
            for j in 0..i {
                let distance = distance(row(i), row(j));
                distances[i * count + j] = distance;
                distances[j * count + i] = distance;
            }
        }
        Ok(Self { count, distances, known })
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.count
    }

    fn of(&self, point: usize) -> &[f64] {
        &self.distances[point * self.count..(point + 1) * self.count]
    }

    /// Distance of each point to the nearest labelled or picked one.
    fn nearest(&self, picks: &[usize]) -> Vec<f64> {
        let mut nearest = self.known.clone();
        for &pick in picks {
            nearest.iter_mut().zip(self.of(pick)).for_each(|(nearest, &distance)| *nearest = nearest.min(distance));
        }
        nearest
    }

    fn radius(&self, picks: &[usize], outliers: usize) -> f64 {
        radius_of(&mut self.nearest(picks), outliers)
    }

    /// Picks in the order of furthest-first among themselves; without labels from the lowest one on.
    pub fn in_order(&self, picks: &[usize]) -> Vec<usize> {
        let mut left = picks.to_vec();
        left.sort_unstable();
        let mut nearest = self.known.clone();
        let mut ordered = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let farther = |best: usize, at: usize| if nearest[left[at]] > nearest[left[best]] { at } else { best };
            let pick = left.remove((0..left.len()).fold(0, farther));
            nearest.iter_mut().zip(self.of(pick)).for_each(|(nearest, &distance)| *nearest = nearest.min(distance));
            ordered.push(pick);
        }
        ordered
    }

    /// Adds the farthest points until there are `count` picks or nothing is away from them.
    fn padded(&self, mut picks: Vec<usize>, count: usize) -> Vec<usize> {
        let mut nearest = self.nearest(&picks);
        while picks.len() < count {
            let farther = |best: usize, at: usize| if nearest[at] > nearest[best] { at } else { best };
            let pick = (0..self.count).fold(0, farther);
            if nearest[pick] == 0.0 {
                break;
            }
            nearest.iter_mut().zip(self.of(pick)).for_each(|(nearest, &distance)| *nearest = nearest.min(distance));
            picks.push(pick);
        }
        picks
    }
}

/// Euclidean distance, in lanes so that the loop vectorises.
fn distance(x: &[f32], y: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    for (x, y) in x.chunks(8).zip(y.chunks(8)) {
        for (lane, (&x, &y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            let gap = f64::from(x) - f64::from(y);
            *lane += gap * gap;
        }
    }
    lanes.iter().sum::<f64>().sqrt()
}

/// The (outliers + 1)-th largest of the distances; 0 where there are not so many.
pub fn radius_of(distances: &mut [f64], outliers: usize) -> f64 {
    if outliers >= distances.len() {
        return 0.0;
    }
    *distances.select_nth_unstable_by(outliers, |a, b| b.total_cmp(a)).1
}

/// Searches from the picks `start` for at most `count` ones of the smallest radius, until it is within the share `tol`
/// of the lower bound. `tell` hears how many distances were tried.
pub fn search(
    pool: &Pool,
    start: Vec<usize>,
    count: usize,
    outliers: usize,
    tol: f64,
    limits: Limits,
    tell: impl Fn(u64) -> Result<()>,
) -> Result<Found> {
    let greedy = pool.radius(&start, outliers);
    let mut found = Found { picks: start, radius: greedy, greedy, lower_bound: 0.0, is_optimal: true, programs: 0 };
    if outliers == 0 {
        found.lower_bound = greedy / 2.0;
    }
    // Rounding may put a realised distance a hair below half of another one.
    let floor = found.lower_bound * (1.0 - 1e-12);
    let radii = realised(pool, floor, greedy);
    // Distances before `low` are known to be too small, those from `high` on large enough.
    let (mut low, mut high, mut tried) = (0, radii.len(), 0);
    while low < high && found.radius > found.lower_bound * (1.0 + tol) {
        let middle = low + (high - low) / 2;
        let is_wanted = || tell(tried).is_ok();
        match feasible(pool, radii[middle], (count, outliers), limits, &mut found.programs, &is_wanted)? {
            Answer::Picks(picks) => {
                let picks = pool.padded(picks, count);
                let radius = pool.radius(&picks, outliers);
                if radius < found.radius {
                    (found.picks, found.radius) = (picks, radius);
                }
                high = radii.partition_point(|&r| r < found.radius).min(middle);
            }
            Answer::None => {
                low = middle + 1;
                found.lower_bound = found.lower_bound.max(radii.get(low).copied().unwrap_or(greedy));
            }
            Answer::Unknown => {
                low = middle + 1;
                found.is_optimal = false;
            }
        }
        tried += 1;
        tell(tried)?;
    }
    if found.is_optimal && low >= high {
        found.lower_bound = found.radius;
    }
    found.is_optimal = found.radius <= found.lower_bound;
    Ok(found)
}

/// Distances from `low` on and below `high` that a radius could have, ascending.
fn realised(pool: &Pool, low: f64, high: f64) -> Vec<f64> {
    let between = |distance: &f64| (low..high).contains(distance);
    let pairs = (0..pool.count).flat_map(|i| pool.of(i)[..i].iter().copied());
    let mut radii: Vec<f64> = pairs.chain(pool.known.iter().copied()).chain([0.0]).filter(between).collect();
    radii.sort_unstable_by(f64::total_cmp);
    radii.dedup();
    radii
}

/// Whether some `count` picks leave at most `outliers` points farther away than `radius`.
fn feasible(
    pool: &Pool,
    radius: f64,
    (count, outliers): (usize, usize),
    limits: Limits,
    programs: &mut u64,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Answer> {
    let open: Vec<usize> = (0..pool.count).filter(|&i| pool.known[i] > radius).collect();
    if open.len() <= outliers {
        return Ok(Answer::Picks(Vec::new()));
    }
    if let Some(picks) = greedy_cover(pool, &open, radius, count, outliers) {
        return Ok(Answer::Picks(picks));
    }
    if apart(pool, &open, radius) > count + outliers {
        return Ok(Answer::None);
    }
    *programs += 1;
    let candidates = undominated(pool, &open, radius);
    let covers = |&i: &usize| candidates.iter().copied().filter(|&j| pool.of(i)[j] <= radius).collect::<Vec<_>>();
    let covers: Vec<_> = open.iter().map(covers).collect();
    let answer = program::solve(&covers, count, outliers, limits, is_wanted).map_err(StrategyError::Failed)?;
    Ok(match answer {
        // The solver works to a tolerance: what it found is counted again.
        Answer::Picks(picks) if pool.radius(&picks, outliers) > radius || picks.len() > count => Answer::Unknown,
        answer => answer,
    })
}

/// Picks that each cover most of what is left, if few enough points are left in the end.
fn greedy_cover(pool: &Pool, open: &[usize], radius: f64, count: usize, outliers: usize) -> Option<Vec<usize>> {
    let mut left = open.to_vec();
    let mut gains = vec![0usize; pool.count];
    for &i in &left {
        gains.iter_mut().zip(pool.of(i)).for_each(|(gain, &distance)| *gain += usize::from(distance <= radius));
    }
    let mut picks = Vec::new();
    while left.len() > outliers && picks.len() < count {
        let pick = (0..pool.count).fold(0, |best, j| if gains[j] > gains[best] { j } else { best });
        picks.push(pick);
        let (covered, rest) = left.iter().partition::<Vec<usize>, _>(|&&i| pool.of(pick)[i] <= radius);
        for i in covered {
            gains.iter_mut().zip(pool.of(i)).for_each(|(gain, &distance)| *gain -= usize::from(distance <= radius));
        }
        left = rest;
    }
    (left.len() <= outliers).then_some(picks)
}

/// How many points there are, at least, of which no two can be covered by one pick.
fn apart(pool: &Pool, open: &[usize], radius: f64) -> usize {
    // A hair more, because distances are rounded.
    let far = 2.0 * radius * (1.0 + 1e-12);
    let mut chosen: Vec<usize> = Vec::new();
    for &i in open {
        if chosen.iter().all(|&j| pool.of(i)[j] > far) {
            chosen.push(i);
        }
    }
    chosen.len()
}

/// Candidates that cover something, without those that cover no more than another one.
fn undominated(pool: &Pool, open: &[usize], radius: f64) -> Vec<usize> {
    let words = |j: usize| -> Vec<u64> {
        let bit = |part: &[usize]| part.iter().rev().fold(0, |bits, &i| bits << 1 | u64::from(pool.of(j)[i] <= radius));
        open.chunks(64).map(bit).collect()
    };
    let size = |cover: &[u64]| cover.iter().map(|word| word.count_ones()).sum::<u32>();
    let mut covers: Vec<(u32, usize, Vec<u64>)> = (0..pool.count)
        .map(|j| (j, words(j)))
        .map(|(j, cover)| (size(&cover), j, cover))
        .filter(|(size, ..)| *size > 0)
        .collect();
    covers.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut kept: Vec<(usize, Vec<u64>)> = Vec::new();
    for (_, j, cover) in covers {
        let lies_in = |other: &[u64]| cover.iter().zip(other).all(|(a, b)| a & !b == 0);
        if !kept.iter().any(|(_, other)| lies_in(other)) {
            kept.push((j, cover));
        }
    }
    let mut candidates: Vec<usize> = kept.into_iter().map(|(j, _)| j).collect();
    candidates.sort_unstable();
    candidates
}
