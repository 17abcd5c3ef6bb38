//! Progress of a long loop, with an estimate of its length.

use std::time::{Duration, Instant};

use querist_protocol::LogLevel;

use crate::error::Result;
use crate::round::Round;

/// A loop must have run so long before its length is estimated.
const AFTER: Duration = Duration::from_secs(5);
/// A shorter loop is not worth a word.
const LONG: Duration = Duration::from_secs(600);

/// Reports the steps of a loop, and once says how long it will take where that is long.
pub struct Pace {
    what: String,
    levers: &'static str,
    total: u64,
    started: Instant,
    told: bool,
}

impl Pace {
    /// For a loop of `total` steps, which are called `what`; `levers` says which parameters shorten it.
    pub fn new(what: impl Into<String>, levers: &'static str, total: u64) -> Self {
        Self { what: what.into(), levers, total, started: Instant::now(), told: false }
    }

    /// Reports that so many steps are done. Call it at least once a second, also within a step.
    ///
    /// # Errors
    /// Once the user has cancelled or time is up; pass it on.
    pub fn report(&mut self, round: &Round, done: u64) -> Result<()> {
        if let Some(message) = self.estimate(done, self.started.elapsed()) {
            self.told = true;
            round.log(LogLevel::Warning, &message)?;
        }
        round.progress(done, self.total)
    }

    fn estimate(&self, done: u64, elapsed: Duration) -> Option<String> {
        if self.told || done == 0 || elapsed < AFTER {
            return None;
        }
        let seconds = elapsed.as_secs_f64() / done as f64;
        let whole = seconds * self.total as f64;
        let Self { what, levers, total, .. } = self;
        (whole > LONG.as_secs_f64()).then(|| {
            format!("{total} {what} of {seconds:.2} s are about {:.1} hours; {levers} shortens them", whole / 3600.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_loops_are_estimated_once_they_have_run_a_while() {
        let mut pace = Pace::new("iterations", "`iterations`", 3600);
        let ten = Duration::from_secs(10);
        assert_eq!(pace.estimate(0, ten), None);
        assert_eq!(pace.estimate(5, Duration::from_secs(1)), None);
        let text = pace.estimate(5, ten).unwrap();
        assert_eq!(text, "3600 iterations of 2.00 s are about 2.0 hours; `iterations` shortens them");
        pace.told = true;
        assert_eq!(pace.estimate(5, ten), None);
        assert_eq!(Pace::new("steps", "`steps`", 10).estimate(5, ten), None);
    }
}
