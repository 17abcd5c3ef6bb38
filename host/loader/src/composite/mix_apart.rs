//! How far each row is from what is labelled or picked: rows look when they must.
//!
//! A distance to a growing set only shrinks, so what a row knows is a bound of it. Of many labelled rows every row
//! looks at some, through a matrix product, and at the others once it stands at the top of a queue, many such rows at a
//! time; at picks it looks a few at a time, and passes over those that are out of reach by their lengths.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use querist_core::{Failure, Query};
use querist_protocol::{Handle, names};

use super::mix_terms::distances;
use super::own::Own;
use crate::package::combine::Mix;

/// Labelled rows that every row looks at straight away; where there are twice as many, the others wait.
const EARLY: u32 = 512;
/// Rows that look at the waiting ones together, at first; each time there are twice as many.
const FIRST_GROUP: usize = 512;
/// The most of them.
const LARGEST_GROUP: usize = 8192;
/// Picks that a row looks at before the queue is asked again.
const STRIDE: u32 = 16;
/// More than the relative rounding of a norm, or of a distance.
const HAIR: f64 = 1e-9;
/// Lanes of a sum over columns, which are joined by halves.
const LANES: usize = 16;

/// A row by a bound of its sum, or of its distance.
pub(super) struct Place {
    pub(super) sum: f64,
    pub(super) row: u32,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}

impl Ord for Place {
    /// By sum; the lower row is the greater among equals. Zeros are equal, whatever their signs.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.sum + 0.0).total_cmp(&(other.sum + 0.0)).then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Distances to what is labelled or picked.
pub(super) struct Apart {
    /// The pool, `[rows, columns]`.
    values: Vec<f32>,
    columns: usize,
    /// The length of each row: two rows are no nearer than their lengths differ.
    norms: Vec<f64>,
    /// The distance of each row to what it has seen.
    distance: Vec<f64>,
    /// Picks that it has seen.
    seen: Vec<u32>,
    /// Labelled rows that some rows have not seen.
    waiting: Option<Waiting>,
    /// Distances from the mean, before the first pick where nothing is labelled.
    from_mean: Option<Vec<f64>>,
    /// The largest distance at the start.
    scale: f64,
    least: f64,
}

/// Labelled rows that most rows of the pool have not seen.
struct Waiting {
    pool: Handle,
    labelled: Handle,
    has_seen: Vec<bool>,
    /// Rows that look at them together next time.
    group: usize,
}

impl Apart {
    pub(super) fn of(mix: &Mix, own: &Own, query: &Query<'_>) -> Result<Self, Failure> {
        let calls = own.calls();
        let pool = own.rows(names::EMBEDDINGS, mix.is_unit())?;
        let (rows, columns) = calls.matrix_shape(pool)?;
        let mut values = Vec::with_capacity(rows as usize * columns as usize);
        own.for_each_row(pool, |_, row| values.extend_from_slice(row))?;
        let origin = vec![0.0; columns as usize];
        let (rows, columns) = (rows as usize, columns as usize);
        let norm = |row: usize| apart(&values[row * columns..(row + 1) * columns], &origin);
        let norms = (0..rows).map(norm).collect();
        let (seen, least) = (vec![0; rows], mix.min_distance);
        let (distance, waiting, from_mean, scale) = (Vec::new(), None, None, 0.0);
        let mut found = Self { values, columns, norms, distance, seen, waiting, from_mean, scale, least };
        if query.arrays.labelled_ids().is_empty() {
            let mean: Vec<f32> = calls.matrix_mean(pool)?.into_iter().map(|x| x as f32).collect();
            let mean = calls.matrix(1, columns as u32, &mean)?;
            let from_mean = distances(own, pool, mean)?;
            found.distance = vec![f64::INFINITY; rows];
            found.scale = from_mean.iter().copied().fold(0.0, f64::max);
            found.from_mean = Some(from_mean);
        } else {
            found.begin_with_labels(own, pool, own.rows("labelled.embeddings", mix.is_unit())?)?;
        }
        Ok(found)
    }

