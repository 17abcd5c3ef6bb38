//! Progress for people: a bar on a terminal, plain lines elsewhere. All of it goes to stderr.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use querist_core::observer::{Cancelled, Phase, Progress};
use querist_protocol::{LogLevel, Shown};

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Makes the first Ctrl-C (or SIGTERM) stop at the next safe point, and the second end the process at once.
pub fn stop_on_interrupt() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("stopping at the next safe point; press Ctrl-C again to stop at once");
    })?;
    Ok(())
}

/// Whether the user wants to stop.
pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

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
        let terminal = std::io::stderr().is_terminal() && !quiet;
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
            self.bar.println(text);
        } else {
            eprintln!("{text}");
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
        // A poisoned lock only means that another thread panicked while it looked at the clock.
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match *last {
            Some((before, since)) if before == phase => {
                if since.elapsed() >= LINE_EVERY && total > 0 {
                    eprintln!("  {}: {done} of {total}", name(phase));
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
        self.line(&format!("  strategy {level}: {}", Shown::sentence(message)));
    }
}
