//! Sandboxed strategies: components in an engine with limits, and the host's side of `plugin-sdk/wit`.

pub mod cache;
pub mod compile;
pub(crate) mod engine;
pub mod error;
mod generated;
pub(crate) mod instance;
mod memory;
pub(crate) mod ready;
pub mod sandbox;
mod state;
pub mod strategy;
