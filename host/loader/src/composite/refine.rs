//! Progressive filtering: an ensemble of strategies narrows the pool level by level, and one strategy picks from the rest.
//!
//! "Refine", arXiv 2511.22344.

use std::collections::BTreeSet;
use std::time::Instant;

use querist_core::observer::{Cancelled, Phase, Progress};
use querist_core::strategy::QueryError;
use querist_core::{Answer, Query, SampleId, Seeds, subset};
use querist_protocol::LogLevel;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CompositeStrategy, Member, add};

/// Lets every member pick batches from random parts of the pool, keeps what was picked as the next pool, and so on;
/// `finish` picks from the last one.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refine {
    /// The strategies that narrow the pool.
    #[schemars(length(min = 1, max = 32))]
    members: Vec<Member>,
    /// The strategy that picks from what is left.
    finish: Member,
    /// Levels of narrowing.
    #[schemars(range(max = 100))]
    depth: u32,
    /// Batches of a level, divided among the members; each member picks at least one.
    #[schemars(range(min = 1, max = 100_000))]
    num_batches: u32,
    /// Part of the pool from which a batch is picked, from the second level on.
    #[schemars(range(min = 0.0, max = 1.0))]
    alpha: f64,
    /// Samples from which a batch of the first level is picked.
    #[schemars(range(min = 1))]
    init_subset: u32,
    /// Samples that a level leaves at most.
    #[schemars(range(min = 1))]
    max_pool: u32,
}

impl Refine {
    /// The members, and then the one that finishes.
    pub(super) fn members(&self) -> Vec<Member> {
        self.members.iter().chain([&self.finish]).cloned().collect()
    }

    pub(super) fn query(&self, composite: &mut CompositeStrategy, query: &Query<'_>) -> Result<Answer, QueryError> {
        let mut work = Work { refine: self, composite, query, clock: Instant::now(), usage: None, done: 0 };
        let rows = query.arrays.ids().len() as u32;
        let mut pool: Vec<u32> = (0..rows).collect();
        let mut left = Vec::new();
        for level in 0..self.depth {
            if pool.len() <= query.batch {
                break;
            }
            pool = work.level(level, &pool)?;
            left.push((format!("level{}.pool", level + 1), pool.len() as f64));
        }
        let member = self.members.len();
        let mut answer = work.ask(member, &pool, query.seeds)?;
        for row in &mut answer.selection.rows {
            *row = pool[*row as usize];
        }
        // What a member keeps has no meaning for the pools of the next round.
        answer.selection.state = None;
        answer.selection.diagnostics.extend(left);
        answer.usage = work.usage.unwrap_or_default();
        Ok(answer)
    }
}

/// One query under way.
struct Work<'a, 'q> {
    refine: &'a Refine,
    composite: &'a mut CompositeStrategy,
    query: &'a Query<'q>,
    clock: Instant,
    usage: Option<querist_core::Usage>,
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
