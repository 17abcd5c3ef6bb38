//! Where the time of a query goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A part of a query's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// The strategy's own code.
    Guest,
    /// The host's side of the boundary, with the way across.
    Host,
    /// Of that, the calls themselves.
    Call,
    /// Of those, lists that are copied for the strategy.
    Copy,
}

/// Times of one query, in nanoseconds over all its threads.
#[derive(Debug, Default)]
pub struct Meter {
    spans: [AtomicU64; 4],
    calls: AtomicU64,
}

/// Seconds of a query, over all its threads.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Times {
    /// In the strategy's own code.
    pub guest: f64,
    /// In kernels.
    pub kernels: f64,
    /// In lists that were copied from one side to the other.
    pub copies: f64,
    /// Calls of the host.
    pub calls: u64,
}

impl Meter {
    /// Adds to a span.
    pub fn add(&self, span: Span, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.spans[span as usize].fetch_add(nanoseconds, Ordering::Relaxed);
        if span == Span::Call {
            self.calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds to a span until it is dropped.
    pub fn time(&self, span: Span) -> Timed<'_> {
        Timed { meter: self, span, since: Instant::now() }
    }

    /// What was measured. Where nobody sees the way across, it is counted as the strategy's own time.
    pub fn times(&self, query: Duration) -> Times {
        let of = |span: Span| self.spans[span as usize].load(Ordering::Relaxed) as f64 / 1e9;
        let (call, copy) = (of(Span::Call), of(Span::Copy));
        let across = (of(Span::Host) - call).max(0.0);
        let guest = match of(Span::Guest) {
            0.0 => (query.as_secs_f64() - call - across).max(0.0),
            measured => measured,
        };
        let calls = self.calls.load(Ordering::Relaxed);
        Times { guest, kernels: (call - copy).max(0.0), copies: copy + across, calls }
    }
}

/// Adds the time of its life to a span.
pub struct Timed<'a> {
    meter: &'a Meter,
    span: Span,
    since: Instant,
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.meter.add(self.span, self.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_across_counts_as_copies() {
        let meter = Meter::default();
        let add = |span, millis| meter.add(span, Duration::from_millis(millis));
        add(Span::Guest, 500);
        add(Span::Host, 300);
        add(Span::Call, 200);
        add(Span::Copy, 50);
        let Times { guest, kernels, copies, calls } = meter.times(Duration::from_secs(1));
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(guest, 0.5) && near(kernels, 0.15) && near(copies, 0.15) && calls == 1);
        let native = Meter::default();
        native.add(Span::Call, Duration::from_millis(400));
        assert!(near(native.times(Duration::from_secs(1)).guest, 0.6));
    }
}
