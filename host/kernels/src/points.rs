//! Rows with a geometry: plain vectors, or outer products that are never formed.

use std::sync::{Arc, OnceLock};

use querist_protocol::{Fault, FaultCode, Metric};

use crate::accelerator::{Accelerator, AcceleratorError, Resident};
use crate::matrix::Matrix;
use crate::memory::Charged;
use crate::simd;
use crate::sketch::Sketch;
use crate::workers::Workers;

#[derive(Debug)]
enum Geometry {
    Plain(Matrix),
    /// Point i is the outer product of row i of both.
    Factored(Factors),
}

#[derive(Debug)]
pub(crate) struct Factors {
    pub(crate) left: Matrix,
    pub(crate) right: Matrix,
    left_sq_norms: Charged<f64>,
    right_sq_norms: Charged<f64>,
}

/// Points with their squared norms.
#[derive(Debug)]
pub(crate) struct Points {
    geometry: Geometry,
    sq_norms: Charged<f64>,
    /// The matrices on the query's device, once they were needed there.
    residents: OnceLock<Vec<Arc<dyn Resident>>>,
}

impl Points {
    /// The rows of a matrix.
    pub(crate) fn plain(workers: &Workers, matrix: Matrix) -> Result<Self, Fault> {
        let sq_norms = matrix.sq_norms(workers)?;
        Ok(Self { geometry: Geometry::Plain(matrix), sq_norms, residents: OnceLock::new() })
    }

    /// The outer products of the rows of two matrices.
    pub(crate) fn factored(workers: &Workers, left: Matrix, right: Matrix) -> Result<Self, Fault> {
        crate::check::same(right.rows(), left.rows(), "rows of the right factor")?;
        let left_sq_norms = left.sq_norms(workers)?;
        let right_sq_norms = right.sq_norms(workers)?;
        let mut sq_norms = Charged::filled(workers.control(), left.rows(), 0.0)?;
        for (row, norm) in sq_norms.iter_mut().enumerate() {
            *norm = left_sq_norms[row] * right_sq_norms[row];
        }
        let geometry = Geometry::Factored(Factors { left, right, left_sq_norms, right_sq_norms });
        Ok(Self { geometry, sq_norms, residents: OnceLock::new() })
    }

    /// The named points in order; the caller has checked them.
    pub(crate) fn gather(&self, workers: &Workers, rows: &[u32]) -> Result<Self, Fault> {
        match &self.geometry {
            Geometry::Plain(matrix) => Self::plain(workers, matrix.gather(workers, rows)?),
            Geometry::Factored(factors) => {
                Self::factored(workers, factors.left.gather(workers, rows)?, factors.right.gather(workers, rows)?)
            }
        }
    }

    /// Moves a plain point by a share of the way towards another one.
    pub(crate) fn move_towards(&mut self, row: usize, other: usize, share: f64) -> Result<(), Fault> {
        let shared = || Fault::new(FaultCode::BadHandle, "points that move are not shared");
        let Geometry::Plain(matrix) = &mut self.geometry else { return Err(shared()) };
        let columns = matrix.columns();
        let values = matrix.values_mut().ok_or_else(shared)?;
        for column in 0..columns {
            let (from, to) = (f64::from(values[row * columns + column]), f64::from(values[other * columns + column]));
            values[row * columns + column] = (from + share * (to - from)) as f32;
        }
        self.sq_norms[row] = simd::dot(&matrix.row(row), &matrix.row(row));
        self.residents = OnceLock::new();
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.sq_norms.len()
    }

    /// Squared norm of each point.
    pub(crate) fn sq_norms(&self) -> &Charged<f64> {
        &self.sq_norms
    }

    /// Whether their rows are read in blocks.
    pub(crate) fn are_far(&self) -> bool {
        match &self.geometry {
            Geometry::Plain(matrix) => matrix.is_far(),
            Geometry::Factored(factors) => factors.left.is_far() || factors.right.is_far(),
        }
    }

    /// The matrix, if the points are plain.
    pub(crate) fn as_plain(&self) -> Option<&Matrix> {
        if let Geometry::Plain(matrix) = &self.geometry { Some(matrix) } else { None }
    }

    /// The matrices on a device: one, or two factors. They go there once.
    pub(crate) fn residents(&self, accelerator: &dyn Accelerator) -> Result<&[Arc<dyn Resident>], Fault> {
        if let Some(residents) = self.residents.get() {
            return Ok(residents);
        }
        let upload =
            |matrix: &Matrix| accelerator.upload(&matrix.values(), matrix.columns()).map_err(AcceleratorError::fault);
        let residents = match &self.geometry {
            Geometry::Plain(matrix) => vec![upload(matrix)?],
            Geometry::Factored(factors) => vec![upload(&factors.left)?, upload(&factors.right)?],
        };
        Ok(self.residents.get_or_init(|| residents))
    }

    /// The factors, if the points are outer products.
    pub(crate) fn as_factored(&self) -> Option<&Factors> {
        if let Geometry::Factored(factors) = &self.geometry { Some(factors) } else { None }
    }

