//! Coverings of the dataset by balls around labelled samples: for small budgets.
//!
//! With B(i) the ball around sample i and C the samples that labelled and picked ones cover, each pick is made by the
//! number of samples that it newly covers, `|B(i) \ C|`. Features are scaled to norm 1, so radii lie between 0 and 2;
//! balls are open.
//!
//! - `probcover` picks the largest `|B(i) \ C|`, with one radius for all balls. Yehuda, Dekel, Hacohen and Weinshall,
//!   "Active Learning Through a Covering Lens", NeurIPS 2022.
//! - `dcom` gives each label a radius of its own, and picks the largest `c u + (1 - c) |B(i) \ C|`, where u is
//!   1 - margin and the competence c grows with coverage; both terms are scaled to [0, 1]. Mishal and Weinshall, "DCoM:
//!   Active Learning for All Learners", 2024.
//!
//! No graph of neighbours is kept: a row joins the covered ones once, and the degrees of all others then fall by how
//! many of those who joined are near them. So all picks together cost about as much as the first count.

// More than 150 lines: it holds two strategies, the cover that both grow and the estimates of their radii.

mod cover;
mod dcom;
mod probcover;
mod radius;

use querist_sdk::prelude::*;

pub use dcom::Dcom;
pub use probcover::Probcover;
pub use radius::{Estimate, Radius};

package!(selectors: [Probcover, Dcom]);
