//! Samples of known classes where the pool holds strangers, too: samples that the oracle answers with "none of them".
//!
//! Both strategies learn from those answers, which `labelled.rejected` marks. A detector of C classes and, last, "none
//! of them" is given as `detector.logits`, or fitted here: a linear one on embeddings.
//!
//! - `lfosa`: Ning, Zhao, Li and Huang, "Active Learning for Open-set Annotation", CVPR 2022 (arXiv 2201.06758).
//! - `eoal`: Safaei, Vibashan, de Melo and Patel, "Entropic Open-set Active Learning", AAAI 2024 (arXiv 2312.14126).

// More than 150 lines: two strategies over one detector.

mod detector;
mod eoal;
mod lfosa;
mod mixture;
mod partition;

use querist_sdk::prelude::*;

pub use detector::Detector;
pub use eoal::{Diversity, Eoal};
pub use lfosa::Lfosa;

package!(selectors: [Lfosa, Eoal]);
