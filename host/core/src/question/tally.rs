//! What a question is worth in parts: numbers of single rows, written down while a strategy is asked about some of
//! them.

use std::fmt;

/// Two numbers of each row.
pub type Pairs = (Vec<f64>, Vec<f64>);

/// Told what a strategy finds of each row by itself, without regard to the others; and knows what was found elsewhere.
pub trait Tally: fmt::Debug + Send + Sync {
    /// Which rows rank first, the scores of all rows, and what breaks ties between them.
    fn scored(&self, first: &[u32], scores: &[f64], second: Option<&[f64]>);

    /// What a kernel made of each row of a whole array over the pool; `measure` is the kernel and its options.
    fn measured(&self, array: &str, measure: &str, first: &[f64], second: &[f64]);

    /// What [`Tally::measured`] was told where the rows are, if this array is not here.
    fn known(&self, array: &str, measure: &str) -> Option<Pairs>;
}
