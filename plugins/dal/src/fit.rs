//! The linear classifier: a convex problem of one optimum.

use querist_sdk::prelude::*;
use querist_sdk::{Slope, descend};

/// Bytes of embeddings up to which a copy is kept.
const KEPT: usize = 64 << 20;
/// Rows of which sums are made, before these are summed up.
const BLOCK: usize = 1024;
/// Where the gradient is small enough.
const SMALL: f64 = 1e-9;
/// Steps at most.
const MOST_STEPS: u32 = 2000;

/// Embeddings of pool and labelled set, in this order.
pub(crate) struct Data {
    matrices: [Matrix; 2],
    kept: Option<Vec<f32>>,
    pub(crate) columns: usize,
    pub(crate) mean: Vec<f64>,
    /// Root mean square distance from the mean.
    scale: f64,
}

impl Data {
    pub(crate) fn of(query: &Query) -> Result<Self> {
        let matrices = [query.matrix(names::EMBEDDINGS)?, query.matrix("labelled.embeddings")?];
        let (rows, columns) = (query.rows() as usize + query.labelled_rows() as usize, matrices[0].shape()?.1 as usize);
        let mut data = Self { matrices, kept: None, columns, mean: vec![0.0; columns], scale: 0.0 };
        if rows * columns * 4 <= KEPT {
            let mut kept = Vec::with_capacity(rows * columns);
            data.for_each_row(|_, row| kept.extend_from_slice(row))?;
            data.kept = Some(kept);
        }
        let mut sums = Sums::new(columns);
        data.for_each_row(|at, row| sums.add(at, row, 1.0))?;
        data.mean = sums.done().into_iter().map(|sum| sum / rows as f64).collect();
        let mut squares = Sums::new(1);
        data.for_each_row(|at, row| {
            let square: f64 = row.iter().zip(&data.mean).map(|(&x, m)| (f64::from(x) - m) * (f64::from(x) - m)).sum();
            squares.add_value(at, square);
        })?;
        data.scale = (squares.done()[0] / rows as f64).sqrt();
        Ok(data)
    }

    /// Calls `visit(sample, embedding)` for every sample.
    pub(crate) fn for_each_row(&self, mut visit: impl FnMut(usize, &[f32])) -> Result<()> {
        let mut at = 0;
        let mut one = |row: &[f32]| {
            visit(at, row);
            at += 1;
        };
        if let Some(kept) = &self.kept {
            kept.chunks_exact(self.columns.max(1)).for_each(one);
            return Ok(());
        }
        for matrix in &self.matrices {
            matrix.for_each_row(|_, row| {
                one(row);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// What the classifier says of every sample of the pool.
    pub(crate) fn logits(&self, model: &Model) -> Result<Vec<f64>> {
        let line = Line::of(&model.weights, self);
        let rows = self.matrices[0].shape()?.0 as usize;
        let mut logits = Vec::with_capacity(rows);
        self.for_each_row(|at, row| {
            if at < rows {
                logits.push(line.at(row));
            }
        })?;
        Ok(logits)
    }
}

/// A linear function of embeddings as they are.
struct Line {
    along: Vec<f64>,
    constant: f64,
}

impl Line {
    /// `weights` are those of scaled embeddings, the constant last.
    fn of(weights: &[f64], data: &Data) -> Self {
        let by = if data.scale > 0.0 { 1.0 / data.scale } else { 0.0 };
        let along: Vec<f64> = weights[..data.columns].iter().map(|weight| weight * by).collect();
        let of_mean: f64 = along.iter().zip(&data.mean).map(|(weight, mean)| weight * mean).sum();
        Self { along, constant: weights[data.columns] - of_mean }
    }

    fn at(&self, row: &[f32]) -> f64 {
        self.constant + row.iter().zip(&self.along).map(|(&x, weight)| f64::from(x) * weight).sum::<f64>()
    }
}

/// Sums over rows, block by block.
struct Sums {
    block: Vec<f64>,
    total: Vec<f64>,
}

impl Sums {
    fn new(columns: usize) -> Self {
        Self { block: vec![0.0; columns], total: vec![0.0; columns] }
    }

    fn add(&mut self, at: usize, row: &[f32], times: f64) {
        self.end_block(at);
        self.block.iter_mut().zip(row).for_each(|(sum, &x)| *sum += times * f64::from(x));
    }

    fn add_value(&mut self, at: usize, value: f64) {
        self.end_block(at);
        self.block[0] += value;
    }

    fn end_block(&mut self, at: usize) {
        if at.is_multiple_of(BLOCK) {
            self.total.iter_mut().zip(&mut self.block).for_each(|(total, sum)| *total += std::mem::take(sum));
        }
    }

    fn done(mut self) -> Vec<f64> {
        self.end_block(0);
        self.total
    }
}

/// The classifier: weights of the columns of scaled embeddings, and the constant.
pub(crate) struct Model {
    weights: Vec<f64>,
    gradient: f64,
}

impl Model {
    pub(crate) fn new(data: &Data) -> Self {
        Self { weights: vec![0.0; data.columns + 1], gradient: 0.0 }
    }

    /// Length of the gradient where the last fit ended.
    pub(crate) fn gradient(&self) -> f64 {
        self.gradient
    }

    /// Fits to the signed weights of samples, from where it stands. The number of steps.
    pub(crate) fn fit(&mut self, data: &Data, sides: &[f64], l2: f64, query: &Query) -> Result<u32> {
        let end = descend(std::mem::take(&mut self.weights), SMALL, MOST_STEPS, |weights| {
            query.progress(0, 0)?;
            slope(data, sides, l2, weights)
        })?;
        self.gradient = end.gradient();
        self.weights = end.at;
        Ok(end.steps)
    }
}

/// J and its gradient.
fn slope(data: &Data, sides: &[f64], l2: f64, weights: &[f64]) -> Result<Slope> {
    let columns = data.columns;
    let line = Line::of(weights, data);
    let (mut slopes, mut rest) = (Sums::new(columns), Sums::new(1));
    let mut values = Sums::new(1);
    data.for_each_row(|at, row| {
        let side = sides[at];
        if side == 0.0 {
            // It still ends blocks.
            slopes.end_block(at);
            rest.end_block(at);
            values.end_block(at);
            return;
        }
        let margin = if side > 0.0 { line.at(row) } else { -line.at(row) };
        let below = math::exp(-margin.abs());
        let share = if margin > 0.0 { below / (1.0 + below) } else { 1.0 / (1.0 + below) };
        values.add_value(at, side.abs() * ((-margin).max(0.0) + math::ln_1p(below)));
        let slope = -side * share;
        slopes.add(at, row, slope);
        rest.add_value(at, slope);
    })?;
    let (slopes, rest, value) = (slopes.done(), rest.done()[0], values.done()[0]);
    let by = if data.scale > 0.0 { 1.0 / data.scale } else { 0.0 };
    let of_column = |column: usize| (slopes[column] - rest * data.mean[column]) * by + l2 * weights[column];
    let mut gradient: Vec<f64> = (0..columns).map(of_column).collect();
    gradient.push(rest);
    let length: f64 = weights[..columns].iter().map(|weight| weight * weight).sum();
    Ok(Slope { value: value + 0.5 * l2 * length, gradient })
}
