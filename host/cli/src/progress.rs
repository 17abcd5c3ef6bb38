//! Progress for people: a bar on a terminal, plain lines elsewhere. All of it goes to stderr.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use querist_core::progress::{Cancelled, Phase, Progress};
use querist_files::Links;
use querist_protocol::{LogLevel, Shown};
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{events, output};

/// What is said when the wish to stop was heard.
pub const STOPPING: &str = "stopping at the next safe point";

/// Set by a wish to stop.
static STOP: AtomicBool = AtomicBool::new(false);

/// Makes the first Ctrl-C, SIGTERM or SIGHUP stop at the next safe point, and the second end the process at once.
///
/// A signal that whoever started the process had ignored stays ignored: `nohup` means that work outlives the terminal.
pub fn stop_on_interrupt() -> Result<()> {
    let heard: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal)).collect();
    let mut signals = Signals::new(heard).context("cannot wait for signals")?;
    let listen = move || {
        for signal in signals.forever() {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(128 + signal);
            }
            output::note(&format!("{STOPPING}; press Ctrl-C again to stop at once"));
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen).context("cannot start a thread")?;
    Ok(())
}

/// Whether this process ignores a signal, as the system tells it.
fn is_ignored(signal: i32) -> bool {
    let status = querist_files::read_text(Path::new("/proc/self/status"), Links::Follow, 1 << 16).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Whether the user wants to stop.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Time between events of one phase.
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// Time between plain lines of one phase.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Shows what is being done.
pub struct Display {
    bar: ProgressBar,
    terminal: bool,
    last: Mutex<Option<(Phase, Instant)>>,
}

impl Display {
    /// A display on stderr; a silent one if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !quiet && !events::are_json();
        let bar = ProgressBar::with_draw_target(
            Some(0),
            if terminal { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() },
        );
        if let Ok(style) = ProgressStyle::with_template("{msg:10} {wide_bar} {pos}/{len} {eta:>5}") {
            bar.set_style(style);
        }
        Self { bar, terminal, last: Mutex::new(None) }
    }

    /// Prints a line above the bar.
    pub fn line(&self, text: &str) {
        if self.terminal {
            self.bar.println(output::shown(text).as_str());
        } else {
            output::note(text);
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Fit => "training",
        Phase::Evaluate => "evaluating",
        Phase::Features => "features",
        Phase::Query => "query",
    }
}

fn tell(phase: Phase, done: u64, total: u64) {
    if events::are_json() {
        return events::tell("progress", json!({ "phase": name(phase), "done": done, "total": total }));
    }
    output::note(&format!("  {}: {done} of {total}", name(phase)));
}

impl Progress for Display {
    fn report(&self, phase: Phase, done: u64, total: u64) -> Result<(), Cancelled> {
        if stopped() {
            return Err(Cancelled);
        }
        if self.terminal {
            self.bar.set_message(name(phase));
            self.bar.set_length(total);
            self.bar.set_position(done);
            return Ok(());
        }
        let every = if events::are_json() { EVENT_EVERY } else { LINE_EVERY };
        // A poisoned lock only means that another thread panicked while it looked at the clock.
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match *last {
            Some((before, since)) if before == phase => {
                if since.elapsed() >= every && total > 0 {
                    tell(phase, done, total);
                    *last = Some((phase, Instant::now()));
                }
            }
            _ => *last = Some((phase, Instant::now())),
        }
        Ok(())
    }

    fn log(&self, level: LogLevel, message: &str) {
        let level = match level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warning => "warning",
        };
        if events::are_json() {
            return events::tell("log", json!({ "level": level, "message": Shown::sentence(message).as_str() }));
        }
        self.line(&format!("  strategy {level}: {}", Shown::sentence(message)));
    }
}
