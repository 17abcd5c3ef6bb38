//! The best possible: an upper baseline that the host computes, and no plugin. It knows the labels.
//!
//! In each round strategies take turns to propose batches, each on a part of the pool of its own. Every batch is tried
//! with its true labels: a last layer is fitted from scratch on what is labelled and the batch, and valued on a slice
//! that no run may buy from. The batch with the largest gain is bought, also where it is a loss. It is a reference that
//! strategies are measured by, and no bound: it looks one round ahead. After BoSS (2026), with a slice of its own in
//! place of the test set.

mod judge;
mod logistic;

use std::collections::BTreeMap;
use std::time::Instant;

use querist_protocol::{Capability, Need, Selection, math};

pub use judge::Judge;
use judge::Worth;

use crate::acquisition::Acquisition;
use crate::config::UPPER;
use crate::failure::{QueryError, QueryErrorKind};
use crate::identity::{StrategyIdentity, StrategyKind};
use crate::ids::SampleId;
use crate::progress::Phase;
use crate::question::{Query, subset};
use crate::seed::{Seeds, stream_key};
use crate::strategy::{Answer, Strategy, Usage};

/// Samples of the part that a batch is proposed from at most, unless a batch is larger.
const MOST_PART: usize = 5000;
/// Samples of that part at least, in batches.
const LEAST_PART: usize = 4;

/// The upper baseline, in the place of a strategy.
pub struct Upper {
    identity: StrategyIdentity,
    needs: Vec<Need>,
    members: Vec<Box<dyn Strategy>>,
    proposals: usize,
    threads: usize,
    judge: Judge,
}

/// A batch that was proposed.
struct Proposal {
    /// In pick order.
    batch: Vec<SampleId>,
    /// Its place among those that are valued; equal batches share one.
    valued: usize,
    /// Place of the member that proposed it.
    member: usize,
}

/// Everything that was proposed in a round.
struct Proposed {
    /// In the order of the members' turns.
    proposals: Vec<Proposal>,
    /// Different batches, each ascending.
    batches: Vec<Vec<SampleId>>,
    usage: Usage,
}

impl Upper {
    /// An upper baseline of `proposals` batches a round, which `members` propose in turns. `digest` stands in the place
    /// of an artifact's: of what the members are.
    pub fn new(
        members: Vec<Box<dyn Strategy>>,
        proposals: usize,
        threads: usize,
        judge: Judge,
        digest: String,
    ) -> Self {
        let identity = StrategyIdentity {
            id: UPPER.to_owned(),
            package: "querist".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kind: StrategyKind::Composite,
            digest,
        };
        let mut needs: Vec<Need> = members.iter().flat_map(|member| member.needs().iter().cloned()).collect();
        needs.sort();
        needs.dedup();
        Self { identity, needs, members, proposals, threads, judge }
    }

    /// What the members propose.
    fn proposals(&mut self, query: &Query<'_>) -> Result<Proposed, QueryError> {
        let pool: Vec<SampleId> = query.arrays.ids().iter().map(|&id| SampleId(id)).collect();
        let mut places: BTreeMap<Vec<SampleId>, usize> = BTreeMap::new();
        let (mut proposals, mut batches, mut usage) = (Vec::new(), Vec::new(), Usage::default());
        for at in 0..self.proposals {
            self.tell(query, at)?;
            let part = part(query, &pool, at);
            let rows: Vec<u32> =
                (0..pool.len() as u32).filter(|&row| part.binary_search(&pool[row as usize]).is_ok()).collect();
            let turn = at % self.members.len();
            let member = &mut self.members[turn];
            let arrays = query.arrays.part(member.needs().iter().flat_map(Need::names), Some(&rows));
            let granted = member.granted(&arrays)?;
            let seeds = Seeds { root: stream_key(query.seeds.root, "upper", "", &at.to_string()), ..query.seeds };
            let asked = Query { arrays: &granted, seeds, state: None, services: None, ..*query };
            let answer = member.query(&asked)?;
            let picked = Acquisition::check(&answer.selection, granted.ids(), query.batch)
                .map_err(|broken| QueryError::new(member.identity(), QueryErrorKind::Contract, broken.to_string()))?;
            usage.peak_memory = usage.peak_memory.max(answer.usage.peak_memory);
            let batch = picked.ids().to_vec();
            let mut set = batch.clone();
            set.sort_unstable();
            let valued = *places.entry(set).or_insert_with_key(|set| {
                batches.push(set.clone());
                batches.len() - 1
            });
            proposals.push(Proposal { batch, valued, member: turn });
        }
        Ok(Proposed { proposals, batches, usage })
    }

