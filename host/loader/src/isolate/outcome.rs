//! What comes of a question to a worker: its answer, or why there is none.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use querist_core::{Failure, Limit, QueryErrorKind};
use querist_protocol::{Selection, Shown};

use super::cage;
use super::listen::{Heard, Printed, Why};
use crate::run::limits::Limits;

/// What comes of a question.
pub(super) struct Outcome {
    pub(super) said: Answered,
    pub(super) peak_memory: u64,
}

/// An answer, which the one who asked has still to look at.
pub(super) enum Answered {
    Needs(Vec<String>),
    Selection(Selection),
}

/// What is known of a worker that is gone.
pub(super) struct Told<'a> {
    pub(super) limits: &'a Limits,
    /// Time that it had.
    pub(super) time: Duration,
    pub(super) status: ExitStatus,
    /// Whether it ended before it was killed.
    pub(super) has_ended: bool,
    /// Whether the time of the query was over, by the host's clock.
    pub(super) is_late: bool,
}

impl Told<'_> {
    pub(super) fn outcome(&self, heard: Heard) -> Result<Outcome, Failure> {
        let Heard { why, printed, peak_memory, .. } = heard;
        let said = match why {
            Why::Needs(needs) => Ok(Answered::Needs(needs)),
            Why::Answer(selection) => Ok(Answered::Selection(selection)),
            Why::Failed(kind, message) => Err(self.claimed(kind, &message)),
            Why::Forbidden(call) => Err(forbidden(Some(call))),
            Why::Cancelled => Err(Failure::new(QueryErrorKind::Cancelled, "cancelled")),
            Why::TimeOut => Err(self.time_out()),
            Why::Memory(bytes) => Err(Failure::new(
                QueryErrorKind::Memory,
                format!(
                    "it held {} MiB of memory, more than it may with a limit of {} MiB, and was stopped",
                    bytes >> 20,
                    self.limits.memory >> 20
                ),
            )
            .hint(Limit::Memory)),
            Why::Threads(threads) => Err(Failure::new(
                QueryErrorKind::Memory,
                format!("it ran {threads} threads at once, which is too many, and was stopped"),
            )
            .hint("a strategy needs no more threads than there are cores; kernels have threads of their own")),
            Why::Printed(bytes) => Err(Failure::new(
                QueryErrorKind::Output,
                format!("it printed more than {} MiB, and was stopped{printed}", bytes >> 20),
            )
            .hint("a strategy says what is worth saying by its log")),
            Why::Nonsense(_) | Why::End if self.status.signal() == Some(libc::SIGSYS) => Err(forbidden(None)),
            Why::Nonsense(what) => Err(Failure::new(
                QueryErrorKind::Output,
                format!(
                    "it wrote to the pipe that its answer goes over, where no plugin has to write, and was stopped: \
                     {what}{printed}"
                ),
            )),
            Why::End => Err(self.ended(&printed)),
        };
        said.map(|said| Outcome { said, peak_memory })
    }

    fn time_out(&self) -> Failure {
        let seconds = self.time.min(self.limits.time).as_secs_f64();
        let message = format!("its worker ran past its time limit of {seconds:.0} s and was killed");
        Failure::new(QueryErrorKind::Timeout, message).hint(Limit::Seconds)
    }

    /// A failure as the worker tells it. Only what a plugin may know of itself is taken from it, and no advice: what
    /// the host measures or decides, the host says.
    fn claimed(&self, kind: QueryErrorKind, message: &str) -> Failure {
        let message = Shown::sentence(message);
        match kind {
            QueryErrorKind::Timeout if self.is_late => self.time_out(),
            QueryErrorKind::Memory => Failure::new(kind, message).hint(Limit::Memory),
            QueryErrorKind::InvalidParams
            | QueryErrorKind::Panic
            | QueryErrorKind::Output
            | QueryErrorKind::Contract
            | QueryErrorKind::Dishonest => Failure::new(kind, message),
            QueryErrorKind::Failed
            | QueryErrorKind::Trap
            | QueryErrorKind::Timeout
            | QueryErrorKind::Fuel
            | QueryErrorKind::Cancelled => Failure::new(QueryErrorKind::Failed, message),
        }
    }

    /// A worker that ended without an answer.
    fn ended(&self, printed: &Printed) -> Failure {
        if !self.has_ended {
            let message = format!("it closed the pipe that its answer goes over, and was stopped{printed}");
            return Failure::new(QueryErrorKind::Failed, message);
        }
        let Some(signal) = self.status.signal() else {
            let message = format!("its worker ended without an answer ({}){printed}", self.status);
            return Failure::new(QueryErrorKind::Failed, message);
        };
        // What Rust's allocator prints before it gives up.
        let out_of_memory = printed.as_str().contains("memory allocation of");
        let kind = if out_of_memory { QueryErrorKind::Memory } else { QueryErrorKind::Trap };
        let message = format!("it crashed its worker ({}){printed}", cage::signal_name(signal));
        let failure = Failure::new(kind, message);
        if out_of_memory { failure.hint(Limit::Memory) } else { failure }
    }
}

fn forbidden(call: Option<i64>) -> Failure {
    let what = match call.map(|call| (call, cage::name_of(call))) {
        Some((_, Some(what))) => what.to_owned(),
        Some((call, None)) => format!("made system call {call}"),
        None => "made a forbidden system call".to_owned(),
    };
    let message = format!("it {what}, which isolated plugins may not, and was stopped");
    Failure::new(QueryErrorKind::Trap, message)
        .hint("a strategy needs only the host's arrays and kernels; if you trust it, use `--allow-native` instead")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_says_nothing_that_the_host_decides() {
        let limits = Limits::default();
        let told = |is_late| Told {
            limits: &limits,
            time: limits.time,
            status: ExitStatus::from_raw(libc::SIGKILL),
            has_ended: false,
            is_late,
        };
        let claimed = |kind, is_late| told(is_late).claimed(kind, "so it \u{1b}says").kind;
        for kind in [QueryErrorKind::Cancelled, QueryErrorKind::Timeout, QueryErrorKind::Fuel, QueryErrorKind::Trap] {
            assert_eq!(claimed(kind, false), QueryErrorKind::Failed, "{kind:?}");
        }
        assert_eq!(claimed(QueryErrorKind::Timeout, true), QueryErrorKind::Timeout);
        assert_eq!(claimed(QueryErrorKind::Cancelled, true), QueryErrorKind::Failed);
        assert_eq!(claimed(QueryErrorKind::Contract, false), QueryErrorKind::Contract);
        assert!(querist_protocol::is_showable(told(false).claimed(QueryErrorKind::Panic, "\u{1b}").message.as_str()));
    }
}
