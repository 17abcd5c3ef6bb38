//! Records to statistics, tables, curves and one self-contained page.
//!
//! [`Report::new`] takes the records of runs, or [`Report::of_curves`] curves that were made elsewhere, groups them by
//! setting and label and computes everything; [`table`], [`csv()`], [`json`], [`markdown`], [`latex`] and [`html`] only
//! write it down. Nothing here reads a run folder or a network.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod analysis;
mod chart;
mod compare;
mod confusion;
mod cost;
mod curve;
mod curves_file;
mod formats;
mod page;
mod people;
mod protocol;
mod report;
mod run;
mod settings;
mod sheet;
pub mod statistics;
pub mod stopping;
mod thumbnail;
mod upper;
mod verdict;

pub use analysis::{Analysis, BASELINE, Group, Point, SettingFigures, Standing};
pub use compare::{Comparison, Difference, Pair};
pub use confusion::Classes;
pub use cost::Cost;
pub use curve::{Curve, Seed, Setting};
pub use curves_file::{Columns, CurvesError};
pub use formats::{csv, curves_csv, json, json_text, latex, markdown, table};
pub use page::{Live, PICTURES_PER_ROUND, PageOptions, html, html_without_runs, svg_figures};
pub use people::Batch;
pub use protocol::{Line, LineStanding, checklist};
pub use report::{Report, ReportError};
pub use run::{Picture, RunState, RunSummary, Thumbnail};
pub use upper::{Attained, Upper};
pub use verdict::{
    Contrast, Facts, Failed, Finding, InSetting, Judged, Likeness, Limits, Mark, Needed, Outcome, QueryCost, RuleLine,
    Said, SuiteFacts, Verdict, verdict_html, verdict_text,
};
