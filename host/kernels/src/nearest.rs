//! The engine that keeps each point's distance to the nearest of a growing set.
//!
//! A distance to a growing set only shrinks. So each row keeps the distance to the centres it has seen, which is an
//! upper bound, and looks at newer centres only when its bound matters: when it stands at the top of the queue of
//! [`Nearest::farthest`], or when [`Nearest::draw`] or [`Nearest::values`] need every distance. Centres that rigorous
//! lower bounds keep away from a row (by norms, by the triangle inequality, by a sketch) are passed over. Picks and
//! values are those of looking at every pair.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use querist_protocol::{Fault, FaultCode, Metric};

use crate::check;
use crate::control::Pacer;
use crate::distance;
use crate::memory::{Charge, Charged};
use crate::points::{Points, finish};
use crate::rank::{self, SUM_BLOCK};
use crate::sketch::Sketch;
use crate::workers::Workers;

mod set;

use set::{Aids, Set, State};

/// New centres from which on a matrix product is faster than looking at pairs.
const MANY_CENTRES: usize = 48;

/// Of many new centres, those that every row looks at straight away. The rest wait until a row's bound matters.
const EARLY_CENTRES: usize = 512;

/// Rows that look at waiting centres together, at first; each time there are twice as many.
const FIRST_GROUP: usize = 512;
/// The most of them.
const LARGEST_GROUP: usize = 8192;

/// Values of points from which on a sketch of them pays.
const FEWEST_SKETCHED: usize = 1 << 14;

/// Centres that a stale row looks at before the queue is asked again.
const STRIDE: usize = 16;

/// Centres of one source that most rows have not seen: they came as many at once, which makes a matrix product of them.
#[derive(Debug)]
struct Waiting {
    points: Points,
    /// Number of the first one. A row has seen all of them or none.
    first: usize,
    /// Rows that look at them together next time.
    group: usize,
}

impl Waiting {
    fn end(&self) -> usize {
        self.first + self.points.len()
    }

    fn concerns(&self, state: &State) -> bool {
        state.seen as usize == self.first && state.raw > 0.0
    }
}

/// Places in the queue: the larger distance first, then the lower row. Distances are not negative, so their bits order.
type Place = (u64, Reverse<u32>);

/// Each point's distance to the nearest of a growing set of points.
#[derive(Debug)]
pub(crate) struct Nearest {
    set: Set,
    /// Weights of the points in draws.
    weights: Option<Arc<Charged<f64>>>,
    states: Charged<State>,
    /// Centres that every row has seen.
    settled: usize,
    /// Centres that rows look at only when they must.
    waiting: Option<Waiting>,
    /// Sums of distances by block, for draws; `None` where a state of the block changed.
    sums: Charged<Option<f64>>,
    /// The points in few bytes, once draws have asked for it and if there is room.
    sketch: Option<Sketch>,
    /// Every row once, by an upper bound of its distance; shorter where it must be built again.
    queue: BinaryHeap<Place>,
    _queue_room: Charge,
}

impl Nearest {
    /// An engine with an empty set. Draws multiply distances by `weights`, one a point.
    pub(crate) fn new(
        workers: &Workers,
        points: Arc<Points>,
        metric: Metric,
        weights: Option<Arc<Charged<f64>>>,
    ) -> Result<Self, Fault> {
        points.check_metric(metric)?;
        let (control, rows) = (workers.control(), points.len());
        let far = State { raw: f64::INFINITY, reach: f64::INFINITY, near: 0, seen: 0 };
        Ok(Self {
            weights,
            states: Charged::filled(control, rows, far)?,
            settled: 0,
            waiting: None,
            sums: Charged::filled(control, rows.div_ceil(SUM_BLOCK), None)?,
            sketch: None,
            queue: BinaryHeap::new(),
            // Building the queue and setting rows aside may hold each place twice.
            _queue_room: Charge::of::<[Place; 2]>(control, rows)?,
            set: Set::new(control, points, metric)?,
        })
    }

    /// Number of points.
    pub(crate) fn rows(&self) -> usize {
        self.set.points.len()
    }

