//! Errors that cross the boundary.

use serde::{Deserialize, Serialize};

use crate::abi::Status;

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

impl FaultCode {
    /// Every code, in the order of their numbers.
    const ALL: [Self; 9] = [
        Self::BadHandle,
        Self::BadIndex,
        Self::BadShape,
        Self::BadArgument,
        Self::NotDeclared,
        Self::Quota,
        Self::Deadline,
        Self::Cancelled,
        Self::NonFinite,
    ];

    /// The number by which the code crosses in C tables, from 1.
    pub fn status(self) -> Status {
        // The order of declaration, which `ALL` repeats and a test holds.
        self as Status + 1
    }

    /// The code of a number; `None` for one that this version does not know.
    pub fn of_status(status: Status) -> Option<Self> {
        Self::ALL.get((status as usize).checked_sub(1)?).copied()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_number_of_its_own() {
        for (at, code) in FaultCode::ALL.into_iter().enumerate() {
            assert_eq!(code.status() as usize, at + 1);
            assert_eq!(FaultCode::of_status(code.status()), Some(code));
        }
        assert_eq!(FaultCode::of_status(0), None);
        assert_eq!(FaultCode::of_status(10), None);
    }
}
