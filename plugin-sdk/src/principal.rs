//! Principal components.

use crate::objects::Matrix;
use crate::query::Query;
use crate::strategy::Result;

/// Rows that are multiplied at once.
const CHUNK: u32 = 1024;
/// Sweeps of Jacobi's method at most; six to ten suffice for any matrix.
const SWEEPS: usize = 40;

/// Both sets, centred by their common mean and projected on the first `components` principal components of the two
/// together; as they are where the components are not fewer than the columns.
///
/// # Errors
/// If the host refuses.
pub fn reduced(query: &Query, pool: &Matrix, labelled: &Matrix, components: u32) -> Result<(Matrix, Matrix)> {
    let width = pool.shape()?.1 as usize;
    let kept = (components as usize).min(width);
    let (mean, covariance) = moments(query, [pool, labelled], width)?;
    let (values, vectors) = eigen(covariance, width);
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    // One component a row.
    let mut axes = Vec::with_capacity(kept * width);
    for &component in &order[..kept] {
        axes.extend((0..width).map(|d| vectors[d * width + component]));
    }
    Ok((projected(query, pool, &mean, &axes)?, projected(query, labelled, &mean, &axes)?))
}

/// Mean of all rows and the sum of squares about it.
fn moments(query: &Query, parts: [&Matrix; 2], width: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut mean = vec![0.0; width];
    let mut rows = 0.0;
    for part in parts {
        part.for_each_block(|_, block| {
            for row in block.chunks_exact(width) {
                rows += 1.0;
                mean.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            Ok(())
        })?;
    }
    mean.iter_mut().for_each(|sum| *sum /= rows);
    let mut squares = vec![0.0; width * width];
    for part in parts {
        let rows = part.shape()?.0;
        for start in (0..rows).step_by(CHUNK as usize) {
            let count = CHUNK.min(rows - start);
            let block = part.read(start, count)?;
            // Transposed, so that the host's product sums over rows.
            let mut columns = vec![0.0f32; block.len()];
            for (i, row) in block.chunks_exact(width).enumerate() {
                for (d, &value) in row.iter().enumerate() {
                    columns[d * count as usize + i] = (f64::from(value) - mean[d]) as f32;
                }
            }
            let columns = query.new_matrix(width as u32, count, &columns)?;
            let products = columns.product(&columns, true)?.read(0, width as u32)?;
            squares.iter_mut().zip(products).for_each(|(sum, product)| *sum += f64::from(product));
        }
    }
    Ok((mean, squares))
}

fn projected(query: &Query, part: &Matrix, mean: &[f64], axes: &[f64]) -> Result<Matrix> {
    let width = mean.len();
    let kept = axes.len() / width;
    let rows = part.shape()?.0;
    let mut values = Vec::with_capacity(rows as usize * kept);
    part.for_each_block(|_, block| {
        for row in block.chunks_exact(width) {
            for axis in axes.chunks_exact(width) {
                let terms = row.iter().zip(mean).zip(axis);
                values.push(terms.map(|((&value, mean), axis)| (f64::from(value) - mean) * axis).sum::<f64>() as f32);
            }
        }
        Ok(())
    })?;
    query.new_matrix(rows, kept as u32, &values)
}

/// Eigenvalues and eigenvectors (in columns) of a symmetric matrix, by Jacobi's method.
fn eigen(mut a: Vec<f64>, n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    let total: f64 = a.iter().map(|value| value * value).sum();
    for _ in 0..SWEEPS {
        let outside = (0..n * n).filter(|at| at / n != at % n).map(|at| a[at] * a[at]).sum::<f64>();
        if outside <= 1e-26 * total {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, n, (p, q));
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), vectors)
}

/// Turns axes p and q so that their common entry vanishes.
fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, (p, q): (usize, usize)) {
    let common = a[p * n + q];
    if common == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * common);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..n {
        let (x, y) = (a[p * n + k], a[q * n + k]);
        (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..n {
        let (x, y) = (vectors[k * n + p], vectors[k * n + q]);
        (vectors[k * n + p], vectors[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
}
