//! Strategies that cannot be made ready.

use querist_core::QueryError;

/// Why a strategy cannot be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The artifact cannot be loaded.
    #[error("package `{package}`: {source}")]
    Artifact {
        /// Which package.
        package: String,
        /// Why, as its route says it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It can never run in a worker process.
    #[error("package `{package}`: {reason}")]
    Isolation {
        /// Which package.
        package: String,
        /// Why, and what would do.
        reason: &'static str,
    },
    /// It does not answer as it should.
    #[error(transparent)]
    Query(#[from] QueryError),
}

impl LoadError {
    pub(crate) fn artifact(package: &str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Artifact { package: package.to_owned(), source: Box::new(source) }
    }
}
