//! Errors that cross the boundary.

use serde::{Deserialize, Serialize};

use crate::abi::Status;
use crate::{FaultCode, Numbered};

impl FaultCode {
    /// The number by which the code crosses in C tables, from 1.
    pub fn status(self) -> Status {
        self.number() + 1
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
        for (at, code) in FaultCode::ALL.iter().copied().enumerate() {
            assert_eq!(code.status() as usize, at + 1);
            assert_eq!(FaultCode::of_status(code.status()), Some(code));
        }
        assert_eq!(FaultCode::of_status(0), None);
        assert_eq!(FaultCode::of_status(10), None);
    }
}
