//! What the command line does, for programs that hold it: values instead of files, errors instead of exit codes.
//!
//! Each function does what the verb of its name does, by the same code, so that picks, bits and records are the same.

mod check;
mod report;
mod select;
pub mod session;
mod strategies;

pub use check::{Finding, check};
pub use report::{Reported, report};
pub use select::{Ask, Selected, given_under, select};
pub use strategies::strategies;

pub use querist_loader::hosted;

pub use crate::exit::Said;
pub use crate::plugins::PluginArgs;

use crate::exit::LimitNames;

/// What is told of an error to somebody who called a function.
pub fn said(error: &anyhow::Error) -> Said {
    Said::of(error, LimitNames::Arguments)
}

/// Has `ear` hear what would be noted on standard error. The first one counts.
pub fn hear_notes(ear: impl Fn(&str) + Send + Sync + 'static) {
    crate::output::hear(ear);
}
