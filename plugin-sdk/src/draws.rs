//! What several draws of a model, or several models, say of each row.
//!
//! An array `[rows, draws, classes]` of log-probabilities crosses as a matrix `[rows, draws * classes]`. Everything
//! here is `f64`; each draw's probabilities are divided by their sum, which must be 1 to within a thousandth.

use querist_protocol::{ArrayKind, StrategyError, math, names};

use crate::objects::Matrix;
use crate::query::Query;
use crate::strategy::Result;

/// How far the probabilities of a draw may be from summing to 1.
const SUM_SLACK: f64 = 1e-3;

/// Class distributions of several draws for each row of an array.
pub struct Draws {
    matrix: Matrix,
    name: String,
    first_row: u32,
    draws: usize,
    classes: usize,
}

/// The class distributions of one row.
pub struct RowDraws {
    classes: usize,
    /// Probabilities, `[draws * classes]`; each draw sums to 1.
    pub probs: Vec<f64>,
    /// Their mean over draws, `[classes]`.
    pub mean: Vec<f64>,
}

impl Draws {
    /// The array `name`, which the strategy declared with `draws` draws.
    ///
    /// # Errors
    /// If it was not declared, has another number of draws, or there are fewer than two classes.
    pub fn of(query: &Query, name: &str, draws: u32) -> Result<Self> {
        let matrix = query.matrix(name)?;
        let (_, columns) = matrix.shape()?;
        let classes = query.classes();
        if classes < 2 {
            return Err(StrategyError::Failed(format!("two classes or more are needed, this task has {classes}")));
        }
        if u64::from(columns) != u64::from(draws) * u64::from(classes) {
            let mut message =
                format!("`{name}` has {columns} values a row, expected {draws} draws of {classes} classes");
            if columns > 0 && columns.is_multiple_of(classes) {
                let parameter = ArrayKind::of(name).and_then(|(kind, _)| kind.draws_parameter()).unwrap_or("T");
                message += &format!("; it seems to hold {} draws: set `{parameter}` to that", columns / classes);
            }
            return Err(StrategyError::Failed(message));
        }
        // Arrays that are not over the pool are seen whole.
        let first_row = if names::per_sample(name).is_some() { query.first_row() } else { 0 };
        Ok(Self { matrix, name: name.to_owned(), first_row, draws: draws as usize, classes: classes as usize })
    }

    /// Number of draws.
    pub fn draws(&self) -> usize {
        self.draws
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of rows.
    ///
    /// # Errors
    /// If the host refuses.
    pub fn rows(&self) -> Result<u32> {
        Ok(self.matrix.shape()?.0)
    }

    /// The log-probabilities as the host holds them, `[rows, draws * classes]`.
    pub fn log_probs(&self) -> &Matrix {
        &self.matrix
    }

    /// Calls `visit(row, distributions)` for every row in order.
    ///
    /// # Errors
    /// The first error of `visit` or of the host, and rows that hold no log-probabilities.
    pub fn for_each(&self, mut visit: impl FnMut(u32, &RowDraws) -> Result<()>) -> Result<()> {
        let mut room = self.room();
        self.matrix.for_each_block(|start, values| {
            for (i, log_probs) in values.chunks_exact(self.draws * self.classes).enumerate() {
                let row = start + i as u32;
                self.fill(&mut room, row, log_probs)?;
                visit(row, &room)?;
            }
            Ok(())
        })
    }

    /// Probabilities of one row, `[draws * classes]`.
    ///
    /// # Errors
    /// If there is no such row or it holds no log-probabilities.
    pub fn probs(&self, row: u32) -> Result<Vec<f64>> {
        let mut room = self.room();
        self.fill(&mut room, row, &self.matrix.read(row, 1)?)?;
        Ok(room.probs)
    }

    fn room(&self) -> RowDraws {
        RowDraws { classes: self.classes, probs: vec![0.0; self.draws * self.classes], mean: vec![0.0; self.classes] }
    }

    fn fill(&self, room: &mut RowDraws, row: u32, log_probs: &[f32]) -> Result<()> {
        for (p, &log) in room.probs.iter_mut().zip(log_probs) {
            *p = math::exp(f64::from(log));
        }
        room.mean.fill(0.0);
        for (number, draw) in room.probs.chunks_exact_mut(self.classes).enumerate() {
            let sum: f64 = draw.iter().sum();
            if (sum - 1.0).abs() > SUM_SLACK {
                return Err(StrategyError::Failed(format!(
                    "`{}`: the probabilities of draw {number} in row {} sum to {sum}, expected 1 to within \
                     {SUM_SLACK}; these are no log-probabilities",
                    self.name,
                    self.first_row + row
                )));
            }
            for (p, mean) in draw.iter_mut().zip(&mut room.mean) {
                *p /= sum;
                *mean += *p;
            }
        }
        for mean in &mut room.mean {
            *mean /= self.draws as f64;
        }
        Ok(())
    }
}

impl RowDraws {
    /// 1 - the largest mean probability, and minus its logarithm.
    pub fn least_confidence(&self) -> (f64, f64) {
        let Lead { others, .. } = Lead::of(&self.mean);
        (others / (1.0 + others), math::ln_1p(others))
    }

