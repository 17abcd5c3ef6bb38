//! Mixing anchors into embeddings under a linear head, whose logits move by `W` times what is mixed in.

use querist_sdk::prelude::*;
use querist_sdk::protocol::philox::{philox4x32, uniform_from_bits};

/// Smallest share of an anchor that is mixed in.
const LEAST: f64 = 1e-8;

/// One sample of the pool.
pub(crate) struct Sample<'a> {
    logits: &'a [f32],
    embedding: &'a [f32],
    predicted: usize,
}

impl<'a> Sample<'a> {
    pub(crate) fn new(logits: &'a [f32], embedding: &'a [f32]) -> Self {
        Self { logits, embedding, predicted: math::argmax(logits) }
    }
}

/// Mean labelled embeddings of classes.
pub(crate) struct Anchors {
    means: Vec<Vec<f32>>,
}

impl Anchors {
    /// One anchor a class; classes without labels have none if they are skipped, else the mean of all labels.
    pub(crate) fn of(query: &Query, skip_missing: bool) -> Result<Self> {
        let labels = query.labelled_labels()?;
        let rows = query.matrix("labelled.embeddings")?;
        let width = rows.shape()?.1 as usize;
        let classes = query.classes() as usize;
        // The last sum is that of all classes.
        let mut sums = vec![(0.0f64, vec![0.0f64; width]); classes + 1];
        rows.for_each_block(|start, block| {
            for (i, row) in block.chunks_exact(width.max(1)).enumerate() {
                for class in [labels[start as usize + i] as usize, classes] {
                    let (count, sum) = &mut sums[class];
                    *count += 1.0;
                    sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
                }
            }
            Ok(())
        })?;
        let mean = |(count, sum): &(f64, Vec<f64>)| -> Option<Vec<f32>> {
            (*count > 0.0).then(|| sum.iter().map(|sum| (sum / count) as f32).collect())
        };
        let all = mean(&sums[classes]);
        let or_all = |anchor: Option<Vec<f32>>| if skip_missing { anchor } else { anchor.or_else(|| all.clone()) };
        Ok(Self { means: sums[..classes].iter().filter_map(|sum| or_all(mean(sum))).collect() })
    }

    pub(crate) fn len(&self) -> usize {
        self.means.len()
    }

    pub(crate) fn get(&self, anchor: usize) -> &[f32] {
        &self.means[anchor]
    }
}

/// Weights of the last layer, `[classes, width]`.
pub(crate) struct Head {
    weights: Vec<f32>,
    width: usize,
}

impl Head {
    pub(crate) fn new(weights: &Matrix) -> Result<Self> {
        let (classes, width) = weights.shape()?;
        Ok(Self { weights: weights.read(0, classes)?, width: width as usize })
    }

    fn row(&self, class: usize) -> &[f32] {
        &self.weights[class * self.width..][..self.width]
    }

    /// Gradient of the predicted class's loss at the embedding whose logits these are.
    fn gradient(&self, logits: &[f64], predicted: usize) -> Vec<f64> {
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = logits.iter().map(|logit| math::exp(logit - largest)).collect();
        let total = shares.iter().fold(0.0, |sum, share| sum + share);
        let others = shares.iter().enumerate().filter(|(class, _)| *class != predicted);
        let others = others.fold(0.0, |sum, (_, share)| sum + share);
        let mut gradient = vec![0.0; self.width];
        for (class, share) in shares.iter().enumerate() {
            // p - 1 as what the other classes have, which does not cancel.
            let residual = if class == predicted { -others / total } else { share / total };
            gradient.iter_mut().zip(self.row(class)).for_each(|(sum, &w)| *sum += residual * f64::from(w));
        }
        gradient
    }

