//! Samples like rows that a user points at, and samples unlike others: submodular information measures.
//!
//! With s a similarity in [0, 1], Q the rows to look for (`query.embeddings`), P the rows to stay away from
//! (`private.embeddings`), S the picks and V the pool, each strategy makes a function of S large, one pick at a time:
//!
//! - `flqmi`: `sum_(q in Q) max_(i in S) s_iq + eta sum_(i in S) max_(q in Q) s_iq`: every row pointed at has something
//!   like it among the picks, and every pick is like one of them.
//! - `gcmi`: `sum_(i in S) sum_(q in Q) s_iq`: the picks are like all of them.
//! - `fl-conditional-gain`: `sum_(v in V) max(max_(i in S) s_iv - nu max_(p in P) s_pv, 0)`: the picks cover what the
//!   private rows do not.
//!
//! Kothawade, Beck, Killamsetty and Iyer, "SIMILAR: Submodular Information Measures Based Active Learning In Realistic
//! Scenarios", NeurIPS 2021 (arXiv 2107.00717).
//!
//! A row stands for its embedding h, or for the gradient of its loss in the last layer, `a (x) (h, 1)` with a its
//! probabilities minus the one-hot of its label, or of its prediction. Gradients are never formed: the cosine of two is
//! the product of two cosines.

// More than 150 lines: three strategies over one notion of similarity.

mod conditional;
mod flqmi;
mod gcmi;
mod likeness;

use querist_sdk::prelude::*;

pub use conditional::{FlConditionalGain, Private};
pub use flqmi::Flqmi;
pub use gcmi::Gcmi;
pub use likeness::{Labels, Measure, Space};

const PAPER: &str = "Kothawade, Beck, Killamsetty and Iyer, SIMILAR: Submodular Information Measures Based Active \
                     Learning In Realistic Scenarios, NeurIPS 2021";

package!(scorers: [Gcmi], selectors: [Flqmi, FlConditionalGain]);