    /// Adds rows of the points themselves.
    pub(crate) fn add(&mut self, workers: &Workers, rows: &[u32]) -> Result<(), Fault> {
        check::rows(rows, self.rows())?;
        if self.set.points.are_far() {
            // Every other row is held against these, so they are kept in memory.
            let points = Arc::new(self.set.points.gather(workers, rows)?);
            let source = self.set.sources.len() as u32;
            self.set.sources.push(points);
            self.set.grow(source, 0..rows.len() as u32)?;
        } else {
            self.set.grow(0, rows.iter().copied())?;
        }
        for &row in rows {
            // A member is at distance 0 from itself, whatever rounding says, and nothing can be nearer.
            self.states[row as usize].raw = 0.0;
            self.sums[row as usize / SUM_BLOCK] = None;
        }
        Ok(())
    }

    /// Adds all of other points.
    pub(crate) fn add_points(&mut self, workers: &Workers, points: Arc<Points>) -> Result<(), Fault> {
        self.set.points.check_fit(&points, self.set.metric)?;
        if points.len() >= MANY_CENTRES {
            return self.add_many(workers, points);
        }
        let count = points.len() as u32;
        let source = self.source(points);
        self.set.grow(source, 0..count)
    }

    /// The number of a source of centres, which is added if it is new.
    fn source(&mut self, points: Arc<Points>) -> u32 {
        let known = self.set.sources.iter().position(|known| Arc::ptr_eq(known, &points));
        known.unwrap_or_else(|| {
            self.set.largest = self.set.largest.or(points.largest_norms());
            self.set.sources.push(points);
            // Rounding may be larger now.
            for (row, state) in self.states.iter_mut().enumerate() {
                state.reach = self.set.reach(row, state.raw);
            }
            self.set.sources.len() - 1
        }) as u32
    }

    /// Adds many points at once: every row looks at the first of them through a matrix product, and at the rest when it
    /// must.
    fn add_many(&mut self, workers: &Workers, points: Arc<Points>) -> Result<(), Fault> {
        self.refresh(workers)?;
        let (first, count) = (self.set.centres.len(), points.len());
        let source = self.source(Arc::clone(&points));
        self.set.grow(source, 0..count as u32)?;
        let early = if count < 2 * EARLY_CENTRES { count } else { EARLY_CENTRES };
        let all: Vec<u32> = (0..self.rows() as u32).collect();
        if early == count {
            self.look(workers, &all, &points, first)?;
        } else {
            let numbers: Vec<u32> = (0..count as u32).collect();
            let (now, later) = numbers.split_at(early);
            self.look(workers, &all, &points.gather(workers, now)?, first)?;
            let points = points.gather(workers, later)?;
            self.waiting = Some(Waiting { points, first: first + early, group: FIRST_GROUP });
        }
        self.settled = first + early;
        self.queue.clear();
        Ok(())
    }

    /// Shows ascending rows the centres from number `first` on, which are `points`, through a matrix product.
    fn look(&mut self, workers: &Workers, rows: &[u32], points: &Points, first: usize) -> Result<(), Fault> {
        let (own, metric) = (&self.set.points, self.set.metric);
        let some = if rows.len() == own.len() { None } else { Some(own.gather(workers, rows)?) };
        let (_, numbers) = distance::nearest(workers, some.as_ref().unwrap_or(own), points, metric)?;
        for (&row, &number) in rows.iter().zip(numbers.iter()) {
            let state = &mut self.states[row as usize];
            state.seen = (first + points.len()) as u32;
            let raw = own.raw_distance(metric, row as usize, points, number as usize);
            if raw < state.raw {
                (state.raw, state.near) = (raw, first as u32 + number);
                state.reach = self.set.reach(row as usize, raw);
                self.sums[row as usize / SUM_BLOCK] = None;
            }
        }
        Ok(())
    }

    /// Shows waiting centres to every row that has not seen them.
    fn end_waiting(&mut self, workers: &Workers) -> Result<(), Fault> {
        let Some(waiting) = self.waiting.take() else { return Ok(()) };
        let rows: Vec<u32> =
            (0..self.rows() as u32).filter(|&row| waiting.concerns(&self.states[row as usize])).collect();
        for rows in rows.chunks(LARGEST_GROUP) {
            self.look(workers, rows, &waiting.points, waiting.first)?;
        }
        self.settled = waiting.end();
        Ok(())
    }