    /// Values that one distance reads.
    pub(crate) fn width(&self) -> usize {
        match &self.geometry {
            Geometry::Plain(matrix) => matrix.columns(),
            Geometry::Factored(factors) => factors.left.columns().saturating_add(factors.right.columns()),
        }
    }

    /// Whether distances between these points and `other` exist under `metric`.
    pub(crate) fn check_fit(&self, other: &Self, metric: Metric) -> Result<(), Fault> {
        self.check_metric(metric)?;
        match (&self.geometry, &other.geometry) {
            (Geometry::Plain(a), Geometry::Plain(b)) => {
                crate::check::same(b.columns(), a.columns(), "columns of the second rows")
            }
            (Geometry::Factored(a), Geometry::Factored(b)) => {
                crate::check::same(b.left.columns(), a.left.columns(), "columns of the second left factor")?;
                crate::check::same(b.right.columns(), a.right.columns(), "columns of the second right factor")
            }
            _ => Err(Fault::new(FaultCode::BadShape, "plain points and outer products have no distance")),
        }
    }

    /// Whether the metric is defined on these points.
    pub(crate) fn check_metric(&self, metric: Metric) -> Result<(), Fault> {
        crate::check::argument(metric != Metric::Cosine || self.as_plain().is_some(), || {
            "the cosine metric is for plain points; outer products have `sq-euclidean` and `euclidean`".to_owned()
        })
    }

    /// Distance in raw form: squared for the Euclidean metrics, itself for the cosine. [`finish`] makes it the
    /// metric's.
    #[inline]
    pub(crate) fn raw_distance(&self, metric: Metric, row: usize, centres: &Self, centre: usize) -> f64 {
        match (&self.geometry, &centres.geometry) {
            (Geometry::Plain(x), Geometry::Plain(y)) if metric == Metric::Cosine => {
                let norms = (self.sq_norms[row], centres.sq_norms[centre]);
                cosine_distance(simd::dot(&x.row(row), &y.row(centre)), norms)
            }
            (Geometry::Plain(x), Geometry::Plain(y)) => simd::sq_distance(&x.row(row), &y.row(centre)),
            (Geometry::Factored(x), Geometry::Factored(y)) => factored_sq_distance(x, row, y, centre),
            // `check_fit` keeps geometries apart.
            _ => f64::INFINITY,
        }
    }

    /// A lower bound of the true squared distance of plain points that neither overflow nor underflow `f32`, from
    /// single precision: within about a millionth.
    #[inline]
    pub(crate) fn low_of_one(&self, row: usize, centres: &Self, centre: usize) -> f64 {
        let (Some(x), Some(y)) = (self.as_plain(), centres.as_plain()) else { return 0.0 };
        // A difference and its square are rounded three times together, and a term is part of so many sums.
        let roundings = x.columns() as f64 / simd::ROUGH_LANES as f64 + 16.0;
        let low = f64::from(simd::rough_sq_distance(&x.row(row), &y.row(centre)));
        low * (1.0 - roundings * f64::from(f32::EPSILON))
    }

    /// How far [`Points::raw_distance`] may be from the true value, for a row and a centre.
    #[inline]
    pub(crate) fn rounding(&self, metric: Metric, row: usize, centres: &Self, centre: usize) -> f64 {
        let unit = (self.width() as f64 + 64.0) * (8.0 * f64::EPSILON);
        match (&self.geometry, &centres.geometry) {
            _ if metric == Metric::Cosine => unit,
            (Geometry::Factored(x), Geometry::Factored(y)) => {
                // The terms of the safe form may be larger than the norms of the points.
                unit * (x.left_sq_norms[row] + y.left_sq_norms[centre])
                    * (x.right_sq_norms[row] + y.right_sq_norms[centre])
            }
            _ => unit * (self.sq_norms[row] + centres.sq_norms[centre]),
        }
    }

    /// A lower bound of the true distance that reads only the left factors, where these are much the shorter ones:
    /// products of the right factors are at most their norms.
    #[inline]
    pub(crate) fn low_by_left_factor(&self, row: usize, centres: &Self, centre: usize) -> Option<f64> {
        let (x, y) = (self.as_factored()?, centres.as_factored()?);
        if x.left.columns() * 4 > x.right.columns() {
            return None;
        }
        let right = (x.right_sq_norms[row] * y.right_sq_norms[centre]).sqrt();
        let left = rough_dot(&x.left.row(row), &y.left.row(centre)).abs();
        Some(self.sq_norms[row] + centres.sq_norms[centre] - 2.0 * (left * right))
    }

    /// The matrix worth sketching: the points themselves, or their longer factor.
    pub(crate) fn to_sketch(&self) -> &Matrix {
        match &self.geometry {
            Geometry::Plain(matrix) => matrix,
            Geometry::Factored(factors) if factors.left.columns() > factors.right.columns() => &factors.left,
            Geometry::Factored(factors) => &factors.right,
        }
    }

