//! Finds plugin packages, checks them, and runs them.
//!
//! Finding reads files and runs no plugin code; a broken package is listed with its reason. Running a sandboxed package
//! means: imports checked, compiled in a killable child, loaded from a private cache, a fresh instance for every call,
//! with limits on time, memory, objects and output.
//!
//! [`package`] says what a package is, [`run`] how any strategy is run; `wasm`, `native` and `isolate` are the routes
//! by which code is run, and `composite` asks strategies about others. Modules use one another in that order.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod composite;
pub mod hosted;
pub mod isolate;
pub mod native;
pub mod pack;
pub mod package;
pub mod run;
pub mod wasm;

pub use composite::strategy::CompositeStrategy;
pub use hosted::{Hosted, HostedStrategy};
pub use isolate::strategy::IsolatedStrategy;
pub use native::strategy::NativeStrategy;
pub use native::torch::TorchBuild;
pub use package::discover::{BY_DIGEST, Found, Listing, ResolveError, Resolved, Source};
pub use package::imports::imports;
pub use package::manifest::Manifest;
pub use package::read::CheckedPackage;
pub use package::refused::RefusedPackage;
pub use run::error::LoadError;
pub use run::limits::Limits;
pub use wasm::cache::Cache;
pub use wasm::compile::{Compiler, Step, compile_file};
pub use wasm::error::SandboxError;
pub use wasm::ready::make_ready;
pub use wasm::sandbox::Sandbox;
pub use wasm::strategy::WasmStrategy;
