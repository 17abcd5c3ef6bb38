//! Coverings of the dataset by balls around labelled samples: for small budgets.
//!
//! `probcover` selects the samples whose balls of one radius cover most of what is not covered yet. `dcom` gives each
//! label a radius of its own and moves from covering to margin sampling as coverage, and with it competence, grows.
//! Features are scaled to norm 1, so radii lie between 0 and 2; balls are open.
//!
//! No graph of neighbours is kept: a row joins the covered ones once, and the degrees of all others then fall by how
//! many of those who joined are near them. So all picks together cost about as much as the first count.

mod cover;
mod dcom;
mod probcover;
mod radius;

use querist_sdk::prelude::*;

pub use dcom::Dcom;
pub use probcover::Probcover;
pub use radius::{Estimate, Radius};

package!(scorers: [], selectors: [Probcover, Dcom]);
