//! Uncertain samples far apart in class probabilities, without embeddings.
//!
//! With u = 1 - (p1 - p2) a sample's uncertainty and d its L1 distance in class probabilities to the nearest pick (u
//! before the first one), a sample is drawn with probability proportional to `(d' + u) ^ gamma`, where d' is d scaled
//! to [0, 1] over the samples that are left.
//!
//! Gilhuber, Beer, Ma and Seidl, "FALCUN: A Simple and Efficient Deep Active Learning Strategy", ECML PKDD 2024.

use querist_sdk::Range;
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

params! {
    /// Parameters of FALCUN.
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
        #[schemars(range(min = 0.0, max = 1e6), extend("x-querist-search" = {"linear": [1.0, 20.0]}))]
        pub gamma: f64 = 10.0,
        /// What a sample's relevance is made of.
        pub distance: Relevance = Relevance::UncNorm,
        /// Whether the most relevant sample is taken instead of drawing one.
        pub deterministic: bool = false,
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
}

impl Selector for Falcun {
    fn select(&self, query: &Query) -> Result<Selection> {
        let logits = query.matrix(names::LOGITS)?;
        // The tie-breaker of the margin is 1 - margin in its exact form.
        let (_, exact) = logits.uncertainty(Uncertainty::Margin)?;
        let mut left = Left::new(&logits.softmax()?, exact.to_vec()?)?;
        let numbers = query.stream("draws", StreamScope::Round)?;
        let mut picks = query.picks()?;
        while picks.missing() > 0 {
            let relevance = self.relevance(&left);
            let Some(at) = self.pick(query, &relevance, &numbers)? else { break };
            picks.take(left.rows[at], relevance[at])?;
            left.remove(at);
        }
        picks.fill_at_random()
    }
}

/// Samples that are not picked yet, by ascending row.
struct Left {
    rows: Vec<u32>,
    unsure: Vec<f64>,
    /// Distance to the nearest pick; uncertainty before the first.
    distances: Vec<f64>,
    /// Their probabilities of each class, so that one class of all samples is read in one go.
    classes: Vec<Vec<f32>>,
}

impl Left {
    fn new(softmax: &Matrix, unsure: Vec<f64>) -> Result<Self> {
        let (rows, classes) = softmax.shape()?;
        let mut by_class = vec![Vec::with_capacity(rows as usize); classes as usize];
        softmax.for_each_row(|_, row| {
            by_class.iter_mut().zip(row).for_each(|(class, &p)| class.push(p));
            Ok(())
        })?;
        Ok(Self { rows: (0..rows).collect(), distances: unsure.clone(), unsure, classes: by_class })
    }

    /// Takes a sample out and lowers each distance to the L1 distance from it where that is smaller.
    fn remove(&mut self, at: usize) {
        self.rows.remove(at);
        self.unsure.remove(at);
        self.distances.remove(at);
        let mut sums = vec![0.0f64; self.distances.len()];
        for class in &mut self.classes {
            let own = class.remove(at);
            for (sum, &p) in sums.iter_mut().zip(&*class) {
                *sum += (f64::from(p) - f64::from(own)).abs();
            }
        }
        for (distance, &sum) in self.distances.iter_mut().zip(&sums) {
            *distance = if sum < *distance { sum } else { *distance };
        }
    }
}

impl Falcun {
    fn relevance(&self, left: &Left) -> Vec<f64> {
        if self.distance == Relevance::Unc {
            return left.unsure.clone();
        }
        let range = Range::of(&left.distances);
        let counts_uncertainty = self.distance == Relevance::UncNorm;
        let both = left.distances.iter().zip(&left.unsure);
        // Distances that are all the same say nothing.
        both.map(|(&d, &u)| range.place(d, 0.0) + if counts_uncertainty { u } else { 0.0 }).collect()
    }

    /// Position of the next pick; `None` where nothing is relevant.
    fn pick(&self, query: &Query, relevance: &[f64], numbers: &Stream) -> Result<Option<usize>> {
        let best = math::argmax(relevance);
        if relevance[best] <= 0.0 {
            return Ok(None);
        }
        if self.deterministic {
            return Ok(Some(best));
        }
        let scale = math::ln(relevance[best]);
        // Powers relative to the largest neither overflow nor vanish together.
        let weight = |&r: &f64| if r > 0.0 { math::exp(self.gamma * (math::ln(r) - scale)) } else { 0.0 };
        let weights: Vec<f64> = relevance.iter().map(weight).collect();
        Ok(query.vector(&weights)?.draw(numbers, None)?.map(|at| at as usize))
    }
}

package!(selectors: [Falcun]);