    /// The least cap above which some anchor, mixed in along the gradient, flips the prediction; infinite if none does.
    ///
    /// A mixture at a cap moves the embedding by `cap / sqrt(width)` times the distance to the anchor along the
    /// normalised gradient, but not in coordinates where anchor and embedding agree. Logits move evenly, so the first
    /// class to overtake the predicted one is known without trying.
    pub(crate) fn threshold(&self, sample: &Sample<'_>, anchors: &Anchors) -> f64 {
        let logits: Vec<f64> = sample.logits.iter().map(|&logit| f64::from(logit)).collect();
        let gradient = self.gradient(&logits, sample.predicted);
        let norm = dot(&gradient, &gradient).sqrt();
        if norm == 0.0 {
            return f64::INFINITY;
        }
        let full: Vec<f64> = (0..logits.len()).map(|class| dot(&gradient, self.row(class))).collect();
        let mut least = f64::INFINITY;
        for anchor in &anchors.means {
            let reach = sq_distance(anchor, sample.embedding).sqrt();
            let mut speeds = full.clone();
            for (at, _) in anchor.iter().zip(sample.embedding).enumerate().filter(|(_, (a, z))| a == z) {
                for (class, speed) in speeds.iter_mut().enumerate() {
                    *speed -= gradient[at] * f64::from(self.row(class)[at]);
                }
            }
            let own = speeds[sample.predicted];
            let faster = speeds.iter().zip(&logits).filter(|(speed, _)| **speed > own);
            let meeting = faster.map(|(speed, logit)| (logits[sample.predicted] - logit) / ((speed - own) / norm));
            let first = meeting.fold(f64::INFINITY, f64::min);
            if reach > 0.0 {
                least = least.min(first * (self.width as f64).sqrt() / reach);
            }
        }
        least
    }

    /// Whether mixing an anchor in by random shares up to `cap`, or by those learnt from them, flips the prediction.
    pub(crate) fn flips(
        &self,
        sample: &Sample<'_>,
        anchor: &[f32],
        cap: f64,
        mut noise: Noise,
        learning: &Learning,
    ) -> bool {
        let towards: Vec<f64> =
            anchor.iter().zip(sample.embedding).map(|(&a, &z)| f64::from(a) - f64::from(z)).collect();
        let mut alpha = noise.shares(towards.len(), cap);
        for step in 0..learning.steps {
            let moved: Vec<f64> = alpha.iter().zip(&towards).map(|(alpha, towards)| alpha * towards).collect();
            let logits: Vec<f64> = sample
                .logits
                .iter()
                .enumerate()
                .map(|(class, &logit)| f64::from(logit) + dot(&moved, self.row(class)))
                .collect();
            if argmax(&logits) != sample.predicted {
                return true;
            }
            if step + 1 < learning.steps {
                let gradient = self.gradient(&logits, sample.predicted);
                learning.step(step, &mut alpha, &gradient, &towards, cap);
            }
        }
        false
    }
}

/// Steps that raise the predicted class's loss.
pub(crate) struct Learning {
    /// Trials, with a step after each but the last.
    pub(crate) steps: u32,
    pub(crate) length: f64,
    pub(crate) loss_weight: f64,
    pub(crate) norm_weight: f64,
}

impl Learning {
    /// One trial.
    pub(crate) const NONE: Self = Self { steps: 1, length: 0.0, loss_weight: 0.0, norm_weight: 0.0 };

    /// Moves each share by the step's length against the sign of its slope: the first step of Adam, which is made anew
    /// for each.
    pub(crate) fn step(&self, number: u32, alpha: &mut [f64], gradient: &[f64], towards: &[f64], cap: f64) {
        let is_late = f64::from(number) >= f64::from(self.steps) * 2.0 / 3.0;
        let length = if is_late { self.length / 10.0 } else { self.length };
        let norm = alpha.iter().fold(0.0, |sum, alpha| sum + alpha * alpha).sqrt();
        for ((alpha, gradient), towards) in alpha.iter_mut().zip(gradient).zip(towards) {
            // Shares are never below LEAST, so their norm is not 0.
            let slope = self.norm_weight * *alpha / norm - self.loss_weight * gradient * towards;
            let sign = if slope > 0.0 {
                1.0
            } else if slope < 0.0 {
                -1.0
            } else {
                0.0
            };
            *alpha = (*alpha - length * sign).clamp(LEAST, cap);
        }
    }
}

/// Normal numbers that belong to a sample, an anchor and a cap.
pub(crate) struct Noise {
    key: u64,
    anchor: u32,
    round: u32,
    drawn: u32,
    spare: Option<f64>,
}

impl Noise {
    /// `key` is a uniform number of the sample.
    pub(crate) fn new(key: f64, anchor: u32, round: u32) -> Self {
        Self { key: key.to_bits(), anchor, round, drawn: 0, spare: None }
    }

