//! The strategies that a composite asks.

use querist_core::{
    Answer, Failure, Granted, Hint, Limit, Query, QueryError, QueryErrorKind, Strategy, StrategyIdentity, Usage,
};
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
    pub(super) strategies: Vec<Box<dyn Strategy>>,
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
