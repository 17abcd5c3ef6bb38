//! Least squares with weights that are not below 0, by products of the columns alone.
//!
//! Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23. Each solution begins at the one before.

/// What is left of a pivot where columns depend on each other, as a share.
const LEAST_PIVOT: f64 = 1e-12;
/// A slope up to which a weight stays at 0, as a share of the column's product with the target.
const LEVEL: f64 = 1e-12;
/// Rounds of one solution at most, for each column.
const MOST_ROUNDS: usize = 8;

/// Columns, of which weighted ones add up to a target as nearly as possible.
pub(crate) struct LeastSquares {
    reg: f64,
    /// Products of the columns with each other: the lower triangle by rows.
    products: Vec<Vec<f64>>,
    /// Products with the target.
    along: Vec<f64>,
    weights: Vec<f64>,
    /// Columns with a weight above 0, in the order of the factor's rows.
    free: Vec<usize>,
    /// Cholesky factor of their products: the lower triangle by rows.
    factor: Vec<Vec<f64>>,
}

impl LeastSquares {
    pub(crate) fn new(reg: f64) -> Self {
        let (products, along, weights) = (Vec::new(), Vec::new(), Vec::new());
        Self { reg, products, along, weights, free: Vec::new(), factor: Vec::new() }
    }

    /// Adds a column by its products with those before, with itself and with the target.
    pub(crate) fn push(&mut self, others: &[f64], own: f64, along: f64) {
        let mut row = others.to_vec();
        row.push(own + self.reg);
        self.products.push(row);
        self.along.push(along);
        self.weights.push(0.0);
    }

    fn product(&self, a: usize, b: usize) -> f64 {
        self.products[a.max(b)][a.min(b)]
    }

    /// How much more of a column would lower the sum of squares.
    fn slope(&self, column: usize) -> f64 {
        let given: f64 = self.free.iter().map(|&other| self.product(column, other) * self.weights[other]).sum();
        self.along[column] - given
    }

    /// The weights of the best sum.
    pub(crate) fn solve(&mut self) -> &[f64] {
        let mut barred = vec![false; self.weights.len()];
        for _ in 0..MOST_ROUNDS * self.weights.len() {
            let held = (0..self.weights.len()).filter(|column| !self.free.contains(column) && !barred[*column]);
            let steepest = held.map(|column| (self.slope(column), column)).fold(None, |best, (slope, column)| {
                let is_steep = slope > LEVEL * self.along[column].abs();
                match best {
                    Some((other, _)) if other >= slope => best,
                    _ if is_steep => Some((slope, column)),
                    _ => best,
                }
            });
            let Some((_, column)) = steepest else { break };
            if !self.free_one(column) {
                // It depends on others that are there.
                barred[column] = true;
                continue;
            }
            self.settle();
            if self.weights[column] == 0.0 {
                barred[column] = true;
            }
        }
        &self.weights
    }

    /// Adds a column to those with weights; not where it depends on them.
    fn free_one(&mut self, column: usize) -> bool {
        let mut row: Vec<f64> = Vec::with_capacity(self.free.len() + 1);
        for (line, &other) in self.factor.iter().zip(&self.free) {
            let at = row.len();
            let before: f64 = row.iter().zip(line).map(|(x, y)| x * y).sum();
            row.push((self.product(column, other) - before) / line[at]);
        }
        let own = self.product(column, column);
        let pivot = own - row.iter().map(|x| x * x).sum::<f64>();
        if pivot <= LEAST_PIVOT * own || own <= 0.0 {
            return false;
        }
        row.push(pivot.sqrt());
        self.factor.push(row);
        self.free.push(column);
        true
    }

    /// Moves to the best weights of the free columns; those that would fall below 0 are held at it.
    fn settle(&mut self) {
        while !self.free.is_empty() {
            let best = self.unbounded();
            let mut share = 1.0f64;
            for (&column, &goal) in self.free.iter().zip(&best) {
                if goal <= 0.0 {
                    let now = self.weights[column];
                    share = share.min(if now > goal { now / (now - goal) } else { 0.0 });
                }
            }
            for (&column, goal) in self.free.iter().zip(best) {
                let weight = &mut self.weights[column];
                *weight = if share < 1.0 { *weight + share * (goal - *weight) } else { goal };
            }
            if share >= 1.0 {
                return;
            }
            let largest = self.weights.iter().copied().fold(0.0, f64::max);
            let kept: Vec<usize> = self.free.drain(..).collect();
            self.factor.clear();
            for column in kept {
                if self.weights[column] <= 1e-14 * largest || !self.free_one(column) {
                    self.weights[column] = 0.0;
                }
            }
        }
    }

