//! What a running instance reaches.

use std::ops::Deref;
use std::time::Instant;

use querist_kernels::{Session, Span, Timed};
use wasmtime::CallHook;

use super::memory::Limiter;

/// The session of one instance, and its limits.
pub struct CallState {
    pub(super) session: Session,
    pub(super) limiter: Limiter,
    /// Calls into the component that are under way: one, or more where the host asks for room for a list.
    depth: u32,
    /// When the boundary was crossed last.
    crossed: Instant,
}

impl CallState {
    pub(super) fn new(session: Session, limiter: Limiter) -> Self {
        Self { session, limiter, depth: 0, crossed: Instant::now() }
    }

    /// The session, for the time of one call.
    pub(super) fn calls(&self) -> Calls<'_> {
        Calls { session: &self.session, _timed: self.session.control().meter().time(Span::Call) }
    }

    /// Keeps the time that was spent on the side of the boundary that is left.
    pub(super) fn cross(&mut self, hook: CallHook) {
        let now = Instant::now();
        let left = match hook {
            CallHook::CallingWasm => {
                self.depth += 1;
                (self.depth > 1).then_some(Span::Host)
            }
            CallHook::ReturningFromWasm => {
                self.depth = self.depth.saturating_sub(1);
                Some(Span::Guest)
            }
            CallHook::CallingHost => Some(Span::Guest),
            CallHook::ReturningFromHost => Some(Span::Host),
        };
        if let Some(span) = left {
            self.session.control().meter().add(span, now - self.crossed);
        }
        self.crossed = now;
    }
}

/// A session while it answers one call.
pub(super) struct Calls<'a> {
    session: &'a Session,
    _timed: Timed<'a>,
}

impl Deref for Calls<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session
    }
}
