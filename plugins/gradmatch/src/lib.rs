//! Samples by the gradients of their losses in the last layer, `g = a (x) (h, 1)`: h is the input of the layer, and a
//! the probabilities minus the one-hot of the label, or of the prediction where there is none.
//!
//! - `glister`: those that lower the loss of held-out samples most, step by step. Killamsetty, Sivasubramanian,
//!   Ramakrishnan and Iyer, "GLISTER: Generalization based Data Subset Selection for Efficient and Robust Learning",
//!   AAAI 2021 (arXiv 2012.10630).
//! - `gradmatch`: those whose gradients add up to as many times the mean gradient. Killamsetty, Durga, Ramakrishnan, De
//!   and Iyer, "GRAD-MATCH: Gradient Matching based Data Subset Selection for Efficient Deep Model Training", ICML 2021
//!   (arXiv 2103.00123).
//!
//! Gradients are never formed: products of two are products of their parts.

// More than 150 lines: two strategies, one of them with two ways to weigh its picks.

mod glister;
mod gradient;
mod gradmatch;
mod least_squares;

use querist_sdk::prelude::*;

pub use glister::{Glister, Start, Validation};
pub use gradmatch::{Gradmatch, Target, Weights};

package!(selectors: [Glister, Gradmatch]);
