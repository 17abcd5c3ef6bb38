//! What goes wrong between a strategy and those who ask it.

use querist_protocol::{Fault, FaultCode, Shown};
use serde::{Deserialize, Serialize};

use crate::identity::StrategyIdentity;

/// A service that was refused or failed: a sentence with the facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServiceError(pub String);

/// What kind of failure a query ended in; stable names for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueryErrorKind {
    /// The parameters do not fit.
    InvalidParams,
    /// The plugin answered with an error of its own.
    Failed,
    /// The plugin's code panicked.
    Panic,
    /// The plugin's code crashed (out of bounds, unreachable, stack overflow).
    Trap,
    /// It ran past its time limit.
    Timeout,
    /// It ran past its memory limit, or the limit on objects of the host.
    Memory,
    /// It ran out of fuel.
    Fuel,
    /// Its answer or its log is too large or malformed.
    Output,
    /// Its answer breaks the contract.
    Contract,
    /// It does not do what its package says.
    Dishonest,
    /// The user stopped it.
    Cancelled,
}

/// A limit that a query may have come up against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Wall-clock seconds.
    Seconds,
    /// Memory of the plugin.
    Memory,
    /// WebAssembly fuel.
    Fuel,
}

/// What to do about a query without an answer.
///
/// A limit is kept apart from the words, because its name depends on where the user gives it: a key of a file, or a
/// flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The limit to raise.
    pub raise: Option<Limit>,
    /// What else would help, or does where nothing is to be raised.
    pub advice: Option<String>,
}

impl Hint {
    /// To raise a limit, or to do something else.
    pub fn raise_or(limit: Limit, advice: impl Into<String>) -> Self {
        Self { raise: Some(limit), advice: Some(advice.into()) }
    }

    /// The advice in words, with limits called as `name` says.
    pub fn in_words(&self, name: impl Fn(Limit) -> &'static str) -> String {
        let raise = self.raise.map(|limit| format!("raise `{}`", name(limit)));
        raise.into_iter().chain(self.advice.clone()).collect::<Vec<_>>().join(", or ")
    }
}

impl From<Limit> for Hint {
    fn from(limit: Limit) -> Self {
        Self { raise: Some(limit), advice: None }
    }
}

impl From<&str> for Hint {
    fn from(advice: &str) -> Self {
        Self { raise: None, advice: Some(advice.to_owned()) }
    }
}

/// A query without an answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{identity}: {message}")]
pub struct QueryError {
    /// Which strategy, with package and version.
    pub identity: Box<StrategyIdentity>,
    /// The kind of failure.
    pub kind: QueryErrorKind,
    /// What happened, against what limit. May hold text of the plugin.
    pub message: Shown,
    /// What to do about it, in the host's words.
    pub hint: Option<Hint>,
}

impl QueryError {
    /// An error of a strategy.
    pub fn new(identity: &StrategyIdentity, kind: QueryErrorKind, message: impl AsRef<str>) -> Self {
        Failure::new(kind, message).of(identity)
    }

    /// The same with advice.
    #[must_use]
    pub fn with_hint(self, hint: Option<Hint>) -> Self {
        Self { hint, ..self }
    }
}

/// A query that ended badly, before it is known whose it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The kind of failure.
    pub kind: QueryErrorKind,
    /// What happened, against what limit. May hold text of the plugin.
    pub message: Shown,
    /// What to do about it, in the host's words.
    pub hint: Option<Hint>,
}

impl Failure {
    /// Bytes of a message at most: some lines of a panic.
    const MESSAGE_BYTES: usize = 4000;

    /// A failure without advice.
    pub fn new(kind: QueryErrorKind, message: impl AsRef<str>) -> Self {
        Self { kind, message: Shown::lines(message.as_ref(), Self::MESSAGE_BYTES), hint: None }
    }

    /// The host's own code panicked, not the plugin's.
    pub fn of_host() -> Self {
        Self::new(QueryErrorKind::Failed, "the host failed while it served the plugin; please report this")
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(self, hint: impl Into<Hint>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The failure of this strategy.
    pub fn of(self, identity: &StrategyIdentity) -> QueryError {
        let Self { kind, message, hint } = self;
        QueryError { identity: Box::new(identity.clone()), kind, message, hint }
    }
}

/// A call of the host that was refused, where nobody made anything else of it.
impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault.code {
            FaultCode::Deadline => Self::new(QueryErrorKind::Timeout, &fault.message).hint(Limit::Seconds),
            FaultCode::Cancelled => Self::new(QueryErrorKind::Cancelled, "cancelled"),
            FaultCode::Quota => Self::new(QueryErrorKind::Memory, &fault.message).hint(Limit::Memory),
            _ => Self::new(QueryErrorKind::Failed, &fault.message),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(QueryError { kind, message, hint, .. }: QueryError) -> Self {
        Self { kind, message, hint }
    }
}
