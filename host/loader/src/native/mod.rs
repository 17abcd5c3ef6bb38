//! Native packages: shared libraries behind C tables, in this process.
//!
//! Their code can do whatever the user can. So it runs only where the user said so for this very artifact; see
//! [`crate::package::trust`].

mod context;
mod dlpack;
pub mod error;
mod generated;
mod hooks;
pub(crate) mod library;
pub(crate) mod plugin;
pub mod strategy;
mod table;
pub mod torch;