    /// The best weights of the free columns, of whatever sign.
    fn unbounded(&self) -> Vec<f64> {
        let mut values: Vec<f64> = Vec::with_capacity(self.free.len());
        for (line, &column) in self.factor.iter().zip(&self.free) {
            let before: f64 = values.iter().zip(line).map(|(x, y)| x * y).sum();
            values.push((self.along[column] - before) / line[values.len()]);
        }
        for at in (0..values.len()).rev() {
            let after: f64 = (at + 1..values.len()).map(|next| self.factor[next][at] * values[next]).sum();
            values[at] = (values[at] - after) / self.factor[at][at];
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use querist_sdk::protocol::philox::Stream;

    use super::*;

    /// The least sum of squares over every choice of columns with weights: weights of a choice are those of plain least
    /// squares, by elimination.
    fn by_enumeration(columns: &[Vec<f64>], target: &[f64], reg: f64) -> Vec<f64> {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let mut best = (dot(target, target), vec![0.0; columns.len()]);
        for set in 1u32..1 << columns.len() {
            let some: Vec<usize> = (0..columns.len()).filter(|at| set >> at & 1 == 1).collect();
            let mut system: Vec<Vec<f64>> = some
                .iter()
                .map(|&i| {
                    let product = |&j: &usize| dot(&columns[i], &columns[j]) + if i == j { reg } else { 0.0 };
                    some.iter().map(product).chain([dot(&columns[i], target)]).collect()
                })
                .collect();
            for at in 0..some.len() {
                let pivot = system[at].clone();
                for (line, other) in system.iter_mut().enumerate() {
                    if line != at {
                        let by = other[at] / pivot[at];
                        other.iter_mut().zip(&pivot).for_each(|(x, p)| *x -= by * p);
                    }
                }
            }
            let mut weights = vec![0.0; columns.len()];
            for (line, &column) in some.iter().enumerate() {
                weights[column] = system[line][some.len()] / system[line][line];
            }
            if weights.iter().any(|weight| *weight < -1e-12) {
                continue;
            }
            let rest: Vec<f64> = (0..target.len())
                .map(|at| target[at] - columns.iter().zip(&weights).map(|(c, w)| c[at] * w).sum::<f64>())
                .collect();
            let value = dot(&rest, &rest) + reg * dot(&weights, &weights);
            if value < best.0 - 1e-12 {
                best = (value, weights);
            }
        }
        best.1
    }

    #[test]
    fn weights_are_those_of_every_choice() {
        let mut numbers = Stream::new(2, 0);
        for case in 0..60 {
            let reg = if case % 2 == 0 { 0.0 } else { 0.5 };
            let mut row = |_| (0..7).map(|_| numbers.next_uniform() - 0.4).collect::<Vec<f64>>();
            let columns: Vec<Vec<f64>> = (0..6).map(&mut row).collect();
            let target = row(0);
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            let mut solver = LeastSquares::new(reg);
            for at in 0..columns.len() {
                let others: Vec<f64> = columns[..at].iter().map(|other| dot(other, &columns[at])).collect();
                solver.push(&others, dot(&columns[at], &columns[at]), dot(&columns[at], &target));
                let expected = by_enumeration(&columns[..=at], &target, reg);
                for (weight, expected) in solver.solve().iter().zip(&expected) {
                    assert!((weight - expected).abs() < 1e-8, "case {case}, {at}: {weight}, expected {expected}");
                }
            }
        }
    }

    #[test]
    fn copies_of_a_column_do_not_break_it() {
        let mut solver = LeastSquares::new(0.0);
        solver.push(&[], 4.0, 2.0);
        solver.push(&[4.0], 4.0, 2.0);
        assert_eq!(solver.solve(), [0.5, 0.0]);
    }
}
