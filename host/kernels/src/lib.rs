//! The linear algebra that strategies call.
//!
//! A [`Session`] answers [`querist_protocol::HostCalls`] for one instance of a strategy. All sessions of a query share
//! the arrays and the threads ([`Shared`]) and the limits ([`Control`]).
//!
//! # Arithmetic
//! Every result is defined to the last bit, and neither the number of threads nor the CPU changes it. Inputs are `f32`,
//! widened to `f64` before the first operation; sums over columns run in sixteen lanes (column modulo 16) that a fixed
//! tree joins; a product and a sum are two roundings, fused only where the product is exact, as that of two inputs is.
//! The sum of a row's distances alone takes squared distances from norms and product (`distance.rs`). Faster arithmetic
//! is used only to prove that a pair of rows cannot matter: it yields bounds, and what the bounds leave open is
//! computed by the definition. An [`Accelerator`], such as a GPU, makes these bounds too; its rounding never reaches a
//! result.
#![deny(missing_docs)]
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod accelerator;
mod assignment;
mod check;
mod closest;
mod codes;
mod control;
mod dense;
mod design;
mod distance;
mod dots;
mod facility;
mod far;
mod filter;
mod graph;
mod head;
mod kmeans;
mod linkage;
mod matrix;
mod memory;
mod meter;
mod mixture;
mod nearest;
mod neighbours;
mod pairs;
mod points;
mod products;
mod rank;
mod session;
mod shortlist;
mod simd;
mod sketch;
mod uncertainty;
mod workers;

pub use accelerator::{
    Accelerator, AcceleratorError, Candidate, CentreTerms, Compute, Cover, Resident, RowTerms, Search, Wanted,
};
pub use control::{Control, Limits, LogLine};
pub use meter::{Meter, Span, Timed, Times};
pub use neighbours::nearest_rows;
pub use session::{Session, Setup, SetupError, Shared, Tile, Tiled, score_tiles};
#[doc(hidden)]
pub use simd::limit_instructions;
