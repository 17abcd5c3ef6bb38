//! The time of a query: how long a plugin may run, and who looks after it meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use querist_core::Failure;
use querist_core::progress::{Phase, Progress};
use querist_kernels::Control;

use super::limits::Limits;

/// How often a running plugin is looked after.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The control of a query under these limits.
pub(crate) fn control(limits: &Limits) -> Arc<Control> {
    Arc::new(Control::new(shares(limits), Some(Instant::now() + limits.time)))
}

/// A control without a deadline, for what the host itself can stop.
pub(crate) fn control_without_deadline(limits: &Limits) -> Arc<Control> {
    Arc::new(Control::new(shares(limits), None))
}

fn shares(limits: &Limits) -> querist_kernels::Limits {
    querist_kernels::Limits { memory: limits.memory, handles: limits.handles, log_bytes: limits.log as u64 }
}

/// Passes on what the plugin wrote to its log.
pub(crate) fn pass_log_on(control: &Control, progress: &dyn Progress) {
    for line in control.take_log() {
        progress.log(line.level, &line.message);
    }
}

/// Runs `work` while another thread ticks and passes progress on.
pub(crate) fn under_the_clock<T>(
    control: &Control,
    progress: Option<&dyn Progress>,
    tick: impl Fn() + Send,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        let (done, finished) = mpsc::channel::<()>();
        scope.spawn(move || {
            while let Err(mpsc::RecvTimeoutError::Timeout) = finished.recv_timeout(TICK) {
                tick();
                pass_on(control, progress);
            }
        });
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Failure::of_host()));
        drop(done);
        result
    })
}

/// Passes progress on, and a wish to stop back.
fn pass_on(control: &Control, progress: Option<&dyn Progress>) {
    let (steps, total) = control.progress();
    if progress.is_some_and(|progress| progress.report(Phase::Query, steps, total).is_err()) {
        control.cancel();
    }
}
