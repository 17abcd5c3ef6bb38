//! Progressive filtering: an ensemble of strategies narrows the pool level by level, and one strategy picks from the
//! rest.
//!
//! "Refine", arXiv 2511.22344.

use std::collections::BTreeSet;
use std::time::Instant;

use querist_core::progress::{Cancelled, Phase, Progress};
use querist_core::{Answer, Query, QueryError, SampleId, Seeds, Usage, subset};
use querist_protocol::LogLevel;

use super::members::{Members, add};
use crate::package::composite_text::Refine;

/// Narrows the pool, and asks the last member about what is left.
pub(super) fn query(refine: &Refine, members: &mut Members, query: &Query<'_>) -> Result<Answer, QueryError> {
    let mut work = Work { refine, composite: members, query, clock: Instant::now(), usage: None, done: 0 };
    let rows = query.arrays.ids().len() as u32;
    let mut pool: Vec<u32> = (0..rows).collect();
    let mut left = Vec::new();
    for level in 0..refine.depth {
        if pool.len() <= query.batch {
            break;
        }
        pool = work.level(level, &pool)?;
        left.push((format!("level{}.pool", level + 1), pool.len() as f64));
    }
    let last = refine.members.len();
    let mut answer = work.ask(last, &pool, query.seeds)?;
    for row in &mut answer.selection.rows {
        *row = pool[*row as usize];
    }
    // What a member keeps has no meaning for the pools of the next round.
    answer.selection.state = None;
    answer.selection.diagnostics.extend(left);
    answer.usage = work.usage.unwrap_or_default();
    Ok(answer)
}

/// One query under way.
struct Work<'a, 'q> {
    refine: &'a Refine,
    composite: &'a mut Members,
    query: &'a Query<'q>,
    clock: Instant,
    usage: Option<Usage>,
    /// Batches picked.
    done: u64,
}

impl Work<'_, '_> {
    /// The pool that a level leaves, ascending.
    fn level(&mut self, level: u32, pool: &[u32]) -> Result<Vec<u32>, QueryError> {
        let refine = self.refine;
        let part = match level {
            0 => refine.init_subset as usize,
            _ => self.query.batch.max((refine.alpha * pool.len() as f64).ceil() as usize),
        };
        let mut picked = BTreeSet::new();
        for member in 0..refine.members.len() {
            for batch in 0..self.batches() {
                let seeds = self.seeds(level, member as u32, batch);
                let rows = self.drawn(pool, part.max(self.query.batch), seeds);
                let answer = self.ask(member, &rows, seeds)?;
                picked.extend(answer.selection.rows.iter().filter_map(|&row| rows.get(row as usize).copied()));
            }
        }
        let picked: Vec<u32> = picked.into_iter().collect();
        let most = (refine.max_pool as usize).max(self.query.batch);
        Ok(self.drawn(&picked, most, self.seeds(level, u32::MAX, 0)))
    }

    /// Batches of one member in one level.
    fn batches(&self) -> u32 {
        (self.refine.num_batches / self.refine.members.len() as u32).max(1)
    }

    /// A root of its own for each batch, so that members draw anew each time.
    fn seeds(&self, level: u32, member: u32, batch: u32) -> Seeds {
        let tag = format!("refine/{level}/{member}/{batch}");
        Seeds::new(self.query.seeds.strategy(&self.composite.identity.id).key(&tag))
    }

    /// Some of the rows, drawn by the ids of their samples.
    fn drawn(&self, rows: &[u32], size: usize, seeds: Seeds) -> Vec<u32> {
        let ids = self.query.arrays.ids();
        let samples: Vec<SampleId> = rows.iter().map(|&row| SampleId(ids[row as usize])).collect();
        let stream = seeds.query_stream(&self.composite.identity.id, "part", self.query.round);
        let kept = subset(&samples, size, stream);
        let mut kept = kept.iter().peekable();
        let is_kept = |row: &&u32| kept.next_if(|kept| kept.0 == ids[**row as usize]).is_some();
        rows.iter().filter(is_kept).copied().collect()
    }

    fn ask(&mut self, member: usize, rows: &[u32], seeds: Seeds) -> Result<Answer, QueryError> {
        if self.clock.elapsed() > self.composite.limits.time {
            return Err(self.composite.timeout());
        }
        let arrays = self.composite.granted(member, self.query, Some(rows))?;
        let total = u64::from(self.refine.depth) * u64::from(self.batches()) * self.refine.members.len() as u64 + 1;
        let progress = Steps { outer: self.query.progress, done: self.done, total };
        let query = Query { arrays: &arrays, seeds, state: None, progress: &progress, ..*self.query };
        let answer = self.composite.ask(member, &query)?;
        self.done += 1;
        add(&mut self.usage, answer.usage);
        Ok(answer)
    }
}

/// Shows the steps of the whole, whatever a member says of its own.
struct Steps<'a> {
    outer: &'a dyn Progress,
    done: u64,
    total: u64,
}

impl Progress for Steps<'_> {
    fn report(&self, phase: Phase, _: u64, _: u64) -> Result<(), Cancelled> {
        self.outer.report(phase, self.done, self.total)
    }

    fn log(&self, level: LogLevel, message: &str) {
        self.outer.log(level, message);
    }
}
