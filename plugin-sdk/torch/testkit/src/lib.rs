//! Strategies over libtorch, run in the process of a test: over a real learner, without loading a library.
#![deny(missing_docs)]

mod data;
mod fits;
mod strategy;
mod trajectory;

use querist_sdk::{Strategy, describe};
use serde_json::Value;

pub use data::{Bench, bars, crossed, inverted, noise, odd_picks, planted};
pub use fits::{MINIBATCH, print_fits};
pub use strategy::InProcess;
pub use trajectory::{at_least, at_most, device, seeded, shift, threads};

/// Parameters as the host settles them: presets, then defaults.
///
/// # Panics
/// If the schema refuses them.
pub fn settled<S: Strategy>(params: &Value) -> S {
    let settled =
        querist_core::schema::settled(&describe::<S>(false), params).expect("parameters that the schema takes");
    serde_json::from_value(settled).expect("parameters of the schema")
}

/// Seconds that the processors gave to all threads of this process so far.
pub fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}
