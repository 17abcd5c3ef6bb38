//! What is computed from curves, and from nothing else.
//!
//! A curve is a list of (labelled samples, accuracy), its counts ascending; accuracies and their differences are
//! fractions. Seeds are pairs: two strategies are compared on the seeds that both have. A figure that is not defined is
//! `None`, never a number that looks like one.

mod area;
mod bootstrap;
mod labels;
mod matrix;
mod paired;
mod speed_up;
mod spread;

pub use area::{area_over_labels, area_over_rounds};
pub use bootstrap::{Interval, mean_interval, over_resamples};
pub use labels::{data_utilisation, labels_to_reach};
pub use matrix::{Penalties, checkpoints};
pub use paired::{PairedTest, detectable, holm, pairs_needed, power};
pub use speed_up::{SpeedUp, SpeedUps, Tail, isotonic};
pub use spread::Spread;

/// A point of a curve: labelled samples, and the accuracy with them.
pub type CurvePoint = (usize, f64);
