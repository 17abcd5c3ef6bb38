//! One module a verb.

mod about;
pub mod check;
pub mod data;
pub mod doctor;
pub mod embed;
pub mod export;
pub mod install;
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
