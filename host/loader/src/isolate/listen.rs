//! The host's ear: what a worker says and takes, until it answers, ends, takes too much or is no longer wanted.

use std::io::{self, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use querist_core::QueryErrorKind;
use querist_core::progress::{Phase, Progress};
use querist_protocol::{LogLevel, Selection, Shown};

use super::said::{self, Bounds, Hears, Last};
use super::watch::{Room, TooMuch, Watch};
use crate::run::clock::TICK;

/// Time that a worker has to end by itself once it closed its pipe, so that its last signal shows.
const END_TIME: Duration = Duration::from_millis(500);
/// Bytes of what it prints that are kept.
const KEPT: usize = 4000;
/// Bytes that it may print in all.
const MAX_PRINTED: u64 = 64 << 20;
/// Lines of its log that are passed on.
const MAX_LOG_LINES: usize = 10_000;

/// One question to a running worker.
pub(super) struct Asking<'a> {
    pub(super) bounds: Bounds,
    pub(super) room: Room,
    /// Bytes of log that are passed on.
    pub(super) log: usize,
    pub(super) deadline: Instant,
    pub(super) progress: &'a dyn Progress,
}

/// Why there is nothing more to wait for.
pub(super) enum Why {
    Needs(Vec<String>),
    Answer(Selection),
    Failed(QueryErrorKind, String),
    Forbidden(i64),
    Nonsense(String),
    End,
    Cancelled,
    TimeOut,
    Memory(u64),
    Threads(u64),
    Printed(u64),
}

impl From<Last> for Why {
    fn from(last: Last) -> Self {
        match last {
            Last::Needs(needs) => Self::Needs(needs),
            Last::Answer(selection) => Self::Answer(selection),
            Last::Failed(kind, message) => Self::Failed(kind, message),
            Last::Forbidden(call) => Self::Forbidden(call),
            Last::Nonsense(what) => Self::Nonsense(what),
            Last::End => Self::End,
        }
    }
}

/// The beginning of what a worker printed.
pub(super) struct Printed(Shown);

impl Printed {
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl std::fmt::Display for Printed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.as_str().trim().is_empty() { Ok(()) } else { write!(f, "; it printed: {}", self.0.as_str().trim()) }
    }
}

/// What came of it.
pub(super) struct Heard {
    pub(super) why: Why,
    pub(super) printed: Printed,
    /// The most bytes that the worker was seen to hold of its own.
    pub(super) peak_memory: u64,
    /// Whether it ended by itself.
    pub(super) has_ended: bool,
}

/// Listens to a worker. Whatever it says, this holds one line, one answer and a bounded log of it, and comes to an end
/// by the deadline. The worker may still run afterwards only if it closed its pipe, and never for long.
pub(super) fn listen(child: &mut Child, asking: &Asking<'_>) -> io::Result<Heard> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("it has no pipes"));
    };
    let mut watch = Watch::over(child.id(), asking.room).inspect_err(|_| {
        let _ = child.kill();
    })?;
    let inbox = Inbox::new(asking.log);
    let printed_bytes = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let printed = scope.spawn(|| keep_start(stderr, &printed_bytes));
        let (last, is_over) = channel();
        let (bounds, heard) = (asking.bounds, &inbox);
        scope.spawn(move || last.send(hear(stdout, bounds, heard)));
        let why = attend(&is_over, &inbox, &printed_bytes, &mut watch, asking);
        // What it took is looked at while it is still there: one that has answered waits to be ended.
        watch.look();
        if matches!(why, Why::Nonsense(_) | Why::End) {
            let patience = Instant::now() + END_TIME;
            while let Ok(None) = child.try_wait()
                && Instant::now() < patience
            {
                std::thread::sleep(TICK);
            }
        }
        let has_ended = matches!(child.try_wait(), Ok(Some(_)));
        if !has_ended {
            // Ends the threads that read: there is nobody left to write.
            let _ = child.kill();
        }
        let printed = printed.join().unwrap_or_default();
        inbox.pass_on(asking.progress);
        Ok(Heard { why, printed: Printed(Shown::sentence(&printed)), peak_memory: watch.peak, has_ended })
    })
}

/// Waits for a worker's last word, and looks after it meanwhile.
fn attend(is_over: &Receiver<Last>, inbox: &Inbox, printed: &AtomicU64, watch: &mut Watch, asking: &Asking<'_>) -> Why {
    loop {
        let last = is_over.recv_timeout(TICK);
        let is_wanted = inbox.pass_on(asking.progress);
        match last {
            Ok(last) => return last.into(),
            Err(RecvTimeoutError::Disconnected) => return Why::End,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if !is_wanted {
            return Why::Cancelled;
        }
        if Instant::now() > asking.deadline {
            return Why::TimeOut;
        }
        if printed.load(Ordering::Relaxed) > MAX_PRINTED {
            return Why::Printed(MAX_PRINTED);
        }
        match watch.look() {
            Some(TooMuch::Memory(bytes)) => return Why::Memory(bytes),
            Some(TooMuch::Threads(threads)) => return Why::Threads(threads),
            None => {}
        }
    }
}

fn hear(pipe: ChildStdout, bounds: Bounds, inbox: &Inbox) -> Last {
    said::hear(&mut BufReader::with_capacity(64 << 10, pipe), bounds, &inbox)
}

/// Reads to the end and keeps the beginning.
fn keep_start(mut pipe: ChildStderr, bytes: &AtomicU64) -> String {
    let (mut kept, mut room) = (Vec::new(), vec![0; 64 << 10]);
    // What cannot be read is not there to be shown.
    while let Ok(read @ 1..) = pipe.read(&mut room) {
        bytes.fetch_add(read as u64, Ordering::Relaxed);
        kept.extend_from_slice(&room[..read.min(KEPT - kept.len())]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// What a worker says meanwhile, until it is passed on: the newest progress, and a log that ends when it is full.
struct Inbox {
    state: Mutex<Inbound>,
    log_bytes: usize,
}

#[derive(Default)]
struct Inbound {
    progress: (u64, u64),
    log: Vec<(LogLevel, Shown)>,
    lines: usize,
    bytes: usize,
    is_full: bool,
}

impl Inbox {
    fn new(log_bytes: usize) -> Self {
        Self { state: Mutex::default(), log_bytes }
    }

    /// Passes on what has come; whether more is wanted.
    fn pass_on(&self, progress: &dyn Progress) -> bool {
        let (log, (done, total)) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut state.log), state.progress)
        };
        for (level, message) in log {
            progress.log(level, message.as_str());
        }
        progress.report(Phase::Query, done.min(total), total).is_ok()
    }
}

impl Hears for &Inbox {
    fn progress(&self, done: u64, total: u64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).progress = (done, total);
    }

    fn log(&self, level: u8, message: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_full {
            return;
        }
        state.lines += 1;
        state.bytes += message.len();
        if state.lines > MAX_LOG_LINES || state.bytes > self.log_bytes {
            state.is_full = true;
            state.log.push((LogLevel::Warning, Shown::sentence("its log is full: the rest is not shown")));
            return;
        }
        let level = match level {
            0 => LogLevel::Debug,
            1 => LogLevel::Info,
            _ => LogLevel::Warning,
        };
        state.log.push((level, Shown::sentence(message)));
    }
}
