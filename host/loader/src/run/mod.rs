//! How a strategy is run, whatever its route: under which limits, by which clock, what it reaches, and what is looked
//! at in its answer.

pub(crate) mod answer;
pub(crate) mod clock;
pub mod error;
pub mod limits;
pub(crate) mod reach;
pub mod route;
