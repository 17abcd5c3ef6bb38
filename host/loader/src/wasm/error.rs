//! Components that cannot be loaded.

use querist_protocol::Shown;

use super::cache::CacheError;
use crate::package::refused::RefusedPackage;

/// Why a component cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The engine cannot run here.
    #[error("the WebAssembly engine cannot run here: {0}")]
    Engine(Shown),
    /// Compilation failed or was stopped.
    #[error("the component cannot be compiled: {0}")]
    Compile(Shown),
    /// The package is refused.
    #[error(transparent)]
    Refused(#[from] RefusedPackage),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}
