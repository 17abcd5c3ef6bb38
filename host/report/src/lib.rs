//! Records to statistics, tables, curves and one self-contained page.
//!
//! [`Report::new`] takes the records of runs, groups them by label and computes everything; [`table`], [`csv()`],
//! [`json`] and [`html`] only write it down. Nothing here reads a run folder or a network.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod chart;
mod formats;
mod page;
mod report;
mod run;
pub mod statistics;
mod thumbnail;

pub use formats::{csv, json, json_text, table};
pub use page::{PageOptions, html};
pub use report::{Comparison, Group, Point, Report, ReportError};
pub use run::{Picture, RunState, RunSummary, Thumbnail};
