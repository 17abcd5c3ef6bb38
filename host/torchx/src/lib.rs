//! What the libtorch bindings lack: where the library is, memory figures, reproducibility, fused optimiser steps, and
//! guards around code that is not ours.
//!
//! A small C++ shim over the same libtorch, and safe functions around it. [`runtime::init`] comes before anything else
//! that touches libtorch.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod ambient;
mod ffi;
pub mod memory;
pub mod optimiser;
pub mod pickle;
pub mod random;
pub mod runtime;
pub mod script;

/// A call into libtorch that failed, with libtorch's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TorchError(String);
