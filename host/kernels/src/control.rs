//! What stops a query, and what it is charged for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use querist_protocol::{Fault, FaultCode, LogLevel};

use crate::meter::Meter;

/// Bytes of a panic's text that are kept.
const PANIC_BYTES: usize = 8 * 1024;

/// What one query may use, over all its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of objects that the host makes for the query, inputs not counted.
    pub memory: u64,
    /// Live handles of one session.
    pub handles: u32,
    /// Bytes of log text.
    pub log_bytes: u64,
}

impl Default for Limits {
    /// 512 MiB, 1024 handles, 1 MiB of log.
    fn default() -> Self {
        Self { memory: 512 << 20, handles: 1024, log_bytes: 1 << 20 }
    }
}

/// A line that the strategy wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Importance.
    pub level: LogLevel,
    /// The text, without a line break at its end.
    pub message: String,
}

#[derive(Debug, Default)]
struct Log {
    lines: Vec<LogLine>,
    bytes: u64,
}

/// The reins of one query: cancellation, deadline, progress, log and memory account. Shared by all its threads.
#[derive(Debug)]
pub struct Control {
    limits: Limits,
    deadline: Option<Instant>,
    cancelled: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
    log: Mutex<Log>,
    panic: Mutex<Option<String>>,
    failure: OnceLock<Fault>,
    memory: AtomicU64,
    peak: AtomicU64,
    meter: Meter,
}

impl Control {
    /// The reins of a query that ends at `deadline`, if there is one.
    pub fn new(limits: Limits, deadline: Option<Instant>) -> Self {
        Self {
            limits,
            deadline,
            cancelled: AtomicBool::new(false),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            log: Mutex::default(),
            panic: Mutex::default(),
            failure: OnceLock::new(),
            memory: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            meter: Meter::default(),
        }
    }

    /// Where the query's time goes.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The limits of the query.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Makes every running and later kernel of the query end with [`FaultCode::Cancelled`].
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the query may go on.
    ///
    /// # Errors
    /// [`FaultCode::Cancelled`] or [`FaultCode::Deadline`], or what failed.
    pub fn check(&self) -> Result<(), Fault> {
        if let Some(fault) = self.failure() {
            return Err(fault.clone());
        }
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Fault::new(FaultCode::Cancelled, "the query was cancelled"));
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Fault::new(FaultCode::Deadline, "the query ran past its time limit"));
        }
        Ok(())
    }

    /// Ends the query with a fault where no result can say it: each later check finds it. The first one stays.
    pub(crate) fn fail(&self, fault: Fault) -> Fault {
        self.failure.get_or_init(|| fault).clone()
    }

    /// What failed beneath the kernels. A query that has this has no answer, whatever its strategy says.
    pub fn failure(&self) -> Option<&Fault> {
        self.failure.get()
    }

    /// Steps done and steps in all, as last reported.
    pub fn progress(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    pub(crate) fn set_progress(&self, done: u64, total: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// Takes the log lines written since the last call; what was taken still counts against the limit.
    pub fn take_log(&self) -> Vec<LogLine> {
        std::mem::take(&mut lock(&self.log).lines)
    }

    pub(crate) fn write_log(&self, level: LogLevel, message: &str) -> Result<(), Fault> {
        let mut log = lock(&self.log);
        // A line costs its bookkeeping too, so that empty lines are not free.
        let bytes = (message.len() + size_of::<LogLine>()) as u64;
        if bytes > self.limits.log_bytes - log.bytes {
            let message = format!(
                "a log line of {} bytes would pass the limit of {} bytes for the whole log",
                message.len(),
                self.limits.log_bytes
            );
            return Err(Fault::new(FaultCode::Quota, message));
        }
        log.bytes += bytes;
        log.lines.push(LogLine { level, message: message.trim_end_matches('\n').to_owned() });
        Ok(())
    }

    /// The text of the first panic that the strategy reported.
    pub fn panic_text(&self) -> Option<String> {
        lock(&self.panic).clone()
    }

    /// Forgets a panic that was not the end: what panicked is done again.
    pub fn forget_panic(&self) {
        *lock(&self.panic) = None;
    }

    pub(crate) fn set_panic(&self, message: &str) {
        let end = message.floor_char_boundary(PANIC_BYTES);
        lock(&self.panic).get_or_insert_with(|| message[..end].to_owned());
    }

    /// Bytes that objects of the query hold now.
    pub fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// The most bytes they held at once.
    pub fn peak_memory(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    pub(crate) fn charge_bytes(&self, bytes: u64) -> Result<(), Fault> {
        let limit = self.limits.memory;
        let add = |now: u64| now.checked_add(bytes).filter(|&sum| sum <= limit);
        match self.memory.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(before) => {
                self.peak.fetch_max(before + bytes, Ordering::Relaxed);
                Ok(())
            }
            Err(now) => Err(Fault::new(
                FaultCode::Quota,
                format!("{bytes} bytes more would pass the memory limit of {limit} bytes ({now} are held now)"),
            )),
        }
    }

    pub(crate) fn give_back_bytes(&self, bytes: u64) {
        self.memory.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A log or panic text is whole whatever thread died while holding it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks [`Control::check`] once in a fixed amount of work, however small the steps.
pub(crate) struct Pacer<'a> {
    control: &'a Control,
    left: usize,
}

impl<'a> Pacer<'a> {
    /// Values that are processed between two checks: about a millisecond.
    const WORK: usize = 1 << 21;

    pub(crate) fn new(control: &'a Control) -> Self {
        Self { control, left: Self::WORK }
    }

    /// Accounts for `work` values.
    #[inline]
    pub(crate) fn spend(&mut self, work: usize) -> Result<(), Fault> {
        if work < self.left {
            self.left -= work;
            return Ok(());
        }
        self.left = Self::WORK;
        self.control.check()
    }
}
