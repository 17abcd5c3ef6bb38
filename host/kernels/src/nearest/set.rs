//! The set of centres, and what is known of a row's distance to it.

use std::sync::Arc;

use querist_protocol::{Fault, FaultCode, Metric};

use crate::control::{Control, Pacer};
use crate::memory::{Charged, Growing};
use crate::points::{Norms, Points};
use crate::sketch::Sketch;
use crate::workers::Workers;

use super::MANY_CENTRES;

/// More than the relative rounding of a norm.
const NORM_HAIR: f64 = 1e-9;

/// A member of the set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Centre {
    /// Which of the engine's sources it comes from.
    pub(super) source: u32,
    pub(super) row: u32,
    pub(super) norm: f64,
}

/// Distance of one row to the centres it has seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    /// In raw form (squared for the Euclidean metrics).
    pub(super) raw: f64,
    /// Centres that are truly at least so far away (in chords for the cosine) are no nearer than that.
    pub(super) reach: f64,
    /// The nearest centre seen.
    pub(super) near: u32,
    /// How many centres it has seen.
    pub(super) seen: u32,
}

/// The points and the growing set.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) points: Arc<Points>,
    pub(super) metric: Metric,
    pub(super) sources: Vec<Arc<Points>>,
    pub(super) centres: Growing<Centre>,
    /// Norm of each point.
    pub(super) norms: Charged<f64>,
    /// The largest norms of all sources.
    pub(super) largest: Norms,
}

impl Set {
    pub(super) fn new(control: &Arc<Control>, points: Arc<Points>, metric: Metric) -> Result<Self, Fault> {
        let mut norms = Charged::copied(control, points.sq_norms())?;
        norms.iter_mut().for_each(|norm| *norm = norm.sqrt());
        let (sources, centres) = (vec![Arc::clone(&points)], Growing::new(control)?);
        Ok(Self { largest: points.largest_norms(), sources, centres, points, metric, norms })
    }

    /// The reach of a row at this raw distance from the set.
    pub(super) fn reach(&self, row: usize, raw: f64) -> f64 {
        let rounding = self.points.largest_rounding(self.metric, row, &self.largest);
        ((raw + 2.0 * rounding) * self.chord_scale()).sqrt() * (1.0 + 1e-12)
    }

    pub(super) fn grow(&mut self, source: u32, rows: impl ExactSizeIterator<Item = u32>) -> Result<(), Fault> {
        if self.centres.len() + rows.len() > u32::MAX as usize {
            return Err(Fault::new(FaultCode::Quota, "the set would have more than 2^32 - 1 members"));
        }
        self.centres.reserve(rows.len())?;
        for row in rows {
            let norm = self.sources[source as usize].sq_norms()[row as usize].sqrt();
            self.centres.push(Centre { source, row, norm })?;
        }
        Ok(())
    }

    pub(super) fn is_settled(&self, state: &State) -> bool {
        state.seen as usize == self.centres.len() || state.raw == 0.0
    }

    /// Shows a row the next `most` centres that it has not seen.
    pub(super) fn advance(
        &self,
        mut state: State,
        row: usize,
        most: usize,
        aids: Option<&Aids<'_>>,
        pacer: &mut Pacer<'_>,
    ) -> Result<State, Fault> {
        let end = self.centres.len().min((state.seen as usize).saturating_add(most));
        for index in state.seen as usize..end {
            let centre = self.centres[index];
            let gap = aids.and_then(|aids| aids.gaps.as_ref()).map_or(0.0, |gaps| gaps.get(index, state.near));
            if self.is_out_of_reach(&state, row, centre.norm, gap) {
                pacer.spend(4)?;
                continue;
            }
            let (source, other) = (&*self.sources[centre.source as usize], centre.row as usize);
            if self.cannot_improve(aids, &state, row, source, other) {
                pacer.spend(64)?;
                continue;
            }
            pacer.spend(self.points.width() + 1)?;
            let raw = self.points.raw_distance(self.metric, row, source, other);
            if raw < state.raw {
                (state.raw, state.near) = (raw, index as u32);
                state.reach = self.reach(row, raw);
            }
        }
        state.seen = end as u32;
        Ok(state)
    }

    /// Whether the norm of a centre, or its least distance to the row's nearest one, shows that it is no nearer.
    #[inline]
    pub(super) fn is_out_of_reach(&self, state: &State, row: usize, norm: f64, gap: f64) -> bool {
        // The row is at most its reach away from its nearest centre.
        if gap >= 2.0 * state.reach {
            return true;
        }
        let own = self.norms[row];
        self.metric != Metric::Cosine && (own - norm).abs() - NORM_HAIR * (own + norm) >= state.reach
    }

    /// Whether factors or a sketch show that a centre is no nearer.
    #[inline]
    pub(super) fn cannot_improve(
        &self,
        aids: Option<&Aids<'_>>,
        state: &State,
        row: usize,
        source: &Points,
        centre: usize,
    ) -> bool {
        let slack = 2.0 * self.points.rounding(self.metric, row, source, centre);
        let shows = |low: Option<f64>| low.is_some_and(|low| low - slack >= state.raw);
        shows(self.points.low_by_left_factor(row, source, centre))
            || aids
                .and_then(|aids| aids.sketch)
                .is_some_and(|sketch| shows(self.points.low_by_sketch(sketch, self.metric, row, source, centre)))
    }

    /// A distance that obeys the triangle inequality, from a raw one: 1 - cosine is half a squared chord.
    #[inline]
    pub(super) fn chord(&self, raw: f64) -> f64 {
        (raw * self.chord_scale()).max(0.0).sqrt()
    }

    #[inline]
    pub(super) fn chord_scale(&self) -> f64 {
        if self.metric == Metric::Cosine { 2.0 } else { 1.0 }
    }

    /// Least distances of the centres from `known` on to those before, where that costs less than it may save.
    pub(super) fn gaps(&self, workers: &Workers, known: usize, rows: usize) -> Result<Option<Gaps>, Fault> {
        let new = self.centres.len() - known;
        if known == 0 || known.saturating_mul(4) > rows || new > MANY_CENTRES {
            return Ok(None);
        }
        let mut table = Charged::filled(workers.control(), new * known, 0.0)?;
        workers.fill(&mut table, 256, |start, out| {
            for (i, gap) in out.iter_mut().enumerate() {
                let a = self.centres[known + (start + i) / known];
                let b = self.centres[(start + i) % known];
                let (x, y) = (&*self.sources[a.source as usize], &*self.sources[b.source as usize]);
                let raw = x.raw_distance(self.metric, a.row as usize, y, b.row as usize);
                let rounding = x.rounding(self.metric, a.row as usize, y, b.row as usize);
                *gap = self.chord(raw - rounding) * (1.0 - 1e-12);
            }
            Ok(())
        })?;
        Ok(Some(Gaps { known, table }))
    }
}

/// What makes looking at every row cheaper.
pub(super) struct Aids<'a> {
    pub(super) gaps: Option<Gaps>,
    pub(super) sketch: Option<&'a Sketch>,
}

/// Least distances between new centres and known ones.
pub(super) struct Gaps {
    pub(super) known: usize,
    pub(super) table: Charged<f64>,
}

impl Gaps {
    /// 0 where nothing is known.
    #[inline]
    pub(super) fn get(&self, centre: usize, near: u32) -> f64 {
        let near = near as usize;
        if centre < self.known || near >= self.known {
            0.0
        } else {
            self.table[(centre - self.known) * self.known + near]
        }
    }
}
