//! Uncertain samples far apart in class probabilities, without embeddings.
//!
//! With u = 1 - (p1 - p2) a sample's uncertainty and d its L1 distance in class probabilities to the nearest pick (u
//! before the first one), a sample is drawn with probability proportional to `(d' + u) ^ gamma`, where d' is d scaled to
//! [0, 1] over the samples that are left.
//!
//! Gilhuber, Beer, Ma and Seidl, "FALCUN: A Simple and Efficient Deep Active Learning Strategy", ECML PKDD 2024.

use querist_sdk::prelude::*;

/// What a sample's relevance is made of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Relevance {
    /// Uncertainty plus distance scaled to [0, 1] over the samples that are left.
    #[default]
    UncNorm,
    /// The scaled distance alone.
    Distance,
    /// Uncertainty alone.
    Unc,
}

/// Parameters of FALCUN.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("examples" = [
    {},
    {"distance": "unc-norm", "deterministic": true},
    {"distance": "unc-norm", "deterministic": false},
    {"distance": "distance", "deterministic": true},
    {"distance": "distance", "deterministic": false},
    {"distance": "unc", "deterministic": true},
    {"distance": "unc", "deterministic": false},
]))]
pub struct Falcun {
    /// Exponent of relevance: 0 draws evenly, large values draw the most relevant.
    #[schemars(range(min = 0.0, max = 1e6))]
    pub gamma: f64,
    /// What a sample's relevance is made of.
    pub distance: Relevance,
    /// Whether the most relevant sample is taken instead of drawing one.
    pub deterministic: bool,
}

impl Default for Falcun {
    fn default() -> Self {
        Self { gamma: 10.0, distance: Relevance::UncNorm, deterministic: false }
    }
}

impl Strategy for Falcun {
    const ID: &'static str = "falcun";
    const SUMMARY: &'static str = "Samples drawn by uncertainty plus distance in class probabilities from those picked";
    const PAPER: &'static str =
        "Gilhuber et al., FALCUN: A Simple and Efficient Deep Active Learning Strategy, ECML PKDD 2024";
    const COST: &'static str = "O(N C b) time; O(N) memory.";
    const ALIASES: &'static [&'static str] = &["Falcun"];

    fn needs(&self) -> Vec<Need> {
        vec![Need::new(names::LOGITS)]
    }

    fn check(&self) -> Result<(), String> {
        if self.gamma.is_finite() && self.gamma >= 0.0 {
            return Ok(());
        }
        Err(format!("gamma is {}, but it must be a number of at least 0", self.gamma))
    }
}

impl Selector for Falcun {
    fn select(&self, query: &Query) -> Result<Selection> {
        let wanted = query.wanted();
        let mut selection = Selection::default();
        if wanted == 0 {
            return Ok(selection);
        }
        let logits = query.matrix(names::LOGITS)?;
        // The tie-breaker of the margin is 1 - margin in its exact form.
        let (_, exact) = logits.uncertainty(Uncertainty::Margin)?;
        let unsure = exact.to_vec()?;
        let mut left = Left { rows: (0..query.rows()).collect(), distances: unsure.clone(), unsure };
        let mut probabilities = Probabilities::of(&logits.softmax()?)?;
        let numbers = query.stream("draws", StreamScope::Round)?;
        while (selection.rows.len() as u32) < wanted {
            let relevance = self.relevance(&left);
            let Some(at) = self.pick(query, &relevance, &numbers)? else { break };
            selection.rows.push(left.rows[at]);
            selection.scores.push(relevance[at]);
            let picked = probabilities.row(at);
            left.remove(at);
            probabilities.remove(at);
            probabilities.shrink_distances(&picked, &mut left.distances);
            query.progress(selection.rows.len() as u64, u64::from(wanted))?;
        }
        query.refill_at_random(&mut selection)?;
        Ok(selection)
    }
}

/// Samples that are not picked yet, by ascending row.
struct Left {
    rows: Vec<u32>,
    unsure: Vec<f64>,
    /// Distance to the nearest pick; uncertainty before the first.
    distances: Vec<f64>,
}

impl Left {
    fn remove(&mut self, at: usize) {
        self.rows.remove(at);
        self.unsure.remove(at);
        self.distances.remove(at);
    }
}

impl Falcun {
    fn relevance(&self, left: &Left) -> Vec<f64> {
        if self.distance == Relevance::Unc {
            return left.unsure.clone();
        }
        let low = left.distances.iter().copied().fold(f64::INFINITY, f64::min);
        let high = left.distances.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Distances that are all the same say nothing.
        let scaled = |d: f64| if high > low { (d - low) / (high - low) } else { 0.0 };
        let counts_uncertainty = self.distance == Relevance::UncNorm;
        let both = left.distances.iter().zip(&left.unsure);
        both.map(|(&d, &u)| scaled(d) + if counts_uncertainty { u } else { 0.0 }).collect()
    }

    /// Position of the next pick; `None` where nothing is relevant.
    fn pick(&self, query: &Query, relevance: &[f64], numbers: &Stream) -> Result<Option<usize>> {
        let mut best = 0;
        for (at, &value) in relevance.iter().enumerate() {
            if value > relevance[best] {
                best = at;
            }
        }
        let Some(&largest) = relevance.get(best).filter(|&&largest| largest > 0.0) else { return Ok(None) };
        if self.deterministic {
            return Ok(Some(best));
        }
        let scale = math::ln(largest);
        // Powers relative to the largest neither overflow nor vanish together.
        let weight = |&r: &f64| if r > 0.0 { math::exp(self.gamma * (math::ln(r) - scale)) } else { 0.0 };
        let weights: Vec<f64> = relevance.iter().map(weight).collect();
        Ok(query.vector(&weights)?.draw(numbers, None)?.map(|at| at as usize))
    }
}

/// Class probabilities by class, so that one class of all samples is read in one go.
struct Probabilities {
    classes: Vec<Vec<f32>>,
}

impl Probabilities {
    fn of(softmax: &Matrix) -> Result<Self> {
        let (rows, classes) = softmax.shape()?;
        let mut by_class = vec![Vec::with_capacity(rows as usize); classes as usize];
        softmax.for_each_block(|_, block| {
            for (class, out) in by_class.iter_mut().enumerate() {
                out.extend(block.iter().skip(class).step_by(classes as usize));
            }
            Ok(())
        })?;
        Ok(Self { classes: by_class })
    }

    fn row(&self, at: usize) -> Vec<f32> {
        self.classes.iter().map(|class| class[at]).collect()
    }

    fn remove(&mut self, at: usize) {
        for class in &mut self.classes {
            class.remove(at);
        }
    }

    /// Lowers each distance to the L1 distance from `picked` where that is smaller.
    fn shrink_distances(&self, picked: &[f32], distances: &mut [f64]) {
        let mut sums = vec![0.0f64; distances.len()];
        for (class, &own) in self.classes.iter().zip(picked) {
            for (sum, &p) in sums.iter_mut().zip(class) {
                *sum += (f64::from(p) - f64::from(own)).abs();
            }
        }
        for (distance, &sum) in distances.iter_mut().zip(&sums) {
            *distance = if sum < *distance { sum } else { *distance };
        }
    }
}

package!(scorers: [], selectors: [Falcun]);
