//! Samples that lower the loss of held-out samples most.
//!
//! With M the mean gradient of the held-out samples, a sample is worth `<g, M>`: what one step along its gradient
//! lowers their mean loss by, to first order. The largest is selected, the logits of the held-out samples take that
//! step, and M is computed anew.
//!
//! What a sample is worth changes by at most the length of its gradient times the distance that M has moved. So it is
//! computed anew only where that bound reaches the best.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use querist_sdk::prelude::*;

use crate::gradient::{Rows, Sum, dot, inputs};

/// Rounding of a bound at most, as a share.
const SLACK: f64 = 1e-12;

/// Where the steps begin.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the model.
    #[default]
    None,
    /// After one step along the gradients of all labelled samples.
    Labelled,
}

/// Whose loss is to fall.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Validation {
    /// That of the validation set.
    #[default]
    Calibration,
    /// That of the labelled samples.
    Labelled,
}

params! {
    /// Parameters of GLISTER.
    #[schemars(extend("examples" = [{}, {"validation": "labelled", "refresh": 5}, {"start": "labelled", "lr": 0.01}]))]
    pub struct Glister {
        /// Length of a step.
        #[schemars(range(min = 1e-9, max = 100.0))]
        pub lr: f64 = 0.1,
        /// Where the steps begin.
        pub start: Start = Start::None,
        /// Whose loss is to fall.
        pub validation: Validation = Validation::Calibration,
        /// Picks after which their gradient is computed anew.
        #[schemars(range(min = 1))]
        pub refresh: u32 = 1,
    }
}

impl Strategy for Glister {
    const ID: &'static str = "glister";
    const SUMMARY: &'static str = "Samples whose gradient in the last layer lowers the loss of held-out samples most";
    const PAPER: &'static str = "Killamsetty et al., GLISTER: Generalization based Data Subset Selection for Efficient \
                                 and Robust Learning, AAAI 2021 (arXiv 2012.10630)";
    const COST: &'static str = "O(N C D) time once, O(V C D) a pick for V held-out samples, and O(C D) for each sample \
                                that is looked at again; O(N + V (C + D)) memory.";
    const ALIASES: &'static [&'static str] = &["GLISTER"];

    fn needs(&self) -> Vec<Need> {
        let mut needs = Rows::needs("");
        let has_labelled = self.validation == Validation::Labelled || self.start == Start::Labelled;
        if self.validation == Validation::Calibration {
            needs.extend(Rows::needs(CALIBRATION));
        }
        if has_labelled {
            needs.extend(Rows::needs(names::LABELLED));
        }
        needs
    }

    fn may_need() -> Vec<Need> {
        Rows::needs(names::LABELLED)
    }
}

const CALIBRATION: &str = "calibration.";

impl Selector for Glister {
    fn select(&self, query: &Query) -> Result<Selection> {
        if self.validation == Validation::Labelled && query.labelled_rows() == 0 {
            return query.picks()?.fill_at_random();
        }
        let pool = Rows::of(query, "")?;
        let mut held_out = HeldOut::of(self, query)?;
        let mut mean = held_out.mean();
        let mut moved = 0.0;
        let mut known = Vec::with_capacity(pool.count as usize);
        pool.for_each(|_, error, input| {
            let length = (dot(error, error) * inputs(input, input)).sqrt();
            known.push(Known { gain: mean.along(error, input), moved, length });
        })?;
        let mut picks = query.picks()?;
        picks.note("no_gradient", f64::from(u8::from(known.iter().all(|known| known.length == 0.0))));
        let mut is_open = vec![true; known.len()];
        let mut negative_from = None;
        while picks.missing() > 0 {
            let Some((row, gain)) = best(&pool, &mean, moved, &mut known, &is_open)? else { break };
            if gain < 0.0 {
                negative_from.get_or_insert(picks.len());
            }
            is_open[row as usize] = false;
            picks.take(row, gain)?;
            let (error, input) = pool.at(row)?;
            held_out.step(&error, &input, self.lr);
            if picks.len().is_multiple_of(self.refresh) {
                let next = held_out.mean();
                moved += next.distance(&mean);
                mean = next;
            }
        }
        picks.note("negative_from", negative_from.unwrap_or(query.wanted()));
        Ok(picks.done())
    }
}

/// What a sample was worth, when M had moved so far, and the length of its gradient.
struct Known {
    gain: f64,
    moved: f64,
    length: f64,
}

/// A row by a bound of what it is worth.
struct Place {
    bound: f64,
    row: u32,
    is_exact: bool,
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}

