//! The least value of a smooth convex function.

use std::collections::VecDeque;

use crate::strategy::Result;

/// Pairs of steps and changes of the gradient that are remembered.
const MEMORY: usize = 10;
/// Halvings of a step at most.
const MOST_HALVINGS: u32 = 40;

/// A value of a function, and its gradient there.
#[derive(Debug, Clone)]
pub struct Slope {
    /// The value.
    pub value: f64,
    /// The gradient, one number a variable.
    pub gradient: Vec<f64>,
}

/// Where a descent ended.
#[derive(Debug, Clone)]
pub struct Descent {
    /// The variables.
    pub at: Vec<f64>,
    /// The value and the gradient there.
    pub slope: Slope,
    /// Steps that were made.
    pub steps: u32,
}

/// Goes down a smooth convex function from `start` until its gradient is at most `small` long, or for `most_steps`. It
/// ends sooner where rounding leaves no way down. The variables remain those of `start` where the gradient is small
/// there already.
///
/// L-BFGS: Nocedal, "Updating Quasi-Newton Matrices with Limited Storage", Mathematics of Computation 35 (1980). Steps
/// are halved until the value falls enough, or, where it no longer tells, until the slope does.
///
/// # Errors
/// The first error of `function`.
pub fn descend(
    start: Vec<f64>,
    small: f64,
    most_steps: u32,
    mut function: impl FnMut(&[f64]) -> Result<Slope>,
) -> Result<Descent> {
    let slope = function(&start)?;
    let mut now = Descent { at: start, slope, steps: 0 };
    let mut memory: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
    while norm(&now.slope.gradient) > small && now.steps < most_steps {
        now.steps += 1;
        let direction = direction(&now.slope.gradient, &memory);
        let Some((at, slope)) = search(&now, &direction, &mut function)? else {
            if memory.is_empty() {
                break;
            }
            // What is remembered no longer fits: down the gradient itself.
            memory.clear();
            continue;
        };
        let difference = |new: &[f64], old: &[f64]| new.iter().zip(old).map(|(new, old)| new - old).collect::<Vec<_>>();
        let (step, change) = (difference(&at, &now.at), difference(&slope.gradient, &now.slope.gradient));
        if dot(&step, &change) > 0.0 {
            memory.push_back((step, change));
            if memory.len() > MEMORY {
                memory.pop_front();
            }
        }
        (now.at, now.slope) = (at, slope);
    }
    Ok(now)
}

impl Descent {
    /// Length of the gradient.
    pub fn gradient(&self) -> f64 {
        norm(&self.slope.gradient)
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// Where to go, by the steps that are remembered.
fn direction(gradient: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>)>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|x| -x).collect();
    let mut factors = Vec::with_capacity(memory.len());
    for (step, change) in memory.iter().rev() {
        let factor = dot(step, &direction) / dot(step, change);
        direction.iter_mut().zip(change).for_each(|(d, y)| *d -= factor * y);
        factors.push(factor);
    }
    if let Some((step, change)) = memory.back() {
        let scale = dot(step, change) / dot(change, change);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((step, change), factor) in memory.iter().zip(factors.into_iter().rev()) {
        let back = dot(change, &direction) / dot(step, change);
        direction.iter_mut().zip(step).for_each(|(d, s)| *d += (factor - back) * s);
    }
    direction
}

/// The first of ever shorter steps that lowers the value enough.
fn search(
    from: &Descent,
    direction: &[f64],
    function: &mut impl FnMut(&[f64]) -> Result<Slope>,
) -> Result<Option<(Vec<f64>, Slope)>> {
    let down = dot(&from.slope.gradient, direction);
    if down >= 0.0 {
        return Ok(None);
    }
    let mut length = 1.0;
    for _ in 0..MOST_HALVINGS {
        let tried: Vec<f64> = from.at.iter().zip(direction).map(|(at, d)| at + length * d).collect();
        let next = function(&tried)?;
        let falls = next.value <= from.slope.value + 1e-4 * length * down;
        let is_level = (next.value - from.slope.value).abs() <= 1e-12 * from.slope.value.abs();
        if falls || (is_level && dot(&next.gradient, direction).abs() <= 0.9 * down.abs()) {
            return Ok(Some((tried, next)));
        }
        length *= 0.5;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bowl_is_gone_down_to_its_end() {
        // Narrow in one direction, wide in another; its least value lies at 1, 2, 3, ...
        let bowl = |x: &[f64]| {
            let weight = |at: usize| [1.0, 1e3, 3.0, 1e-2][at % 4];
            let apart = |at: usize| x[at] - (at + 1) as f64;
            let value = (0..x.len()).map(|at| 0.5 * weight(at) * apart(at) * apart(at)).sum();
            Ok(Slope { value, gradient: (0..x.len()).map(|at| weight(at) * apart(at)).collect() })
        };
        let end = descend(vec![0.0; 9], 1e-10, 500, bowl).unwrap();
        assert!(end.gradient() <= 1e-10 && end.steps < 200, "{end:?}");
        assert!(end.at.iter().enumerate().all(|(at, x)| (x - (at + 1) as f64).abs() < 1e-7), "{end:?}");
        let again = descend(end.at.clone(), 1e-10, 500, bowl).unwrap();
        assert_eq!((again.at, again.steps), (end.at, 0));
    }
}
