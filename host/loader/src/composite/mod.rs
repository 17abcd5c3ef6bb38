//! Strategies made of others: a text says which, and how they are combined. No code of their own runs.

pub mod error;
pub mod members;
mod refine;
pub mod strategy;
mod switch;
