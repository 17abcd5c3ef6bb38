//! Native packages: shared libraries behind C tables, in this process.
//!
//! Their code can do whatever the user can. So it runs only where the user said so for this very artifact; see
//! [`crate::trust`].

mod dlpack;
mod generated;
pub mod identity;
pub(crate) mod library;
pub(crate) mod strategy;
mod table;

pub use library::{NativeError, TorchBuild};
pub use strategy::NativeStrategy;
