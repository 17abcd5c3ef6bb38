//! Native plugins that are not loaded.

use crate::package::refused::RefusedPackage;

/// Why a native plugin is not loaded.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct NativeError {
    /// What is wrong, and what to do.
    pub reason: String,
}

pub(super) fn fail<T>(reason: impl Into<String>) -> Result<T, NativeError> {
    Err(NativeError { reason: reason.into() })
}

impl From<RefusedPackage> for NativeError {
    fn from(refused: RefusedPackage) -> Self {
        Self { reason: refused.reason.into_string() }
    }
}
