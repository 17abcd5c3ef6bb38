//! People who label: what they are asked, what they answered, and what their answers come to.
//!
//! A run that waits for people has a folder `waiting/` with a [`Batch`], and a file `answers.jsonl`, the [`Journal`] of
//! every answer that was ever given. Nothing else is kept: who answered what, what is disputed and how well people
//! agree is computed from the journal, so a page, an import and a run that look at the same files see the same.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod agreement;
mod answer;
mod batch;
mod error;
pub mod formats;
mod journal;
mod outcome;

pub use agreement::Agreement;
pub use answer::{Answer, MOST_ANNOTATOR, NewAnswer, Recorded};
pub use batch::{BATCH, Batch, Guess, Looks, Picture, Stage, Stamp, WAITING};
pub use error::PeopleError;
pub use journal::{ANSWERS, Effective, Journal};
pub use outcome::Outcome;