    /// The next shares of an anchor, one a coordinate: normal around half of the cap, and within it.
    pub(crate) fn shares(&mut self, width: usize, cap: f64) -> Vec<f64> {
        (0..width).map(|_| (cap / 2.0 * (1.0 + self.normal())).clamp(LEAST, cap)).collect()
    }

    /// The next number of mean 0 and variance 1, by Marsaglia's polar method.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let words = philox4x32(self.key, [self.drawn, self.anchor, self.round, 0]);
            self.drawn += 1;
            let uniform = |low: u32, high: u32| 2.0 * uniform_from_bits(u64::from(high) << 32 | u64::from(low)) - 1.0;
            let (x, y) = (uniform(words[0], words[1]), uniform(words[2], words[3]));
            let square = x * x + y * y;
            if square < 1.0 && square > 0.0 {
                let scale = (-2.0 * math::ln(square) / square).sqrt();
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }
}

/// The largest value's position, the lowest among equals.
fn argmax(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, at| if values[at] > values[best] { at } else { best })
}

/// Lanes of sums over columns, so that loops vectorise.
const LANES: usize = 8;

/// Σ f(x, y) in eight lanes, joined in order.
#[inline(always)]
fn sum_pairs<A: Copy, B: Copy>(x: &[A], y: &[B], f: impl Fn(A, B) -> f64) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (y_blocks, y_rest) = y.as_chunks::<LANES>();
    for (a, b) in x_blocks.iter().zip(y_blocks) {
        for lane in 0..LANES {
            lanes[lane] += f(a[lane], b[lane]);
        }
    }
    for (lane, (&a, &b)) in x_rest.iter().zip(y_rest).enumerate() {
        lanes[lane] += f(a, b);
    }
    lanes.iter().fold(0.0, |sum, lane| sum + lane)
}

/// Sum of products.
pub(crate) fn dot<B: Copy + Into<f64>>(x: &[f64], y: &[B]) -> f64 {
    sum_pairs(x, y, |x, y: B| x * y.into())
}

/// Squared Euclidean distance.
pub(crate) fn sq_distance(x: &[f32], y: &[f32]) -> f64 {
    sum_pairs(x, y, |x: f32, y: f32| (f64::from(x) - f64::from(y)) * (f64::from(x) - f64::from(y)))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "moments of noise within a tolerance")]
mod tests {
    use super::*;

    #[test]
    fn noise_is_normal() {
        let mut noise = Noise::new(0.3, 1, 2);
        let values: Vec<f64> = (0..200_000).map(|_| noise.normal()).collect();
        let moment = |power: i32| values.iter().map(|x| x.powi(power)).sum::<f64>() / 200_000.0;
        // Five standard errors each: of x, x², x³ and x⁴ these are sqrt of 1, 2, 15 and 96 over sqrt(200 000).
        for (power, expected, error) in [(1, 0.0, 1.0f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            assert!((moment(power) - expected).abs() < 5.0 * (error / 200_000.0).sqrt(), "moment {power}");
        }
        let beyond = values.iter().filter(|x| x.abs() > 1.959_964).count() as f64 / 200_000.0;
        assert!((beyond - 0.05).abs() < 0.003, "{beyond}");
        let first = |key, anchor, round| Noise::new(key, anchor, round).normal();
        assert_ne!(first(0.3, 1, 2), first(0.3, 1, 3));
        assert_ne!(first(0.3, 1, 2), first(0.3, 2, 2));
        assert_ne!(first(0.3, 1, 2), first(0.4, 1, 2));
    }

    #[test]
    fn a_step_goes_against_the_slope_and_stays_in_its_bounds() {
        let learning = Learning { steps: 3, length: 0.0, loss_weight: 1.0, norm_weight: 0.01 };
        // Slopes: more of the first raises the loss, of the second lowers it, of the third leaves it.
        let (gradient, towards) = ([1.0, 1.0, 0.0], [2.0, -2.0, 1.0]);
        let mut alpha = [0.1875, 0.1875, 0.0625];
        let length = 0.125;
        let learning = Learning { length, ..learning };
        learning.step(0, &mut alpha, &gradient, &towards, 0.25);
        assert_eq!(alpha, [0.25, 0.0625, LEAST], "the norm pulls the third down");
        learning.step(2, &mut alpha, &gradient, &towards, 0.25);
        assert_eq!(alpha, [0.25, 0.0625 - length / 10.0, LEAST], "the last third goes a tenth as far");
    }
}
