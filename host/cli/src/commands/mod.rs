//! One module a verb.

mod about;
pub mod bench;
pub mod build;
mod candidate;
pub mod check;
pub mod completions;
pub mod data;
pub mod doctor;
pub mod embed;
pub mod explain;
pub mod export;
pub mod install;
pub mod inspect;
pub mod new;
mod parameters;
pub mod parts;
pub mod plugin;
pub mod probe;
pub mod report;
pub mod run;
pub mod schema;
pub mod search;
pub mod select;
pub mod study;
pub mod trust;
mod watch;
