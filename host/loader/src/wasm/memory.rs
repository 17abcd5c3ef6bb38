//! How much the instances of a plugin allocate, and how much they may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

/// Memories of one instance at most.
pub(super) const MAX_MEMORIES: usize = 4;
/// Core instances, and tables, of one instance at most. What is written in Rust, C or JavaScript has a handful, a
/// component of componentize-py with its interpreter and libraries about forty.
pub(super) const MAX_PARTS: usize = 64;
/// Entries of a plugin's tables at most; ordinary ones have a few hundred.
pub(super) const MAX_TABLE: usize = 100_000;

/// The linear memory of all instances that answer one question, on however many threads.
#[derive(Debug)]
pub(super) struct Memory {
    limit: u64,
    used: AtomicU64,
    peak: AtomicU64,
}

impl Memory {
    pub(super) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0), peak: AtomicU64::new(0) })
    }

    /// The most bytes that were held at once.
    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Takes `bytes` more, unless that would pass the limit; then says how many it would have been.
    fn take(&self, bytes: u64) -> Result<(), u64> {
        let add = |now: u64| now.checked_add(bytes).filter(|&sum| sum <= self.limit);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(before) => {
                self.peak.fetch_max(before + bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(now) => Err(now.saturating_add(bytes)),
        }
    }
}

/// Counts and limits what one instance allocates.
#[derive(Debug)]
pub(super) struct Limiter {
    memory: Arc<Memory>,
    used: u64,
    /// Whether a request was refused: the trap itself cannot say so.
    pub(super) refused: bool,
}

impl Limiter {
    pub(super) fn new(memory: &Arc<Memory>) -> Self {
        Self { memory: memory.clone(), used: 0, refused: false }
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.used, Ordering::Relaxed);
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        if let Err(wanted) = self.memory.take(more) {
            self.refused = true;
            wasmtime::bail!("the plugin asked for {wanted} bytes of memory, the limit is {}", self.memory.limit);
        }
        self.used += more;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > MAX_TABLE {
            self.refused = true;
            wasmtime::bail!("the plugin asked for a table of {desired} entries, the limit is {MAX_TABLE}");
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}
