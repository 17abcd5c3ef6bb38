//! What tells known classes from strangers.

use querist_sdk::prelude::*;
use querist_sdk::{Slope, Softmax, descend};

/// Weight of the squared length of a linear detector's weights.
const L2: f64 = 1e-3;
/// Where a gradient is small enough.
const SMALL: f64 = 1e-6;
/// Steps at most.
const MOST_STEPS: u32 = 1000;

/// Where the detector comes from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Detector {
    /// It is fitted here: a linear one on the embeddings of labelled samples.
    #[default]
    Head,
    /// It is given by its outputs, `detector.logits`.
    Provided,
}

/// The embeddings and answers of the labelled set.
pub(crate) struct Labelled {
    rows: Vec<Vec<f64>>,
    /// The class of each, or the number of classes for a stranger.
    pub(crate) answers: Vec<u32>,
    classes: u32,
    mean: Vec<f64>,
    scale: f64,
}

impl Labelled {
    pub(crate) fn needs() -> Vec<Need> {
        Need::all([names::EMBEDDINGS, "labelled.embeddings", names::LABELLED_LABELS, names::LABELLED_REJECTED])
    }

    pub(crate) fn of(query: &Query) -> Result<Self> {
        let (classes, count) = (query.classes(), query.labelled_rows());
        let rejected = query.labels(names::LABELLED_REJECTED, count)?;
        let labels = query.labelled_labels()?;
        let answer = |(label, rejected): (u32, u32)| if rejected > 0 { classes } else { label };
        let answers = labels.into_iter().zip(rejected).map(answer).collect();
        let mut rows = Vec::with_capacity(count as usize);
        query.matrix("labelled.embeddings")?.for_each_row(|_, row| {
            rows.push(row.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>());
            Ok(())
        })?;
        let mut labelled = Self { rows, answers, classes, mean: Vec::new(), scale: 0.0 };
        labelled.measure();
        Ok(labelled)
    }

    /// Rows of strangers, ascending.
    pub(crate) fn strangers(&self) -> Vec<u32> {
        (0..self.answers.len() as u32).filter(|&row| self.answers[row as usize] == self.classes).collect()
    }

    /// Where the embeddings lie, and how far apart: what they are scaled by, so that their unit does not matter.
    fn measure(&mut self) {
        let count = self.rows.len() as f64;
        let columns = self.rows.first().map_or(0, Vec::len);
        let mean = |column: usize| self.rows.iter().map(|row| row[column]).sum::<f64>() / count;
        self.mean = (0..columns).map(mean).collect();
        let square = |row: &Vec<f64>| row.iter().zip(&self.mean).map(|(x, m)| (x - m) * (x - m)).sum::<f64>();
        let scale = (self.rows.iter().map(square).sum::<f64>() / count).sqrt();
        self.scale = if scale > 0.0 { scale } else { 1.0 };
        for row in &mut self.rows {
            row.iter_mut().zip(&self.mean).for_each(|(x, m)| *x = (*x - m) / self.scale);
        }
    }

    /// A linear classifier of the answers: with one more output for strangers where there are some.
    pub(crate) fn classifier(&self, query: &Query) -> Result<Linear> {
        let outputs = self.classes as usize + usize::from(self.answers.contains(&self.classes));
        let columns = self.mean.len();
        self.fitted(query, outputs, |output, answer| f64::from(u8::from(answer as usize == output)), columns, true)
    }

    /// Classifiers of one class against all other answers each.
    pub(crate) fn one_against_rest(&self, query: &Query) -> Result<Linear> {
        let columns = self.mean.len();
        let is_it = |output: usize, answer: u32| f64::from(u8::from(answer as usize == output));
        self.fitted(query, self.classes as usize, is_it, columns, false)
    }

    /// Fits linear outputs to the shares that answers should have: of one softmax, or each of its own logistic
    /// function.
    fn fitted(
        &self,
        query: &Query,
        outputs: usize,
        wanted: impl Fn(usize, u32) -> f64,
        columns: usize,
        is_softmax: bool,
    ) -> Result<Linear> {
        let width = columns + 1;
        let count = self.rows.len() as f64;
        let end = descend(vec![0.0; outputs * width], SMALL, MOST_STEPS, |weights| {
            query.progress(0, 0)?;
            let (mut value, mut gradient) = (0.0, vec![0.0; weights.len()]);
            for (row, &answer) in self.rows.iter().zip(&self.answers) {
                let logits: Vec<f64> = weights.chunks_exact(width).map(|line| line_at(line, row)).collect();
                let (shares, loss) = if is_softmax { softmax(&logits) } else { logistic(&logits) };
                for (output, line) in gradient.chunks_exact_mut(width).enumerate() {
                    let wanted = wanted(output, answer);
                    value += loss(output, wanted) / count;
                    let error = (shares[output] - wanted) / count;
                    line.iter_mut().zip(row).for_each(|(slope, x)| *slope += error * x);
                    line[columns] += error;
                }
            }
            for (line, slopes) in weights.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
                for (weight, slope) in line[..columns].iter().zip(slopes) {
                    value += 0.5 * L2 * weight * weight;
                    *slope += L2 * weight;
                }
            }
            Ok(Slope { value, gradient })
        })?;
        Ok(Linear { weights: end.at, width, mean: self.mean.clone(), scale: self.scale })
    }
}

