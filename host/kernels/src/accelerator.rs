//! Bounds from a faster device.
//!
//! Bounds say which pairs of rows may matter; what they leave open is computed on the CPU by the definition. So a
//! device that finds these pairs changes how long a query takes, and no bit of its answer.

use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use querist_protocol::{Fault, FaultCode, Similarity};

/// What kernels compute with.
#[derive(Debug, Clone)]
pub struct Compute {
    /// Threads on the CPU; 0 counts as 1.
    pub threads: usize,
    /// A device that finds pairs within bounds faster.
    pub accelerator: Option<Arc<dyn Accelerator>>,
}

impl Compute {
    /// `threads` threads of the CPU alone.
    pub fn threads(threads: usize) -> Self {
        Self { threads, accelerator: None }
    }
}

/// A device that multiplies matrices in single precision.
///
/// A product x·y of D columns may be summed in any order and fused, and is then wrong by at most
/// 1.25 (D + 16) 2⁻²⁴ ‖x‖‖y‖, and by 2⁻¹²⁰ (D + 16) (1 + ‖x‖ + ‖y‖) where numbers below the normal ones become 0. A
/// device that rounds factors to fewer bits must not be one.
pub trait Accelerator: Debug + Send + Sync {
    /// Whether so many multiplications pay for the way there and back.
    fn is_worth(&self, multiplications: u64) -> bool;

    /// Copies a row-major matrix of at least one column to the device.
    ///
    /// # Errors
    /// If the device has no room for it, or fails.
    fn upload(&self, values: &[f32], columns: usize) -> Result<Arc<dyn Resident>, AcceleratorError>;

    /// Gets ready to look for pairs of rows and centres.
    ///
    /// The product of a pair is that of `rows[0]` and `centres[0]`; with two of each, times that of the second ones.
    ///
    /// # Errors
    /// If the device has no room, or fails.
    fn search(
        &self,
        rows: &[Arc<dyn Resident>],
        centres: &[Arc<dyn Resident>],
        terms: CentreTerms<'_>,
    ) -> Result<Box<dyn Search>, AcceleratorError>;
}

/// A matrix on a device; it is freed when the last reference to it is dropped.
pub trait Resident: Any + Debug + Send + Sync {}

/// What does not depend on the row, one value a centre.
///
/// A distance lies between `row.low + (low - row.scale * (scale * product))` and the same with `high`.
#[derive(Debug, Clone, Copy)]
pub struct CentreTerms<'a> {
    /// Added to the lower bound.
    pub low: &'a [f64],
    /// Added to the upper bound.
    pub high: &'a [f64],
    /// Scales products.
    pub scale: &'a [f64],
}

/// What does not depend on the centre; see [`CentreTerms`].
#[derive(Debug, Clone, Copy)]
pub struct RowTerms {
    /// Added to the lower bound.
    pub low: f64,
    /// Added to the upper bound.
    pub high: f64,
    /// Scales products.
    pub scale: f64,
}

/// Which pairs are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// For each row those whose lower bound is at most the k-th smallest upper bound of the row; all, if there are no
    /// k.
    Nearest(usize),
    /// Those whose lower bound is at most this.
    UpTo(f64),
    /// Those whose lower bound is at most the limit of the centre.
    WithinCentres(&'a [f64]),
}

/// How well centres are covered, and what covering them more is worth.
#[derive(Debug, Clone, Copy)]
pub struct Cover<'a> {
    /// The similarity of each centre to what covers it.
    pub cover: &'a [f64],
    /// What a centre counts; 1 each without.
    pub weights: Option<&'a [f64]>,
    /// Similarity of a row and a centre at a squared distance.
    pub similarity: Similarity,
}

/// A pair that may matter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Row, counted from the first row of the call.
    pub row: u32,
    /// Centre.
    pub centre: u32,
    /// Product of the two.
    pub product: f32,
}

/// Rows and centres on a device.
pub trait Search: Debug + Send + Sync {
    /// Every wanted pair of some rows, ordered by row, then by centre. Pairs that the limits do not want may be among
    /// them, and are where rounding leaves it open.
    ///
    /// # Errors
    /// If the device has no room, or fails.
    fn candidates(
        &self,
        rows: Range<usize>,
        terms: &[RowTerms],
        wanted: Wanted<'_>,
    ) -> Result<Vec<Candidate>, AcceleratorError>;

    /// For each of some rows what it could add to the cover at most: the sum over centres of
    /// `weight * max(similarity - cover, 0)`, with the similarity at the lower bound of the distance or at 0, whichever
    /// is larger. A sum may be too small by a billionth of itself; one that is too large costs time and no more.
    ///
    /// # Errors
    /// If the device has no room, or fails.
    fn gains(&self, rows: Range<usize>, terms: &[RowTerms], cover: Cover<'_>) -> Result<Vec<f64>, AcceleratorError>;
}

/// What a device could not do, and what helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AcceleratorError(pub String);

impl AcceleratorError {
    pub(crate) fn fault(self) -> Fault {
        Fault::new(FaultCode::Quota, self.0)
    }
}
