//! Errors that cross the boundary.

use serde::{Deserialize, Serialize};

/// Why the host refused a call of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultCode {
    /// The handle is unknown, released, or names another kind of object.
    BadHandle,
    /// A row or position lies outside the object.
    BadIndex,
    /// Shapes do not fit each other.
    BadShape,
    /// An argument has no meaning for this call.
    BadArgument,
    /// The array was not declared among the strategy's needs, or does not exist in this query.
    NotDeclared,
    /// The call would pass a limit on memory, handles, output or log.
    Quota,
    /// The query ran past its time limit.
    Deadline,
    /// The user cancelled the query.
    Cancelled,
    /// A value is NaN or infinite where a finite one is required.
    NonFinite,
}

/// A refused call: what kind, and a sentence with the facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The kind of refusal, stable for programs.
    pub code: FaultCode,
    /// What was asked, what was expected, what was found.
    pub message: String,
}

impl Fault {
    /// A fault of `code` with a sentence for people.
    pub fn new(code: FaultCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Why a strategy gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StrategyError {
    /// The parameters do not fit the strategy.
    #[error("invalid parameters: {0}")]
    InvalidParams(String),
    /// The package has no strategy of this id, or not of the kind that was called.
    #[error("no such strategy: {0}")]
    Unknown(String),
    /// The strategy cannot answer this query.
    #[error("{0}")]
    Failed(String),
    /// A host call was refused and the strategy passed the refusal on.
    #[error(transparent)]
    Fault(#[from] Fault),
}
