//! Finds plugin packages, checks them, and runs them.
//!
//! Finding reads files and runs no plugin code; a broken package is listed with its reason. Running a sandboxed package
//! means: imports checked, compiled in a killable child, loaded from a private cache, a fresh instance for every call,
//! with limits on time, memory, objects and output.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod asking;
pub mod cache;
pub mod composite;
pub mod discover;
pub mod isolate;
pub mod manifest;
pub mod native;
pub mod pack;
mod sandbox;
pub mod trust;
mod wasm;

pub use composite::CompositeStrategy;
pub use discover::{Found, Listing, ResolveError, Resolved, Source};
pub use manifest::{Manifest, RefusedPackage};
pub use native::{NativeStrategy, TorchBuild};
pub use sandbox::{Compiler, Limits, Sandbox, SandboxError, Step, compile_file};
pub use wasm::{LoadError, WasmStrategy};
