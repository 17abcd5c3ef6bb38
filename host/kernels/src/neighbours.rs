//! Nearest rows for the host itself, outside of any query.

use std::sync::Arc;

use querist_core::Buffer;
use querist_protocol::Metric;

use crate::accelerator::Compute;
use crate::closest;
use crate::control::{Control, Limits};
use crate::matrix::Matrix;
use crate::points::Points;
use crate::workers::Workers;

/// For each of `rows`, the numbers and squared distances of its `neighbours` nearest of `others`: the nearest first,
/// the lower row among equals. Both are row-major, of `width` columns, finite.
///
/// # Errors
/// If sizes do not fit, or threads cannot be started.
pub fn nearest_rows(
    rows: Buffer<f32>,
    others: Buffer<f32>,
    width: usize,
    neighbours: usize,
    compute: &Compute,
) -> Result<Vec<(u32, f64)>, String> {
    if width == 0 || !rows.len().is_multiple_of(width) || !others.len().is_multiple_of(width) {
        return Err(format!("{} and {} values are no rows of {width} columns", rows.len(), others.len()));
    }
    let control = Arc::new(Control::new(Limits { memory: u64::MAX, ..Limits::default() }, None));
    let workers = Workers::new(control, compute).map_err(|error| error.to_string())?;
    let points = |values: Buffer<f32>| {
        let rows = values.len() / width;
        Points::plain(&workers, Matrix::of_input(values, 0, rows, width))
    };
    let found = points(rows)
        .and_then(|rows| Ok((rows, points(others)?)))
        .and_then(|(rows, others)| closest::nearest_rows(&workers, &rows, &others, neighbours, Metric::SqEuclidean));
    let (numbers, distances) = found.map_err(|fault| fault.message)?;
    Ok(numbers.iter().zip(distances.iter()).map(|(&number, &distance)| (number as u32, distance)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_the_lower_row_among_equals() {
        let compute = Compute::threads(1);
        let others = vec![0.0, 0.0, 3.0, 4.0, 0.0, 0.0, 1.0, 0.0];
        let found = nearest_rows(vec![0.0, 0.0].into(), others.clone().into(), 2, 4, &compute).unwrap();
        assert_eq!(found, [(0, 0.0), (2, 0.0), (3, 1.0), (1, 25.0)]);
        assert!(nearest_rows(vec![0.0].into(), others.clone().into(), 2, 1, &compute).is_err());
        assert!(nearest_rows(vec![0.0, 0.0].into(), others.into(), 2, 5, &compute).is_err());
    }
}
