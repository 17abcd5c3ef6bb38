//! Packages that cannot be used.

use querist_protocol::Shown;

/// What kind of thing is wrong with a package. Users find these under a code each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A file cannot be read, or lies elsewhere.
    File,
    /// A file changed since it was checked.
    Changed,
    /// The package or its manifest is malformed.
    Form,
    /// What a compiler made was not packed.
    NotPacked,
    /// Manifest or schema files say something else than the artifact.
    Disagrees,
    /// It was built for another version of the boundary.
    Boundary,
    /// It imports what it may not have.
    Imports,
    /// What it says of a strategy breaks a rule.
    Schema,
    /// Its name cannot be used.
    Name,
    /// A native library that this host cannot load.
    Library,
}

/// Why a package cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RefusedPackage {
    /// What is wrong, and what to do.
    pub reason: Shown,
    /// What kind of thing that is.
    pub kind: Refusal,
}

impl RefusedPackage {
    /// A package that is malformed, unless [`Self::of`] says otherwise.
    pub(crate) fn new(reason: impl AsRef<str>) -> Self {
        Self { reason: Shown::sentence(reason.as_ref()), kind: Refusal::Form }
    }

    /// The same of another kind.
    #[must_use]
    pub(crate) fn of(self, kind: Refusal) -> Self {
        Self { kind, ..self }
    }
}

/// Refuses what is malformed.
pub(crate) fn refuse<T>(reason: impl AsRef<str>) -> Result<T, RefusedPackage> {
    refuse_as(Refusal::Form, reason)
}

/// Refuses a package.
pub(crate) fn refuse_as<T>(kind: Refusal, reason: impl AsRef<str>) -> Result<T, RefusedPackage> {
    Err(RefusedPackage::new(reason).of(kind))
}