    /// Shows waiting centres to the rows at the top of the queue, as many as belong together.
    fn look_from_the_top(&mut self, workers: &Workers) -> Result<(), Fault> {
        let Some(mut waiting) = self.waiting.take() else { return Ok(()) };
        let (mut rows, mut popped) = (Vec::new(), Vec::new());
        while rows.len() < waiting.group
            && let Some((_, Reverse(row))) = self.queue.pop()
        {
            popped.push(row);
            if waiting.concerns(&self.states[row as usize]) {
                rows.push(row);
            }
        }
        rows.sort_unstable();
        let looked = self.look(workers, &rows, &waiting.points, waiting.first);
        let metric = self.set.metric;
        self.queue.extend(popped.into_iter().map(|row| place(metric, row, self.states[row as usize].raw)));
        waiting.group = (2 * waiting.group).min(LARGEST_GROUP);
        self.waiting = Some(waiting);
        looked
    }

    /// The row farthest from the set with its distance, the lowest among equals.
    pub(crate) fn farthest(
        &mut self,
        workers: &Workers,
        excluded: Option<&[bool]>,
    ) -> Result<Option<(u32, f64)>, Fault> {
        self.check_set()?;
        if self.queue.len() != self.rows() {
            // While centres wait, every row has a bound already.
            if self.waiting.is_none() {
                self.refresh(workers)?;
            }
            self.build_queue();
        }
        let mut aside = Vec::new();
        let found = self.search(workers, excluded, &mut aside);
        self.queue.extend(aside);
        found
    }

    fn build_queue(&mut self) {
        let metric = self.set.metric;
        self.queue = (0..self.rows() as u32).map(|row| place(metric, row, self.states[row as usize].raw)).collect();
    }

    /// Looks at the top of the queue until it stays there.
    fn search(
        &mut self,
        workers: &Workers,
        excluded: Option<&[bool]>,
        aside: &mut Vec<Place>,
    ) -> Result<Option<(u32, f64)>, Fault> {
        let mut pacer = Pacer::new(workers.control());
        loop {
            if self.waits_at_the_top(excluded) {
                self.look_from_the_top(workers)?;
                continue;
            }
            let Some(mut top) = self.queue.peek_mut() else { return Ok(None) };
            let Reverse(row) = top.1;
            if excluded.is_some_and(|excluded| excluded[row as usize]) {
                pacer.spend(64)?;
                aside.push(PeekMut::pop(top));
                continue;
            }
            let state = self.states[row as usize];
            let own = place(self.set.metric, row, state.raw);
            if *top != own {
                // Its bound shrank outside the queue. A lower place sinks when the guard is dropped.
                *top = own;
                continue;
            }
            if self.set.is_settled(&state) {
                return Ok(Some((row, f64::from_bits(top.0))));
            }
            let before = state.raw;
            let state = self.set.advance(state, row as usize, STRIDE, None, &mut pacer)?;
            self.states[row as usize] = state;
            if state.raw < before {
                self.sums[row as usize / SUM_BLOCK] = None;
            }
            *top = place(self.set.metric, row, state.raw);
        }
    }

    /// Whether the row at the top of the queue may be the farthest, as far as the centres that it has seen go, and has
    /// not seen those that wait.
    fn waits_at_the_top(&self, excluded: Option<&[bool]>) -> bool {
        let (Some(waiting), Some(top)) = (&self.waiting, self.queue.peek()) else { return false };
        let Reverse(row) = top.1;
        let state = &self.states[row as usize];
        let is_open = excluded.is_none_or(|excluded| !excluded[row as usize]);
        is_open && waiting.concerns(state) && *top == place(self.set.metric, row, state.raw)
    }

