//! Networks that several strategies train.
#![deny(missing_docs)]

mod loss_hooks;
mod loss_module;

pub use loss_hooks::{LossHooks, Schedule};
pub use loss_module::{LossModule, Settings, Ties, differences, pair_loss};