impl Ord for Place {
    /// By bound; the lower row is the greater among equals. Zeros are equal, whatever their signs.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.bound + 0.0).total_cmp(&(other.bound + 0.0)).then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The open row that is worth most, the lowest among equals.
fn best(pool: &Rows, mean: &Sum, moved: f64, known: &mut [Known], is_open: &[bool]) -> Result<Option<(u32, f64)>> {
    let place = |(row, known): (usize, &Known)| {
        let further = moved - known.moved;
        let is_exact = further == 0.0;
        let more = known.length * further;
        let bound = if is_exact { known.gain } else { known.gain + more + SLACK * (known.gain.abs() + more) };
        Place { bound, row: row as u32, is_exact }
    };
    let open = known.iter().enumerate().filter(|(row, _)| is_open[*row]);
    let mut queue: BinaryHeap<Place> = open.map(place).collect();
    while let Some(top) = queue.pop() {
        if top.is_exact {
            return Ok(Some((top.row, top.bound)));
        }
        let (error, input) = pool.at(top.row)?;
        let gain = mean.along(&error, &input);
        let known = &mut known[top.row as usize];
        (known.gain, known.moved) = (gain, moved);
        queue.push(Place { bound: gain, row: top.row, is_exact: true });
    }
    Ok(None)
}

/// The held-out samples, with their logits after the steps so far.
struct HeldOut {
    logits: Vec<f64>,
    inputs: Vec<f32>,
    labels: Vec<u32>,
    classes: usize,
    width: usize,
}

impl HeldOut {
    fn of(glister: &Glister, query: &Query) -> Result<Self> {
        let prefix = match glister.validation {
            Validation::Calibration => CALIBRATION,
            Validation::Labelled => names::LABELLED,
        };
        let rows = Rows::of(query, prefix)?;
        if rows.count == 0 {
            return Err(StrategyError::Failed("no samples are held out whose loss could fall".to_owned()));
        }
        let (classes, width) = (query.classes() as usize, rows.width);
        let mut held_out = Self { logits: Vec::new(), inputs: Vec::new(), labels: Vec::new(), classes, width };
        rows.logits.for_each_row(|row, logits| {
            held_out.logits.extend(logits.iter().map(|&logit| f64::from(logit)));
            held_out.labels.extend(rows.label(row));
            Ok(())
        })?;
        rows.inputs.for_each_row(|_, input| {
            held_out.inputs.extend_from_slice(input);
            Ok(())
        })?;
        if glister.start == Start::Labelled {
            let sum = Rows::of(query, names::LABELLED)?.sum(query.classes())?;
            held_out.step_by(glister.lr, |input| sum.through(input));
        }
        Ok(held_out)
    }

    /// Takes a step along what the logits of a sample change by.
    fn step_by(&mut self, lr: f64, change: impl Fn(&[f32]) -> Vec<f64>) {
        let (classes, width) = (self.classes, self.width.max(1));
        for (logits, input) in self.logits.chunks_exact_mut(classes).zip(self.inputs.chunks_exact(width)) {
            logits.iter_mut().zip(change(input)).for_each(|(logit, change)| *logit -= lr * change);
        }
    }

    /// Takes a step along a gradient.
    fn step(&mut self, error: &[f64], input: &[f32], lr: f64) {
        self.step_by(lr, |own| {
            let product = inputs(input, own);
            error.iter().map(|error| error * product).collect()
        });
    }

    /// The mean gradient.
    fn mean(&self) -> Sum {
        let mut sum = Sum::new(self.classes, self.width);
        let rows = self.logits.chunks_exact(self.classes).zip(self.inputs.chunks_exact(self.width.max(1)));
        for ((logits, input), &label) in rows.zip(&self.labels) {
            sum.add(&softmax_minus(logits, label as usize), input, 1.0);
        }
        sum.scaled(1.0 / self.labels.len() as f64)
    }
}

/// As [`crate::gradient::error`], of logits that are doubles.
fn softmax_minus(logits: &[f64], label: usize) -> Vec<f64> {
    let top = math::argmax(logits);
    let mut shares: Vec<f64> = logits.iter().map(|logit| math::exp(logit - logits[top])).collect();
    let others: f64 = shares.iter().enumerate().filter(|(class, _)| *class != top).map(|(_, share)| share).sum();
    shares.iter_mut().for_each(|share| *share /= 1.0 + others);
    shares[label] = if label == top { -others / (1.0 + others) } else { shares[label] - 1.0 };
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient::error;

    #[test]
    fn doubles_have_the_errors_of_singles() {
        let logits = [0.5f32, -1.25, 3.0];
        let wide: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
        for label in 0..3 {
            let (one, other) = (error(&logits, Some(label)), softmax_minus(&wide, label as usize));
            assert!(one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-15));
        }
    }
}
