//! The strategies that a composite asks.

use querist_core::{
    Acquisition, Answer, Failure, Granted, Hint, Limit, Query, QueryError, QueryErrorKind, Strategy, StrategyIdentity,
    Usage,
};
use querist_kernels::Compute;
use querist_protocol::{Need, StrategyDescription};

use crate::run::limits::Limits;

/// A member that is ready to be asked.
pub struct Made {
    /// The strategy.
    pub strategy: Box<dyn Strategy>,
    /// What its package says of it.
    pub description: StrategyDescription,
}

/// Why a member is not there.
pub type MemberError = Box<dyn std::error::Error + Send + Sync>;

/// The members of a composite, in the order of its text.
pub(super) struct Members {
    /// The composite.
    pub(super) identity: StrategyIdentity,
    pub(super) limits: Limits,
    pub(super) compute: Compute,
    pub(super) strategies: Vec<Box<dyn Strategy>>,
    /// Whether each scores rows one by one.
    pub(super) scorers: Vec<bool>,
    /// The parameters of each, as they were given.
    pub(super) params: Vec<String>,
}

impl Members {
    /// What a member may see, for some rows of the pool or for all.
    pub(super) fn granted(
        &self,
        member: usize,
        query: &Query<'_>,
        rows: Option<&[u32]>,
    ) -> Result<Granted, QueryError> {
        let strategy = &*self.strategies[member];
        strategy.granted(&query.arrays.part(strategy.needs().iter().flat_map(Need::names), rows))
    }

    /// What a member picks of some rows of the pool, ascending, or of all; in rows of the pool, and an answer that
    /// keeps the contract. Its state is not kept: it has no meaning for other rows.
    pub(super) fn picked(
        &mut self,
        member: usize,
        query: &Query<'_>,
        rows: Option<&[u32]>,
        batch: usize,
    ) -> Result<Answer, QueryError> {
        let arrays = self.granted(member, query, rows)?;
        let mut answer = self.ask(member, &Query { arrays: &arrays, batch, state: None, ..*query })?;
        let identity = self.strategies[member].identity();
        Acquisition::check(&answer.selection, arrays.ids(), batch)
            .map_err(|broken| Failure::new(QueryErrorKind::Contract, broken.to_string()).of(identity))?;
        if let Some(rows) = rows {
            answer.selection.rows.iter_mut().for_each(|row| *row = rows[*row as usize]);
        }
        answer.selection.state = None;
        Ok(answer)
    }

    /// A failure of the composite itself.
    pub(super) fn failed(&self, failure: Failure) -> QueryError {
        failure.of(&self.identity)
    }

    /// One question to one member.
    pub(super) fn ask(&mut self, member: usize, query: &Query<'_>) -> Result<Answer, QueryError> {
        self.strategies[member].query(query)
    }

    pub(super) fn timeout(&self) -> QueryError {
        let message = format!("ran past its time limit of {} seconds", self.limits.time.as_secs_f64());
        Failure::new(QueryErrorKind::Timeout, message)
            .hint(Hint::raise_or(Limit::Seconds, "lower `depth` or `num_batches`"))
            .of(&self.identity)
    }
}

/// What several answers cost together.
pub(super) fn add(total: &mut Option<Usage>, one: Usage) {
    *total = Some(match *total {
        None => one,
        Some(so_far) => Usage {
            seconds: so_far.seconds + one.seconds,
            fuel: so_far.fuel.zip(one.fuel).map(|(a, b)| a + b),
            peak_memory: so_far.peak_memory.max(one.peak_memory),
        },
    });
}
