//! Greedy coverage of the dataset under a similarity, plain and weighted by uncertainty.
//!
//! `max-herding` selects the sample that raises the mean over the dataset of the similarity to the nearest labelled or
//! picked sample most. `uherding` weighs each sample of that mean by its uncertainty and narrows the similarity as
//! labels come to lie closer, so that it turns from covering into uncertainty sampling by itself.
//!
//! Features are scaled to norm 1. Where the dataset has more samples than `max_rows`, the mean is over a random part of
//! it, the same in every round as far as its samples stay in the pool.
//!
//! With k a similarity of features that falls with their distance, L the labelled samples and S the picks, and u_i the
//! weight of sample i, the batch makes `mean_i u_i max_(j in L or S) k(i, j)` large, one pick at a time:
//!
//! - `max-herding` weighs all samples alike, under a similarity of fixed width. Bae, Noh and Sutherland, "Generalized
//!   Coverage for More Robust Low-Budget Active Learning", ECCV 2024.
//! - `uherding` weighs them by their uncertainty, under a similarity as wide as the two nearest labelled samples are
//!   apart. Bae, Oliveira and Sutherland, "Uncertainty Herding: One Active Learning Method for All Label Budgets", ICLR
//!   2025.

// More than 150 lines: it holds two strategies, and the calibration that weighs one of them.

mod herd;
mod max_herding;
mod uherding;

use querist_sdk::prelude::*;

pub use herd::Kernel;
pub use max_herding::MaxHerding;
pub use uherding::{Calibration, Uherding, Unsure};

package!(selectors: [MaxHerding, Uherding]);