    /// A row drawn with probability proportional to its (weighted) distance.
    pub(crate) fn draw(&mut self, workers: &Workers, excluded: Option<&[bool]>, u: f64) -> Result<Option<u32>, Fault> {
        self.check_set()?;
        self.make_sketch(workers)?;
        self.refresh(workers)?;
        let (states, weights, metric, rows) = (&self.states, &self.weights, self.set.metric, self.rows());
        let weight = |row: usize| {
            let distance = finish(metric, states[row].raw);
            weights.as_ref().map_or(distance, |weights| weights[row] * distance)
        };
        for (block, sum) in self.sums.iter_mut().enumerate().filter(|(_, sum)| sum.is_none()) {
            *sum = Some(rank::block_sum(block, rows, weight));
        }
        let open = |row: usize| if excluded.is_some_and(|excluded| excluded[row]) { 0.0 } else { weight(row) };
        let counts = |row: usize| states[row].raw > 0.0 && excluded.is_some_and(|excluded| excluded[row]);
        let sums: Vec<f64> = (0..self.sums.len())
            .map(|block| match self.sums[block] {
                Some(sum) if !rank::rows_of(block, rows).any(counts) => sum,
                _ => rank::block_sum(block, rows, open),
            })
            .collect();
        rank::draw_from(&sums, rows, open, u)
    }

    /// Makes the sketch where it pays. Without room for it draws are slower and otherwise the same.
    fn make_sketch(&mut self, workers: &Workers) -> Result<(), Fault> {
        let matrix = self.set.points.to_sketch();
        if self.sketch.is_some() || matrix.rows() * matrix.columns() < FEWEST_SKETCHED {
            return Ok(());
        }
        self.sketch = match Sketch::new(workers, matrix) {
            Ok(sketch) => Some(sketch),
            Err(fault) if fault.code == FaultCode::Quota => None,
            Err(fault) => return Err(fault),
        };
        Ok(())
    }

    /// Distance of each point to the set.
    pub(crate) fn values(&mut self, workers: &Workers) -> Result<Charged<f64>, Fault> {
        self.check_set()?;
        self.refresh(workers)?;
        let mut values = Charged::filled(workers.control(), self.rows(), 0.0)?;
        for (value, state) in values.iter_mut().zip(self.states.iter()) {
            *value = finish(self.set.metric, state.raw);
        }
        Ok(values)
    }

    /// Shows every row every centre. The queue's places stay upper bounds.
    fn refresh(&mut self, workers: &Workers) -> Result<(), Fault> {
        self.end_waiting(workers)?;
        let (known, all) = (self.settled, self.set.centres.len());
        if known == all {
            return Ok(());
        }
        let aids = Aids { gaps: self.set.gaps(workers, known, self.rows())?, sketch: self.sketch.as_ref() };
        let set = &self.set;
        // Draws add one centre at a time.
        let only =
            (all - known == 1).then(|| (set.centres[known].norm, aids.gaps.as_ref().map(|gaps| &gaps.table[..])));
        let mut blocks: Vec<(&mut [State], &mut Option<f64>)> =
            self.states.chunks_mut(SUM_BLOCK).zip(self.sums.iter_mut()).collect();
        workers.fill(&mut blocks, 1, |block, blocks| {
            let mut pacer = Pacer::new(workers.control());
            for (states, sum) in blocks.iter_mut() {
                pacer.spend(states.len())?;
                for (i, state) in states.iter_mut().enumerate().filter(|(_, state)| !set.is_settled(state)) {
                    let row = block * SUM_BLOCK + i;
                    if let Some((norm, gaps)) = only
                        && state.seen as usize == known
                        && set.is_out_of_reach(state, row, norm, gaps.map_or(0.0, |gaps| gaps[state.near as usize]))
                    {
                        state.seen = all as u32;
                        continue;
                    }
                    let before = state.raw;
                    *state = set.advance(*state, row, usize::MAX, Some(&aids), &mut pacer)?;
                    if state.raw < before {
                        **sum = None;
                    }
                }
            }
            Ok(())
        })?;
        self.settled = all;
        Ok(())
    }

    fn check_set(&self) -> Result<(), Fault> {
        check::argument(!self.set.centres.is_empty(), || {
            "the set is empty, so no distance to it exists; add a row first".to_owned()
        })
    }
}

fn place(metric: Metric, row: u32, raw: f64) -> Place {
    // Adding 0 turns -0, whose bits would stand above everything, into 0.
    ((finish(metric, raw) + 0.0).to_bits(), Reverse(row))
}