    /// Shows every row the first labelled ones, and finds the row farthest from all of them.
    fn begin_with_labels(&mut self, own: &Own, pool: Handle, labelled: Handle) -> Result<(), Failure> {
        let count = own.calls().matrix_shape(labelled)?.0;
        if count < 2 * EARLY {
            self.distance = distances(own, pool, labelled)?;
            self.scale = self.distance.iter().copied().fold(0.0, f64::max);
            return Ok(());
        }
        let part = |rows: std::ops::Range<u32>| own.calls().matrix_gather(labelled, &rows.collect::<Vec<_>>());
        let (early, late) = (part(0..EARLY)?, part(EARLY..count)?);
        self.distance = distances(own, pool, early)?;
        let has_seen = vec![false; self.distance.len()];
        self.waiting = Some(Waiting { pool, labelled: late, has_seen, group: FIRST_GROUP });
        [early, labelled].into_iter().for_each(|handle| own.calls().release(handle));
        let by_distance = |row: u32, all: &[f64]| Place { sum: all[row as usize], row };
        let mut queue: BinaryHeap<Place> =
            (0..self.distance.len() as u32).map(|row| by_distance(row, &self.distance)).collect();
        while queue.peek().is_some_and(|top| self.waits(top.row)) {
            let looked = self.look_from_the_top(own, &mut queue)?;
            queue.extend(looked.into_iter().map(|row| by_distance(row, &self.distance)));
        }
        self.scale = queue.peek().map_or(0.0, |top| top.sum);
        Ok(())
    }

    /// Whether a row has not seen all that is labelled.
    pub(super) fn waits(&self, row: u32) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.has_seen[row as usize])
    }

    /// Shows what is labelled to the next rows of a queue that have not seen it; they leave the queue, and those that
    /// stood between them.
    pub(super) fn look_from_the_top(&mut self, own: &Own, queue: &mut BinaryHeap<Place>) -> Result<Vec<u32>, Failure> {
        let Some(waiting) = &mut self.waiting else { return Ok(Vec::new()) };
        let (mut popped, mut rows) = (Vec::new(), Vec::new());
        while rows.len() < waiting.group
            && let Some(Place { row, .. }) = queue.pop()
        {
            popped.push(row);
            if !waiting.has_seen[row as usize] {
                rows.push(row);
            }
        }
        waiting.group = (2 * waiting.group).min(LARGEST_GROUP);
        let part = own.calls().matrix_gather(waiting.pool, &rows)?;
        for (&row, distance) in rows.iter().zip(distances(own, part, waiting.labelled)?) {
            waiting.has_seen[row as usize] = true;
            let known = &mut self.distance[row as usize];
            *known = known.min(distance);
        }
        own.calls().release(part);
        Ok(popped)
    }

    /// Whether distances are those to the mean: nothing is labelled or picked.
    pub(super) fn is_at_the_mean(&self) -> bool {
        self.from_mean.is_some()
    }

    fn row(&self, row: u32) -> &[f32] {
        &self.values[row as usize * self.columns..(row as usize + 1) * self.columns]
    }

    /// What `diversity` makes of a row, as far as the row knows what is labelled and picked.
    pub(super) fn value(&self, row: u32) -> f64 {
        match &self.from_mean {
            _ if self.scale == 0.0 => 0.0,
            Some(distances) => 1.0 - distances[row as usize] / self.scale,
            None => self.distance[row as usize] / self.scale,
        }
    }

    /// The first pick of all: every row looks at it.
    pub(super) fn begin(&mut self, pick: u32) {
        self.from_mean = None;
        for row in 0..self.distance.len() as u32 {
            self.advance(row, &[pick]);
        }
    }

    /// Shows a row some of the picks that it has not seen; whether it has seen all then.
    pub(super) fn advance(&mut self, row: u32, picks: &[u32]) -> bool {
        let from = self.seen[row as usize];
        let to = (picks.len() as u32).min(from + STRIDE);
        let (own, norm) = (self.row(row), self.norms[row as usize]);
        let mut nearest = self.distance[row as usize];
        for &pick in &picks[from as usize..to as usize] {
            let other = self.norms[pick as usize];
            if (norm - other).abs() - HAIR * (norm + other) < nearest * (1.0 + HAIR) {
                nearest = nearest.min(apart(own, self.row(pick)));
            }
        }
        self.distance[row as usize] = nearest;
        self.seen[row as usize] = to;
        to as usize == picks.len()
    }

    /// Whether a row is too near to what is labelled or picked.
    pub(super) fn is_near(&self, row: u32) -> bool {
        self.least > 0.0 && self.distance[row as usize] < self.least
    }
}

/// Euclidean distance.
fn apart(x: &[f32], y: &[f32]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let ((x_blocks, x_rest), (y_blocks, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x_blocks.iter().zip(y_blocks) {
        for lane in 0..LANES {
            let difference = f64::from(x[lane]) - f64::from(y[lane]);
            lanes[lane] += difference * difference;
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(x_rest.iter().zip(y_rest)) {
        let difference = f64::from(x) - f64::from(y);
        *lane += difference * difference;
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0].sqrt()
}
