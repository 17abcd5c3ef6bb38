//! Learners that are programs of the user's own, in any language, behind the trait
//! [`Learner`](querist_core::Learner).
//!
//! The program is started once a run. Requests and answers are lines of JSON on its standard input and output, one
//! request at a time; arrays are `.npy` files in a folder of the host's. `docs/external-learners.md` is the contract.
//! Nothing that comes from the program is believed: lines, numbers of lines, times, shapes and values have bounds.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod exchange;
mod learner;
mod offer;
mod process;
mod said;

pub use exchange::remove as remove_exchange;
pub use learner::{External, Settings};
pub use offer::Offer;

/// Version of the protocol.
pub const PROTOCOL: u32 = 1;
