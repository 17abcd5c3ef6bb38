//! Strategies over libtorch, run in the process of a test: over a real learner, without loading a library.
#![deny(missing_docs)]

mod data;
mod strategy;

pub use data::{Bench, bars, crossed, crossed_picks, planted};
pub use strategy::InProcess;