    /// A lower bound of the true raw distance through a sketch of [`Points::to_sketch`].
    #[inline]
    pub(crate) fn low_by_sketch(
        &self,
        sketch: &Sketch,
        metric: Metric,
        row: usize,
        centres: &Self,
        centre: usize,
    ) -> Option<f64> {
        let norms = (self.sq_norms[row], centres.sq_norms[centre]);
        match (&self.geometry, &centres.geometry) {
            (Geometry::Plain(_), Geometry::Plain(y)) => {
                let (product, error) = sketch.product(row, norms.0.sqrt(), &y.row(centre), norms.1.sqrt())?;
                if metric != Metric::Cosine {
                    return Some(norms.0 + norms.1 - 2.0 * (product + error));
                }
                let length = (norms.0 * norms.1).sqrt();
                (length > 0.0).then(|| 1.0 - (product + error) / length)
            }
            (Geometry::Factored(x), Geometry::Factored(y)) => {
                let left = (&x.left, &y.left, &x.left_sq_norms, &y.left_sq_norms);
                let right = (&x.right, &y.right, &x.right_sq_norms, &y.right_sq_norms);
                let (short, long) = if x.left.columns() > x.right.columns() { (right, left) } else { (left, right) };
                let factor = simd::dot(&short.0.row(row), &short.1.row(centre));
                let long_norms = (long.2[row].sqrt(), long.3[centre].sqrt());
                let (product, error) = sketch.product(row, long_norms.0, &long.1.row(centre), long_norms.1)?;
                Some(norms.0 + norms.1 - 2.0 * (factor * product + factor.abs() * error))
            }
            _ => None,
        }
    }

    /// The largest [`Points::rounding`] of a row with any centre.
    pub(crate) fn largest_rounding(&self, metric: Metric, row: usize, centres: &Norms) -> f64 {
        let unit = (self.width() as f64 + 64.0) * (8.0 * f64::EPSILON);
        match &self.geometry {
            _ if metric == Metric::Cosine => unit,
            Geometry::Factored(x) => {
                unit * (x.left_sq_norms[row] + centres.left) * (x.right_sq_norms[row] + centres.right)
            }
            Geometry::Plain(_) => unit * (self.sq_norms[row] + centres.whole),
        }
    }

    /// The largest squared norms.
    pub(crate) fn largest_norms(&self) -> Norms {
        let largest = |norms: &[f64]| norms.iter().copied().fold(0.0, f64::max);
        let whole = largest(&self.sq_norms);
        match &self.geometry {
            Geometry::Plain(_) => Norms { whole, left: whole, right: 1.0 },
            Geometry::Factored(factors) => {
                Norms { whole, left: largest(&factors.left_sq_norms), right: largest(&factors.right_sq_norms) }
            }
        }
    }
}

/// Largest squared norms of points and of their factors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norms {
    pub(crate) whole: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
}

impl Norms {
    /// The larger of each.
    pub(crate) fn or(self, other: Self) -> Self {
        Self { whole: self.whole.max(other.whole), left: self.left.max(other.left), right: self.right.max(other.right) }
    }
}

/// A raw distance in the unit of the metric.
#[inline(always)]
pub(crate) fn finish(metric: Metric, raw: f64) -> f64 {
    if metric == Metric::Euclidean { raw.sqrt() } else { raw }
}

/// 1 - cosine. The root of the product (not the product of roots) makes equal rows exactly 0 apart.
#[inline(always)]
pub(crate) fn cosine_distance(dot: f64, (x, y): (f64, f64)) -> f64 {
    if x == 0.0 || y == 0.0 {
        return if x == y { 0.0 } else { 1.0 };
    }
    (1.0 - dot / (x * y).sqrt()).max(0.0)
}

/// Σ x y for bounds, whose last bits do not matter: of few columns in few lanes, which are sooner joined.
#[inline]
fn rough_dot(x: &[f32], y: &[f32]) -> f64 {
    const LANES: usize = 4;
    const MANY: usize = 32;
    if x.len() > MANY {
        return simd::dot(x, y);
    }
    let mut lanes = [0.0; LANES];
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (y_blocks, y_rest) = y.as_chunks::<LANES>();
    for (a, b) in x_blocks.iter().zip(y_blocks) {
        for lane in 0..LANES {
            lanes[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    for (lane, (&a, &b)) in x_rest.iter().zip(y_rest).enumerate() {
        lanes[lane] += f64::from(a) * f64::from(b);
    }
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])
}

/// ‖a⊗h - a'⊗h'‖² as ‖a‖²‖h-h'‖² + ‖a-a'‖²‖h'‖² + 2 (a·(a-a')) ((h-h')·h'), which does not cancel where points are
/// near.
#[inline]
fn factored_sq_distance(x: &Factors, row: usize, y: &Factors, centre: usize) -> f64 {
    let [left_sq, left_dot] = simd::difference_and_left(&x.left.row(row), &y.left.row(centre));
    let [right_sq, right_dot] = simd::difference_and_right(&x.right.row(row), &y.right.row(centre));
    let sum = x.left_sq_norms[row] * right_sq + left_sq * y.right_sq_norms[centre] + 2.0 * (left_dot * right_dot);
    sum.max(0.0)
}