fn line_at(line: &[f64], row: &[f64]) -> f64 {
    line[row.len()] + line.iter().zip(row).map(|(weight, x)| weight * x).sum::<f64>()
}

/// Shares and what each output adds to the loss where it should have some share.
type Shares<'a> = (Vec<f64>, Box<dyn Fn(usize, f64) -> f64 + 'a>);

fn softmax(logits: &[f64]) -> Shares<'_> {
    let top = math::argmax(logits);
    let exps: Vec<f64> = logits.iter().map(|logit| math::exp(logit - logits[top])).collect();
    let sum: f64 = exps.iter().sum();
    let log = math::ln(sum) + logits[top];
    (exps.iter().map(|share| share / sum).collect(), Box::new(move |output, wanted| wanted * (log - logits[output])))
}

fn logistic(logits: &[f64]) -> Shares<'_> {
    let share = |&logit: &f64| {
        let below = math::exp(-logit.abs());
        if logit > 0.0 { 1.0 / (1.0 + below) } else { below / (1.0 + below) }
    };
    let loss = |output: usize, wanted: f64| {
        let logit = logits[output];
        logit.max(0.0) - wanted * logit + math::ln_1p(math::exp(-logit.abs()))
    };
    (logits.iter().map(share).collect(), Box::new(loss))
}

/// Linear functions of scaled embeddings.
pub(crate) struct Linear {
    weights: Vec<f64>,
    width: usize,
    mean: Vec<f64>,
    scale: f64,
}

impl Linear {
    /// What is made of the outputs of every row.
    pub(crate) fn outputs<T>(&self, rows: &Matrix, of: impl Fn(&[f64]) -> T) -> Result<Vec<T>> {
        let (mut made, mut outputs) = (Vec::with_capacity(rows.shape()?.0 as usize), Vec::new());
        rows.for_each_row(|_, row| {
            let row: Vec<f64> = row.iter().zip(&self.mean).map(|(&x, m)| (f64::from(x) - m) / self.scale).collect();
            outputs.clear();
            outputs.extend(self.weights.chunks_exact(self.width).map(|line| line_at(line, &row)));
            made.push(of(&outputs));
            Ok(())
        })?;
        Ok(made)
    }
}

/// What is made of the outputs of every row, which are given, with so many columns.
pub(crate) fn provided<T>(query: &Query, name: &str, columns: u32, of: impl Fn(&[f64]) -> T) -> Result<Vec<T>> {
    let matrix = query.matrix(name)?;
    let (_, found) = matrix.shape()?;
    if found != columns {
        return Err(StrategyError::Failed(format!("`{name}` has {found} columns, expected {columns}")));
    }
    let (mut made, mut outputs) = (Vec::with_capacity(query.rows() as usize), Vec::new());
    matrix.for_each_row(|_, row| {
        outputs.clear();
        outputs.extend(row.iter().map(|&x| f64::from(x)));
        made.push(of(&outputs));
        Ok(())
    })?;
    Ok(made)
}

/// The entropies of logistic functions, in bits.
pub(crate) fn binary_entropy(logit: f64) -> f64 {
    let below = math::exp(-logit.abs());
    (math::ln_1p(below) + logit.abs() * below / (1.0 + below)) / std::f64::consts::LN_2
}

/// Entropy of the softmax of minus some distances, over the logarithm of their number; 0 of fewer than two.
pub(crate) fn spread(distances: &[f64]) -> f64 {
    if distances.len() < 2 {
        return 0.0;
    }
    let logits: Vec<f32> = distances.iter().map(|&distance| -distance as f32).collect();
    let Softmax { probs, gaps, rest, .. } = Softmax::of(&logits);
    let top = math::ln_1p(-rest);
    let entropy: f64 = probs.iter().zip(gaps).map(|(p, gap)| p * (gap - top)).sum();
    entropy / math::ln(distances.len() as f64)
}
