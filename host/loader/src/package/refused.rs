//! Packages that cannot be used.

use querist_protocol::Shown;

/// Why a package cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RefusedPackage {
    /// What is wrong, and what to do.
    pub reason: Shown,
}

impl RefusedPackage {
    pub(crate) fn new(reason: impl AsRef<str>) -> Self {
        Self { reason: Shown::sentence(reason.as_ref()) }
    }
}

pub(crate) fn refuse<T>(reason: impl AsRef<str>) -> Result<T, RefusedPackage> {
    Err(RefusedPackage::new(reason))
}