    fn tell(&self, query: &Query<'_>, done: usize) -> Result<(), QueryError> {
        // Proposing and valuing are two halves of the work.
        let told = query.progress.report(Phase::Query, done as u64, 2 * self.proposals as u64);
        told.map_err(|_| self.cancelled())
    }

    fn cancelled(&self) -> QueryError {
        QueryError::new(&self.identity, QueryErrorKind::Cancelled, "cancelled")
    }

    fn failed(&self, message: impl AsRef<str>) -> QueryError {
        QueryError::new(&self.identity, QueryErrorKind::Failed, message)
    }
}

/// The samples that a batch is proposed from: a size from four batches to 5,000, each ratio of sizes equally likely.
fn part(query: &Query<'_>, pool: &[SampleId], at: usize) -> Vec<SampleId> {
    let stream = |tag: &str| query.seeds.query_stream(UPPER, &format!("{tag} {at}"), query.round);
    let least = (LEAST_PART * query.batch).min(pool.len());
    let most = MOST_PART.max(least).min(pool.len());
    let (low, high) = (math::ln(least as f64), math::ln(most as f64));
    let size = math::exp(low + stream("size").next_uniform() * (high - low)).round() as usize;
    subset(pool, size.clamp(least, most), stream("part"))
}

impl Strategy for Upper {
    fn identity(&self) -> &StrategyIdentity {
        &self.identity
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn capabilities(&self) -> &[Capability] {
        &[]
    }

    fn query(&mut self, query: &Query<'_>) -> Result<Answer, QueryError> {
        let clock = Instant::now();
        let Proposed { proposals, batches, usage } = self.proposals(query)?;
        let labelled: Vec<SampleId> = query.arrays.labelled_ids().iter().map(|&id| SampleId(id)).collect();
        let goes_on = |done: usize| {
            let done = (self.proposals + done) as u64;
            query.progress.report(Phase::Query, done, 2 * self.proposals as u64).is_ok()
        };
        let valued = self.judge.values(&labelled, &batches, self.threads, &goes_on);
        let (before, worths) =
            valued.map_err(|error| self.failed(error.to_string()))?.ok_or_else(|| self.cancelled())?;
        let bought = best(&proposals, &worths).ok_or_else(|| self.failed("nothing was proposed"))?;
        let gain = |at: usize| worths[proposals[at].valued].accuracy - before.accuracy;
        let mut diagnostics = vec![
            ("upper.before".to_owned(), before.accuracy),
            ("upper.gain".to_owned(), gain(bought)),
            ("upper.bought".to_owned(), bought as f64),
            ("upper.batches".to_owned(), batches.len() as f64),
        ];
        for (at, proposal) in proposals.iter().enumerate() {
            let member = &self.members[proposal.member].identity().id;
            diagnostics.push((format!("upper.gain.{at:04}.{member}"), gain(at)));
        }
        let row = |sample: &SampleId| query.arrays.ids().binary_search(&sample.0).map(|row| row as u32);
        let rows = proposals[bought].batch.iter().map(row).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|_| self.failed("a proposal is not in the pool"))?;
        let selection = Selection { rows, diagnostics, ..Selection::default() };
        let usage = Usage { seconds: clock.elapsed().as_secs_f64(), fuel: None, ..usage };
        Ok(Answer { selection, usage, ..Answer::default() })
    }
}

/// The proposal with the highest accuracy, then the highest likelihood, then the first.
fn best(proposals: &[Proposal], worths: &[Worth]) -> Option<usize> {
    let key = |at: usize| worths[proposals[at].valued];
    (0..proposals.len()).reduce(|best, at| {
        let (a, b) = (key(best), key(at));
        let order = b.accuracy.total_cmp(&a.accuracy).then(b.likelihood.total_cmp(&a.likelihood));
        if order.is_gt() { at } else { best }
    })
}

#[cfg(test)]
mod tests;
