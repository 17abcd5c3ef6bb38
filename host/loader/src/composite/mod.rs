//! Strategies made of others: a text says which, and how they are combined. No code of their own runs.

mod albl;
mod balanced;
pub mod error;
mod filter;
pub mod members;
mod mix;
mod mix_apart;
mod mix_greedy;
mod mix_terms;
mod own;
mod refine;
pub mod strategy;
mod switch;
mod tailor;
mod trusting;
