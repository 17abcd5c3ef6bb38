//! A pool in parts: `querist score` asks a strategy about some rows, on whatever machine they are, and `querist merge`
//! makes of all parts the picks that one process would have made of the whole.

mod file;
pub mod merge;
pub mod score;
mod tally;
