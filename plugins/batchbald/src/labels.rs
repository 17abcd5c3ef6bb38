//! Labels that the picks so far may turn out to have, and what they say of the draws.

use querist_sdk::draws::Draws;
use querist_sdk::prelude::*;

use crate::Estimator;

/// Configurations of labels of the picks: all of them while they are few, particles afterwards.
pub struct Labels {
    draws: usize,
    classes: usize,
    estimator: Estimator,
    /// Configurations at most.
    most: usize,
    /// Probability of every configuration under each draw, `[configurations * draws]`; `None` once they are too many.
    table: Option<Vec<f64>>,
    particles: Particles,
    /// Id and class distributions of each pick, kept where particles are drawn afresh.
    picks: Vec<(u64, Vec<f64>)>,
    /// Information of the picks about the draw, in nats.
    information: f64,
    /// Sum over picks of the mean entropy of their labels given the draw.
    noise: f64,
}

/// Configurations drawn from the model, as many from each draw.
struct Particles {
    draws: usize,
    /// Logarithm of each particle's probability under each draw, `[particles * draws]`. Particle m was made by draw
    /// m modulo `draws`, under which it is never impossible.
    log_weights: Vec<f64>,
}

impl Labels {
    /// No picks yet: one empty configuration.
    pub fn new(draws: &Draws, samples: usize, estimator: Estimator) -> Self {
        let count = draws.draws();
        Self {
            draws: count,
            classes: draws.classes(),
            estimator,
            most: samples,
            table: Some(vec![1.0; count]),
            particles: Particles { draws: count, log_weights: vec![0.0; samples / count * count * count] },
            picks: Vec::new(),
            information: 0.0,
            noise: 0.0,
        }
    }

    /// What to report for a pick of this gain.
    pub fn score(&self, gain: f64) -> f64 {
        match self.estimator {
            Estimator::Conditional => gain,
            Estimator::Joint => self.information + gain,
        }
    }

    /// Adds a pick with its class distributions `[draws * classes]`, its gain and the mean entropy of its draws.
    pub fn add(&mut self, query: &Query, id: u64, probs: Vec<f64>, gain: f64, mean_entropy: f64) -> Result<()> {
        self.noise += mean_entropy;
        self.information += gain;
        self.table = self.table.take().and_then(|table| self.extended(&table, &probs));
        if self.estimator == Estimator::Conditional {
            let numbers = query.stream(&format!("labels of {id}"), StreamScope::Round)?;
            return self.particles.extend(&probs, self.classes, &numbers);
        }
        self.picks.push((id, probs));
        if self.table.is_some() {
            return Ok(());
        }
        let step = self.picks.len();
        self.particles.log_weights.fill(0.0);
        for (id, probs) in &self.picks {
            let numbers = query.stream(&format!("labels of {id} for pick {step}"), StreamScope::Round)?;
            self.particles.extend(probs, self.classes, &numbers)?;
        }
        self.information = self.particles.joint_entropy() - self.noise;
        Ok(())
    }

    /// The table with one pick more, or `None` where it would have too many rows.
    fn extended(&self, table: &[f64], probs: &[f64]) -> Option<Vec<f64>> {
        if table.len() / self.draws * self.classes > self.most {
            return None;
        }
        let mut extended = Vec::with_capacity(table.len() * self.classes);
        for row in table.chunks_exact(self.draws) {
            for class in 0..self.classes {
                extended.extend(row.iter().zip(probs[class..].iter().step_by(self.classes)).map(|(j, p)| j * p));
            }
        }
        Some(extended)
    }

    /// Weights of the draws under each configuration, and the share of each.
    pub fn mixtures(&self, query: &Query) -> Result<(Vector, Vector)> {
        let mut mixtures = Mixtures::new(self.draws);
        match &self.table {
            Some(table) => table.chunks_exact(self.draws).for_each(|row| mixtures.add(row, row.iter().sum())),
            None => self.particles.each(|row, _| mixtures.add(row, 1.0)),
        }
        mixtures.finish(query)
    }
}

/// Mixtures of the draws. Configurations that leave no doubt about the draw become one mixture a draw: after some picks
/// these are most.
struct Mixtures {
    weights: Vec<f64>,
    shares: Vec<f64>,
    /// Share of the configurations that are sure of each draw.
    sure: Vec<f64>,
}

impl Mixtures {
    /// Weight of all other draws below which a configuration is sure: its entropies are off by less than 1e-10.
    const DOUBT: f64 = 1e-12;

    fn new(draws: usize) -> Self {
        Self { weights: Vec::new(), shares: Vec::new(), sure: vec![0.0; draws] }
    }

    /// Adds a mixture by its weights up to scale; one without any weight is impossible.
    fn add(&mut self, row: &[f64], share: f64) {
        let (mut best, mut total) = (0, 0.0);
        for (draw, &weight) in row.iter().enumerate() {
            total += weight;
            best = if weight > row[best] { draw } else { best };
        }
        if total <= 0.0 {
            return;
        }
        if total - row[best] < Self::DOUBT * total {
            self.sure[best] += share;
        } else {
            self.weights.extend(row.iter().map(|weight| weight / total));
            self.shares.push(share);
        }
    }

    /// All mixtures, with shares that sum to 1.
    fn finish(mut self, query: &Query) -> Result<(Vector, Vector)> {
        for (draw, &share) in self.sure.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            self.weights.extend((0..self.sure.len()).map(|other| f64::from(u8::from(other == draw))));
            self.shares.push(share);
        }
        let total: f64 = self.shares.iter().sum();
        self.shares.iter_mut().for_each(|share| *share /= total);
        Ok((query.vector(&self.weights)?, query.vector(&self.shares)?))
    }
}

impl Particles {
    /// Draws a label for each particle from the draw that made it.
    fn extend(&mut self, probs: &[f64], classes: usize, numbers: &Stream) -> Result<()> {
        let count = self.log_weights.len() / self.draws;
        let logs: Vec<f64> = probs.iter().map(|&p| math::ln(p)).collect();
        let uniforms = numbers.uniforms(count as u32)?;
        for (m, (row, u)) in self.log_weights.chunks_exact_mut(self.draws).zip(uniforms).enumerate() {
            let label = drawn(&probs[m % row.len() * classes..][..classes], u);
            for (log_weight, logs) in row.iter_mut().zip(logs.chunks_exact(classes)) {
                *log_weight += logs[label];
            }
        }
        Ok(())
    }

    /// Calls `visit(weights, top)` for each particle, with its probabilities under the draws over e^top, the largest.
    fn each(&self, mut visit: impl FnMut(&[f64], f64)) {
        let mut weights = vec![0.0; self.draws];
        for row in self.log_weights.chunks_exact(self.draws) {
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            for (weight, &log) in weights.iter_mut().zip(row) {
                *weight = math::exp(log - top);
            }
            visit(&weights, top);
        }
    }

    /// Mean of minus the logarithm of each particle's probability, in nats.
    fn joint_entropy(&self) -> f64 {
        let mut sum = 0.0;
        self.each(|row, top| sum -= top + math::ln(row.iter().sum::<f64>() / row.len() as f64));
        sum / (self.log_weights.len() / self.draws) as f64
    }
}

/// The class that u draws; one of probability 0 never.
fn drawn(probs: &[f64], u: f64) -> usize {
    let threshold = u * probs.iter().sum::<f64>();
    let mut cumulative = 0.0;
    let mut last = 0;
    for (class, &p) in probs.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        cumulative += p;
        last = class;
        if cumulative > threshold {
            break;
        }
    }
    last
}
