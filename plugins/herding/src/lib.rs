//! Greedy coverage of the dataset under a similarity, plain and weighted by uncertainty.
//!
//! `max-herding` selects the sample that raises the mean over the dataset of the similarity to the nearest labelled or
//! picked sample most. `uherding` weighs each sample of that mean by its uncertainty and narrows the similarity as labels
//! come to lie closer, so that it turns from covering into uncertainty sampling by itself.
//!
//! Features are scaled to norm 1. Where the dataset has more samples than `max_rows`, the mean is over a random part of
//! it, the same in every round as far as its samples stay in the pool.

mod herd;
mod max_herding;
mod uherding;

use querist_sdk::prelude::*;

pub use herd::Kernel;
pub use max_herding::MaxHerding;
pub use uherding::{Calibration, Uherding, Unsure};

package!(scorers: [], selectors: [MaxHerding, Uherding]);
