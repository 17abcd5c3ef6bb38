//! Strategies over libtorch, run in the process of a test: over a real learner, without loading a library.
#![deny(missing_docs)]

mod data;
mod strategy;
mod trajectory;

pub use data::{Bench, bars, crossed, inverted, odd_picks, planted};
pub use strategy::InProcess;
pub use trajectory::{at_least, at_most, device, seeded, shift, threads};

/// Seconds that the processors gave to all threads of this process so far.
pub fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}