    /// Minus the difference of the two largest mean probabilities, and 1 minus that difference in its exact form.
    pub fn margin(&self) -> (f64, f64) {
        let Lead { others, second, .. } = Lead::of(&self.mean);
        ((second - 1.0) / (1.0 + others), (others + second) / (1.0 + others))
    }

    /// Entropy of the mean distribution in nats, and 1 - its largest probability.
    pub fn entropy(&self) -> (f64, f64) {
        (entropy(&self.mean), self.least_confidence().0)
    }

    /// Share of draws that do not predict the class that most draws predict (lowest classes win ties), and the entropy
    /// of the mean distribution.
    pub fn variation_ratio(&self) -> (f64, f64) {
        let mut votes = vec![0u32; self.classes];
        let mut draws = 0u32;
        for draw in self.probs.chunks_exact(self.classes) {
            votes[math::argmax(draw)] += 1;
            draws += 1;
        }
        let most = votes.iter().copied().max().unwrap_or(0);
        (f64::from(draws - most) / f64::from(draws.max(1)), entropy(&self.mean))
    }

    /// Mean over classes of the population standard deviation over draws.
    pub fn mean_std(&self) -> f64 {
        let (mut mean, mut squares) = (vec![0.0; self.classes], vec![0.0; self.classes]);
        let mut draws = 0.0;
        // Welford's update: constant draws leave exactly 0.
        for draw in self.probs.chunks_exact(self.classes) {
            draws += 1.0;
            for ((&p, mean), squares) in draw.iter().zip(&mut mean).zip(&mut squares) {
                let delta = p - *mean;
                *mean += delta / draws;
                *squares += delta * (p - *mean);
            }
        }
        squares.iter().map(|&sum| (sum / draws).max(0.0).sqrt()).sum::<f64>() / self.classes as f64
    }

    /// Mutual information of the class and the draw in nats (BALD), and the entropy of the mean distribution.
    ///
    /// With r = p / mean, it is the mean over draws of `sum_c mean_c (r ln r - r + 1)`, every term of which is at least
    /// 0 and loses nothing to cancellation.
    pub fn mutual_information(&self) -> (f64, f64) {
        let mut sum = 0.0;
        let mut draws = 0.0;
        for draw in self.probs.chunks_exact(self.classes) {
            draws += 1.0;
            for (&p, &mean) in draw.iter().zip(&self.mean) {
                let ratio = if mean > 0.0 { p / mean } else { 1.0 };
                sum += mean * (times_ln(ratio) - (ratio - 1.0)).max(0.0);
            }
        }
        (sum / draws, entropy(&self.mean))
    }

    /// Mean over draws of their entropies, in nats.
    pub fn mean_entropy(&self) -> f64 {
        let mut sum = 0.0;
        let mut draws = 0.0;
        for draw in self.probs.chunks_exact(self.classes) {
            draws += 1.0;
            sum += entropy(draw);
        }
        sum / draws
    }
}

/// What leads a distribution: the leader itself cancels, so saturated distributions stay apart.
struct Lead {
    /// Sum of all probabilities but the largest, over the largest.
    others: f64,
    /// The second largest probability over the largest.
    second: f64,
    top: f64,
    class: usize,
}

impl Lead {
    fn of(probs: &[f64]) -> Self {
        let class = math::argmax(probs);
        let top = probs[class];
        let (mut others, mut second) = (0.0, 0.0f64);
        for (c, &p) in probs.iter().enumerate() {
            if c != class {
                others += p / top;
                second = second.max(p / top);
            }
        }
        Self { others, second, top, class }
    }
}

/// Entropy of a distribution in nats, without cancellation where one class has almost all of it.
pub fn entropy(probs: &[f64]) -> f64 {
    let lead = Lead::of(probs);
    let mut weighted = 0.0;
    for (c, &p) in probs.iter().enumerate() {
        if c != lead.class {
            weighted -= times_ln(p / lead.top);
        }
    }
    math::ln_1p(lead.others) + weighted / (1.0 + lead.others)
}

/// x ln x, with 0 at 0.
fn times_ln(x: f64) -> f64 {
    if x > 0.0 { x * math::ln(x) } else { 0.0 }
}
