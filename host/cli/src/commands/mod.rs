//! One module a verb.

pub mod check;
pub mod data;
pub mod doctor;
pub mod embed;
pub mod evaluate;
pub mod export;
pub mod new;
mod parameters;
pub mod parts;
pub mod plugin;
pub mod probe;
pub mod replay;
pub mod report;
pub mod run;
pub mod schema;
pub mod select;
pub mod study;
