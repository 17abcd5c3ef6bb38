//! Gradients of the last layer, in parts.

use querist_sdk::Softmax;
use querist_sdk::prelude::*;

/// The gradient at the logits: probabilities minus the one-hot of a label, or of the predicted class.
pub(crate) fn error(logits: &[f32], label: Option<u32>) -> Vec<f64> {
    let softmax = Softmax::of(logits);
    let label = label.map_or(softmax.top, |label| label as usize);
    let mut error = softmax.probs.clone();
    error[label] = -softmax.complement(label);
    error
}

pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// Product of two inputs of the layer, with the 1 of the bias.
pub(crate) fn inputs(x: &[f32], y: &[f32]) -> f64 {
    1.0 + x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>()
}

/// A sum of gradients, `[classes, width + 1]`.
#[derive(Clone)]
pub(crate) struct Sum {
    pub(crate) values: Vec<f64>,
    columns: usize,
}

impl Sum {
    pub(crate) fn new(classes: usize, width: usize) -> Self {
        Self { values: vec![0.0; classes * (width + 1)], columns: width + 1 }
    }

    /// Adds so many times a gradient.
    pub(crate) fn add(&mut self, error: &[f64], input: &[f32], times: f64) {
        for (line, error) in self.values.chunks_exact_mut(self.columns).zip(error) {
            let by = times * error;
            if by != 0.0 {
                line.iter_mut().zip(input).for_each(|(value, &x)| *value += by * f64::from(x));
                line[self.columns - 1] += by;
            }
        }
    }

    /// The product with the input of a row: what its logits change by, `[classes]`.
    pub(crate) fn through(&self, input: &[f32]) -> Vec<f64> {
        let of = |line: &[f64]| {
            line[self.columns - 1] + line.iter().zip(input).map(|(value, &x)| value * f64::from(x)).sum::<f64>()
        };
        self.values.chunks_exact(self.columns).map(of).collect()
    }

    /// The product with a gradient.
    pub(crate) fn along(&self, error: &[f64], input: &[f32]) -> f64 {
        dot(error, &self.through(input))
    }

    pub(crate) fn scaled(mut self, by: f64) -> Self {
        self.values.iter_mut().for_each(|value| *value *= by);
        self
    }

    /// Length of the difference.
    pub(crate) fn distance(&self, other: &Self) -> f64 {
        let square = |(x, y): (&f64, &f64)| (x - y) * (x - y);
        self.values.iter().zip(&other.values).map(square).sum::<f64>().sqrt()
    }

    pub(crate) fn length(&self) -> f64 {
        dot(&self.values, &self.values).sqrt()
    }
}

/// Arrays with one row each for every sample of a set.
pub(crate) struct Rows {
    pub(crate) logits: Matrix,
    pub(crate) inputs: Matrix,
    labels: Option<Vec<u32>>,
    pub(crate) count: u32,
    pub(crate) width: usize,
}

impl Rows {
    /// Of the pool, where `prefix` is empty, or of a set with labels.
    pub(crate) fn of(query: &Query, prefix: &str) -> Result<Self> {
        let (logits, inputs) =
            (query.matrix(&format!("{prefix}logits"))?, query.matrix(&format!("{prefix}penultimate"))?);
        let (count, width) = inputs.shape()?;
        let labels = match prefix {
            "" => None,
            _ => Some(query.labels(&format!("{prefix}labels"), count)?),
        };
        Ok(Self { logits, inputs, labels, count, width: width as usize })
    }

    /// The needs behind them.
    pub(crate) fn needs(prefix: &str) -> Vec<Need> {
        let of = |name: &str| Need::new(format!("{prefix}{name}"));
        let mut needs = vec![of(names::LOGITS), of(names::PENULTIMATE)];
        needs.extend((!prefix.is_empty()).then(|| of("labels")));
        needs
    }

    /// Calls `visit(row, error, input)` for every row in order.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(u32, &[f64], &[f32])) -> Result<()> {
        let mut start = 0;
        let block = 512u32;
        while start < self.count {
            let count = block.min(self.count - start);
            let (logits, inputs) = (self.logits.read(start, count)?, self.inputs.read(start, count)?);
            let classes = logits.len() / count as usize;
            let rows = logits.chunks_exact(classes.max(1)).zip(inputs.chunks_exact(self.width.max(1)));
            for (row, (logits, input)) in (start..).zip(rows) {
                visit(row, &error(logits, self.label(row)), input);
            }
            start += count;
        }
        Ok(())
    }

    /// The gradient of one row, in parts.
    pub(crate) fn at(&self, row: u32) -> Result<(Vec<f64>, Vec<f32>)> {
        Ok((error(&self.logits.read(row, 1)?, self.label(row)), self.inputs.read(row, 1)?))
    }

    pub(crate) fn label(&self, row: u32) -> Option<u32> {
        self.labels.as_ref().map(|labels| labels[row as usize])
    }

    /// The sum of all gradients.
    pub(crate) fn sum(&self, classes: u32) -> Result<Sum> {
        let mut sum = Sum::new(classes as usize, self.width);
        self.for_each(|_, error, input| sum.add(error, input, 1.0))?;
        Ok(sum)
    }
}
