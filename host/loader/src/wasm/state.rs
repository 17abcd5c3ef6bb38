//! What a running instance reaches.

use querist_kernels::Session;

use super::memory::Limiter;

/// The session of one instance, and its limits.
pub struct CallState {
    pub(super) session: Session,
    pub(super) limiter: Limiter,
}
