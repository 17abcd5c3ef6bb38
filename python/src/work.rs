//! Work that takes a while: on a thread of its own, without Python's lock, while the caller's thread listens to Ctrl-C.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use pyo3::prelude::*;
use querist_core::progress::{Cancelled, Phase, Progress};
use querist_protocol::LogLevel;

use crate::errors;

/// How often the caller's thread looks for signals.
const LISTEN: Duration = Duration::from_millis(50);
/// Work that takes less shows no progress.
const PATIENCE: Duration = Duration::from_millis(700);
/// Notes that are kept until somebody takes them.
const MOST_NOTES: usize = 1000;

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps a note until Python takes it.
pub fn note(text: &str) {
    // A poisoned lock only means that another thread panicked while it wrote a note.
    let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    if notes.len() < MOST_NOTES {
        notes.push(text.to_owned());
    }
}

/// What was noted since the last call.
pub fn take_notes() -> Vec<String> {
    std::mem::take(&mut *NOTES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What a worker tells, and whether it is to stop.
#[derive(Debug, Default)]
pub struct Watch {
    cancelled: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress for Watch {
    fn report(&self, _: Phase, done: u64, total: u64) -> Result<(), Cancelled> {
        self.done.store(done, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        if self.cancelled.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }

    fn log(&self, level: LogLevel, message: &str) {
        let level = match level {
            LogLevel::Debug => return,
            LogLevel::Info => "note",
            LogLevel::Warning => "warning",
        };
        note(&format!("{level}: strategy: {message}"));
    }
}

/// Does work on a thread of its own. `show` is called with steps done and steps in all, where it takes longer.
///
/// # Errors
/// What the work says, or `KeyboardInterrupt` once it has stopped.
pub fn supervised<T: Send + 'static>(
    py: Python<'_>,
    show: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&Watch) -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let watch = Arc::new(Watch::default());
    let (tell, told) = mpsc::channel();
    let worker = {
        let watch = watch.clone();
        let work = move || {
            // Whoever listened may have gone.
            let _ = tell.send(work(&watch));
        };
        std::thread::Builder::new().name("querist".to_owned()).spawn(work)?
    };
    let clock = Instant::now();
    let mut shown = None;
    let mut interrupt = None;
    let told = Mutex::new(told);
    let result = loop {
        let heard = py.detach(|| told.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(LISTEN));
        match heard {
            Ok(result) => break result,
            Err(RecvTimeoutError::Disconnected) => break Err(anyhow!("the work ended unheard; please report it")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if interrupt.is_none()
            && let Err(signal) = py.check_signals()
        {
            watch.cancelled.store(true, Ordering::Relaxed);
            interrupt = Some(signal);
        }
        let steps = (watch.done.load(Ordering::Relaxed), watch.total.load(Ordering::Relaxed));
        if let Some(show) = show.filter(|_| clock.elapsed() > PATIENCE && steps.1 > 0 && shown != Some(steps)) {
            show.call1(steps)?;
            shown = Some(steps);
        }
    };
    // What it holds of Python's goes while the lock is free.
    py.detach(|| drop(worker.join()));
    match interrupt {
        Some(signal) => Err(signal),
        None => result.map_err(|error| errors::of(py, &error)),
    }
}
