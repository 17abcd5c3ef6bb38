//! The linear classifier: a convex problem of one optimum.

use querist_sdk::prelude::*;
use querist_sdk::{Slope, descend};

use crate::round::Round;

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

    /// What centred embeddings are multiplied by; 0 where all are alike.
    pub(crate) fn by(&self) -> f64 {
        if self.scale > 0.0 { 1.0 / self.scale } else { 0.0 }
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
pub(crate) struct Line {
    along: Vec<f64>,
    constant: f64,
}

impl Line {
    /// `weights` are those of scaled embeddings, the constant last.
    pub(crate) fn of(weights: &[f64], data: &Data) -> Self {
        let by = data.by();
        let along: Vec<f64> = weights[..data.columns].iter().map(|weight| weight * by).collect();
        let of_mean: f64 = along.iter().zip(&data.mean).map(|(weight, mean)| weight * mean).sum();
        Self { along, constant: weights[data.columns] - of_mean }
    }

    pub(crate) fn at(&self, row: &[f32]) -> f64 {
        const LANES: usize = 8;
        let (many, rest) = row.as_chunks::<LANES>();
        let (along, last) = self.along.as_chunks::<LANES>();
        // Sums beside each other need not wait for one another.
        let mut sums = [0.0; LANES];
        for (many, along) in many.iter().zip(along) {
            for lane in 0..LANES {
                sums[lane] += f64::from(many[lane]) * along[lane];
            }
        }
        let rest: f64 = rest.iter().zip(last).map(|(&x, weight)| f64::from(x) * weight).sum();
        self.constant + sums.iter().sum::<f64>() + rest
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
    round: Option<Round>,
    fits: u32,
}

impl Model {
    pub(crate) fn new(data: &Data) -> Self {
        Self { weights: vec![0.0; data.columns + 1], gradient: 0.0, round: None, fits: 0 }
    }

    /// Length of the gradient where the last fit ended.
    pub(crate) fn gradient(&self) -> f64 {
        self.gradient
    }

    /// Fits to the signed weights of samples, from where it stands. The number of steps.
    pub(crate) fn fit(&mut self, data: &Data, sides: &[f64], l2: f64, query: &Query) -> Result<u32> {
        // The parts of a batch differ by a few samples, so that what is made where the first ends serves all others.
        let round = match self.round.take().filter(|_| self.fits > 1) {
            Some(round) => round,
            None => Round::of(query, data, sides, l2, &self.weights)?,
        };
        self.fits += 1;
        let mut length = 0.0;
        let end = descend(round.coordinates(&self.weights), 0.0, MOST_STEPS, |coordinates| {
            query.progress(0, 0)?;
            let Slope { value, mut gradient } = slope(data, sides, l2, &round.weights(coordinates))?;
            length = gradient.iter().map(|part| part * part).sum::<f64>().sqrt();
            // What is small enough by the weights is none, whatever it is by the coordinates.
            if length <= SMALL {
                gradient.fill(0.0);
            }
            Ok(Slope { value, gradient: round.gradient(gradient) })
        })?;
        self.weights = round.weights(&end.at);
        self.gradient = length;
        self.round = Some(round);
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
    let by = data.by();
    let of_column = |column: usize| (slopes[column] - rest * data.mean[column]) * by + l2 * weights[column];
    let mut gradient: Vec<f64> = (0..columns).map(of_column).collect();
    gradient.push(rest);
    let length: f64 = weights[..columns].iter().map(|weight| weight * weight).sum();
    Ok(Slope { value: value + 0.5 * l2 * length, gradient })
}
